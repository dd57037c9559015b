// SPDX-License-Identifier: GPL-2.0
/*
 * Unmapping grants of other domains when their pages are not in use any more.
 *
 * What can be unmapped is unmapped by who asks for it. Pages that somebody else
 * has a reference to, a disk's driver or a socket say, wait in a queue, which
 * is looked at every few milliseconds as long as something is in it. What a look
 * costs is bounded by UNMAP_PAGES_PER_MS: where there are more pages, they take
 * turns, those that were handed over lately among themselves.
 *
 * See Documentation/xen/grant-unmap.rst.
 */

#define pr_fmt(fmt) "xen:" KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/ratelimit.h>
#include <linux/reboot.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include <xen/foreign_page.h>
#include <xen/grant_table.h>
#include <xen/xen.h>

#include <kunit/static_stub.h>

#define CREATE_TRACE_POINTS
#include <trace/events/xen_grant.h>

/* What a look may cost: pages that are looked at. */
#define UNMAP_PAGES_PER_MS	64
/* As many operations that don't wait any more cost as much as one that does. */
#define UNMAP_SKIPS_PER_PAGE	16
/* Grants of several requests that are unmapped with one hypercall. */
#define UNMAP_BATCH		64
/* Hypercalls for a request that is handed over while some pages are in use. */
#define UNMAP_RUNS		8
/* Between looks, while a request is not old. */
#define UNMAP_YOUNG_MS		4
/* A request is new, then young, then old. */
#define UNMAP_NEW_UNTIL_MS	64
#define UNMAP_YOUNG_UNTIL_MS	1000
/* Requests that only get older while the queue is locked. */
#define UNMAP_MAX_MOVES		1024
/* Buckets of the latency: less than 1, 2, 4 ... milliseconds, and any. */
#define UNMAP_LATENCIES		20

static unsigned int retry_ms = 10;
module_param(retry_ms, uint, 0644);
MODULE_PARM_DESC(retry_ms,
		 "Milliseconds between two looks at pages that are in use for more than a second");

static unsigned int warn_seconds = 60;
module_param(warn_seconds, uint, 0644);
MODULE_PARM_DESC(warn_seconds,
		 "Seconds until it is told that a page is still in use (0: never)");

enum unmap_age { UNMAP_NEW, UNMAP_YOUNG, UNMAP_OLD, UNMAP_AGES };

/**
 * struct unmap_batch - grants to unmap with one hypercall
 * @ops: copies of the requests' operations, which come to lie side by side
 * @pages: their pages
 * @orig: the operations that they are copies of
 * @req: the requests that these belong to
 * @nr: number of them
 */
struct unmap_batch {
	struct gnttab_unmap_grant_ref ops[UNMAP_BATCH];
	struct page *pages[UNMAP_BATCH];
	struct gnttab_unmap_grant_ref *orig[UNMAP_BATCH];
	struct gnttab_unmap_request *req[UNMAP_BATCH];
	unsigned int nr;
};

/**
 * struct unmap_queue - requests that wait for pages in use
 * @lock: protects @waiting, @turn, @nr, @pages, @armed, @due, and what a request
 *	has to do with them; with interrupts off, and never held over done()
 * @waiting: all requests, the oldest first
 * @turn: the same requests but for those that are being looked at, by age and
 *	in the order in which it is their turn
 * @nr: number of requests of each age
 * @pages: number of pages that wait
 * @wq: where @work runs
 * @timer: runs while something is in it
 * @armed: it does
 * @due: until then, in milliseconds
 * @work: looks at the queue, when the timer fires or for a flush
 * @look_lock: held over hypercalls, not over done(); none is made while this
 *	domain is being saved
 * @batch: only used by @work
 * @flush_lock: one flush at a time
 * @flush: the next look is at all requests of @flush_owner
 * @flush_owner: whose, or all if %NULL
 * @flush_left: number of them that wait still
 * @done: requests that have waited, and whose done() was called
 * @done_pages: their pages that were unmapped after waiting
 * @looks: how often the queue was looked at
 * @latency: of the requests in @done, in powers of two of a millisecond
 */
