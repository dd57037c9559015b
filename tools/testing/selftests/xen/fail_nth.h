/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Fault injection for one device, in the manner of iommufd_fail_nth.c. A sweep
 * makes a call again and again: run N fails the Nth injection point of the
 * call. After each error the call must succeed without a failure. The sweep
 * ends with the first run in which nothing failed.
 */
#ifndef SELFTEST_XEN_FAIL_NTH_H
#define SELFTEST_XEN_FAIL_NTH_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "xen_test.h"

#define RW		(PROT_READ | PROT_WRITE)
#define MANY		512		/* pages: arrays of more than one page */
#define MAX_NTH		3000		/* injection points of one call */
#define LONG		3000		/* seconds: a debug kernel under TCG */
#define DEBUG_DIR	"/sys/kernel/debug/"
#define KMEMLEAK	DEBUG_DIR "kmemleak"

/* The functions return 0 or -errno. Only @call runs with a failure. */
struct call {
	const char *name;
	int (*prepare)(void);
	int (*call)(void);
	bool (*check)(void);	/* after a success: is the result right? */
	int error;		/* that a failed allocation causes, if not ENOMEM */
	bool none;		/* need not allocate */
};

/* Each run opens @fd. At its end it unmaps @addr and closes @fd and @fd2. */
static struct {
	char path[32];		/* of the device */
	int fd;
	int fd2;
	unsigned int nr;	/* pages, grants or frames of the call */
	void *addr;
	size_t len;
	int (*undo)(void);	/* before the run closes @fd */
	int nth;		/* fail-nth of this thread */
	int kmsg;
	char module[32];
	int users;		/* of the module, before the test */
} t = { .fd = -1, .fd2 = -1, .nth = -1 };

static const char *unset;	/* a setting that the kernel lacks */

