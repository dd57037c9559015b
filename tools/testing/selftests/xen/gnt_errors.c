// SPDX-License-Identifier: GPL-2.0
/*
 * Every call that must fail does, with its errno, and takes nothing else with
 * it: after each of them a mapping that was good before still is.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "xen_test.h"

#define RW	(PROT_READ | PROT_WRITE)

/* What the kernel must refuse to read or write. */
#define BAD_PTR	((void *)8)

/**
 * FIXTURE(gnt_errors) - a file under test and a good mapping beside it
 * @g: where the grants come from: 0 and 1 for the mapping, 2 and 3 to play with
 * @good: the mapping
 * @fd: a gntdev with no map
 * @page: PAGE_SIZE
 */
FIXTURE(gnt_errors) {
	struct granter g;
	struct xen_map good;
	int fd;
	size_t page;
};

GRANTER_VARIANTS(gnt_errors);

FIXTURE_SETUP(gnt_errors)
{
	struct granter *g = &self->g;

	GRANTER_OPEN(g, 4, GNTALLOC_FLAG_WRITABLE);
	ASSERT_EQ(0, xen_map(&self->good, g->domid, g->refs, 2, RW));
	self->fd = xen_open("gntdev", g->why, sizeof(g->why));
	ASSERT_LE(0, self->fd);
	self->page = xen_page_size();
}

/* The good mapping still is. */
#define EXPECT_GOOD() \
	EXPECT_TRUE(xen_map_works(&self->good, &self->g, 0))

FIXTURE_TEARDOWN(gnt_errors)
{
	EXPECT_GOOD();
	EXPECT_TRUE(xen_map_works(&self->good, &self->g, 1));
	close(self->fd);
	EXPECT_EQ(0, xen_unmap(&self->good));
	EXPECT_EQ(0, granter_returned(&self->g));
	granter_close(&self->g);
}

/* mmap() on a gntdev for its errno, 0 if it succeeded. */
static int try_mmap(int fd, size_t len, int prot, int flags, uint64_t index)
{
	void *addr = mmap(NULL, len, prot, flags, fd, index);

	if (addr == MAP_FAILED)
		return errno;
	munmap(addr, len);
	return 0;
}

/* The map ioctl takes any reference; that it is none shows at mmap: EINVAL. */
TEST_F(gnt_errors, bad_reference)
{
	uint32_t refs[] = { self->g.refs[2], UINT32_MAX };
	uint64_t index;

	ASSERT_EQ(0, gntdev_map(self->fd, self->g.domid, &refs[1], 1, &index));
	EXPECT_EQ(EINVAL, try_mmap(self->fd, self->page, RW, MAP_SHARED,
				   index));
	EXPECT_GOOD();
	EXPECT_EQ(0, gntdev_unmap(self->fd, index, 1));

	/* One bad of two: the good one is not mapped, though the map is. */
	ASSERT_EQ(0, gntdev_map(self->fd, self->g.domid, refs, 2, &index));
	EXPECT_EQ(EINVAL, try_mmap(self->fd, 2 * self->page, RW, MAP_SHARED,
				   index));
	EXPECT_GOOD();
	EXPECT_EQ(0, xen_unmap(&self->good));
	EXPECT_EQ(0, granter_end(&self->g, XEN_RETURN_MS));
	EXPECT_EQ(0, gntdev_unmap(self->fd, index, 2));

	ASSERT_EQ(0, granter_alloc(&self->g, 4, GNTALLOC_FLAG_WRITABLE));
	ASSERT_EQ(0, xen_map(&self->good, self->g.domid, self->g.refs, 2, RW));
}

/* A domain that cannot exist is refused at mmap, as is DOMID_SELF: EINVAL. */
TEST_F(gnt_errors, bad_domain)
{
	const int domids[] = { DOMID_FIRST_RESERVED - 1, DOMID_SELF,
			       DOMID_INVALID };
	unsigned int i;
	uint64_t index;

	for (i = 0; i < ARRAY_SIZE(domids); i++) {
		ASSERT_EQ(0, gntdev_map(self->fd, domids[i],
					&self->g.refs[2], 1, &index));
		EXPECT_EQ(EINVAL, try_mmap(self->fd, self->page, RW,
					   MAP_SHARED, index));
		EXPECT_GOOD();
		EXPECT_EQ(0, gntdev_unmap(self->fd, index, 1));
	}
}

