// SPDX-License-Identifier: GPL-2.0
/*
 * Eventfds of /dev/xen/privcmd: irqfds, which make a DM_OP when they are
 * written to, and ioeventfds, which are written to when a domain asks for I/O.
 * Nothing here is a device model: Xen refuses the operations. And event channels
 * that dom0 makes through it, for what it takes two domains for else.
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "xen_privcmd.h"
#include "xen_test.h"

#define RW		(PROT_READ | PROT_WRITE)
#define MAX_DM_OP	4096		/* dm_op_buf_max_size, unless it is set */
#define VCPUS		128		/* whose requests a frame has room for */
#define NO_PORT		4000		/* as Xen gives out the lowest one */

/**
 * FIXTURE(privcmd_eventfd) - a device and an eventfd
 * @fd: /dev/xen/privcmd
 * @event: an eventfd
 * @kmsg: the kernel's messages from here on
 * @page: PAGE_SIZE
 * @mem: MAX_DM_OP bytes that are no DM_OP
 */
FIXTURE(privcmd_eventfd) {
	int fd;
	int event;
	int kmsg;
	size_t page;
	char *mem;
};

static int irqfd(FIXTURE_DATA(privcmd_eventfd) *self, int event, uint32_t size,
		 uint32_t flags)
{
	struct privcmd_irqfd op = {
		.dm_op = (uintptr_t)self->mem, .size = size, .fd = event,
		.flags = flags, .dom = DOMID_IDLE,
	};

	return ioctl(self->fd, IOCTL_PRIVCMD_IRQFD, &op) ? -errno : 0;
}

static int deassign(FIXTURE_DATA(privcmd_eventfd) *self)
{
	return irqfd(self, self->event, 0, PRIVCMD_IRQFD_FLAG_DEASSIGN);
}

#define IO_ADDR			0x1000
#define QUEUE_NOTIFY		0x50	/* of virtio-mmio */

#define DEASSIGN	PRIVCMD_IOEVENTFD_FLAG_DEASSIGN

static int ioeventfd_dom(FIXTURE_DATA(privcmd_eventfd) *self, int fd, int domid,
			 const void *ioreq, unsigned int vcpus, uint32_t flags)
{
	struct privcmd_ioeventfd op = {
		.ioreq = (uintptr_t)ioreq, .ports = (uintptr_t)self->mem,
		.addr = IO_ADDR, .addr_len = 4, .event_fd = self->event,
		.vcpus = vcpus, .flags = flags, .dom = domid,
	};

	return ioctl(fd, IOCTL_PRIVCMD_IOEVENTFD, &op) ? -errno : 0;
}

static int ioeventfd_call(FIXTURE_DATA(privcmd_eventfd) *self,
			  const void *ioreq, unsigned int vcpus, uint32_t flags)
{
	return ioeventfd_dom(self, self->fd, DOMID_IDLE, ioreq, vcpus, flags);
}

static int ioeventfd(FIXTURE_DATA(privcmd_eventfd) *self, const void *ioreq,
		     unsigned int vcpus)
{
	return ioeventfd_call(self, ioreq, vcpus, 0);
}

static int ioeventfd_end(FIXTURE_DATA(privcmd_eventfd) *self, const void *ioreq)
{
	return ioeventfd_call(self, ioreq, 1, PRIVCMD_IOEVENTFD_FLAG_DEASSIGN);
}

/* A page at @mem with a resource of @domid behind it, by way of @fd. */
static int map_resource(FIXTURE_DATA(privcmd_eventfd) *self, int fd, void *mem,
			int domid, uint32_t type, uint32_t id, uint32_t idx)
{
	struct privcmd_mmap_resource op = {
		.dom = domid, .type = type, .id = id, .idx = idx, .num = 1,
		.addr = (uintptr_t)mem,
	};

	if (mmap(mem, self->page, RW, MAP_SHARED | MAP_FIXED, fd,
		 0) == MAP_FAILED ||
	    ioctl(fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op))
		return -errno;
	return 0;
}

