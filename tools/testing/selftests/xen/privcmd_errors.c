// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of /dev/xen/privcmd that must fail: frames, counts and addresses that
 * are wrong. What is mapped beside them stays right.
 */

#include <limits.h>
#include <signal.h>

#include "privcmd_map.h"

enum { FIRST = 1, MIDDLE = 2, NEXT = 4, LAST = 8, ALL = 16 };

static bool is_bad(unsigned int pattern, unsigned int k, unsigned int nr)
{
	return pattern & ALL || (pattern & FIRST && k == 0) ||
	       (pattern & MIDDLE && k == nr / 2) ||
	       (pattern & NEXT && k == nr / 2 + 1) ||
	       (pattern & LAST && k == nr - 1);
}

/* Each bad frame gets an error, and no other frame does. */
TEST_F_TIMEOUT(privcmd, bad_frames, 400)
{
	const unsigned int sizes[] = { 5, 40, 512, 530 };
	const unsigned int patterns[] = {
		FIRST, MIDDLE, LAST, FIRST | MIDDLE | LAST, MIDDLE | NEXT, ALL,
	};
	bool pv = xen_guest_type() == XEN_GUEST_PV;
	unsigned int i, j, k, nr;
	xen_pfn_t frames[MAX];

	for (i = 0; i < ARRAY_SIZE(sizes) * ARRAY_SIZE(patterns); i++) {
		nr = sizes[i / ARRAY_SIZE(patterns)];
		j = i % ARRAY_SIZE(patterns);
		for (k = 0; k < nr; k++)
			frames[k] = is_bad(patterns[j], k, nr) ?
				    NO_FRAME + k : self->frames[k];
		reserved(_metadata, self, nr, 3);
		EXPECT_EQ(0, batch(self, self->addr, nr, frames));
		check_frames(_metadata, self, self->addr, nr, frames, nr);
		k = nr / 2 - 1;
		if (frames[k] < NO_FRAME)
			EXPECT_TRUE(shows(self, self->addr + k * XEN_PAGE_SIZE,
					  frames[k]));
		/* Only a PV domain has no PTE where a frame failed. */
		for (k = 0; pv && k < nr; k++)
			EXPECT_EQ(frames[k] >= NO_FRAME ? SIGBUS : 0,
				  xen_probe(self->addr + k * XEN_PAGE_SIZE,
					    false))
				TH_LOG("frame %u of %u", k, nr);
		EXPECT_EQ(0, release(self, self->addr, nr));
	}
}

/* A failed frame may be mapped later. A mapped one must not be replaced. */
TEST_F(privcmd, again)
{
	const unsigned int nr = 20, hole = 9;
	xen_pfn_t good = self->frames[hole];
	void *addr;

	if (xen_guest_type() != XEN_GUEST_PV)
		SKIP(return, "what failed has a PTE on an auto-translated domain");
	self->frames[hole] = NO_FRAME;
	addr = mapped(_metadata, self, nr, 10) + hole * self->page;
	EXPECT_NE(0, self->errs[hole]);
	EXPECT_EQ(-EINVAL, batch(self, self->addr, nr, self->frames));
	/* The second of the two is mapped, and in the next page table. */
	EXPECT_EQ(-EINVAL, batch(self, addr, 2, self->frames));
	EXPECT_EQ(-EINVAL, batch(self, addr + 8, 1, &good));
	EXPECT_EQ(0, batch(self, addr, 1, &good));
	EXPECT_EQ(0, self->errs[0]);
	EXPECT_TRUE(shows(self, addr, good));
	EXPECT_EQ(0, release(self, self->addr, nr));
}

/* IOCTL_PRIVCMD_MMAP refuses memory that is not a mapping of privcmd. */
TEST_F(privcmd, old_call_elsewhere)
{
	uint64_t *mem;

	if (xen_guest_type() != XEN_GUEST_PV)
		SKIP(return, "PV domains only have this call");
	mem = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	*mem = 0x600d;
	EXPECT_EQ(-EINVAL, mmap_frames(self->fd, self->domid, 1, mem, 1,
				       self->frames[0]));
	EXPECT_EQ(0x600d, *mem);
	EXPECT_EQ(0, munmap(mem, self->page));
}

