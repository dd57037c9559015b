/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XEN_FOREIGN_PAGE_H
#define _XEN_FOREIGN_PAGE_H

#include <linux/build_bug.h>
#include <linux/mmdebug.h>
#include <linux/mm_types.h>
#include <linux/page-flags.h>

#include <xen/interface/grant_table.h>
#include <xen/interface/xen.h>

/**
 * struct xen_page_foreign - the grant that is mapped in a page
 * @domid: the domain that granted it
 * @generation: how often this domain was restored before the map
 * @gref: the grant reference of that domain
 *
 * On 64-bit the structure is in page->private. On 32-bit page->private points
 * to memory that xen_foreign_pages_prepare() allocates. Example: grant 0x123 of
 * domain 5 on x86_64::
 *
 *	page->flags    ... | PG_private | PG_foreign
 *	page->private  0x0000012300000005
 */
struct xen_page_foreign {
	domid_t domid;
	u16 generation;
	grant_ref_t gref;
};

#define XEN_PAGE_FOREIGN_FITS \
	(sizeof(struct xen_page_foreign) <= sizeof(unsigned long))

static inline struct xen_page_foreign *__xen_page_foreign(struct page *page)
{
	if (XEN_PAGE_FOREIGN_FITS)
		return (struct xen_page_foreign *)&page->private;

	return (struct xen_page_foreign *)page->private;
}

/**
 * xen_page_foreign() - look up the grant that is mapped in a page
 * @page: any page
 *
 * For pages of files the same bit is PG_checked. Such pages have a mapping, and
 * pages with a grant have none.
 *
 * Context: Any context. The caller keeps the grant mapped while it uses the
 * returned pointer.
 * Return: domain and grant reference, or %NULL if no grant is mapped in @page
 */
static inline const struct xen_page_foreign *xen_page_foreign(struct page *page)
{
	if (!PageForeign(page) || !PagePrivate(page) ||
	    READ_ONCE(page->mapping))
		return NULL;

	return __xen_page_foreign(page);
}

/**
 * xen_page_clear_foreign() - record that the grant of a page was unmapped
 * @page: the page. CONFIG_DEBUG_VM warns if the page is not foreign
 *
 * Context: Any context. The caller excludes xen_page_foreign() of this page.
 */
static inline void xen_page_clear_foreign(struct page *page)
{
	VM_WARN_ON(!PageForeign(page));
	ClearPageForeign(page);
}

int xen_foreign_pages_prepare(struct page **pages, unsigned int nr);
void xen_foreign_pages_release(struct page **pages, unsigned int nr);
void xen_page_set_foreign(struct page *page, domid_t domid, grant_ref_t gref);
bool xen_page_foreign_stale(struct page *page);
void xen_foreign_pages_restored(void);

#endif
