// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the queue of grants to unmap, with a fake clock and a fake
 * Xen. Included by grant-unmap.c.
 */
#include <kunit/test.h>
#include <linux/vmalloc.h>

#define PAGES	8
#define MANY	100000
#define MS	USEC_PER_MSEC

struct unmap_test {
	struct page *pages[PAGES];	/* one reference: idle, two: busy */
	s64 now;			/* the clock, in microseconds */
	s64 step;			/* time that a scan takes */
	s64 armed;			/* time until the next scan, or -1 */
	unsigned int calls;		/* hypercalls, and grants in them */
	unsigned int unmapped;
	int error;			/* what hypercalls return */
	unsigned int done;
	bool again;			/* the next done() queues its request */
	bool free;			/* done() frees its request */
};

struct unmap_test_req {
	struct gnttab_unmap_request req;
	struct gnttab_unmap_grant_ref ops[PAGES];
};

static s64 fake_now(void)
{
	struct unmap_test *t = kunit_get_current_test()->priv;
	s64 now = t->now;

	t->now += t->step;
	return now;
}

static void fake_arm(s64 delay)
{
	struct unmap_test *t = kunit_get_current_test()->priv;

	t->armed = delay;
}

static int fake_unmap(struct gnttab_unmap_grant_ref *ops,
		      struct gnttab_unmap_grant_ref *kops, struct page **pages,
		      unsigned int count)
{
	struct kunit *test = kunit_get_current_test();
	struct unmap_test *t = test->priv;
	unsigned int i;

	t->calls++;
	t->unmapped += count;
	for (i = 0; i < count; i++) {
		KUNIT_EXPECT_GT(test, ops[i].status, 0);
		KUNIT_EXPECT_EQ(test, 1, page_count(pages[i]));
		ops[i].status = t->error ? GNTST_general_error : GNTST_okay;
	}
	return t->error;
}

static void set_busy(struct unmap_test *t, unsigned int first, unsigned int nr)
{
	while (nr--)
		get_page(t->pages[first++]);
}

static void set_idle(struct unmap_test *t, unsigned int first, unsigned int nr)
{
	while (nr--)
		put_page(t->pages[first++]);
}

static void set_ops(struct gnttab_unmap_request *req)
{
	unsigned int i;

	for (i = 0; i < req->count; i++)
		gnttab_set_unmap_op(&req->unmap_ops[i], 0, GNTMAP_host_map, i);
}

static void test_done(struct gnttab_unmap_request *req)
{
	struct unmap_test *t = req->data;

	t->done++;
	if (t->free) {
		memset(req, POISON_FREE, sizeof(*req));
		kfree(req);
	} else if (t->again) {
		t->again = false;
		set_ops(req);
		gnttab_unmap_refs_async(req);
	}
}

static void make_req(struct kunit *test, struct unmap_test_req *r,
		     unsigned int nr)
{
	struct unmap_test *t = test->priv;

	r->req = (struct gnttab_unmap_request) {
		.unmap_ops = r->ops,
		.pages = t->pages,
		.count = nr,
		.done = test_done,
		.data = t,
	};
	set_ops(&r->req);
}

/* Let the time pass until the next scan, and scan. */
static void scan(struct kunit *test)
{
	struct unmap_test *t = test->priv;

	KUNIT_ASSERT_GE(test, t->armed, 0);
	t->now += t->armed;
	t->armed = -1;
	unmap_scan(NULL);
}

static void scan_idle(struct kunit *test, unsigned int first, unsigned int nr)
{
	set_idle(test->priv, first, nr);
	scan(test);
}

static int unmap_test_init(struct kunit *test)
{
	struct unmap_test *t;
	unsigned int i;

	if (xen_domain() && system_state == SYSTEM_RUNNING)
		kunit_skip(test, "the queue is in use after boot");
	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	for (i = 0; i < PAGES; i++) {
		t->pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->pages[i]);
	}
	t->now = ktime_to_us(ktime_get());
	t->armed = -1;
	kunit_activate_static_stub(test, unmap_now, fake_now);
	kunit_activate_static_stub(test, unmap_arm, fake_arm);
	kunit_activate_static_stub(test, gnttab_unmap_refs, fake_unmap);
	return 0;
}

