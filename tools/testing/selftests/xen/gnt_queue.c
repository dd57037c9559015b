// SPDX-License-Identifier: GPL-2.0
/*
 * How long grants wait whose pages are in use, and who waits with them.
 *
 * A grant comes back some milliseconds after the last user of its page is gone,
 * however long it had it; others of the same mapping come back at once. The
 * module that has mapped it stays until then, and the granter gets what it has
 * ended at the same pace.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "xen_hold.h"
#include "xen_test.h"

#define RW	(PROT_READ | PROT_WRITE)

/*
 * What a grant may take to come back, and the fastest of some. An idle machine
 * needs ten milliseconds, but an emulated one with a debug kernel may not get a
 * cpu for seconds; the exact bounds are for KUnit, which has a clock of its own,
 * and for benchmarks.
 */
#define MAX_MS		10000
#define FASTEST_MS	500
#define SAMPLES		9
/* What is still there then is not of these tests. */
#define SETTLE_MS	2000

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

/* A number of the queue, or of the granted side, by its name; -1 without. */
static long debugfs(const char *file, const char *name)
{
	char path[80], word[40];
	long val, found = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/xen/%s", file);
	f = fopen(path, "re");
	while (f && fscanf(f, "%39s %ld", word, &val) == 2)
		if (!strcmp(word, name))
			found = val;
	if (f)
		fclose(f);
	return found;
}

static long waiting(void)
{
	return debugfs("grant_unmap", "waiting_requests");
}

/* The requests that wait, when those of the test before are gone. */
static long settled(void)
{
	double start = now_ms();

	while (waiting() > 0 && now_ms() - start < SETTLE_MS)
		usleep(1000);
	return waiting();
}

/**
 * FIXTURE(gnt_queue) - grants of this domain or another one
 * @g: where they come from
 * @m: where they are mapped
 * @page: PAGE_SIZE
 * @waiting: requests in the queue before the test
 * @kmsg: the kernel's messages from here on
 */
FIXTURE(gnt_queue) {
	struct granter g;
	struct xen_map m;
	size_t page;
	long waiting;
	int kmsg;
};

GRANTER_VARIANTS(gnt_queue);

FIXTURE_SETUP(gnt_queue)
{
	self->page = xen_page_size();
	self->kmsg = xen_kmsg_open();
	ASSERT_LE(0, self->kmsg);
	GRANTER_OPEN(&self->g, 512, GNTALLOC_FLAG_WRITABLE);
	self->waiting = settled();
}

FIXTURE_TEARDOWN(gnt_queue)
{
	EXPECT_EQ(0, granter_returned(&self->g));
	granter_close(&self->g);
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

/* Waits until no more requests wait than before; the milliseconds it took. */
static double until_returned(FIXTURE_DATA(gnt_queue) *self)
{
	double start = now_ms();

	while (waiting() > self->waiting && now_ms() - start < 2 * MAX_MS)
		usleep(500);
	return now_ms() - start;
}

static int cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of pages that were in use for @ms; uses the granter's first page. */
static void release_to_unmap(struct __test_metadata *_metadata,
			     FIXTURE_DATA(gnt_queue) *self,
			     enum hold_kind kind, unsigned int ms,
			     unsigned int samples)
{
	uint64_t buf[XEN_PAGE_SIZE / sizeof(uint64_t)];
	double took[SAMPLES];
	unsigned int i;
	struct hold h;
	int ret;

	if (self->waiting < 0)
		SKIP(return, "no /sys/kernel/debug/xen/grant_unmap");
	ret = hold_init(&h, kind);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", h.why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", h.why);
	for (i = 0; i < samples; i++) {
		ASSERT_EQ(0, xen_map(&self->m, self->g.domid, self->g.refs, 1,
				     RW));
		ASSERT_EQ(0, hold_page(&h, self->m.addr));
		ASSERT_EQ(0, xen_unmap(&self->m));
		/* And perhaps others, which may end. */
		EXPECT_LE(1, waiting());
		/* Another part of the timer's period each time. */
		usleep(ms * 1000 + i * 1100);
		ASSERT_EQ(0, hold_release(&h, buf));
		took[i] = until_returned(self);
	}
	hold_exit(&h);
	qsort(took, samples, sizeof(*took), cmp_double);
	EXPECT_GE(FASTEST_MS, took[0]);
	EXPECT_GE(MAX_MS, took[samples - 1]);
	TH_LOG("in use for %u ms: unmapped after %.1f ms, at most %.1f", ms,
	       took[(samples - 1) / 2], took[samples - 1]);
}

TEST_F(gnt_queue, pipe_10)
{
	release_to_unmap(_metadata, self, HOLD_PIPE, 10, SAMPLES);
}

TEST_F(gnt_queue, pipe_100)
{
	release_to_unmap(_metadata, self, HOLD_PIPE, 100, SAMPLES);
}

TEST_F(gnt_queue, pipe_1000)
{
	release_to_unmap(_metadata, self, HOLD_PIPE, 1000, 3);
}

TEST_F_TIMEOUT(gnt_queue, pipe_5000, 60)
{
	release_to_unmap(_metadata, self, HOLD_PIPE, 5000, 2);
}

TEST_F(gnt_queue, uring)
{
	release_to_unmap(_metadata, self, HOLD_URING, 100, SAMPLES);
}

TEST_F(gnt_queue, dio_write)
{
	release_to_unmap(_metadata, self, HOLD_DIO_WRITE, 100, SAMPLES);
}

TEST_F(gnt_queue, dio_read)
{
	release_to_unmap(_metadata, self, HOLD_DIO_READ, 100, SAMPLES);
}

