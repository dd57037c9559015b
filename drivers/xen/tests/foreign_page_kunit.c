// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of foreign pages, included by foreign-page.c. The tests need no
 * Xen.
 */
#include <kunit/test.h>

#define PAGES	8

/**
 * struct foreign_test - the pages of a test
 * @pages: pages with one reference
 * @fail_at: number of the call of alloc_foreign() that fails, from 1
 * @allocs: number of calls of alloc_foreign()
 */
struct foreign_test {
	struct page *pages[PAGES];
	unsigned int fail_at;
	unsigned int allocs;
};

static struct xen_page_foreign *fake_alloc_foreign(void)
{
	struct foreign_test *t = kunit_get_current_test()->priv;

	if (++t->allocs == t->fail_at)
		return NULL;
	return kzalloc_obj(struct xen_page_foreign);
}

static int foreign_init(struct kunit *test)
{
	struct foreign_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	for (i = 0; i < PAGES; i++) {
		t->pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->pages[i]);
	}
	kunit_activate_static_stub(test, alloc_foreign, fake_alloc_foreign);
	return 0;
}

/* The page allocator reports a page that still has PG_private. */
static void foreign_exit(struct kunit *test)
{
	struct foreign_test *t = test->priv;
	unsigned int i;

	for (i = 0; t && i < PAGES && t->pages[i]; i++)
		__free_page(t->pages[i]);
}

static void foreign_life(struct kunit *test)
{
	struct foreign_test *t = test->priv;
	const struct xen_page_foreign *foreign;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, xen_foreign_pages_prepare(t->pages, PAGES));
	for (i = 0; i < PAGES; i++)
		KUNIT_EXPECT_NULL(test, xen_page_foreign(t->pages[i]));
	for (i = 0; i < PAGES; i++)
		xen_page_set_foreign(t->pages[i], 0x7fef - i, ~0U - i);
	for (i = 0; i < PAGES; i++) {
		foreign = xen_page_foreign(t->pages[i]);
		KUNIT_ASSERT_NOT_NULL(test, foreign);
		KUNIT_EXPECT_EQ(test, 0x7fef - i, foreign->domid);
		KUNIT_EXPECT_EQ(test, ~0U - i, foreign->gref);
	}
	/* Clearing one page leaves the next page alone. */
	for (i = 0; i < PAGES; i++) {
		xen_page_clear_foreign(t->pages[i]);
		KUNIT_EXPECT_NULL(test, xen_page_foreign(t->pages[i]));
		if (i + 1 < PAGES)
			KUNIT_EXPECT_NOT_NULL(test,
					      xen_page_foreign(t->pages[i + 1]));
	}
	/* Again. */
	xen_page_set_foreign(t->pages[0], 1, 2);
	foreign = xen_page_foreign(t->pages[0]);
	KUNIT_ASSERT_NOT_NULL(test, foreign);
	KUNIT_EXPECT_EQ(test, 1, foreign->domid);
	KUNIT_EXPECT_EQ(test, 2, foreign->gref);
	xen_page_clear_foreign(t->pages[0]);

	xen_foreign_pages_release(t->pages, PAGES);
	for (i = 0; i < PAGES; i++) {
		KUNIT_EXPECT_FALSE(test, PagePrivate(t->pages[i]));
		KUNIT_EXPECT_EQ(test, 0, page_private(t->pages[i]));
	}
}

/* PG_checked of a file's page is the same bit. */
static void foreign_not_of_file(struct kunit *test)
{
	struct foreign_test *t = test->priv;
	struct page *page = t->pages[0];

	KUNIT_ASSERT_EQ(test, 0, xen_foreign_pages_prepare(&page, 1));
	xen_page_set_foreign(page, 1, 2);
	page->mapping = (struct address_space *)test;
	KUNIT_EXPECT_NULL(test, xen_page_foreign(page));
	page->mapping = NULL;
	KUNIT_EXPECT_NOT_NULL(test, xen_page_foreign(page));
	ClearPagePrivate(page);
	KUNIT_EXPECT_NULL(test, xen_page_foreign(page));
	SetPagePrivate(page);
	xen_page_clear_foreign(page);
	xen_foreign_pages_release(&page, 1);
}

/* On 32-bit each page has memory for domain and reference. */
static void foreign_allocated(struct kunit *test)
{
	struct foreign_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, 0, prepare_page(t->pages[0], false));
	KUNIT_EXPECT_EQ(test, 1, t->allocs);
	KUNIT_EXPECT_TRUE(test, PagePrivate(t->pages[0]));
	KUNIT_EXPECT_NE(test, 0, page_private(t->pages[0]));
	release_page(t->pages[0], false);
	KUNIT_EXPECT_FALSE(test, PagePrivate(t->pages[0]));
	KUNIT_EXPECT_EQ(test, 0, page_private(t->pages[0]));
	/* Releasing a page twice is allowed. */
	release_page(t->pages[0], false);
}

static void foreign_no_memory(struct kunit *test)
{
	struct foreign_test *t = test->priv;
	unsigned int i;

	t->fail_at = 1;
	KUNIT_EXPECT_EQ(test, -ENOMEM, prepare_page(t->pages[0], false));
	KUNIT_EXPECT_FALSE(test, PagePrivate(t->pages[0]));
	KUNIT_EXPECT_EQ(test, 0, page_private(t->pages[0]));

	if (XEN_PAGE_FOREIGN_FITS)
		return;
	t->allocs = 0;
	t->fail_at = PAGES / 2;
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			xen_foreign_pages_prepare(t->pages, PAGES));
	for (i = 0; i < PAGES; i++)
		KUNIT_EXPECT_FALSE(test, PagePrivate(t->pages[i]));
}

/* The private field of a page that was not prepared is left alone. */
static void foreign_not_prepared(struct kunit *test)
{
	struct foreign_test *t = test->priv;
	struct page *page = t->pages[0];

	set_page_private(page, 0x5a);
	kunit_warning_suppress(test) {
		xen_page_set_foreign(page, 1, 2);
	}
	KUNIT_EXPECT_EQ(test, 0x5a, page_private(page));
	KUNIT_EXPECT_FALSE(test, PageForeign(page));
	set_page_private(page, 0);
}

/* Misuse, which CONFIG_DEBUG_VM reports. */
static void foreign_misuse(struct kunit *test)
{
	struct foreign_test *t = test->priv;
	struct page *page = t->pages[0];

	if (!IS_ENABLED(CONFIG_DEBUG_VM))
		kunit_skip(test, "CONFIG_DEBUG_VM is not set");

	KUNIT_ASSERT_EQ(test, 0, xen_foreign_pages_prepare(&page, 1));
	kunit_warning_suppress(test) {
		xen_page_clear_foreign(page);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	kunit_warning_suppress(test) {
		xen_page_set_foreign(page, 1, 2);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 0);
		xen_page_set_foreign(page, 3, 4);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	kunit_warning_suppress(test) {
		xen_foreign_pages_release(&page, 1);
		KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
	}
	ClearPageForeign(page);
}

static struct kunit_case foreign_cases[] = {
	KUNIT_CASE(foreign_life),
	KUNIT_CASE(foreign_not_of_file),
	KUNIT_CASE(foreign_allocated),
	KUNIT_CASE(foreign_no_memory),
	KUNIT_CASE(foreign_not_prepared),
	KUNIT_CASE(foreign_misuse),
	{}
};

static struct kunit_suite foreign_suite = {
	.name = "xen_foreign_page",
	.init = foreign_init,
	.exit = foreign_exit,
	.test_cases = foreign_cases,
};

kunit_test_suite(foreign_suite);
