// SPDX-License-Identifier: GPL-2.0
/*
 * Splitting Linux pages into Xen's 4 KB frames.
 *
 * The hypercall interface counts in frames of XEN_PAGE_SIZE (4 KB), whatever
 * the page size of the kernel: a page is XEN_PFN_PER_PAGE consecutive guest
 * frames, one with 4 KB pages and 16 with 64 KB pages.
 */
#include <linux/export.h>
#include <linux/mm.h>

#include <xen/page.h>

/* Inlined, so that a callback of this file costs no call. */
static __always_inline int walk_gfns(struct page **pages, unsigned int nr_gfn,
				     xen_gfn_fn_t fn, void *data)
{
	unsigned long xen_pfn = 0;
	unsigned int i;
	int ret;

	for (i = 0; i < nr_gfn; i++) {
		if (i % XEN_PFN_PER_PAGE == 0)
			xen_pfn = page_to_xen_pfn(pages[i / XEN_PFN_PER_PAGE]);

		ret = fn(pfn_to_gfn(xen_pfn++), data);
		if (ret)
			return ret;
	}

	return 0;
}

/**
 * xen_for_each_gfn - call a function for each Xen frame of an array of pages
 * @pages: the pages, in order; they need not be contiguous. May be NULL if
 *	@nr_gfn is 0.
 * @nr_gfn: number of Xen frames (not of Linux pages) to visit. @pages has at
 *	least DIV_ROUND_UP(@nr_gfn, XEN_PFN_PER_PAGE) elements; where @nr_gfn
 *	is no multiple of XEN_PFN_PER_PAGE, the last frames of the last page
 *	are left out.
 * @fn: called with the gfn of each frame, in order
 * @data: passed to @fn
 *
 * Takes no locks and does not sleep; what else may be done from @fn is up to
 * the context of the caller.
 *
 * Return: 0 when all frames were visited (also if there were none). If @fn
 * returns anything else than 0, no more frames are visited and that value is
 * returned.
 */
int xen_for_each_gfn(struct page **pages, unsigned int nr_gfn,
		     xen_gfn_fn_t fn, void *data)
{
	return walk_gfns(pages, nr_gfn, fn, data);
}
EXPORT_SYMBOL_GPL(xen_for_each_gfn);

static int add_gfn(unsigned long gfn, void *data)
{
	xen_pfn_t **next = data;

	*(*next)++ = gfn;
	return 0;
}

/**
 * xen_pages_to_gfns - list the Xen frames of an array of pages
 * @pages: the pages, as for xen_for_each_gfn()
 * @nr_gfn: number of Xen frames
 * @gfns: where to put the gfn of each, in order
 *
 * Takes no locks and does not sleep.
 */
void xen_pages_to_gfns(struct page **pages, unsigned int nr_gfn,
		       xen_pfn_t *gfns)
{
	walk_gfns(pages, nr_gfn, add_gfn, &gfns);
}
EXPORT_SYMBOL_GPL(xen_pages_to_gfns);
