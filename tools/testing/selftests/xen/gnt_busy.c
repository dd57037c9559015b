// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that are in use when the process that mapped the grant gives them up.
 *
 * Whoever uses such a page, a pipe or a disk say, must go on with the granter's
 * memory, and the grant must come back when the page is idle, neither before
 * nor never. Nothing else may change: no report of the kernel, no count out of
 * balance, no page of somebody else's.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "xen_hold.h"
#include "xen_test.h"

#define RW	(PROT_READ | PROT_WRITE)
#define PIECES	9

/*
 * Ends the grants when gntdev is done with them, that is, has as many users as
 * before the test: those that end earlier go to a list that takes a second for
 * ten of them.
 */
static int returned(struct granter *g, int users)
{
	int tries = 1000;

	if (!g->nr)
		return 0;
	do
		usleep(20000);
	while (xen_module_users("xen_gntdev") != users && --tries);
	return tries ? granter_returned(g) : -EBUSY;
}

/**
 * FIXTURE(gnt_busy) - mapped grants, and somebody who uses a page of them
 * @g: where they come from; in shared memory, as a child may use it
 * @m: the mapping; so is this
 * @h: the users; so are these
 * @page: PAGE_SIZE
 * @users: of the module, before the test
 * @kmsg: the kernel's messages from here on
 */
FIXTURE(gnt_busy) {
	struct granter *g;
	struct xen_map *m;
	struct hold *h;
	size_t page;
	int users;
	int kmsg;
};

FIXTURE_VARIANT(gnt_busy) {
	enum granter_kind kind;
	enum hold_kind hold;
};

FIXTURE_VARIANT_ADD(gnt_busy, local_pipe) { GRANTER_LOCAL, HOLD_PIPE };
FIXTURE_VARIANT_ADD(gnt_busy, local_socket) { GRANTER_LOCAL, HOLD_SOCKET };
FIXTURE_VARIANT_ADD(gnt_busy, local_uring) { GRANTER_LOCAL, HOLD_URING };
FIXTURE_VARIANT_ADD(gnt_busy, local_dio_write) { GRANTER_LOCAL, HOLD_DIO_WRITE };
FIXTURE_VARIANT_ADD(gnt_busy, local_dio_read) { GRANTER_LOCAL, HOLD_DIO_READ };
FIXTURE_VARIANT_ADD(gnt_busy, peer_pipe) { GRANTER_PEER, HOLD_PIPE };
FIXTURE_VARIANT_ADD(gnt_busy, peer_socket) { GRANTER_PEER, HOLD_SOCKET };
FIXTURE_VARIANT_ADD(gnt_busy, peer_uring) { GRANTER_PEER, HOLD_URING };
FIXTURE_VARIANT_ADD(gnt_busy, peer_dio_write) { GRANTER_PEER, HOLD_DIO_WRITE };
FIXTURE_VARIANT_ADD(gnt_busy, peer_dio_read) { GRANTER_PEER, HOLD_DIO_READ };

FIXTURE_SETUP(gnt_busy)
{
	int ret;

	self->page = xen_page_size();
	self->g = mmap(NULL, sizeof(*self->g), RW, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	self->m = mmap(NULL, self->page, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->g);
	ASSERT_NE(MAP_FAILED, self->m);
	self->h = (void *)(self->m + 1);

	self->kmsg = xen_kmsg_open();
	ASSERT_LE(0, self->kmsg);
	GRANTER_OPEN(self->g, 1, GNTALLOC_FLAG_WRITABLE);
	self->users = xen_module_users("xen_gntdev");
	ret = hold_init(&self->h[0], variant->hold);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", self->h[0].why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", self->h[0].why);
}

