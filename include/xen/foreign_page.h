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
 * It is in page->private while the page has PG_foreign; where it does not fit
 * there, in memory that xen_foreign_pages_prepare() allocates. For example, with
 * grant 0x123 of domain 5 mapped, on x86_64::
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
 * @page: a page, of whatever kind
 *
 * A file's pages may have the same bit with another meaning, PG_checked. They
 * have a mapping, which no page with a grant has.
 *
 * Context: Any context; whoever has @page mapped sees to it that it stays so.
 * Return: domain and grant reference, %NULL if there is no grant in it
 */
static inline const struct xen_page_foreign *xen_page_foreign(struct page *page)
{
	if (!PageForeign(page) || !PagePrivate(page) ||
	    READ_ONCE(page->mapping))
		return NULL;

	return __xen_page_foreign(page);
}

/**
 * xen_page_clear_foreign() - say that no grant is mapped in a page any more
 * @page: the page; CONFIG_DEBUG_VM warns if none was
 *
 * Context: Any context; nobody looks the page up at the same time.
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
