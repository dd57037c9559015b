// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the queue of grants to unmap, with pages, a clock and a Xen of their
 * own. Included by grant-unmap.c.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/vmalloc.h>

#include <kunit/test.h>

/* A debug kernel under emulation takes minutes for 100,000. */
#define CROWD	(IS_ENABLED(CONFIG_PROVE_LOCKING) ? 10000 : 100000)

/**
 * struct unmap_test - a queue, and what it is in
 * @q: the queue
 * @test: the test
 * @now: what the clock shows
 * @armed: the timer is
 * @ms: and runs for so long
 * @pages: the pages
 * @in_use: whether each of them is
 * @nr: number of them
 * @unmapped: how often each of them was unmapped; its handle is its number
 * @calls: hypercalls
 * @seen: pages that were looked at
 * @error: result of the next hypercall, which does nothing
 * @refused: the handle that Xen refuses
 * @cancel: a request to take back during a hypercall, which is too late
 * @done: requests that are done
 */
struct unmap_test {
	struct unmap_queue q;
	struct kunit *test;
	unsigned long now;
	bool armed;
	unsigned int ms;
	struct page *pages;
	bool *in_use;
	unsigned int nr;
	u8 *unmapped;
	unsigned int calls;
	unsigned int seen;
	int error;
	unsigned int refused;
	struct gnttab_unmap_request *cancel;
	atomic_t done;
};

/**
 * struct unmap_test_req - a request
 * @req: what the queue sees
 * @done: how often it was done
 * @result: with which result
 * @place: it was the so many'th that was
 */
struct unmap_test_req {
	struct gnttab_unmap_request req;
	unsigned int done;
	int result;
	unsigned int place;
};

static unsigned long fake_now(void)
{
	struct unmap_test *t = kunit_get_current_test()->priv;

	return t->now;
}

static bool fake_in_use(struct page *page)
{
	struct unmap_test *t = kunit_get_current_test()->priv;

	t->seen++;
	return READ_ONCE(t->in_use[page - t->pages]);
}

static void fake_after(struct unmap_queue *q, unsigned int ms)
{
	struct unmap_test *t = container_of(q, struct unmap_test, q);

	t->armed = true;
	t->ms = ms;
}

static int fake_unmap(struct gnttab_unmap_grant_ref *ops, struct page **pages,
		      unsigned int nr)
{
	struct kunit *test = kunit_get_current_test();
	struct unmap_test *t = test->priv;
	unsigned int i;
	int ret = t->error;

	if (t->cancel)
		KUNIT_EXPECT_FALSE(test, unmap_cancel(&t->q, t->cancel));
	t->calls++;
	t->error = 0;
	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		unsigned int n = ops[i].handle;

		/* A loop of expectations would take seconds. */
		if (pages[i] != &t->pages[n] || t->in_use[n])
			KUNIT_FAIL(test, "page %u", n);
		if (n != t->refused && t->unmapped[n]++)
			KUNIT_FAIL(test, "page %u again", n);
		ops[i].status = n == t->refused ? GNTST_general_error :
						  GNTST_okay;
	}
	return 0;
}

static void test_done(int result, struct gnttab_unmap_request *req)
{
	struct unmap_test_req *r = container_of(req, typeof(*r), req);
	struct unmap_test *t = req->data;

	r->done++;
	r->result = result;
	r->place = atomic_inc_return(&t->done);
}

static int unmap_test_init(struct kunit *test)
{
	struct unmap_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->test = test;
	t->now = -1000;
	t->refused = UINT_MAX;
	unmap_queue_init(&t->q, unmap_work);
	kunit_activate_static_stub(test, unmap_now, fake_now);
	kunit_activate_static_stub(test, page_in_use, fake_in_use);
	kunit_activate_static_stub(test, unmap_after, fake_after);
	kunit_activate_static_stub(test, unmap_ops, fake_unmap);
	return 0;
}

static void unmap_test_vfree(void *mem)
{
	vfree(mem);
}

static void *unmap_test_alloc(struct kunit *test, size_t n, size_t size)
{
	void *mem = vcalloc(n, size);

	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, unmap_test_vfree, mem));
	return mem;
}