struct unmap_queue {
	spinlock_t lock;		/* innermost but for the timer's */
	struct list_head waiting;
	struct list_head turn[UNMAP_AGES];
	unsigned int nr[UNMAP_AGES];
	unsigned long pages;

	struct workqueue_struct *wq;
	struct hrtimer timer;
	bool armed;
	unsigned long due;
	struct work_struct work;
	struct mutex look_lock;		/* a look is under way */
	struct unmap_batch batch;

	struct mutex flush_lock;	/* outside of look_lock */
	bool flush;
	const void *flush_owner;
	unsigned int flush_left;

	unsigned long done;
	unsigned long done_pages;
	unsigned long looks;
	unsigned long latency[UNMAP_LATENCIES];
};

static struct unmap_queue unmap_queue;

/* Requests that did not have to wait, and their pages. */
static DEFINE_PER_CPU(unsigned long, unmap_at_once);
static DEFINE_PER_CPU(unsigned long, unmap_pages_at_once);

/*
 * Held by who calls done() from the queue, and by who waits for that: whoever
 * waits with something held that a done() needs is told.
 */
#ifdef CONFIG_LOCKDEP
static struct lockdep_map unmap_done_map =
	STATIC_LOCKDEP_MAP_INIT("gnttab_unmap_done", &unmap_done_map);
#endif

/* In milliseconds. */
static unsigned long unmap_now(void)
{
	KUNIT_STATIC_STUB_REDIRECT(unmap_now);
	return ktime_to_ms(ktime_get());
}

static __always_inline bool page_in_use(struct page *page)
{
	KUNIT_STATIC_STUB_REDIRECT(page_in_use, page);
	return page_count(page) > 1;
}

static __always_inline int unmap_ops(struct gnttab_unmap_grant_ref *ops,
				     struct page **pages, unsigned int nr)
{
	KUNIT_STATIC_STUB_REDIRECT(unmap_ops, ops, pages, nr);
	return gnttab_unmap_refs(ops, NULL, pages, nr);
}

static void unmap_after(struct unmap_queue *q, unsigned int ms)
{
	KUNIT_STATIC_STUB_REDIRECT(unmap_after, q, ms);
	if (ms)
		hrtimer_start(&q->timer, ms_to_ktime(ms), HRTIMER_MODE_REL);
	else
		queue_work(q->wq, &q->work);
}

/* The next look is @ms from now, or earlier. */
static void unmap_arm(struct unmap_queue *q, unsigned int ms)
{
	unsigned long due = unmap_now() + ms;

	lockdep_assert_held(&q->lock);
	if (ms) {
		if (q->armed && !time_after(q->due, due))
			return;
		q->armed = true;
		q->due = due;
	}
	unmap_after(q, ms);
}

/* An operation waits as long as nobody has asked Xen for it. */
static bool op_waits(const struct gnttab_unmap_grant_ref *op)
{
	return op->status > 0;
}

/* None of the operations waits after it, whatever the hypercall did. */
static void ops_tried(struct gnttab_unmap_grant_ref *ops, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (op_waits(&ops[i]))
			ops[i].status = GNTST_general_error;
	}
}

static void batch_unmap(struct unmap_queue *q)
{
	struct unmap_batch *b = &q->batch;
	unsigned int i, untried = 0;
	int ret;

	if (!b->nr)
		return;

	ret = unmap_ops(b->ops, b->pages, b->nr);
	trace_xen_gnttab_unmap(b->nr, ret);
	for (i = 0; i < b->nr; i++)
		untried += op_waits(&b->ops[i]);
	for (i = 0; i < b->nr; i++) {
		/* It is theirs that Xen has not come to, or anybody's. */
		if (!b->req[i]->result && (!untried || op_waits(&b->ops[i])))
			b->req[i]->result = ret;
		ops_tried(&b->ops[i], 1);
		b->orig[i]->status = b->ops[i].status;
		b->req[i]->left--;
	}
	q->done_pages += b->nr;
	b->nr = 0;
	cond_resched();
}

