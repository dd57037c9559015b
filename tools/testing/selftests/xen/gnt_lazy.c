// SPDX-License-Identifier: GPL-2.0
/*
 * Lazy maps: mmap() makes no PTEs, the first access to a page does. Direct I/O and
 * other users of GUP work without PTEs. What destroys PTEs does not destroy grants.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/loop.h>

#include "kselftest_harness.h"
#include "xen_test.h"

#define RW	(PROT_READ | PROT_WRITE)
#define NR	40	/* more than two page faults make */

#ifndef IOCTL_GNTDEV_MAP_LAZILY
#define IOCTL_GNTDEV_MAP_LAZILY \
	_IOC(_IOC_NONE, 'G', 13, sizeof(struct ioctl_gntdev_map_lazily))
struct ioctl_gntdev_map_lazily {
	__u64 index;
	__u32 count;
	__u32 flags;
};
#endif

/**
 * FIXTURE(gnt_lazy) - NR grants, mapped lazily
 * @g: the granter
 * @m: the mapping
 * @page: PAGE_SIZE
 * @pv: this is a PV domain. Other domains make the PTEs in mmap()
 * @kmsg: the kernel's messages from here on
 */
FIXTURE(gnt_lazy) {
	struct granter g;
	struct xen_map m;
	size_t page;
	bool pv;
	int kmsg;
};

FIXTURE_VARIANT(gnt_lazy) {
	enum granter_kind kind;
};

FIXTURE_VARIANT_ADD(gnt_lazy, local) { .kind = GRANTER_LOCAL };
FIXTURE_VARIANT_ADD(gnt_lazy, peer) { .kind = GRANTER_PEER };

static int map_lazily(int fd, uint64_t index, unsigned int count, unsigned int flags)
{
	struct ioctl_gntdev_map_lazily op = {
		.index = index, .count = count, .flags = flags,
	};

	return ioctl(fd, IOCTL_GNTDEV_MAP_LAZILY, &op) ? -errno : 0;
}

static int map_grants(FIXTURE_DATA(gnt_lazy) *self, int prot)
{
	struct xen_map *m = &self->m;
	int ret;

	m->nr = NR;
	m->fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	if (m->fd < 0)
		return -errno;
	ret = gntdev_map(m->fd, self->g.domid, self->g.refs, NR, &m->index) ?:
	      map_lazily(m->fd, m->index, NR, 0);
	if (ret)
		return ret;
	m->addr = mmap(NULL, NR * self->page, prot, MAP_SHARED, m->fd, m->index);
	return m->addr == MAP_FAILED ? -errno : 0;
}