/* @nr pages, of which all are in use, or none. */
static void make_pages(struct kunit *test, unsigned int nr, bool in_use)
{
	struct unmap_test *t = test->priv;
	unsigned int i;

	t->nr = nr;
	t->pages = unmap_test_alloc(test, nr, sizeof(*t->pages));
	t->in_use = unmap_test_alloc(test, nr, sizeof(*t->in_use));
	t->unmapped = unmap_test_alloc(test, nr, sizeof(*t->unmapped));
	for (i = 0; i < nr; i++)
		t->in_use[i] = in_use;
}

static void remake_ops(struct unmap_test_req *r)
{
	unsigned int i;

	for (i = 0; i < r->req.count; i++)
		r->req.unmap_ops[i].status = 1;
}

/* @nr requests of @count pages each, which are all that there are. */
static struct unmap_test_req *make_reqs(struct kunit *test, unsigned int nr,
					unsigned int count)
{
	struct unmap_test *t = test->priv;
	struct gnttab_unmap_grant_ref *ops;
	struct unmap_test_req *reqs;
	struct page **pages;
	unsigned int i;

	reqs = unmap_test_alloc(test, nr, sizeof(*reqs));
	ops = unmap_test_alloc(test, nr * count, sizeof(*ops));
	pages = unmap_test_alloc(test, nr * count, sizeof(*pages));
	for (i = 0; i < nr * count; i++) {
		ops[i].handle = i;
		ops[i].status = 1;
		pages[i] = &t->pages[i];
	}
	for (i = 0; i < nr; i++) {
		reqs[i].req.unmap_ops = ops + i * count;
		reqs[i].req.pages = pages + i * count;
		reqs[i].req.count = count;
		reqs[i].req.done = test_done;
		reqs[i].req.data = t;
	}
	return reqs;
}

static void queue_all(struct unmap_test *t, struct unmap_test_req *reqs,
		      unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		unmap_async(&t->q, &reqs[i].req);
}

static void set_in_use(struct unmap_test *t, bool in_use)
{
	unsigned int i;

	for (i = 0; i < t->nr; i++)
		t->in_use[i] = in_use;
}

/* The timer fires. */
static void look(struct kunit *test)
{
	struct unmap_test *t = test->priv;

	KUNIT_ASSERT_TRUE(test, t->armed);
	t->armed = false;
	t->q.armed = false;
	t->now += t->ms;
	t->seen = 0;
	t->calls = 0;
	unmap_look(&t->q);
}

/* Number of requests that were done more than once, or not at all. */
static unsigned int not_done_once(const struct unmap_test_req *reqs,
				  unsigned int nr)
{
	unsigned int i, wrong = 0;

	for (i = 0; i < nr; i++)
		wrong += reqs[i].done != 1;
	return wrong;
}

static unsigned int nr_unmapped(const struct unmap_test *t)
{
	unsigned int i, nr = 0;

	for (i = 0; i < t->nr; i++)
		nr += t->unmapped[i];
	return nr;
}

static void expect_empty(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	unsigned int age;

	KUNIT_EXPECT_TRUE(test, list_empty(&t->q.waiting));
	for (age = 0; age < UNMAP_AGES; age++) {
		KUNIT_EXPECT_TRUE(test, list_empty(&t->q.turn[age]));
		KUNIT_EXPECT_EQ(test, 0, t->q.nr[age]);
	}
	KUNIT_EXPECT_EQ(test, 0, t->q.pages);
	KUNIT_EXPECT_FALSE(test, t->armed);
}

/* With idle pages, or none, nothing waits. */
static void unmap_at_once_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;

	make_pages(test, 512, false);
	r = make_reqs(test, 1, 512);
	queue_all(t, r, 1);
	KUNIT_EXPECT_EQ(test, 1, t->calls);
	KUNIT_EXPECT_EQ(test, 512, t->seen);
	KUNIT_EXPECT_EQ(test, 512, nr_unmapped(t));
	KUNIT_EXPECT_EQ(test, 0, not_done_once(r, 1));
	expect_empty(test);

	r->req.count = 0;
	queue_all(t, r, 1);
	KUNIT_EXPECT_EQ(test, 1, t->calls);
	KUNIT_EXPECT_EQ(test, 2, r->done);
	expect_empty(test);
}

