// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of apply_to_page_range() and its relatives.
 *
 * Each walk is done in an mm that nobody runs in, and in the kernel, in a range
 * of addresses of its own. Positions are pages from the start of these, which is
 * that of a page table.
 */

#include <kunit/test.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/vmalloc.h>
#include <asm/tlb.h>

#define TABLES	4
#define PAGES	(TABLES * PTRS_PER_PTE)

/**
 * struct place - where is walked
 * @mm: init_mm, or one of our own
 * @start: of the pages
 * @area: that they are in, in the kernel
 */
struct place {
	struct mm_struct *mm;
	unsigned long start;
	struct vm_struct *area;
};

/**
 * struct seen - what the callbacks saw, and what they shall return
 * @test: the test
 * @place: where
 * @from: first page of the walk
 * @nr: number of pages of it
 * @calls: of callbacks
 * @done: pages that they were given, which are in order
 * @fail_at: page, from @from, at which to fail
 * @wrong: what was not as it should be; a failed expectation allocates memory,
 *	which the callbacks can't
 * @ptes: address of the PTE of each page
 */
struct seen {
	struct kunit *test;
	struct place *place;
	unsigned int from;
	unsigned int nr;
	unsigned int calls;
	unsigned int done;
	unsigned int fail_at;
	const char *wrong;
	pte_t *ptes[TABLES * MAX_PTRS_PER_PTE];
};

enum { USER, KERNEL, PLACES };

static int range_init(struct kunit *test)
{
	struct place *places;

	places = kunit_kcalloc(test, PLACES, sizeof(*places), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, places);
	test->priv = places;

	/* Not kunit_attach_mm(): Xen PV can't switch to an mm that is not pinned. */
	places[USER].mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, places[USER].mm);
	places[USER].start = ALIGN(TASK_SIZE / 3, PMD_SIZE);

	places[KERNEL].area = __get_vm_area_caller((PAGES + PTRS_PER_PTE) *
						   PAGE_SIZE, VM_IOREMAP,
						   VMALLOC_START, VMALLOC_END,
						   __builtin_return_address(0));
	KUNIT_ASSERT_NOT_NULL(test, places[KERNEL].area);
	places[KERNEL].mm = &init_mm;
	places[KERNEL].start = ALIGN((unsigned long)places[KERNEL].area->addr,
				     PMD_SIZE);
	return 0;
}

static void range_exit(struct kunit *test)
{
	struct place *places = test->priv;
	struct mmu_gather tlb;

	if (!places || !places[USER].mm)
		return;
	if (places[KERNEL].area)
		free_vm_area(places[KERNEL].area);
	/* Without a VMA, exit_mmap() does not find the page tables. */
	tlb_gather_mmu(&tlb, places[USER].mm);
	free_pgd_range(&tlb, places[USER].start,
		       places[USER].start + PAGES * PAGE_SIZE, 0, 0);
	tlb_finish_mmu(&tlb);
	mmput(places[USER].mm);
}

static unsigned long page_addr(struct place *place, unsigned int page)
{
	return place->start + page * PAGE_SIZE;
}

static struct seen *seen_start(struct kunit *test, int where, unsigned int from,
			       unsigned int nr)
{
	struct seen *seen = kunit_kzalloc(test, sizeof(*seen), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, seen);
	seen->test = test;
	seen->place = (struct place *)test->priv + where;
	seen->from = from;
	seen->nr = nr;
	seen->fail_at = UINT_MAX;
	return seen;
}

static void check(struct seen *seen, bool right, const char *what)
{
	if (!right && !seen->wrong)
		seen->wrong = what;
}

static void check_context(struct seen *seen, unsigned long addr)
{
	struct mm_struct *mm = seen->place->mm;

#ifdef CONFIG_ARCH_HAS_LAZY_MMU_MODE
	check(seen, is_lazy_mmu_mode_active(), "not in lazy MMU mode");
#endif
	if (mm != &init_mm)
		lockdep_assert_held(pte_lockptr(mm, pmd_off(mm, addr)));
	check(seen, addr == page_addr(seen->place, seen->from + seen->done),
	      "wrong address");
}