/* The first page of the grant table, in which nobody looks for requests. */
static int map_table(FIXTURE_DATA(privcmd_eventfd) *self, int fd, void *mem,
		     int domid)
{
	return map_resource(self, fd, mem, domid, XENMEM_resource_grant_table,
			    0, 0);
}

/* A page at @mem with @frame of @domid behind it, or an empty one. */
static int map_frame(FIXTURE_DATA(privcmd_eventfd) *self, void *mem, int domid,
		     xen_pfn_t frame)
{
	struct privcmd_mmapbatch_v2 op = {
		.num = 1, .dom = domid, .addr = (uintptr_t)mem, .arr = &frame,
	};
	int err;

	op.err = &err;
	if (mmap(mem, self->page, RW, MAP_SHARED | MAP_FIXED, self->fd,
		 0) == MAP_FAILED ||
	    ioctl(self->fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &op))
		return -errno;
	return err;
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
	self->mem = malloc(MAX_DM_OP);
	ASSERT_NE(NULL, self->mem);
	memset(self->mem, 0xff, MAX_DM_OP);
	self->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_LE(0, self->event);
	ret = deassign(self);
	if (ret == -EOPNOTSUPP || ret == -ENOTTY)
		SKIP(return, "no CONFIG_XEN_PRIVCMD_EVENTFD");
	if (ret == -EPERM)
		SKIP(return, "privcmd is for another domain only");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(privcmd_eventfd)
{
	if (self->fd < 0)
		return;
	close(self->event);
	/* This waits until those that were closed are gone. */
	self->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	deassign(self);
	close(self->event);
	close(self->fd);
	free(self->mem);
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

/* An eventfd is assigned once, and again when it was deassigned. */
TEST_F(privcmd_eventfd, irqfd_once)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, irqfd(self, self->event, 24, 0));
		EXPECT_EQ(-EBUSY, irqfd(self, self->event, 24, 0));
		EXPECT_EQ(0, deassign(self));
	}
	EXPECT_EQ(-EBADF, irqfd(self, -1, 24, 0));
	EXPECT_EQ(-EINVAL, irqfd(self, self->fd, 24, 0));
	EXPECT_EQ(-EINVAL, irqfd(self, self->event, 24, 2));
	/* Closed while it is assigned. */
	EXPECT_EQ(0, irqfd(self, self->event, 24, 0));
}

/* A DM_OP is no larger than the module's parameter allows. */
TEST_F(privcmd_eventfd, irqfd_size)
{
	static const uint32_t large[] = {
		MAX_DM_OP + 1, 1 << 22, (1 << 22) + 1, 1U << 31, ~0U,
	};
	unsigned int max, i;

	ASSERT_EQ(0, xen_param_get("xen_privcmd", "dm_op_buf_max_size", &max));
	if (max != MAX_DM_OP)
		SKIP(return, "dm_op_buf_max_size is %u", max);
	EXPECT_EQ(0, irqfd(self, self->event, MAX_DM_OP, 0));
	EXPECT_EQ(0, deassign(self));
	EXPECT_EQ(0, irqfd(self, self->event, 0, 0));
	EXPECT_EQ(0, deassign(self));
	for (i = 0; i < ARRAY_SIZE(large); i++) {
		EXPECT_EQ(-E2BIG, irqfd(self, self->event, large[i], 0))
			TH_LOG("%u bytes", large[i]);
	}
}

/* What was written before is read with what is written next. */
TEST_F(privcmd_eventfd, irqfd_pending)
{
	struct pollfd p = { .fd = self->event, .events = POLLIN };
	uint64_t count;

	ASSERT_EQ(0, eventfd_write(self->event, 3));
	ASSERT_EQ(0, irqfd(self, self->event, 24, 0));
	EXPECT_EQ(1, poll(&p, 1, 0));
	EXPECT_EQ(POLLIN, p.revents);
	ASSERT_EQ(0, eventfd_write(self->event, 1));
	EXPECT_EQ(-1, eventfd_read(self->event, &count));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(0, deassign(self));
	ASSERT_EQ(0, eventfd_write(self->event, 1));
	EXPECT_EQ(0, eventfd_read(self->event, &count));
	EXPECT_EQ(1, count);
}