/* A page in use holds back no other one. */
static void unmap_one_of_many_test(struct kunit *test)
{
	static const unsigned int busy[] = { 0, 200, 511 };
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(busy); i++) {
		make_pages(test, 512, false);
		t->in_use[busy[i]] = true;
		r = make_reqs(test, 1, 512);
		t->calls = 0;
		queue_all(t, r, 1);
		KUNIT_EXPECT_EQ(test, busy[i] % 511 ? 2 : 1, t->calls);
		KUNIT_EXPECT_EQ(test, 511, nr_unmapped(t));
		KUNIT_EXPECT_EQ(test, 1, t->q.pages);
		look(test);
		KUNIT_EXPECT_EQ(test, 0, t->calls);
		KUNIT_EXPECT_EQ(test, 0, r->done);
		t->in_use[busy[i]] = false;
		look(test);
		KUNIT_EXPECT_EQ(test, 1, t->calls);
		KUNIT_EXPECT_EQ(test, 512, nr_unmapped(t));
		KUNIT_EXPECT_EQ(test, 0, not_done_once(r, 1));
		KUNIT_EXPECT_EQ(test, 0, r->result);
		expect_empty(test);
	}
}

/* What is unmapped already costs no time. */
static void unmap_one_of_very_many_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;

	make_pages(test, 60000, false);
	t->in_use[100] = true;
	t->in_use[40000] = true;
	r = make_reqs(test, 1, 60000);
	queue_all(t, r, 1);
	t->in_use[100] = false;
	look(test);
	KUNIT_EXPECT_EQ(test, 1, t->q.pages);
	look(test);
	KUNIT_EXPECT_EQ(test, 1, t->seen);
	t->in_use[40000] = false;
	look(test);
	KUNIT_EXPECT_EQ(test, 0, not_done_once(r, 1));
	expect_empty(test);
}

/* The caller makes some hypercalls; the queue, which makes better ones, more. */
static void unmap_every_second_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;
	unsigned int i;

	make_pages(test, 512, false);
	for (i = 1; i < 512; i += 2)
		t->in_use[i] = true;
	r = make_reqs(test, 1, 512);
	queue_all(t, r, 1);
	KUNIT_EXPECT_EQ(test, UNMAP_RUNS, t->calls);
	KUNIT_EXPECT_EQ(test, UNMAP_RUNS, nr_unmapped(t));
	KUNIT_EXPECT_EQ(test, 0, t->ms);
	for (i = 0; i < 8; i++)
		look(test);
	KUNIT_EXPECT_EQ(test, 256, nr_unmapped(t));
	KUNIT_EXPECT_EQ(test, 256, t->q.pages);
	set_in_use(t, false);
	while (t->armed)
		look(test);
	KUNIT_EXPECT_EQ(test, 512, nr_unmapped(t));
	KUNIT_EXPECT_EQ(test, 0, not_done_once(r, 1));
	expect_empty(test);
}

/* Pages of one request get idle one by one; done() comes after the last. */
static void unmap_one_by_one_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;
	unsigned int i;

	make_pages(test, 8, true);
	r = make_reqs(test, 1, 8);
	queue_all(t, r, 1);
	for (i = 0; i < 8; i++) {
		KUNIT_EXPECT_EQ(test, 0, r->done);
		t->in_use[i * 5 % 8] = false;
		look(test);
		KUNIT_EXPECT_EQ(test, i + 1, nr_unmapped(t));
	}
	KUNIT_EXPECT_EQ(test, 0, not_done_once(r, 1));
	expect_empty(test);
}

/* Requests are done in the order in which their pages get idle. */
static void unmap_order_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;
	unsigned int i;

	make_pages(test, 7, true);
	r = make_reqs(test, 7, 1);
	queue_all(t, r, 7);
	for (i = 0; i < 7; i++) {
		t->in_use[i * 3 % 7] = false;
		look(test);
		KUNIT_EXPECT_EQ(test, i + 1, r[i * 3 % 7].place);
	}
	KUNIT_EXPECT_EQ(test, 0, not_done_once(r, 7));
	expect_empty(test);
}