static int each(pte_t *pte, unsigned long addr, void *data)
{
	struct seen *seen = data;

	seen->calls++;
	check_context(seen, addr);
	if (seen->done == seen->fail_at)
		return -ENXIO;
	if (seen->done < seen->nr)
		seen->ptes[seen->done] = pte;
	seen->done++;
	return 0;
}

static int batch(pte_t *pte, unsigned long addr, unsigned int *nr, void *data)
{
	struct seen *seen = data;
	unsigned int at = seen->done, i;

	seen->calls++;
	check_context(seen, addr);
	check(seen, *nr && at + *nr <= seen->nr, "wrong number of PTEs");
	check(seen, addr >> PMD_SHIFT ==
	      (addr + (*nr - 1) * PAGE_SIZE) >> PMD_SHIFT,
	      "more than one page table");
	for (i = 0; i < *nr && at + i < seen->nr; i++) {
		if (at + i == seen->fail_at) {
			*nr = i;
			return -ENXIO;
		}
		seen->ptes[at + i] = pte + i;
		seen->done++;
	}
	return 0;
}

static int walk_each(struct seen *seen)
{
	struct mm_struct *mm = seen->place->mm;
	int ret;

	mmap_write_lock(mm);
	ret = apply_to_page_range(mm, page_addr(seen->place, seen->from),
				  seen->nr * PAGE_SIZE, each, seen);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_STREQ(seen->test, seen->wrong ?: "", "");
	return ret;
}

static int walk_batch(struct seen *seen, unsigned int *stop)
{
	struct mm_struct *mm = seen->place->mm;
	unsigned long addr = 1;
	int ret;

	mmap_write_lock(mm);
	ret = apply_to_page_range_batch(mm, page_addr(seen->place, seen->from),
					seen->nr * PAGE_SIZE, batch, seen,
					&addr);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_STREQ(seen->test, seen->wrong ?: "", "");
	KUNIT_EXPECT_TRUE(seen->test, PAGE_ALIGNED(addr));
	*stop = (addr - page_addr(seen->place, seen->from)) / PAGE_SIZE;
	return ret;
}

/* The batch variant for what exists, up to page @end. */
static int walk_existing(struct seen *seen, unsigned int end,
			 unsigned int *stop)
{
	unsigned long start = page_addr(seen->place, seen->from), addr = 1;
	struct mm_struct *mm = seen->place->mm;
	int ret;

	mmap_write_lock(mm);
	ret = apply_to_existing_page_range_batch(mm, start,
						 page_addr(seen->place, end) -
						 start, batch, seen, &addr);
	mmap_write_unlock(mm);
	KUNIT_EXPECT_STREQ(seen->test, seen->wrong ?: "", "");
	*stop = (addr - start) / PAGE_SIZE;
	return ret;
}

/**
 * struct span - a range to walk: page tables and pages
 * @from_tables: page tables before it
 * @from: and pages
 * @nr_tables: page tables' worth of it
 * @nr: and pages, may be negative
 * @tables: page tables that it is in
 */
struct span {
	unsigned int from_tables;
	int from;
	unsigned int nr_tables;
	int nr;
	unsigned int tables;
};

static const struct span ranges[] = {
	{ 0, 0, 0, 1, 1 },
	{ 0, 0, 1, -1, 1 },
	{ 0, 0, 1, 0, 1 },
	{ 0, 0, 1, 1, 2 },
	{ 0, 0, TABLES, 0, TABLES },
	{ 0, 1, 0, 1, 1 },
	{ 0, 1, 1, -1, 1 },
	{ 0, 1, 1, 0, 2 },
	{ 0, 7, 2, 0, 3 },
	{ 1, -1, 0, 1, 1 },
	{ 1, -1, 0, 2, 2 },
	{ 1, -1, 1, 2, 3 },
};

