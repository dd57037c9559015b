// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of xen_xlate_remap_gfn_array(), with a fake hypercall that checks
 * its arguments. The tests need no Xen.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <asm/tlb.h>

#define DOMID		7
#define FRAMES		(2 * MAP_BATCH + 36)
#define PAGES		DIV_ROUND_UP(FRAMES, XEN_PFN_PER_PAGE)
#define FIRST_GFN	0x12345

/**
 * struct remap_test - frames to map
 * @pages: the pages that the frames are mapped at
 * @gfns: the frames, and afterwards their errors
 * @bad: frame that Xen refuses
 * @ret: return value of the hypercall
 * @seen: number of frames that the hypercalls got
 * @calls: number of hypercalls
 * @ptes: number of right PTEs
 * @wrong: first mistake
 */
struct remap_test {
	struct page *pages[PAGES];
	xen_pfn_t gfns[FRAMES + 1];
	unsigned int bad, seen, calls, ptes;
	int ret;
	const char *wrong;
};

static int fake_add_to_physmap_range(struct xen_add_to_physmap_range *xatp,
				     xen_pfn_t *gfn, xen_pfn_t *gpfns, int *errs)
{
	struct remap_test *t = kunit_get_current_test()->priv;
	unsigned int i;

	t->calls++;
	if (xatp->domid != DOMID_SELF || xatp->foreign_domid != DOMID ||
	    xatp->space != XENMAPSPACE_gmfn_foreign)
		t->wrong = "domain or space";
	for (i = 0; i < xatp->size; i++, t->seen++) {
		struct page *page = t->pages[t->seen / XEN_PFN_PER_PAGE];

		if (gfn[i] != FIRST_GFN + t->seen)
			t->wrong = "frame";
		if (gpfns[i] != pfn_to_gfn(page_to_xen_pfn(page) +
					   t->seen % XEN_PFN_PER_PAGE))
			t->wrong = "page of a frame";
		errs[i] = t->seen == t->bad ? -EFAULT : 0;
	}
	return t->ret;
}

static int count_pte(pte_t *pte, unsigned long addr, void *data)
{
	struct remap_test *t = data;

	if (pte_pfn(ptep_get(pte)) == page_to_pfn(t->pages[t->ptes]))
		t->ptes++;
	return 0;
}

/* Maps @nr frames from PTE @at of a page table on. Checks errors and PTEs. */
static void remap(struct kunit *test, unsigned int at, unsigned int nr)
{
	unsigned long addr = ALIGN(TASK_SIZE / 3, PMD_SIZE) + at * PAGE_SIZE;
	unsigned long size = PAGE_ALIGN((unsigned long)nr << XEN_PAGE_SHIFT);
	struct remap_test *t = test->priv;
	struct vm_area_struct vma = { .vm_mm = mm_alloc() };
	int *errs = (int *)t->gfns;
	struct mmu_gather tlb;
	unsigned int i;
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, vma.vm_mm);
	vm_flags_init(&vma, VM_PFNMAP | VM_IO);
	t->seen = 0;
	t->calls = 0;
	t->ptes = 0;
	for (i = 0; i <= FRAMES; i++)
		t->gfns[i] = FIRST_GFN + i;

	ret = xen_xlate_remap_gfn_array(&vma, addr, t->gfns, nr, errs,
					PAGE_KERNEL, DOMID, t->pages);
	KUNIT_EXPECT_EQ(test, ret, t->ret ? 0 : nr - (t->bad < nr));
	KUNIT_EXPECT_EQ(test, t->seen, nr);
	KUNIT_EXPECT_EQ(test, t->calls, DIV_ROUND_UP(nr, MAP_BATCH));
	for (i = 0; i < nr; i++)
		KUNIT_EXPECT_EQ_MSG(test, errs[i], t->ret ?: i == t->bad ? -EFAULT : 0,
				    "frame %u of %u", i, nr);
	KUNIT_EXPECT_EQ(test, t->gfns[nr], FIRST_GFN + nr);
	KUNIT_EXPECT_EQ(test, apply_to_existing_page_range(vma.vm_mm, addr, size,
							   count_pte, t), 0);
	KUNIT_EXPECT_EQ(test, t->ptes, t->ret ? 0 : size >> PAGE_SHIFT);
	KUNIT_EXPECT_STREQ(test, t->wrong ?: "", "");

	/* exit_mmap() frees page tables of VMAs only. */
	tlb_gather_mmu(&tlb, vma.vm_mm);
	free_pgd_range(&tlb, addr, addr + size, 0, 0);
	tlb_finish_mmu(&tlb);
	mmput(vma.vm_mm);
}

static void xlate_remap(struct kunit *test)
{
	static const unsigned int nrs[] = {
		1, 2, MAP_BATCH - 1, MAP_BATCH, MAP_BATCH + 1, FRAMES,
	};
	struct remap_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	unsigned int i, bad;

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	for (i = 0; i < PAGES; i++) {
		t->pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->pages[i]);
	}
	kunit_activate_static_stub(test, add_to_physmap_range,
				   fake_add_to_physmap_range);
	for (i = 0; i < ARRAY_SIZE(nrs); i++) {
		for (bad = 0; bad <= FRAMES; bad += 211) {
			t->bad = bad;
			remap(test, i, nrs[i]);
			remap(test, PTRS_PER_PTE - 1, nrs[i]);
		}
	}
	/* Xen refuses the whole hypercall. */
	t->ret = -ESRCH;
	remap(test, 0, FRAMES);
	for (i = 0; i < PAGES; i++)
		__free_page(t->pages[i]);
}

static struct kunit_case xlate_cases[] = {
	KUNIT_CASE(xlate_remap),
	{}
};

static struct kunit_suite xlate_suite = {
	.name = "xen_xlate_remap",
	.test_cases = xlate_cases,
};

kunit_test_suite(xlate_suite);