/* No grants, or more than the module's limit, are EINVAL at the map ioctl. */
TEST_F(gnt_errors, map_count)
{
	struct ioctl_gntdev_map_grant_ref op = {
		.refs = { { self->g.domid, self->g.refs[2] } },
	};
	unsigned int limit;

	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_GNTDEV_MAP_GRANT_REF, &op));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_GOOD();

	ASSERT_EQ(0, xen_param_get("xen_gntdev", "limit", &limit));
	op.count = limit + 1;
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_GNTDEV_MAP_GRANT_REF, &op));
	EXPECT_EQ(EINVAL, errno);
	op.count = UINT32_MAX;
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_GNTDEV_MAP_GRANT_REF, &op));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_GOOD();
}

/* mmap takes an offset that the map ioctl returned and no other: EINVAL. */
TEST_F(gnt_errors, mmap_index)
{
	uint64_t index;

	EXPECT_EQ(EINVAL, try_mmap(self->fd, self->page, RW, MAP_SHARED, 0));
	ASSERT_EQ(0, gntdev_map(self->fd, self->g.domid, &self->g.refs[2], 2,
				&index));
	EXPECT_EQ(EINVAL, try_mmap(self->fd, self->page, RW, MAP_SHARED,
				   index + self->page));
	EXPECT_EQ(EINVAL, try_mmap(self->fd, 2 * self->page, RW, MAP_SHARED,
				   index + 2 * self->page));
	EXPECT_GOOD();
	EXPECT_EQ(0, try_mmap(self->fd, 2 * self->page, RW, MAP_SHARED,
			      index));
	EXPECT_EQ(0, gntdev_unmap(self->fd, index, 2));
}

/* An offset of which an int holds only the lower bits is refused. */
TEST_F(gnt_errors, index_too_large)
{
	uint64_t index, large;

	ASSERT_EQ(0, gntdev_map(self->fd, self->g.domid, &self->g.refs[2], 2,
				&index));
	large = index + (self->page << 32);
	EXPECT_EQ(EINVAL, try_mmap(self->fd, 2 * self->page, RW, MAP_SHARED,
				   large));
	EXPECT_EQ(-ENOENT, gntdev_notify(self->fd, large, 0, 0));
	EXPECT_EQ(-ENOENT, gntdev_unmap(self->fd, large, 2));
	EXPECT_EQ(0, gntdev_unmap(self->fd, index, 2));
}

/*
 * Maps of 2 GB put the next one at an offset that no int holds. The grants that
 * fill the 2 GB need not exist, as they are never mmapped.
 */
TEST_F(gnt_errors, large_index)
{
	enum { COUNT = 65536 };
	uint32_t *refs = calloc(COUNT, sizeof(*refs)), count;
	uint64_t at, index, offset;
	void *addr;
	int ret;

	if (variant->kind == GRANTER_PEER)
		SKIP(goto out, "as with a grant of this domain");
	ASSERT_NE(NULL, refs);
	for (at = 0; at < 1ULL << 31; at += COUNT * self->page) {
		ret = gntdev_map(self->fd, self->g.domid, refs, COUNT, &index);
		if (ret == -ENOMEM || ret == -EINVAL)
			SKIP(goto out, "no room for 2 GB: %s", strerror(-ret));
		ASSERT_EQ(0, ret);
		EXPECT_EQ(at, index);
	}

	ASSERT_EQ(0, gntdev_map(self->fd, self->g.domid, &self->g.refs[2], 1,
				&index));
	EXPECT_EQ(at, index);
	EXPECT_EQ(0, gntdev_notify(self->fd, index, UNMAP_NOTIFY_CLEAR_BYTE,
				   0));
	addr = mmap(NULL, self->page, RW, MAP_SHARED, self->fd, index);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(xen_share_pattern(2, 0), *(uint64_t *)addr);
	EXPECT_EQ(0, gntdev_offset(self->fd, addr, &offset, &count));
	EXPECT_EQ(at, offset);
	EXPECT_EQ(1, count);
	EXPECT_EQ(0, munmap(addr, self->page));
	EXPECT_EQ(0, gntdev_unmap(self->fd, index, 1));
out:
	free(refs);
}