/* A DM_OP's buffer without a byte, at the start of a page, has no page. */
TEST_F(privcmd_eventfd, dm_op_empty)
{
	void *mem = mmap(NULL, self->page, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			 0);
	struct privcmd_dm_op_buf buf = { .uptr = mem };
	struct privcmd_dm_op op = { .dom = DOMID_IDLE, .num = 1, .ubufs = &buf };
	int ret;

	ASSERT_NE(MAP_FAILED, mem);
	ret = ioctl(self->fd, IOCTL_PRIVCMD_DM_OP, &op) ? -errno : 0;
	EXPECT_EQ(0, munmap(mem, self->page));
	if (ret == -ENOSYS)
		SKIP(return, "this Xen has no DM_OP");
	/* There is no such domain. */
	EXPECT_EQ(-ESRCH, ret);
}

struct closer {
	int fd;
	useconds_t delay;
};

static void *close_later(void *arg)
{
	struct closer *c = arg;

	usleep(c->delay);
	close(c->fd);
	return NULL;
}

/* Closed by one thread while another deassigns it. */
TEST_F_TIMEOUT(privcmd_eventfd, irqfd_closed, 200)
{
	unsigned int rounds = 20 * xen_rounds(5), i;
	struct closer c;
	pthread_t id;
	int ret;

	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(0, irqfd(self, self->event, 24, 0));
		c.fd = self->event;
		c.delay = i % 20 * (i % 40);
		ASSERT_EQ(0, pthread_create(&id, NULL, close_later, &c));
		ret = deassign(self);
		EXPECT_TRUE(!ret || ret == -EBADF);
		pthread_join(id, NULL);
		self->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ASSERT_LE(0, self->event);
	}
}