static inline void fail_nth_prepare(void)
{
	static const char * const settings[][2] = {
		{ DEBUG_DIR "failslab/ignore-gfp-wait", "N" },
		{ DEBUG_DIR "failslab/verbose", "0" },
		{ DEBUG_DIR "failslab/times", NULL },
		{ DEBUG_DIR "fail_page_alloc/ignore-gfp-wait", "N" },
		{ DEBUG_DIR "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ DEBUG_DIR "fail_page_alloc/min-order", "0" },
		{ DEBUG_DIR "fail_page_alloc/verbose", "0" },
		{ DEBUG_DIR "fail_page_alloc/times", NULL },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(settings) && !unset; i++)
		if (xen_set(settings[i][0], settings[i][1]))
			unset = settings[i][0];
	xen_set(DEBUG_DIR "fail_usercopy/verbose", "0");	/* optional */
	xen_put(KMEMLEAK, "clear");
}

/* The set-up of a test of /dev/xen/@name: NULL or a reason to skip. */
static inline const char *fail_nth_open(const char *name)
{
	static char why[160];

	if (unset) {
		snprintf(why, sizeof(why),
			 "cannot set %s (FAILSLAB, FAIL_PAGE_ALLOC)", unset);
		return why;
	}
	t.nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (t.nth < 0)
		return "no fail-nth: no CONFIG_FAULT_INJECTION";
	t.kmsg = xen_kmsg_open();
	snprintf(t.module, sizeof(t.module), "xen_%s", name);
	t.users = xen_module_users(t.module);
	snprintf(t.path, sizeof(t.path), "/dev/xen/%s", name);
	t.fd = xen_open(name, why, sizeof(why));
	return t.fd < 0 ? why : NULL;
}

static inline int unmap_pages(void)
{
	return t.addr && munmap(t.addr, t.len) ? -errno : 0;
}

static inline int close_device(void)
{
	int ret = t.fd >= 0 && close(t.fd) ? -errno : 0;

	t.fd = -1;
	return ret;
}

static inline int end_run(void)
{
	int ret = unmap_pages();

	t.addr = NULL;
	if (t.undo && t.fd >= 0)
		ret = t.undo() ? : ret;
	if (t.fd2 >= 0)
		close(t.fd2);
	t.fd2 = -1;
	return close_device() ? : ret;
}

static inline void fail_nth_close(struct __test_metadata *_metadata)
{
	end_run();
	if (t.nth < 0)
		return;
	close(t.nth);
	EXPECT_EQ(t.users, xen_module_users(t.module));
	EXPECT_EQ(0, xen_kmsg_reports(t.kmsg));
}

/* Switches the failure off. Returns whether the call met it. */
static inline bool end_failure(struct __test_metadata *_metadata)
{
	char left[16] = "";
	ssize_t got, put;

	/* FAULT_INJECTION_USERCOPY can fail the read or the write with EFAULT. */
	got = pread(t.nth, left, sizeof(left) - 1, 0);
	put = pwrite(t.nth, "0", 1, 0);
	if (put < 0)
		put = pwrite(t.nth, "0", 1, 0);
	ASSERT_EQ(1, put);
	return got > 0 && atoi(left) == 0;
}

/* Makes a call once, with failure @nth or, if @nth is 0, without one. */
static inline int run(struct __test_metadata *_metadata, const struct call *c,
		      unsigned int nth, bool *failed)
{
	char buf[16];
	int ret, len;

	close_device();
	t.fd = open(t.path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, t.fd);
	ret = c->prepare ? c->prepare() : 0;
	ASSERT_EQ(0, ret)
		TH_LOG("%s: cannot prepare run %u", c->name, nth);
	len = snprintf(buf, sizeof(buf), "%u", nth);
	ASSERT_EQ(len, pwrite(t.nth, buf, len, 0));
	ret = c->call();
	*failed = end_failure(_metadata);
	if (!ret && c->check)
		EXPECT_TRUE(c->check())
			TH_LOG("%s: wrong result of run %u", c->name, nth);
	ASSERT_EQ(0, end_run())
		TH_LOG("%s: cannot undo run %u, which returned %d", c->name,
		       nth, ret);
	return ret;
}

static inline void sweep(struct __test_metadata *_metadata,
			 const struct call *c)
{
	bool failed, usercopy = !access(DEBUG_DIR "fail_usercopy", F_OK);
	unsigned int nth;
	int ret;

	for (nth = 1; ; nth++) {
		ASSERT_GT(MAX_NTH, nth);
		ret = run(_metadata, c, nth, &failed);
		if (!failed)
			break;
		if (!ret)
			continue;
		if (ret != -ENOMEM && !(ret == -EFAULT && usercopy))
			EXPECT_EQ(c->error, ret)
				TH_LOG("%s: error of failure %u", c->name, nth);
		ret = run(_metadata, c, 0, &failed);
		ASSERT_EQ(0, ret)
			TH_LOG("%s: again, after failure %u", c->name, nth);
	}
	EXPECT_EQ(0, ret)
		TH_LOG("%s: without a failure", c->name);
	TH_LOG("%s: %u failures", c->name, nth - 1);
	if (!c->none)
		EXPECT_LT(1, nth);
	/* The kernel overwrites its oldest messages: read them now. */
	EXPECT_EQ(0, xen_kmsg_read(t.kmsg));
}

/* Sweeps all calls of @array with @count pages. */
#define SWEEP_ALL(count, array)						\
	sweep_all(_metadata, count, array, ARRAY_SIZE(array))

static inline void sweep_all(struct __test_metadata *_metadata,
			     unsigned int count, const struct call *calls,
			     unsigned int nr_calls)
{
	unsigned int i;

	t.nr = count;
	for (i = 0; i < nr_calls; i++)
		sweep(_metadata, &calls[i]);
}

/* A test that does nothing else. */
#define TEST_SWEEP(fixture, test, count, calls)				\
	TEST_F_TIMEOUT(fixture, test, LONG)				\
	{								\
		SWEEP_ALL(count, calls);				\
	}

/* A place without page tables; its second page takes one table more. */
static inline void *far_away(unsigned int place)
{
	size_t page = xen_page_size(), table = page * (page / 8);

	return (void *)(((1ULL + place) << 40) + 3 * table - page);
}

static inline int map_pages(size_t len, int prot, off_t offset)
{
	t.addr = mmap(far_away(0), len, prot, MAP_SHARED | MAP_FIXED_NOREPLACE,
		      t.fd, offset);
	t.len = len;
	if (t.addr != MAP_FAILED)
		return 0;
	t.addr = NULL;
	return -errno;
}

/* Calls on a mapping: a hole in the middle takes a new VMA. */
static inline int punch_hole(void)
{
	size_t page = xen_page_size();

	return munmap(t.addr + page, page) ? -errno : 0;
}

static inline int move_pages_away(void)
{
	void *to = mremap(t.addr, t.len, t.len, MREMAP_MAYMOVE | MREMAP_FIXED,
			  far_away(1));

	if (to == MAP_FAILED)
		return -errno;
	t.addr = to;
	return 0;
}

static inline int fork_child(void)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(0);
	return waitpid(pid, &status, 0) == pid && !status ? 0 : -ECHILD;
}

static inline int open_second(void)
{
	t.fd2 = open(t.path, O_RDWR | O_CLOEXEC);
	return t.fd2 < 0 ? -errno : 0;
}

/* Did this program lose memory? */
static inline void check_kmemleak(struct __test_metadata *_metadata)
{
	char line[160], comm[32];
	FILE *f;

	if (access(KMEMLEAK, F_OK))
		SKIP(return, "no kmemleak: no CONFIG_DEBUG_KMEMLEAK");
	/* An object has to be five seconds old, and two scans old. */
	sleep(6);
	if (xen_put(KMEMLEAK, "scan") || xen_put(KMEMLEAK, "scan"))
		SKIP(return, "kmemleak is disabled");
	snprintf(comm, sizeof(comm), "comm \"%.15s\"",
		 program_invocation_short_name);
	f = fopen(KMEMLEAK, "re");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f))
		EXPECT_EQ(NULL, strstr(line, comm))
			TH_LOG("lost an object, see " KMEMLEAK ": %s", line);
	fclose(f);
}

/* The last fixture of a program runs after all others. */
#define FAIL_NTH_MAIN()						\
	FIXTURE(kmemleak) {};					\
	FIXTURE_SETUP(kmemleak) {}				\
	FIXTURE_TEARDOWN(kmemleak) {}				\
	TEST_F_TIMEOUT(kmemleak, none_lost, LONG)		\
	{							\
		check_kmemleak(_metadata);			\
	}							\
	XEN_TEST_MAIN(fail_nth_prepare)

#endif /* SELFTEST_XEN_FAIL_NTH_H */
