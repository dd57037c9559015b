// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of apply_to_page_range_batch() and the functions with the same
 * walk.
 *
 * Each test walks the page tables of an mm without VMAs, and of a vmalloc area.
 * Positions are numbers of pages from an address where a page table starts.
 */
#include <kunit/test.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/vmalloc.h>
#include <asm/tlb.h>

#define TABLES	3
#define PAGES	(TABLES * PTRS_PER_PTE)

/**
 * struct walk - a walk, and what its callbacks saw
 * @mm: the address space
 * @start: address of position 0
 * @from: position of the first page of the walk
 * @nr: number of pages of the walk
 * @fail_at: fail at the page with this number
 * @calls: number of callbacks
 * @seen: number of PTEs that the callbacks got
 * @wrong: first mistake. Callbacks hold a spinlock, and can't use KUNIT_EXPECT
 */
struct walk {
	struct mm_struct *mm;
	unsigned long start;
	unsigned int from, nr, fail_at;
	unsigned int calls, seen;
	const char *wrong;
};

static struct vm_struct *area;
static struct mm_struct *user_mm;

static int range_init(struct kunit *test)
{
	/* A Xen PV domain can't switch to this mm, so don't attach it. */
	user_mm = mm_alloc();
	area = __get_vm_area_caller((PAGES + PTRS_PER_PTE) * PAGE_SIZE, VM_IOREMAP,
				    VMALLOC_START, VMALLOC_END,
				    __builtin_return_address(0));
	return user_mm && area ? 0 : -ENOMEM;
}

static unsigned long user_start(void)
{
	return ALIGN(TASK_SIZE / 3, PMD_SIZE);
}

static unsigned long kernel_start(void)
{
	return ALIGN((unsigned long)area->addr, PMD_SIZE);
}

static void range_exit(struct kunit *test)
{
	struct mmu_gather tlb;

	if (area)
		free_vm_area(area);
	if (!user_mm)
		return;
	/* exit_mmap() frees page tables of VMAs only. */
	tlb_gather_mmu(&tlb, user_mm);
	free_pgd_range(&tlb, user_start(), user_start() + PAGES * PAGE_SIZE, 0, 0);
	tlb_finish_mmu(&tlb);
	mmput(user_mm);
}

static unsigned long addr_of(const struct walk *w, unsigned int page)
{
	return w->start + (w->from + page) * PAGE_SIZE;
}

static void check(struct walk *w, bool right, const char *what)
{
	if (!right && !w->wrong)
		w->wrong = what;
}

static int batch(pte_t *pte, unsigned long addr, unsigned int nr, void *data)
{
	unsigned long last = addr + (nr - 1) * PAGE_SIZE;
	struct walk *w = data;

	w->calls++;
	check(w, nr && w->seen + nr <= w->nr, "wrong number of PTEs");
	check(w, addr >> PMD_SHIFT == last >> PMD_SHIFT, "two page tables");
	check(w, addr == addr_of(w, w->seen), "wrong address");
	if (!IS_ENABLED(CONFIG_HIGHPTE))
		check(w, pte_index(addr) * sizeof(*pte) == offset_in_page(pte) ||
		      PTRS_PER_PTE * sizeof(*pte) != PAGE_SIZE, "wrong PTE");
#ifdef CONFIG_ARCH_HAS_LAZY_MMU_MODE
	check(w, is_lazy_mmu_mode_active(), "not in lazy MMU mode");
#endif
	if (w->mm != &init_mm)
		lockdep_assert_held(pte_lockptr(w->mm, pmd_off(w->mm, addr)));
	if (w->fail_at - w->seen < nr)
		return -ENXIO;
	w->seen += nr;
	return 0;
}

static int each(pte_t *pte, unsigned long addr, void *data)
{
	return batch(pte, addr, 1, data);
}

