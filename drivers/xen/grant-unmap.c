// SPDX-License-Identifier: GPL-2.0
/*
 * Unmap grants of other domains when nobody else uses their pages.
 *
 * Idle pages are unmapped in the caller's context. A request with pages in use
 * waits for a delayed work. See Documentation/xen/grant-unmap.rst.
 */
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/workqueue.h>

#include <xen/grant_table.h>
#include <xen/xen.h>

#include <kunit/static_stub.h>

#define CREATE_TRACE_POINTS
#include <trace/events/xen_grant.h>

#define UNMAP_INTERVAL		(5 * USEC_PER_MSEC)	/* all times are in us */
#define UNMAP_INTERVAL_MAX	(100 * USEC_PER_MSEC)
#define UNMAP_PAUSE		20	/* searches, for 5 % of a CPU */
#define UNMAP_PAUSE_MAX		(400 * USEC_PER_MSEC)

static void unmap_scan(struct work_struct *work);

static DECLARE_DELAYED_WORK(unmap_work, unmap_scan);
static struct workqueue_struct *unmap_wq;

/* Protects the requests that came since the last scan began. */
static DEFINE_SPINLOCK(unmap_lock);
static LIST_HEAD(unmap_new);
static s64 unmap_not_before;

/* Held during a scan and its calls of done(). Protects the variables below. */
static DEFINE_MUTEX(unmap_scan_lock);
static LIST_HEAD(unmap_waiting);	/* oldest first */
static s64 unmap_progress;		/* time of the last new or idle page */
static s64 unmap_interval;
static unsigned long unmap_waited;
static s64 unmap_longest;
static DEFINE_PER_CPU(unsigned long, unmap_at_once);

static s64 unmap_now(void)
{
	KUNIT_STATIC_STUB_REDIRECT(unmap_now);
	return ktime_to_us(ktime_get());
}

static void unmap_arm(s64 delay)
{
	KUNIT_STATIC_STUB_REDIRECT(unmap_arm, delay);
	mod_delayed_work(unmap_wq, &unmap_work, usecs_to_jiffies(min(delay, UNMAP_PAUSE_MAX)));
}

/* Find the first run of idle pages from @first on. Return its length. */
static __always_inline unsigned int
unmap_find_run(const struct gnttab_unmap_request *req, unsigned int *first)
{
	unsigned int i, run = 0;

	for (i = *first; i < req->count; i++) {
		/* The status is positive until Xen was asked. */
		if (req->unmap_ops[i].status > 0 && page_count(req->pages[i]) <= 1)
			run++;
		else if (run)
			break;
	}
	*first = i - run;
	return run;
}

/* Unmap the grants of idle pages, with one hypercall for each run of pages. */
static __always_inline void unmap_idle(struct gnttab_unmap_request *req)
{
	unsigned int i, run;
	int ret;

	for (i = 0; (run = unmap_find_run(req, &i)); i += run) {
		ret = gnttab_unmap_refs(&req->unmap_ops[i], NULL, &req->pages[i], run);
		trace_xen_gnttab_unmap(run, ret);
		req->left -= run;
	}
}

static void unmap_scan(struct work_struct *work)
{
	struct gnttab_unmap_request *req, *next;
	unsigned int first;
	s64 start, now;
	bool progress;

	guard(mutex)(&unmap_scan_lock);
	start = unmap_now();

	scoped_guard(spinlock_irq, &unmap_lock) {
		progress = !list_empty(&unmap_new);
		list_splice_tail_init(&unmap_new, &unmap_waiting);
	}
	list_for_each_entry_safe(req, next, &unmap_waiting, list) {
		cond_resched();
		first = 0;
		if (!unmap_find_run(req, &first))
			continue;
		progress = true;
		now = unmap_now();
		unmap_idle(req);
		if (!req->left) {
			struct module *owner = req->owner;

			list_del(&req->list);
			unmap_waited++;
			unmap_longest = max(unmap_longest, now - req->since);
			trace_xen_gnttab_unmap_done(req, now - req->since);
			/* done() may free the request. */
			req->done(req);
			module_put(owner);
		}
		/* The pause depends on the time of the search alone. */
		start += unmap_now() - now;
	}

	now = unmap_now();
	if (progress)
		unmap_progress = now;
	unmap_interval = now - unmap_progress <= USEC_PER_SEC ? UNMAP_INTERVAL :
			 min(2 * unmap_interval, UNMAP_INTERVAL_MAX);

	guard(spinlock_irq)(&unmap_lock);
	unmap_not_before = now + UNMAP_PAUSE * (now - start);
	if (!list_empty(&unmap_new) || !list_empty(&unmap_waiting))
		unmap_arm(max(unmap_not_before - now, unmap_interval));
}