/* An offset belongs to the file that returned it. */
TEST_F(gnt_errors, index_of_another_file)
{
	uint64_t first, second;
	int other;

	other = xen_open("gntdev", self->g.why, sizeof(self->g.why));
	ASSERT_LE(0, other);
	/* The second, as each file's first offset is 0. */
	ASSERT_EQ(0, gntdev_map(other, self->g.domid, &self->g.refs[2], 1,
				&first));
	ASSERT_EQ(0, gntdev_map(other, self->g.domid, &self->g.refs[3], 1,
				&second));
	EXPECT_EQ(0, first);
	EXPECT_EQ(EINVAL, try_mmap(self->fd, self->page, RW, MAP_SHARED,
				   second));
	EXPECT_EQ(-ENOENT, gntdev_unmap(self->fd, second, 1));
	EXPECT_EQ(-ENOENT, gntdev_notify(self->fd, second, 0, 0));
	EXPECT_EQ(0, try_mmap(other, self->page, RW, MAP_SHARED, second));
	EXPECT_GOOD();
	close(other);
}

/* A map is mmapped as a whole: other lengths are EINVAL. */
TEST_F(gnt_errors, mmap_length)
{
	uint64_t index;

	ASSERT_EQ(0, gntdev_map(self->fd, self->g.domid, &self->g.refs[2], 2,
				&index));
	EXPECT_EQ(EINVAL, try_mmap(self->fd, self->page, RW, MAP_SHARED,
				   index));
	EXPECT_EQ(EINVAL, try_mmap(self->fd, 3 * self->page, RW, MAP_SHARED,
				   index));
	EXPECT_GOOD();
	EXPECT_EQ(0, try_mmap(self->fd, 2 * self->page, RW, MAP_SHARED,
			      index));
	EXPECT_EQ(0, gntdev_unmap(self->fd, index, 2));
}

/* A length of which an int holds only the lower bits is EINVAL, too. */
TEST_F(gnt_errors, mmap_huge)
{
	uint64_t index;

	if (self->page != XEN_PAGE_SIZE)
		SKIP(return, "no address space for 2^32 pages");
	ASSERT_EQ(0, gntdev_map(self->fd, self->g.domid, &self->g.refs[2], 1,
				&index));
	EXPECT_EQ(EINVAL, try_mmap(self->fd, ((1ULL << 32) + 1) * self->page,
				   RW, MAP_SHARED, index));
	EXPECT_GOOD();
	EXPECT_EQ(0, gntdev_unmap(self->fd, index, 1));
}

/* A map is mmapped once: while it is mapped and after that EINVAL. */
TEST_F(gnt_errors, mmap_twice)
{
	uint64_t index;
	void *addr;

	ASSERT_EQ(0, gntdev_map(self->fd, self->g.domid, &self->g.refs[2], 1,
				&index));
	addr = mmap(NULL, self->page, RW, MAP_SHARED, self->fd, index);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(EINVAL, try_mmap(self->fd, self->page, RW, MAP_SHARED,
				   index));
	EXPECT_EQ(xen_share_pattern(2, 0), *(uint64_t *)addr);
	ASSERT_EQ(0, munmap(addr, self->page));
	EXPECT_EQ(EINVAL, try_mmap(self->fd, self->page, RW, MAP_SHARED,
				   index));
	EXPECT_EQ(0, gntdev_unmap(self->fd, index, 1));
	EXPECT_GOOD();
}

/* Grants don't take copy on write: a private writable map is EINVAL. */
TEST_F(gnt_errors, private_writable)
{
	uint64_t index;

	ASSERT_EQ(0, gntdev_map(self->fd, self->g.domid, &self->g.refs[2], 1,
				&index));
	EXPECT_EQ(EINVAL, try_mmap(self->fd, self->page, RW, MAP_PRIVATE,
				   index));
	EXPECT_GOOD();
	/* This was refused before the map was used up. */
	EXPECT_EQ(0, try_mmap(self->fd, self->page, RW, MAP_SHARED, index));
	EXPECT_EQ(0, gntdev_unmap(self->fd, index, 1));
}

/* Unmapping what is not there (twice, elsewhere, in part) is ENOENT. */
TEST_F(gnt_errors, unmap)
{
	uint64_t index;

	EXPECT_EQ(-ENOENT, gntdev_unmap(self->fd, 0, 1));
	ASSERT_EQ(0, gntdev_map(self->fd, self->g.domid, &self->g.refs[2], 2,
				&index));
	EXPECT_EQ(-ENOENT, gntdev_unmap(self->fd, index + self->page, 1));
	EXPECT_EQ(-ENOENT, gntdev_unmap(self->fd, index, 1));
	EXPECT_EQ(-ENOENT, gntdev_unmap(self->fd, index, 3));
	EXPECT_EQ(0, gntdev_unmap(self->fd, index, 2));
	EXPECT_EQ(-ENOENT, gntdev_unmap(self->fd, index, 2));
	EXPECT_GOOD();
}