/* One page of 512 in use: the others are back before it is. */
TEST_F_TIMEOUT(gnt_queue, one_of_many, 120)
{
	uint64_t buf[XEN_PAGE_SIZE / sizeof(uint64_t)];
	struct hold h;

	ASSERT_EQ(0, hold_init(&h, HOLD_PIPE));
	ASSERT_EQ(0, xen_map(&self->m, self->g.domid, self->g.refs, 512, RW));
	ASSERT_EQ(0, hold_page(&h, xen_map_word(&self->m, 200, 0)));
	ASSERT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(1, granter_end(&self->g, 0));
	EXPECT_EQ(0, hold_release(&h, buf));
	EXPECT_GE(MAX_MS, until_returned(self));
	EXPECT_EQ(xen_share_pattern(200, 7), buf[7]);
	hold_exit(&h);
	/* The one that was ended while it was mapped comes back, too. */
	EXPECT_EQ(0, xen_refs_in_use(self->g.domid, &self->g.refs[200], 1,
				     XEN_RETURN_MS));
}

/*
 * Grants that are ended while they are mapped: the granter has them back soon
 * after they are unmapped, not ten of them a second.
 */
TEST_F_TIMEOUT(gnt_queue, ended_early, 120)
{
	struct granter *g = &self->g;
	double took;

	ASSERT_EQ(0, xen_map(&self->m, g->domid, g->refs, 512, RW));
	EXPECT_EQ(512, granter_end(g, 0));
	if (variant->kind == GRANTER_LOCAL && self->waiting >= 0)
		EXPECT_LE(512, debugfs("grant_end", "deferred"));
	took = now_ms();
	ASSERT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(0, xen_refs_in_use(g->domid, g->refs, 512, MAX_MS));
	TH_LOG("512 grants were back after %.0f ms", now_ms() - took);
}

/* Processes with mappings, each of which leaves pages in use behind. */
TEST_F_TIMEOUT(gnt_queue, many, 300)
{
	enum { PROCS = 16, PAGES = 32 };
	uint64_t buf[XEN_PAGE_SIZE / sizeof(uint64_t)];
	unsigned int i, k, round, seed = xen_seed();
	struct hold h[PROCS];
	int status;
	pid_t pid;

	for (i = 0; i < PROCS; i++)
		ASSERT_EQ(0, hold_init(&h[i], HOLD_PIPE));
	for (round = 0; round < xen_rounds(3); round++) {
		for (i = 0; i < PROCS; i++) {
			pid = fork();
			ASSERT_LE(0, pid);
			if (!pid) {
				if (xen_map(&self->m, self->g.domid,
					    self->g.refs + i * PAGES, PAGES,
					    RW) ||
				    hold_page(&h[i], xen_map_word(&self->m,
								  i, 0)))
					_exit(1);
				kill(getpid(), i & 1 ? SIGKILL : SIGTERM);
			}
		}
		for (i = 0; i < PROCS; i++) {
			EXPECT_LE(0, wait(&status));
			EXPECT_TRUE(WIFSIGNALED(status));
		}
		if (self->waiting >= 0) {
			EXPECT_LE(PROCS, waiting());
			EXPECT_LE(PROCS, debugfs("grant_unmap",
						 "waiting_requests"));
		}
		k = rand_r(&seed);
		for (i = 0; i < PROCS; i++) {
			unsigned int which = (i * 5 + k) % PROCS;

			EXPECT_EQ(0, hold_release(&h[which], buf));
			EXPECT_EQ(xen_share_pattern(which * PAGES + which, 3),
				  buf[3]);
			usleep(rand_r(&seed) % 5000);
		}
		EXPECT_GE(MAX_MS, until_returned(self));
	}
	for (i = 0; i < PROCS; i++)
		hold_exit(&h[i]);
}

static int load(const char *module)
{
	char cmd[80];

	snprintf(cmd, sizeof(cmd), "modprobe %s", module);
	return system(cmd) ? -EIO : 0;
}

/*
 * The module is to go while a page that it has mapped is in use, and while it
 * gets idle: it stays, or it goes when nothing of it is left.
 */
TEST_F_TIMEOUT(gnt_queue, rmmod, 3600)
{
	uint64_t buf[XEN_PAGE_SIZE / sizeof(uint64_t)];
	unsigned int round, refused = 0, seed = xen_seed();
	double start;
	struct hold h;
	pid_t pid;

	if (variant->kind != GRANTER_LOCAL)
		SKIP(return, "a peer's directory is mapped by the module");
	if (xen_module_users("xen_gntdev"))
		SKIP(return, "xen_gntdev has other users, or is no module");
	ASSERT_EQ(0, hold_init(&h, HOLD_PIPE));
	for (round = 0; round < xen_rounds(20); round++) {
		ASSERT_EQ(0, xen_map(&self->m, self->g.domid, self->g.refs, 4,
				     RW));
		ASSERT_EQ(0, hold_page(&h, xen_map_word(&self->m, round % 4,
							0)));
		ASSERT_EQ(0, xen_unmap(&self->m));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			usleep(rand_r(&seed) % 20000);
			_exit(hold_release(&h, buf) != 0);
		}
		seed++;
		start = now_ms();
		while (syscall(SYS_delete_module, "xen_gntdev", O_NONBLOCK)) {
			ASSERT_EQ(EWOULDBLOCK, errno);
			ASSERT_GT(10000, now_ms() - start);
			refused++;
		}
		waitpid(pid, NULL, 0);
		ASSERT_EQ(0, load("xen-gntdev"));
	}
	EXPECT_LT(0, refused);
	hold_exit(&h);
	TH_LOG("%u rounds, refused %u times", round, refused);
}

XEN_TEST_MAIN(hold_make_disk)