FIXTURE_TEARDOWN(gnt_busy)
{
	EXPECT_EQ(0, returned(self->g, self->users));
	hold_exit(&self->h[0]);
	granter_close(self->g);
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

/* Maps @nr new grants. */
static int map(FIXTURE_DATA(gnt_busy) *self, unsigned int nr)
{
	int ret = returned(self->g, self->users);

	if (!ret)
		ret = granter_alloc(self->g, nr, GNTALLOC_FLAG_WRITABLE);
	return ret ? : xen_map(self->m, self->g->domid, self->g->refs, nr, RW);
}

static void *page_addr(FIXTURE_DATA(gnt_busy) *self, unsigned int page)
{
	return xen_map_word(self->m, page, 0);
}

static int unmap_page(FIXTURE_DATA(gnt_busy) *self, unsigned int page)
{
	return munmap(page_addr(self, page), self->page);
}

/*
 * What @h has in its hands is @page of the granter, and what the granter writes
 * now is seen by it; ends the use.
 */
static bool held_is_right(struct hold *h, struct granter *g, unsigned int page)
{
	static uint64_t n = 0xb551;
	uint64_t buf[XEN_PAGE_SIZE / sizeof(uint64_t)], val;
	unsigned int word;

	n++;
	if (granter_poke(g, page, 8, n) || hold_release(h, buf))
		return false;
	if (h->in)
		return !granter_peek(g, page, 1024, &val) && val == buf[128] &&
		       !granter_peek(g, page, 0, &val) && val == buf[0];
	if (buf[1] != n)
		return false;
	for (word = 2; word < XEN_PAGE_SIZE / sizeof(*buf); word++)
		if (buf[word] != xen_share_pattern(page, word))
			return false;
	return buf[0] == xen_share_pattern(page, 0);
}

#define held(h, page) \
	EXPECT_TRUE(held_is_right(h, self->g, page))

/* One page, in use. */
TEST_F(gnt_busy, one_of_one)
{
	ASSERT_EQ(0, map(self, 1));
	ASSERT_EQ(0, hold_page(self->h, page_addr(self, 0)));
	ASSERT_EQ(0, xen_unmap(self->m));
	held(self->h, 0);
}

/* One page of many, the first, one in the middle, the last. */
TEST_F(gnt_busy, one_of_many)
{
	const unsigned int pages[] = { 0, 200, 511 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		ASSERT_EQ(0, map(self, 512));
		ASSERT_EQ(0, hold_page(self->h, page_addr(self, pages[i])));
		ASSERT_EQ(0, xen_unmap(self->m));
		held(self->h, pages[i]);
	}
}

/* Several users, of the same page and of another, that end one by one. */
TEST_F(gnt_busy, several)
{
	const unsigned int pages[] = { 1, 1, 2 };
	unsigned int i;

	for (i = 1; i < ARRAY_SIZE(pages); i++)
		ASSERT_EQ(0, hold_init(&self->h[i], HOLD_PIPE));
	ASSERT_EQ(0, map(self, 4));
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		ASSERT_EQ(0, hold_page(&self->h[i], page_addr(self, pages[i])));
	ASSERT_EQ(0, xen_unmap(self->m));
	/* The pipes first: what a disk has read is not the pattern. */
	for (i = ARRAY_SIZE(pages); i--; )
		held(&self->h[i], pages[i]);
	for (i = 1; i < ARRAY_SIZE(pages); i++)
		hold_exit(&self->h[i]);
}

/* Unmapped page by page: forward, backward, every second one first. */
TEST_F(gnt_busy, pieces)
{
	static const unsigned int order[][PIECES] = {
		{ 0, 1, 2, 3, 4, 5, 6, 7, 8 },
		{ 8, 7, 6, 5, 4, 3, 2, 1, 0 },
		{ 0, 2, 4, 6, 8, 1, 3, 5, 7 },
		{ 1, 3, 5, 7, 0, 2, 4, 6, 8 },
	};
	unsigned int i, j, other;

	ASSERT_EQ(0, hold_init(&self->h[1], HOLD_PIPE));
	for (i = 0; i < ARRAY_SIZE(order); i++) {
		ASSERT_EQ(0, map(self, PIECES));
		/* The one that goes first, and a neighbour of it. */
		other = order[i][0] ? order[i][0] - 1 : 1;
		ASSERT_EQ(0, hold_page(&self->h[0],
				       page_addr(self, order[i][0])));
		ASSERT_EQ(0, hold_page(&self->h[1], page_addr(self, other)));
		for (j = 0; j < PIECES; j++) {
			EXPECT_TRUE(xen_map_works(self->m, self->g,
						  order[i][PIECES - 1]));
			EXPECT_EQ(0, unmap_page(self, order[i][j]));
		}
		close(self->m->fd);
		held(&self->h[1], other);
		held(&self->h[0], order[i][0]);
	}
	hold_exit(&self->h[1]);
}

/* A mapping that madvise() has split. */
TEST_F(gnt_busy, split)
{
	ASSERT_EQ(0, map(self, PIECES));
	ASSERT_EQ(0, hold_page(self->h, page_addr(self, 4)));
	EXPECT_EQ(0, madvise(page_addr(self, 3), 3 * self->page,
			     MADV_SEQUENTIAL));
	EXPECT_EQ(0, madvise(page_addr(self, 4), self->page, MADV_RANDOM));
	EXPECT_EQ(0, munmap(self->m->addr, xen_map_len(self->m)));
	close(self->m->fd);
	held(self->h, 4);
}

/* The file is closed first, and the mapping outlives it. */
TEST_F(gnt_busy, closed_first)
{
	ASSERT_EQ(0, map(self, 3));
	ASSERT_EQ(0, hold_page(self->h, page_addr(self, 1)));
	EXPECT_EQ(0, gntdev_unmap(self->m->fd, self->m->index, 3));
	close(self->m->fd);
	EXPECT_TRUE(xen_map_works(self->m, self->g, 0));
	EXPECT_EQ(0, munmap(self->m->addr, xen_map_len(self->m)));
	held(self->h, 1);
}

/* The process that mapped the page is gone, in one way or the other. */
static void process_gone(struct __test_metadata *_metadata,
			 FIXTURE_DATA(gnt_busy) *self, int sig)
{
	int status, ready[2];
	pid_t pid;
	char c;

	if (!self->h->outlives)
		SKIP(return, "a process ends after its direct I/O");
	ASSERT_EQ(0, returned(self->g, self->users));
	ASSERT_EQ(0, granter_alloc(self->g, 3, GNTALLOC_FLAG_WRITABLE));
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (xen_map(self->m, self->g->domid, self->g->refs, 3, RW) ||
		    hold_page(self->h, page_addr(self, 1)))
			_exit(1);
		if (!sig)
			_exit(0);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	if (sig) {
		EXPECT_EQ(1, read(ready[0], &c, 1));
		EXPECT_EQ(0, kill(pid, sig));
	}
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(sig, status);
	held(self->h, 1);
	close(ready[0]);
	close(ready[1]);
}

TEST_F(gnt_busy, exited)
{
	process_gone(_metadata, self, 0);
}

TEST_F(gnt_busy, killed)
{
	process_gone(_metadata, self, SIGKILL);
}

/* The module stays as long as it has something to unmap. */
TEST_F(gnt_busy, module_stays)
{
	int idle = self->users;

	if (idle < 0)
		SKIP(return, "xen_gntdev is not a module");
	ASSERT_EQ(0, map(self, 1));
	ASSERT_EQ(0, hold_page(self->h, page_addr(self, 0)));
	ASSERT_EQ(0, xen_unmap(self->m));
	EXPECT_EQ(idle + 1, xen_module_users("xen_gntdev"));
	EXPECT_EQ(-1, syscall(SYS_delete_module, "xen_gntdev", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	held(self->h, 0);
	EXPECT_EQ(0, returned(self->g, self->users));
	EXPECT_EQ(idle, xen_module_users("xen_gntdev"));
}

/* All of it in random order: which page, how it is given up, when released. */
TEST_F_TIMEOUT(gnt_busy, random, 3600)
{
	unsigned int nr, page, i, round, seed = xen_seed();

	for (round = 0; round < xen_rounds(10); round++) {
		nr = 1 + rand_r(&seed) % 64;
		page = rand_r(&seed) % nr;
		ASSERT_EQ(0, map(self, nr));
		ASSERT_EQ(0, hold_page(self->h, page_addr(self, page)));
		switch (rand_r(&seed) % 4) {
		case 0:
			close(self->m->fd);
			EXPECT_EQ(0, munmap(self->m->addr, xen_map_len(self->m)));
			break;
		case 1:
			for (i = 0; i < nr; i++)
				EXPECT_EQ(0, unmap_page(self, i));
			close(self->m->fd);
			break;
		case 2:
			for (i = 0; i < nr; i += 2)
				EXPECT_EQ(0, unmap_page(self, i));
			EXPECT_EQ(0, munmap(self->m->addr, xen_map_len(self->m)));
			close(self->m->fd);
			break;
		default:
			EXPECT_EQ(0, xen_unmap(self->m));
		}
		usleep(rand_r(&seed) % 20000);
		ASSERT_TRUE(held_is_right(self->h, self->g, page))
			TH_LOG("round %u: page %u of %u", round, page, nr);
	}
}

/**
 * struct reader - a process that reads another one's memory in two ways
 * @stop: it is to end
 * @found: the pattern was found, in each way
 */
struct reader {
	bool stop;
	bool found[2];
};

/**
 * FIXTURE(gnt_race) - grants that are given up while somebody looks at them
 * @g: where they come from
 * @m: the mapping
 * @page: PAGE_SIZE
 * @users: of the module, before the test
 * @kmsg: the kernel's messages from here on
 * @reader: another process, in shared memory
 */
FIXTURE(gnt_race) {
	struct granter g;
	struct xen_map m;
	size_t page;
	int users;
	int kmsg;
	struct reader *reader;
};

GRANTER_VARIANTS(gnt_race);

FIXTURE_SETUP(gnt_race)
{
	self->page = xen_page_size();
	self->reader = mmap(NULL, self->page, RW, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);
	ASSERT_NE(MAP_FAILED, self->reader);
	self->kmsg = xen_kmsg_open();
	ASSERT_LE(0, self->kmsg);
	GRANTER_OPEN(&self->g, 64, GNTALLOC_FLAG_WRITABLE);
	self->users = xen_module_users("xen_gntdev");
}

FIXTURE_TEARDOWN(gnt_race)
{
	EXPECT_EQ(0, returned(&self->g, self->users));
	granter_close(&self->g);
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

/*
 * Reads the first word of each page of @m in @pid, until it is stopped. The
 * status is 0 if nothing but the pattern was found.
 */
static void read_others_memory(pid_t pid, const struct xen_map *m,
			       struct reader *r)
{
	struct iovec local, remote;
	unsigned int page;
	uint64_t val;
	char path[32];
	ssize_t ret;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY);
	local = (struct iovec){ &val, sizeof(val) };
	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		for (page = 0; page < m->nr; page++) {
			remote = (struct iovec){ xen_map_word(m, page, 0),
						 sizeof(val) };
			if (page & 1)
				ret = pread(mem, &val, sizeof(val),
					    (uintptr_t)remote.iov_base);
			else
				ret = process_vm_readv(pid, &local, 1, &remote,
						       1, 0);
			/* Or the page is gone, or what is there else: 0. */
			if (ret != sizeof(val) || !val)
				continue;
			if (val != xen_share_pattern(page, 0))
				_exit(1);
			__atomic_store_n(&r->found[page & 1], true,
					 __ATOMIC_RELEASE);
		}
	}
	_exit(0);
}

static bool has_found(const struct reader *r)
{
	return __atomic_load_n(&r->found[0], __ATOMIC_ACQUIRE) &&
	       __atomic_load_n(&r->found[1], __ATOMIC_ACQUIRE);
}

/*
 * process_vm_readv() and /proc/PID/mem by another process meanwhile, as often
 * as it takes until each has found something.
 */
TEST_F_TIMEOUT(gnt_race, read_by_others, 600)
{
	struct xen_map *m = &self->m;
	unsigned int round;
	int status;
	pid_t pid;

	m->nr = 64;
	/* Where the child looks, and each round maps. */
	m->addr = mmap(NULL, xen_map_len(m), PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, m->addr);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		read_others_memory(getppid(), m, self->reader);
	m->fd = open("/dev/xen/gntdev", O_RDWR);
	ASSERT_LE(0, m->fd);
	for (round = 0; round < xen_rounds(20) ||
	     (!has_found(self->reader) && round < 1000); round++) {
		ASSERT_EQ(0, gntdev_map(m->fd, self->g.domid, self->g.refs,
					m->nr, &m->index));
		ASSERT_EQ(m->addr, mmap(m->addr, xen_map_len(m), RW,
					MAP_SHARED | MAP_FIXED, m->fd,
					m->index));
		usleep(1000);
		if (round & 1)
			EXPECT_EQ(0, madvise(m->addr, xen_map_len(m),
					     MADV_DONTNEED));
		ASSERT_EQ(m->addr, mmap(m->addr, xen_map_len(m), PROT_NONE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
					-1, 0));
		ASSERT_EQ(0, gntdev_unmap(m->fd, m->index, m->nr));
	}
	__atomic_store_n(&self->reader->stop, true, __ATOMIC_RELEASE);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(has_found(self->reader));
	close(m->fd);
}

static void *give_up(void *data)
{
	struct xen_map *m = data;
	unsigned int page;

	for (page = 0; page <= m->nr - 4; page++)
		madvise(xen_map_word(m, page, 0), 4 * xen_page_size(),
			MADV_DONTNEED);
	return NULL;
}

/* Threads that give up the same pages at the same time. */
TEST_F_TIMEOUT(gnt_race, threads, 600)
{
	struct xen_map *m = &self->m;
	unsigned int round, i;
	pthread_t threads[3];

	for (round = 0; round < xen_rounds(20); round++) {
		ASSERT_EQ(0, xen_map(m, self->g.domid, self->g.refs, 64, RW));
		for (i = 0; i < ARRAY_SIZE(threads); i++)
			ASSERT_EQ(0, pthread_create(&threads[i], NULL, give_up,
						    m));
		for (i = 0; i < ARRAY_SIZE(threads); i++)
			EXPECT_EQ(0, pthread_join(threads[i], NULL));
		ASSERT_EQ(0, xen_unmap(m));
	}
}

/* The page allocator does not get a page that is still in use. */
TEST_F_TIMEOUT(gnt_race, memory_pressure, 120)
{
	const size_t max = 256 << 20, words = XEN_PAGE_SIZE / sizeof(uint64_t);
	size_t size = xen_free_memory() / 2, i, wrong = 0;
	struct hold h;
	uint64_t *mem;

	size = size < max ? size : max;
	ASSERT_EQ(0, hold_init(&h, HOLD_PIPE));
	ASSERT_EQ(0, xen_map(&self->m, self->g.domid, self->g.refs, 64, RW));
	ASSERT_EQ(0, hold_page(&h, xen_map_word(&self->m, 30, 0)));
	ASSERT_EQ(0, xen_unmap(&self->m));
	mem = mmap(NULL, size, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		   -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < size / sizeof(*mem); i += words)
		mem[i] = i ^ 0xfeedfacecafebeef;
	EXPECT_TRUE(held_is_right(&h, &self->g, 30));
	for (i = 0; i < size / sizeof(*mem); i += words)
		wrong += mem[i] != (i ^ 0xfeedfacecafebeef) || mem[i + 1];
	EXPECT_EQ(0, wrong);
	munmap(mem, size);
	hold_exit(&h);
}

XEN_TEST_MAIN(hold_make_disk)