/* Unmapped by ioctl while mmapped: the pages stay until munmap. */
TEST_F(gnt_errors, unmap_while_mapped)
{
	uint64_t index, *addr;

	ASSERT_EQ(0, gntdev_map(self->fd, self->g.domid, &self->g.refs[2], 1,
				&index));
	addr = mmap(NULL, self->page, RW, MAP_SHARED, self->fd, index);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(0, gntdev_unmap(self->fd, index, 1));
	EXPECT_EQ(xen_share_pattern(2, 0), *addr);
	ASSERT_EQ(0, granter_poke(&self->g, 2, 0, 77));
	EXPECT_EQ(77, *addr);
	EXPECT_EQ(-ENOENT, gntdev_unmap(self->fd, index, 1));
	EXPECT_EQ(EINVAL, try_mmap(self->fd, self->page, RW, MAP_SHARED,
				   index));
	EXPECT_EQ(0, munmap(addr, self->page));
	EXPECT_GOOD();
}

/* A mapping needs its file no more: it outlives close(), then EBADF. */
TEST_F(gnt_errors, use_after_close)
{
	uint64_t index, *addr;
	int fd;

	fd = xen_open("gntdev", self->g.why, sizeof(self->g.why));
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, gntdev_map(fd, self->g.domid, &self->g.refs[2], 1,
				&index));
	addr = mmap(NULL, self->page, RW, MAP_SHARED, fd, index);
	ASSERT_NE(MAP_FAILED, addr);
	close(fd);
	EXPECT_EQ(EBADF, try_mmap(fd, self->page, RW, MAP_SHARED, index));
	EXPECT_EQ(-EBADF, gntdev_unmap(fd, index, 1));
	ASSERT_EQ(0, granter_poke(&self->g, 2, 0, 78));
	EXPECT_EQ(78, *addr);
	*addr = 79;
	EXPECT_EQ(0, munmap(addr, self->page));
	EXPECT_GOOD();
}

/* A pointer that cannot be read is EFAULT at every ioctl of gntdev. */
TEST_F(gnt_errors, fault)
{
	const unsigned long cmds[] = {
		IOCTL_GNTDEV_MAP_GRANT_REF,
		IOCTL_GNTDEV_UNMAP_GRANT_REF,
		IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR,
		IOCTL_GNTDEV_SET_UNMAP_NOTIFY,
		IOCTL_GNTDEV_GRANT_COPY,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		EXPECT_EQ(-1, ioctl(self->fd, cmds[i], BAD_PTR));
		EXPECT_EQ(EFAULT, errno);
		EXPECT_GOOD();
	}
	EXPECT_EQ(-EFAULT, gntdev_copy(self->fd, BAD_PTR, 1));
	EXPECT_EQ(-1, ioctl(self->fd, _IO('G', 99), BAD_PTR));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_GOOD();
}

/* EFAULT in the array of references, or when the result cannot be written. */
TEST_F(gnt_errors, fault_later)
{
	struct ioctl_gntdev_map_grant_ref *op;
	char *mem;

	mem = mmap(NULL, 2 * self->page, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	ASSERT_NE(MAP_FAILED, mem);

	/* The first reference is the last thing in the page. */
	op = (void *)(mem + self->page - sizeof(*op));
	op->count = 2;
	op->refs[0].domid = self->g.domid;
	op->refs[0].ref = self->g.refs[2];
	ASSERT_EQ(0, mprotect(mem + self->page, self->page, PROT_NONE));
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_GNTDEV_MAP_GRANT_REF, op));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_GOOD();

	op->count = 1;
	ASSERT_EQ(0, mprotect(mem, self->page, PROT_READ));
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_GNTDEV_MAP_GRANT_REF, op));
	EXPECT_EQ(EFAULT, errno);
	/* There is no such map then. */
	EXPECT_EQ(-ENOENT, gntdev_unmap(self->fd, 0, 1));
	EXPECT_GOOD();
	munmap(mem, 2 * self->page);
}

