// SPDX-License-Identifier: GPL-2.0
/*
 * Each allocation of a call is made to fail, one after the other: the call
 * succeeds without it or says so, succeeds when it is made again, and leaves
 * nothing behind. There is a test for each ioctl and each mmap() of the devices
 * that allocates, and for what the kernel does to their mappings.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "xen_privcmd.h"
#include "xen_test.h"

#define RW		(PROT_READ | PROT_WRITE)
#define MANY		512		/* pages: more than one page of each array */
#define SLOW		60		/* allocations of a call */
#define MAX_NTH		3000		/* allocations of one call */
#define LONG		3000		/* seconds: a debug kernel, emulated */
#define MAX_PORTS	64		/* those that a new ring of evtchn takes */
#define DEBUG_DIR	"/sys/kernel/debug/"

static const char *unset;	/* the setting that could not be made */

/* All allocations fail, those that may wait as well. */
static void make_settings(void)
{
	static const struct {
		const char *path, *val;
	} settings[] = {
		{ DEBUG_DIR "failslab/ignore-gfp-wait", "N" },
		{ DEBUG_DIR "failslab/verbose", "0" },
		{ DEBUG_DIR "fail_page_alloc/ignore-gfp-wait", "N" },
		{ DEBUG_DIR "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ DEBUG_DIR "fail_page_alloc/min-order", "0" },
		{ DEBUG_DIR "fail_page_alloc/verbose", "0" },
		/* Each failure counts. */
		{ DEBUG_DIR "failslab/times", NULL },
		{ DEBUG_DIR "fail_page_alloc/times", NULL },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(settings) && !unset; i++)
		if (xen_set(settings[i].path, settings[i].val))
			unset = settings[i].path;
}

/* The sizes of what kmalloc() gives, as far as a kernel has a cache for each. */
static const char * const sizes[] = {
	"8", "16", "32", "64", "96", "128", "192", "256", "512",
	"1k", "2k", "4k", "8k",
};

#define SIZES	ARRAY_SIZE(sizes)
#define STOCK	250		/* objects that the CPUs may keep */

/*
 * How many objects there are of each size. What a CPU keeps for later counts as
 * well, so the caches are shrunk before, but the next to ask for an object gets
 * some for later again: the least of three times is taken. RCU and work items
 * have @ms to free what they are to free.
 */
static int count_objects(long *objects, unsigned int ms)
{
	char path[96], buf[64];
	unsigned int i, times;
	int ret = -ENOENT;
	long n;

	for (times = 0; times < 3; times++) {
		usleep(1000 * (times ? 10 : ms));
		for (i = 0; i < SIZES; i++) {
			snprintf(path, sizeof(path),
				 "/sys/kernel/slab/kmalloc-%s/shrink", sizes[i]);
			xen_put(path, "1");
			strcpy(strrchr(path, '/'), "/objects");
			n = xen_get(path, buf, sizeof(buf)) ? -1 : atol(buf);
			if (n >= 0)
				ret = 0;
			if (!times || n < objects[i])
				objects[i] = n;
		}
	}
	return ret;
}

/**
 * FIXTURE(gnt_fail_nth) - a device, and what the calls of a test work on
 * @nth: fail-nth of this thread
 * @kmsg: the kernel's messages from here on
 * @g: gntdev: where the grants come from
 * @fd: the device
 * @fd2: another one, a dma-buf or an eventfd
 * @page: PAGE_SIZE
 * @nr: pages or grants of the call
 * @index: offset of a map, or of pages
 * @refs: grants that gntalloc has given
 * @addr: the mapping
 * @other: memory of this process
 * @users: gntdev, gntalloc: the users of the module before
 * @port: evtchn
 * @domid: privcmd: whose frames to map; gntalloc: who may map the pages
 * @frames: privcmd: they
 */
FIXTURE(gnt_fail_nth) {
	int nth;
	int kmsg;
	struct granter g;
	int fd;
	int fd2;
	size_t page;
	unsigned int nr;
	uint64_t index;
	uint32_t refs[MANY];
	void *addr;
	void *other;
	int users;
	int port;
	int domid;
	xen_pfn_t frames[MANY];
};

enum device { GNTDEV, GNTALLOC, EVTCHN, PRIVCMD };

static const char * const names[] = { "gntdev", "gntalloc", "evtchn", "privcmd" };
static const char * const modules[] = { "xen_gntdev", "xen_gntalloc" };

/* Of gntdev each test has a variant for each granter, for the others one. */
FIXTURE_VARIANT(gnt_fail_nth) {
	enum device device;
	enum granter_kind kind;
};

FIXTURE_VARIANT_ADD(gnt_fail_nth, local) { GNTDEV, GRANTER_LOCAL };
FIXTURE_VARIANT_ADD(gnt_fail_nth, peer) { GNTDEV, GRANTER_PEER };

#define data_t FIXTURE_DATA(gnt_fail_nth)

/**
 * struct call - a call and what is around it, which does not fail
 * @prepare: for each time; 0 or -errno
 * @call: 0 or -errno
 * @undo: what a call has done that succeeded, or failed with @ret
 * @always: what there is to undo either way
 * @errors: that it may fail with, besides -ENOMEM
 * @none: it allocates nothing
 */
struct call {
	int (*prepare)(data_t *self);
	int (*call)(data_t *self);
	int (*undo)(data_t *self, int ret);
	int (*always)(data_t *self);
	int errors[3];
	bool none;
};

static bool expected(const struct call *c, int ret)
{
	unsigned int i;

	if (!ret || ret == -ENOMEM)
		return true;
	for (i = 0; i < ARRAY_SIZE(c->errors); i++)
		if (c->errors[i] && ret == c->errors[i])
			return true;
	return false;
}

/*
 * One call, of which allocation @nth fails, or none if it is 0. Whether one
 * did is in @failed.
 */
static int once(struct __test_metadata *_metadata, data_t *self,
		const struct call *c, unsigned int nth, bool *failed)
{
	char buf[16] = "";
	int ret, len;

	if (c->prepare) {
		ASSERT_EQ(0, c->prepare(self))
			TH_LOG("before allocation %u", nth);
	}
	len = snprintf(buf, sizeof(buf), "%u", nth);
	ASSERT_EQ(len, pwrite(self->nth, buf, len, 0));
	ret = c->call(self);
	ASSERT_LT(0, pread(self->nth, buf, sizeof(buf) - 1, 0));
	ASSERT_EQ(1, pwrite(self->nth, "0", 1, 0));
	*failed = nth && atoi(buf) == 0;
	if (c->undo) {
		ASSERT_EQ(0, c->undo(self, ret))
			TH_LOG("after allocation %u, which made it %d", nth, ret);
	}
	if (c->always) {
		ASSERT_EQ(0, c->always(self))
			TH_LOG("after allocation %u, which made it %d", nth, ret);
	}
	return ret;
}

/* All allocations of a call; their number. */
static unsigned int sweep(struct __test_metadata *_metadata, data_t *self,
			  const struct call *c)
{
	unsigned int nth;
	bool failed;
	int ret;

	for (nth = 1; ; nth++) {
		ASSERT_GT(MAX_NTH, nth);
		ret = once(_metadata, self, c, nth, &failed);
		if (!failed)
			break;
		EXPECT_TRUE(expected(c, ret))
			TH_LOG("allocation %u: %s", nth, strerror(-ret));
		if (ret) {
			ASSERT_EQ(0, once(_metadata, self, c, 0, &failed))
				TH_LOG("again, after allocation %u", nth);
		}
	}
	EXPECT_EQ(0, ret);
	/* Before there is so much that the kernel's log drops some. */
	EXPECT_EQ(0, xen_kmsg_read(self->kmsg));
	return nth - 1;
}

/* By how many objects the cache that has grown most has, and which it is. */
static long grown(const long *before, const long *after, const char **size)
{
	long most = 0;
	unsigned int i;

	for (i = 0; i < SIZES; i++)
		if (after[i] - before[i] > most) {
			most = after[i] - before[i];
			*size = sizes[i];
		}
	return most;
}

/*
 * As many sweeps as it takes to tell an object lost in each from those that are
 * there or not by chance, which don't get more with each sweep. One sweep if
 * there are so many allocations that more take too long.
 */
static void fail_each(struct __test_metadata *_metadata, data_t *self,
		      const struct call *c)
{
	unsigned int rounds = 8 + xen_rounds(5) / 4, sweeps = 0, i, found;
	long before[SIZES], after[SIZES], lost;
	const char *size = "";

	found = sweep(_metadata, self, c);
	if (!c->none)
		EXPECT_LE(1, found);
	if (found > SLOW) {
		TH_LOG("%u allocations, once", found);
		return;
	}
	/* What is allocated once and kept is there by now. */
	ASSERT_EQ(0, count_objects(before, 500));
	do {
		for (i = 0; i < rounds; i++) {
			sweep(_metadata, self, c);
			/* Lest there be more and more kworkers to free it all. */
			usleep(50000);
		}
		sweeps += rounds;
		rounds = sweeps;
		ASSERT_EQ(0, count_objects(after, 10));
		lost = grown(before, after, &size);
		if (2 * lost >= sweeps) {
			ASSERT_EQ(0, count_objects(after, 1500));
			lost = grown(before, after, &size);
		}
	} while (2 * lost >= sweeps && sweeps < STOCK);
	TH_LOG("%u allocations, %u times", found, sweeps + 1);
	EXPECT_GT(sweeps, 2 * lost)
		TH_LOG("%ld objects of %s bytes", lost, size);
}

static void setup(struct __test_metadata *_metadata, data_t *self,
		  enum device device)
{
	char why[160];

	self->fd = -1;
	self->fd2 = -1;
	self->g.fd = -1;
	if (unset)
		SKIP(return, "cannot set %s (FAILSLAB, FAIL_PAGE_ALLOC)",
		     unset);
	if (access("/sys/kernel/slab/kmalloc-64/objects", R_OK))
		SKIP(return, "lost objects can't be counted: no CONFIG_SLUB_DEBUG");
	self->nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (self->nth < 0)
		SKIP(return, "no fail-nth: no CONFIG_FAULT_INJECTION");
	self->page = xen_page_size();
	self->kmsg = xen_kmsg_open();
	ASSERT_LE(0, self->kmsg);
	self->users = device <= GNTALLOC ? xen_module_users(modules[device]) : 0;
	self->fd = xen_open(names[device], why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
}

static void teardown(struct __test_metadata *_metadata, data_t *self,
		     enum device device)
{
	close(self->nth);
	if (self->fd2 >= 0)
		close(self->fd2);
	if (self->fd >= 0)
		close(self->fd);
	if (device == GNTDEV) {
		if (self->g.nr)
			EXPECT_EQ(0, granter_returned(&self->g));
		granter_close(&self->g);
	}
	if (device <= GNTALLOC)
		EXPECT_EQ(self->users, xen_module_users(modules[device]));
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

FIXTURE_SETUP(gnt_fail_nth)
{
	struct granter *g = &self->g;
	int ret;

	setup(_metadata, self, GNTDEV);
	if (self->fd < 0)
		return;
	close(self->fd);
	self->fd = -1;
	ret = granter_open(g, variant->kind, MANY, GNTALLOC_FLAG_WRITABLE);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g->why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", g->why);
	self->fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	self->nr = 1;
}

FIXTURE_TEARDOWN(gnt_fail_nth)
{
	teardown(_metadata, self, GNTDEV);
}

/* malloc() must not be what fails. */
static int dev_map(data_t *self)
{
	static struct {
		struct ioctl_gntdev_map_grant_ref op;
		struct ioctl_gntdev_grant_ref more[MANY];
	} arg;
	struct ioctl_gntdev_grant_ref *refs = arg.op.refs;
	unsigned int i;

	arg.op.count = self->nr;
	for (i = 0; i < self->nr; i++) {
		refs[i].domid = self->g.domid;
		refs[i].ref = self->g.refs[i];
	}
	if (ioctl(self->fd, IOCTL_GNTDEV_MAP_GRANT_REF, &arg))
		return -errno;
	self->index = arg.op.index;
	return 0;
}

static int dev_unmap(data_t *self)
{
	return gntdev_unmap(self->fd, self->index, self->nr);
}

static int dev_map_undo(data_t *self, int ret)
{
	return ret ? 0 : dev_unmap(self);
}

/*
 * Where there is no page table, so that all levels of it are allocated, and for
 * the second page another one.
 */
static void *far_away(data_t *self)
{
	size_t table = self->page * (self->page / 8);

	return (void *)((1ULL << 40) + 3 * table - self->page);
}

static int dev_mmap(data_t *self)
{
	self->addr = mmap(far_away(self), self->nr * self->page, RW,
			  MAP_SHARED | MAP_FIXED_NOREPLACE, self->fd,
			  self->index);
	return self->addr == MAP_FAILED ? -errno : 0;
}

static int any_munmap(data_t *self)
{
	return munmap(self->addr, self->nr * self->page) ? -errno : 0;
}

static bool shows_pages(data_t *self)
{
	uint64_t *word = self->addr + (self->nr - 1) * self->page;

	return *word == xen_share_pattern(self->nr - 1, 0);
}

static int dev_mmap_undo(data_t *self, int ret)
{
	if (!ret && (!shows_pages(self) || any_munmap(self)))
		return -EIO;
	return dev_unmap(self);
}

static int dev_mapped(data_t *self)
{
	return dev_map(self) ? : dev_mmap(self);
}

/* Whether it was done or not: in the end it is. */
static int dev_munmap_undo(data_t *self, int ret)
{
	if (ret && any_munmap(self))
		return -EIO;
	return dev_unmap(self);
}

static int dev_mapped_undo(data_t *self)
{
	return dev_mmap_undo(self, 0);
}

static const struct call map_ioctl = { .call = dev_map, .undo = dev_map_undo };

static const struct call map_mmap = {
	.prepare = dev_map, .call = dev_mmap, .undo = dev_mmap_undo,
	/* vm_map_pages() says so if there is no page table. */
	.errors = { -EFAULT },
};

static const struct call map_munmap = {
	.prepare = dev_mapped, .call = any_munmap, .undo = dev_munmap_undo,
};

static void map_of(struct __test_metadata *_metadata, data_t *self,
		   unsigned int nr)
{
	self->nr = nr;
	fail_each(_metadata, self, &map_ioctl);
	fail_each(_metadata, self, &map_mmap);
	fail_each(_metadata, self, &map_munmap);
}

/* The map ioctl, mmap and munmap. */
TEST_F_TIMEOUT(gnt_fail_nth, map_one, LONG)
{
	map_of(_metadata, self, 1);
}

TEST_F_TIMEOUT(gnt_fail_nth, map_two, LONG)
{
	map_of(_metadata, self, 2);
}

TEST_F_TIMEOUT(gnt_fail_nth, map_many, LONG)
{
	map_of(_metadata, self, MANY);
}

/* A hole in the middle takes a new VMA. */
static int dev_hole(data_t *self)
{
	return munmap(self->addr + self->page, self->page) ? -errno : 0;
}

static int dev_hole_undo(data_t *self)
{
	return any_munmap(self) || dev_unmap(self) ? -EIO : 0;
}

TEST_F_TIMEOUT(gnt_fail_nth, hole, LONG)
{
	static const struct call c = {
		.prepare = dev_mapped, .call = dev_hole,
		.always = dev_hole_undo,
	};

	self->nr = 3;
	fail_each(_metadata, self, &c);
}

/* A moved mapping, which ends the grants of a PV domain. */
static int any_move(data_t *self)
{
	size_t len = self->nr * self->page;
	void *to = mremap(self->addr, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			  self->other);

	if (to == MAP_FAILED)
		return -errno;
	self->addr = to;
	return 0;
}

static int dev_move_prepare(data_t *self)
{
	self->other = mmap(NULL, self->nr * self->page, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return self->other == MAP_FAILED ? -errno : dev_mapped(self);
}

/* A move that failed may have unmapped what was at its destination. */
static int dev_move_undo(data_t *self, int ret)
{
	if (ret)
		munmap(self->other, self->nr * self->page);
	return any_munmap(self) || dev_unmap(self) ? -EIO : 0;
}

TEST_F_TIMEOUT(gnt_fail_nth, move, LONG)
{
	static const struct call c = {
		.prepare = dev_move_prepare, .call = any_move,
		.undo = dev_move_undo, .errors = { -EFAULT },
	};

	self->nr = 3;
	fail_each(_metadata, self, &c);
}

static int any_fork(data_t *self)
{
	pid_t pid = fork();
	int status;

	(void)self;
	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(0);
	return waitpid(pid, &status, 0) == pid && !status ? 0 : -ECHILD;
}

TEST_F_TIMEOUT(gnt_fail_nth, fork, LONG)
{
	static const struct call c = {
		.prepare = dev_mapped, .call = any_fork,
		.always = dev_mapped_undo, .errors = { -EAGAIN },
	};

	self->nr = 2;
	fail_each(_metadata, self, &c);
}

/* Closed with a map that nobody has mapped, and with one that is. */
static int dev_open(data_t *self)
{
	int ret;

	if (self->fd >= 0)
		return dev_mapped(self);
	self->fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	ret = self->fd < 0 ? -errno : dev_map(self);
	return ret ? : dev_mapped(self);
}

static int any_close(data_t *self)
{
	int ret = close(self->fd) ? -errno : 0;

	self->fd = -1;
	return ret;
}

TEST_F_TIMEOUT(gnt_fail_nth, close, LONG)
{
	static const struct call c = {
		.prepare = dev_open, .call = any_close, .always = any_munmap,
		.none = true,
	};

	self->nr = 2;
	fail_each(_metadata, self, &c);
}

static int dev_open_call(data_t *self)
{
	self->fd2 = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	return self->fd2 < 0 ? -errno : 0;
}

static int any_open_undo(data_t *self, int ret)
{
	if (!ret)
		close(self->fd2);
	self->fd2 = -1;
	return 0;
}

TEST_F_TIMEOUT(gnt_fail_nth, open, LONG)
{
	static const struct call c = {
		.call = dev_open_call, .undo = any_open_undo,
	};

	fail_each(_metadata, self, &c);
}

/* Those that need not allocate anything. */
static int dev_small(data_t *self)
{
	uint64_t offset;
	uint32_t count;
	int ret;

	ret = gntdev_offset(self->fd, self->addr, &offset, &count);
	if (!ret && (offset != self->index || count != self->nr))
		ret = -EIO;
	ret = ret ? : gntdev_notify(self->fd, self->index,
				    UNMAP_NOTIFY_CLEAR_BYTE, 0);
	ret = ret ? : gntdev_notify(self->fd, self->index,
				    UNMAP_NOTIFY_SEND_EVENT, self->port);
	return ret ? : gntdev_notify(self->fd, self->index, 0, 0);
}

TEST_F_TIMEOUT(gnt_fail_nth, offset_notify, LONG)
{
	static const struct call c = {
		.prepare = dev_mapped, .call = dev_small,
		.always = dev_mapped_undo, .none = true,
	};
	char why[160];

	self->fd2 = xen_open("evtchn", why, sizeof(why));
	if (self->fd2 < 0)
		SKIP(return, "%s", why);
	self->port = evtchn_bind_unbound(self->fd2, DOMID_SELF);
	ASSERT_LT(0, self->port);
	self->nr = 2;
	fail_each(_metadata, self, &c);
}

/* GRANT_COPY, to and from pages that are not there yet. */
static int copy_prepare(data_t *self)
{
	self->fd2 = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	if (self->fd2 < 0)
		return -errno;
	self->other = mmap(NULL, 40 * self->page, RW,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return self->other == MAP_FAILED ? -errno : 0;
}

static int copy_call(data_t *self)
{
	struct gntdev_grant_copy_segment segs[20] = {};
	unsigned int i;
	int ret;

	/* More than one batch; each over the end of a page. */
	for (i = 0; i < ARRAY_SIZE(segs); i++) {
		segs[i].flags = GNTCOPY_source_gref;
		segs[i].source.foreign.ref = self->g.refs[i];
		segs[i].source.foreign.domid = self->g.domid;
		segs[i].dest.virt = self->other + 2 * i * self->page + 64;
		segs[i].len = XEN_PAGE_SIZE;
	}
	ret = gntdev_copy(self->fd2, segs, ARRAY_SIZE(segs));
	for (i = 0; !ret && i < ARRAY_SIZE(segs); i++)
		ret = segs[i].status;
	if (!ret && *(uint64_t *)segs[19].dest.virt != xen_share_pattern(19, 0))
		ret = -EIO;
	return ret;
}

static int copy_undo(data_t *self)
{
	munmap(self->other, 40 * self->page);
	return any_open_undo(self, 0);
}

TEST_F_TIMEOUT(gnt_fail_nth, copy, LONG)
{
	static const struct call c = {
		.prepare = copy_prepare, .call = copy_call, .always = copy_undo,
	};

	fail_each(_metadata, self, &c);
}

/* A dma-buf of the grants, which is given to the same domain then. */
static int dmabuf_export(data_t *self)
{
	static struct {
		struct ioctl_gntdev_dmabuf_exp_from_refs op;
		uint32_t more[MANY];
	} arg;

	memset(&arg.op, 0, sizeof(arg.op));
	arg.op.count = self->nr;
	arg.op.domid = self->g.domid;
	memcpy(arg.op.refs, self->g.refs, self->nr * sizeof(*arg.op.refs));
	if (ioctl(self->fd, IOCTL_GNTDEV_DMABUF_EXP_FROM_REFS, &arg))
		return -errno;
	self->fd2 = arg.op.fd;
	return 0;
}

static int dmabuf_released(data_t *self)
{
	struct ioctl_gntdev_dmabuf_exp_wait_released op = { .fd = self->fd2 };

	if (!ioctl(self->fd, IOCTL_GNTDEV_DMABUF_EXP_WAIT_RELEASED, &op))
		return -EIO;
	/* It is not, which takes an object to find out. */
	return errno == ETIMEDOUT ? 0 : -errno;
}

static int dmabuf_import(data_t *self)
{
	static struct {
		struct ioctl_gntdev_dmabuf_imp_to_refs op;
		uint32_t more[MANY];
	} arg;

	memset(&arg.op, 0, sizeof(arg.op));
	arg.op.fd = self->fd2;
	arg.op.count = self->nr;
	arg.op.domid = DOMID_INVALID;
	return ioctl(self->fd, IOCTL_GNTDEV_DMABUF_IMP_TO_REFS, &arg) ?
	       -errno : 0;
}

static int dmabuf_forget(data_t *self)
{
	struct ioctl_gntdev_dmabuf_imp_release op = { .fd = self->fd2 };

	return ioctl(self->fd, IOCTL_GNTDEV_DMABUF_IMP_RELEASE, &op) ?
	       -errno : 0;
}

static int dmabuf_import_undo(data_t *self, int ret)
{
	if (!ret)
		ret = dmabuf_forget(self);
	else
		ret = 0;
	close(self->fd2);
	self->fd2 = -1;
	return ret;
}

static int dmabuf_undo(data_t *self)
{
	close(self->fd2);
	self->fd2 = -1;
	return 0;
}

TEST_F_TIMEOUT(gnt_fail_nth, dmabuf, LONG)
{
	static const struct call exp = {
		.call = dmabuf_export, .undo = any_open_undo,
	};
	static const struct call wait = {
		.prepare = dmabuf_export, .call = dmabuf_released,
		.always = dmabuf_undo,
	};
	static const struct call imp = {
		.prepare = dmabuf_export, .call = dmabuf_import,
		.undo = dmabuf_import_undo,
	};
	static const unsigned int sizes[] = { 1, 2, 20 };
	unsigned int i;
	int ret;

	ret = dmabuf_export(self);
	if (ret == -ENOTTY)
		SKIP(return, "no CONFIG_XEN_GNTDEV_DMABUF");
	if (xen_guest_type() == XEN_GUEST_PV)
		SKIP(return, "no dma-bufs in a PV domain");
	ASSERT_EQ(0, ret);
	ret = dmabuf_import(self);
	dmabuf_import_undo(self, ret);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		self->nr = sizes[i];
		fail_each(_metadata, self, &exp);
		fail_each(_metadata, self, &wait);
		if (!ret)
			fail_each(_metadata, self, &imp);
	}
	if (ret)
		TH_LOG("no import here: %s", strerror(-ret));
}

FIXTURE(alloc_fail_nth) {
	data_t data;
};

FIXTURE_SETUP(alloc_fail_nth)
{
	setup(_metadata, &self->data, GNTALLOC);
	self->data.domid = xen_own_domid();
	if (self->data.domid < 0)
		SKIP(return, "own domain id unknown: no xenstore");
}

FIXTURE_TEARDOWN(alloc_fail_nth)
{
	teardown(_metadata, &self->data, GNTALLOC);
}

static int alloc_call(data_t *self)
{
	static struct {
		struct ioctl_gntalloc_alloc_gref op;
		uint32_t more[MANY];
	} arg;

	memset(&arg.op, 0, sizeof(arg.op));
	arg.op.domid = self->domid;
	arg.op.flags = GNTALLOC_FLAG_WRITABLE;
	arg.op.count = self->nr;
	if (ioctl(self->fd, IOCTL_GNTALLOC_ALLOC_GREF, &arg))
		return -errno;
	self->index = arg.op.index;
	memcpy(self->refs, arg.op.gref_ids_flex, self->nr * sizeof(*self->refs));
	return 0;
}

static int alloc_dealloc(data_t *self)
{
	return gntalloc_dealloc(self->fd, self->index, self->nr);
}

static int alloc_undo(data_t *self, int ret)
{
	return ret ? 0 : alloc_dealloc(self);
}

static int alloc_mmap_undo(data_t *self, int ret)
{
	if (!ret && any_munmap(self))
		return -EIO;
	return alloc_dealloc(self);
}

static int alloc_mapped(data_t *self)
{
	return alloc_call(self) ? : dev_mmap(self);
}

static int alloc_munmap_undo(data_t *self, int ret)
{
	if (ret && any_munmap(self))
		return -EIO;
	return alloc_dealloc(self);
}

static int alloc_mapped_undo(data_t *self)
{
	return alloc_mmap_undo(self, 0);
}

/* A failed dealloc is made good, or nothing comes back. */
static int alloc_dealloc_undo(data_t *self, int ret)
{
	return ret ? alloc_dealloc(self) : 0;
}

static const struct call pages_alloc = {
	.call = alloc_call, .undo = alloc_undo, .errors = { -ENOSPC },
};

static const struct call pages_dealloc = {
	.prepare = alloc_call, .call = alloc_dealloc,
	.undo = alloc_dealloc_undo, .none = true,
};

static const struct call pages_mmap = {
	.prepare = alloc_call, .call = dev_mmap, .undo = alloc_mmap_undo,
};

static const struct call pages_munmap = {
	.prepare = alloc_mapped, .call = any_munmap, .undo = alloc_munmap_undo,
};

static void pages_of(struct __test_metadata *_metadata, data_t *self,
		     unsigned int nr)
{
	if (self->fd < 0)
		return;
	self->nr = nr;
	fail_each(_metadata, self, &pages_alloc);
	fail_each(_metadata, self, &pages_dealloc);
	fail_each(_metadata, self, &pages_mmap);
	fail_each(_metadata, self, &pages_munmap);
	EXPECT_EQ(0, xen_refs_in_use(self->domid, self->refs, nr, 0));
}

/* The ioctls, mmap and munmap. */
TEST_F_TIMEOUT(alloc_fail_nth, one, LONG)
{
	pages_of(_metadata, &self->data, 1);
}

TEST_F_TIMEOUT(alloc_fail_nth, two, LONG)
{
	pages_of(_metadata, &self->data, 2);
}

/* Each page is an allocation or two, and each of them fails. */
TEST_F_TIMEOUT(alloc_fail_nth, many, LONG)
{
	data_t *d = &self->data;

	d->nr = MANY;
	fail_each(_metadata, d, &pages_mmap);
	fail_each(_metadata, d, &pages_munmap);
	sweep(_metadata, d, &pages_alloc);
	EXPECT_EQ(0, xen_refs_in_use(d->domid, d->refs, d->nr, 0));
}

/* Mapped by a child as well, a hole in it, moved. */
static int alloc_move_prepare(data_t *self)
{
	self->other = mmap(NULL, self->nr * self->page, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return self->other == MAP_FAILED ? -errno : alloc_mapped(self);
}

static int alloc_move_undo(data_t *self, int ret)
{
	if (ret)
		munmap(self->other, self->nr * self->page);
	return alloc_mapped_undo(self);
}

TEST_F_TIMEOUT(alloc_fail_nth, mapping, LONG)
{
	static const struct call fork = {
		.prepare = alloc_mapped, .call = any_fork,
		.always = alloc_mapped_undo, .errors = { -EAGAIN },
	};
	static const struct call hole = {
		.prepare = alloc_mapped, .call = dev_hole,
		.always = alloc_mapped_undo,
	};
	static const struct call move = {
		.prepare = alloc_move_prepare, .call = any_move,
		.undo = alloc_move_undo, .errors = { -EFAULT },
	};

	self->data.nr = 3;
	fail_each(_metadata, &self->data, &fork);
	fail_each(_metadata, &self->data, &hole);
	fail_each(_metadata, &self->data, &move);
	EXPECT_EQ(0, xen_refs_in_use(self->data.domid, self->data.refs, 3, 0));
}

/* Notify, open, close. */
static int alloc_small(data_t *self)
{
	return gntalloc_notify(self->fd, self->index, UNMAP_NOTIFY_CLEAR_BYTE,
			       0) ? :
	       gntalloc_notify(self->fd, self->index, UNMAP_NOTIFY_SEND_EVENT,
			       self->port);
}

static int alloc_open(data_t *self)
{
	self->fd2 = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);
	return self->fd2 < 0 ? -errno : 0;
}

static int alloc_reopen(data_t *self)
{
	self->fd = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);
	return self->fd < 0 ? -errno : alloc_mapped(self);
}

TEST_F_TIMEOUT(alloc_fail_nth, notify_open_close, LONG)
{
	static const struct call notify = {
		.prepare = alloc_mapped, .call = alloc_small,
		.always = alloc_mapped_undo, .none = true,
	};
	static const struct call open = {
		.call = alloc_open, .undo = any_open_undo,
	};
	static const struct call close = {
		.prepare = alloc_reopen, .call = any_close,
		.always = any_munmap, .none = true,
	};
	data_t *d = &self->data;
	int evtchn, fd = d->fd;
	char why[160];

	evtchn = xen_open("evtchn", why, sizeof(why));
	if (evtchn < 0)
		SKIP(return, "%s", why);
	d->port = evtchn_bind_unbound(evtchn, DOMID_SELF);
	ASSERT_LT(0, d->port);
	d->nr = 1;
	fail_each(_metadata, d, &notify);
	fail_each(_metadata, d, &open);
	fail_each(_metadata, d, &close);
	d->fd = fd;
	EXPECT_EQ(0, xen_refs_in_use(d->domid, d->refs, 1, 0));
	EXPECT_EQ(0, evtchn_unbind(evtchn, d->port));
}

FIXTURE(evtchn_fail_nth) {
	data_t data;
};

FIXTURE_SETUP(evtchn_fail_nth)
{
	setup(_metadata, &self->data, EVTCHN);
}

FIXTURE_TEARDOWN(evtchn_fail_nth)
{
	teardown(_metadata, &self->data, EVTCHN);
}

static int port_open(data_t *self)
{
	self->fd2 = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC);
	return self->fd2 < 0 ? -errno : 0;
}

static int port_bind(data_t *self)
{
	self->port = evtchn_bind_unbound(self->fd2, self->domid);
	return self->port < 0 ? self->port : 0;
}

/* A port can be bound by this only if it was bound for its own domain. */
static int port_remote_prepare(data_t *self)
{
	int ret = port_open(self);

	if (ret)
		return ret;
	self->index = evtchn_bind_unbound(self->fd, self->domid);
	return (int)self->index < 0 ? (int)self->index : 0;
}

static int port_remote(data_t *self)
{
	self->port = evtchn_bind_interdomain(self->fd2, self->domid,
					     self->index);
	return self->port < 0 ? self->port : 0;
}

static int port_undo(data_t *self)
{
	close(self->fd2);
	self->fd2 = -1;
	return 0;
}

static int port_remote_undo(data_t *self)
{
	port_undo(self);
	return evtchn_unbind(self->fd, self->index);
}

static int port_bound(data_t *self)
{
	return port_open(self) ? : port_bind(self);
}

static int port_full(data_t *self)
{
	unsigned int i;
	int ret = port_open(self);

	for (i = 0; !ret && i < MAX_PORTS; i++)
		ret = port_bind(self);
	return ret;
}

static int port_use(data_t *self)
{
	uint32_t port = self->port;
	int ret = evtchn_notify(self->fd2, port);

	if (!ret && write(self->fd2, &port, sizeof(port)) != sizeof(port))
		ret = -errno;
	return ret;
}

static int port_unbind(data_t *self)
{
	return evtchn_unbind(self->fd2, self->port);
}

TEST_F_TIMEOUT(evtchn_fail_nth, ports, LONG)
{
	static const struct call open = {
		.call = port_open, .undo = any_open_undo,
	};
	static const struct call bind = {
		.prepare = port_open, .call = port_bind, .always = port_undo,
		.errors = { -ENOSPC },
	};
	static const struct call remote = {
		.prepare = port_remote_prepare, .call = port_remote,
		.always = port_remote_undo, .errors = { -ENOSPC },
	};
	static const struct call use = {
		.prepare = port_bound, .call = port_use, .always = port_undo,
	};
	static const struct call unbind = {
		.prepare = port_bound, .call = port_unbind, .always = port_undo,
		.none = true,
	};
	data_t *d = &self->data;

	d->domid = xen_own_domid();
	if (d->domid < 0)
		SKIP(return, "own domain id unknown: no xenstore");
	fail_each(_metadata, d, &open);
	fail_each(_metadata, d, &bind);
	fail_each(_metadata, d, &remote);
	fail_each(_metadata, d, &use);
	fail_each(_metadata, d, &unbind);
}

/*
 * The first port that the ring has no room for. So many interrupts bring about
 * hundreds of kworkers to free them, so what is lost can't be told from those.
 */
TEST_F_TIMEOUT(evtchn_fail_nth, larger_ring, LONG)
{
	static const struct call c = {
		.prepare = port_full, .call = port_bind, .always = port_undo,
		.errors = { -ENOSPC },
	};

	self->data.domid = DOMID_SELF;
	EXPECT_LT(0, sweep(_metadata, &self->data, &c));
	EXPECT_LT(0, sweep(_metadata, &self->data, &c));
}

FIXTURE(privcmd_fail_nth) {
	data_t data;
};

/* Frames as in privcmd.c: Xen's table on PV, elsewhere those of the peer. */
FIXTURE_SETUP(privcmd_fail_nth)
{
	xen_pfn_t extent = 0;
	struct xen_machphys_mfn_list list = {
		.max_extents = 1, .extent_start = &extent,
	};
	struct privcmd_hypercall call = {
		.op = HYPERVISOR_memory_op,
		.arg = { XENMEM_machphys_mfn_list, (uintptr_t)&list },
	};
	const char *peer = getenv("XEN_PEER");
	data_t *d = &self->data;
	unsigned int i;
	uint32_t ref;

	setup(_metadata, d, PRIVCMD);
	if (d->fd < 0)
		return;
	if (xen_own_domid())
		SKIP(return, "not dom0, which may map what it likes");
	if (xen_guest_type() == XEN_GUEST_PV) {
		ASSERT_EQ(0, ioctl(d->fd, IOCTL_PRIVCMD_HYPERCALL, &call));
		d->domid = DOMID_XEN;
	} else if (!peer || xen_parse_peer(peer, &d->domid, &ref)) {
		SKIP(return, "no XEN_PEER, whose frames to map");
	} else {
		extent = XEN_GUEST_RAM;
	}
	for (i = 0; i < MANY; i++)
		d->frames[i] = extent + i;
}

FIXTURE_TEARDOWN(privcmd_fail_nth)
{
	teardown(_metadata, &self->data, PRIVCMD);
}

static size_t frames_len(data_t *self)
{
	return (self->nr * XEN_PAGE_SIZE + self->page - 1) / self->page *
	       self->page;
}

static int frames_mmap(data_t *self)
{
	self->addr = mmap(far_away(self), frames_len(self), PROT_READ,
			  MAP_SHARED | MAP_FIXED_NOREPLACE, self->fd, 0);
	return self->addr == MAP_FAILED ? -errno : 0;
}

static int frames_munmap(data_t *self)
{
	return munmap(self->addr, frames_len(self)) ? -errno : 0;
}

static int frames_batch(data_t *self)
{
	static int errs[MANY];
	struct privcmd_mmapbatch_v2 op = {
		.num = self->nr, .dom = self->domid,
		.addr = (uintptr_t)self->addr, .arr = self->frames, .err = errs,
	};
	unsigned int i;

	if (ioctl(self->fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &op))
		return -errno;
	for (i = 0; i < self->nr; i++)
		if (errs[i])
			return errs[i];
	return 0;
}

static int frames_old(data_t *self)
{
	struct privcmd_mmap_entry entry = {
		.va = (uintptr_t)self->addr, .mfn = self->frames[0],
		.npages = self->nr,
	};
	struct privcmd_mmap op = {
		.num = 1, .dom = self->domid, .entry = &entry,
	};

	return ioctl(self->fd, IOCTL_PRIVCMD_MMAP, &op) ? -errno : 0;
}

static int frames_mapped(data_t *self)
{
	return frames_mmap(self) ? : frames_batch(self);
}

static int frames_munmap_undo(data_t *self, int ret)
{
	return ret ? frames_munmap(self) : 0;
}

TEST_F_TIMEOUT(privcmd_fail_nth, frames, LONG)
{
	static const struct call batch = {
		.prepare = frames_mmap, .call = frames_batch,
		.always = frames_munmap,
	};
	static const struct call old = {
		.prepare = frames_mmap, .call = frames_old,
		.always = frames_munmap,
	};
	static const struct call unmap = {
		.prepare = frames_mapped, .call = frames_munmap,
		.undo = frames_munmap_undo,
	};
	static const unsigned int sizes[] = { 1, 2, 40, MANY };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		self->data.nr = sizes[i];
		fail_each(_metadata, &self->data, &batch);
		fail_each(_metadata, &self->data, &unmap);
		if (xen_guest_type() == XEN_GUEST_PV)
			fail_each(_metadata, &self->data, &old);
	}
}

/* The peer's grant table: its size, and one frame of it. */
static int resource_size(data_t *self)
{
	struct privcmd_mmap_resource op = {
		.dom = self->domid, .type = XENMEM_resource_grant_table,
	};

	if (ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op))
		return -errno;
	return op.num ? 0 : -EIO;
}

