// SPDX-License-Identifier: GPL-2.0
/*
 * How grants are unmapped whose pages are in use. What to do is written to the
 * parameter "run"; logs a line for each sample: case, n, value, 0.
 *
 *	fast		ns of gnttab_unmap_refs_async() for n idle pages
 *	held		pages of n that are idle, and mapped still, 50 ms later
 *	time MS		ns from release to done(), of a page in use for n = MS
 *	crowd N		N requests of a page each wait from now on
 *	release		and are done
 */

#define pr_fmt(fmt) "async_unmap: " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <xen/grant_table.h>
#include <xen/page.h>

#ifdef SERIES
typedef struct gnttab_unmap_request request_t;
#else
typedef struct gntab_unmap_queue_data request_t;
#endif

#define MAX_PAGES	512
#define ROUNDS	15
#define SAMPLES	100
#define STEP_NS	23700000	/* not a multiple of a tick */

/**
 * struct sample - a request
 * @req: what the grant table's code sees
 * @op: what it unmaps, if it is one page
 * @page: this one
 * @released: when it was
 * @done: when done() was called, 0 before
 */
struct sample {
	request_t req;
	struct gnttab_unmap_grant_ref op;
	struct page *page;
	u64 released;
	u64 done;
};

static struct page *pages[MAX_PAGES], *mem[MAX_PAGES];
static int refs[MAX_PAGES];
static struct gnttab_map_grant_ref map[MAX_PAGES];
static struct gnttab_unmap_grant_ref unmap[MAX_PAGES];
static struct sample samples[SAMPLES];
static struct sample *crowd;
static unsigned int crowd_nr;
static atomic_t waiting;

#ifdef SERIES
static void sample_done(request_t *req)
#else
static void sample_done(int result, request_t *req)
#endif
{
	struct sample *s = req->data;

	WRITE_ONCE(s->done, ktime_get_ns());
	atomic_dec(&waiting);
}

static void start(struct sample *s, struct gnttab_unmap_grant_ref *ops,
		  struct page **its_pages, unsigned int nr)
{
	memset(&s->req, 0, sizeof(s->req));
	s->req.unmap_ops = ops;
	s->req.pages = its_pages;
	s->req.count = nr;
	s->req.done = sample_done;
	s->req.data = s;
	s->released = 0;
	s->done = 0;
	atomic_inc(&waiting);
	gnttab_unmap_refs_async(&s->req);
}

static void wait(void)
{
	while (atomic_read(&waiting) > crowd_nr)
		msleep(20);
}

/* Maps @nr pages of this domain in others. */
static int map_pages(unsigned int nr)
{
	unsigned int i;

	if (gnttab_alloc_pages(nr, pages))
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		mem[i] = alloc_page(GFP_KERNEL);
		refs[i] = gnttab_grant_foreign_access(0, xen_page_to_gfn(mem[i]),
						      0);
		gnttab_set_map_op(&map[i], (unsigned long)page_address(pages[i]),
				  GNTMAP_host_map, refs[i], 0);
	}
	if (gnttab_map_refs(map, NULL, pages, nr))
		return -EIO;
	for (i = 0; i < nr; i++) {
		if (map[i].status)
			return -EIO;
		gnttab_set_unmap_op(&unmap[i],
				    (unsigned long)page_address(pages[i]),
				    GNTMAP_host_map, map[i].handle);
		unmap[i].status = 1;	/* the base does not do that */
	}
	return 0;
}

static void free_pages_of(unsigned int nr)
{
	unsigned int i;

	gnttab_free_pages(nr, pages);
	for (i = 0; i < nr; i++)
		gnttab_end_foreign_access(refs[i], mem[i]);
}

static int run_fast(void)
{
	static const unsigned int counts[] = { 1, 32, 512 };
	unsigned int i, round;
	int ret;
	u64 ns;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		for (round = 0; round < ROUNDS; round++) {
			ret = map_pages(counts[i]);
			if (ret)
				return ret;
			ns = ktime_get_ns();
			start(&samples[0], unmap, pages, counts[i]);
			ns = ktime_get_ns() - ns;
			wait();
			pr_info("fast-path %u %llu 0\n", counts[i], ns);
			free_pages_of(counts[i]);
		}
	}
	return 0;
}