/* Grants of many requests share hypercalls. */
static void unmap_batched_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;

	make_pages(test, 2 * UNMAP_BATCH, true);
	r = make_reqs(test, 2 * UNMAP_BATCH, 1);
	queue_all(t, r, 2 * UNMAP_BATCH);
	set_in_use(t, false);
	look(test);
	KUNIT_EXPECT_EQ(test, 2, t->calls);
	KUNIT_EXPECT_EQ(test, 0, not_done_once(r, 2 * UNMAP_BATCH));
	expect_empty(test);
}

/* The first error is the result, and no operation waits after one. */
static void unmap_errors_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;

	make_pages(test, 9, false);
	t->in_use[2] = true;
	t->in_use[5] = true;
	r = make_reqs(test, 3, 3);

	/* Where nothing waits. */
	t->error = -EIO;
	unmap_async(&t->q, &r[2].req);
	KUNIT_EXPECT_EQ(test, 1, r[2].done);
	KUNIT_EXPECT_EQ(test, -EIO, r[2].result);
	KUNIT_EXPECT_EQ(test, GNTST_general_error,
			r[2].req.unmap_ops[0].status);

	/* At once. */
	t->error = -EFAULT;
	unmap_async(&t->q, &r[0].req);
	KUNIT_EXPECT_EQ(test, 0, r[0].done);
	t->error = -ENOMEM;
	t->in_use[2] = false;
	look(test);
	KUNIT_EXPECT_EQ(test, 1, r[0].done);
	KUNIT_EXPECT_EQ(test, -EFAULT, r[0].result);
	KUNIT_EXPECT_EQ(test, GNTST_general_error,
			r[0].req.unmap_ops[0].status);
	KUNIT_EXPECT_EQ(test, GNTST_general_error,
			r[0].req.unmap_ops[2].status);

	/* Later; and what Xen says of a grant is in its status alone. */
	t->refused = 4;
	unmap_async(&t->q, &r[1].req);
	KUNIT_EXPECT_EQ(test, GNTST_okay, r[1].req.unmap_ops[0].status);
	KUNIT_EXPECT_EQ(test, GNTST_general_error,
			r[1].req.unmap_ops[1].status);
	KUNIT_EXPECT_GT(test, r[1].req.unmap_ops[2].status, 0);
	t->in_use[5] = false;
	t->error = -ENOMEM;
	look(test);
	KUNIT_EXPECT_EQ(test, 1, r[1].done);
	KUNIT_EXPECT_EQ(test, -ENOMEM, r[1].result);
	KUNIT_EXPECT_EQ(test, GNTST_general_error,
			r[1].req.unmap_ops[2].status);
	expect_empty(test);
}

static void requeue_done(int result, struct gnttab_unmap_request *req)
{
	struct unmap_test_req *r = container_of(req, typeof(*r), req);
	struct unmap_test *t = req->data;

	if (r->done++)
		return;
	remake_ops(r);
	memset(t->unmapped, 0, t->nr);
	t->in_use[0] = true;
	unmap_async(&t->q, req);
}

/* done() may make its request again. */
static void unmap_again_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;

	make_pages(test, 2, true);
	r = make_reqs(test, 1, 2);
	r->req.done = requeue_done;
	queue_all(t, r, 1);
	set_in_use(t, false);
	look(test);
	KUNIT_EXPECT_EQ(test, 1, r->done);
	KUNIT_EXPECT_EQ(test, 1, nr_unmapped(t));
	set_in_use(t, false);
	look(test);
	KUNIT_EXPECT_EQ(test, 2, r->done);
	KUNIT_EXPECT_EQ(test, 2, nr_unmapped(t));
	expect_empty(test);
}

static void freeing_done(int result, struct gnttab_unmap_request *req)
{
	struct unmap_test *t = req->data;

	atomic_inc(&t->done);
	memset(req, 0x5a, sizeof(*req));
	kfree(req);
}

/* done() may free its request. */
static void unmap_freed_test(struct kunit *test)
{
	struct gnttab_unmap_request *reqs[3];
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;
	unsigned int i;

	make_pages(test, 3, true);
	r = make_reqs(test, 3, 1);
	for (i = 0; i < 3; i++) {
		r[i].req.done = freeing_done;
		reqs[i] = kmemdup(&r[i].req, sizeof(r[i].req), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, reqs[i]);
		unmap_async(&t->q, reqs[i]);
	}
	t->in_use[1] = false;
	look(test);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&t->done));
	set_in_use(t, false);
	look(test);
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&t->done));
	expect_empty(test);
}

