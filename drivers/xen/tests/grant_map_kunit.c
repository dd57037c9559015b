// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of mapping grants in pages, with a Xen of their own but for the last.
 * Included by grant-table.c.
 */
#include <kunit/test.h>

#define GRANTS	8

/**
 * struct grant_test - Xen, and the grants 0 ... GRANTS - 1 of domain 7
 * @map: operations that map them, grant i at 0x1000 * i, with handle i
 * @kmap: the same in the kernel of a PV domain, with handle GRANTS + i
 * @unmap: operations that unmap them
 * @copy: operations that copy them
 * @pages: where they are mapped
 * @eagain: how often the grant is paged out still when it is asked for
 * @status: what becomes of it then
 * @calls: hypercalls
 * @ops: operations in them
 * @slept: milliseconds
 * @call_error: result of the next hypercall
 * @call_done: operations of it that are done all the same
 * @p2m_error: result of the P2M code, which does nothing then
 * @p2m_fails: the P2M entry of this grant can't be had
 * @refused: statuses of the unmaps
 * @kmap_fails: the kernel's mapping of this grant fails
 * @p2m: whether the grant has a P2M entry
 */
struct grant_test {
	struct gnttab_map_grant_ref map[GRANTS];
	struct gnttab_map_grant_ref kmap[GRANTS];
	struct gnttab_unmap_grant_ref unmap[GRANTS];
	struct gnttab_copy copy[GRANTS];
	struct page *pages[GRANTS];

	unsigned int eagain[GRANTS];
	s16 status[GRANTS];
	unsigned int calls;
	unsigned int ops;
	unsigned int slept;
	int call_error;
	unsigned int call_done;
	int p2m_error;
	int p2m_fails;
	s16 refused[2 * GRANTS];
	int kmap_fails;
	bool p2m[GRANTS];
};

static s16 fake_access(struct grant_test *t, grant_ref_t ref)
{
	if (t->eagain[ref]) {
		t->eagain[ref]--;
		return GNTST_eagain;
	}
	return t->status[ref];
}

static void fake_map(struct grant_test *t, struct gnttab_map_grant_ref *op)
{
	op->status = fake_access(t, op->ref);
	if (op->status == GNTST_okay)
		op->handle = op->ref;
}

static int fake_grant_op(unsigned int cmd, void *ops, unsigned int count)
{
	struct kunit *test = kunit_get_current_test();
	struct grant_test *t = test->priv;
	struct gnttab_unmap_grant_ref *unmap = ops;
	struct gnttab_copy *copy = ops;
	unsigned int i;
	int ret;

	t->calls++;
	ret = t->call_error;
	t->call_error = 0;
	if (ret)
		count = t->call_done;
	t->ops += count;
	for (i = 0; i < count; i++) {
		switch (cmd) {
		case GNTTABOP_map_grant_ref:
			fake_map(t, ops + i * sizeof(t->map[0]));
			break;
		case GNTTABOP_unmap_grant_ref:
			unmap[i].status = t->refused[unmap[i].handle];
			break;
		case GNTTABOP_copy:
			copy[i].status = fake_access(t, copy[i].source.u.ref);
			break;
		default:
			KUNIT_FAIL(test, "command %u", cmd);
		}
	}
	return ret;
}

/* As a PV domain does. */
static int fake_map_p2m(struct gnttab_map_grant_ref *map_ops,
			struct gnttab_map_grant_ref *kmap_ops,
			struct page **pages, unsigned int count)
{
	struct grant_test *t = kunit_get_current_test()->priv;
	unsigned int i;

	if (t->p2m_error)
		return t->p2m_error;
	for (i = 0; i < count; i++) {
		struct gnttab_map_grant_ref *kmap = kmap_ops ? &kmap_ops[i] : NULL;

		if (kmap && i == t->kmap_fails) {
			kmap->status = GNTST_no_device_space;
		} else if (kmap && map_ops[i].status == GNTST_okay) {
			kmap->status = GNTST_okay;
			kmap->handle = GRANTS + kmap->ref;
		}
		if (i == t->p2m_fails) {
			map_ops[i].status = GNTST_general_error;
			map_ops[i].handle = INVALID_GRANT_HANDLE;
			if (kmap) {
				kmap->status = GNTST_general_error;
				kmap->handle = INVALID_GRANT_HANDLE;
			}
		}
		t->p2m[i] = map_ops[i].status == GNTST_okay &&
			    (!kmap || kmap->status == GNTST_okay);
	}
	return 0;
}