static void batch_add(struct unmap_queue *q, struct gnttab_unmap_request *req,
		      unsigned int i)
{
	struct unmap_batch *b = &q->batch;

	b->ops[b->nr] = req->unmap_ops[i];
	b->pages[b->nr] = req->pages[i];
	b->orig[b->nr] = &req->unmap_ops[i];
	b->req[b->nr] = req;
	if (++b->nr == UNMAP_BATCH)
		batch_unmap(q);
}

static void warn_of(struct gnttab_unmap_request *req, struct page *page,
		    unsigned long now)
{
	static DEFINE_RATELIMIT_STATE(rs, 60 * HZ, 5);
	unsigned int seconds = READ_ONCE(warn_seconds);
	const struct xen_page_foreign *foreign;

	if (req->warned || !seconds || now - req->since < seconds * MSEC_PER_SEC)
		return;
	foreign = xen_page_foreign(page);
	if (!foreign || !__ratelimit(&rs))
		return;
	req->warned = true;
	pr_warn("grant %u of domain %u waits for %lu s to be unmapped: %d others use its page (module %s)\n",
		foreign->gref, foreign->domid,
		(now - req->since) / MSEC_PER_SEC,
		page_count(page) - 1, module_name(req->module));
}

/*
 * Looks at @budget pages of a request, beginning with the one that the last
 * look ended before. Returns how many of these it did not need.
 */
static unsigned int look_at(struct unmap_queue *q,
			    struct gnttab_unmap_request *req,
			    unsigned int budget, unsigned long now)
{
	unsigned int n, i, skipped = 0;

	/* Most that were in use together get idle together. */
	for (; req->first < req->last; req->first++, skipped++)
		if (op_waits(&req->unmap_ops[req->first]))
			break;
	for (; req->first < req->last; req->last--, skipped++)
		if (op_waits(&req->unmap_ops[req->last]))
			break;

	i = clamp(req->next, req->first, req->last);
	for (n = req->last - req->first + 1; n && budget; n--) {
		if (!op_waits(&req->unmap_ops[i])) {
			skipped++;
		} else {
			if (page_in_use(req->pages[i]))
				warn_of(req, req->pages[i], now);
			else
				batch_add(q, req, i);
			budget--;
		}
		if (skipped >= UNMAP_SKIPS_PER_PAGE && budget) {
			skipped -= UNMAP_SKIPS_PER_PAGE;
			budget--;
		}
		i = i == req->last ? req->first : i + 1;
	}
	req->next = i;
	return budget - min(budget, skipped / UNMAP_SKIPS_PER_PAGE);
}

/* The grants of a domain that was restored are not those that were mapped. */
static void forget(struct gnttab_unmap_request *req)
{
	unsigned int i;

	for (i = 0; i < req->count; i++) {
		if (op_waits(&req->unmap_ops[i]))
			req->unmap_ops[i].status = GNTST_bad_handle;
	}
	req->left = 0;
	if (!req->result)
		req->result = -ESTALE;
}

static void count_latency(struct unmap_queue *q, unsigned long ms)
{
	q->latency[min(ms ? ilog2(ms) + 1 : 0, UNMAP_LATENCIES - 1)]++;
	q->done++;
}

/* The request is the caller's, or gone, when done() is called. */
static void finish(struct unmap_queue *q, struct gnttab_unmap_request *req,
		   unsigned long now)
{
	struct module *module = req->module;

	count_latency(q, now - req->since);
	trace_xen_gnttab_unmap_done(req, now - req->since);
	lock_map_acquire(&unmap_done_map);
	req->done(req->result, req);
	lock_map_release(&unmap_done_map);
	module_put(module);
}

