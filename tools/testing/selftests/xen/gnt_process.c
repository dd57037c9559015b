// SPDX-License-Identifier: GPL-2.0
/*
 * What becomes of mapped grants when the process forks, moves or changes its
 * mappings, or is killed.
 *
 * On PV the hypervisor knows each user page table entry of a grant by its
 * address: such an entry cannot be copied, moved or changed, only given up.
 * Elsewhere the grant is mapped in the guest's physical address space and user
 * page tables are like any others.
 */

#include <errno.h>
#include <signal.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "xen_test.h"

#define RW	(PROT_READ | PROT_WRITE)
#define NR	5

/**
 * FIXTURE(gnt_process) - some mapped grants
 * @g: where they come from
 * @m: the mapping
 * @page: PAGE_SIZE
 * @pv: the user page tables hold the grants themselves
 */
FIXTURE(gnt_process) {
	struct granter g;
	struct xen_map m;
	size_t page;
	bool pv;
};

GRANTER_VARIANTS(gnt_process);

FIXTURE_SETUP(gnt_process)
{
	struct granter *g = &self->g;

	GRANTER_OPEN(g, NR, GNTALLOC_FLAG_WRITABLE);
	ASSERT_EQ(0, xen_map(&self->m, g->domid, g->refs, NR, RW));
	self->page = xen_page_size();
	self->pv = xen_guest_type() == XEN_GUEST_PV;
}

/* Closes and unmaps everything, whatever the test left of it. */
FIXTURE_TEARDOWN(gnt_process)
{
	munmap(self->m.addr, xen_map_len(&self->m));
	close(self->m.fd);
	EXPECT_EQ(0, granter_returned(&self->g));
	granter_close(&self->g);
}

/* The mapper and the granter see each other's writes to @page. */
#define page_works(page) \
	xen_map_works(&self->m, &self->g, page)

/* 0, or SIGBUS if the kernel gave @page up and put nothing in its place. */
#define probe_page(page) \
	xen_probe(xen_map_word(&self->m, page, 0), false)

/* Waits for @pid; whether it ended with status 0. */
static bool child_ok(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}

/* Tells the parent through @fd that all is (not) well, and awaits its end. */
static void report_and_wait(int fd, bool ok)
{
	if (write(fd, &ok, 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* What the child said. */
static bool reported(int fd)
{
	bool ok;

	return read(fd, &ok, 1) == 1 && ok;
}

/* A child has the pages too, or on PV SIGSEGV; its end changes nothing. */
TEST_F(gnt_process, fork)
{
	unsigned int page;
	int want = self->pv ? SIGSEGV : 0;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		for (page = 0; page < NR; page++) {
			if (xen_probe(xen_map_word(&self->m, page, 0), true) !=
			    want)
				_exit(1);
			if (!want && !page_works(page))
				_exit(2);
		}
		_exit(0);
	}
	EXPECT_TRUE(child_ok(pid));
	for (page = 0; page < NR; page++)
		EXPECT_TRUE(page_works(page));
}

/* Where a child has the pages it keeps them when the parent unmaps its own. */
TEST_F(gnt_process, child_outlives)
{
	int pipefd[2];
	char c;
	pid_t pid;

	if (self->pv)
		SKIP(return, "a PV child does not inherit grants");
	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* The parent's end is closed when it has unmapped. */
		close(pipefd[1]);
		if (read(pipefd[0], &c, 1))
			_exit(1);
		for (c = 0; c < NR; c++)
			if (!page_works(c))
				_exit(2);
		_exit(0);
	}
	EXPECT_EQ(0, munmap(self->m.addr, xen_map_len(&self->m)));
	EXPECT_EQ(0, gntdev_unmap(self->m.fd, self->m.index, NR));
	close(pipefd[1]);
	EXPECT_TRUE(child_ok(pid));
}

/* A hole in the middle of the mapping leaves the pages around it. */
TEST_F(gnt_process, munmap_middle)
{
	ASSERT_EQ(0, munmap(self->m.addr + self->page, 2 * self->page));
	EXPECT_TRUE(page_works(0));
	EXPECT_EQ(SIGSEGV, xen_probe(xen_map_word(&self->m, 1, 0), false));
	EXPECT_EQ(SIGSEGV, xen_probe(xen_map_word(&self->m, 2, 0), false));
	EXPECT_TRUE(page_works(3));
	EXPECT_TRUE(page_works(4));
}

/* Unmapped page by page, from both ends, as good as unmapped at once. */
TEST_F(gnt_process, munmap_pieces)
{
	const unsigned int order[NR] = { 0, 4, 2, 3, 1 };
	unsigned int i;

	for (i = 0; i < NR; i++) {
		EXPECT_TRUE(page_works(order[i]));
		EXPECT_EQ(0, munmap(self->m.addr + order[i] * self->page,
				    self->page));
	}
	EXPECT_EQ(0, gntdev_unmap(self->m.fd, self->m.index, NR));
}

/* There is nothing to grow into: EFAULT, and the mapping is as before. */
TEST_F(gnt_process, mremap_grow)
{
	unsigned int page;

	EXPECT_EQ(MAP_FAILED, mremap(self->m.addr, xen_map_len(&self->m),
				     xen_map_len(&self->m) + self->page,
				     MREMAP_MAYMOVE));
	EXPECT_EQ(EFAULT, errno);
	for (page = 0; page < NR; page++)
		EXPECT_TRUE(page_works(page));
}

/* Shrinking is an munmap of the end. */
TEST_F(gnt_process, mremap_shrink)
{
	ASSERT_EQ(self->m.addr, mremap(self->m.addr, xen_map_len(&self->m),
				       2 * self->page, 0));
	EXPECT_TRUE(page_works(0));
	EXPECT_TRUE(page_works(1));
	EXPECT_EQ(SIGSEGV, xen_probe(xen_map_word(&self->m, 2, 0), false));
}

/*
 * Moved pages work at the new place. On PV, where Xen moves no PTE of a grant,
 * they are gone, and nothing else is at either place.
 */
TEST_F(gnt_process, mremap_move)
{
	size_t len = xen_map_len(&self->m);
	void *old = self->m.addr, *new;
	unsigned int page;

	new = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, new);
	ASSERT_EQ(new, mremap(old, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			      new));
	self->m.addr = new;
	EXPECT_EQ(SIGSEGV, xen_probe(old, false));
	for (page = 0; page < NR; page++) {
		EXPECT_EQ(self->pv ? SIGBUS : 0, probe_page(page));
		if (!self->pv)
			EXPECT_TRUE(page_works(page));
	}
}