static int fake_unmap_p2m(struct gnttab_unmap_grant_ref *unmap_ops,
			  struct gnttab_unmap_grant_ref *kunmap_ops,
			  struct page **pages, unsigned int count)
{
	struct grant_test *t = kunit_get_current_test()->priv;
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (unmap_ops[i].status == GNTST_okay)
			t->p2m[unmap_ops[i].handle % GRANTS] = false;
	}
	return 0;
}

static void fake_sleep(unsigned int ms)
{
	struct grant_test *t = kunit_get_current_test()->priv;

	t->slept += ms;
}

static int grant_init(struct kunit *test)
{
	struct grant_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	for (i = 0; i < GRANTS; i++) {
		gnttab_set_map_op(&t->map[i], 0x1000 * i, GNTMAP_contains_pte,
				  i, 7);
		gnttab_set_unmap_op(&t->unmap[i], 0x1000 * i,
				    GNTMAP_contains_pte, i);
		gnttab_set_map_op(&t->kmap[i], 0x1000 * i, GNTMAP_host_map, i,
				  7);
		t->copy[i].source.u.ref = i;
		t->pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->pages[i]);
	}
	t->p2m_fails = -1;
	t->kmap_fails = -1;
	KUNIT_ASSERT_EQ(test, 0, xen_foreign_pages_prepare(t->pages, GRANTS));
	kunit_activate_static_stub(test, grant_op, fake_grant_op);
	kunit_activate_static_stub(test, eagain_sleep, fake_sleep);
	kunit_activate_static_stub(test, map_p2m, fake_map_p2m);
	kunit_activate_static_stub(test, unmap_p2m, fake_unmap_p2m);
	return 0;
}