/* A copy between two buffers of this process, or over a page's end: EINVAL. */
TEST_F(gnt_errors, copy)
{
	uint64_t buf[2];
	struct gntdev_grant_copy_segment seg = {
		.source.virt = &buf[0],
		.dest.virt = &buf[1],
		.len = 8,
	};

	EXPECT_EQ(-EINVAL, gntdev_copy(self->fd, &seg, 1));
	EXPECT_GOOD();

	seg.source.foreign.ref = self->g.refs[2];
	seg.source.foreign.domid = self->g.domid;
	seg.source.foreign.offset = XEN_PAGE_SIZE - 4;
	seg.flags = GNTCOPY_source_gref;
	EXPECT_EQ(-EINVAL, gntdev_copy(self->fd, &seg, 1));
	EXPECT_GOOD();

	seg.source.foreign.offset = 0;
	seg.dest.virt = BAD_PTR;
	EXPECT_EQ(-EFAULT, gntdev_copy(self->fd, &seg, 1));
	EXPECT_GOOD();
}

/**
 * FIXTURE(gntalloc_errors) - a gntalloc with one good page
 * @fd: the file
 * @index: the page's offset
 * @ref: its grant, which nobody maps
 * @domid: this domain, which may
 * @mem: the page
 * @page: PAGE_SIZE
 */
FIXTURE(gntalloc_errors) {
	int fd;
	uint64_t index;
	uint32_t ref;
	int domid;
	uint64_t *mem;
	size_t page;
};

FIXTURE_SETUP(gntalloc_errors)
{
	char why[160];

	self->fd = xen_open("gntalloc", why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->page = xen_page_size();
	self->domid = xen_own_domid();
	if (self->domid < 0)
		SKIP(return, "own domain id unknown: no xenstore");
	ASSERT_EQ(0, gntalloc_alloc(self->fd, self->domid,
				    GNTALLOC_FLAG_WRITABLE, 1, &self->ref,
				    &self->index));
	self->mem = mmap(NULL, self->page, RW, MAP_SHARED, self->fd,
			 self->index);
	ASSERT_NE(MAP_FAILED, self->mem);
	*self->mem = 0x600d;
}

FIXTURE_TEARDOWN(gntalloc_errors)
{
	EXPECT_EQ(0x600d, *self->mem);
	EXPECT_EQ(0, munmap(self->mem, self->page));
	EXPECT_EQ(0, gntalloc_dealloc(self->fd, self->index, 1));
	close(self->fd);
	EXPECT_EQ(0, xen_refs_in_use(self->domid, &self->ref, 1, 0));
}

/* More pages than the limit, or than are left of it, are ENOSPC. */
TEST_F(gntalloc_errors, count)
{
	struct ioctl_gntalloc_alloc_gref op = { .domid = DOMID_INVALID };
	unsigned int limit;

	ASSERT_EQ(0, xen_param_get("xen_gntalloc", "limit", &limit));
	op.count = limit + 1;
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_GNTALLOC_ALLOC_GREF, &op));
	EXPECT_EQ(ENOSPC, errno);
	/* The fixture has one. */
	op.count = limit;
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_GNTALLOC_ALLOC_GREF, &op));
	EXPECT_EQ(ENOSPC, errno);
	op.count = UINT32_MAX;
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_GNTALLOC_ALLOC_GREF, &op));
	EXPECT_EQ(ENOSPC, errno);
	/* None at all is no error. */
	op.count = 0;
	op.gref_ids[0] = 12345;
	EXPECT_EQ(0, ioctl(self->fd, IOCTL_GNTALLOC_ALLOC_GREF, &op));
	EXPECT_EQ(12345, op.gref_ids[0]);
}

/*
 * More pages than there can be numbers for, with a limit that allows them: an
 * error, no page and no report of the kernel.
 */
TEST_F(gntalloc_errors, large_count)
{
	static const uint32_t counts[] = {
		INT32_MAX, INT32_MAX + 1U, UINT32_MAX,
	};
	struct ioctl_gntalloc_alloc_gref op = { .domid = DOMID_INVALID };
	unsigned int limit, i;
	int kmsg;

	ASSERT_EQ(0, xen_param_get("xen_gntalloc", "limit", &limit));
	kmsg = xen_kmsg_open();
	ASSERT_LE(0, kmsg);
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		int ret, err;

		xen_param_set("xen_gntalloc", "limit", UINT32_MAX);
		op.count = counts[i];
		ret = ioctl(self->fd, IOCTL_GNTALLOC_ALLOC_GREF, &op);
		err = errno;
		xen_param_set("xen_gntalloc", "limit", limit);
		EXPECT_EQ(-1, ret);
		EXPECT_TRUE(err == ENOMEM || err == ENOSPC)
			TH_LOG("%#x pages: %s", counts[i], strerror(err));
	}
	EXPECT_EQ(0, xen_kmsg_reports(kmsg));
}