static enum unmap_age age_of(const struct gnttab_unmap_request *req,
			     unsigned long now)
{
	if (now - req->since < UNMAP_NEW_UNTIL_MS)
		return UNMAP_NEW;
	return now - req->since < UNMAP_YOUNG_UNTIL_MS ? UNMAP_YOUNG : UNMAP_OLD;
}

static void put_in_turn(struct unmap_queue *q, struct gnttab_unmap_request *req,
			unsigned long now)
{
	q->nr[req->age]--;
	req->age = age_of(req, now);
	q->nr[req->age]++;
	list_move_tail(&req->turn, &q->turn[req->age]);
}

/* What look_at() takes of its budget at most. */
static unsigned int cost_of(const struct gnttab_unmap_request *req)
{
	unsigned int nr = req->last - req->first + 1;

	return req->waits + (nr - req->waits) / UNMAP_SKIPS_PER_PAGE;
}

/*
 * Moves the next requests of an age to @list, of which the last one may cost more
 * than is left of @budget; those that have grown older come to those of their
 * age, but not in a flush, which is past these. Returns the number of both.
 */
static unsigned int take(struct unmap_queue *q, enum unmap_age age,
			 unsigned int max, unsigned int budget, bool flush,
			 struct list_head *list)
{
	struct gnttab_unmap_request *req;
	unsigned int nr = 0, cost = 0, moved = 0;
	unsigned long now = unmap_now();

	lockdep_assert_held(&q->lock);
	while (nr < min(max, UNMAP_BATCH) && nr + moved < max &&
	       cost < budget && moved < UNMAP_MAX_MOVES &&
	       !list_empty(&q->turn[age])) {
		req = list_first_entry(&q->turn[age],
				       struct gnttab_unmap_request, turn);
		if (!flush && age_of(req, now) != age) {
			put_in_turn(q, req, now);
			moved++;
			continue;
		}
		list_move_tail(&req->turn, list);
		req->looked_at = true;
		cost += cost_of(req);
		nr++;
	}
	return nr + moved;
}

/* After a look: those that are done stay in the list, the others wait on. */
static void put_back(struct unmap_queue *q, struct list_head *list,
		     bool flush, unsigned long now)
{
	struct gnttab_unmap_request *req, *next;

	lockdep_assert_held(&q->lock);
	list_for_each_entry_safe(req, next, list, turn) {
		q->pages -= req->waits - req->left;
		req->waits = req->left;
		if (!req->left) {
			q->nr[req->age]--;
			list_del(&req->waiting);
			continue;
		}
		if (flush && (!q->flush_owner || req->owner == q->flush_owner))
			q->flush_left++;
		req->looked_at = false;
		put_in_turn(q, req, now);
	}
}

/*
 * Looks at requests of an age, until each had its turn or @budget pages were
 * looked at. Returns how many of these it did not need.
 */
static unsigned int look_at_age(struct unmap_queue *q, enum unmap_age age,
				unsigned int budget, bool flush)
{
	struct gnttab_unmap_request *req, *next;
	unsigned int nr, n, before;
	unsigned long now;
	LIST_HEAD(list);

	spin_lock_irq(&q->lock);
	nr = q->nr[age];
	spin_unlock_irq(&q->lock);

	for (; nr && budget; nr -= n) {
		mutex_lock(&q->look_lock);
		spin_lock_irq(&q->lock);
		n = take(q, age, nr, budget, flush, &list);
		spin_unlock_irq(&q->lock);

		/* Not before one of them was queued. */
		now = unmap_now();
		before = budget;
		list_for_each_entry(req, &list, turn) {
			if (req->lost)
				forget(req);
			else if (!flush || !q->flush_owner ||
				 req->owner == q->flush_owner)
				budget = look_at(q, req, budget, now);
		}
		batch_unmap(q);
		trace_xen_gnttab_unmap_retry(n, before - budget);

		spin_lock_irq(&q->lock);
		put_back(q, &list, flush, now);
		spin_unlock_irq(&q->lock);
		mutex_unlock(&q->look_lock);

		list_for_each_entry_safe(req, next, &list, turn) {
			list_del(&req->turn);
			finish(q, req, now);
		}
		if (!n)
			break;
		cond_resched();
	}
	return budget;
}