static struct walk walk_at(bool user, unsigned int from, unsigned int nr)
{
	return (struct walk) {
		.mm = user ? user_mm : &init_mm,
		.start = user ? user_start() : kernel_start(),
		.from = from,
		.nr = nr,
		.fail_at = UINT_MAX,
	};
}

static int walk_batch(struct walk *w)
{
	w->calls = 0;
	w->seen = 0;
	guard(mmap_read_lock)(w->mm);
	return apply_to_page_range_batch(w->mm, addr_of(w, 0), w->nr * PAGE_SIZE,
					 batch, w);
}

static int walk_each(struct walk *w, bool create)
{
	w->calls = 0;
	w->seen = 0;
	guard(mmap_read_lock)(w->mm);
	return (create ? apply_to_page_range : apply_to_existing_page_range)
		(w->mm, addr_of(w, 0), w->nr * PAGE_SIZE, each, w);
}

/**
 * struct span - pages to walk
 * @table: page table of the first page
 * @page: number of the first page in its page table, may be negative
 * @tables: number of page tables to walk, plus @pages
 * @pages: number of pages beyond @tables, may be negative
 * @calls: number of page tables that contain these pages
 */
struct span {
	int table, page, tables, pages, calls;
};

static const struct span spans[] = {
	{ 0, 0, 0, 1, 1 },
	{ 0, 0, 1, 0, 1 },
	{ 0, 0, 1, 1, 2 },
	{ 0, 0, TABLES, 0, TABLES },
	{ 0, 1, 1, -1, 1 },
	{ 0, 1, 1, 0, 2 },
	{ 1, -1, 0, 1, 1 },
	{ 1, -1, 0, 2, 2 },
	{ 1, -1, 1, 2, 3 },
};

/* Both functions see each PTE once and in order, and allocate page tables. */
static void range_covered(struct kunit *test)
{
	unsigned int i, user;
	struct walk w;

	for (i = 0; i < ARRAY_SIZE(spans); i++) {
		const struct span *r = &spans[i];

		for (user = 0; user < 2; user++) {
			w = walk_at(user, r->table * PTRS_PER_PTE + r->page,
				    r->tables * PTRS_PER_PTE + r->pages);
			KUNIT_EXPECT_EQ_MSG(test, walk_batch(&w), 0, "range %u", i);
			KUNIT_EXPECT_EQ_MSG(test, w.calls, r->calls, "range %u", i);
			KUNIT_EXPECT_EQ_MSG(test, w.seen, w.nr, "range %u", i);
			KUNIT_EXPECT_EQ_MSG(test, walk_each(&w, true), 0, "range %u", i);
			KUNIT_EXPECT_EQ_MSG(test, w.calls, w.nr, "range %u", i);
			KUNIT_EXPECT_STREQ_MSG(test, w.wrong ?: "", "", "range %u", i);
		}
	}
}

/* The first error of a callback ends the walk, and is returned. */
static void range_error(struct kunit *test)
{
	struct walk w = walk_at(true, PTRS_PER_PTE - 2, PTRS_PER_PTE + 3);

	w.fail_at = 1;
	KUNIT_EXPECT_EQ(test, walk_batch(&w), -ENXIO);
	KUNIT_EXPECT_EQ(test, w.calls, 1);
	w.fail_at = 2;
	KUNIT_EXPECT_EQ(test, walk_batch(&w), -ENXIO);
	KUNIT_EXPECT_EQ(test, w.calls, 2);
	KUNIT_EXPECT_EQ(test, w.seen, 2);
	w.fail_at = w.nr - 1;
	KUNIT_EXPECT_EQ(test, walk_batch(&w), -ENXIO);
	KUNIT_EXPECT_EQ(test, w.calls, 3);
	KUNIT_EXPECT_EQ(test, walk_each(&w, true), -ENXIO);
	KUNIT_EXPECT_EQ(test, w.seen, w.nr - 1);
	KUNIT_EXPECT_STREQ(test, w.wrong ?: "", "");
}

