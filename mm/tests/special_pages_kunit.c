// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of vma_set_special_pages(). All PTEs have the PFN of the same
 * wrong page, so code that takes the page from the PTE fails.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <xen/xen.h>

#define PAGES	8

/**
 * struct special_pages_test - a mapping
 * @pages: the array of vma_set_special_pages()
 * @wrong: the page in all PTEs
 * @addr: start of the mapping
 * @vmas: number of VMAs of the mapping
 * @flags: VMA flags that mmap() sets
 * @no_ptes: mmap() makes no PTEs
 * @result: return value of vma_set_special_pages()
 */
struct special_pages_test {
	struct page *pages[PAGES];
	struct page *wrong;
	unsigned long addr;
	int vmas;
	vm_flags_t flags;
	bool no_ptes;
	int result;
};

static void pages_vma_open(struct vm_area_struct *vma)
{
	struct special_pages_test *t = vma->vm_private_data;

	t->vmas++;
}

static void pages_vma_close(struct vm_area_struct *vma)
{
	struct special_pages_test *t = vma->vm_private_data;

	t->vmas--;
}

static const struct vm_operations_struct pages_vm_ops = {
	.open = pages_vma_open,
	.close = pages_vma_close,
};

static int pages_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct special_pages_test *t = file->private_data;
	unsigned long addr;

	vm_flags_set(vma, t->flags);
	vma->vm_private_data = t;
	for (addr = vma->vm_start; addr < vma->vm_end && !t->no_ptes;
	     addr += PAGE_SIZE) {
		if (vmf_insert_mixed(vma, addr, page_to_pfn(t->wrong)) !=
		    VM_FAULT_NOPAGE)
			return -ENOMEM;
	}
	t->result = vma_set_special_pages(vma, t->pages);
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
	struct special_pages_test *t;
	unsigned int i;

	if (xen_pv_domain())
		kunit_skip(test, "a Xen PV domain can't switch to the mm of KUnit");

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->flags = VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTCOPY;
	t->wrong = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->wrong);
	for (i = 0; i < PAGES; i++) {
		t->pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, t->pages[i]);
	}
	return 0;
}

static void pages_exit(struct kunit *test)
{
	struct special_pages_test *t = test->priv;
	unsigned int i;

	if (!t)
		return;
	for (i = 0; i < PAGES; i++) {
		if (t->pages[i])
			__free_page(t->pages[i]);
	}
	if (t->wrong)
		__free_page(t->wrong);
}

/* Returns the address of the mapping, or an error. */
static unsigned long map_pages(struct kunit *test, unsigned long flags)
{
	struct special_pages_test *t = test->priv;
	struct file *file;

	file = anon_inode_getfile("[special_pages]", &pages_fops, t, O_RDWR);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	t->addr = kunit_vm_mmap(test, file, 0, PAGES * PAGE_SIZE,
				PROT_READ | PROT_WRITE, flags, 0);
	fput(file);
	return t->addr;
}

/* GUP finds the pages in the bitmap @mapped, and no other pages. */
static void expect_pages(struct kunit *test, unsigned long mapped)
{
	struct special_pages_test *t = test->priv;
	struct page *page;
	unsigned int i;
	int ret;

	for (i = 0; i < PAGES; i++) {
		unsigned long addr = t->addr + i * PAGE_SIZE;

		/* GUP-fast has no VMA, so must leave special PTEs alone. */
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

/* No reference, mapcount or rss was counted. */
static void expect_uncounted(struct kunit *test)
{
	struct special_pages_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		KUNIT_EXPECT_EQ(test, 1, page_count(t->pages[i]));
		KUNIT_EXPECT_EQ(test, 0, folio_mapcount(page_folio(t->pages[i])));
	}
	KUNIT_EXPECT_EQ(test, 1, page_count(t->wrong));
	for (i = 0; i < NR_MM_COUNTERS; i++)
		KUNIT_EXPECT_EQ(test, 0,
				percpu_counter_sum(&current->mm->rss_stat[i]));
}

static void unmap_page(struct kunit *test, unsigned int i)
{
	struct special_pages_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->addr + i * PAGE_SIZE, PAGE_SIZE));
}

static void special_pages_whole(struct kunit *test)
{
	struct special_pages_test *t = test->priv;

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(map_pages(test, MAP_SHARED)));
	KUNIT_EXPECT_EQ(test, 1, t->vmas);
	expect_pages(test, GENMASK(PAGES - 1, 0));
	expect_uncounted(test);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(t->addr, PAGES * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, t->vmas);
	expect_pages(test, 0);
	expect_uncounted(test);
}

/* munmap() of one page after the other, so that VMAs are split and trimmed. */
static void special_pages_split(struct kunit *test)
{
	static const unsigned int order[PAGES] = { 3, 0, 7, 5, 2, 1, 6, 4 };
	struct special_pages_test *t = test->priv;
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

/* GUP takes pages that have no PTE. Without a reference GUP makes a PTE. */
static void special_pages_no_ptes(struct kunit *test)
{
	struct special_pages_test *t = test->priv;

	t->no_ptes = true;
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(map_pages(test, MAP_SHARED)));
	expect_pages(test, GENMASK(PAGES - 1, 0));
	unmap_page(test, 3);
	expect_pages(test, GENMASK(PAGES - 1, 0) & ~BIT(3));
	expect_uncounted(test);

	/* This mapping has no fault handler. */
	mmap_read_lock(current->mm);
	KUNIT_EXPECT_EQ(test, fixup_user_fault(current->mm, t->addr, 0, NULL), -EFAULT);
	mmap_read_unlock(current->mm);
}

/* A pinned page stays pinned after munmap(). */
static void special_pages_in_use(struct kunit *test)
{
	struct special_pages_test *t = test->priv;
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

/* VMAs that fork copies, mremap() expands or a CoW changes are refused. */
static void special_pages_refused(struct kunit *test)
{
	static const struct {
		vm_flags_t flags;
		unsigned long map;
	} bad[] = {
		{ VM_MIXEDMAP | VM_DONTEXPAND, MAP_SHARED },
		{ VM_MIXEDMAP | VM_DONTCOPY, MAP_SHARED },
		{ VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTCOPY, MAP_PRIVATE },
	};
	struct special_pages_test *t = test->priv;
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

static struct kunit_case special_pages_cases[] = {
	KUNIT_CASE(special_pages_whole),
	KUNIT_CASE(special_pages_split),
	KUNIT_CASE(special_pages_no_ptes),
	KUNIT_CASE(special_pages_in_use),
	KUNIT_CASE(special_pages_refused),
	{}
};

static struct kunit_suite special_pages_suite = {
	.name = "vma_special_pages",
	.init = pages_init,
	.exit = pages_exit,
	.test_cases = special_pages_cases,
};

kunit_test_suite(special_pages_suite);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("KUnit tests of vma_set_special_pages()");