/* Milliseconds until the next look; the time of a look does not count. */
static unsigned int unmap_interval(const struct unmap_queue *q)
{
	unsigned int max = clamp(READ_ONCE(retry_ms), 1U, 1000U);

	lockdep_assert_held(&q->lock);
	return q->nr[UNMAP_NEW] || q->nr[UNMAP_YOUNG] ?
	       min(UNMAP_YOUNG_MS, max) : max;
}

/*
 * The new come first, so that a request that was just made does not wait for
 * those that may wait for hours; but half of the look is left for these.
 */
static void unmap_look(struct unmap_queue *q)
{
	unsigned long unmapped = q->done_pages;
	unsigned int budget, left;
	bool flush;

	spin_lock_irq(&q->lock);
	flush = q->flush;
	q->flush = false;
	budget = UNMAP_PAGES_PER_MS * unmap_interval(q);
	spin_unlock_irq(&q->lock);

	if (flush) {
		q->flush_left = 0;
		look_at_age(q, UNMAP_OLD, UINT_MAX, true);
		look_at_age(q, UNMAP_YOUNG, UINT_MAX, true);
		look_at_age(q, UNMAP_NEW, UINT_MAX, true);
	} else {
		left = look_at_age(q, UNMAP_NEW, budget / 2, false);
		left = look_at_age(q, UNMAP_YOUNG, budget / 4 + left, false);
		look_at_age(q, UNMAP_OLD, budget / 4 + left, false);
	}
	unmapped = q->done_pages - unmapped;

	spin_lock_irq(&q->lock);
	q->looks++;
	/* Where a crowd gets free there is no need to wait. */
	if (!list_empty(&q->waiting))
		unmap_arm(q, unmapped < budget / 4 ? unmap_interval(q) : 0);
	spin_unlock_irq(&q->lock);
}

static void unmap_work(struct work_struct *work)
{
	unmap_look(container_of(work, struct unmap_queue, work));
}

static enum hrtimer_restart unmap_timer(struct hrtimer *timer)
{
	struct unmap_queue *q = container_of(timer, struct unmap_queue, timer);

	scoped_guard(spinlock_irqsave, &q->lock)
		q->armed = false;
	queue_work(q->wq, &q->work);
	return HRTIMER_NORESTART;
}

/*
 * Unmaps those that are idle, in runs of them, unless there are many of these.
 * Returns the number of runs; the others wait.
 */
static unsigned int unmap_idle(struct gnttab_unmap_request *req)
{
	unsigned int i, run, runs = 0;
	int ret;

	req->result = 0;
	req->left = 0;
	for (i = 0; i < req->count; i += run) {
		for (run = 0; runs < UNMAP_RUNS && i + run < req->count; run++) {
			if (!op_waits(&req->unmap_ops[i + run]) ||
			    page_in_use(req->pages[i + run]))
				break;
		}
		if (!run) {
			run = 1;
			if (!op_waits(&req->unmap_ops[i]))
				continue;
			if (!req->left++)
				req->first = i;
			req->last = i;
			continue;
		}
		runs++;
		ret = unmap_ops(&req->unmap_ops[i], &req->pages[i], run);
		ops_tried(&req->unmap_ops[i], run);
		trace_xen_gnttab_unmap(run, ret);
		if (!req->result)
			req->result = ret;
	}
	return runs;
}

