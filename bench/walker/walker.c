// SPDX-License-Identifier: GPL-2.0
/*
 * What apply_to_page_range() and, where there is one, the batch variant cost to
 * look at the PTEs of a mapping. Prints a line for each sample: case, number of
 * pages, nanoseconds, callbacks.
 */

#define pr_fmt(fmt) "walker: " fmt

#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sched.h>

#define MAX	8192
#define ROUNDS	15
#define REPEAT	16	/* walks in a sample: to read the clock costs as much */

static unsigned long callbacks;
static unsigned int idx;
static pte_t *ptes[MAX];

/* They do what those of arch_gnttab_valloc() do: note where the PTEs are. */
static int each(pte_t *pte, unsigned long addr, void *data)
{
	callbacks++;
	WRITE_ONCE(ptes[idx++], pte);
	return 0;
}

#ifdef BATCH
static int batch(pte_t *pte, unsigned long addr, unsigned int nr, void *data)
{
	unsigned int i;

	callbacks++;
	for (i = 0; i < nr; i++)
		WRITE_ONCE(ptes[idx++], pte + i);
	return 0;
}
#endif

static int walk(unsigned long addr, unsigned int nr, bool batched)
{
	u64 start = ktime_get_ns();
	unsigned int i;
	int ret = 0;

	callbacks = 0;
	for (i = 0; i < REPEAT; i++) {
		idx = 0;
#ifdef BATCH
		if (batched) {
			ret |= apply_to_page_range_batch(current->mm, addr,
							 nr * PAGE_SIZE, batch,
							 NULL);
			continue;
		}
#endif
		ret |= apply_to_page_range(current->mm, addr, nr * PAGE_SIZE,
					   each, NULL);
	}
	pr_info("%s %u %llu %lu\n", batched ? "batch" : "each", nr,
		(ktime_get_ns() - start) / REPEAT, callbacks / REPEAT);
	return ret || idx != nr ? -EIO : 0;
}

static int __init walker_init(void)
{
	static const unsigned int counts[] = { 1, 16, 512, MAX };
	unsigned long addr;
	unsigned int i, round;
	int ret = 0;

	addr = vm_mmap(NULL, 0, (MAX + PTRS_PER_PTE) * PAGE_SIZE,
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, 0);
	if (IS_ERR_VALUE(addr))
		return addr;
	addr = ALIGN(addr, PMD_SIZE);
	mmap_read_lock(current->mm);
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		for (round = 0; round < ROUNDS; round++) {
			ret |= walk(addr, counts[i], false);
			if (IS_ENABLED(BATCH))
				ret |= walk(addr, counts[i], true);
		}
	}
	mmap_read_unlock(current->mm);
	return ret;
}
module_init(walker_init);

static void __exit walker_exit(void)
{
}
module_exit(walker_exit);

MODULE_DESCRIPTION("Measures apply_to_page_range()");
MODULE_LICENSE("GPL");