static void unmap_test_exit(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	unsigned int i;

	if (!t)
		return;
	for (i = 0; i < PAGES && t->pages[i]; i++)
		put_page(t->pages[i]);
	/* A failed test may leave requests, which are freed with the test. */
	KUNIT_EXPECT_TRUE(test, list_empty(&unmap_new) && list_empty(&unmap_waiting));
	INIT_LIST_HEAD(&unmap_new);
	INIT_LIST_HEAD(&unmap_waiting);
	unmap_not_before = 0;
	unmap_waited = 0;
	unmap_longest = 0;
}

/* Idle pages are unmapped by one hypercall, before the function returns. */
static void unmap_idle_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req r;

	make_req(test, &r, PAGES);
	gnttab_unmap_refs_async(&r.req);
	KUNIT_EXPECT_EQ(test, 1, t->calls);
	KUNIT_EXPECT_EQ(test, PAGES, t->unmapped);
	KUNIT_EXPECT_EQ(test, 1, t->done);
	KUNIT_EXPECT_EQ(test, -1, t->armed);

	/* The idle pages of a request with busy pages, too. */
	set_ops(&r.req);
	set_busy(t, 3, 1);
	gnttab_unmap_refs_async(&r.req);
	KUNIT_EXPECT_EQ(test, 3, t->calls);
	KUNIT_EXPECT_EQ(test, 2 * PAGES - 1, t->unmapped);
	KUNIT_EXPECT_EQ(test, 5 * MS, t->armed);
	scan_idle(test, 3, 1);
}

/* A busy page delays only its own grant. */
static void unmap_busy_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req r;

	make_req(test, &r, PAGES);
	set_busy(t, 0, PAGES);
	gnttab_unmap_refs_async(&r.req);
	scan(test);
	KUNIT_EXPECT_EQ(test, 0, t->calls);
	set_idle(t, 1, 2);
	scan_idle(test, 5, PAGES - 5);
	KUNIT_EXPECT_EQ(test, 2, t->calls);
	KUNIT_EXPECT_EQ(test, PAGES - 3, t->unmapped);
	scan_idle(test, 3, 2);
	KUNIT_EXPECT_EQ(test, 3, t->calls);
	KUNIT_EXPECT_EQ(test, 0, t->done);
	scan_idle(test, 0, 1);
	KUNIT_EXPECT_EQ(test, PAGES, t->unmapped);
	KUNIT_EXPECT_EQ(test, 1, t->done);
	KUNIT_EXPECT_EQ(test, -1, t->armed);
}

/* A hypercall that fails is not tried again; the others are made. */
static void unmap_error_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req r;
	unsigned int i;

	make_req(test, &r, PAGES);
	set_busy(t, 3, PAGES - 3);
	t->error = -EFAULT;
	gnttab_unmap_refs_async(&r.req);
	t->error = 0;
	scan_idle(test, 3, PAGES - 3);
	KUNIT_EXPECT_EQ(test, 2, t->calls);
	KUNIT_EXPECT_EQ(test, 1, t->done);
	for (i = 0; i < PAGES; i++)
		KUNIT_EXPECT_EQ(test, i < 3 ? GNTST_general_error : GNTST_okay,
				r.ops[i].status);
}

/* done() queues its request again, at once and from a scan. */
static void unmap_again_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req r;

	make_req(test, &r, PAGES);
	t->again = true;
	gnttab_unmap_refs_async(&r.req);
	KUNIT_EXPECT_EQ(test, 2, t->done);

	set_ops(&r.req);
	t->again = true;
	set_busy(t, 2, 1);
	gnttab_unmap_refs_async(&r.req);
	scan_idle(test, 2, 1);
	KUNIT_EXPECT_EQ(test, 4, t->done);
	KUNIT_EXPECT_EQ(test, 4 * PAGES, t->unmapped);
}

static void unmap_free_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r = kmalloc_obj(*r);

	KUNIT_ASSERT_NOT_NULL(test, r);
	make_req(test, r, PAGES);
	t->free = true;
	set_busy(t, 0, 1);
	gnttab_unmap_refs_async(&r->req);
	scan_idle(test, 0, 1);
	KUNIT_EXPECT_EQ(test, 1, t->done);
}