static unsigned int span_from(const struct span *r)
{
	return r->from_tables * PTRS_PER_PTE + r->from;
}

static unsigned int span_nr(const struct span *r)
{
	return r->nr_tables * PTRS_PER_PTE + r->nr;
}

static void range_desc(const struct span *r, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u+%u", span_from(r),
		 span_nr(r));
}

KUNIT_ARRAY_PARAM(range, ranges, range_desc);

/* Every PTE once, by both: the same ones, the batches in whole tables. */
static void range_covered(struct kunit *test)
{
	const struct span *r = test->param_value;
	unsigned int from = span_from(r), nr = span_nr(r);
	struct seen *one, *many;
	unsigned int stop, where;

	for (where = 0; where < PLACES; where++) {
		one = seen_start(test, where, from, nr);
		many = seen_start(test, where, from, nr);

		KUNIT_EXPECT_EQ(test, 0, walk_batch(many, &stop));
		KUNIT_EXPECT_EQ(test, nr, stop);
		KUNIT_EXPECT_EQ(test, nr, many->done);
		KUNIT_EXPECT_EQ(test, r->tables, many->calls);

		KUNIT_EXPECT_EQ(test, 0, walk_each(one));
		KUNIT_EXPECT_EQ(test, nr, one->done);
		KUNIT_EXPECT_EQ(test, nr, one->calls);

		/* They are mapped for the time of the call. */
		if (!IS_ENABLED(CONFIG_HIGHPTE))
			KUNIT_EXPECT_MEMEQ(test, one->ptes, many->ptes,
					   nr * sizeof(*one->ptes));
		kunit_kfree(test, many);
		kunit_kfree(test, one);
	}
}

/* A range of nothing, or of parts of pages, is a mistake of the caller's. */
static void range_refused(struct kunit *test)
{
	struct place *place;
	unsigned int stop, where;
	struct seen *seen;
	int ret;

	if (!IS_ENABLED(CONFIG_BUG))
		kunit_skip(test, "warnings are not counted without CONFIG_BUG");
	for (where = 0; where < PLACES; where++) {
		seen = seen_start(test, where, 1, 0);
		place = seen->place;
		kunit_warning_suppress(test) {
			KUNIT_EXPECT_EQ(test, -EINVAL, walk_batch(seen, &stop));
			KUNIT_EXPECT_EQ(test, -EINVAL, walk_each(seen));
			ret = apply_to_page_range_batch(place->mm,
							place->start + 8,
							PAGE_SIZE, batch, seen,
							NULL);
			KUNIT_EXPECT_EQ(test, -EINVAL, ret);
			ret = apply_to_existing_page_range_batch(place->mm,
								 place->start,
								 PAGE_SIZE + 8,
								 batch, seen,
								 NULL);
			KUNIT_EXPECT_EQ(test, -EINVAL, ret);
			KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 4);
		}
		KUNIT_EXPECT_EQ(test, 0, stop);
		KUNIT_EXPECT_EQ(test, 0, seen->calls);
	}
}

/* An error ends the walk, wherever it occurs, and is returned. */
static void range_error(struct kunit *test)
{
	/* The three page tables of a range, if they are of 4 KB. */
	const unsigned int nr = min(PTRS_PER_PTE, 512) + 3;
	unsigned int stop, where, at;
	struct seen *seen;

	for (where = 0; where < PLACES; where++) {
		seen = seen_start(test, where, PTRS_PER_PTE - 2, nr);
		for (at = 0; at < nr; at++) {
			seen->fail_at = at;
			seen->done = 0;
			KUNIT_EXPECT_EQ(test, -ENXIO, walk_batch(seen, &stop));
			KUNIT_EXPECT_EQ(test, at, stop);
			KUNIT_EXPECT_EQ(test, at, seen->done);

			seen->done = 0;
			KUNIT_EXPECT_EQ(test, -ENXIO, walk_each(seen));
			KUNIT_EXPECT_EQ(test, at, seen->done);

			/* Now that the page tables are there. */
			seen->done = 0;
			KUNIT_EXPECT_EQ(test, -ENXIO,
					walk_existing(seen, seen->from + nr,
						      &stop));
			KUNIT_EXPECT_EQ(test, at, stop);
			KUNIT_EXPECT_EQ(test, at, seen->done);
		}
	}
}

