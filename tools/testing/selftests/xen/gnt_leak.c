// SPDX-License-Identifier: GPL-2.0
/*
 * Grants that are not unmapped, as Xen refuses it or the kernel fails to ask:
 * their pages are lost, and not given to anybody else. Grants that can't be
 * given: nothing is lost.
 *
 * Where this fails the kernel is not fit for other tests, so it is the last.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "xen_test.h"

#define RW	(PROT_READ | PROT_WRITE)
#define NR	3

/* Lets a function of gntdev fail the next @times times. */
static int fail_next(const char *function, const char *times)
{
	return xen_fail(function, "0xffffffffffffffea" /* -EINVAL */, times);
}

static void fail_none(void)
{
	xen_fail_end("unmap_status");
	xen_fail_end("unmap_user_ops");
}

/**
 * FIXTURE(gnt_leak) - grants of which one or more will not be unmapped
 * @g: where they come from
 * @m: the mapping
 * @leaked: pages lost before the test
 * @kmsg: the kernel's messages from here on
 */
FIXTURE(gnt_leak) {
	struct granter g;
	struct xen_map m;
	unsigned int leaked;
	int kmsg;
};

FIXTURE_VARIANT(gnt_leak) {
	enum granter_kind kind;
};

FIXTURE_VARIANT_ADD(gnt_leak, local) { .kind = GRANTER_LOCAL };
FIXTURE_VARIANT_ADD(gnt_leak, peer) { .kind = GRANTER_PEER };

FIXTURE_SETUP(gnt_leak)
{
	struct granter *g = &self->g;
	int ret;

	self->kmsg = xen_kmsg_open();
	ASSERT_LE(0, self->kmsg);
	ret = granter_open(g, variant->kind, NR, GNTALLOC_FLAG_WRITABLE);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g->why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", g->why);
	ret = fail_next("unmap_status", "0");
	if (ret == -ENOENT)
		SKIP(return, "no CONFIG_FAIL_FUNCTION");
	if (ret)
		SKIP(return, "gntdev takes no injected errors");
	fail_none();
	ASSERT_EQ(0, xen_param_get("xen_gntdev", "leaked", &self->leaked));
}

FIXTURE_TEARDOWN(gnt_leak)
{
	fail_none();
	granter_close(&self->g);
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

/* Maps and unmaps many grants, which would take a page that was freed. */
static bool others_work(struct granter *g)
{
	unsigned int page, round;
	struct xen_map m;

	if (granter_alloc(g, 200, GNTALLOC_FLAG_WRITABLE))
		return false;
	for (round = 0; round < 3; round++) {
		if (xen_map(&m, g->domid, g->refs, 200, RW))
			return false;
		for (page = 0; page < 200; page += 20)
			if (!xen_map_works(&m, g, page))
				return false;
		if (xen_unmap(&m))
			return false;
	}
	return !granter_returned(g);
}

/* The number of pages lost since the test began. */
static int leaked(FIXTURE_DATA(gnt_leak) *self)
{
	unsigned int now;

	usleep(50000);
	return xen_param_get("xen_gntdev", "leaked", &now) ? -1 :
	       now - self->leaked;
}

/* @fn in a child returns 0, and all the pages that it had mapped are lost. */
static void lost_in_child(struct __test_metadata *_metadata,
			  FIXTURE_DATA(gnt_leak) *self,
			  int (*fn)(FIXTURE_DATA(gnt_leak) *self))
{
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(fn(self));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	fail_none();
	EXPECT_EQ(NR, leaked(self));
	/* Xen has them mapped for ever. */
	EXPECT_EQ(NR, granter_end(&self->g, 300));
	EXPECT_TRUE(others_work(&self->g));
	EXPECT_EQ(NR, leaked(self));
}

/* In a process that has no other grants mapped; 0 if all is well. */
static int find_by_ptes(FIXTURE_DATA(gnt_leak) *self)
{
	uint64_t val, *word;
	struct iovec local = { &val, sizeof(val) }, remote;
	int fd;

	if (xen_map(&self->m, self->g.domid, self->g.refs, NR, RW))
		return 1;
	/* This unmaps grants, and without soft-dirty bits does nothing else. */
	fd = open("/proc/self/clear_refs", O_WRONLY);
	if (fail_next("unmap_user_ops", "1") || write(fd, "4", 1) != 1)
		return 2;
	fail_none();
	word = xen_map_word(&self->m, 1, 8);
	remote = (struct iovec){ word, sizeof(*word) };
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) !=
	    sizeof(val))
		return 3;
	return val == xen_share_pattern(1, 1) ? 0 : 4;
}

