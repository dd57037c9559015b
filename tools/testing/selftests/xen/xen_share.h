/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The directory page: what a domain that shares pages (gntshare) tells the
 * domain that maps them (gntmap, the tests).
 *
 * One grant reference is all that has to be carried from one domain to the
 * other: that of the directory. The directory lists the references of the data
 * pages and carries one request at a time back to the sharer.
 */
#ifndef SELFTEST_XEN_SHARE_H
#define SELFTEST_XEN_SHARE_H

#include <assert.h>
#include <stdint.h>

/* A grant is 4 KB on every architecture, whatever PAGE_SIZE is. */
#define XEN_PAGE_SIZE		4096

#define XEN_SHARE_MAGIC		0x52485358	/* "XSHR" */
#define XEN_SHARE_VERSION	2
#define XEN_SHARE_MAX		1006		/* references that fit */

/* xen_share_dir.flags */
#define XEN_SHARE_READ_ONLY	1	/* the data pages are granted read-only */

/**
 * enum xen_share_op - what the mapper may ask for
 * @XEN_SHARE_PEEK: read the 64-bit word at @req_page, @req_offset as the
 *	sharer sees it, into @rsp_value
 * @XEN_SHARE_POKE: write @req_value there, as the sharer
 * @XEN_SHARE_REALLOC: end all data grants and make @req_page new ones, 0 for
 *	@max, read-only if @req_value is XEN_SHARE_READ_ONLY, filled with the
 *	pattern
 * @XEN_SHARE_QUIT: end the sharer
 * @XEN_SHARE_END: end @req_value grants from @req_page on; the others stay
 *
 * A grant that is mapped when the sharer ends it ends with the mapping.
 */
enum xen_share_op {
	XEN_SHARE_PEEK = 1,
	XEN_SHARE_POKE,
	XEN_SHARE_REALLOC,
	XEN_SHARE_QUIT,
	XEN_SHARE_END,
};

/**
 * struct xen_share_dir - the directory page
 * @magic: XEN_SHARE_MAGIC
 * @version: XEN_SHARE_VERSION
 * @nr: number of data pages, at most @max
 * @flags: XEN_SHARE_READ_ONLY or 0
 * @generation: how often the data pages were replaced, from 0
 * @max: number of data pages at the start, at most XEN_SHARE_MAX
 * @port: event channel for the mapper to bind: each side signals the other when
 *	it has written its @req_seq or @rsp_seq. 0: there is none. Until a
 *	mapper has signalled it, the sharer looks every 10 ms
 * @req_seq: number of the latest request
 * @req_op: enum xen_share_op
 * @req_page: data page, from 0
 * @req_offset: byte in the page, a multiple of 8
 * @req_value: operand
 * @rsp_seq: number of the latest answer
 * @rsp_status: 0 or -errno
 * @rsp_value: result
 * @refs: grant references of the data pages
 *
 * Only the mapper writes req_*, only the sharer writes the rest. There is one
 * mapper at a time. A request is under way as long as @req_seq != @rsp_seq.
 *
 * Worked example: gntshare --count 2 prints "0:31". Grant 31 of domain 0 is
 * the directory, it says nr = 2, refs = { 32, 33 }. To ask what the sharer
 * sees in the third word of the second page the mapper
 *
 *	waits until req_seq == rsp_seq		(say both are 7)
 *	sets req_op = PEEK, req_page = 1, req_offset = 16
 *	store-releases req_seq = 8, signals port
 *
 * and the sharer, which load-acquires req_seq when signalled, sees 8 != 7,
 *
 *	sets rsp_status = 0, rsp_value = 0x58454e0000010002
 *	store-releases rsp_seq = 8, signals port
 *
 * which the mapper load-acquires. The two release/acquire pairs order the
 * plain stores before them, the new @refs of a REALLOC included; no other
 * ordering is needed as each side's fields are stable when the other looks.
 */
struct xen_share_dir {
	uint32_t magic;
	uint32_t version;
	uint32_t nr;
	uint32_t flags;
	uint32_t generation;
	uint32_t max;
	uint32_t port;

	uint32_t req_seq;
	uint32_t req_op;
	uint32_t req_page;
	uint32_t req_offset;
	uint64_t req_value;

	uint32_t rsp_seq;
	int32_t rsp_status;
	uint64_t rsp_value;

	uint32_t refs[XEN_SHARE_MAX];
};

static_assert(sizeof(struct xen_share_dir) == XEN_PAGE_SIZE,
	      "the directory is one grant");

/*
 * What gntshare fills its pages with: "XEN", the page, the word. Word 2 of
 * page 1 is 0x58454e0000010002. No two words are the same, none is zero.
 */
static inline uint64_t xen_share_pattern(unsigned int page, unsigned int word)
{
	return 0x58454e0000000000ULL | (uint64_t)page << 16 | word;
}

#endif /* SELFTEST_XEN_SHARE_H */