/* The number of PTEs, and that of page tables above it. */
#define TABLE	(2 * PAGES)

static int count_batch(pte_t *pte, unsigned long addr, unsigned int *nr,
		       void *data)
{
	unsigned int *count = data;

	*count += TABLE + *nr;
	return 0;
}

static int count_each(pte_t *pte, unsigned long addr, void *data)
{
	unsigned int *count = data;

	(*count)++;
	return 0;
}

static int clear_batch(pte_t *pte, unsigned long addr, unsigned int *nr,
		       void *data)
{
	unsigned int i;

	for (i = 0; i < *nr; i++)
		pte_clear(data, addr + i * PAGE_SIZE, pte + i);
	return 0;
}

static int set_batch(pte_t *pte, unsigned long addr, unsigned int *nr,
		     void *data)
{
	unsigned int i;

	for (i = 0; i < *nr; i++)
		set_pte_at(&init_mm, addr + i * PAGE_SIZE, pte + i,
			   mk_pte(data, PAGE_KERNEL));
	return 0;
}

/* Where page tables are missing, the walk of existing ones goes on behind. */
static void range_holes(struct kunit *test)
{
	struct place *place = (struct place *)test->priv + USER;
	struct mm_struct *mm = place->mm;
	unsigned int count = 0, i;
	unsigned long stop;

	mmap_write_lock(mm);
	/* Tables 0 and 2. The kernel's are never freed, so it has no holes. */
	for (i = 0; i < TABLES; i += 2)
		KUNIT_EXPECT_EQ(test, 0,
				apply_to_page_range(mm,
						    page_addr(place,
							      i * PTRS_PER_PTE),
						    PAGE_SIZE, NULL, NULL));

	KUNIT_EXPECT_EQ(test, 0,
			apply_to_existing_page_range_batch(mm,
							   page_addr(place, 1),
							   (PAGES - 2) * PAGE_SIZE,
							   count_batch, &count,
							   &stop));
	KUNIT_EXPECT_EQ(test, stop, page_addr(place, PAGES - 1));
	KUNIT_EXPECT_EQ(test, count, 2 * TABLE + 2 * PTRS_PER_PTE - 1);

	count = 0;
	KUNIT_EXPECT_EQ(test, 0,
			apply_to_existing_page_range(mm, page_addr(place, 0),
						     PAGES * PAGE_SIZE,
						     count_each, &count));
	KUNIT_EXPECT_EQ(test, 0, count);

	KUNIT_EXPECT_EQ(test, 0,
			apply_to_existing_page_range_batch(mm,
							   page_addr(place,
								     PTRS_PER_PTE),
							   PTRS_PER_PTE * PAGE_SIZE,
							   count_batch, &count,
							   &stop));
	KUNIT_EXPECT_EQ(test, stop, page_addr(place, 2 * PTRS_PER_PTE));
	KUNIT_EXPECT_EQ(test, 0, count);
	mmap_write_unlock(mm);
}

/*
 * What was mapped in init_mm is there for whoever runs, page tables that had to
 * be made included; the walk of existing PTEs finds those that are not none.
 */
