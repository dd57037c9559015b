// SPDX-License-Identifier: GPL-2.0
/* Grants do what they are for: allocate, map, see the data, unmap, return. */

#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "xen_test.h"

#define RW	(PROT_READ | PROT_WRITE)
#define NR	64

/**
 * FIXTURE(gnt_basic) - some writable grants
 * @g: where they come from
 */
FIXTURE(gnt_basic) {
	struct granter g;
};

GRANTER_VARIANTS(gnt_basic);

FIXTURE_SETUP(gnt_basic)
{
	GRANTER_OPEN(&self->g, NR, GNTALLOC_FLAG_WRITABLE);
}

FIXTURE_TEARDOWN(gnt_basic)
{
	EXPECT_EQ(0, granter_returned(&self->g));
	granter_close(&self->g);
}

/* What one side writes the other reads, in both directions. */
TEST_F(gnt_basic, both_ways)
{
	struct granter *g = &self->g;
	struct xen_map m;
	uint64_t val;

	ASSERT_EQ(0, xen_map(&m, g->domid, g->refs, 2, RW));
	EXPECT_EQ(xen_share_pattern(0, 0), *xen_map_word(&m, 0, 0));
	EXPECT_EQ(xen_share_pattern(1, 511), *xen_map_word(&m, 1, 4088));

	ASSERT_EQ(0, granter_poke(g, 1, 16, 0x1234));
	EXPECT_EQ(0x1234, *xen_map_word(&m, 1, 16));

	*xen_map_word(&m, 0, 4088) = 0x5678;
	ASSERT_EQ(0, granter_peek(g, 0, 4088, &val));
	EXPECT_EQ(0x5678, val);
	EXPECT_EQ(0, xen_unmap(&m));
}

/* What the mapper wrote outlives its mapping and is there for the next one. */
TEST_F(gnt_basic, data_survives)
{
	struct granter *g = &self->g;
	struct xen_map m;
	uint64_t val;

	ASSERT_EQ(0, xen_map(&m, g->domid, g->refs, 2, RW));
	*xen_map_word(&m, 1, 8) = 0xabcd;
	ASSERT_EQ(0, xen_unmap(&m));

	ASSERT_EQ(0, granter_peek(g, 1, 8, &val));
	EXPECT_EQ(0xabcd, val);
	ASSERT_EQ(0, xen_map(&m, g->domid, g->refs, 2, RW));
	EXPECT_EQ(0xabcd, *xen_map_word(&m, 1, 8));
	EXPECT_EQ(xen_share_pattern(1, 2), *xen_map_word(&m, 1, 16));
	EXPECT_EQ(0, xen_unmap(&m));
}

/* Two maps of a grant show one page, and each can go first. */
TEST_F(gnt_basic, mapped_twice)
{
	struct granter *g = &self->g;
	struct xen_map m[2];
	unsigned int first;

	for (first = 0; first < 2; first++) {
		struct xen_map *left = &m[!first];

		ASSERT_EQ(0, xen_map(&m[0], g->domid, g->refs, 1, RW));
		ASSERT_EQ(0, xen_map(&m[1], g->domid, g->refs, 1, RW));
		*xen_map_word(&m[0], 0, 0) = 1;
		EXPECT_EQ(1, *xen_map_word(&m[1], 0, 0));
		EXPECT_EQ(0, xen_unmap(&m[first]));
		*xen_map_word(left, 0, 0) = 2;
		ASSERT_EQ(0, granter_poke(g, 0, 8, 3 + first));
		EXPECT_EQ(3 + first, *xen_map_word(left, 0, 8));
		EXPECT_EQ(0, xen_unmap(left));
	}
}