static void unmap_wait(struct unmap_queue *q, struct gnttab_unmap_request *req,
		       bool at_once)
{
	__module_get(req->module);
	req->next = req->first;
	req->waits = req->left;
	req->since = unmap_now();
	req->age = UNMAP_NEW;
	req->looked_at = false;
	req->lost = false;
	req->warned = false;
	trace_xen_gnttab_unmap_queue(req);

	guard(spinlock_irqsave)(&q->lock);
	list_add_tail(&req->waiting, &q->waiting);
	list_add_tail(&req->turn, &q->turn[UNMAP_NEW]);
	q->nr[UNMAP_NEW]++;
	q->pages += req->left;
	unmap_arm(q, at_once ? 0 : unmap_interval(q));
}

static noinline void unmap_busy(struct unmap_queue *q,
				struct gnttab_unmap_request *req)
{
	unsigned int runs = unmap_idle(req);

	this_cpu_add(unmap_pages_at_once, req->count - req->left);
	if (req->left) {
		unmap_wait(q, req, runs == UNMAP_RUNS);
		return;
	}
	this_cpu_inc(unmap_at_once);
	req->done(req->result, req);
}

/* What does not have to wait is not to pay for what does. */
static __always_inline void unmap_async(struct unmap_queue *q,
					struct gnttab_unmap_request *req)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < req->count; i++) {
		if (page_in_use(req->pages[i])) {
			unmap_busy(q, req);
			return;
		}
	}
	if (i)
		ret = unmap_ops(req->unmap_ops, req->pages, i);
	if (unlikely(ret))
		ops_tried(req->unmap_ops, i);
	this_cpu_inc(unmap_at_once);
	this_cpu_add(unmap_pages_at_once, i);
	req->done(ret, req);
}

/**
 * gnttab_unmap_refs_async() - unmap grants when their pages are not in use
 * @req: what to unmap, and whom to tell
 *
 * A page is in use when somebody but its owner has a reference to it. If none
 * is, the grants are unmapped and done() is called before this returns.
 * Otherwise those whose pages are idle are unmapped before this returns, and
 * the others from a workqueue, each within some milliseconds of getting idle;
 * done() comes after the last. As long as that takes, the request and what it
 * points to must stay as they are, and its module can't be unloaded.
 *
 * The result that done() gets is the first error of gnttab_unmap_refs(), or 0;
 * grants of other requests may have been unmapped with that call. Whether a
 * grant was unmapped is in the status of its operation, which is not positive
 * then.
 *
 * Context: Any context but NMI. done() is called in the caller's context, with
 * the locks that the caller holds, or in process context without any. In either
 * case it may free @req, and may ask for something else to be unmapped, with
 * @req again if it likes. Does not allocate.
 */
void gnttab_unmap_refs_async(struct gnttab_unmap_request *req)
{
	unmap_async(&unmap_queue, req);
}
EXPORT_SYMBOL_GPL(gnttab_unmap_refs_async);

static void unmap_flush(struct unmap_queue *q, const void *owner)
{
	guard(spinlock_irq)(&q->lock);
	q->flush = true;
	q->flush_owner = owner;
	unmap_arm(q, 0);
}

/**
 * gnttab_unmap_flush() - unmap at once what waits and is idle
 * @owner: of the requests that are looked at, or %NULL for all
 *
 * When this returns, done() has returned for each request of @owner whose pages
 * were idle when it was called. Pages in use can't be taken away from who uses
 * them: the others wait on, and who has to give something up before they are
 * done must come back, or wait for their done().
 *
 * Context: Process context, not in done(). Sleeps for as long as done() does.
 * Return: number of requests of @owner that wait still
 */
unsigned int gnttab_unmap_flush(const void *owner)
{
	struct unmap_queue *q = &unmap_queue;

	might_sleep();
	lock_map_acquire(&unmap_done_map);
	lock_map_release(&unmap_done_map);

	if (!q->wq)
		return 0;
	guard(mutex)(&q->flush_lock);
	unmap_flush(q, owner);
	flush_work(&q->work);
	return q->flush_left;
}
EXPORT_SYMBOL_GPL(gnttab_unmap_flush);