/* A flush looks at all requests of its owner, and counts those that are left. */
static void unmap_flush_test(struct kunit *test)
{
	const unsigned int nr = 4000;
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;
	unsigned int i;

	make_pages(test, nr, true);
	r = make_reqs(test, nr, 1);
	for (i = 0; i < nr; i++)
		r[i].req.owner = i & 1 ? test : NULL;
	queue_all(t, r, nr);
	t->in_use[2] = false;
	t->in_use[3] = false;
	t->in_use[nr - 1] = false;

	unmap_flush(&t->q, test);
	KUNIT_EXPECT_EQ(test, 0, t->ms);
	look(test);
	KUNIT_EXPECT_EQ(test, nr / 2 - 2, t->q.flush_left);
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&t->done));
	KUNIT_EXPECT_EQ(test, 0, r[2].done);
	unmap_flush(&t->q, NULL);
	look(test);
	KUNIT_EXPECT_EQ(test, nr - 3, t->q.flush_left);
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&t->done));

	set_in_use(t, false);
	unmap_flush(&t->q, NULL);
	look(test);
	KUNIT_EXPECT_EQ(test, 0, t->q.flush_left);
	KUNIT_EXPECT_EQ(test, 0, not_done_once(r, nr));
	expect_empty(test);
}

/* A flush misses nothing that gets older in the meantime. */
static void unmap_flush_aged_test(struct kunit *test)
{
	static const unsigned int until[] = { UNMAP_NEW_UNTIL_MS,
					      UNMAP_YOUNG_UNTIL_MS };
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(until); i++) {
		make_pages(test, 2, true);
		r = make_reqs(test, 2, 1);
		queue_all(t, r, 2);
		while (t->now + t->ms - r[0].req.since < until[i])
			look(test);
		t->in_use[0] = false;
		unmap_flush(&t->q, NULL);
		t->now = r[0].req.since + until[i];
		look(test);
		KUNIT_EXPECT_EQ(test, 1, r[0].done);
		KUNIT_EXPECT_EQ(test, 1, t->q.flush_left);
		t->in_use[1] = false;
		look(test);
		KUNIT_EXPECT_EQ(test, 0, not_done_once(r, 2));
		expect_empty(test);
	}
}

/* A request of few pages that wait among many that don't holds up no other. */
static void unmap_sparse_test(struct kunit *test)
{
	const unsigned int nr = 60000, every = 250;
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;
	unsigned int i, looks;

	make_pages(test, 2 * nr, false);
	for (i = 0; i <= nr; i += every)
		t->in_use[i] = true;
	r = make_reqs(test, 2, nr);
	r[1].req.count = 1;
	queue_all(t, r, 1);
	for (looks = 0; looks < 2000 && r[0].req.waits > nr / every; looks++)
		look(test);
	KUNIT_ASSERT_EQ(test, nr / every, r[0].req.waits);
	t->now += UNMAP_YOUNG_UNTIL_MS;
	look(test);
	/* It comes behind the other one. */
	queue_all(t, r + 1, 1);
	t->now += UNMAP_YOUNG_UNTIL_MS;
	look(test);
	look(test);

	t->in_use[nr] = false;
	for (looks = 0; looks < 20 && !r[1].done; looks++)
		look(test);
	KUNIT_EXPECT_EQ(test, 1, r[1].done);
	KUNIT_EXPECT_EQ(test, 0, r[0].done);
	set_in_use(t, false);
	for (looks = 0; looks < 2000 && !r[0].done; looks++)
		look(test);
	KUNIT_EXPECT_EQ(test, 0, not_done_once(r, 2));
	expect_empty(test);
}

/* A request that is taken back is not done; what is left of it can be made. */
static void unmap_cancel_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;

	make_pages(test, 4, true);
	r = make_reqs(test, 2, 2);
	t->in_use[0] = false;
	queue_all(t, r, 2);
	KUNIT_EXPECT_TRUE(test, unmap_cancel(&t->q, &r[0].req));
	set_in_use(t, false);
	t->cancel = &r[1].req;
	look(test);
	KUNIT_EXPECT_EQ(test, 0, r[0].done);
	KUNIT_EXPECT_EQ(test, 1, r[1].done);
	KUNIT_EXPECT_EQ(test, GNTST_okay, r[0].req.unmap_ops[0].status);
	KUNIT_EXPECT_GT(test, r[0].req.unmap_ops[1].status, 0);
	expect_empty(test);
}