static int resource_map(data_t *self)
{
	struct privcmd_mmap_resource op = {
		.dom = self->domid, .type = XENMEM_resource_grant_table,
		.num = self->nr, .addr = (uintptr_t)self->addr,
	};

	return ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op) ? -errno : 0;
}

/* An operation that there is not, with two buffers. */
static int device_model(data_t *self)
{
	static char bufs[2][64];
	struct privcmd_dm_op_buf ubufs[2] = {
		{ bufs[0], sizeof(bufs[0]) }, { bufs[1], sizeof(bufs[1]) },
	};
	struct privcmd_dm_op op = {
		.dom = self->domid, .num = 2, .ubufs = ubufs,
	};

	memset(bufs, 0xff, sizeof(bufs));
	if (!ioctl(self->fd, IOCTL_PRIVCMD_DM_OP, &op))
		return 0;
	return errno == ENOMEM || errno == EFAULT ? -errno : 0;
}

static int restrict_call(data_t *self)
{
	uint16_t domid = self->domid;

	return ioctl(self->fd2, IOCTL_PRIVCMD_RESTRICT, &domid) ? -errno : 0;
}

static int privcmd_open(data_t *self)
{
	self->fd2 = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
	return self->fd2 < 0 ? -errno : 0;
}

TEST_F_TIMEOUT(privcmd_fail_nth, others, LONG)
{
	static const struct call size = {
		.call = resource_size, .none = true,
	};
	static const struct call map = {
		.prepare = frames_mmap, .call = resource_map,
		.always = frames_munmap,
	};
	static const struct call dm = { .call = device_model };
	static const struct call open = {
		.call = privcmd_open, .undo = any_open_undo,
	};
	static const struct call restrict_ = {
		.prepare = privcmd_open, .call = restrict_call,
		.always = port_undo, .none = true,
	};
	const char *peer = getenv("XEN_PEER");
	data_t *d = &self->data;
	uint32_t ref;

	if (!peer || xen_parse_peer(peer, &d->domid, &ref))
		SKIP(return, "no XEN_PEER, whose grant table to map");
	fail_each(_metadata, d, &size);
	/* Without the size, as the table need not have more frames. */
	d->nr = 1;
	fail_each(_metadata, d, &map);
	fail_each(_metadata, d, &dm);
	fail_each(_metadata, d, &open);
	fail_each(_metadata, d, &restrict_);
}