/*
 * A page that is made read-only refuses stores, made writable it takes them.
 * On PV, where Xen changes no PTE of a grant, mprotect() is refused with EINVAL
 * and the page stays writable. The other pages are intact.
 */
TEST_F(gnt_process, mprotect_middle)
{
	uint64_t *word = xen_map_word(&self->m, 2, 0);
	unsigned int page;

	errno = 0;
	EXPECT_EQ(self->pv ? -1 : 0, mprotect(word, self->page, PROT_READ));
	EXPECT_EQ(self->pv ? EINVAL : 0, errno);
	EXPECT_EQ(self->pv ? 0 : SIGSEGV, xen_probe(word, true));
	EXPECT_TRUE(page_works(1));
	EXPECT_TRUE(page_works(3));
	EXPECT_EQ(0, mprotect(word, self->page, RW));
	for (page = 0; page < NR; page++)
		EXPECT_TRUE(page_works(page));
}

/* MADV_DONTNEED takes a page away, there is no fault to bring it back. */
TEST_F(gnt_process, madvise_middle)
{
	EXPECT_EQ(0, madvise(xen_map_word(&self->m, 2, 0), self->page,
			     MADV_DONTNEED));
	EXPECT_EQ(SIGBUS, probe_page(2));
	EXPECT_TRUE(page_works(1));
	EXPECT_TRUE(page_works(3));
}

/* A process that is killed with maps leaves none: see the teardown. */
TEST_F(gnt_process, killed_with_maps)
{
	struct granter *g = &self->g;
	struct xen_map a, b;
	int pipefd[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		/* One is mapped, one has a hole, one was never mmapped. */
		report_and_wait(pipefd[1],
				!xen_map(&a, g->domid, g->refs, NR, RW) &&
				!xen_map(&b, g->domid, g->refs, NR, RW) &&
				!munmap(b.addr + self->page, self->page) &&
				!gntdev_map(a.fd, g->domid, g->refs, NR,
					    &a.index));
	EXPECT_TRUE(reported(pipefd[0]));
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	/* The parent's own maps are untouched. */
	EXPECT_TRUE(page_works(0));
	EXPECT_TRUE(page_works(NR - 1));
}

/* Grants that nobody has mapped end with the process that made them. */
TEST(killed_with_grants)
{
	int fd, pipefd[2], domid = xen_own_domid();
	uint64_t index;
	uint32_t *refs;
	char why[160];
	pid_t pid;

	fd = xen_open("gntalloc", why, sizeof(why));
	if (fd < 0)
		SKIP(return, "%s", why);
	close(fd);
	if (domid < 0)
		SKIP(return, "own domain id unknown: no xenstore");
	refs = mmap(NULL, NR * sizeof(*refs), RW, MAP_SHARED | MAP_ANONYMOUS,
		    -1, 0);
	ASSERT_NE(MAP_FAILED, refs);
	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		fd = xen_open("gntalloc", why, sizeof(why));
		report_and_wait(pipefd[1],
				!gntalloc_alloc(fd, domid, 0, NR, refs,
						&index) &&
				mmap(NULL, NR * xen_page_size(), RW, MAP_SHARED,
				     fd, index) != MAP_FAILED);
	}
	EXPECT_TRUE(reported(pipefd[0]));
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_EQ(0, xen_refs_in_use(domid, refs, NR, 0));
}

/* A page outlives its granter as long as it is mapped, and not longer. */
TEST(granter_killed)
{
	struct granter *g;
	struct xen_map m;
	int ret, pipefd[2];
	pid_t pid;

	g = mmap(NULL, sizeof(*g), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, g);
	ret = granter_open(g, GRANTER_LOCAL, 1, GNTALLOC_FLAG_WRITABLE);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g->why);
	ASSERT_EQ(0, ret);
	granter_close(g);
	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		report_and_wait(pipefd[1],
				!granter_open(g, GRANTER_LOCAL, 1,
					      GNTALLOC_FLAG_WRITABLE));
	EXPECT_TRUE(reported(pipefd[0]));
	ASSERT_EQ(0, xen_map(&m, g->domid, g->refs, 1, RW));
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_EQ(1, xen_refs_in_use(g->domid, g->refs, 1, 0));
	EXPECT_EQ(xen_share_pattern(0, 5), *xen_map_word(&m, 0, 40));
	EXPECT_EQ(0, xen_probe(m.addr, true));
	EXPECT_EQ(0, xen_unmap(&m));
	EXPECT_EQ(0, xen_refs_in_use(g->domid, g->refs, 1, XEN_RETURN_MS));
}

XEN_TEST_MAIN(NULL)