/* Allocates pages one by one until there are no more: how many, at most max. */
static unsigned int fill(int fd, uint32_t *refs, unsigned int max)
{
	uint64_t index;
	unsigned int i;

	for (i = 0; i < max; i++)
		if (gntalloc_alloc(fd, xen_own_domid(), GNTALLOC_FLAG_WRITABLE,
				   1, &refs[i], &index))
			break;
	return i;
}

/* A page that is given up counts for as long as another domain has it mapped. */
TEST_F(gntalloc_errors, mapped_after_close)
{
	unsigned int nr, left, limit, used, tries;
	uint32_t refs[64];
	struct xen_map m;
	char why[160];
	int fd;

	if (xen_guest_type() == XEN_GUEST_PVH ||
	    xen_guest_type() == XEN_GUEST_HVM)
		SKIP(return, "a self-grant loses its backing on an auto-translated domain");
	ASSERT_EQ(0, xen_param_get("xen_gntalloc", "limit", &limit));
	fd = xen_open("gntalloc", why, sizeof(why));
	ASSERT_LE(0, fd);
	/* Pages that others have count, too: raise the limit until some are left. */
	for (used = 32, nr = 0; nr < 4 && used < limit; used += 32) {
		xen_param_set("xen_gntalloc", "limit", used);
		nr += fill(fd, &refs[nr], ARRAY_SIZE(refs) - nr);
	}
	ASSERT_LE(4, nr);
	EXPECT_EQ(0, xen_map(&m, xen_own_domid(), refs, 4, RW));
	close(fd);

	fd = xen_open("gntalloc", why, sizeof(why));
	ASSERT_LE(0, fd);
	left = fill(fd, refs, ARRAY_SIZE(refs));
	EXPECT_EQ(nr - 4, left)
		TH_LOG("of %u pages 4 are mapped, expected %u, got %u", nr,
		       nr - 4, left);
	EXPECT_EQ(0, xen_unmap(&m));
	for (tries = 0; tries < XEN_RETURN_MS / 100 && left < nr; tries++) {
		usleep(100000);
		left += fill(fd, &refs[left], nr - left);
	}
	EXPECT_EQ(nr, left);
	close(fd);
	xen_param_set("xen_gntalloc", "limit", limit);
}

/* Deallocating what is not there (twice, elsewhere, too much) is EINVAL. */
TEST_F(gntalloc_errors, dealloc)
{
	uint32_t refs[2];
	uint64_t index;

	EXPECT_EQ(-EINVAL, gntalloc_dealloc(self->fd, self->index + self->page,
					    1));
	EXPECT_EQ(-EINVAL, gntalloc_dealloc(self->fd, self->index, 2));
	EXPECT_EQ(-EINVAL, gntalloc_dealloc(self->fd, self->index, 0));

	ASSERT_EQ(0, gntalloc_alloc(self->fd, DOMID_INVALID, 0, 2, refs,
				    &index));
	EXPECT_EQ(-EINVAL, gntalloc_dealloc(self->fd, index, 3));
	EXPECT_EQ(0, gntalloc_dealloc(self->fd, index, 2));
	EXPECT_EQ(-EINVAL, gntalloc_dealloc(self->fd, index, 2));
}

/* Pages can go one by one, the others stay. */
TEST_F(gntalloc_errors, dealloc_in_part)
{
	uint32_t refs[3];
	uint64_t index;

	ASSERT_EQ(0, gntalloc_alloc(self->fd, DOMID_INVALID, 0, 3, refs,
				    &index));
	EXPECT_EQ(0, gntalloc_dealloc(self->fd, index + self->page, 1));
	EXPECT_EQ(-EINVAL, gntalloc_dealloc(self->fd, index, 3));
	EXPECT_EQ(0, gntalloc_dealloc(self->fd, index + 2 * self->page, 1));
	EXPECT_EQ(0, gntalloc_dealloc(self->fd, index, 1));
}

