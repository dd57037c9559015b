// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of which pages are foreign, with a fake Xen except for the last test.
 * Included by grant-table.c.
 */
#include <kunit/test.h>

#define GRANTS	8

/**
 * struct grant_test - a fake Xen, and grants 0 ... GRANTS - 1 of domain 7
 * @map: operations that map the grants; grant i gets handle i
 * @unmap: operations that unmap the grants
 * @pages: pages to map the grants in
 * @map_status: what Xen answers to the map of each grant
 * @unmap_status: what Xen answers to the unmap of each handle
 * @call_error: what each hypercall returns; if not 0, Xen does nothing
 * @p2m_error: what map_p2m() returns
 * @p2m_fails: the grant whose P2M entry can't be set, or -1
 * @p2m_refused: Xen does not unmap that grant then
 * @refused: unmap_refused before the test
 */
struct grant_test {
	struct gnttab_map_grant_ref map[GRANTS];
	struct gnttab_unmap_grant_ref unmap[GRANTS];
	struct page *pages[GRANTS];
	s16 map_status[GRANTS];
	s16 unmap_status[GRANTS];
	int call_error;
	int p2m_error;
	int p2m_fails;
	bool p2m_refused;
	unsigned int refused;
};

static int fake_grant_op(unsigned int cmd, void *ops, unsigned int count)
{
	struct kunit *test = kunit_get_current_test();
	struct grant_test *t = test->priv;
	struct gnttab_unmap_grant_ref *unmap = ops;
	struct gnttab_map_grant_ref *map = ops;
	unsigned int i;

	if (t->call_error)
		return t->call_error;
	for (i = 0; i < count; i++) {
		if (cmd == GNTTABOP_unmap_grant_ref) {
			unmap[i].status = t->unmap_status[unmap[i].handle];
			continue;
		}
		map[i].status = t->map_status[map[i].ref];
		if (map[i].status == GNTST_okay)
			map[i].handle = map[i].ref;
	}
	return 0;
}

static int fake_map_p2m(struct gnttab_map_grant_ref *map_ops,
			struct gnttab_map_grant_ref *kmap_ops,
			struct page **pages, unsigned int count)
{
	struct grant_test *t = kunit_get_current_test()->priv;

	if (t->p2m_fails >= 0) {
		map_ops[t->p2m_fails].status = GNTST_general_error;
		if (!t->p2m_refused)
			map_ops[t->p2m_fails].handle = INVALID_GRANT_HANDLE;
	}
	return t->p2m_error;
}

static int fake_unmap_p2m(struct gnttab_unmap_grant_ref *unmap_ops,
			  struct gnttab_unmap_grant_ref *kunmap_ops,
			  struct page **pages, unsigned int count)
{
	return 0;
}

static int grant_init(struct kunit *test)
{
	struct grant_test *t;
	unsigned int i;

	/* grant_restored() would take the grants in use for unmapped. */
	if (xen_domain() && system_state == SYSTEM_RUNNING)
		kunit_skip(test, "grants are in use after boot");
	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->refused = unmap_refused;
	for (i = 0; i < GRANTS; i++) {
		gnttab_set_map_op(&t->map[i], 0x1000 * i, GNTMAP_contains_pte,
				  i, 7);
		gnttab_set_unmap_op(&t->unmap[i], 0x1000 * i,
				    GNTMAP_contains_pte, i);
		t->pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->pages[i]);
	}
	t->p2m_fails = -1;
	KUNIT_ASSERT_EQ(test, 0, xen_foreign_pages_prepare(t->pages, GRANTS));
	kunit_activate_static_stub(test, grant_op, fake_grant_op);
	kunit_activate_static_stub(test, map_p2m, fake_map_p2m);
	kunit_activate_static_stub(test, unmap_p2m, fake_unmap_p2m);
	return 0;
}

static void grant_exit(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i;

	if (!t)
		return;
	unmap_refused = t->refused;
	for (i = 0; i < GRANTS && t->pages[i]; i++) {
		if (xen_page_foreign(t->pages[i]))
			xen_page_clear_foreign(t->pages[i]);
		xen_foreign_pages_release(&t->pages[i], 1);
		__free_page(t->pages[i]);
	}
}

static void expect_foreign(struct kunit *test, unsigned int i, bool expected)
{
	struct grant_test *t = test->priv;
	const struct xen_page_foreign *foreign = xen_page_foreign(t->pages[i]);

	KUNIT_EXPECT_EQ_MSG(test, expected, !!foreign, "grant %u", i);
	if (foreign) {
		KUNIT_EXPECT_EQ(test, 7, foreign->domid);
		KUNIT_EXPECT_EQ(test, i, foreign->gref);
	}
}

