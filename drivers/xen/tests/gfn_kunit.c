// SPDX-License-Identifier: GPL-2.0
/* KUnit tests of xen_for_each_gfn(). The tests need no Xen. */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <xen/page.h>

#define NR_PAGES	3
#define NR_GFNS		(NR_PAGES * XEN_PFN_PER_PAGE)

struct gfn_test {
	struct page *pages[NR_PAGES];
	unsigned int calls, stop_at, wrong;
};

static int check_gfn(unsigned long gfn, void *data)
{
	struct gfn_test *t = data;
	struct page *page = t->pages[t->calls / XEN_PFN_PER_PAGE];

	if (gfn != pfn_to_gfn(page_to_xen_pfn(page) + t->calls % XEN_PFN_PER_PAGE))
		t->wrong++;
	return ++t->calls == t->stop_at ? -ENXIO : 0;
}

/* Each number of frames, and each frame at which the function can stop. */
static void gfn_all(struct kunit *test)
{
	struct gfn_test t = {};
	unsigned int i, nr;

	for (i = 0; i < NR_PAGES; i++) {
		t.pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t.pages[i]);
	}
	/* Pages that are not consecutive */
	swap(t.pages[0], t.pages[1]);

	for (nr = 0; nr <= NR_GFNS; nr++) {
		t.stop_at = UINT_MAX;
		t.calls = 0;
		KUNIT_EXPECT_EQ(test, xen_for_each_gfn(t.pages, nr, check_gfn, &t), 0);
		KUNIT_EXPECT_EQ(test, t.calls, nr);

		t.stop_at = nr;
		t.calls = 0;
		KUNIT_EXPECT_EQ(test, xen_for_each_gfn(t.pages, NR_GFNS, check_gfn, &t),
				nr ? -ENXIO : 0);
		KUNIT_EXPECT_EQ(test, t.calls, nr ?: NR_GFNS);
	}
	KUNIT_EXPECT_EQ(test, t.wrong, 0);
	for (i = 0; i < NR_PAGES; i++)
		__free_page(t.pages[i]);
}

static struct kunit_case gfn_cases[] = {
	KUNIT_CASE(gfn_all),
	{}
};

static struct kunit_suite gfn_suite = {
	.name = "xen_gfn",
	.test_cases = gfn_cases,
};

kunit_test_suite(gfn_suite);

MODULE_DESCRIPTION("KUnit tests of xen_for_each_gfn()");
MODULE_LICENSE("GPL");