/* A mapping of two pages ends: another file's page from in between stays. */
TEST_F(gntalloc_errors, other_file)
{
	uint64_t index, other_index;
	uint32_t ref, other_ref;
	char why[160];
	void *addr;
	int other;

	other = xen_open("gntalloc", why, sizeof(why));
	ASSERT_LE(0, other);
	ASSERT_EQ(0, gntalloc_alloc(other, self->domid, 0, 1, &other_ref,
				    &other_index));
	ASSERT_EQ(0, gntalloc_alloc(self->fd, self->domid, 0, 1, &ref, &index));
	ASSERT_EQ(self->index + self->page, index);
	addr = mmap(NULL, 2 * self->page, RW, MAP_SHARED, self->fd,
		    self->index);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, munmap(addr, 2 * self->page));
	EXPECT_EQ(1, xen_refs_in_use(self->domid, &other_ref, 1, 0));
	EXPECT_EQ(0, gntalloc_dealloc(self->fd, index, 1));
	EXPECT_EQ(0, xen_refs_in_use(self->domid, &ref, 1, 0));
	close(other);
	EXPECT_EQ(0, xen_refs_in_use(self->domid, &other_ref, 1, 0));
}

/* An offset without a page is ENOENT at mmap, a private map EINVAL. */
TEST_F(gntalloc_errors, mmap)
{
	EXPECT_EQ(ENOENT, try_mmap(self->fd, self->page, RW, MAP_SHARED,
				   self->index + self->page));
	EXPECT_EQ(ENOENT, try_mmap(self->fd, 2 * self->page, RW, MAP_SHARED,
				   self->index));
	EXPECT_EQ(EINVAL, try_mmap(self->fd, self->page, PROT_READ,
				   MAP_PRIVATE, self->index));
	/* Unlike a map of gntdev a page can be mapped again. */
	EXPECT_EQ(0, try_mmap(self->fd, self->page, RW, MAP_SHARED,
			      self->index));
}

/* A pointer that cannot be read is EFAULT at every ioctl of gntalloc. */
TEST_F(gntalloc_errors, fault)
{
	const unsigned long cmds[] = {
		IOCTL_GNTALLOC_ALLOC_GREF,
		IOCTL_GNTALLOC_DEALLOC_GREF,
		IOCTL_GNTALLOC_SET_UNMAP_NOTIFY,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		EXPECT_EQ(-1, ioctl(self->fd, cmds[i], BAD_PTR));
		EXPECT_EQ(EFAULT, errno);
	}
	EXPECT_EQ(-1, ioctl(self->fd, _IO('G', 99), BAD_PTR));
	EXPECT_EQ(ENOTTY, errno);
}

/* If the references cannot be told, EFAULT, the grants end with the file. */
TEST_F(gntalloc_errors, fault_later)
{
	struct ioctl_gntalloc_alloc_gref *op;
	char why[160];
	int fd;

	op = mmap(NULL, self->page, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, op);
	op->domid = DOMID_INVALID;
	op->count = 1;
	ASSERT_EQ(0, mprotect(op, self->page, PROT_READ));
	fd = xen_open("gntalloc", why, sizeof(why));
	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, op));
	EXPECT_EQ(EFAULT, errno);
	/* It is there nevertheless. */
	EXPECT_EQ(0, gntalloc_dealloc(fd, 0, 1));
	close(fd);
	munmap(op, self->page);
}

/**
 * FIXTURE(evtchn_errors) - an event channel device
 * @fd: the file
 */
FIXTURE(evtchn_errors) {
	int fd;
};