static void map_all(struct kunit *test)
{
	struct grant_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, 0,
			gnttab_map_refs(t->map, NULL, t->pages, GRANTS));
}

/* A grant that can't be mapped, or has no P2M entry, leaves no foreign page. */
static void grant_foreign(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i;

	t->map_status[1] = GNTST_bad_gntref;
	t->map_status[4] = GNTST_no_device_space;
	t->p2m_fails = 5;
	map_all(test);
	for (i = 0; i < GRANTS; i++) {
		bool good = i != 1 && i != 4 && i != 5;

		expect_foreign(test, i, good);
		KUNIT_EXPECT_EQ(test, good, t->map[i].status == GNTST_okay);
	}
}

/* The grant without a P2M entry stays mapped: its page stays foreign. */
static void grant_foreign_p2m_refused(struct kunit *test)
{
	struct grant_test *t = test->priv;

	t->p2m_fails = 5;
	t->p2m_refused = true;
	map_all(test);
	KUNIT_EXPECT_NE(test, GNTST_okay, t->map[5].status);
	expect_foreign(test, 5, true);
}

/* The hypercall for the kernel's mappings fails after the first succeeded. */
static void grant_foreign_p2m_error(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i;

	t->p2m_error = -EFAULT;
	KUNIT_EXPECT_EQ(test, -EFAULT,
			gnttab_map_refs(t->map, NULL, t->pages, GRANTS));
	for (i = 0; i < GRANTS; i++)
		expect_foreign(test, i, true);
}

/* Xen refuses to unmap a grant: the page stays foreign, the refusal counts. */
static void grant_refused(struct kunit *test)
{
	unsigned int i, refused = unmap_refused;
	struct grant_test *t = test->priv;

	map_all(test);
	t->unmap_status[3] = GNTST_general_error;
	KUNIT_EXPECT_EQ(test, 0,
			gnttab_unmap_refs(t->unmap, NULL, t->pages, GRANTS));
	for (i = 0; i < GRANTS; i++)
		expect_foreign(test, i, i == 3);
	KUNIT_EXPECT_EQ(test, refused + 1, unmap_refused);

	t->unmap_status[3] = GNTST_okay;
	KUNIT_EXPECT_EQ(test, 0, gnttab_unmap_refs(&t->unmap[3], NULL,
						   &t->pages[3], 1));
	expect_foreign(test, 3, false);
	KUNIT_EXPECT_EQ(test, refused + 1, unmap_refused);
}

/*
 * The domain was restored, so nothing is mapped. Xen does not know some of the
 * handles, and others are those of new grants.
 */
static void grant_restored(struct kunit *test)
{
	unsigned int i, refused = unmap_refused;
	struct grant_test *t = test->priv;

	map_all(test);
	for (i = 0; i < GRANTS; i++)
		t->unmap_status[i] = i % 2 ? GNTST_bad_handle :
					     GNTST_general_error;
	xen_foreign_pages_restored();
	KUNIT_EXPECT_EQ(test, 0,
			gnttab_unmap_refs(t->unmap, NULL, t->pages, GRANTS));
	for (i = 0; i < GRANTS; i++)
		expect_foreign(test, i, false);
	KUNIT_EXPECT_EQ(test, refused, unmap_refused);
}

/* The hypercall fails: no operation may look as if it had succeeded. */
static void grant_call_error(struct kunit *test)
{
	unsigned int i, refused = unmap_refused;
	struct grant_test *t = test->priv;

	map_all(test);
	t->call_error = -EFAULT;
	KUNIT_EXPECT_EQ(test, -EFAULT,
			gnttab_unmap_refs(t->unmap, NULL, t->pages, GRANTS));
	for (i = 0; i < GRANTS; i++) {
		expect_foreign(test, i, true);
		KUNIT_EXPECT_EQ(test, GNTST_general_error, t->unmap[i].status);
	}
	KUNIT_EXPECT_EQ(test, refused + GRANTS, unmap_refused);
}

/* Xen refuses to unmap a user PTE: the page was and stays foreign. */
static void grant_ptes(struct kunit *test)
{
	unsigned int i, refused = unmap_refused;
	struct grant_test *t = test->priv;

	map_all(test);
	t->unmap_status[3] = GNTST_general_error;
	gnttab_unmap_ptes(t->unmap, t->pages, GRANTS);
	for (i = 0; i < GRANTS; i++)
		expect_foreign(test, i, true);
	KUNIT_EXPECT_EQ(test, refused + 1, unmap_refused);
}

