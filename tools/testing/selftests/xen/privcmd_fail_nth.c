// SPDX-License-Identifier: GPL-2.0
/* Fault injection into the calls of /dev/xen/privcmd. */

#include <sys/eventfd.h>

#include "fail_nth.h"
#include "xen_privcmd.h"

static xen_pfn_t frames[MANY];
static int domid;
static unsigned int port;

FIXTURE(privcmd_fail_nth) {
};

FIXTURE_SETUP(privcmd_fail_nth)
{
	const char *why = fail_nth_open("privcmd");

	why = why ? : privcmd_frames(t.fd, MANY, frames, &domid);
	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(privcmd_fail_nth)
{
	fail_nth_close(_metadata);
}

static int mmap_empty(void)
{
	size_t page = xen_page_size(), len = t.nr * XEN_PAGE_SIZE;

	return map_pages((len + page - 1) / page * page, PROT_READ, 0);
}

static int batch(void)
{
	static int errs[MANY];
	unsigned int i;
	int ret;

	ret = privcmd_batch(t.fd, domid, t.addr, t.nr, frames, errs);
	for (i = 0; !ret && i < t.nr; i++)
		ret = errs[i];
	return ret;
}

static int old_call(void)
{
	return mmap_frames(t.fd, domid, 1, t.addr, t.nr, frames[0]);
}

static int mapped(void)
{
	return mmap_empty() ? : batch();
}

TEST_F_TIMEOUT(privcmd_fail_nth, frames, LONG)
{
	static const struct call calls[] = {
		{ "batch", mmap_empty, batch },
		{ "unmap", mapped, unmap_pages },
	};
	static const struct call old[] = { { "old", mmap_empty, old_call } };
	static const unsigned int sizes[] = { 1, 2, 40, MANY };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		SWEEP_ALL(sizes[i], calls);
		if (xen_guest_type() == XEN_GUEST_PV)
			SWEEP_ALL(sizes[i], old);
	}
}

static int table_size(void)
{
	struct privcmd_mmap_resource op = {
		.dom = domid, .type = XENMEM_resource_grant_table,
	};

	if (ioctl(t.fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op))
		return -errno;
	return op.num ? 0 : -EIO;
}

static int table(void)
{
	return map_grant_table(t.fd, domid, t.addr, t.nr, 0);
}

/* Xen refuses this operation after the kernel has taken its two buffers. */
static int device_model(void)
{
	static char bytes[2][64];
	struct privcmd_dm_op_buf bufs[2] = {
		{ bytes[0], sizeof(bytes[0]) }, { bytes[1], sizeof(bytes[1]) },
	};
	int ret;

	memset(bytes, 0xff, sizeof(bytes));
	ret = privcmd_dm_op(t.fd, domid, 2, bufs);
	return ret == -ENOMEM || ret == -EFAULT ? ret : 0;
}

static int restrict_second(void)
{
	domid_t only = domid;

	return ioctl(t.fd2, IOCTL_PRIVCMD_RESTRICT, &only) ? -errno : 0;
}

TEST_F_TIMEOUT(privcmd_fail_nth, others, LONG)
{
	static const struct call calls[] = {
		{ "size", .call = table_size, .none = true },
		{ "table", mmap_empty, table },
		{ "dm_op", .call = device_model },
		{ "open", .call = open_second },
		{ "restrict", open_second, restrict_second, .none = true },
	};
	uint32_t ref;

	domid = xen_peer_domid(&ref);
	if (domid < 0)
		SKIP(return, "no XEN_PEER, whose grant table to map");
	SWEEP_ALL(1, calls);
}

static int new_eventfd(void)
{
	t.fd2 = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return t.fd2 < 0 ? -errno : 0;
}

/* A DM_OP that nobody triggers. */
static int irqfd(uint32_t flags)
{
	struct privcmd_irqfd op = {
		.dm_op = (uintptr_t)frames, .size = 16, .fd = t.fd2,
		.flags = flags, .dom = domid,
	};

	return ioctl(t.fd, IOCTL_PRIVCMD_IRQFD, &op) ? -errno : 0;
}

static int irqfd_assign(void)
{
	return irqfd(0);
}

static bool irqfd_deassigned(void)
{
	return !irqfd(PRIVCMD_IRQFD_FLAG_DEASSIGN);
}

/* The requests of one vCPU are in the first page. */
static int ioeventfd(uint32_t flags)
{
	struct privcmd_ioeventfd op = {
		.ioreq = (uintptr_t)t.addr, .ports = (uintptr_t)&port,
		.addr_len = 4, .event_fd = t.fd2, .vcpus = 1,
		.flags = flags, .dom = domid,
	};

	return ioctl(t.fd, IOCTL_PRIVCMD_IOEVENTFD, &op) ? -errno : 0;
}

/* The pages of requests must show a resource. */
static int ioeventfd_prepare(void)
{
	return new_eventfd() ? : map_pages(xen_page_size(), RW, 0) ? : table();
}

static int ioeventfd_assign(void)
{
	return ioeventfd(0);
}

static bool ioeventfd_deassigned(void)
{
	return !ioeventfd(PRIVCMD_IOEVENTFD_FLAG_DEASSIGN);
}

TEST_F_TIMEOUT(privcmd_fail_nth, eventfds, LONG)
{
	static const struct call irq[] = {
		{ "irqfd", new_eventfd, irqfd_assign, irqfd_deassigned },
	};
	static const struct call io[] = {
		{ "ioeventfd", ioeventfd_prepare, ioeventfd_assign,
		  ioeventfd_deassigned, -ENOSPC },
	};
	char why[160];
	int evtchn;

	evtchn = xen_open("evtchn", why, sizeof(why));
	if (evtchn < 0)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, new_eventfd());
	if (irqfd(PRIVCMD_IRQFD_FLAG_DEASSIGN) == -EOPNOTSUPP)
		SKIP(return, "no CONFIG_XEN_PRIVCMD_EVENTFD");
	end_run();
	SWEEP_ALL(1, irq);
	/* A PV domain has no pages behind mapped frames. */
	if (xen_guest_type() != XEN_GUEST_PV) {
		port = evtchn_bind_unbound(evtchn, DOMID_SELF);
		ASSERT_LT(0, (int)port);
		SWEEP_ALL(1, io);
	}
	close(evtchn);
}

FAIL_NTH_MAIN()