/* An eventfd, for a DM_OP that is not made, as nobody writes to it. */
static int irqfd(data_t *self, uint32_t flags)
{
	struct privcmd_irqfd op = {
		.dm_op = (uintptr_t)self->frames, .size = 16, .fd = self->fd2,
		.flags = flags, .dom = self->domid,
	};

	return ioctl(self->fd, IOCTL_PRIVCMD_IRQFD, &op) ? -errno : 0;
}

static int irqfd_assign(data_t *self)
{
	return irqfd(self, 0);
}

static int irqfd_undo(data_t *self, int ret)
{
	return ret ? 0 : irqfd(self, PRIVCMD_IRQFD_FLAG_DEASSIGN);
}

/* Requests of one vCPU, in the first page that is mapped. */
static int ioeventfd(data_t *self, uint32_t flags)
{
	struct privcmd_ioeventfd op = {
		.ioreq = (uintptr_t)self->addr, .ports = (uintptr_t)&self->port,
		.addr_len = 4, .event_fd = self->fd2, .vcpus = 1,
		.flags = flags, .dom = self->domid,
	};

	return ioctl(self->fd, IOCTL_PRIVCMD_IOEVENTFD, &op) ? -errno : 0;
}

static int ioeventfd_assign(data_t *self)
{
	return ioeventfd(self, 0);
}