FIXTURE_SETUP(gnt_lazy)
{
	struct granter *g = &self->g;
	int ret;

	self->page = xen_page_size();
	self->pv = xen_guest_type() == XEN_GUEST_PV;
	if (!self->pv)
		SKIP(return, "no PV domain: mmap() makes the PTEs");
	self->kmsg = xen_kmsg_open();
	ASSERT_LE(0, self->kmsg);
	ret = granter_open(g, variant->kind, NR, GNTALLOC_FLAG_WRITABLE);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g->why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", g->why);
	ret = map_grants(self, RW);
	if (ret == -ENOTTY)
		SKIP(return, "gntdev has no lazy maps");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(gnt_lazy)
{
	if (self->m.addr)
		EXPECT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(0, granter_returned(&self->g));
	granter_close(&self->g);
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

static void *addr_of(FIXTURE_DATA(gnt_lazy) *self, unsigned int page)
{
	return xen_map_word(&self->m, page, 0);
}

/* Present PTEs, as pagemap says: bit 63 of each entry */
static int ptes(FIXTURE_DATA(gnt_lazy) *self)
{
	int fd = open("/proc/self/pagemap", O_RDONLY), n = 0;
	uint64_t entries[NR];
	unsigned int i;

	if (pread(fd, entries, sizeof(entries), (uintptr_t)self->m.addr / self->page *
		  sizeof(*entries)) != sizeof(entries))
		n = -EIO;
	close(fd);
	for (i = 0; n >= 0 && i < NR; i++)
		n += entries[i] >> 63;
	return n;
}

static void all_work(struct __test_metadata *_metadata, FIXTURE_DATA(gnt_lazy) *self)
{
	unsigned int i;

	for (i = 0; i < NR; i++) {
		ASSERT_TRUE(xen_map_works(&self->m, &self->g, i))
			TH_LOG("page %u", i);
	}
}

/* A page fault makes up to 16 PTEs, in one page table. */
TEST_F(gnt_lazy, touch)
{
	unsigned long table = self->page * self->page / 8;
	unsigned long left = (table - (uintptr_t)self->m.addr % table) / self->page;

	EXPECT_EQ(self->pv ? 0 : NR, ptes(self));
	ASSERT_TRUE(xen_map_works(&self->m, &self->g, 0));
	EXPECT_EQ(!self->pv ? NR : left < 16 ? left : 16, ptes(self));
	all_work(_metadata, self);
	EXPECT_EQ(NR, ptes(self));
}

/* MAP_POPULATE does the same. */
TEST_F(gnt_lazy, populate)
{
	ASSERT_EQ(0, madvise(self->m.addr, NR * self->page, MADV_POPULATE_WRITE));
	EXPECT_EQ(NR, ptes(self));
	all_work(_metadata, self);
}

/* A block device in memory, to read and write past the page cache */
static int open_disk(size_t size)
{
	struct loop_config config = { .fd = memfd_create("disk", MFD_CLOEXEC) };
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd;
	char path[32];

	snprintf(path, sizeof(path), "/dev/loop%d",
		 ctl < 0 ? -1 : ioctl(ctl, LOOP_CTL_GET_FREE));
	close(ctl);
	fd = open(path, O_RDWR | O_CLOEXEC | O_DIRECT);
	if (fd >= 0 && (ftruncate(config.fd, size) || ioctl(fd, LOOP_CONFIGURE, &config))) {
		close(fd);
		fd = -1;
	}
	close(config.fd);
	return fd;
}

TEST_F(gnt_lazy, direct_io)
{
	size_t len = NR * self->page;
	int fd = open_disk(len);
	unsigned int i;
	uint64_t val;

	if (fd < 0)
		SKIP(return, "no loop device");
	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, granter_poke(&self->g, i, 0, 1000 + i));
	/* Page by page: a bio can't contain both device memory and other pages. */
	for (i = 0; i < NR; i++)
		EXPECT_EQ(self->page, pwrite(fd, addr_of(self, i), self->page,
					     i * self->page));
	for (i = 0; i < NR; i++) {
		EXPECT_EQ(0, granter_poke(&self->g, i, 0, 1));
		EXPECT_EQ(self->page, pread(fd, addr_of(self, i), self->page,
					    i * self->page));
		EXPECT_EQ(0, granter_peek(&self->g, i, 0, &val));
		EXPECT_EQ(1000 + i, val);
	}
	ioctl(fd, LOOP_CLR_FD);
	close(fd);
	EXPECT_EQ(self->pv ? 0 : NR, ptes(self));
	all_work(_metadata, self);
}

TEST_F(gnt_lazy, vmsplice)
{
	struct iovec iov = { addr_of(self, 2), self->page };
	uint64_t val;
	int p[2];

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, granter_poke(&self->g, 2, 0, 4711));
	ASSERT_EQ(self->page, vmsplice(p[1], &iov, 1, 0));
	EXPECT_EQ(self->pv ? 0 : NR, ptes(self));
	ASSERT_EQ(sizeof(val), read(p[0], &val, sizeof(val)));
	EXPECT_EQ(4711, val);
	close(p[0]);
	close(p[1]);
}

