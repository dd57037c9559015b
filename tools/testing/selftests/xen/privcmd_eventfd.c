// SPDX-License-Identifier: GPL-2.0
/* ioeventfds of /dev/xen/privcmd: a domain's request for I/O writes to them. */

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "xen_privcmd.h"

#define RW		(PROT_READ | PROT_WRITE)
#define VCPUS		128		/* a frame holds requests of so many */
#define NO_PORT		4000		/* Xen gives out the lowest free one */
#define IO_ADDR		0x1000
#define QUEUE_NOTIFY	0x50		/* of virtio-mmio */
#define DEASSIGN	PRIVCMD_IOEVENTFD_FLAG_DEASSIGN

#define EVTCHNOP_status			5
#define EVTCHNSTAT_virq			4
#define EVTCHNSTAT_ipi			5
#define VIRQ_TIMER			0

#define XEN_DMOP_create_ioreq_server	1
#define XEN_DMOP_destroy_ioreq_server	6

#define STATE_IOREQ_READY	1
#define STATE_IORESP_READY	3
#define IOREQ_TYPE_COPY		1

struct evtchn_status {
	uint16_t dom;
	uint32_t port;
	uint32_t status;
	uint32_t vcpu;
	uint32_t virq;
	uint32_t room;
};

/* The two operations, of a union. */
struct xen_dm_op_ioreq_server {
	uint32_t op;
	uint32_t pad;
	union {
		struct {
			uint8_t handle_bufioreq;
			uint8_t pad[3];
			uint16_t id;
		} create;
		struct {
			uint16_t id;
			uint16_t pad;
		} destroy;
		uint8_t room[64];
	};
};

/* A request to write if the other bits beside the state are 0. */
struct ioreq {
	uint64_t addr;
	uint64_t data;
	uint32_t count;
	uint32_t size;
	uint32_t vp_eport;
	uint16_t pad;
	uint8_t state;
	uint8_t type;
};

/**
 * FIXTURE(privcmd_eventfd) - a device and an eventfd
 * @fd: /dev/xen/privcmd
 * @event: the eventfd
 * @kmsg: the kernel's messages since the start of the test
 * @page: PAGE_SIZE
 * @ports: of the ioeventfd
 * @domid: the domain that makes requests
 * @mem: two pages; the first shows the domain's grant table
 * @evtchn: /dev/xen/evtchn
 * @port: an unbound port of @evtchn
 */
FIXTURE(privcmd_eventfd) {
	int fd;
	int event;
	int kmsg;
	size_t page;
	uint32_t ports[VCPUS + 1];
	int domid;
	void *mem;
	int evtchn;
	int port;
};

#define data_t FIXTURE_DATA(privcmd_eventfd)

static int ioeventfd_dom(data_t *self, int fd, int domid, const void *ioreq,
			 unsigned int vcpus, uint32_t flags)
{
	struct privcmd_ioeventfd op = {
		.ioreq = (uintptr_t)ioreq, .ports = (uintptr_t)self->ports,
		.addr = IO_ADDR, .addr_len = 4, .event_fd = self->event,
		.vcpus = vcpus, .flags = flags, .dom = domid,
	};

	return ioctl(fd, IOCTL_PRIVCMD_IOEVENTFD, &op) ? -errno : 0;
}

static int ioeventfd(data_t *self, const void *ioreq, unsigned int vcpus)
{
	return ioeventfd_dom(self, self->fd, DOMID_IDLE, ioreq, vcpus, 0);
}

static int ioeventfd_end(data_t *self, const void *ioreq)
{
	return ioeventfd_dom(self, self->fd, DOMID_IDLE, ioreq, 1, DEASSIGN);
}

/* Assigns and deassigns with one port. */
static int ioeventfd_try(data_t *self, uint32_t port)
{
	self->ports[0] = port;
	return ioeventfd(self, self->mem, 1) ? : ioeventfd_end(self, self->mem);
}

/* Makes a new mapping of @fd at @mem. */
static void *new_mapping(data_t *self, int fd, void *mem)
{
	return mmap(mem, self->page, RW, MAP_SHARED | MAP_FIXED, fd, 0);
}

/* Nobody takes the entries of the grant table for requests. */
static int map_table(data_t *self, int fd, uint32_t idx)
{
	if (new_mapping(self, fd, self->mem) == MAP_FAILED)
		return -errno;
	return map_grant_table(fd, self->domid, self->mem, 1, idx);
}

static int map_frame(data_t *self, xen_pfn_t frame)
{
	int err, ret;

	if (new_mapping(self, self->fd, self->mem) == MAP_FAILED)
		return -errno;
	ret = privcmd_batch(self->fd, self->domid, self->mem, 1, &frame, &err);
	return ret ? : err;
}