static void grant_exit(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i;

	for (i = 0; t && i < GRANTS && t->pages[i]; i++) {
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

/* Two grants are paged out for a while: they wait together, the rest not. */
static void grant_eagain(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i;

	t->eagain[2] = 3;
	t->eagain[5] = 2;
	t->status[5] = GNTST_permission_denied;
	t->status[6] = GNTST_bad_gntref;
	gnttab_batch_map(t->map, GRANTS);
	for (i = 0; i < GRANTS; i++) {
		KUNIT_EXPECT_EQ(test, t->status[i], t->map[i].status);
		KUNIT_EXPECT_EQ(test, t->status[i] ? INVALID_GRANT_HANDLE : i,
				t->map[i].handle);
	}
	KUNIT_EXPECT_EQ(test, GRANTS + 3 + 2, t->ops);
	KUNIT_EXPECT_EQ(test, 1 + 2 + 3, t->slept);
}

/* All are paged out for good: that takes as long as for one. */
static void grant_eagain_all(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < GRANTS; i++)
		t->eagain[i] = UINT_MAX;
	gnttab_batch_map(t->map, GRANTS);
	for (i = 0; i < GRANTS; i++)
		KUNIT_EXPECT_EQ(test, GNTST_bad_page, t->map[i].status);
	KUNIT_EXPECT_EQ(test, 255 * 256 / 2, t->slept);
}

static void grant_copy_eagain(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i;

	t->eagain[0] = 1;
	t->eagain[GRANTS - 1] = 1;
	t->status[3] = GNTST_bad_gntref;
	gnttab_batch_copy(t->copy, GRANTS);
	for (i = 0; i < GRANTS; i++)
		KUNIT_EXPECT_EQ(test, t->status[i], t->copy[i].status);
	KUNIT_EXPECT_EQ(test, GRANTS + 2, t->ops);
	KUNIT_EXPECT_EQ(test, 1, t->slept);
}

/* Xen takes none of them: so do the statuses say. */
static void grant_call_error(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i;

	t->call_error = -EFAULT;
	gnttab_batch_map(t->map, GRANTS);
	t->call_error = -EFAULT;
	gnttab_batch_copy(t->copy, GRANTS);
	for (i = 0; i < GRANTS; i++) {
		KUNIT_EXPECT_NE(test, GNTST_okay, t->map[i].status);
		KUNIT_EXPECT_EQ(test, INVALID_GRANT_HANDLE, t->map[i].handle);
		KUNIT_EXPECT_EQ(test, GNTST_general_error, t->copy[i].status);
	}
	KUNIT_EXPECT_EQ(test, 2, t->calls);
}

/* What is mapped is foreign: not a bad grant, nor one without P2M entry. */
static void grant_foreign(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i;

	t->status[1] = GNTST_bad_gntref;
	t->status[4] = GNTST_no_device_space;
	t->p2m_fails = 5;
	KUNIT_EXPECT_EQ(test, 0, gnttab_map_refs(t->map, NULL, t->pages,
						 GRANTS));
	for (i = 0; i < GRANTS; i++) {
		bool good = i != 1 && i != 4 && i != 5;

		expect_foreign(test, i, good);
		KUNIT_EXPECT_EQ(test, good, t->map[i].status == GNTST_okay);
		KUNIT_EXPECT_EQ(test, good ? i : INVALID_GRANT_HANDLE,
				t->map[i].handle);
	}
}

/* The second hypercall fails, of the kernel's mappings. The first did not. */
static void grant_foreign_p2m_error(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i;

	t->p2m_error = -EFAULT;
	KUNIT_EXPECT_EQ(test, -EFAULT, gnttab_map_refs(t->map, NULL, t->pages,
						       GRANTS));
	for (i = 0; i < GRANTS; i++) {
		expect_foreign(test, i, true);
		KUNIT_EXPECT_EQ(test, i, t->map[i].handle);
	}
}

/* What Xen refuses to unmap stays foreign, until it is unmapped. */
static void grant_foreign_refused(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i;

	KUNIT_EXPECT_EQ(test, 0, gnttab_map_refs(t->map, NULL, t->pages,
						 GRANTS));
	t->refused[3] = GNTST_general_error;
	KUNIT_EXPECT_EQ(test, 0, gnttab_unmap_refs(t->unmap, NULL, t->pages,
						   GRANTS));
	for (i = 0; i < GRANTS; i++)
		expect_foreign(test, i, i == 3);
	t->refused[3] = GNTST_okay;
	KUNIT_EXPECT_EQ(test, 0, gnttab_unmap_refs(&t->unmap[3], NULL,
						   &t->pages[3], 1));
	expect_foreign(test, 3, false);
}

/* Who gives back pages of which Xen has not unmapped all loses those. */
static void grant_lost(struct kunit *test)
{
	struct grant_test *t = test->priv;
	struct gnttab_page_cache cache;
	struct page *pages[GRANTS];
	unsigned int i;

	gnttab_page_cache_init(&cache);
	KUNIT_ASSERT_EQ(test, 0, gnttab_map_refs(t->map, NULL, t->pages,
						 GRANTS));
	t->refused[3] = GNTST_general_error;
	KUNIT_EXPECT_EQ(test, 0, gnttab_unmap_refs(t->unmap, NULL, t->pages,
						   GRANTS));
	gnttab_page_cache_put(&cache, t->pages, GRANTS);
	KUNIT_ASSERT_EQ(test, GRANTS - 1, cache.num_pages);
	for (i = 0; i < GRANTS - 1; i++) {
		KUNIT_EXPECT_EQ(test, 0, gnttab_page_cache_get(&cache, &pages[i]));
		KUNIT_EXPECT_PTR_NE(test, t->pages[3], pages[i]);
	}
	KUNIT_EXPECT_EQ(test, 0, cache.num_pages);
}

/* Nothing is mapped, but what Xen refuses to unmap. */
static void expect_undone(struct kunit *test, int refused)
{
	struct grant_test *t = test->priv;
	int i;

	for (i = 0; i < GRANTS; i++) {
		expect_foreign(test, i, i == refused);
		KUNIT_EXPECT_EQ(test, i == refused, t->p2m[i]);
		KUNIT_EXPECT_EQ_MSG(test, i == refused,
				    t->map[i].handle != INVALID_GRANT_HANDLE,
				    "grant %d", i);
	}
}

/* A bad grant, first, last or in the middle: none is mapped, but again. */
static void grant_all_bad(struct kunit *test)
{
	static const unsigned int bad[] = { 0, GRANTS / 2, GRANTS - 1 };
	struct grant_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		t->status[bad[i]] = GNTST_bad_gntref;
		KUNIT_EXPECT_EQ(test, -EINVAL,
				gnttab_map_refs_all(t->map, NULL, t->pages,
						    GRANTS));
		KUNIT_EXPECT_EQ(test, GNTST_bad_gntref, t->map[bad[i]].status);
		expect_undone(test, -1);
		t->status[bad[i]] = GNTST_okay;
	}
	KUNIT_EXPECT_EQ(test, 0, gnttab_map_refs_all(t->map, NULL, t->pages,
						     GRANTS));
	for (i = 0; i < GRANTS; i++)
		expect_foreign(test, i, true);
}