/*
 * Xen has not unmapped the PTEs of a PV domain's process, which goes on: what is
 * found by them is the granter's memory.
 */
TEST_F(gnt_leak, ptes_found)
{
	if (xen_guest_type() != XEN_GUEST_PV)
		SKIP(return, "Xen writes no PTEs here");
	if (access("/proc/self/clear_refs", W_OK))
		SKIP(return, "no CONFIG_PROC_PAGE_MONITOR");
	lost_in_child(_metadata, self, find_by_ptes);
}

/* Xen says no for two pages: they are counted, and not given away. */
TEST_F(gnt_leak, refused)
{
	ASSERT_EQ(0, xen_map(&self->m, self->g.domid, self->g.refs, NR, RW));
	ASSERT_EQ(0, fail_next("unmap_status", "2"));
	EXPECT_EQ(0, xen_unmap(&self->m));
	fail_none();
	EXPECT_EQ(2, leaked(self));
	/* On PV it is the process' mapping, and the kernel's stays with it. */
	EXPECT_EQ(xen_guest_type() == XEN_GUEST_PV ? 2 : 0,
		  granter_end(&self->g, 300));
	EXPECT_TRUE(others_work(&self->g));
	EXPECT_EQ(2, leaked(self));
}

static int leave_ptes(FIXTURE_DATA(gnt_leak) *self)
{
	return xen_map(&self->m, self->g.domid, self->g.refs, NR, RW) ||
	       fail_next("unmap_user_ops", "1") || xen_unmap(&self->m);
}

/*
 * The PTEs of a PV domain are still present when they are zapped. That must not
 * be counted, which check_mm() sees when the process is gone.
 */
TEST_F(gnt_leak, ptes_left)
{
	if (xen_guest_type() != XEN_GUEST_PV)
		SKIP(return, "Xen writes no PTEs here");
	lost_in_child(_metadata, self, leave_ptes);
}

/* gntalloc forgets nothing, and counts right, when the grant table is full. */
TEST(table_full)
{
	enum { CHUNK = 512, MAX = 300 };
	unsigned int limit, i, full = 0;
	uint32_t refs[CHUNK];
	uint64_t index;
	char why[160];
	int fd, ret;

	fd = xen_open("gntalloc", why, sizeof(why));
	if (fd < 0)
		SKIP(return, "%s", why);
	/* The table has 32768 entries, unless Xen was told otherwise. */
	if (xen_free_memory() / xen_page_size() < 40000)
		SKIP(return, "no memory to fill the grant table with");
	ASSERT_EQ(0, xen_param_get("xen_gntalloc", "limit", &limit));
	ASSERT_EQ(0, xen_param_set("xen_gntalloc", "limit", MAX * CHUNK));
	for (i = 0; i < MAX && full < 4; i++) {
		ret = gntalloc_alloc(fd, DOMID_INVALID, 0, CHUNK, refs, &index);
		if (ret)
			full++;
	}
	EXPECT_EQ(-ENOSPC, ret);
	close(fd);
	ASSERT_EQ(0, xen_param_set("xen_gntalloc", "limit", limit));
	if (full < 4)
		SKIP(return, "%u grants do not fill the table", MAX * CHUNK);

	fd = xen_open("gntalloc", why, sizeof(why));
	ASSERT_LE(0, fd);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, gntalloc_alloc(fd, DOMID_INVALID, 0, 1, refs,
					    &index));
	close(fd);
}

int main(int argc, char **argv)
{
	xen_gntalloc_room(8192);
	return test_harness_run(argc, argv);
}