FIXTURE_SETUP(evtchn_errors)
{
	char why[160];

	self->fd = xen_open("evtchn", why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(evtchn_errors)
{
	close(self->fd);
}

/* Ports that this file did not bind are ENOTCONN, impossible ones EINVAL. */
TEST_F(evtchn_errors, ports)
{
	int port;

	EXPECT_EQ(-EINVAL, evtchn_unbind(self->fd, UINT32_MAX));
	EXPECT_EQ(-ENOTCONN, evtchn_unbind(self->fd, 1));
	EXPECT_EQ(-ENOTCONN, evtchn_notify(self->fd, 1));
	EXPECT_EQ(-ENOTCONN, evtchn_notify(self->fd, UINT32_MAX));
	EXPECT_EQ(-EINVAL, evtchn_bind_interdomain(self->fd, DOMID_SELF,
						   UINT32_MAX));
	port = evtchn_bind_unbound(self->fd, DOMID_SELF);
	ASSERT_LT(0, port);
	EXPECT_EQ(0, evtchn_unbind(self->fd, port));
	EXPECT_EQ(-ENOTCONN, evtchn_unbind(self->fd, port));
}

/* A static port is connected, and nobody has it: no file, not the kernel. */
TEST_F(evtchn_errors, static_ports)
{
	int rx, tx, other, ret;
	char why[160];

	other = xen_open("evtchn", why, sizeof(why));
	ASSERT_LE(0, other);
	rx = evtchn_bind_unbound(self->fd, DOMID_SELF);
	ASSERT_LT(0, rx);
	EXPECT_EQ(-EISCONN, evtchn_bind_static(self->fd, rx));
	tx = evtchn_bind_interdomain(self->fd, DOMID_SELF, rx);
	ASSERT_LT(0, tx);
	/* Both are to give it up here: a kernel may not survive that. */
	ret = evtchn_bind_static(other, tx);
	EXPECT_EQ(-EBUSY, ret);
	EXPECT_EQ(0, evtchn_unbind(self->fd, tx));
	EXPECT_EQ(ret ? -ENOTCONN : 0, evtchn_unbind(other, tx));
	ASSERT_EQ(-EBUSY, ret);

	/* Neither that one, now closed, nor one that waits for its peer. */
	EXPECT_EQ(-ENOTCONN, evtchn_bind_static(self->fd, tx));
	EXPECT_EQ(-ENOTCONN, evtchn_bind_static(other, rx));
	EXPECT_EQ(-EINVAL, evtchn_bind_static(self->fd, UINT32_MAX));

	/* The first ones are the kernel's, or a daemon's, or that one. */
	for (rx = 0; rx < 8; rx++) {
		ret = evtchn_bind_static(other, rx);
		EXPECT_TRUE(ret == -ENOTCONN || ret == -EBUSY)
			TH_LOG("port %d: %d", rx, ret);
	}
	close(other);
}

/* A file for one domain has its ports, and no virq. */
TEST_F(evtchn_errors, restricted)
{
	struct ioctl_evtchn_restrict_domid domid = { .domid = 0 };
	struct ioctl_evtchn_bind_virq virq = { .virq = UINT32_MAX };
	const int elsewhere = 0x7fe0;
	int rx, tx, other, ret;
	char why[160];

	rx = evtchn_bind_unbound(self->fd, DOMID_SELF);
	ASSERT_LT(0, rx);
	tx = evtchn_bind_interdomain(self->fd, DOMID_SELF, rx);
	ASSERT_LT(0, tx);
	other = xen_open("evtchn", why, sizeof(why));
	ASSERT_LE(0, other);
	EXPECT_EQ(-1, ioctl(other, IOCTL_EVTCHN_RESTRICT_DOMID, &domid));
	EXPECT_EQ(EINVAL, errno);
	domid.domid = elsewhere;
	ASSERT_EQ(0, ioctl(other, IOCTL_EVTCHN_RESTRICT_DOMID, &domid));
	EXPECT_EQ(-1, ioctl(other, IOCTL_EVTCHN_RESTRICT_DOMID, &domid));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, ioctl(other, IOCTL_EVTCHN_BIND_VIRQ, &virq));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-EACCES, evtchn_bind_unbound(other, elsewhere));
	EXPECT_EQ(-EACCES, evtchn_bind_interdomain(other, 1, 1));
	ret = evtchn_bind_static(other, tx);
	EXPECT_EQ(-EACCES, ret);
	/* In this order, see above. */
	EXPECT_EQ(0, evtchn_unbind(self->fd, tx));
	EXPECT_EQ(ret ? -ENOTCONN : 0, evtchn_unbind(other, tx));
	close(other);
}

/* A pointer that cannot be read is EFAULT at every ioctl of evtchn. */
TEST_F(evtchn_errors, fault)
{
	const unsigned long cmds[] = {
		IOCTL_EVTCHN_BIND_VIRQ,
		IOCTL_EVTCHN_BIND_INTERDOMAIN,
		IOCTL_EVTCHN_BIND_UNBOUND_PORT,
		IOCTL_EVTCHN_UNBIND,
		IOCTL_EVTCHN_NOTIFY,
		IOCTL_EVTCHN_RESTRICT_DOMID,
		IOCTL_EVTCHN_BIND_STATIC,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		EXPECT_EQ(-1, ioctl(self->fd, cmds[i], BAD_PTR));
		EXPECT_EQ(EFAULT, errno);
	}
}

XEN_TEST_MAIN(NULL)