/* A resource must fit into its mapping, and begin at the start of a page. */
TEST_F(privcmd, resource_bounds)
{
	const unsigned int page = self->page / XEN_PAGE_SIZE;	/* frames */
	int fd = self->fd, domid;
	uint32_t ref;
	void *addr;

	domid = xen_peer_domid(&ref);
	if (domid < 0)
		SKIP(return, "no XEN_PEER, whose grant table to map");
	/* reserve() leaves the addresses below free. */
	addr = reserved(_metadata, self, 1, 5);
	EXPECT_EQ(-EINVAL,
		  map_grant_table(fd, domid, addr - self->page, 1, 0));
	EXPECT_EQ(-EINVAL, map_grant_table(fd, domid, addr + 8, 1, 0));
	EXPECT_EQ(-EINVAL, map_grant_table(fd, domid, addr, page + 1, 0));
	/* A frame that the table does not have leaves the mapping unchanged. */
	EXPECT_EQ(-EINVAL, map_grant_table(fd, domid, addr, 1, 1 << 20));
	EXPECT_EQ(0, map_grant_table(fd, domid, addr, 1, 0));
	if (xen_guest_type() != XEN_GUEST_PV) {
		/* The pages of the mapping are in use. */
		EXPECT_EQ(-EINVAL, map_grant_table(fd, domid, addr, 1, 0));
		EXPECT_EQ(0, release(self, addr, 1));
		/* A resource must fill all pages of its mapping. */
		addr = reserved(_metadata, self, 3 * page, 1);
		EXPECT_EQ(-EINVAL, map_grant_table(fd, domid, addr, 1, 0));
	}
	munmap(addr, 3 * self->page);
}

/**
 * FIXTURE(privcmd_counts) - counts that are larger than an int
 * @fd: /dev/xen/privcmd
 * @domid: the owner of the frame
 * @frame: a frame to map
 * @addr: a mapping without frames
 * @len: its bytes
 * @errs: a page for the errors of frames
 * @array: the page behind @errs, for frame numbers; nothing follows
 */
FIXTURE(privcmd_counts) {
	int fd;
	int domid;
	xen_pfn_t frame;
	void *addr;
	size_t len;
	int *errs;
	xen_pfn_t *array;
};

#define counts_t FIXTURE_DATA(privcmd_counts)

FIXTURE_VARIANT(privcmd_counts) {
	bool large;
};

FIXTURE_VARIANT_ADD(privcmd_counts, page) { .large = false };
FIXTURE_VARIANT_ADD(privcmd_counts, large) { .large = true };

#define LARGE_LEN	(8UL << 40)	/* INT_MAX + 1 pages of 4 KB */

static const uint64_t counts[] = {
	0, 1, INT_MAX, INT_MAX + 1UL, UINT_MAX, UINT_MAX + 1UL, UINT_MAX + 2UL,
	LONG_MAX >> 12, LONG_MAX, LONG_MAX + 1UL, ULONG_MAX,
};

/* Replaces the mapping by one without frames. */
static void *renew(counts_t *self)
{
	self->addr = mmap((void *)(1UL << 40), self->len, PROT_READ,
			  MAP_SHARED | MAP_FIXED, self->fd, 0);
	return self->addr;
}

