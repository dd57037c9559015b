// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping is taken apart. Whatever the order, the rest stays what it was to the
 * process, to others that look into it, and to a disk. The granter gets all grants
 * back when the last piece is gone, and none before.
 */

#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/loop.h>

#include "kselftest_harness.h"
#include "xen_test.h"

#define RW	(PROT_READ | PROT_WRITE)
#define NR	12
#define ALL	((1U << NR) - 1)

/**
 * FIXTURE(gnt_pieces) - NR mapped grants
 * @g: where they come from
 * @m: the mapping
 * @page: PAGE_SIZE
 * @pv: this domain is of type PV, where PTEs of grants can't change or move
 * @kmsg: the kernel's messages from here on
 */
FIXTURE(gnt_pieces) {
	struct granter g;
	struct xen_map m;
	size_t page;
	bool pv;
	int kmsg;
};

GRANTER_VARIANTS(gnt_pieces);

FIXTURE_SETUP(gnt_pieces)
{
	struct granter *g = &self->g;

	self->page = xen_page_size();
	self->pv = xen_guest_type() == XEN_GUEST_PV;
	self->kmsg = xen_kmsg_open();
	ASSERT_LE(0, self->kmsg);
	GRANTER_OPEN(g, NR, GNTALLOC_FLAG_WRITABLE);
	ASSERT_EQ(0, xen_map(&self->m, g->domid, g->refs, NR, RW));
}

FIXTURE_TEARDOWN(gnt_pieces)
{
	EXPECT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(0, granter_returned(&self->g));
	granter_close(&self->g);
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

static void *addr_of(FIXTURE_DATA(gnt_pieces) *self, unsigned int page)
{
	return xen_map_word(&self->m, page, 0);
}

/* Each page of @left works, and no other is there. */
static bool left_are(FIXTURE_DATA(gnt_pieces) *self, unsigned int left)
{
	unsigned int i;

	for (i = 0; i < NR; i++) {
		if (left & 1U << i) {
			if (!xen_map_works(&self->m, &self->g, i))
				return false;
		} else if (!xen_probe(addr_of(self, i), false)) {
			return false;
		}
	}
	return true;
}

/* Unmaps in this order. The granter can't end a grant before the last piece goes. */
static void unmap_in_order(struct __test_metadata *_metadata,
			   FIXTURE_DATA(gnt_pieces) *self,
			   const unsigned int *order, unsigned int nr)
{
	unsigned int left = ALL, i;

	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, munmap(addr_of(self, order[i]), self->page));
		left &= ~(1U << order[i]);
		EXPECT_TRUE(left_are(self, left))
			TH_LOG("page %u, step %u", order[i], i);
		EXPECT_EQ(left ? -EBUSY : 0,
			  granter_end_page(&self->g, order[i], left ? 0 : 100))
			TH_LOG("page %u, step %u", order[i], i);
	}
}

TEST_F(gnt_pieces, first)
{
	unmap_in_order(_metadata, self, (unsigned int []){ 0 }, 1);
}

TEST_F(gnt_pieces, last)
{
	unmap_in_order(_metadata, self, (unsigned int []){ NR - 1 }, 1);
}

TEST_F(gnt_pieces, middle)
{
	unmap_in_order(_metadata, self, (unsigned int []){ NR / 2 }, 1);
}

TEST_F(gnt_pieces, every_second)
{
	unsigned int order[NR], i;

	for (i = 0; i < NR; i++)
		order[i] = i < NR / 2 ? 2 * i : 2 * (i - NR / 2) + 1;
	unmap_in_order(_metadata, self, order, NR);
}

TEST_F(gnt_pieces, random_order)
{
	unsigned int seed = xen_seed(), order[NR], i, j;

	for (i = 0; i < NR; i++) {
		j = rand_r(&seed) % (i + 1);
		order[i] = order[j];
		order[j] = i;
	}
	unmap_in_order(_metadata, self, order, NR);
}

/* Whole ranges that begin and end in different pieces of the mapping. */
TEST_F(gnt_pieces, ranges)
{
	ASSERT_EQ(0, munmap(addr_of(self, 4), self->page));
	ASSERT_EQ(0, munmap(addr_of(self, 8), self->page));
	EXPECT_TRUE(left_are(self, ALL & ~0x110));
	ASSERT_EQ(0, munmap(addr_of(self, 3), 3 * self->page));
	EXPECT_TRUE(left_are(self, ALL & ~0x138));
	ASSERT_EQ(0, munmap(addr_of(self, 1), 9 * self->page));
	EXPECT_TRUE(left_are(self, 0xc01));
}