/* One map call takes its grants in any order, the same one twice too. */
TEST_F(gnt_basic, any_order)
{
	struct granter *g = &self->g;
	uint32_t refs[] = { g->refs[1], g->refs[0], g->refs[1] };
	struct xen_map m;

	ASSERT_EQ(0, xen_map(&m, g->domid, refs, 3, RW));
	EXPECT_EQ(xen_share_pattern(1, 0), *xen_map_word(&m, 0, 0));
	EXPECT_EQ(xen_share_pattern(0, 0), *xen_map_word(&m, 1, 0));
	*xen_map_word(&m, 0, 0) = 7;
	EXPECT_EQ(7, *xen_map_word(&m, 2, 0));
	EXPECT_EQ(0, xen_unmap(&m));
}

/* A store to a page that is mapped read-only is a SIGSEGV, and not done. */
TEST_F(gnt_basic, read_only_map)
{
	struct granter *g = &self->g;
	struct xen_map m;
	uint64_t val;

	ASSERT_EQ(0, xen_map(&m, g->domid, g->refs, 1, PROT_READ));
	EXPECT_EQ(xen_share_pattern(0, 0), *xen_map_word(&m, 0, 0));
	EXPECT_EQ(0, xen_probe(m.addr, false));
	EXPECT_EQ(SIGSEGV, xen_probe(m.addr, true));
	/* It still shows what the granter writes. */
	ASSERT_EQ(0, granter_poke(g, 0, 0, 5));
	EXPECT_EQ(5, *xen_map_word(&m, 0, 0));
	ASSERT_EQ(0, granter_peek(g, 0, 0, &val));
	EXPECT_EQ(5, val);
	EXPECT_EQ(0, xen_unmap(&m));
}

/* A private mapping is readable, and never becomes writable. */
TEST_F(gnt_basic, private_map)
{
	struct granter *g = &self->g;
	struct xen_map m = { .nr = 1 };
	char why[160];

	m.fd = xen_open("gntdev", why, sizeof(why));
	ASSERT_LE(0, m.fd);
	ASSERT_EQ(0, gntdev_map(m.fd, g->domid, g->refs, 1, &m.index));
	m.addr = mmap(NULL, xen_map_len(&m), PROT_READ, MAP_PRIVATE, m.fd,
		      m.index);
	ASSERT_NE(MAP_FAILED, m.addr);
	EXPECT_EQ(xen_share_pattern(0, 1), *xen_map_word(&m, 0, 8));
	EXPECT_EQ(-1, mprotect(m.addr, xen_map_len(&m), RW));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(xen_share_pattern(0, 1), *xen_map_word(&m, 0, 8));
	EXPECT_EQ(0, xen_unmap(&m));
}

/* The address of a mapping leads back to its offset and number of pages. */
TEST_F(gnt_basic, offset_of_address)
{
	struct granter *g = &self->g;
	struct xen_map a, b;
	uint64_t offset = 1;
	uint32_t count = 0;

	ASSERT_EQ(0, xen_map(&a, g->domid, g->refs, 2, RW));
	ASSERT_EQ(0, gntdev_offset(a.fd, a.addr, &offset, &count));
	EXPECT_EQ(a.index, offset);
	EXPECT_EQ(2, count);
	/* A second map on the same file has another offset. */
	ASSERT_EQ(0, gntdev_map(a.fd, g->domid, g->refs, 1, &b.index));
	EXPECT_NE(a.index, b.index);
	EXPECT_EQ(0, gntdev_unmap(a.fd, b.index, 1));
	EXPECT_EQ(-EINVAL, gntdev_offset(a.fd, &offset, &offset, &count));
	EXPECT_EQ(0, xen_unmap(&a));
}