FIXTURE_SETUP(privcmd_counts)
{
	size_t page = xen_page_size();
	const char *none;
	char why[160];

	self->len = variant->large ? LARGE_LEN : page;
	self->fd = xen_open("privcmd", why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	none = privcmd_frames(self->fd, 1, &self->frame, &self->domid);
	if (none)
		SKIP(return, "%s", none);
	/* Arrays of 4G elements there do not reach the kernel's addresses. */
	self->errs = mmap((void *)(1UL << 39), 2 * page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (self->errs == MAP_FAILED || renew(self) == MAP_FAILED)
		SKIP(return, "no address space for such arrays");
	self->array = (void *)self->errs + page;
	self->array[0] = self->frame;
}

FIXTURE_TEARDOWN(privcmd_counts)
{
	close(self->fd);
}

static int old_call(counts_t *self, int num, uint64_t npages)
{
	return mmap_frames(self->fd, self->domid, num, self->addr, npages,
			    self->frame);
}

/* A refused count maps nothing, and the next call can map there. */
TEST_F(privcmd_counts, mmap)
{
	unsigned int i;

	if (xen_guest_type() != XEN_GUEST_PV) {
		EXPECT_EQ(-ENOSYS, old_call(self, 1, INT_MAX + 1UL));
		return;
	}
	EXPECT_EQ(-EINVAL, old_call(self, -1, 1));
	EXPECT_EQ(-EINVAL, old_call(self, INT_MIN, 1));
	EXPECT_EQ(0, old_call(self, 1, 0));
	EXPECT_EQ(SIGBUS, xen_probe(self->addr, false));
	/* A mapping takes one successful call. */
	ASSERT_NE(MAP_FAILED, renew(self));
	for (i = 2; i < ARRAY_SIZE(counts); i++) {
		if (counts[i] == INT_MAX && variant->large) {
			/* Xen has less than INT_MAX frames in a row. */
			EXPECT_GT(0, old_call(self, 1, INT_MAX));
		} else {
			EXPECT_EQ(-EINVAL, old_call(self, 1, counts[i]))
				TH_LOG("%#lx pages", (long)counts[i]);
			EXPECT_EQ(SIGBUS, xen_probe(self->addr, false));
			EXPECT_EQ(0, old_call(self, 1, 1));
			EXPECT_EQ(0, xen_probe(self->addr, false));
		}
		ASSERT_NE(MAP_FAILED, renew(self));
	}
}

static int map_batch(counts_t *self, int version,
		     uint32_t num)
{
	struct privcmd_mmapbatch v1 = {
		.num = num, .dom = self->domid, .addr = (uintptr_t)self->addr,
		.arr = self->array,
	};

	if (version == 2)
		return privcmd_batch(self->fd, self->domid, self->addr, num,
				     self->array, self->errs);
	return ioctl(self->fd, IOCTL_PRIVCMD_MMAPBATCH, &v1) ? -errno : 0;
}

/* The same for both batch calls. A refused count writes no error either. */
TEST_F(privcmd_counts, batch)
{
	bool small_pages = xen_page_size() == XEN_PAGE_SIZE;
	int one = variant->large ? -EINVAL : 0;
	unsigned int i, version;

	for (i = 0; i < 2 * ARRAY_SIZE(counts); i++) {
		uint64_t count = counts[i / 2];
		/* The array is shorter than INT_MAX. */
		int error = count == INT_MAX && small_pages ? -EFAULT : -EINVAL;

		version = 1 + i % 2;
		if (count > UINT_MAX || count == 1)
			continue;
		memset(self->errs, 0x55, xen_page_size());
		EXPECT_EQ(error, map_batch(self, version, count))
			TH_LOG("v%u, %#lx frames", version, (long)count);
		EXPECT_EQ(0x55555555, self->errs[0]);
		EXPECT_EQ(0x55555555, self->errs[1]);
		EXPECT_EQ(SIGBUS, xen_probe(self->addr, false));
		EXPECT_EQ(one, map_batch(self, version, 1));
		EXPECT_EQ(one ? SIGBUS : 0, xen_probe(self->addr, false));
		ASSERT_NE(MAP_FAILED, renew(self));
	}
}

/* The same for frames of the peer's grant table. */
TEST_F(privcmd_counts, resource)
{
	bool pv = xen_guest_type() == XEN_GUEST_PV;
	bool small_pages = xen_page_size() == XEN_PAGE_SIZE;
	int domid, one = variant->large && !pv ? -EINVAL : 0;
	unsigned int i;
	uint32_t ref;

	domid = xen_peer_domid(&ref);
	if (domid < 0)
		SKIP(return, "no XEN_PEER, whose grant table to map");
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		int error = -EINVAL;

		if (counts[i] == 1)
			continue;
		/* The kernel cannot allocate an array of so many frames. */
		if (counts[i] == INT_MAX && variant->large &&
		    (pv || !small_pages))
			error = -ENOMEM;
		EXPECT_EQ(error, map_grant_table(self->fd, domid, self->addr,
						 counts[i], 0))
			TH_LOG("%#lx frames", (long)counts[i]);
		EXPECT_EQ(SIGBUS, xen_probe(self->addr, false));
	}
	EXPECT_EQ(one, map_grant_table(self->fd, domid, self->addr, 1, 0));
	EXPECT_EQ(one ? SIGBUS : 0, xen_probe(self->addr, false));
}

/* A hypercall buffer that is too large fails without a kernel report. */
TEST(hypercall_buffer)
{
	const size_t sizes[] = { 3UL << 30, 1UL << 44 };
	size_t page = xen_page_size();
	unsigned int i;
	char why[160];
	int fd, kmsg;
	void *mem;

	fd = xen_open("hypercall", why, sizeof(why));
	if (fd < 0)
		SKIP(return, "%s", why);
	kmsg = xen_kmsg_open();
	ASSERT_LE(0, kmsg);
	/* The kernel needs 8 bytes a page: with large pages 3 GB may work. */
	for (i = page > XEN_PAGE_SIZE; i < ARRAY_SIZE(sizes); i++) {
		mem = mmap(NULL, sizes[i], PROT_READ, MAP_SHARED, fd, 0);
		EXPECT_EQ(MAP_FAILED, mem);
		EXPECT_EQ(ENOMEM, errno);
	}
	mem = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(0, xen_probe(mem + 2 * page, true));
	EXPECT_EQ(0, munmap(mem, 3 * page));
	close(fd);
	EXPECT_EQ(0, xen_kmsg_reports(kmsg));
}

XEN_TEST_MAIN(NULL)