/* Nothing is asked of a Xen that has not mapped it. */
static void unmap_forget_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;

	make_pages(test, 4, true);
	r = make_reqs(test, 2, 2);
	t->in_use[0] = false;
	queue_all(t, r, 2);
	set_in_use(t, false);
	r[0].req.lost = true;
	r[1].req.lost = true;
	look(test);
	KUNIT_EXPECT_EQ(test, 0, t->calls);
	KUNIT_EXPECT_EQ(test, 0, not_done_once(r, 2));
	KUNIT_EXPECT_EQ(test, -ESTALE, r[0].result);
	KUNIT_EXPECT_EQ(test, GNTST_okay, r[0].req.unmap_ops[0].status);
	KUNIT_EXPECT_EQ(test, GNTST_bad_handle, r[0].req.unmap_ops[1].status);
	expect_empty(test);
}

/* The time between looks does not grow with the age of what waits. */
static void unmap_interval_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;
	unsigned long start;
	struct page *page;

	make_pages(test, 1, true);
	page = t->pages;
	KUNIT_ASSERT_EQ(test, 0, xen_foreign_pages_prepare(&page, 1));
	xen_page_set_foreign(page, 7, 8);
	r = make_reqs(test, 1, 1);
	queue_all(t, r, 1);
	start = t->now;
	while (t->now - start < 100 * MSEC_PER_SEC) {
		KUNIT_ASSERT_EQ(test, t->ms,
				t->now - start < UNMAP_YOUNG_UNTIL_MS ?
				UNMAP_YOUNG_MS : retry_ms);
		if (t->now - start < warn_seconds * MSEC_PER_SEC)
			KUNIT_ASSERT_FALSE(test, r->req.warned);
		look(test);
	}
	KUNIT_EXPECT_TRUE(test, r->req.warned);
	t->in_use[0] = false;
	look(test);
	KUNIT_EXPECT_EQ(test, 1, r->done);
	xen_page_clear_foreign(page);
	xen_foreign_pages_release(&page, 1);
	expect_empty(test);
}

/* A look that is due is not put off by what comes later. */
static void unmap_put_off_test(struct kunit *test)
{
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;
	unsigned int i;

	make_pages(test, 100, true);
	r = make_reqs(test, 100, 1);
	unmap_async(&t->q, &r[0].req);
	for (i = 1; i < 100; i++) {
		t->armed = false;
		t->now++;
		unmap_async(&t->q, &r[i].req);
		unmap_flush(&t->q, r);
		unmap_look(&t->q);
		KUNIT_EXPECT_EQ(test, -1000 + UNMAP_YOUNG_MS, t->q.due);
		KUNIT_EXPECT_TRUE(test, t->q.armed);
	}
}

/*
 * Looks until everybody is old and had a turn since then, at no more than @budget
 * pages at a time.
 */
static void look_around(struct kunit *test, unsigned int budget)
{
	struct unmap_test *t = test->priv;
	unsigned long start = t->now;
	unsigned int i = 0;

	while (i < 2 * CROWD / (budget / 4)) {
		look(test);
		KUNIT_ASSERT_LE(test, t->seen, budget);
		if (t->now - start >= UNMAP_YOUNG_UNTIL_MS)
			i++;
	}
}

static unsigned int max_budget(void)
{
	return UNMAP_PAGES_PER_MS * retry_ms;
}

static unsigned int new_budget(void)
{
	return UNMAP_PAGES_PER_MS * UNMAP_YOUNG_MS / 2;
}

/* Pages that were not unmapped before, whatever they were. */
static void make_idle(struct unmap_test *t, struct unmap_test_req *r)
{
	unsigned int i;

	for (i = 0; i < r->req.count; i++) {
		t->in_use[r->req.unmap_ops[i].handle] = false;
		t->unmapped[r->req.unmap_ops[i].handle] = 0;
	}
}