/* The requests are in a page that privcmd has mapped, and nowhere else. */
TEST_F(privcmd_eventfd, ioeventfd_memory)
{
	int error = xen_guest_type() == XEN_GUEST_PV ? -EOPNOTSUPP : -EFAULT;
	void *mem, *empty;

	mem = mmap(NULL, 3 * self->page, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(error, ioeventfd(self, mem, 1));
	EXPECT_EQ(error, ioeventfd(self, NULL, 1));

	/* One without pages, in it and below it. */
	empty = mmap(mem + self->page, 2 * self->page, RW,
		     MAP_SHARED | MAP_FIXED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, empty);
	EXPECT_EQ(error, ioeventfd(self, empty, 1));
	EXPECT_EQ(error, ioeventfd(self, empty + self->page, 1));
	ASSERT_EQ(0, munmap(mem, self->page));
	EXPECT_EQ(error, ioeventfd(self, mem, 1));
	EXPECT_EQ(0, munmap(empty, 2 * self->page));
}

/* And for no more vCPUs than that has room for. */
TEST_F(privcmd_eventfd, ioeventfd_vcpus)
{
	if (xen_guest_type() == XEN_GUEST_PV)
		SKIP(return, "no ioeventfds in a PV domain");
	EXPECT_EQ(-EINVAL, ioeventfd(self, NULL, 0));
	EXPECT_EQ(-EFAULT, ioeventfd(self, NULL, VCPUS));
	EXPECT_EQ(-EINVAL, ioeventfd(self, NULL, VCPUS + 1));
	EXPECT_EQ(-EINVAL, ioeventfd(self, NULL, 4096));
}

static void ports(FIXTURE_DATA(privcmd_eventfd) *self, uint32_t first,
		  uint32_t second)
{
	const uint32_t both[] = { first, second };

	memcpy(self->mem, both, sizeof(both));
}

/* Assigned and deassigned, with one port. */
static int ioeventfd_try(FIXTURE_DATA(privcmd_eventfd) *self,
			 const void *ioreq, uint32_t port)
{
	ports(self, port, 0);
	return ioeventfd(self, ioreq, 1) ? : ioeventfd_end(self, ioreq);
}

/**
 * struct requests - what an ioeventfd needs
 * @mem: two pages, the first of which has a resource behind it
 * @domid: whose resource that is
 * @evtchn: /dev/xen/evtchn
 * @port: bound with it
 * @why: of XEN_SKIP
 */
struct requests {
	void *mem;
	int domid;
	int evtchn;
	int port;
	char why[160];
};

static int requests_open(FIXTURE_DATA(privcmd_eventfd) *self,
			 struct requests *r)
{
	const char *peer = getenv("XEN_PEER"), *why = NULL;
	uint32_t ref;

	if (xen_guest_type() == XEN_GUEST_PV)
		why = "no ioeventfds in a PV domain";
	else if (xen_own_domid())
		why = "not dom0, which may map what it likes";
	else if (!peer || xen_parse_peer(peer, &r->domid, &ref))
		why = "no XEN_PEER, whose frames to map";
	if (why) {
		strcpy(r->why, why);
		return XEN_SKIP;
	}
	r->evtchn = xen_open("evtchn", r->why, sizeof(r->why));
	if (r->evtchn < 0)
		return XEN_SKIP;
	r->port = evtchn_bind_unbound(r->evtchn, DOMID_SELF);
	if (r->port < 0)
		return r->port;
	r->mem = mmap(NULL, 2 * self->page, RW, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	return r->mem == MAP_FAILED ? -errno :
	       map_table(self, self->fd, r->mem, r->domid);
}

/* The ioeventfds of a mapping are not those of the next one at its address. */
TEST_F(privcmd_eventfd, ioeventfd_mapping)
{
	struct requests r;
	int ret, remote;
	void *next;

	ret = requests_open(self, &r);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", r.why);
	ASSERT_EQ(0, ret);
	next = r.mem + self->page;
	remote = evtchn_bind_interdomain(r.evtchn, DOMID_SELF, r.port);
	ASSERT_LT(0, remote);

	/* What replaces a mapping at its address has no ioeventfds. */
	EXPECT_EQ(0, ioeventfd_try(self, r.mem, r.port));
	ASSERT_EQ(0, ioeventfd(self, r.mem, 1));
	EXPECT_EQ(-EBUSY, ioeventfd(self, r.mem, 1));
	EXPECT_EQ(0, evtchn_notify(r.evtchn, remote));
	ASSERT_EQ(0, map_table(self, self->fd, r.mem, r.domid));
	EXPECT_EQ(0, evtchn_notify(r.evtchn, remote));
	EXPECT_EQ(-ENODEV, ioeventfd_end(self, r.mem));
	EXPECT_EQ(0, ioeventfd(self, r.mem, 1));

	/* One that is moved keeps them. */
	ASSERT_EQ(next, mremap(r.mem, self->page, self->page,
			       MREMAP_MAYMOVE | MREMAP_FIXED, next));
	EXPECT_EQ(-EBUSY, ioeventfd(self, next, 1));

	/* Another one, at the same address, has its own. */
	ASSERT_EQ(0, map_table(self, self->fd, r.mem, r.domid));
	EXPECT_EQ(0, ioeventfd(self, r.mem, 1));
	EXPECT_EQ(0, evtchn_notify(r.evtchn, remote));
	EXPECT_EQ(0, ioeventfd_end(self, next));
	EXPECT_EQ(-ENODEV, ioeventfd_end(self, next));
	EXPECT_EQ(-EBUSY, ioeventfd(self, r.mem, 1));

	/* Without the mapping nobody can name them. */
	ASSERT_EQ(0, ioeventfd(self, next, 1));
	ASSERT_EQ(0, munmap(r.mem, 2 * self->page));
	EXPECT_EQ(0, evtchn_notify(r.evtchn, remote));
	EXPECT_EQ(-ENODEV, ioeventfd_end(self, r.mem));
	EXPECT_EQ(-ENODEV, ioeventfd_end(self, next));
	EXPECT_EQ(0, evtchn_unbind(r.evtchn, remote));
	EXPECT_EQ(0, evtchn_unbind(r.evtchn, r.port));
	close(r.evtchn);
}

/* The ports are evtchn's: not the kernel's own, and not closed. */
TEST_F(privcmd_eventfd, ioeventfd_ports)
{
	struct requests r;
	uint32_t port;
	int ret;

	ret = requests_open(self, &r);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", r.why);
	ASSERT_EQ(0, ret);
	EXPECT_EQ(-ENOENT, ioeventfd_try(self, r.mem, NO_PORT));
	EXPECT_EQ(-EINVAL, ioeventfd_try(self, r.mem, UINT32_MAX));
	/* The first ones are the kernel's, or a daemon's. */
	for (port = 0; port < 8; port++) {
		ret = ioeventfd_try(self, r.mem, port);
		EXPECT_TRUE(!ret || ret == -EINVAL || ret == -ENOENT)
			TH_LOG("port %u: %d", port, ret);
	}
	ports(self, r.port, NO_PORT);
	EXPECT_EQ(-ENOENT, ioeventfd(self, r.mem, 2));

	/* One that is given up while it is used, even twice. */
	ports(self, r.port, r.port);
	EXPECT_EQ(0, ioeventfd(self, r.mem, 2));
	EXPECT_EQ(0, evtchn_unbind(r.evtchn, r.port));
	ASSERT_EQ(0, munmap(r.mem, 2 * self->page));
	EXPECT_EQ(-ENODEV, ioeventfd_end(self, r.mem));
	close(r.evtchn);
}

/* A page may have no frame behind it, unless it is a resource. */
TEST_F(privcmd_eventfd, ioeventfd_resource)
{
	struct requests r;
	int ret;

	ret = requests_open(self, &r);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", r.why);
	ASSERT_EQ(0, ret);
	EXPECT_EQ(0, ioeventfd_try(self, r.mem, r.port));
	ASSERT_EQ(0, map_frame(self, r.mem, r.domid, XEN_GUEST_RAM));
	EXPECT_EQ(-EFAULT, ioeventfd_try(self, r.mem, r.port));
	/* The pages of a refused frame stay. */
	EXPECT_GT(0, map_frame(self, r.mem, r.domid, 1ULL << 40));
	EXPECT_EQ(-EFAULT, ioeventfd_try(self, r.mem, r.port));
	/* The ones of a refused resource do not. */
	EXPECT_GT(0, map_resource(self, self->fd, r.mem, r.domid,
				  XENMEM_resource_grant_table, 0, 1 << 20));
	EXPECT_EQ(-EFAULT, ioeventfd_try(self, r.mem, r.port));
	ASSERT_EQ(0, munmap(r.mem, 2 * self->page));
	EXPECT_EQ(0, evtchn_unbind(r.evtchn, r.port));
	close(r.evtchn);
}

/* A file for one domain takes ports that are connected with that one. */
TEST_F(privcmd_eventfd, ioeventfd_restricted)
{
	const char *env = getenv("XEN_PEER");
	struct xen_peer peer;
	struct requests r;
	uint16_t domid;
	char why[160];
	uint32_t ref;
	int ret, fd;

	ret = requests_open(self, &r);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", r.why);
	ASSERT_EQ(0, ret);
	domid = r.domid;
	fd = xen_open("privcmd", why, sizeof(why));
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, IOCTL_PRIVCMD_RESTRICT, &domid));
	ASSERT_EQ(0, map_table(self, fd, r.mem, domid));

	ports(self, r.port, 0);
	EXPECT_EQ(-EPERM, ioeventfd_dom(self, fd, DOMID_IDLE, r.mem, 1, 0));
	EXPECT_EQ(-EPERM, ioeventfd_dom(self, fd, domid, r.mem, 1, 0));
	/* Another file may, with the same page. */
	EXPECT_EQ(0, ioeventfd_dom(self, self->fd, domid, r.mem, 1, 0));
	EXPECT_EQ(0, ioeventfd_dom(self, self->fd, domid, r.mem, 1,
				   DEASSIGN));

	ASSERT_EQ(0, xen_parse_peer(env, &ret, &ref));
	if (!xen_peer_open(&peer, r.domid, ref)) {
		if (peer.port > 0) {
			ports(self, peer.port, 0);
			EXPECT_EQ(0, ioeventfd_dom(self, fd, domid, r.mem, 1,
						   0));
			EXPECT_EQ(0, ioeventfd_dom(self, fd, domid, r.mem, 1,
						   DEASSIGN));
			/* All of the ports, not only the first one. */
			ports(self, peer.port, r.port);
			EXPECT_EQ(-EPERM, ioeventfd_dom(self, fd, domid, r.mem,
							2, 0));
		}
		xen_peer_close(&peer);
	}
	ASSERT_EQ(0, munmap(r.mem, 2 * self->page));
	close(fd);
	EXPECT_EQ(0, evtchn_unbind(r.evtchn, r.port));
	close(r.evtchn);
}