/* A foreign page does not get into the cache of free pages. */
static void grant_lost(struct kunit *test)
{
	struct grant_test *t = test->priv;
	struct gnttab_page_cache cache;
	struct page *page;
	unsigned int i;

	gnttab_page_cache_init(&cache);
	map_all(test);
	t->unmap_status[3] = GNTST_general_error;
	KUNIT_EXPECT_EQ(test, 0,
			gnttab_unmap_refs(t->unmap, NULL, t->pages, GRANTS));
	gnttab_page_cache_put(&cache, t->pages, GRANTS);
	KUNIT_ASSERT_EQ(test, GRANTS - 1, cache.num_pages);
	for (i = 0; i < GRANTS - 1; i++) {
		KUNIT_EXPECT_EQ(test, 0, gnttab_page_cache_get(&cache, &page));
		KUNIT_EXPECT_PTR_NE(test, t->pages[3], page);
	}
}

/*
 * The real Xen refuses to unmap a grant at the wrong address: the page still
 * shows the granted frame. After the right unmap the page no longer does.
 */
static void grant_own(struct kunit *test)
{
	struct gnttab_unmap_grant_ref unmap;
	struct gnttab_map_grant_ref map;
	struct page *page, *target;
	unsigned long gfn, addr;
	int ref;

	if (!xen_pv_domain() || !xen_initial_domain())
		kunit_skip(test, "not a PV dom0");
	kunit_deactivate_static_stub(test, grant_op);
	kunit_deactivate_static_stub(test, map_p2m);
	kunit_deactivate_static_stub(test, unmap_p2m);

	page = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	gfn = xen_page_to_gfn(page);
	KUNIT_ASSERT_EQ(test, 0, gnttab_alloc_pages(1, &target));
	ref = gnttab_grant_foreign_access(0, gfn, 0);
	KUNIT_ASSERT_GT(test, ref, 0);

	addr = (unsigned long)page_address(target);
	gnttab_set_map_op(&map, addr, GNTMAP_host_map, ref, 0);
	KUNIT_ASSERT_EQ(test, 0, gnttab_map_refs(&map, NULL, &target, 1));
	KUNIT_ASSERT_EQ(test, GNTST_okay, map.status);
	KUNIT_EXPECT_EQ(test, gfn, xen_page_to_gfn(target));
	KUNIT_EXPECT_NOT_NULL(test, xen_page_foreign(target));

	gnttab_set_unmap_op(&unmap, PAGE_SIZE, GNTMAP_host_map, map.handle);
	KUNIT_EXPECT_EQ(test, 0, gnttab_unmap_refs(&unmap, NULL, &target, 1));
	KUNIT_EXPECT_NE(test, GNTST_okay, unmap.status);
	KUNIT_EXPECT_EQ(test, gfn, xen_page_to_gfn(target));
	KUNIT_EXPECT_NOT_NULL(test, xen_page_foreign(target));

	gnttab_set_unmap_op(&unmap, addr, GNTMAP_host_map, map.handle);
	KUNIT_EXPECT_EQ(test, 0, gnttab_unmap_refs(&unmap, NULL, &target, 1));
	KUNIT_EXPECT_EQ(test, GNTST_okay, unmap.status);
	KUNIT_EXPECT_NE(test, gfn, xen_page_to_gfn(target));
	KUNIT_EXPECT_NULL(test, xen_page_foreign(target));

	gnttab_end_foreign_access(ref, page);
	gnttab_free_pages(1, &target);
}

static struct kunit_case grant_cases[] = {
	KUNIT_CASE(grant_foreign),
	KUNIT_CASE(grant_foreign_p2m_refused),
	KUNIT_CASE(grant_foreign_p2m_error),
	KUNIT_CASE(grant_refused),
	KUNIT_CASE(grant_restored),
	KUNIT_CASE(grant_call_error),
	KUNIT_CASE(grant_ptes),
	KUNIT_CASE(grant_lost),
	KUNIT_CASE(grant_own),
	{}
};

static struct kunit_suite grant_suite = {
	.name = "xen_grant_map",
	.init = grant_init,
	.exit = grant_exit,
	.test_cases = grant_cases,
};

kunit_test_suite(grant_suite);
