// SPDX-License-Identifier: GPL-2.0-or-later
/* After splits and moves each VMA has its part of the special pages. */

#define PAGES_BASE	0x10000
#define PAGES_NR	16

static struct page *vma_test_pages[PAGES_NR];

static struct vm_area_struct *alloc_vma_with_pages(struct mm_struct *mm)
{
	const vma_flags_t vma_flags = mk_vma_flags(VMA_READ_BIT, VMA_WRITE_BIT,
			VMA_SHARED_BIT, VMA_MIXEDMAP_BIT, VMA_DONTEXPAND_BIT,
			VMA_DONTCOPY_BIT);
	struct vm_area_struct *vma;

	vma = alloc_and_link_vma(mm, PAGES_BASE, PAGES_BASE + PAGES_NR * PAGE_SIZE,
				 100, vma_flags);
	if (vma)
		vma->special_pages = vma_test_pages;
	return vma;
}

/* Checks that the array of each VMA fits its address and offset. */
static bool parts_are_right(struct mm_struct *mm, int expected)
{
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	int nr = 0;

	vma_iter_init(&vmi, mm, 0);
	for_each_vma(vmi, vma) {
		unsigned long first = (vma->vm_start - PAGES_BASE) / PAGE_SIZE;

		ASSERT_EQ(vma->special_pages, &vma_test_pages[first]);
		ASSERT_EQ(vma->vm_pgoff, 100 + first);
		nr++;
	}
	ASSERT_EQ(nr, expected);
	return true;
}

static bool test_special_pages_split(void)
{
	struct mm_struct mm = {};
	struct vm_area_struct *vma = alloc_vma_with_pages(&mm);
	struct vma_iterator vmi;

	vma_iter_init(&vmi, &mm, PAGES_BASE);

	/* The new VMA is the upper part, the lower part, and both again. */
	ASSERT_EQ(split_vma(&vmi, vma, PAGES_BASE + 0x4000, 0), 0);
	ASSERT_TRUE(parts_are_right(&mm, 2));

	vma_iter_set(&vmi, PAGES_BASE + 0x4000);
	vma = vma_iter_load(&vmi);
	ASSERT_EQ(vma->vm_start, PAGES_BASE + 0x4000);
	ASSERT_EQ(split_vma(&vmi, vma, PAGES_BASE + 0x9000, 1), 0);
	ASSERT_TRUE(parts_are_right(&mm, 3));

	vma_iter_set(&vmi, PAGES_BASE + 0x5000);
	vma = vma_iter_load(&vmi);
	ASSERT_EQ(split_vma(&vmi, vma, PAGES_BASE + 0x6000, 0), 0);
	ASSERT_TRUE(parts_are_right(&mm, 4));

	vma_iter_set(&vmi, PAGES_BASE);
	vma = vma_iter_load(&vmi);
	ASSERT_EQ(split_vma(&vmi, vma, PAGES_BASE + 0x1000, 1), 0);
	ASSERT_TRUE(parts_are_right(&mm, 5));

	cleanup_mm(&mm, &vmi);
	return true;
}

static bool unmap_one(struct mm_struct *mm, int i)
{
	struct vma_iterator vmi;

	vma_iter_init(&vmi, mm, PAGES_BASE + i * PAGE_SIZE);
	ASSERT_EQ(do_vmi_munmap(&vmi, mm, PAGES_BASE + i * PAGE_SIZE, PAGE_SIZE,
				NULL, false), 0);
	return true;
}

static bool test_special_pages_munmap(void)
{
	struct vma_iterator vmi;
	struct mm_struct mm = {};
	int i, nr = 1;

	vma_iter_init(&vmi, &mm, 0);
	ASSERT_NE(alloc_vma_with_pages(&mm), NULL);

	/* The first page, the last page, then each second page. */
	ASSERT_TRUE(unmap_one(&mm, 0));
	ASSERT_TRUE(parts_are_right(&mm, 1));
	ASSERT_TRUE(unmap_one(&mm, PAGES_NR - 1));
	ASSERT_TRUE(parts_are_right(&mm, 1));
	for (i = 2; i < PAGES_NR - 2; i += 2) {
		ASSERT_TRUE(unmap_one(&mm, i));
		ASSERT_TRUE(parts_are_right(&mm, ++nr));
	}

	cleanup_mm(&mm, &vmi);
	return true;
}

/* mremap() of the whole VMA, and of a part. */
static bool test_special_pages_move(void)
{
	struct mm_struct mm = {};
	struct vm_area_struct *vma = alloc_vma_with_pages(&mm), *new;
	bool need_locks = false;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, &mm, 0);
	new = copy_vma(&vma, 0x100000, PAGES_NR * PAGE_SIZE, 100, 100,
		       &need_locks, false);
	ASSERT_NE(new, NULL);
	ASSERT_NE(new, vma);
	ASSERT_EQ(new->special_pages, &vma_test_pages[0]);
	ASSERT_EQ(vma->special_pages, &vma_test_pages[0]);

	new = copy_vma(&vma, 0x200000, 2 * PAGE_SIZE, 105, 105, &need_locks,
		       false);
	ASSERT_NE(new, NULL);
	ASSERT_EQ(new->special_pages, &vma_test_pages[5]);
	ASSERT_EQ(vma->special_pages, &vma_test_pages[0]);

	cleanup_mm(&mm, &vmi);
	return true;
}

/* Adjacent VMAs are not merged. */
static bool test_special_pages_no_merge(void)
{
	struct mm_struct mm = {};
	struct vm_area_struct *vma = alloc_vma_with_pages(&mm), *new;
	bool need_locks = false;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, &mm, PAGES_BASE);
	new = copy_vma(&vma, vma->vm_end, 2 * PAGE_SIZE, 100 + PAGES_NR,
		       100 + PAGES_NR, &need_locks, false);
	ASSERT_NE(new, NULL);
	ASSERT_NE(new, vma);
	ASSERT_EQ(mm.map_count, 2);
	ASSERT_EQ(vma->vm_end, PAGES_BASE + PAGES_NR * PAGE_SIZE);

	cleanup_mm(&mm, &vmi);
	return true;
}

static void run_special_pages_tests(int *num_tests, int *num_fail)
{
	TEST(special_pages_split);
	TEST(special_pages_munmap);
	TEST(special_pages_move);
	TEST(special_pages_no_merge);
}
