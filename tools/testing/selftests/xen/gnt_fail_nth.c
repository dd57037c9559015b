// SPDX-License-Identifier: GPL-2.0
/* Fault injection into the calls of /dev/xen/gntdev. */

#include "fail_nth.h"

#define UNMAPPED	UINT64_MAX
#define COPIES		20		/* more than one batch; also the grants */

static struct granter g = { .fd = -1 };
static uint64_t offset = UNMAPPED;	/* of the mapped grants */
static int port;

static int gntdev_undo(void)
{
	uint64_t mapped = offset;

	offset = UNMAPPED;
	return mapped == UNMAPPED ? 0 : gntdev_unmap(t.fd, mapped, t.nr);
}

FIXTURE(gnt_fail_nth) {
};

FIXTURE_VARIANT(gnt_fail_nth) {
	enum granter_kind kind;
};

FIXTURE_VARIANT_ADD(gnt_fail_nth, local) { GRANTER_LOCAL };
FIXTURE_VARIANT_ADD(gnt_fail_nth, peer) { GRANTER_PEER };

FIXTURE_SETUP(gnt_fail_nth)
{
	const char *why = fail_nth_open("gntdev");
	int ret;

	if (why)
		SKIP(return, "%s", why);
	ret = granter_open(&g, variant->kind, COPIES, GNTALLOC_FLAG_WRITABLE);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g.why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", g.why);
	t.undo = gntdev_undo;
}

FIXTURE_TEARDOWN(gnt_fail_nth)
{
	end_run();
	if (g.nr)
		EXPECT_EQ(0, granter_returned(&g));
	granter_close(&g);
	fail_nth_close(_metadata);
}

static int map(void)
{
	return gntdev_map(t.fd, g.domid, g.refs, t.nr, &offset);
}

static int mmap_grants(void)
{
	return map_pages(t.nr * xen_page_size(), RW, offset);
}

static int mapped(void)
{
	return map() ? : mmap_grants();
}

static bool shows_grants(void)
{
	uint64_t *word = t.addr + t.len - xen_page_size();

	return *word == xen_share_pattern(t.nr - 1, 0);
}

static const struct call maps[] = {
	{ "map", .call = map },
	/* vm_map_pages() reports a missing page table by EFAULT. */
	{ "mmap", map, mmap_grants, shows_grants, -EFAULT },
	{ "munmap", mapped, unmap_pages },
};

TEST_SWEEP(gnt_fail_nth, map_one, 1, maps)
TEST_SWEEP(gnt_fail_nth, map_two, 2, maps)

/* Only this test takes so many grants: fork copies each page of the granter. */
TEST_F_TIMEOUT(gnt_fail_nth, map_many, LONG)
{
	int ret;

	ASSERT_EQ(0, granter_returned(&g));
	ret = granter_alloc(&g, MANY, GNTALLOC_FLAG_WRITABLE);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g.why);
	ASSERT_EQ(0, ret);
	SWEEP_ALL(MANY, maps);
}

static const struct call hole[] = { { "hole", mapped, punch_hole } };

/* On PV the move unmaps the grants. */
static const struct call move[] = {
	{ "move", mapped, move_pages_away, .error = -EFAULT },
};

static const struct call forks[] = {
	{ "fork", mapped, fork_child, shows_grants, -EAGAIN },
};

static const struct call opens[] = { { "open", .call = open_second } };

TEST_SWEEP(gnt_fail_nth, hole, 3, hole)
TEST_SWEEP(gnt_fail_nth, move, 3, move)
TEST_SWEEP(gnt_fail_nth, fork, 2, forks)
TEST_SWEEP(gnt_fail_nth, open, 1, opens)

/* The file has a map without a mapping, and one with a mapping. */
static int map_twice(void)
{
	return map() ? : mapped();
}

static int close_maps(void)
{
	offset = UNMAPPED;
	return close_device();
}

static const struct call closes[] = {
	{ "close", map_twice, close_maps, .none = true },
};

TEST_SWEEP(gnt_fail_nth, close, 2, closes)

static int offset_notify(void)
{
	uint64_t found;
	uint32_t count;
	int ret;

	ret = gntdev_offset(t.fd, t.addr, &found, &count);
	if (!ret && (found != offset || count != t.nr))
		return -EIO;
	ret = ret ? : gntdev_notify(t.fd, offset, UNMAP_NOTIFY_CLEAR_BYTE, 0);
	ret = ret ? : gntdev_notify(t.fd, offset, UNMAP_NOTIFY_SEND_EVENT, port);
	return ret ? : gntdev_notify(t.fd, offset, 0, 0);
}