/* Another process reads and writes by process_vm_readv(), _writev() and ptrace. */
TEST_F(gnt_lazy, other_process)
{
	uint64_t val = 99, got = 0;
	struct iovec remote = { addr_of(self, 5), sizeof(val) };
	struct iovec local = { &got, sizeof(got) };
	pid_t parent = getpid(), child;
	int status;

	ASSERT_EQ(0, granter_poke(&self->g, 5, 0, 33));
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	child = fork();
	if (!child) {
		if (process_vm_readv(parent, &local, 1, &remote, 1, 0) != sizeof(got) ||
		    got != 33)
			_exit(1);
		local.iov_base = &val;
		if (process_vm_writev(parent, &local, 1, &remote, 1, 0) != sizeof(val))
			_exit(2);
		/* A PV domain does not copy the mapping. */
		_exit(self->pv && !xen_probe(addr_of(self, 5), false) ? 3 : 0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(0, granter_peek(&self->g, 5, 0, &got));
	EXPECT_EQ(99, got);
}

TEST_F(gnt_lazy, dontneed)
{
	if (!self->pv)
		SKIP(return, "no PV domain");
	all_work(_metadata, self);
	ASSERT_EQ(0, madvise(self->m.addr, NR * self->page, MADV_DONTNEED));
	EXPECT_EQ(0, ptes(self));
	all_work(_metadata, self);
}

TEST_F(gnt_lazy, mprotect)
{
	size_t len = NR * self->page;

	if (!self->pv)
		SKIP(return, "no PV domain");
	all_work(_metadata, self);
	ASSERT_EQ(0, mprotect(self->m.addr, len, PROT_READ));
	EXPECT_EQ(0, xen_probe(addr_of(self, 1), false));
	EXPECT_EQ(SIGSEGV, xen_probe(addr_of(self, 1), true));
	ASSERT_EQ(0, mprotect(self->m.addr, len, PROT_NONE));
	EXPECT_EQ(SIGSEGV, xen_probe(addr_of(self, 1), false));
	ASSERT_EQ(0, mprotect(addr_of(self, 3), self->page, RW));
	ASSERT_TRUE(xen_map_works(&self->m, &self->g, 3));
	ASSERT_EQ(0, mprotect(self->m.addr, len, RW));
	all_work(_metadata, self);
}

/* A map that was made read-only stays so. */
TEST_F(gnt_lazy, read_only)
{
	if (!self->pv)
		SKIP(return, "no PV domain");
	ASSERT_EQ(0, xen_unmap(&self->m));
	ASSERT_EQ(0, map_grants(self, PROT_READ));
	EXPECT_EQ(0, xen_probe(addr_of(self, 0), false));
	EXPECT_EQ(SIGSEGV, xen_probe(addr_of(self, 0), true));
	EXPECT_EQ(-1, mprotect(self->m.addr, NR * self->page, RW));
	EXPECT_EQ(EACCES, errno);
}

TEST_F(gnt_lazy, mremap)
{
	size_t len = NR * self->page;
	void *to;

	if (!self->pv)
		SKIP(return, "no PV domain");
	ASSERT_TRUE(xen_map_works(&self->m, &self->g, 0));
	to = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	ASSERT_EQ(to, mremap(self->m.addr, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	self->m.addr = to;
	all_work(_metadata, self);
	ASSERT_EQ(0, madvise(self->m.addr, len, MADV_DONTNEED));
	all_work(_metadata, self);
}

/* munmap() of a part in the middle, with and without PTEs around. */
TEST_F(gnt_lazy, split)
{
	ASSERT_TRUE(xen_map_works(&self->m, &self->g, 0));
	ASSERT_EQ(0, munmap(addr_of(self, 8), 4 * self->page));
	EXPECT_EQ(SIGSEGV, xen_probe(addr_of(self, 8), false));
	for (unsigned int i = 0; i < NR; i++) {
		if (i >= 8 && i < 12)
			continue;
		EXPECT_TRUE(xen_map_works(&self->m, &self->g, i))
			TH_LOG("page %u", i);
	}
}

TEST_F(gnt_lazy, clear_refs)
{
	if (self->pv && variant->kind == GRANTER_PEER)
		SKIP(return, "the peer's directory is mapped eagerly, and would be unmapped");
	all_work(_metadata, self);
	ASSERT_EQ(0, xen_put("/proc/self/clear_refs", "4"));
	all_work(_metadata, self);
}

struct race {
	FIXTURE_DATA(gnt_lazy) *self;
	bool stop;
};

static void *toucher(void *arg)
{
	struct race *r = arg;
	unsigned int i;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED))
		for (i = 0; i < NR; i++)
			__atomic_load_n((uint64_t *)addr_of(r->self, i),
					__ATOMIC_RELAXED);
	return NULL;
}

static void *reader(void *arg)
{
	struct race *r = arg;
	struct iovec iov = { r->self->m.addr, NR * r->self->page };
	char buf[4096];
	ssize_t n;
	int p[2];

	if (pipe(p))
		return NULL;
	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		n = vmsplice(p[1], &iov, 1, SPLICE_F_NONBLOCK);
		while (n > 0)
			n -= read(p[0], buf, sizeof(buf));
	}
	close(p[0]);
	close(p[1]);
	return NULL;
}

/* Page faults and GUP race with what destroys PTEs. */
TEST_F(gnt_lazy, race)
{
	size_t len = NR * self->page;
	struct race r = { .self = self };
	pthread_t threads[3];
	unsigned int i;

	if (!self->pv)
		SKIP(return, "no PV domain");
	ASSERT_EQ(0, pthread_create(&threads[0], NULL, toucher, &r));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, toucher, &r));
	ASSERT_EQ(0, pthread_create(&threads[2], NULL, reader, &r));
	for (i = 0; i < xen_rounds(200); i++) {
		EXPECT_EQ(0, madvise(self->m.addr, len, MADV_DONTNEED));
		EXPECT_EQ(0, mprotect(addr_of(self, 7), self->page, PROT_READ));
		EXPECT_EQ(0, mprotect(addr_of(self, 7), self->page, RW));
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	all_work(_metadata, self);
}

/* The mapping goes while a page is in use: the grant is held until then. */
TEST_F(gnt_lazy, busy)
{
	struct iovec iov = { addr_of(self, 2), self->page };
	char buf[4096];
	int p[2];

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(self->page, vmsplice(p[1], &iov, 1, 0));
	ASSERT_EQ(0, xen_unmap(&self->m));
	self->m.addr = NULL;
	EXPECT_EQ(-EBUSY, granter_end_page(&self->g, 2, 0));
	for (size_t n = 0; n < self->page; n += sizeof(buf))
		ASSERT_EQ(sizeof(buf), read(p[0], buf, sizeof(buf)));
	close(p[0]);
	close(p[1]);
}

TEST_F(gnt_lazy, refused)
{
	uint64_t index;

	EXPECT_EQ(-EBUSY, map_lazily(self->m.fd, self->m.index, NR, 0));
	EXPECT_EQ(-ENOENT, map_lazily(self->m.fd, self->m.index + self->page, NR, 0));
	ASSERT_EQ(0, gntdev_map(self->m.fd, self->g.domid, self->g.refs, 1, &index));
	EXPECT_EQ(-ENOENT, map_lazily(self->m.fd, index, 2, 0));
	EXPECT_EQ(-EINVAL, map_lazily(self->m.fd, index, 1, 1));
	EXPECT_EQ(0, gntdev_unmap(self->m.fd, index, 1));
}

XEN_TEST_MAIN(NULL)
