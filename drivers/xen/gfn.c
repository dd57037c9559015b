// SPDX-License-Identifier: GPL-2.0
/* Split the kernel's pages into the 4 KB frames of Xen. */
#include <linux/mm.h>

#include <xen/page.h>

/**
 * xen_for_each_gfn() - call a function for each Xen frame of some pages
 * @pages: the pages, in any order. A page consists of XEN_PFN_PER_PAGE frames
 * @nr_gfn: number of Xen frames, not of pages. The last page may be used in part
 * @fn: function that gets the gfn of each frame
 * @data: argument of @fn
 *
 * Context: Any. Takes no locks and does not sleep, unless @fn does.
 * Return: 0, or the first value other than 0 that @fn returned
 */
int xen_for_each_gfn(struct page **pages, unsigned int nr_gfn,
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