static void range_kernel_mapping(struct kunit *test)
{
	struct place *place = (struct place *)test->priv + KERNEL;
	unsigned long addr = page_addr(place, PTRS_PER_PTE - 2);
	unsigned int count = 0;
	struct page *page;
	char *text;

	page = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	text = page_address(page);
	strscpy(text, "mapped", PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0,
			apply_to_page_range_batch(&init_mm, addr, 4 * PAGE_SIZE,
						  set_batch, page, NULL));
	flush_cache_vmap(addr, addr + 4 * PAGE_SIZE);
	KUNIT_EXPECT_STREQ(test, text, (char *)addr);
	KUNIT_EXPECT_STREQ(test, text, (char *)(addr + 3 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0,
			apply_to_existing_page_range(&init_mm,
						     page_addr(place, 0),
						     PAGES * PAGE_SIZE,
						     count_each, &count));
	KUNIT_EXPECT_EQ(test, 4, count);
	flush_cache_vunmap(addr, addr + 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0,
			apply_to_existing_page_range_batch(&init_mm, addr,
							   4 * PAGE_SIZE,
							   clear_batch, &init_mm,
							   NULL));
	flush_tlb_kernel_range(addr, addr + 4 * PAGE_SIZE);
	__free_page(page);
}

/* A huge entry is refused, by all of them, where it begins, and stays. */
static void range_huge(struct kunit *test)
{
	struct vm_struct *area;
	unsigned long addr, stop;
	unsigned int count = 0;
	struct page *page;
	pmd_t *pmd;

	if (!IS_ENABLED(CONFIG_BUG))
		kunit_skip(test, "warnings are not counted without CONFIG_BUG");
	page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, PMD_SHIFT - PAGE_SHIFT);
	if (!page)
		kunit_skip(test, "no memory for a huge entry");
	/* Room for an ordinary page table, and for a huge entry behind it. */
	area = __get_vm_area_caller(3 * PMD_SIZE, VM_IOREMAP, VMALLOC_START,
				    VMALLOC_END, __builtin_return_address(0));
	KUNIT_ASSERT_NOT_NULL(test, area);
	addr = ALIGN((unsigned long)area->addr, PMD_SIZE) + PMD_SIZE;
	KUNIT_ASSERT_EQ(test, 0, vmap_page_range(addr, addr + PMD_SIZE,
						 page_to_phys(page),
						 PAGE_KERNEL));
	pmd = pmd_off_k(addr);
	if (!pmd_leaf(*pmd)) {
		free_vm_area(area);
		__free_pages(page, PMD_SHIFT - PAGE_SHIFT);
		kunit_skip(test, "no huge entries here");
	}
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, -EINVAL,
				apply_to_page_range_batch(&init_mm,
							  addr - PAGE_SIZE,
							  3 * PAGE_SIZE,
							  count_batch, &count,
							  &stop));
		KUNIT_EXPECT_EQ(test, stop, addr);
		KUNIT_EXPECT_EQ(test, count, TABLE + 1);
		KUNIT_EXPECT_EQ(test, -EINVAL,
				apply_to_existing_page_range_batch(&init_mm,
								   addr - PAGE_SIZE,
								   3 * PAGE_SIZE,
								   count_batch,
								   &count,
								   &stop));
		KUNIT_EXPECT_EQ(test, stop, addr);
		KUNIT_EXPECT_EQ(test, count, 2 * (TABLE + 1));
		count = 0;
		KUNIT_EXPECT_EQ(test, -EINVAL,
				apply_to_page_range(&init_mm, addr, PAGE_SIZE,
						    count_each, &count));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				apply_to_existing_page_range(&init_mm, addr,
							     PAGE_SIZE,
							     count_each,
							     &count));
	}
	KUNIT_EXPECT_EQ(test, 0, count);
	KUNIT_EXPECT_TRUE(test, pmd_leaf(*pmd));
	free_vm_area(area);
	__free_pages(page, PMD_SHIFT - PAGE_SHIFT);
}

static struct kunit_case range_cases[] = {
	KUNIT_CASE_PARAM(range_covered, range_gen_params),
	KUNIT_CASE(range_refused),
	KUNIT_CASE(range_error),
	KUNIT_CASE(range_holes),
	KUNIT_CASE(range_kernel_mapping),
	KUNIT_CASE(range_huge),
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
