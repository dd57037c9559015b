// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of xen_for_each_gfn(). They need no Xen.
 */
#include <kunit/test.h>

#include <linux/gfp.h>
#include <linux/mm.h>

#include <xen/page.h>

#define NR_PAGES	3
#define NR_GFNS		(NR_PAGES * XEN_PFN_PER_PAGE)

struct gfn_test {
	struct page *pages[NR_PAGES];
	/* What xen_for_each_gfn() is expected to visit, in order */
	unsigned long expected[NR_GFNS];

	/* What it did visit */
	unsigned long seen[NR_GFNS];
	unsigned int calls;

	/* record_gfn() returns @stop_with at call number @stop_at */
	unsigned int stop_at;
	int stop_with;
};

static int record_gfn(unsigned long gfn, void *data)
{
	struct gfn_test *t = data;

	if (t->calls < NR_GFNS)
		t->seen[t->calls] = gfn;

	return t->calls++ == t->stop_at ? t->stop_with : 0;
}

static void expect_visited(struct kunit *test, unsigned int nr)
{
	struct gfn_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, t->calls, nr);
	KUNIT_EXPECT_MEMEQ(test, t->seen, t->expected, nr * sizeof(t->seen[0]));
}

/* No frames: nothing is called, not even the array is looked at. */
static void gfn_none(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, xen_for_each_gfn(NULL, 0, record_gfn, test->priv));
	expect_visited(test, 0);
}

/* Each number of frames: those, in order, across pages, and no other. */
static void gfn_every_count(struct kunit *test)
{
	struct gfn_test *t = test->priv;
	unsigned int nr;

	for (nr = 1; nr <= NR_GFNS; nr++) {
		t->calls = 0;
		KUNIT_EXPECT_EQ(test, 0, xen_for_each_gfn(t->pages, nr, record_gfn, t));
		expect_visited(test, nr);
	}
}

/* The same as a list, and nothing is written behind it. */
static void gfn_list(struct kunit *test)
{
	struct gfn_test *t = test->priv;
	xen_pfn_t gfns[NR_GFNS + 1];
	unsigned int nr, i;

	for (nr = 0; nr <= NR_GFNS; nr++) {
		gfns[nr] = 0;
		xen_pages_to_gfns(t->pages, nr, gfns);
		for (i = 0; i < nr; i++)
			KUNIT_EXPECT_EQ(test, gfns[i], t->expected[i]);
		KUNIT_EXPECT_EQ(test, gfns[nr], 0);
	}
}

/* A partial last page: its remaining frames are left out. */
static void gfn_partial_page(struct kunit *test)
{
	struct gfn_test *t = test->priv;
	unsigned int nr;

	if (XEN_PFN_PER_PAGE == 1)
		kunit_skip(test, "a page of this kernel is one Xen frame");

	for (nr = XEN_PFN_PER_PAGE + 1; nr < 2 * XEN_PFN_PER_PAGE; nr++) {
		t->calls = 0;
		KUNIT_EXPECT_EQ(test, 0, xen_for_each_gfn(t->pages, nr, record_gfn, t));
		expect_visited(test, nr);
	}
}

/* A non-zero value, whatever its sign, ends it at any position. */
static void gfn_stop(struct kunit *test)
{
	static const int values[] = { -ENOMEM, 1, INT_MIN, INT_MAX };
	struct gfn_test *t = test->priv;
	unsigned int i;

	for (t->stop_at = 0; t->stop_at < NR_GFNS; t->stop_at++) {
		for (i = 0; i < ARRAY_SIZE(values); i++) {
			t->stop_with = values[i];
			t->calls = 0;
			KUNIT_EXPECT_EQ(test, values[i],
					xen_for_each_gfn(t->pages, NR_GFNS, record_gfn, t));
			expect_visited(test, t->stop_at + 1);
		}
	}
}

static int gfn_test_init(struct kunit *test)
{
	struct gfn_test *t;
	unsigned int i;

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	if (!t)
		return -ENOMEM;

	test->priv = t;
	t->stop_at = UINT_MAX;

	for (i = 0; i < NR_PAGES; i++) {
		t->pages[i] = alloc_page(GFP_KERNEL);
		if (!t->pages[i])
			return -ENOMEM;
	}

	/* Descending: a splitter that runs on into the next page is found out */
	if (page_to_pfn(t->pages[0]) < page_to_pfn(t->pages[1]))
		swap(t->pages[0], t->pages[1]);

	for (i = 0; i < NR_GFNS; i++)
		t->expected[i] = pfn_to_gfn(page_to_xen_pfn(t->pages[i / XEN_PFN_PER_PAGE]) +
					    i % XEN_PFN_PER_PAGE);
	return 0;
}

static void gfn_test_exit(struct kunit *test)
{
	struct gfn_test *t = test->priv;
	unsigned int i;

	for (i = 0; t && i < NR_PAGES; i++)
		if (t->pages[i])
			__free_page(t->pages[i]);
}

static struct kunit_case gfn_test_cases[] = {
	KUNIT_CASE(gfn_none),
	KUNIT_CASE(gfn_every_count),
	KUNIT_CASE(gfn_list),
	KUNIT_CASE(gfn_partial_page),
	KUNIT_CASE(gfn_stop),
	{}
};

static struct kunit_suite gfn_test_suite = {
	.name = "xen_gfn",
	.init = gfn_test_init,
	.exit = gfn_test_exit,
	.test_cases = gfn_test_cases,
};

kunit_test_suite(gfn_test_suite);

MODULE_DESCRIPTION("KUnit tests of xen_for_each_gfn()");
MODULE_LICENSE("GPL");