/* 100,000 pages that wait cost little, and nobody else waits for them. */
static void expect_crowd(struct kunit *test, unsigned int nr)
{
	struct unmap_test_req *reqs, *fresh;
	struct unmap_test *t = test->priv;
	unsigned int i, looks;

	make_pages(test, CROWD, true);
	reqs = make_reqs(test, nr, CROWD / nr);
	/* The last is not one of them. */
	fresh = &reqs[nr - 1];
	queue_all(t, reqs, nr - 1);
	look_around(test, max_budget());
	KUNIT_EXPECT_EQ(test, nr - 1, t->q.nr[UNMAP_OLD]);

	/* A new one is done with the next look, if it is not huge. */
	for (i = 0; i < 10; i++) {
		set_in_use(t, true);
		remake_ops(fresh);
		fresh->done = 0;
		unmap_async(&t->q, &fresh->req);
		KUNIT_ASSERT_EQ(test, 0, fresh->done);
		make_idle(t, fresh);
		for (looks = 0; !fresh->done && looks < 1000; looks++)
			look(test);
		/* It costs something to pass over what is unmapped. */
		KUNIT_ASSERT_LE(test, looks,
				DIV_ROUND_UP(fresh->req.count * 9 / 8,
					     new_budget()));
	}

	/* All get idle. */
	set_in_use(t, false);
	for (looks = 0; t->armed; looks++)
		look(test);
	KUNIT_EXPECT_LE(test, looks, 2 * CROWD / (new_budget() / 4));
	KUNIT_EXPECT_EQ(test, CROWD, nr_unmapped(t));
	KUNIT_EXPECT_EQ(test, 0, not_done_once(reqs, nr));
	expect_empty(test);
}

static void unmap_crowd_test(struct kunit *test)
{
	expect_crowd(test, CROWD);
}

static void unmap_large_crowd_test(struct kunit *test)
{
	expect_crowd(test, 200);
}

static void unmap_huge_test(struct kunit *test)
{
	expect_crowd(test, 2);
}

/* Nor for those that have waited for a moment only. */
static void unmap_young_crowd_test(struct kunit *test)
{
	struct unmap_test_req *reqs, *fresh;
	struct unmap_test *t = test->priv;

	make_pages(test, CROWD, true);
	reqs = make_reqs(test, CROWD, 1);
	fresh = &reqs[CROWD - 1];
	queue_all(t, reqs, CROWD - 1);
	look(test);
	look(test);
	t->now += UNMAP_NEW_UNTIL_MS;
	unmap_async(&t->q, &fresh->req);
	make_idle(t, fresh);
	look(test);
	KUNIT_EXPECT_EQ(test, 1, fresh->done);
	KUNIT_EXPECT_LE(test, t->seen, max_budget());
	set_in_use(t, false);
	while (t->armed)
		look(test);
	KUNIT_EXPECT_EQ(test, 0, not_done_once(reqs, CROWD));
	expect_empty(test);
}

/* A crowd of young requests leaves something to those who wait for long. */
static void unmap_starved_test(struct kunit *test)
{
	struct unmap_test_req *reqs, *old;
	struct unmap_test *t = test->priv;
	unsigned int looks;

	make_pages(test, CROWD, true);
	reqs = make_reqs(test, CROWD, 1);
	old = &reqs[CROWD - 1];
	unmap_async(&t->q, &old->req);
	t->now += 2 * UNMAP_YOUNG_UNTIL_MS;
	look(test);
	look(test);
	KUNIT_EXPECT_EQ(test, 1, t->q.nr[UNMAP_OLD]);
	queue_all(t, reqs, CROWD - 1);
	t->in_use[CROWD - 1] = false;
	for (looks = 0; !old->done && looks < 100; looks++)
		look(test);
	KUNIT_EXPECT_EQ(test, 1, looks);
	set_in_use(t, false);
	while (t->armed)
		look(test);
	KUNIT_EXPECT_EQ(test, 0, not_done_once(reqs, CROWD));
}

static void test_work(struct work_struct *work)
{
	struct unmap_test *t = container_of(work, struct unmap_test, q.work);

	current->kunit_test = t->test;
	unmap_look(&t->q);
	current->kunit_test = NULL;
}