static int ioeventfd_undo(data_t *self, int ret)
{
	return ret ? 0 : ioeventfd(self, PRIVCMD_IOEVENTFD_FLAG_DEASSIGN);
}

TEST_F_TIMEOUT(privcmd_fail_nth, eventfds, LONG)
{
	static const struct call irq = {
		.call = irqfd_assign, .undo = irqfd_undo,
	};
	static const struct call io = {
		.call = ioeventfd_assign, .undo = ioeventfd_undo,
		.errors = { -ENOSPC },
	};
	data_t *d = &self->data;
	char why[160];
	int evtchn;

	evtchn = xen_open("evtchn", why, sizeof(why));
	if (evtchn < 0)
		SKIP(return, "%s", why);
	d->fd2 = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_LE(0, d->fd2);
	if (irqfd(d, PRIVCMD_IRQFD_FLAG_DEASSIGN) == -EOPNOTSUPP)
		SKIP(return, "no CONFIG_XEN_PRIVCMD_EVENTFD");
	/* Deassigning allocates nothing. */
	fail_each(_metadata, d, &irq);
	if (xen_guest_type() == XEN_GUEST_PV) {
		close(evtchn);
		return;		/* no pages behind a mapping of frames */
	}
	d->port = evtchn_bind_unbound(evtchn, DOMID_SELF);
	ASSERT_LT(0, d->port);
	d->nr = 1;
	ASSERT_EQ(0, frames_mapped(d));
	fail_each(_metadata, d, &io);
	EXPECT_EQ(0, frames_munmap(d));
	EXPECT_EQ(0, evtchn_unbind(evtchn, d->port));
	close(evtchn);
}

XEN_TEST_MAIN(make_settings)