static int dm_op(FIXTURE_DATA(privcmd_eventfd) *self, int domid,
		 struct xen_dm_op_ioreq_server *op)
{
	struct privcmd_dm_op_buf buf = { .uptr = op, .size = sizeof(*op) };
	struct privcmd_dm_op call = { .dom = domid, .num = 1, .ubufs = &buf };

	return ioctl(self->fd, IOCTL_PRIVCMD_DM_OP, &call) ? -errno : 0;
}

/* A request as the domain makes one, and the answer. */
static bool request(FIXTURE_DATA(privcmd_eventfd) *self, struct requests *r,
		    int remote)
{
	struct pollfd p = { .fd = self->event, .events = POLLIN };
	struct ioreq *req = r->mem;
	uint64_t count = 0;

	req->addr = IO_ADDR + QUEUE_NOTIFY;
	req->size = 4;
	req->data = 0;
	req->type = IOREQ_TYPE_COPY;
	__atomic_store_n(&req->state, STATE_IOREQ_READY, __ATOMIC_RELEASE);
	return !evtchn_notify(r->evtchn, remote) && poll(&p, 1, 5000) == 1 &&
	       !eventfd_read(self->event, &count) && count == 1 &&
	       __atomic_load_n(&req->state, __ATOMIC_ACQUIRE) ==
	       STATE_IORESP_READY;
}