TEST_F_TIMEOUT(gnt_fail_nth, offset_notify, LONG)
{
	static const struct call calls[] = {
		{ "offset_notify", mapped, offset_notify, shows_grants,
		  .none = true },
	};
	char why[160];
	int evtchn;

	evtchn = xen_open("evtchn", why, sizeof(why));
	if (evtchn < 0)
		SKIP(return, "%s", why);
	port = evtchn_bind_unbound(evtchn, DOMID_SELF);
	ASSERT_LT(0, port);
	SWEEP_ALL(2, calls);
	close(evtchn);
}

/* The destination has no pages yet. */
static int new_pages(void)
{
	t.len = 2 * COPIES * xen_page_size();
	t.addr = mmap(NULL, t.len, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return t.addr == MAP_FAILED ? -errno : 0;
}

/* Each copy crosses the end of a page. */
static void *destination(unsigned int i)
{
	return t.addr + 2 * i * xen_page_size() + 64;
}

static int copy(void)
{
	struct gntdev_grant_copy_segment segs[COPIES] = {};
	unsigned int i;
	int ret;

	for (i = 0; i < COPIES; i++) {
		segs[i].flags = GNTCOPY_source_gref;
		segs[i].source.foreign.ref = g.refs[i];
		segs[i].source.foreign.domid = g.domid;
		segs[i].dest.virt = destination(i);
		segs[i].len = XEN_PAGE_SIZE;
	}
	ret = gntdev_copy(t.fd, segs, COPIES);
	for (i = 0; !ret && i < COPIES; i++)
		ret = segs[i].status;
	return ret;
}

static bool copied(void)
{
	uint64_t *last = destination(COPIES - 1);

	return *last == xen_share_pattern(COPIES - 1, 0);
}

static const struct call copies[] = { { "copy", new_pages, copy, copied } };

TEST_SWEEP(gnt_fail_nth, copy, 1, copies)

static int dmabuf_export(void)
{
	static struct {
		struct ioctl_gntdev_dmabuf_exp_from_refs op;
		uint32_t more[MANY];
	} arg;

	arg.op.count = t.nr;
	arg.op.domid = g.domid;
	memcpy(arg.op.refs, g.refs, t.nr * sizeof(*arg.op.refs));
	if (ioctl(t.fd, IOCTL_GNTDEV_DMABUF_EXP_FROM_REFS, &arg))
		return -errno;
	t.fd2 = arg.op.fd;
	return 0;
}

/* The dma-buf is in use: the wait allocates an object and times out. */
static int dmabuf_wait(void)
{
	struct ioctl_gntdev_dmabuf_exp_wait_released op = { .fd = t.fd2 };

	if (!ioctl(t.fd, IOCTL_GNTDEV_DMABUF_EXP_WAIT_RELEASED, &op))
		return -EIO;
	return errno == ETIMEDOUT ? 0 : -errno;
}

static int dmabuf_import(void)
{
	static struct {
		struct ioctl_gntdev_dmabuf_imp_to_refs op;
		uint32_t more[MANY];
	} arg;

	arg.op.fd = t.fd2;
	arg.op.count = t.nr;
	arg.op.domid = DOMID_INVALID;
	return ioctl(t.fd, IOCTL_GNTDEV_DMABUF_IMP_TO_REFS, &arg) ? -errno : 0;
}

static bool dmabuf_imported(void)
{
	struct ioctl_gntdev_dmabuf_imp_release op = { .fd = t.fd2 };

	return !ioctl(t.fd, IOCTL_GNTDEV_DMABUF_IMP_RELEASE, &op);
}

TEST_F_TIMEOUT(gnt_fail_nth, dmabuf, LONG)
{
	static const struct call calls[] = {
		{ "export", .call = dmabuf_export },
		{ "wait", dmabuf_export, dmabuf_wait },
	};
	static const struct call imports[] = {
		{ "import", dmabuf_export, dmabuf_import, dmabuf_imported },
	};
	static const unsigned int sizes[] = { 1, 2, 20 };
	unsigned int i;
	int ret;

	t.nr = 1;
	ret = dmabuf_export();
	if (ret == -ENOTTY)
		SKIP(return, "no CONFIG_XEN_GNTDEV_DMABUF");
	if (xen_guest_type() == XEN_GUEST_PV)
		SKIP(return, "no dma-bufs in a PV domain");
	ASSERT_EQ(0, ret);
	ret = dmabuf_import();
	if (ret)
		TH_LOG("no import here: %s", strerror(-ret));
	else
		EXPECT_TRUE(dmabuf_imported());
	end_run();
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		SWEEP_ALL(sizes[i], calls);
		if (!ret)
			SWEEP_ALL(sizes[i], imports);
	}
}

FAIL_NTH_MAIN()