/* What is left of a request, as one of its own. */
static void make_rest(struct unmap_test_req *r)
{
	unsigned int i, n;

	for (i = 0, n = 0; i < r->req.count; i++) {
		if (!op_waits(&r->req.unmap_ops[i]))
			continue;
		r->req.unmap_ops[n] = r->req.unmap_ops[i];
		r->req.pages[n++] = r->req.pages[i];
	}
	r->req.count = n;
}

static int let_go(void *data)
{
	struct unmap_test *t = data;
	unsigned int i;

	for (i = 0; i < t->nr; i++) {
		WRITE_ONCE(t->in_use[i * 7ULL % t->nr], false);
		if (!(i % 64))
			usleep_range(100, 200);
	}
	return 0;
}

/* Pages get idle while requests are made, taken back and flushed. */
static void unmap_race_test(struct kunit *test)
{
	const unsigned int nr = 5000;
	struct unmap_test *t = test->priv;
	struct unmap_test_req *r;
	struct task_struct *task;
	unsigned int i, cancelled = 0, tries;

	kunit_deactivate_static_stub(test, unmap_now);
	kunit_deactivate_static_stub(test, unmap_after);
	INIT_WORK(&t->q.work, test_work);
	t->q.wq = system_dfl_wq;
	make_pages(test, 2 * nr, true);
	r = make_reqs(test, nr, 2);
	task = kthread_create(let_go, t, "unmap_race_test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	get_task_struct(task);

	for (i = 0; i < nr; i++) {
		/* The first ones wait for sure. */
		if (i == 50)
			wake_up_process(task);
		unmap_async(&t->q, &r[i].req);
		if (i % 13 == 5 && READ_ONCE(r[i - 3].done) == 0 &&
		    unmap_cancel(&t->q, &r[i - 3].req)) {
			cancelled++;
			make_rest(&r[i - 3]);
			unmap_async(&t->q, &r[i - 3].req);
		}
		if (!(i % 100)) {
			unmap_flush(&t->q, NULL);
			flush_work(&t->q.work);
		}
	}
	kthread_stop_put(task);
	set_in_use(t, false);
	for (tries = 0; tries < 500 && atomic_read(&t->done) != nr; tries++)
		msleep(20);
	/* Neither is started again where nothing waits. */
	cancel_work_sync(&t->q.work);
	hrtimer_cancel(&t->q.timer);
	cancel_work_sync(&t->q.work);
	KUNIT_EXPECT_GT(test, cancelled, 0);
	KUNIT_EXPECT_EQ(test, 2 * nr, nr_unmapped(t));
	KUNIT_EXPECT_EQ(test, 0, not_done_once(r, nr));
	expect_empty(test);
}

static struct kunit_case unmap_cases[] = {
	KUNIT_CASE(unmap_at_once_test),
	KUNIT_CASE(unmap_one_of_many_test),
	KUNIT_CASE_SLOW(unmap_one_of_very_many_test),
	KUNIT_CASE(unmap_every_second_test),
	KUNIT_CASE(unmap_one_by_one_test),
	KUNIT_CASE(unmap_order_test),
	KUNIT_CASE(unmap_batched_test),
	KUNIT_CASE(unmap_errors_test),
	KUNIT_CASE(unmap_again_test),
	KUNIT_CASE(unmap_freed_test),
	KUNIT_CASE(unmap_flush_test),
	KUNIT_CASE(unmap_flush_aged_test),
	KUNIT_CASE_SLOW(unmap_sparse_test),
	KUNIT_CASE(unmap_cancel_test),
	KUNIT_CASE(unmap_forget_test),
	KUNIT_CASE(unmap_interval_test),
	KUNIT_CASE(unmap_put_off_test),
	KUNIT_CASE_SLOW(unmap_crowd_test),
	KUNIT_CASE_SLOW(unmap_large_crowd_test),
	KUNIT_CASE_SLOW(unmap_huge_test),
	KUNIT_CASE(unmap_young_crowd_test),
	KUNIT_CASE(unmap_starved_test),
	KUNIT_CASE_SLOW(unmap_race_test),
	{}
};

static struct kunit_suite unmap_suite = {
	.name = "xen_grant_unmap",
	.init = unmap_test_init,
	.test_cases = unmap_cases,
};

kunit_test_suite(unmap_suite);
