// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of xen_xlate_remap_gfn_array(), with a hypercall that only looks
 * at what it is asked. They need no Xen.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <asm/tlb.h>

#define DOMID		7
#define FRAMES		(2 * MAP_BATCH + 100)
#define PAGES		DIV_ROUND_UP(FRAMES, XEN_PFN_PER_PAGE)
#define FIRST_GFN	0x12345

/**
 * struct remap_test - a process that frames are mapped in
 * @mm: its memory; nobody runs in it
 * @vma: where they are mapped
 * @start: of the mapping, the start of a page table
 * @pages: what the frames are put behind
 * @gfns: the frames
 * @errs: their status
 * @fail: bit n makes Xen fail for frame n
 * @calls: hypercalls made
 * @frames: frames that they had
 * @refuse: what the hypercall returns
 * @ptes: PTEs there are
 * @expected_ptes: those that there are to be, if not one for each page
 * @expected_frames: those that Xen is to be asked for, if not all
 * @wrong: what was found that should not be so
 */
struct remap_test {
	struct mm_struct *mm;
	struct vm_area_struct vma;
	unsigned long start;
	struct page *pages[PAGES];
	xen_pfn_t gfns[FRAMES];
	int errs[FRAMES];
	DECLARE_BITMAP(fail, FRAMES);
	unsigned int calls;
	unsigned int frames;
	int refuse;
	unsigned int ptes;
	unsigned int expected_ptes;
	unsigned int expected_frames;
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
	if (t->frames + xatp->size > FRAMES || xatp->size > MAP_BATCH) {
		t->wrong = "number of frames";
		return -EINVAL;
	}
	for (i = 0; i < xatp->size; i++, t->frames++) {
		struct page *page = t->pages[t->frames / XEN_PFN_PER_PAGE];

		if (gfn[i] != FIRST_GFN + t->frames)
			t->wrong = "frame";
		if (gpfns[i] != pfn_to_gfn(page_to_xen_pfn(page) +
					   t->frames % XEN_PFN_PER_PAGE))
			t->wrong = "place of a frame";
		if (t->refuse)
			continue;
		errs[i] = test_bit(t->frames, t->fail) ? -EFAULT : 0;
	}
	return t->refuse;
}

static int remap_init(struct kunit *test)
{
	struct remap_test *t;
	unsigned int i;

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	for (i = 0; i < PAGES; i++) {
		t->pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->pages[i]);
	}
	kunit_activate_static_stub(test, add_to_physmap_range,
				   fake_add_to_physmap_range);
	return 0;
}

static void remap_exit(struct kunit *test)
{
	struct remap_test *t = test->priv;
	unsigned int i;

	for (i = 0; t && i < PAGES && t->pages[i]; i++)
		__free_page(t->pages[i]);
}

static int count_pte(pte_t *pte, unsigned long addr, void *data)
{
	struct remap_test *t = data;
	pte_t ptent = ptep_get(pte);
	struct page *page = t->pages[(addr - t->start) >> PAGE_SHIFT];

	if (pte_pfn(ptent) != page_to_pfn(page) ||
	    (IS_ENABLED(CONFIG_ARCH_HAS_PTE_SPECIAL) && !pte_special(ptent)))
		t->wrong = "PTE";
	t->ptes++;
	return 0;
}

/*
 * Maps @nr frames from page @at of a page table on, in a new mm. Whatever became
 * of them, there is a PTE for each of their pages, unless Xen refused.
 */
static int remap(struct kunit *test, unsigned int at, unsigned int nr)
{
	struct remap_test *t = test->priv;
	unsigned long size = PAGE_ALIGN((unsigned long)nr << XEN_PAGE_SHIFT);
	struct mmu_gather tlb;
	unsigned long addr;
	unsigned int i;
	int ret;

	t->mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, t->mm);
	t->vma.vm_mm = t->mm;
	vm_flags_init(&t->vma, VM_PFNMAP | VM_IO);
	addr = ALIGN(TASK_SIZE / 3, PMD_SIZE) + at * PAGE_SIZE;
	t->start = addr;
	t->calls = 0;
	t->frames = 0;
	t->ptes = 0;
	for (i = 0; i < FRAMES; i++) {
		t->gfns[i] = FIRST_GFN + i;
		t->errs[i] = 1;
	}

	ret = xen_xlate_remap_gfn_array(&t->vma, addr, t->gfns, nr, t->errs,
					PAGE_KERNEL, DOMID, t->pages);
	KUNIT_EXPECT_EQ(test, t->frames, t->expected_frames ?: nr);
	for (i = nr; i < FRAMES; i++)
		KUNIT_ASSERT_EQ(test, t->errs[i], 1);
	KUNIT_EXPECT_EQ(test, 0,
			apply_to_existing_page_range(t->mm, addr, size,
						     count_pte, t));
	KUNIT_EXPECT_EQ(test, t->ptes, t->refuse ? 0 :
			t->expected_ptes ?: size >> PAGE_SHIFT);

	/* As there is no VMA that would do it. */
	tlb_gather_mmu(&tlb, t->mm);
	free_pgd_range(&tlb, addr, addr + size, 0, 0);
	tlb_finish_mmu(&tlb);
	mmput(t->mm);
	KUNIT_EXPECT_STREQ(test, t->wrong ?: "", "");
	return ret;
}