/* Takes a request back, unless it is being looked at, or done. */
static bool unmap_cancel(struct unmap_queue *q, struct gnttab_unmap_request *req)
{
	guard(spinlock_irqsave)(&q->lock);
	if (req->looked_at)
		return false;
	list_del(&req->waiting);
	list_del(&req->turn);
	q->nr[req->age]--;
	q->pages -= req->waits;
	module_put(req->module);
	return true;
}

/**
 * struct unmap_sync - who waits for a request
 * @done: the request is done
 * @result: with this result
 */
struct unmap_sync {
	struct completion done;
	int result;
};

static void unmap_sync_done(int result, struct gnttab_unmap_request *req)
{
	struct unmap_sync *sync = req->data;

	sync->result = result;
	complete(&sync->done);
}

static int unmap_sync(struct unmap_queue *q, struct gnttab_unmap_request *req)
{
	struct unmap_sync sync = {
		.done = COMPLETION_INITIALIZER_ONSTACK(sync.done),
	};

	req->data = &sync;
	req->done = unmap_sync_done;
	unmap_async(q, req);
	if (!wait_for_completion_killable(&sync.done))
		return sync.result;

	while (!unmap_cancel(q, req)) {
		if (wait_for_completion_timeout(&sync.done, 1))
			return sync.result;
	}
	return -EINTR;
}

/**
 * gnttab_unmap_refs_sync() - unmap grants, and wait until they are
 * @req: what to unmap; done() and data are not the caller's
 *
 * Context: Process context, not in done(). Sleeps until no page is in use, or
 * until the caller is killed, which kernel threads are not.
 * Return: 0, or the first error of gnttab_unmap_refs(), and no operation waits;
 * -EINTR if it was killed: operations whose status is positive were not tried, and
 * what they map is mapped still. Another request can be made for these
 */
int gnttab_unmap_refs_sync(struct gnttab_unmap_request *req)
{
	might_sleep();
	lock_map_acquire(&unmap_done_map);
	lock_map_release(&unmap_done_map);

	return unmap_sync(&unmap_queue, req);
}
EXPORT_SYMBOL_GPL(gnttab_unmap_refs_sync);

/**
 * gnttab_unmap_suspend() - unmap nothing that waits from now on
 *
 * Right before this domain is saved, or migrated.
 *
 * Context: Process context. Until gnttab_unmap_resume(), which the same thread is
 * to call, what waits is left alone. Waits for hypercalls, not for done().
 */
void gnttab_unmap_suspend(void)
{
	mutex_lock(&unmap_queue.look_lock);
}

/**
 * gnttab_unmap_forget() - nothing that waits is mapped any more
 *
 * This domain was saved and is restored. The handles of what waits, if not
 * unknown to Xen, are those of other grants.
 *
 * Context: Between gnttab_unmap_suspend() and gnttab_unmap_resume(), before any
 * grant is mapped; interrupts may be off.
 */
void gnttab_unmap_forget(void)
{
	struct unmap_queue *q = &unmap_queue;
	struct gnttab_unmap_request *req;

	guard(spinlock_irqsave)(&q->lock);
	list_for_each_entry(req, &q->waiting, waiting)
		req->lost = true;
}

/**
 * gnttab_unmap_resume() - end what gnttab_unmap_suspend() has begun
 *
 * Context: Process context.
 */
void gnttab_unmap_resume(void)
{
	mutex_unlock(&unmap_queue.look_lock);
}