/* What is still mapped is not back, however its neighbours went. */
TEST_F(gnt_pieces, still_mapped)
{
	ASSERT_EQ(0, munmap(addr_of(self, 5), self->page));
	ASSERT_EQ(0, munmap(addr_of(self, 7), self->page));
	EXPECT_EQ(-EBUSY, granter_end_page(&self->g, 6, 0));
	/* The page is ours until we give it up. */
	*xen_map_word(&self->m, 6, 8) = 6;
	EXPECT_EQ(6, *xen_map_word(&self->m, 6, 8));
}

/* A second mapping of the same grants is not touched, nor are they back. */
TEST_F(gnt_pieces, mapped_twice)
{
	struct xen_map second;
	unsigned int i;

	ASSERT_EQ(0, xen_map(&second, self->g.domid, self->g.refs, NR, RW));
	for (i = 0; i < NR; i += 2) {
		ASSERT_EQ(0, munmap(addr_of(self, i), self->page));
		EXPECT_TRUE(xen_map_works(&second, &self->g, i));
	}
	for (i = 1; i < NR; i += 2) {
		ASSERT_EQ(0, munmap(xen_map_word(&second, i, 0), self->page));
		EXPECT_TRUE(xen_map_works(&self->m, &self->g, i));
	}
	EXPECT_EQ(-EBUSY, granter_end_page(&self->g, 1, 0));
	ASSERT_EQ(0, xen_unmap(&second));
}

/*
 * Pieces get another protection and their old one again. On PV the first call
 * is refused with EINVAL. All pages still work.
 */
TEST_F(gnt_pieces, mprotect)
{
	unsigned int i;
	void *addr;

	for (i = 1; i < NR; i += 3) {
		addr = addr_of(self, i);
		errno = 0;
		EXPECT_EQ(self->pv ? -1 : 0,
			  mprotect(addr, self->page, PROT_READ));
		EXPECT_EQ(self->pv ? EINVAL : 0, errno);
		EXPECT_EQ(0, mprotect(addr, self->page, RW));
	}
	EXPECT_TRUE(left_are(self, ALL));
	/* Across the borders of the pieces. */
	ASSERT_EQ(0, munmap(addr_of(self, 3), 3 * self->page));
	EXPECT_TRUE(left_are(self, ALL & ~0x38));
	for (i = 3; i < 6; i++)
		EXPECT_EQ(-EBUSY, granter_end_page(&self->g, i, 0));
}

/*
 * Pages from the middle are moved. They work at the new place. On PV they are gone,
 * though not their grants. The pages around them stay.
 */