/* The same with two mappings each, of which one fails, or the P2M entry. */
static void grant_all_pv(struct kunit *test)
{
	struct grant_test *t = test->priv;
	unsigned int i, step;

	for (step = 0; step < 5; step++) {
		t->kmap_fails = step == 0 ? 3 : -1;
		t->p2m_fails = step == 1 ? 4 : -1;
		t->p2m_error = step == 2 ? -EFAULT : 0;
		t->call_error = step >= 3 ? -EFAULT : 0;
		t->call_done = step == 4 ? 5 : 0;
		for (i = 0; i < GRANTS; i++) {
			t->map[i].status = 1;
			t->kmap[i].status = 1;
		}
		KUNIT_EXPECT_NE(test, 0,
				gnttab_map_refs_all(t->map, t->kmap, t->pages,
						    GRANTS));
		expect_undone(test, -1);
		for (i = 0; i < GRANTS; i++)
			KUNIT_EXPECT_EQ(test, INVALID_GRANT_HANDLE,
					t->kmap[i].handle);
	}
	t->call_error = 0;
	KUNIT_EXPECT_EQ(test, 0, gnttab_map_refs_all(t->map, t->kmap, t->pages,
						     GRANTS));
	for (i = 0; i < GRANTS; i++) {
		expect_foreign(test, i, true);
		KUNIT_EXPECT_TRUE(test, t->p2m[i]);
		KUNIT_EXPECT_EQ(test, GRANTS + i, t->kmap[i].handle);
	}
}

/* Xen does not let go of one: its page stays foreign, and has a handle. */
static void grant_all_refused(struct kunit *test)
{
	struct grant_test *t = test->priv;

	t->status[6] = GNTST_bad_gntref;
	t->refused[2] = GNTST_general_error;
	KUNIT_EXPECT_EQ(test, -EINVAL,
			gnttab_map_refs_all(t->map, NULL, t->pages, GRANTS));
	expect_undone(test, 2);
}

/* The first of the two goes, the second does not. */
static void grant_all_refused_pv(struct kunit *test)
{
	struct grant_test *t = test->priv;

	t->status[6] = GNTST_bad_gntref;
	t->refused[2] = GNTST_general_error;
	t->refused[GRANTS + 4] = GNTST_general_error;
	KUNIT_EXPECT_EQ(test, -EINVAL,
			gnttab_map_refs_all(t->map, t->kmap, t->pages,
					    GRANTS));
	expect_foreign(test, 2, true);
	expect_foreign(test, 4, true);
	KUNIT_EXPECT_EQ(test, 2, t->map[2].handle);
	KUNIT_EXPECT_EQ(test, GRANTS + 2, t->kmap[2].handle);
	KUNIT_EXPECT_EQ(test, INVALID_GRANT_HANDLE, t->map[4].handle);
	KUNIT_EXPECT_EQ(test, GRANTS + 4, t->kmap[4].handle);
	expect_foreign(test, 3, false);
}

/*
 * With the real Xen: a grant of dom0's to itself. Xen refuses to unmap another
 * handle, so the page still shows the frame, and afterwards it does not.
 */
static void grant_own(struct kunit *test)
{
	struct gnttab_unmap_grant_ref unmap;
	struct gnttab_map_grant_ref map;
	struct page *page, *target;
	unsigned long gfn, addr;
	int ref;

	if (!xen_pv_domain() || !xen_initial_domain())
		kunit_skip(test, "not dom0 of type PV");
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

	gnttab_set_unmap_op(&unmap, addr, GNTMAP_host_map, map.handle ^ 0x400);
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
	KUNIT_CASE(grant_eagain),
	KUNIT_CASE(grant_eagain_all),
	KUNIT_CASE(grant_copy_eagain),
	KUNIT_CASE(grant_call_error),
	KUNIT_CASE(grant_foreign),
	KUNIT_CASE(grant_foreign_p2m_error),
	KUNIT_CASE(grant_foreign_refused),
	KUNIT_CASE(grant_lost),
	KUNIT_CASE(grant_all_bad),
	KUNIT_CASE(grant_all_pv),
	KUNIT_CASE(grant_all_refused),
	KUNIT_CASE(grant_all_refused_pv),
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