FIXTURE_SETUP(privcmd_eventfd)
{
	char why[160];
	int ret;

	self->fd = xen_open("privcmd", why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->kmsg = xen_kmsg_open();
	ASSERT_LE(0, self->kmsg);
	self->page = xen_page_size();
	self->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_LE(0, self->event);
	ret = ioeventfd_end(self, NULL);
	if (ret == -ENOTTY ||
	    (ret == -EOPNOTSUPP && xen_guest_type() != XEN_GUEST_PV))
		SKIP(return, "no CONFIG_XEN_PRIVCMD_EVENTFD");
}

FIXTURE_TEARDOWN(privcmd_eventfd)
{
	if (self->fd < 0)
		return;
	close(self->event);
	close(self->fd);
	if (self->evtchn)
		close(self->evtchn);
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

/* An ioeventfd takes requests only from a page that privcmd has mapped. */
TEST_F(privcmd_eventfd, ioeventfd_memory)
{
	int error = xen_guest_type() == XEN_GUEST_PV ? -EOPNOTSUPP : -EFAULT;
	void *mem, *empty;

	mem = mmap(NULL, 3 * self->page, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(error, ioeventfd(self, mem, 1));
	EXPECT_EQ(error, ioeventfd(self, NULL, 1));
	/* A mapping without pages, and the address below it. */
	empty = mmap(mem + self->page, 2 * self->page, RW,
		     MAP_SHARED | MAP_FIXED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, empty);
	EXPECT_EQ(error, ioeventfd(self, empty, 1));
	EXPECT_EQ(error, ioeventfd(self, empty + self->page, 1));
	ASSERT_EQ(0, munmap(mem, self->page));
	EXPECT_EQ(error, ioeventfd(self, mem, 1));
}

/* An ioeventfd takes no more vCPUs than a frame has requests. */
TEST_F(privcmd_eventfd, ioeventfd_vcpus)
{
	if (xen_guest_type() == XEN_GUEST_PV)
		SKIP(return, "no ioeventfds in a PV domain");
	EXPECT_EQ(-EINVAL, ioeventfd(self, NULL, 0));
	EXPECT_EQ(-EFAULT, ioeventfd(self, NULL, VCPUS));
	EXPECT_EQ(-EINVAL, ioeventfd(self, NULL, VCPUS + 1));
	EXPECT_EQ(-EINVAL, ioeventfd(self, NULL, 4096));
}

/* Prepares what an ioeventfd takes. Returns a reason to skip, or NULL. */
static const char *requests(struct __test_metadata *_metadata, data_t *self)
{
	static char why[160];
	uint32_t ref;

	if (xen_guest_type() == XEN_GUEST_PV)
		return "no ioeventfds in a PV domain";
	if (xen_own_domid())
		return "not dom0, which may map frames of other domains";
	self->domid = xen_peer_domid(&ref);
	if (self->domid < 0)
		return "no XEN_PEER, whose frames to map";
	self->evtchn = xen_open("evtchn", why, sizeof(why));
	if (self->evtchn < 0)
		return why;
	self->port = evtchn_bind_unbound(self->evtchn, DOMID_SELF);
	ASSERT_LT(0, self->port);
	self->ports[0] = self->port;
	self->mem = mmap(NULL, 2 * self->page, RW, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	ASSERT_EQ(0, map_table(self, self->fd, 0));
	return NULL;
}

/* An ioeventfd ends with its mapping, and moves with it. */
TEST_F(privcmd_eventfd, ioeventfd_mapping)
{
	const char *why = requests(_metadata, self);
	void *mem = self->mem, *next = mem + self->page;
	int remote;

	if (why)
		SKIP(return, "%s", why);
	remote = evtchn_bind_interdomain(self->evtchn, DOMID_SELF, self->port);
	ASSERT_LT(0, remote);

	/* A new mapping at the same address has no ioeventfd. */
	EXPECT_EQ(0, ioeventfd_try(self, self->port));
	ASSERT_EQ(0, ioeventfd(self, mem, 1));
	EXPECT_EQ(-EBUSY, ioeventfd(self, mem, 1));
	EXPECT_EQ(0, evtchn_notify(self->evtchn, remote));
	ASSERT_EQ(0, map_table(self, self->fd, 0));
	EXPECT_EQ(0, evtchn_notify(self->evtchn, remote));
	EXPECT_EQ(-ENODEV, ioeventfd_end(self, mem));
	EXPECT_EQ(0, ioeventfd(self, mem, 1));

	/* A moved mapping keeps its ioeventfd. */
	ASSERT_EQ(next, mremap(mem, self->page, self->page,
			       MREMAP_MAYMOVE | MREMAP_FIXED, next));
	EXPECT_EQ(-EBUSY, ioeventfd(self, next, 1));

	/* A new mapping at the old address gets an ioeventfd of its own. */
	ASSERT_EQ(0, map_table(self, self->fd, 0));
	EXPECT_EQ(0, ioeventfd(self, mem, 1));
	EXPECT_EQ(0, evtchn_notify(self->evtchn, remote));
	EXPECT_EQ(0, ioeventfd_end(self, next));
	EXPECT_EQ(-ENODEV, ioeventfd_end(self, next));
	EXPECT_EQ(-EBUSY, ioeventfd(self, mem, 1));

	/* Without a mapping no ioeventfd can be named. */
	ASSERT_EQ(0, ioeventfd(self, next, 1));
	ASSERT_EQ(0, munmap(mem, 2 * self->page));
	EXPECT_EQ(0, evtchn_notify(self->evtchn, remote));
	EXPECT_EQ(-ENODEV, ioeventfd_end(self, mem));
	EXPECT_EQ(-ENODEV, ioeventfd_end(self, next));
	EXPECT_EQ(0, evtchn_unbind(self->evtchn, remote));
	EXPECT_EQ(0, evtchn_unbind(self->evtchn, self->port));
}

/* A port of the kernel itself, for a timer or IPIs; 0 if there is none. */
static uint32_t kernel_port(data_t *self)
{
	struct evtchn_status st = { .dom = DOMID_SELF };

	for (st.port = 1; st.port < NO_PORT; st.port++) {
		if (privcmd_hypercall(self->fd, HYPERVISOR_event_channel_op,
				      EVTCHNOP_status, &st))
			break;
		if (st.status == EVTCHNSTAT_ipi ||
		    (st.status == EVTCHNSTAT_virq && st.virq == VIRQ_TIMER))
			return st.port;
	}
	return 0;
}

/* The ports must be bound by evtchn, and not be the kernel's. */
TEST_F(privcmd_eventfd, ioeventfd_ports)
{
	const char *why = requests(_metadata, self);
	uint32_t port;

	if (why)
		SKIP(return, "%s", why);
	EXPECT_EQ(-ENOENT, ioeventfd_try(self, 0));
	EXPECT_EQ(-ENOENT, ioeventfd_try(self, NO_PORT));
	EXPECT_EQ(-EINVAL, ioeventfd_try(self, UINT32_MAX));
	port = kernel_port(self);
	if (port)
		EXPECT_EQ(-EINVAL, ioeventfd_try(self, port))
			TH_LOG("port %u of the kernel", port);
	self->ports[0] = self->port;
	self->ports[1] = NO_PORT;
	EXPECT_EQ(-ENOENT, ioeventfd(self, self->mem, 2));

	/* evtchn unbinds the port, which the ioeventfd uses twice. */
	self->ports[1] = self->port;
	EXPECT_EQ(0, ioeventfd(self, self->mem, 2));
	EXPECT_EQ(0, evtchn_unbind(self->evtchn, self->port));
	ASSERT_EQ(0, munmap(self->mem, self->page));
	EXPECT_EQ(-ENODEV, ioeventfd_end(self, self->mem));
}

/* The pages of a resource have frames. Other pages may have none. */
TEST_F(privcmd_eventfd, ioeventfd_resource)
{
	const char *why = requests(_metadata, self);

	if (why)
		SKIP(return, "%s", why);
	EXPECT_EQ(0, ioeventfd_try(self, self->port));
	ASSERT_EQ(0, map_frame(self, XEN_GUEST_RAM));
	EXPECT_EQ(-EFAULT, ioeventfd_try(self, self->port));
	/* A refused frame leaves a page. */
	EXPECT_GT(0, map_frame(self, NO_FRAME));
	EXPECT_EQ(-EFAULT, ioeventfd_try(self, self->port));
	/* A refused resource leaves none. */
	EXPECT_EQ(-EINVAL, map_table(self, self->fd, 1 << 20));
	EXPECT_EQ(-EFAULT, ioeventfd_try(self, self->port));
	EXPECT_EQ(0, evtchn_unbind(self->evtchn, self->port));
}

/* A file that is restricted to a domain takes ports connected with it only. */
TEST_F(privcmd_eventfd, ioeventfd_restricted)
{
	const char *why = requests(_metadata, self);
	domid_t domid = self->domid;
	void *mem = self->mem;
	struct xen_peer peer;
	uint32_t ref;
	int fd;

	if (why)
		SKIP(return, "%s", why);
	fd = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, IOCTL_PRIVCMD_RESTRICT, &domid));
	ASSERT_EQ(0, map_table(self, fd, 0));
	EXPECT_EQ(-EPERM, ioeventfd_dom(self, fd, DOMID_IDLE, mem, 1, 0));
	EXPECT_EQ(-EPERM, ioeventfd_dom(self, fd, domid, mem, 1, 0));
	/* Another file takes the same page and port. */
	EXPECT_EQ(0, ioeventfd_dom(self, self->fd, domid, mem, 1, 0));
	EXPECT_EQ(0, ioeventfd_dom(self, self->fd, domid, mem, 1, DEASSIGN));

	xen_peer_domid(&ref);
	ASSERT_EQ(0, xen_peer_open(&peer, domid, ref));
	ASSERT_LT(0, peer.port);
	self->ports[0] = peer.port;
	EXPECT_EQ(0, ioeventfd_dom(self, fd, domid, mem, 1, 0));
	EXPECT_EQ(0, ioeventfd_dom(self, fd, domid, mem, 1, DEASSIGN));
	/* One wrong port is enough, in any place. */
	self->ports[1] = self->port;
	EXPECT_EQ(-EPERM, ioeventfd_dom(self, fd, domid, mem, 2, 0));
	xen_peer_close(&peer);
	close(fd);
	EXPECT_EQ(0, evtchn_unbind(self->evtchn, self->port));
}

static int dm_op(data_t *self, struct xen_dm_op_ioreq_server *op)
{
	struct privcmd_dm_op_buf buf = { .uptr = op, .size = sizeof(*op) };

	return privcmd_dm_op(self->fd, self->domid, 1, &buf);
}

/* Makes a request as the domain does, and expects the eventfd and the answer. */
static void request(struct __test_metadata *_metadata, data_t *self, int remote)
{
	struct pollfd p = { .fd = self->event, .events = POLLIN };
	struct ioreq *req = self->mem;
	uint64_t count = 0;

	req->addr = IO_ADDR + QUEUE_NOTIFY;
	req->size = 4;
	req->data = 0;
	req->type = IOREQ_TYPE_COPY;
	__atomic_store_n(&req->state, STATE_IOREQ_READY, __ATOMIC_RELEASE);
	EXPECT_EQ(0, evtchn_notify(self->evtchn, remote));
	EXPECT_EQ(1, poll(&p, 1, 5000));
	EXPECT_EQ(0, eventfd_read(self->event, &count));
	EXPECT_EQ(1, count);
	EXPECT_EQ(STATE_IORESP_READY,
		  __atomic_load_n(&req->state, __ATOMIC_ACQUIRE));
}

/* An ioeventfd answers requests even after evtchn has unbound its port. */
TEST_F(privcmd_eventfd, ioeventfd_event)
{
	struct xen_dm_op_ioreq_server op = { .op = XEN_DMOP_create_ioreq_server };
	struct privcmd_mmap_resource frame = {
		.type = XENMEM_resource_ioreq_server,
		.idx = XENMEM_resource_ioreq_frame, .num = 1,
	};
	const char *why = requests(_metadata, self);
	int ret, remote;

	if (why)
		SKIP(return, "%s", why);
	ret = dm_op(self, &op);
	if (ret)
		SKIP(return, "no ioreq server for this domain: %s",
		     strerror(-ret));
	frame.dom = self->domid;
	frame.id = op.create.id;
	frame.addr = (uintptr_t)new_mapping(self, self->fd, self->mem);
	EXPECT_EQ(0, ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &frame));
	remote = evtchn_bind_interdomain(self->evtchn, DOMID_SELF, self->port);
	EXPECT_LT(0, remote);
	EXPECT_EQ(0, ioeventfd(self, self->mem, 1));
	request(_metadata, self, remote);
	EXPECT_EQ(0, evtchn_wait(self->evtchn, self->port, 5000));
	request(_metadata, self, remote);

	/* evtchn has not yet read the second event. */
	EXPECT_EQ(0, evtchn_unbind(self->evtchn, self->port));
	request(_metadata, self, remote);
	EXPECT_EQ(0, ioeventfd_end(self, self->mem));
	EXPECT_EQ(0, evtchn_unbind(self->evtchn, remote));
	EXPECT_EQ(0, munmap(self->mem, self->page));

	memset(&op, 0, sizeof(op));
	op.op = XEN_DMOP_destroy_ioreq_server;
	op.destroy.id = frame.id;
	EXPECT_EQ(0, dm_op(self, &op));
}

XEN_TEST_MAIN(NULL)