TEST_F(gnt_pieces, mremap)
{
	size_t len = 3 * self->page;
	struct xen_map moved = { .nr = 3 };
	unsigned int i;
	void *old = addr_of(self, 4);
	uint64_t val;

	moved.addr = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);
	ASSERT_NE(MAP_FAILED, moved.addr);
	ASSERT_EQ(moved.addr, mremap(old, len, len,
				     MREMAP_MAYMOVE | MREMAP_FIXED,
				     moved.addr));
	EXPECT_TRUE(left_are(self, ALL & ~0x70));
	for (i = 0; i < 3; i++) {
		uint64_t *word = xen_map_word(&moved, i, 8);

		EXPECT_EQ(self->pv ? SIGBUS : 0, xen_probe(word, false));
		if (self->pv) {
			EXPECT_EQ(-EBUSY,
				  granter_end_page(&self->g, 4 + i, 0));
			continue;
		}
		*word = 0xa0 + i;
		EXPECT_EQ(0, granter_peek(&self->g, 4 + i, 8, &val));
		EXPECT_EQ(0xa0 + i, val);
	}
	/* Something else where they were, which goes as well. */
	ASSERT_EQ(old, mmap(old, len, RW,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset(old, 1, len);
	ASSERT_EQ(0, munmap(old, len));
	EXPECT_TRUE(left_are(self, ALL & ~0x70));
	ASSERT_EQ(0, munmap(moved.addr, len));
}

/* Another process's view of @addr by way of process_vm_readv(): 0 or -errno. */
static int vm_read(pid_t pid, void *addr, uint64_t *val)
{
	struct iovec local = { val, sizeof(*val) };
	struct iovec remote = { addr, sizeof(*val) };

	return process_vm_readv(pid, &local, 1, &remote, 1, 0) ==
	       sizeof(*val) ? 0 : -errno;
}

static int vm_write(pid_t pid, void *addr, uint64_t val)
{
	struct iovec local = { &val, sizeof(val) };
	struct iovec remote = { addr, sizeof(val) };

	return process_vm_writev(pid, &local, 1, &remote, 1, 0) ==
	       sizeof(val) ? 0 : -errno;
}

/* The first thing that does not work for another process, 0 if all does. */
static int look_into(pid_t pid, FIXTURE_DATA(gnt_pieces) *self,
		     unsigned int left)
{
	char path[40];
	uint64_t val;
	unsigned int i;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDWR);
	if (mem < 0 || ptrace(PTRACE_SEIZE, pid, NULL, NULL) ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) ||
	    waitpid(pid, NULL, __WALL) != pid)
		return 1;
	for (i = 0; i < NR; i++) {
		char *addr = addr_of(self, i);

		if (!(left & 1U << i)) {
			if (vm_read(pid, addr, &val) != -EFAULT ||
			    pread(mem, &val, 8, (off_t)(uintptr_t)addr) != -1)
				return 2;
			errno = 0;
			if (ptrace(PTRACE_PEEKDATA, pid, addr, NULL) != -1 ||
			    !errno)
				return 3;
			continue;
		}
		if (vm_read(pid, addr, &val) ||
		    val != xen_share_pattern(i, 0))
			return 4;
		if (vm_write(pid, addr + 512, 0x1000 + i))
			return 5;
		if (pread(mem, &val, 8, (off_t)(uintptr_t)addr) != 8 ||
		    val != xen_share_pattern(i, 0))
			return 6;
		val = 0x2000 + i;
		if (pwrite(mem, &val, 8, (off_t)(uintptr_t)addr + 520) != 8)
			return 7;
		if (ptrace(PTRACE_PEEKDATA, pid, addr, NULL) !=
		    (long)xen_share_pattern(i, 0))
			return 8;
		if (ptrace(PTRACE_POKEDATA, pid, addr + 528,
			   (void *)(0x3000UL + i)))
			return 9;
	}
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return 0;
}

/* process_vm_readv(), /proc/PID/mem and ptrace find the right page. */
TEST_F(gnt_pieces, seen_by_others)
{
	const unsigned int left = ALL & ~0x426, holes[] = { 5, 1, 10, 2 };
	pid_t parent = getpid(), pid;
	unsigned int i, j;
	uint64_t val;
	int status;

	for (i = 0; i < ARRAY_SIZE(holes); i++)
		ASSERT_EQ(0, munmap(addr_of(self, holes[i]), self->page));
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(look_into(parent, self, left));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	for (i = 0; i < NR; i++) {
		for (j = 0; left & 1U << i && j < 3; j++) {
			EXPECT_EQ(0, granter_peek(&self->g, i, 512 + 8 * j,
						  &val));
			/* ptrace writes a word of this architecture. */
			EXPECT_EQ(0x1000 * (j + 1) + i, (unsigned long)val);
		}
	}
}

/* A file system on a loop device; the folder it is mounted on, or NULL. */
static const char *mount_loop(int *loop, char *why, size_t size)
{
	struct loop_config config = {};
	char path[32], cmd[64];
	static char dir[32];
	int ctl, nr;

	*loop = -1;
	strcpy(dir, "/tmp/gnt_pieces.XXXXXX");
	ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	nr = ctl < 0 ? -1 : ioctl(ctl, LOOP_CTL_GET_FREE);
	close(ctl);
	snprintf(path, sizeof(path), "/dev/loop%d", nr);
	if (nr >= 0)
		*loop = open(path, O_RDWR | O_CLOEXEC);
	config.fd = memfd_create("disk", MFD_CLOEXEC);
	if (*loop < 0 || (int)config.fd < 0 || ftruncate(config.fd, 4 << 20) ||
	    ioctl(*loop, LOOP_CONFIGURE, &config)) {
		snprintf(why, size, "no loop device: %s", strerror(errno));
		return NULL;
	}
	close(config.fd);
	snprintf(cmd, sizeof(cmd), "mke2fs -b 4096 %s >/dev/null 2>&1", path);
	if (system(cmd)) {
		snprintf(why, size, "no mke2fs");
		return NULL;
	}
	if (!mkdtemp(dir) || mount(path, dir, "ext4", 0, NULL)) {
		snprintf(why, size, "can't mount ext4: %s", strerror(errno));
		return NULL;
	}
	return dir;
}