/* With 100,000 requests scans take 5 % of a CPU, even if new ones come. */
static void unmap_many_test(struct kunit *test)
{
	struct unmap_test_req *r = vcalloc(MANY, sizeof(*r));
	struct unmap_test *t = test->priv;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, r);
	set_busy(t, 0, 2);
	for (i = 0; i < MANY; i++)
		make_req(test, &r[i], 1);
	for (i = 0; i < MANY - 1; i++)
		gnttab_unmap_refs_async(&r[i].req);
	t->step = 20 * MS;
	scan(test);
	t->step = 0;
	KUNIT_EXPECT_EQ(test, 400 * MS, t->armed);

	r[i].req.pages = &t->pages[1];
	gnttab_unmap_refs_async(&r[i].req);
	KUNIT_EXPECT_EQ(test, 380 * MS, t->armed);
	scan_idle(test, 1, 1);
	KUNIT_EXPECT_EQ(test, 1, t->done);
	scan_idle(test, 0, 1);
	KUNIT_EXPECT_EQ(test, MANY, t->done);
	vfree(r);
}

static void unmap_flush_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req r[2];

	make_req(test, &r[0], 1);
	make_req(test, &r[1], 2);
	set_busy(t, 0, 2);
	gnttab_unmap_refs_async(&r[0].req);
	gnttab_unmap_refs_async(&r[1].req);
	set_idle(t, 0, 1);
	gnttab_unmap_flush();
	KUNIT_EXPECT_EQ(test, 1, t->done);
	KUNIT_EXPECT_EQ(test, 2, t->unmapped);
	scan_idle(test, 1, 1);
}

/* The module of done() stays while a request waits, and no longer. */
static void unmap_module_test(struct kunit *test)
{
#ifdef CONFIG_MODULE_UNLOAD
	struct module *mod = kunit_kzalloc(test, sizeof(*mod), GFP_KERNEL);
	struct unmap_test *t = test->priv;
	struct unmap_test_req r;

	KUNIT_ASSERT_NOT_NULL(test, mod);
	atomic_set(&mod->refcnt, 1);
	make_req(test, &r, PAGES);
	r.req.owner = mod;
	set_busy(t, 0, 1);
	gnttab_unmap_refs_async(&r.req);
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&mod->refcnt));
	scan_idle(test, 0, 1);
	KUNIT_EXPECT_EQ(test, 1, t->done);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mod->refcnt));
#else
	kunit_skip(test, "modules have no reference count");
#endif
}

/* A page that stays busy is looked at less often, until something happens. */
static void unmap_backoff_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	s64 end = t->now + 1000 * MS;
	struct unmap_test_req r[3];

	make_req(test, &r[0], 2);
	set_busy(t, 0, 2);
	gnttab_unmap_refs_async(&r[0].req);
	while (t->now <= end) {
		KUNIT_ASSERT_EQ(test, 5 * MS, t->armed);
		scan(test);
	}
	while (t->now < end + 500 * MS)
		scan(test);
	KUNIT_EXPECT_EQ(test, 100 * MS, t->armed);

	/* A page becomes idle. */
	scan_idle(test, 0, 1);
	KUNIT_EXPECT_EQ(test, 5 * MS, t->armed);

	/* A new request comes. A second one does not put off the scan. */
	for (end = t->now + 1500 * MS; t->now < end;)
		scan(test);
	KUNIT_EXPECT_EQ(test, 100 * MS, t->armed);
	make_req(test, &r[1], 2);
	gnttab_unmap_refs_async(&r[1].req);
	KUNIT_EXPECT_EQ(test, 5 * MS, t->armed);
	t->armed = 1 * MS;
	make_req(test, &r[2], 2);
	gnttab_unmap_refs_async(&r[2].req);
	KUNIT_EXPECT_EQ(test, 1 * MS, t->armed);

	scan_idle(test, 1, 1);
	KUNIT_EXPECT_EQ(test, 3, t->done);
	KUNIT_EXPECT_EQ(test, -1, t->armed);
}

static struct kunit_case unmap_cases[] = {
	KUNIT_CASE(unmap_idle_test),
	KUNIT_CASE(unmap_busy_test),
	KUNIT_CASE(unmap_error_test),
	KUNIT_CASE(unmap_again_test),
	KUNIT_CASE(unmap_free_test),
	KUNIT_CASE_SLOW(unmap_many_test),
	KUNIT_CASE(unmap_flush_test),
	KUNIT_CASE(unmap_module_test),
	KUNIT_CASE(unmap_backoff_test),
	{}
};

static struct kunit_suite unmap_suite = {
	.name = "xen_grant_unmap",
	.init = unmap_test_init,
	.exit = unmap_test_exit,
	.test_cases = unmap_cases,
};

kunit_test_suite(unmap_suite);