/* A mapping does not begin before its first page. */
TEST_F(gnt_basic, offset_of_address_below)
{
	size_t page = xen_page_size();
	struct granter *g = &self->g;
	struct xen_map m = { .nr = 1 };
	uint64_t offset = 1;
	uint32_t count = 0;
	char why[160], *hole;

	hole = mmap(NULL, 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	ASSERT_NE(MAP_FAILED, hole);
	m.fd = xen_open("gntdev", why, sizeof(why));
	ASSERT_LE(0, m.fd);
	ASSERT_EQ(0, gntdev_map(m.fd, g->domid, g->refs, 1, &m.index));
	m.addr = mmap(hole + page, page, RW, MAP_SHARED | MAP_FIXED, m.fd,
		      m.index);
	ASSERT_EQ(hole + page, m.addr);
	ASSERT_EQ(0, munmap(hole, page));
	EXPECT_EQ(-EINVAL, gntdev_offset(m.fd, hole, &offset, &count));
	EXPECT_EQ(1, offset);
	EXPECT_EQ(0, count);
	EXPECT_EQ(0, gntdev_offset(m.fd, m.addr, &offset, &count));
	EXPECT_EQ(m.index, offset);
	EXPECT_EQ(0, xen_unmap(&m));
}

/* GRANT_COPY moves data both ways without a mapping, a failure has a status. */
TEST_F(gnt_basic, copy)
{
	struct granter *g = &self->g;
	uint64_t buf[3] = {};
	struct gntdev_grant_copy_segment segs[] = {
		{
			.source.foreign = {
				.ref = g->refs[0],
				.domid = g->domid,
				.offset = 8,
			},
			.dest.virt = buf,
			.len = 16,
			.flags = GNTCOPY_source_gref,
		}, {
			.source.virt = &buf[2],
			.dest.foreign = {
				.ref = g->refs[1],
				.domid = g->domid,
				.offset = 24,
			},
			.len = 8,
			.flags = GNTCOPY_dest_gref,
		}, {
			.source.foreign = {
				.ref = UINT32_MAX,
				.domid = g->domid,
			},
			.dest.virt = buf,
			.len = 8,
			.flags = GNTCOPY_source_gref,
		},
	};
	char why[160];
	uint64_t val;
	int fd;

	fd = xen_open("gntdev", why, sizeof(why));
	ASSERT_LE(0, fd);
	buf[2] = 0x9876;
	ASSERT_EQ(0, gntdev_copy(fd, segs, 3));
	EXPECT_EQ(0, segs[0].status);
	EXPECT_EQ(0, segs[1].status);
	EXPECT_GT(0, segs[2].status);
	EXPECT_EQ(xen_share_pattern(0, 1), buf[0]);
	EXPECT_EQ(xen_share_pattern(0, 2), buf[1]);
	ASSERT_EQ(0, granter_peek(g, 1, 24, &val));
	EXPECT_EQ(0x9876, val);
	close(fd);
}

/* Maps of one page each, all on one file, are as good as one large map. */
TEST_F(gnt_basic, one_by_one)
{
	struct granter *g = &self->g;
	unsigned int page, i, wrong = 0;
	uint64_t index[NR], *addr[NR];
	char why[160];
	int fd;

	fd = xen_open("gntdev", why, sizeof(why));
	ASSERT_LE(0, fd);
	for (page = 0; page < NR; page++) {
		ASSERT_EQ(0, gntdev_map(fd, g->domid, &g->refs[page], 1,
					&index[page]));
		addr[page] = mmap(NULL, xen_page_size(), RW, MAP_SHARED, fd,
				  index[page]);
		ASSERT_NE(MAP_FAILED, addr[page]);
	}
	for (page = 0; page < NR; page++)
		wrong += *addr[page] != xen_share_pattern(page, 0);
	EXPECT_EQ(0, wrong);
	/* From the middle on, so that the offsets in use get a hole. */
	for (i = 0; i < NR; i++) {
		page = (i + NR / 2) % NR;
		EXPECT_EQ(0, munmap(addr[page], xen_page_size()));
		EXPECT_EQ(0, gntdev_unmap(fd, index[page], 1));
	}
	close(fd);
}

/**
 * FIXTURE(gnt_read_only) - one grant for reading only
 * @g: where it comes from
 */
FIXTURE(gnt_read_only) {
	struct granter g;
};

GRANTER_VARIANTS(gnt_read_only);

FIXTURE_SETUP(gnt_read_only)
{
	GRANTER_OPEN(&self->g, 1, 0);
}

FIXTURE_TEARDOWN(gnt_read_only)
{
	EXPECT_EQ(0, granter_returned(&self->g));
	granter_close(&self->g);
}

/* Xen refuses a writable map of a read-only grant: mmap fails with EINVAL. */
TEST_F(gnt_read_only, no_writable_map)
{
	struct granter *g = &self->g;
	struct xen_map m;

	EXPECT_EQ(-EINVAL, xen_map(&m, g->domid, g->refs, 1, RW));
}

/* A read-only map of it works, and follows the granter's writes. */
TEST_F(gnt_read_only, readable)
{
	struct granter *g = &self->g;
	struct xen_map m;

	ASSERT_EQ(0, xen_map(&m, g->domid, g->refs, 1, PROT_READ));
	EXPECT_EQ(xen_share_pattern(0, 3), *xen_map_word(&m, 0, 24));
	EXPECT_EQ(SIGSEGV, xen_probe(m.addr, true));
	ASSERT_EQ(0, granter_poke(g, 0, 24, 11));
	EXPECT_EQ(11, *xen_map_word(&m, 0, 24));
	EXPECT_EQ(0, xen_unmap(&m));
}

/**
 * FIXTURE(gnt_many) - @nr grants in one map call
 * @g: where they come from
 *
 * Worked example: with nr = 512 the map and unmap hypercalls carry 512
 * entries each, the page tables of the mapping fill exactly one page, and page
 * 511 shows 0x58454e0001ff0000 in its first word.
 */
FIXTURE(gnt_many) {
	struct granter g;
};

FIXTURE_VARIANT(gnt_many) {
	enum granter_kind kind;
	unsigned int nr;
};

FIXTURE_VARIANT_ADD(gnt_many, local_1) { GRANTER_LOCAL, 1 };
FIXTURE_VARIANT_ADD(gnt_many, local_2) { GRANTER_LOCAL, 2 };
FIXTURE_VARIANT_ADD(gnt_many, local_512) { GRANTER_LOCAL, 512 };
FIXTURE_VARIANT_ADD(gnt_many, local_1000) { GRANTER_LOCAL, 1000 };
FIXTURE_VARIANT_ADD(gnt_many, peer_1) { GRANTER_PEER, 1 };
FIXTURE_VARIANT_ADD(gnt_many, peer_2) { GRANTER_PEER, 2 };
FIXTURE_VARIANT_ADD(gnt_many, peer_512) { GRANTER_PEER, 512 };
FIXTURE_VARIANT_ADD(gnt_many, peer_1000) { GRANTER_PEER, 1000 };

FIXTURE_SETUP(gnt_many)
{
	GRANTER_OPEN(&self->g, variant->nr, GNTALLOC_FLAG_WRITABLE);
}

FIXTURE_TEARDOWN(gnt_many)
{
	EXPECT_EQ(0, granter_returned(&self->g));
	granter_close(&self->g);
}

/* Every page of a large map is the right one, whole, and writable. */
TEST_F(gnt_many, contents)
{
	struct granter *g = &self->g;
	unsigned int page, word, wrong = 0;
	uint64_t *words, val;
	struct xen_map m;

	ASSERT_EQ(0, xen_map(&m, g->domid, g->refs, variant->nr, RW));
	for (page = 0; page < variant->nr; page++) {
		words = xen_map_word(&m, page, 0);
		for (word = 0; word < 512; word++)
			wrong += words[word] != xen_share_pattern(page, word);
		words[511] = ~page;
	}
	EXPECT_EQ(0, wrong);
	/* A request to another domain takes time, so not all of them. */
	for (page = 0; page < variant->nr; page += page / 4 + 1) {
		ASSERT_EQ(0, granter_peek(g, page, 4088, &val));
		EXPECT_EQ(~page, val);
	}
	ASSERT_EQ(0, granter_peek(g, variant->nr - 1, 4088, &val));
	EXPECT_EQ(~(variant->nr - 1), val);
	EXPECT_EQ(0, xen_unmap(&m));
}

XEN_TEST_MAIN(NULL)