/* Past the page cache to a file, from one grant, and back, into another. */
TEST_F(gnt_pieces, direct_io)
{
	const char *dir;
	char path[64], why[80];
	uint64_t val;
	unsigned int i;
	int loop, fd;

	dir = mount_loop(&loop, why, sizeof(why));
	if (!dir) {
		if (loop >= 0)
			ioctl(loop, LOOP_CLR_FD);
		close(loop);
		SKIP(return, "%s", why);
	}
	/* Not the pages that the mapping began with. */
	ASSERT_EQ(0, munmap(addr_of(self, 0), self->page));
	ASSERT_EQ(0, munmap(addr_of(self, 6), self->page));
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_CREAT | O_RDWR | O_DIRECT, 0600);
	EXPECT_LE(0, fd);
	for (i = 1; fd >= 0 && i < 6; i++) {
		EXPECT_EQ(0, granter_poke(&self->g, i, 64, 0xd10 + i));
		EXPECT_EQ(XEN_PAGE_SIZE, pwrite(fd, addr_of(self, i),
						XEN_PAGE_SIZE,
						i * XEN_PAGE_SIZE));
	}
	for (i = 1; fd >= 0 && i < 6; i++) {
		EXPECT_EQ(XEN_PAGE_SIZE, pread(fd, addr_of(self, 6 + i),
					       XEN_PAGE_SIZE,
					       i * XEN_PAGE_SIZE));
		EXPECT_EQ(0, granter_peek(&self->g, 6 + i, 64, &val));
		EXPECT_EQ(0xd10 + i, val);
		EXPECT_EQ(0, granter_peek(&self->g, 6 + i, 4088, &val));
		EXPECT_EQ(xen_share_pattern(i, 511), val);
	}
	close(fd);
	EXPECT_EQ(0, umount(dir));
	EXPECT_EQ(0, rmdir(dir));
	EXPECT_EQ(0, ioctl(loop, LOOP_CLR_FD));
	close(loop);
}

/* Accessed bits are Xen's to clear, as the entries are, and nobody else does. */
TEST_F(gnt_pieces, clear_refs)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);

	if (fd < 0)
		SKIP(return, "no CONFIG_PROC_PAGE_MONITOR");
	ASSERT_EQ(0, munmap(addr_of(self, 2), self->page));
	/* All pages, those of no file, those of files. */
	EXPECT_EQ(1, write(fd, "1", 1));
	EXPECT_EQ(1, write(fd, "2", 1));
	EXPECT_EQ(1, write(fd, "3", 1));
	EXPECT_TRUE(left_are(self, ALL & ~0x4));
	close(fd);
}

/* The value in kilobytes of a line of /proc/self/smaps, of the VMA at @addr. */
static int vma_line(void *addr, const char *name, char *buf, size_t size)
{
	unsigned long start, end;
	bool here = false;
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[256];

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (unsigned long)addr &&
			       end > (unsigned long)addr;
		if (here && !strncmp(line, name, strlen(name))) {
			snprintf(buf, size, "%s", line + strlen(name));
			fclose(f);
			return 0;
		}
	}
	fclose(f);
	return -ENOENT;
}

/* What the documentation says of these VMAs: shown, neither dumped nor grown. */
TEST_F(gnt_pieces, flags_and_rss)
{
	char buf[256];

	ASSERT_EQ(0, munmap(addr_of(self, 2), self->page));
	ASSERT_EQ(0, vma_line(addr_of(self, 3), "VmFlags:", buf, sizeof(buf)));
	EXPECT_NE(NULL, strstr(buf, " dd"));
	EXPECT_NE(NULL, strstr(buf, " de"));
	EXPECT_NE(NULL, strstr(buf, " mm"));
	if (self->pv)
		EXPECT_NE(NULL, strstr(buf, " dc"));
	ASSERT_EQ(0, vma_line(addr_of(self, 3), "Rss:", buf, sizeof(buf)));
	EXPECT_EQ((NR - 3) * self->page / 1024, atoi(buf));
	ASSERT_EQ(0, vma_line(addr_of(self, 0), "Rss:", buf, sizeof(buf)));
	EXPECT_EQ(2 * self->page / 1024, atoi(buf));
}

XEN_TEST_MAIN(NULL)
