// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of VMAs with pages of their own. The PTEs show one page, the
 * array names others: who looks at the PTE alone finds the wrong one.
 */

#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <xen/xen.h>

#define PAGES	8

/**
 * struct vma_pages_test - a mapping
 * @pages: the array
 * @shown: what the PTEs show
 * @addr: where the mapping is
 * @vmas: number of the VMAs that it consists of
 * @flags: what the file's mmap() adds to the VMA's flags
 * @result: what vma_set_pages() returned
 */
struct vma_pages_test {
	struct page *pages[PAGES];
	struct page *shown;
	unsigned long addr;
	int vmas;
	vm_flags_t flags;
	int result;
};

static void pages_vma_open(struct vm_area_struct *vma)
{
	struct vma_pages_test *t = vma->vm_private_data;

	t->vmas++;
}

static void pages_vma_close(struct vm_area_struct *vma)
{
	struct vma_pages_test *t = vma->vm_private_data;

	t->vmas--;
}

static const struct vm_operations_struct pages_vm_ops = {
	.open = pages_vma_open,
	.close = pages_vma_close,
};

static int pages_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct vma_pages_test *t = file->private_data;
	unsigned long addr;

	vm_flags_set(vma, t->flags);
	vma->vm_private_data = t;
	for (addr = vma->vm_start; addr < vma->vm_end; addr += PAGE_SIZE) {
		if (vmf_insert_mixed(vma, addr, page_to_pfn(t->shown)) !=
		    VM_FAULT_NOPAGE)
			return -ENOMEM;
	}
	t->result = vma_set_pages(vma, t->pages);
	if (t->result)
		return t->result;
	vma->vm_ops = &pages_vm_ops;
	t->vmas++;
	return 0;
}

static const struct file_operations pages_fops = {
	.mmap = pages_mmap,
};

static int pages_init(struct kunit *test)
{
	struct vma_pages_test *t;
	unsigned int i;

	if (xen_pv_domain())
		kunit_skip(test, "KUnit's mm can't be used in a Xen PV domain");

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->flags = VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTCOPY;
	t->shown = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->shown);
	for (i = 0; i < PAGES; i++) {
		t->pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->pages[i]);
	}
	return 0;
}

static void pages_exit(struct kunit *test)
{
	struct vma_pages_test *t = test->priv;
	unsigned int i;

	if (!t)
		return;
	for (i = 0; i < PAGES; i++) {
		if (t->pages[i])
			__free_page(t->pages[i]);
	}
	if (t->shown)
		__free_page(t->shown);
}

/* Maps the file; the address, or an error. */
static unsigned long map_pages(struct kunit *test, unsigned long flags)
{
	struct vma_pages_test *t = test->priv;
	struct file *file;

	file = anon_inode_getfile("[vma_pages]", &pages_fops, t, O_RDWR);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	t->addr = kunit_vm_mmap(test, file, 0, PAGES * PAGE_SIZE,
				PROT_READ | PROT_WRITE, flags, 0);
	fput(file);
	return t->addr;
}

/* GUP finds each page of @mapped, and nothing where it was unmapped. */
static void expect_pages(struct kunit *test, unsigned long mapped)
{
	struct vma_pages_test *t = test->priv;
	struct page *page;
	unsigned int i;
	int ret;

	for (i = 0; i < PAGES; i++) {
		unsigned long addr = t->addr + i * PAGE_SIZE;

		/* The fast way can't know, and must say so. */
		KUNIT_EXPECT_EQ(test, 0,
				get_user_pages_fast_only(addr, 1, 0, &page));
		ret = get_user_pages_fast(addr, 1, FOLL_WRITE, &page);
		if (!(mapped & BIT(i))) {
			KUNIT_EXPECT_EQ_MSG(test, -EFAULT, ret, "page %u", i);
			continue;
		}
		KUNIT_ASSERT_EQ_MSG(test, 1, ret, "page %u", i);
		KUNIT_EXPECT_PTR_EQ(test, t->pages[i], page);
		KUNIT_EXPECT_EQ(test, 2, page_count(page));
		put_page(page);
	}
}

/* Nobody has counted anything. */
static void expect_uncounted(struct kunit *test)
{
	struct vma_pages_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		KUNIT_EXPECT_EQ(test, 1, page_count(t->pages[i]));
		KUNIT_EXPECT_EQ(test, 0, folio_mapcount(page_folio(t->pages[i])));
	}
	KUNIT_EXPECT_EQ(test, 1, page_count(t->shown));
	for (i = 0; i < NR_MM_COUNTERS; i++)
		KUNIT_EXPECT_EQ(test, 0,
				percpu_counter_sum(&current->mm->rss_stat[i]));
}

static void unmap_page(struct kunit *test, unsigned int i)
{
	struct vma_pages_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->addr + i * PAGE_SIZE, PAGE_SIZE));
}

