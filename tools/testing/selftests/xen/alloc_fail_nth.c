// SPDX-License-Identifier: GPL-2.0
/* Fault injection into the calls of /dev/xen/gntalloc. */

#include "fail_nth.h"

static uint32_t refs[MANY];
static uint64_t offset;			/* of the pages */
static int domid, port;

FIXTURE(alloc_fail_nth) {
};

FIXTURE_SETUP(alloc_fail_nth)
{
	const char *why = fail_nth_open("gntalloc");

	if (why)
		SKIP(return, "%s", why);
	domid = xen_own_domid();
	if (domid < 0)
		SKIP(return, "own domain id unknown: no xenstore");
}

FIXTURE_TEARDOWN(alloc_fail_nth)
{
	fail_nth_close(_metadata);
	if (t.nr)
		EXPECT_EQ(0, xen_refs_in_use(domid, refs, t.nr, 0));
}

static int alloc(void)
{
	return gntalloc_alloc(t.fd, domid, GNTALLOC_FLAG_WRITABLE, t.nr, refs,
			      &offset);
}

static int dealloc(void)
{
	return gntalloc_dealloc(t.fd, offset, t.nr);
}

static int mmap_pages(void)
{
	return map_pages(t.nr * xen_page_size(), RW, offset);
}

static int mapped(void)
{
	return alloc() ? : mmap_pages();
}

static const struct call pages[] = {
	{ "alloc", .call = alloc, .error = -ENOSPC },
	{ "dealloc", alloc, dealloc, .none = true },
	{ "mmap", alloc, mmap_pages },
	{ "munmap", mapped, unmap_pages },
};

TEST_SWEEP(alloc_fail_nth, one, 1, pages)
TEST_SWEEP(alloc_fail_nth, two, 2, pages)
TEST_SWEEP(alloc_fail_nth, many, MANY, pages)

static const struct call mapping[] = {
	{ "fork", mapped, fork_child, .error = -EAGAIN },
	{ "hole", mapped, punch_hole },
	{ "move", mapped, move_pages_away, .error = -EFAULT },
};

TEST_SWEEP(alloc_fail_nth, mapping, 3, mapping)

static int notify(void)
{
	return gntalloc_notify(t.fd, offset, UNMAP_NOTIFY_CLEAR_BYTE, 0) ? :
	       gntalloc_notify(t.fd, offset, UNMAP_NOTIFY_SEND_EVENT, port);
}

TEST_F_TIMEOUT(alloc_fail_nth, notify_open_close, LONG)
{
	static const struct call calls[] = {
		{ "notify", mapped, notify, .none = true },
		{ "open", .call = open_second },
		{ "close", mapped, close_device, .none = true },
	};
	char why[160];
	int evtchn;

	evtchn = xen_open("evtchn", why, sizeof(why));
	if (evtchn < 0)
		SKIP(return, "%s", why);
	port = evtchn_bind_unbound(evtchn, DOMID_SELF);
	ASSERT_LT(0, port);
	SWEEP_ALL(1, calls);
	EXPECT_EQ(0, evtchn_unbind(evtchn, port));
	close(evtchn);
}

FAIL_NTH_MAIN()