/**
 * gnttab_unmap_refs_async() - unmap grants when their pages are not in use
 * @req: the request
 *
 * A page is in use while it has more than one reference. This function unmaps
 * the grants of idle pages. A work item unmaps the other grants soon after
 * their pages become idle. When no grant is left, done() is called once. The
 * status of each operation then tells if Xen unmapped the grant. Until then the
 * caller must not touch @req.
 *
 * Context: Any context except NMI. Does not allocate memory. done() is called
 * in the caller's context if no page was in use, otherwise in process context
 * with unmap_scan_lock held. done() may free @req, or pass @req to this
 * function.
 */
void gnttab_unmap_refs_async(struct gnttab_unmap_request *req)
{
	req->left = req->count;
	unmap_idle(req);
	if (!req->left) {
		this_cpu_inc(unmap_at_once);
		req->done(req);
		return;
	}

	__module_get(req->owner);
	req->since = unmap_now();
	trace_xen_gnttab_unmap_queue(req);

	guard(spinlock_irqsave)(&unmap_lock);
	/* Only the first new request brings the next scan forward. */
	if (list_empty(&unmap_new))
		unmap_arm(max(unmap_not_before - req->since, UNMAP_INTERVAL));
	list_add_tail(&req->list, &unmap_new);
}
EXPORT_SYMBOL_GPL(gnttab_unmap_refs_async);

/**
 * gnttab_unmap_flush() - unmap all waiting grants whose pages are idle, now
 *
 * Context: Process context, but not in a done(), and without locks that a done()
 * takes. When this function returns, done() has returned for each request that
 * had no page in use.
 */
void gnttab_unmap_flush(void)
{
	unmap_scan(NULL);
}
EXPORT_SYMBOL_GPL(gnttab_unmap_flush);

static void unmap_sync_done(struct gnttab_unmap_request *req)
{
	complete(req->data);
}

/**
 * gnttab_unmap_refs_sync() - unmap grants, and wait until no page is in use
 * @req: the request. This function sets done, data and owner
 *
 * Context: As for gnttab_unmap_flush(). Sleeps for as long as a page is in use.
 */
void gnttab_unmap_refs_sync(struct gnttab_unmap_request *req)
{
	DECLARE_COMPLETION_ONSTACK(completion);

	might_lock(&unmap_scan_lock);
	req->done = unmap_sync_done;
	req->data = &completion;
	req->owner = NULL;
	gnttab_unmap_refs_async(req);
	wait_for_completion(&completion);
}
EXPORT_SYMBOL_GPL(gnttab_unmap_refs_sync);

static int grant_unmap_show(struct seq_file *m, void *unused)
{
	struct gnttab_unmap_request *first;
	unsigned long at_once = 0, waiting;
	int cpu;

	for_each_possible_cpu(cpu)
		at_once += per_cpu(unmap_at_once, cpu);

	guard(mutex)(&unmap_scan_lock);
	waiting = list_count_nodes(&unmap_waiting);
	scoped_guard(spinlock_irq, &unmap_lock)
		waiting += list_count_nodes(&unmap_new);
	first = list_first_entry_or_null(&unmap_waiting, typeof(*first), list);
	seq_printf(m, "waiting_requests %lu\n", waiting);
	seq_printf(m, "oldest_ms %lld\n", first ?
		   div_s64(unmap_now() - first->since, USEC_PER_MSEC) : 0);
	seq_printf(m, "requests_at_once %lu\n", at_once);
	seq_printf(m, "requests_waited %lu\n", unmap_waited);
	seq_printf(m, "longest_wait_ms %lld\n", div_s64(unmap_longest, USEC_PER_MSEC));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(grant_unmap);

static int __init unmap_init(void)
{
	if (!xen_domain())
		return -ENODEV;
	/* Write-back may wait for a request. Don't scan during a save. */
	unmap_wq = alloc_workqueue("xen-grant-unmap", WQ_UNBOUND |
				   WQ_MEM_RECLAIM | WQ_FREEZABLE, 1) ?:
		   system_freezable_wq;
	debugfs_create_file("grant_unmap", 0400, debugfs_create_dir("xen", NULL),
			    NULL, &grant_unmap_fops);
	return 0;
}
core_initcall(unmap_init);

#ifdef CONFIG_XEN_GRANT_UNMAP_KUNIT_TEST
#include "tests/grant_unmap_kunit.c"
#endif