static void vma_pages_whole(struct kunit *test)
{
	struct vma_pages_test *t = test->priv;

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(map_pages(test, MAP_SHARED)));
	KUNIT_EXPECT_EQ(test, 1, t->vmas);
	expect_pages(test, GENMASK(PAGES - 1, 0));
	expect_uncounted(test);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->addr, PAGES * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, t->vmas);
	expect_pages(test, 0);
	expect_uncounted(test);
}

/* The middle, the first, the last, and what is left piece by piece. */
static void vma_pages_split(struct kunit *test)
{
	static const unsigned int order[PAGES] = { 3, 0, 7, 5, 2, 1, 6, 4 };
	struct vma_pages_test *t = test->priv;
	unsigned long left = GENMASK(PAGES - 1, 0);
	unsigned int i;

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(map_pages(test, MAP_SHARED)));
	for (i = 0; i < PAGES; i++) {
		unmap_page(test, order[i]);
		left &= ~BIT(order[i]);
		expect_pages(test, left);
		expect_uncounted(test);
		KUNIT_EXPECT_EQ(test, !left, !t->vmas);
	}
	KUNIT_EXPECT_EQ(test, 0, t->vmas);
}

/* A page that somebody uses stays his when the mapping is gone. */
static void vma_pages_in_use(struct kunit *test)
{
	struct vma_pages_test *t = test->priv;
	struct page *page;

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(map_pages(test, MAP_SHARED)));
	KUNIT_ASSERT_EQ(test, 1, pin_user_pages_fast(t->addr + 2 * PAGE_SIZE, 1,
						     FOLL_WRITE, &page));
	KUNIT_EXPECT_PTR_EQ(test, t->pages[2], page);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->addr, PAGES * PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, folio_maybe_dma_pinned(page_folio(page)));
	unpin_user_page(page);
	expect_uncounted(test);
}

static bool ignore(struct mmu_interval_notifier *mni,
		   const struct mmu_notifier_range *range,
		   unsigned long cur_seq)
{
	return true;
}

/* A device that mirrors the mapping is told the right pages. */
static void vma_pages_hmm(struct kunit *test)
{
	static const struct mmu_interval_notifier_ops ops = {
		.invalidate = ignore,
	};
	struct vma_pages_test *t = test->priv;
	struct mmu_interval_notifier mni;
	unsigned long pfns[PAGES];
	struct hmm_range range = {
		.notifier = &mni,
		.hmm_pfns = pfns,
		.default_flags = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
	};
	unsigned int i;

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(map_pages(test, MAP_SHARED)));
	i = mmu_interval_notifier_insert(&mni, current->mm, t->addr,
					 PAGES * PAGE_SIZE, &ops);
	KUNIT_ASSERT_EQ(test, 0, i);
	range.start = t->addr;
	range.end = t->addr + PAGES * PAGE_SIZE;
	range.notifier_seq = mmu_interval_read_begin(&mni);
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, 0, hmm_range_fault(&range));
	mmap_read_unlock(current->mm);
	for (i = 0; i < PAGES; i++) {
		KUNIT_EXPECT_TRUE(test, pfns[i] & HMM_PFN_VALID);
		KUNIT_EXPECT_PTR_EQ(test, t->pages[i], hmm_pfn_to_page(pfns[i]));
	}
	mmu_interval_notifier_remove(&mni);
	/* The mm may outlive the test. */
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(t->addr, PAGES * PAGE_SIZE));
}

/* VMAs that fork, mremap() or copy-on-write would break are refused. */
static void vma_pages_refused(struct kunit *test)
{
	static const struct {
		vm_flags_t flags;
		unsigned long map;
	} bad[] = {
		{ VM_MIXEDMAP | VM_DONTEXPAND, MAP_SHARED },
		{ VM_MIXEDMAP | VM_DONTCOPY, MAP_SHARED },
		{ VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTCOPY, MAP_PRIVATE },
	};
	struct vma_pages_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		t->flags = bad[i].flags;
		kunit_warning_suppress(test) {
			KUNIT_EXPECT_TRUE(test,
					  IS_ERR_VALUE(map_pages(test,
								 bad[i].map)));
		}
		KUNIT_EXPECT_EQ(test, -EINVAL, t->result);
		expect_uncounted(test);
	}
}

static struct kunit_case vma_pages_cases[] = {
	KUNIT_CASE(vma_pages_whole),
	KUNIT_CASE(vma_pages_split),
	KUNIT_CASE(vma_pages_in_use),
	KUNIT_CASE(vma_pages_hmm),
	KUNIT_CASE(vma_pages_refused),
	{}
};

static struct kunit_suite vma_pages_suite = {
	.name = "vma_pages",
	.init = pages_init,
	.exit = pages_exit,
	.test_cases = vma_pages_cases,
};

kunit_test_suite(vma_pages_suite);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("KUnit tests of VMAs with pages of their own");