static int run_held(void)
{
	unsigned int i, round, held;
	int ret;

	for (round = 0; round < ROUNDS; round++) {
		ret = map_pages(MAX_PAGES);
		if (ret)
			return ret;
		get_page(pages[round * 36]);
		start(&samples[0], unmap, pages, MAX_PAGES);
		msleep(50);
		for (held = 0, i = 0; i < MAX_PAGES; i++)
			held += i != round * 36 && READ_ONCE(unmap[i].status) > 0;
		pr_info("held-back %u %u 0\n", MAX_PAGES, held);
		put_page(pages[round * 36]);
		wait();
		free_pages_of(MAX_PAGES);
	}
	return 0;
}

static void sleep_until(u64 when)
{
	s64 left = when - ktime_get_ns();

	if (left > 0)
		usleep_range(left / 1000, left / 1000 + 50);
}

static int run_time(unsigned int ms)
{
	u64 begin, busy = ms * 1000000ull;
	unsigned int i = 0, j = 0;
	int ret;

	ret = map_pages(SAMPLES);
	if (ret)
		return ret;
	begin = ktime_get_ns();
	while (j < SAMPLES) {
		u64 next = begin + j * (u64)STEP_NS + busy;

		if (i < SAMPLES && begin + i * (u64)STEP_NS < next) {
			sleep_until(begin + i * (u64)STEP_NS);
			get_page(pages[i]);
			start(&samples[i], &unmap[i], &pages[i], 1);
			i++;
			continue;
		}
		sleep_until(next);
		samples[j].released = ktime_get_ns();
		put_page(pages[j]);
		j++;
	}
	wait();
	for (i = 0; i < SAMPLES; i++)
		pr_info("%s %u %llu 0\n", crowd_nr ? "crowd" : "release-to-unmap",
			crowd_nr ? : ms, samples[i].done - samples[i].released);
	free_pages_of(SAMPLES);
	return 0;
}

static int run_crowd(unsigned int nr)
{
	struct sample *s;

	if (crowd || !nr)
		return -EINVAL;
	crowd = kvcalloc(nr, sizeof(*crowd), GFP_KERNEL);
	if (!crowd)
		return -ENOMEM;
	for (s = crowd; s < crowd + nr; s++) {
		/* In use, and never mapped. */
		s->page = alloc_page(GFP_KERNEL);
		if (!s->page)
			return -ENOMEM;
		get_page(s->page);
		gnttab_set_unmap_op(&s->op, (unsigned long)page_address(s->page),
				    GNTMAP_host_map, INVALID_GRANT_HANDLE);
		start(s, &s->op, &s->page, 1);
		crowd_nr++;
		if (!(crowd_nr % 1024))
			cond_resched();
	}
	return 0;
}

static void run_release(void)
{
	unsigned int i, nr = crowd_nr;

	for (i = 0; i < nr; i++)
		put_page(crowd[i].page);
	crowd_nr = 0;
	wait();
	for (i = 0; i < nr; i++)
		__free_page(crowd[i].page);
	kvfree(crowd);
	crowd = NULL;
}

static int run_set(const char *val, const struct kernel_param *kp)
{
	unsigned int n;

	if (sysfs_streq(val, "fast"))
		return run_fast();
	if (sysfs_streq(val, "held"))
		return run_held();
	if (sysfs_streq(val, "release")) {
		run_release();
		return 0;
	}
	if (sscanf(val, "time %u", &n) == 1)
		return run_time(n);
	if (sscanf(val, "crowd %u", &n) == 1)
		return run_crowd(n);
	return -EINVAL;
}

static const struct kernel_param_ops run_ops = { .set = run_set };
module_param_cb(run, &run_ops, NULL, 0200);
MODULE_PARM_DESC(run, "what to do");

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("How grants are unmapped whose pages are in use");