/* Every frame in its place, by as few hypercalls as can be. */
static void remap_sizes(struct kunit *test)
{
	static const unsigned int sizes[] = {
		1, 2, MAP_FEW - 1, MAP_FEW, MAP_FEW + 1, MAP_BATCH - 1,
		MAP_BATCH, MAP_BATCH + 1, 1000, FRAMES,
	};
	struct remap_test *t = test->priv;
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned int nr = sizes[i];

		KUNIT_EXPECT_EQ(test, nr, remap(test, i, nr));
		KUNIT_EXPECT_EQ(test, t->calls, DIV_ROUND_UP(nr, MAP_BATCH));
		for (k = 0; k < nr; k++)
			KUNIT_ASSERT_EQ(test, 0, t->errs[k]);
	}
}

/* What Xen could not map has its status, and its neighbours theirs. */
static void remap_errors(struct kunit *test)
{
	static const unsigned int bad[] = { 0, 1, 255, 511, 512, 599 };
	struct remap_test *t = test->priv;
	const unsigned int nr = 600;
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		bitmap_zero(t->fail, FRAMES);
		__set_bit(bad[i], t->fail);
		KUNIT_EXPECT_EQ(test, nr - 1, remap(test, 0, nr));
		for (k = 0; k < nr; k++)
			KUNIT_ASSERT_EQ(test, t->errs[k],
					k == bad[i] ? -EFAULT : 0);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		__set_bit(bad[i], t->fail);
	KUNIT_EXPECT_EQ(test, nr - i, remap(test, 0, nr));
	bitmap_fill(t->fail, FRAMES);
	KUNIT_EXPECT_EQ(test, 0, remap(test, 0, nr));
	for (k = 0; k < nr; k++)
		KUNIT_ASSERT_EQ(test, t->errs[k], -EFAULT);
}

/* A hypercall that fails as a whole gives its error to each, and no PTE. */
static void remap_refused(struct kunit *test)
{
	struct remap_test *t = test->priv;
	unsigned int k;

	t->refuse = -ESRCH;
	KUNIT_EXPECT_EQ(test, 0, remap(test, 0, 600));
	for (k = 0; k < 600; k++)
		KUNIT_ASSERT_EQ(test, t->errs[k], -ESRCH);
}

/* Fills in all of a first batch, and five pages of a second. */
static int fake_fill_in_ptes(unsigned long addr, unsigned long size,
			     struct remap_pfn *r, unsigned long *stop)
{
	struct remap_test *t = kunit_get_current_test()->priv;
	int ret;

	if (t->calls > 1)
		size = 5 * PAGE_SIZE;
	ret = apply_to_page_range_batch(r->mm, addr, size, remap_pfn_fn, r,
					stop);
	return t->calls > 1 ? -ENOMEM : ret;
}

/* Without a page table the frames from there on have an error. */
static void remap_no_table(struct kunit *test)
{
	const unsigned int good = MAP_BATCH + 5 * XEN_PFN_PER_PAGE;
	struct remap_test *t = test->priv;
	unsigned int k;

	kunit_activate_static_stub(test, fill_in_ptes, fake_fill_in_ptes);
	t->expected_ptes = MAP_BATCH / XEN_PFN_PER_PAGE + 5;
	t->expected_frames = 2 * MAP_BATCH;
	KUNIT_EXPECT_EQ(test, -ENOMEM, remap(test, 0, FRAMES));
	for (k = 0; k < FRAMES; k++)
		KUNIT_ASSERT_EQ(test, t->errs[k], k < good ? 0 : -ENOMEM);
}

static struct kunit_case remap_cases[] = {
	KUNIT_CASE(remap_sizes),
	KUNIT_CASE(remap_errors),
	KUNIT_CASE(remap_refused),
	KUNIT_CASE(remap_no_table),
	{}
};

static struct kunit_suite remap_suite = {
	.name = "xen_xlate_remap",
	.init = remap_init,
	.exit = remap_exit,
	.test_cases = remap_cases,
};

kunit_test_suite(remap_suite);