#ifdef CONFIG_DEBUG_FS
static int grant_unmap_show(struct seq_file *m, void *unused)
{
	unsigned long requests = 0, pages = 0, since, waiting, nr, bucket;
	struct unmap_queue *q = &unmap_queue;
	struct gnttab_unmap_request *first;
	unsigned int i;
	int cpu;

	for_each_possible_cpu(cpu) {
		requests += per_cpu(unmap_at_once, cpu);
		pages += per_cpu(unmap_pages_at_once, cpu);
	}
	spin_lock_irq(&q->lock);
	first = list_first_entry_or_null(&q->waiting,
					 struct gnttab_unmap_request, waiting);
	since = first ? unmap_now() - first->since : 0;
	waiting = q->nr[UNMAP_NEW] + q->nr[UNMAP_YOUNG] + q->nr[UNMAP_OLD];
	nr = q->pages;
	spin_unlock_irq(&q->lock);

	seq_printf(m, "waiting_requests %lu\n", waiting);
	seq_printf(m, "waiting_pages %lu\n", nr);
	seq_printf(m, "oldest_ms %lu\n", since);
	seq_printf(m, "requests_at_once %lu\n", requests);
	seq_printf(m, "pages_at_once %lu\n", pages);
	seq_printf(m, "requests_waited %lu\n", READ_ONCE(q->done));
	seq_printf(m, "pages_waited %lu\n", READ_ONCE(q->done_pages));
	seq_printf(m, "looks %lu\n", READ_ONCE(q->looks));
	for (i = 0; i < UNMAP_LATENCIES - 1; i++) {
		bucket = READ_ONCE(q->latency[i]);
		if (bucket)
			seq_printf(m, "waited_less_than_ms_%lu %lu\n", BIT(i),
				   bucket);
	}
	seq_printf(m, "waited_longer %lu\n", READ_ONCE(q->latency[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(grant_unmap);

/* The directory, which architectures may have made before. */
struct dentry * __init gnttab_debugfs_dir(void)
{
	static struct dentry *dir __initdata;

	if (!dir) {
		dir = debugfs_lookup("xen", NULL);
		if (dir)
			dput(dir);	/* nobody removes it */
		else
			dir = debugfs_create_dir("xen", NULL);
	}
	return dir;
}

static int __init grant_unmap_debugfs(void)
{
	if (!xen_domain())
		return -ENODEV;
	debugfs_create_file("grant_unmap", 0400, gnttab_debugfs_dir(), NULL,
			    &grant_unmap_fops);
	return 0;
}
late_initcall(grant_unmap_debugfs);
#endif

/* What is idle goes back to its owner before another kernel takes over. */
static int unmap_reboot(struct notifier_block *nb, unsigned long action,
			void *data)
{
	unsigned int nr = gnttab_unmap_flush(NULL);

	if (nr)
		pr_info("%u requests wait for pages that are in use\n", nr);
	return NOTIFY_DONE;
}

static struct notifier_block unmap_reboot_nb = {
	.notifier_call = unmap_reboot,
};

static void unmap_queue_init(struct unmap_queue *q, work_func_t func)
{
	spin_lock_init(&q->lock);
	INIT_LIST_HEAD(&q->waiting);
	INIT_LIST_HEAD(&q->turn[UNMAP_NEW]);
	INIT_LIST_HEAD(&q->turn[UNMAP_YOUNG]);
	INIT_LIST_HEAD(&q->turn[UNMAP_OLD]);
	mutex_init(&q->flush_lock);
	mutex_init(&q->look_lock);
	INIT_WORK(&q->work, func);
	hrtimer_setup(&q->timer, unmap_timer, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL);
}

static int __init unmap_init(void)
{
	struct unmap_queue *q = &unmap_queue;

	if (!xen_domain())
		return -ENODEV;
	unmap_queue_init(q, unmap_work);
	/* A request may be all that a write-back waits for. */
	q->wq = alloc_workqueue("xen-grant-unmap", WQ_UNBOUND | WQ_MEM_RECLAIM,
				1);
	if (!q->wq)
		q->wq = system_dfl_wq;
	return register_reboot_notifier(&unmap_reboot_nb);
}
core_initcall(unmap_init);

#ifdef CONFIG_XEN_GRANT_UNMAP_KUNIT_TEST
#include "tests/grant_unmap_kunit.c"
#endif