/* An ioeventfd answers requests, also when evtchn has given its port up. */
TEST_F(privcmd_eventfd, ioeventfd_event)
{
	struct xen_dm_op_ioreq_server op = { .op = XEN_DMOP_create_ioreq_server };
	struct requests r;
	int ret, remote;
	uint16_t id;

	ret = requests_open(self, &r);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", r.why);
	ASSERT_EQ(0, ret);
	ret = dm_op(self, r.domid, &op);
	if (ret)
		SKIP(return, "no ioreq server for this domain: %s",
		     strerror(-ret));
	id = op.create.id;
	EXPECT_EQ(0, map_resource(self, self->fd, r.mem, r.domid,
				  XENMEM_resource_ioreq_server, id,
				  XENMEM_resource_ioreq_frame));
	remote = evtchn_bind_interdomain(r.evtchn, DOMID_SELF, r.port);
	EXPECT_LT(0, remote);
	ports(self, r.port, 0);
	EXPECT_EQ(0, ioeventfd(self, r.mem, 1));
	EXPECT_TRUE(request(self, &r, remote));
	EXPECT_EQ(0, evtchn_wait(r.evtchn, r.port, 5000));
	EXPECT_TRUE(request(self, &r, remote));

	/* With that event not yet ended. */
	EXPECT_EQ(0, evtchn_unbind(r.evtchn, r.port));
	EXPECT_TRUE(request(self, &r, remote));
	EXPECT_EQ(0, ioeventfd_end(self, r.mem));
	EXPECT_EQ(0, evtchn_unbind(r.evtchn, remote));
	EXPECT_EQ(0, munmap(r.mem, 2 * self->page));

	memset(&op, 0, sizeof(op));
	op.op = XEN_DMOP_destroy_ioreq_server;
	op.destroy.id = id;
	EXPECT_EQ(0, dm_op(self, r.domid, &op));
	close(r.evtchn);
}

