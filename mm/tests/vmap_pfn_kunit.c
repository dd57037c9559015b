// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of vmap_pfn(). The frames are beyond all memory, as nobody looks
 * at what is in them.
 */

#include <kunit/test.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/vmalloc.h>
#include <xen/xen.h>

#define STRIDE	3

/**
 * struct expected - what a mapping is to have
 * @pfns: the frames
 * @next: index of the next one
 * @wrong: PTEs that have another one, or that are not special
 */
struct expected {
	const unsigned long *pfns;
	unsigned int next;
	unsigned int wrong;
};

static int compare(pte_t *pte, unsigned long addr, void *data)
{
	struct expected *e = data;
	pte_t ptent = ptep_get(pte);

	if (pte_pfn(ptent) != e->pfns[e->next++] ||
	    (IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) && !pte_special(ptent)))
		e->wrong++;
	return 0;
}

/* Each page has its frame, in one page table, at its end, and in several. */
static void vmap_pfn_sizes(struct kunit *test)
{
	const unsigned int sizes[] = {
		1, 2, PTRS_PER_PTE - 1, PTRS_PER_PTE, PTRS_PER_PTE + 1,
		3 * PTRS_PER_PTE + 1,
	};
	unsigned int nr = sizes[ARRAY_SIZE(sizes) - 1], i;
	unsigned long first = max_pfn, *pfns;

	if (xen_pv_domain())
		kunit_skip(test, "Xen lets a PV domain map only what it has");

	/* They don't follow each other, and none has a struct page. */
	while (pfn_valid(first))
		first++;
	pfns = kunit_kcalloc(test, nr, sizeof(*pfns), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pfns);
	for (i = 0; i < nr; i++) {
		pfns[i] = first + (nr - i) * STRIDE;
		KUNIT_ASSERT_FALSE(test, pfn_valid(pfns[i]));
	}

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct expected e = { .pfns = pfns };
		void *addr = vmap_pfn(pfns, sizes[i],
				      pgprot_noncached(PAGE_KERNEL));

		KUNIT_ASSERT_NOT_NULL(test, addr);
		KUNIT_EXPECT_EQ(test, 0,
				apply_to_existing_page_range(&init_mm,
							     (unsigned long)addr,
							     sizes[i] * PAGE_SIZE,
							     compare, &e));
		KUNIT_EXPECT_EQ(test, e.next, sizes[i]);
		KUNIT_EXPECT_EQ(test, e.wrong, 0);
		vunmap(addr);
	}
}

static struct kunit_case vmap_pfn_cases[] = {
	KUNIT_CASE(vmap_pfn_sizes),
	{}
};

static struct kunit_suite vmap_pfn_suite = {
	.name = "vmap_pfn",
	.test_cases = vmap_pfn_cases,
};

kunit_test_suite(vmap_pfn_suite);

MODULE_DESCRIPTION("KUnit tests of vmap_pfn()");
MODULE_LICENSE("GPL");
