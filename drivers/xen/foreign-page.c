// SPDX-License-Identifier: GPL-2.0
/*
 * Pages in which grants of other domains are mapped. Only this file changes
 * PG_foreign and page->private of such a page. See
 * Documentation/xen/foreign-pages.rst for the rules of readers.
 */
#include <linux/mm.h>
#include <linux/mmdebug.h>
#include <linux/slab.h>

#include <xen/foreign_page.h>

#include <kunit/static_stub.h>

/* How often this domain was restored */
static u16 foreign_generation;

static struct xen_page_foreign *alloc_foreign(void)
{
	KUNIT_STATIC_STUB_REDIRECT(alloc_foreign);
	return kzalloc_obj(struct xen_page_foreign);
}

static int prepare_page(struct page *page, bool fits)
{
	struct xen_page_foreign *foreign = NULL;

	if (!fits) {
		foreign = alloc_foreign();
		if (!foreign)
			return -ENOMEM;
	}
	set_page_private(page, (unsigned long)foreign);
	SetPagePrivate(page);
	return 0;
}

static void release_page(struct page *page, bool fits)
{
	VM_WARN_ON(PageForeign(page));
	if (!PagePrivate(page))
		return;
	if (!fits)
		kfree((void *)page_private(page));
	set_page_private(page, 0);
	ClearPagePrivate(page);
}

/**
 * xen_foreign_pages_prepare() - prepare pages for grants
 * @pages: the pages. Nobody else may use their private fields
 * @nr: number of pages
 *
 * Context: Process context, may sleep.
 * Return: 0, or -ENOMEM if no page was prepared
 */
int xen_foreign_pages_prepare(struct page **pages, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (prepare_page(pages[i], XEN_PAGE_FOREIGN_FITS)) {
			xen_foreign_pages_release(pages, i);
			return -ENOMEM;
		}
	}
	return 0;
}

/**
 * xen_foreign_pages_release() - undo xen_foreign_pages_prepare()
 * @pages: the pages. Pages that were not prepared are left alone
 * @nr: number of pages
 *
 * No grant may be mapped in the pages. CONFIG_DEBUG_VM warns if one is.
 *
 * Context: Any context.
 */
void xen_foreign_pages_release(struct page **pages, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		release_page(pages[i], XEN_PAGE_FOREIGN_FITS);
}

/**
 * xen_page_set_foreign() - record the grant that is mapped in a page
 * @page: the page. A page that was not prepared is left alone, with a warning.
 *	CONFIG_DEBUG_VM warns if the page is already foreign
 * @domid: the granting domain
 * @gref: the grant reference of that domain
 *
 * Context: Any context. The caller excludes xen_page_foreign() of this page.
 */
void xen_page_set_foreign(struct page *page, domid_t domid, grant_ref_t gref)
{
	struct xen_page_foreign *foreign = __xen_page_foreign(page);

	if (WARN_ON_ONCE(!PagePrivate(page)))
		return;
	VM_WARN_ON(PageForeign(page));
	foreign->domid = domid;
	foreign->generation = foreign_generation;
	foreign->gref = gref;
	SetPageForeign(page);
}

/**
 * xen_page_foreign_stale() - is a grant gone because the domain was restored?
 * @page: a page
 *
 * Xen numbers handles from 0 again after a restore. The handle of a grant that
 * was mapped before may be that of another grant now.
 *
 * Context: Any context.
 * Return: true if the grant in @page was mapped before the last restore
 */
bool xen_page_foreign_stale(struct page *page)
{
	const struct xen_page_foreign *foreign = xen_page_foreign(page);

	return foreign && foreign->generation != foreign_generation;
}

/**
 * xen_foreign_pages_restored() - no grant is mapped any more
 *
 * Context: The domain was restored, and no grant has been mapped since.
 */
void xen_foreign_pages_restored(void)
{
	foreign_generation++;
}

#ifdef CONFIG_XEN_FOREIGN_PAGE_KUNIT_TEST
#include "tests/foreign_page_kunit.c"
#endif