/**
 * FIXTURE(static_evtchn) - an event channel as Xen makes at boot: nobody's
 * @fd: /dev/xen/privcmd, for hypercalls
 * @evtchn: two /dev/xen/evtchn
 * @port: the channel's ends, both in this domain
 */
FIXTURE(static_evtchn) {
	int fd;
	int evtchn[2];
	uint32_t port[2];
};

static int evtchn_op(int fd, int cmd, void *arg)
{
	struct privcmd_hypercall call = {
		.op = HYPERVISOR_event_channel_op,
		.arg = { cmd, (uintptr_t)arg },
	};

	return ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call) ? -errno : 0;
}

FIXTURE_SETUP(static_evtchn)
{
	struct evtchn_alloc_unbound alloc = {
		.dom = DOMID_SELF, .remote_dom = DOMID_SELF,
	};
	struct evtchn_bind_interdomain bind = { .remote_dom = DOMID_SELF };
	struct evtchn_close end;
	char why[160];
	int i;

	if (xen_own_domid())
		SKIP(return, "not dom0, which makes hypercalls");
	self->fd = xen_open("privcmd", why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	for (i = 0; i < 2; i++) {
		self->evtchn[i] = xen_open("evtchn", why, sizeof(why));
		ASSERT_LE(0, self->evtchn[i]);
	}
	ASSERT_EQ(0, evtchn_op(self->fd, EVTCHNOP_alloc_unbound, &alloc));
	self->port[0] = alloc.port;
	bind.remote_port = alloc.port;
	end.port = alloc.port;
	ASSERT_EQ(0, evtchn_op(self->fd, EVTCHNOP_bind_interdomain, &bind)) {
		evtchn_op(self->fd, EVTCHNOP_close, &end);
	}
	self->port[1] = bind.local_port;
}

FIXTURE_TEARDOWN(static_evtchn)
{
	struct evtchn_close end;
	int i;

	for (i = 0; i < 2; i++) {
		close(self->evtchn[i]);
		end.port = self->port[i];
		EXPECT_EQ(0, evtchn_op(self->fd, EVTCHNOP_close, &end));
	}
	close(self->fd);
}

/* It can be bound, and again, as it is not closed when it is unbound. */
TEST_F(static_evtchn, again)
{
	int round, i;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < 2; i++) {
			ASSERT_EQ(0, evtchn_bind_static(self->evtchn[i],
							self->port[i]));
			/* One that is connected has an event by that. */
			evtchn_wait(self->evtchn[i], self->port[i], 100);
		}
		for (i = 0; i < 2; i++) {
			EXPECT_EQ(0, evtchn_notify(self->evtchn[i],
						   self->port[i]));
			EXPECT_EQ(0, evtchn_wait(self->evtchn[!i],
						 self->port[!i], 5000));
		}
		for (i = 0; i < 2; i++)
			EXPECT_EQ(0, evtchn_unbind(self->evtchn[i],
						   self->port[i]));
	}
}

XEN_TEST_MAIN(NULL)