static int set_ptes_batch(pte_t *pte, unsigned long addr, unsigned int nr, void *page)
{
	for (; nr; nr--, pte++, addr += PAGE_SIZE)
		set_pte_at(&init_mm, addr, pte, mk_pte(page, PAGE_KERNEL));
	return 0;
}

static int clear_pte(pte_t *pte, unsigned long addr, void *count)
{
	pte_clear(&init_mm, addr, pte);
	(*(int *)count)++;
	return 0;
}

/* apply_to_existing_page_range() skips empty PTEs and missing page tables. */
static void range_existing(struct kunit *test)
{
	struct walk w = walk_at(true, 0, PAGES);
	unsigned long start = kernel_start(), size = 3 * PAGE_SIZE;
	struct page *page;
	int count = 0;

	KUNIT_EXPECT_EQ(test, walk_each(&w, false), 0);
	KUNIT_EXPECT_EQ(test, w.calls, 0);

	page = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	strscpy(page_address(page), "mapped", PAGE_SIZE);
	start += (PTRS_PER_PTE - 2) * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, apply_to_page_range_batch(&init_mm, start, size,
							set_ptes_batch, page), 0);
	flush_cache_vmap(start, start + size);
	KUNIT_EXPECT_STREQ(test, (char *)start, "mapped");
	KUNIT_EXPECT_STREQ(test, (char *)start + 2 * PAGE_SIZE, "mapped");
	flush_cache_vunmap(start, start + size);
	KUNIT_EXPECT_EQ(test, apply_to_existing_page_range(&init_mm, kernel_start(),
							   PAGES * PAGE_SIZE,
							   clear_pte, &count), 0);
	KUNIT_EXPECT_EQ(test, count, 3);
	flush_tlb_kernel_range(start, start + size);
	__free_page(page);
}

/* A walk ends with a warning at a huge page, and an empty range is refused. */
static void range_refused(struct kunit *test)
{
	struct walk w = walk_at(false, PTRS_PER_PTE - 1, 3);
	unsigned long huge = kernel_start() + PMD_SIZE;
	struct page *page;

	if (!IS_ENABLED(CONFIG_BUG))
		kunit_skip(test, "no CONFIG_BUG, so no warnings");
	page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, PMD_SHIFT - PAGE_SHIFT);
	if (!page)
		kunit_skip(test, "no memory for a huge page");
	KUNIT_ASSERT_EQ(test, vmap_page_range(huge, huge + PMD_SIZE, page_to_phys(page),
					      PAGE_KERNEL), 0);
	if (pmd_leaf(*pmd_off_k(huge))) {
		kunit_warning_suppress(test) {
			KUNIT_EXPECT_EQ(test, walk_batch(&w), -EINVAL);
			KUNIT_EXPECT_EQ(test, w.seen, 1);
			KUNIT_EXPECT_EQ(test, walk_each(&w, true), -EINVAL);
			w.nr = 0;
			KUNIT_EXPECT_EQ(test, walk_batch(&w), -EINVAL);
			KUNIT_EXPECT_EQ(test, w.calls, 0);
		}
		KUNIT_EXPECT_TRUE(test, pmd_leaf(*pmd_off_k(huge)));
	}
	vunmap_range(huge, huge + PMD_SIZE);
	__free_pages(page, PMD_SHIFT - PAGE_SHIFT);
}

static struct kunit_case range_cases[] = {
	KUNIT_CASE(range_covered),
	KUNIT_CASE(range_error),
	KUNIT_CASE(range_existing),
	KUNIT_CASE(range_refused),
	{}
};

static struct kunit_suite range_suite = {
	.name = "apply_to_page_range",
	.init = range_init,
	.exit = range_exit,
	.test_cases = range_cases,
};

kunit_test_suite(range_suite);

MODULE_DESCRIPTION("Tests for apply_to_page_range()");
MODULE_LICENSE("GPL");
