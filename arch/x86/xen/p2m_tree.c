// SPDX-License-Identifier: GPL-2.0
/*
 * The pages of a P2M table. Identity parts share a page, all other parts have a
 * separate page: see struct p2m_tree and Documentation/xen/p2m.rst. p2m.c
 * builds the table of this domain and shows it to Xen's tools.
 */
#include <linux/gfp.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/slab.h>

#include "p2m_tree.h"

/**
 * xen_p2m_alloc_page() - allocate a leaf or a page table
 *
 * Context: Process context, may sleep. Early in boot from memblock.
 * Return: the page, %NULL if there is no memory
 */
void __ref *xen_p2m_alloc_page(void)
{
	if (unlikely(!slab_is_available()))
		return memblock_alloc_or_panic(PAGE_SIZE, PAGE_SIZE);

	return (void *)__get_free_page(GFP_KERNEL);
}

static pte_t *new_table(struct p2m_tree *tree)
{
	pte_t *table = xen_p2m_alloc_page();
	unsigned int i;

	if (!table)
		return NULL;
	for (i = 0; i < PTRS_PER_PTE; i++)
		table[i] = pfn_pte(PFN_DOWN(__pa(tree->identity)),
				   PAGE_KERNEL_RO);
	paravirt_alloc_pte(&init_mm, PFN_DOWN(__pa(table)));
	return table;
}

static void free_table(pte_t *table)
{
	paravirt_release_pte(PFN_DOWN(__pa(table)));
	free_page((unsigned long)table);
}

/**
 * xen_p2m_tree_init() - allocate the shared pages of a tree
 * @tree: the tree
 *
 * The caller maps the entries, and then sets @tree->addr and @tree->size.
 *
 * Context: Process context, may sleep. If there is no memory, the function warns
 * and @tree->identity_pte is %NULL.
 */
void xen_p2m_tree_init(struct p2m_tree *tree)
{
	unsigned int i;

	BUILD_BUG_ON(P2M_PER_PAGE != PTRS_PER_PTE);
	spin_lock_init(&tree->lock);
	tree->identity = xen_p2m_alloc_page();
	if (WARN_ON(!tree->identity))
		return;
	for (i = 0; i < P2M_PER_PAGE; i++)
		tree->identity[i] = INVALID_P2M_ENTRY;
	tree->identity_pte = new_table(tree);
	WARN_ON(!tree->identity_pte);
}

static pmd_t *pmd_of(struct p2m_tree *tree, unsigned long pfn)
{
	unsigned long addr = (unsigned long)(tree->addr + pfn);

	return pmd_offset(pud_offset(p4d_offset(pgd_offset_k(addr), addr),
				     addr), addr);
}

static pte_t *table_of(struct p2m_tree *tree, unsigned long pfn)
{
	return (pte_t *)pmd_page_vaddr(pmdp_get(pmd_of(tree, pfn)));
}

static pte_t *pte_of(struct p2m_tree *tree, unsigned long pfn)
{
	return table_of(tree, pfn) + pfn / P2M_PER_PAGE % PTRS_PER_PTE;
}

/* The leaf of @pfn by its address in the direct map. */
static unsigned long *leaf_of(struct p2m_tree *tree, unsigned long pfn)
{
	return __va(PFN_PHYS(pte_pfn(ptep_get(pte_of(tree, pfn)))));
}

/**
 * xen_p2m_tree_lookup() - look up an entry in the page tables
 * @tree: the tree
 * @pfn: the frame
 *
 * For frames without an entry, or with an invalid entry in @tree->addr. Frames
 * beyond the tree and frames of the shared leaf are identity.
 *
 * The TLB of this CPU may still map the shared leaf after another CPU has given
 * @pfn a leaf. So this function walks the page tables, and reads the leaf
 * through the direct map.
 *
 * Context: Any context.
 * Return: IDENTITY_FRAME(@pfn) or the entry
 */
unsigned long xen_p2m_tree_lookup(struct p2m_tree *tree, unsigned long pfn)
{
	unsigned long *leaf;

	if (pfn >= tree->size)
		return IDENTITY_FRAME(pfn);

	leaf = leaf_of(tree, pfn);
	if (leaf == tree->identity)
		return IDENTITY_FRAME(pfn);

	return READ_ONCE(leaf[pfn % P2M_PER_PAGE]);
}

/**
 * xen_p2m_tree_shared() - count the frames that share their page with a frame
 * @tree: the tree
 * @pfn: the frame, below @tree->size
 *
 * Return: number of frames from @pfn to the end of the shared leaf or page table;
 * 0 if @pfn has a leaf of its own
 */
unsigned long xen_p2m_tree_shared(struct p2m_tree *tree, unsigned long pfn)
{
	if (table_of(tree, pfn) == tree->identity_pte)
		return P2M_PER_TABLE - pfn % P2M_PER_TABLE;
	if (leaf_of(tree, pfn) == tree->identity)
		return P2M_PER_PAGE - pfn % P2M_PER_PAGE;
	return 0;
}

/* The slow path of xen_p2m_tree_set() */
bool __xen_p2m_tree_set(struct p2m_tree *tree, unsigned long pfn,
			unsigned long entry)
{
	unsigned long *leaf;

	if (unlikely(pfn >= tree->size))
		return entry == IDENTITY_FRAME(pfn);

	leaf = leaf_of(tree, pfn);
	if (leaf == tree->identity)
		return entry == IDENTITY_FRAME(pfn);

	/* A stale TLB entry of this CPU has caused the fault. */
	WRITE_ONCE(leaf[pfn % P2M_PER_PAGE], entry);
	return true;
}

/* Map @table or @leaf for @pfn in place of the shared one, if still there. */
static bool replace_shared(struct p2m_tree *tree, unsigned long pfn,
			   pte_t *table, unsigned long *leaf)
{
	guard(spinlock_irqsave)(&tree->lock);
	if (table ? table_of(tree, pfn) != tree->identity_pte :
		    leaf_of(tree, pfn) != tree->identity)
		return false;

	if (tree->ops)
		tree->ops->begin();
	if (table)
		set_pmd(pmd_of(tree, pfn), __pmd(__pa(table) | _KERNPG_TABLE));
	else
		set_pte(pte_of(tree, pfn),
			pfn_pte(PFN_DOWN(__pa(leaf)), PAGE_KERNEL));
	if (tree->ops)
		tree->ops->end(pfn, leaf);
	return true;
}

/**
 * xen_p2m_tree_split() - replace the shared leaf of a frame
 * @tree: the tree
 * @pfn: the frame
 *
 * Afterwards xen_p2m_tree_set() never fails for the 512 frames of the new leaf.
 *
 * Context: Process context, may sleep.
 * Return: 0; -ERANGE if @pfn is beyond the end of the tree; -ENOMEM
 */
int xen_p2m_tree_split(struct p2m_tree *tree, unsigned long pfn)
{
	unsigned long *leaf, first = round_down(pfn, P2M_PER_PAGE);
	pte_t *table;
	unsigned int i;

	if (pfn >= tree->size)
		return -ERANGE;
	if (leaf_of(tree, pfn) != tree->identity)
		return 0;
	if (tree->ops && tree->ops->prepare(pfn))
		return -ENOMEM;

	if (table_of(tree, pfn) == tree->identity_pte) {
		table = new_table(tree);
		if (!table)
			return -ENOMEM;
		if (!replace_shared(tree, pfn, table, NULL))
			free_table(table);
	}

	leaf = xen_p2m_alloc_page();
	if (!leaf)
		return -ENOMEM;
	for (i = 0; i < P2M_PER_PAGE; i++)
		leaf[i] = IDENTITY_FRAME(first + i);
	if (!replace_shared(tree, pfn, NULL, leaf))
		free_page((unsigned long)leaf);
	return 0;
}

/**
 * xen_p2m_tree_set_range() - make frames identity or missing
 * @tree: the tree
 * @pfn: the first frame
 * @nr: number of frames
 * @type: %XEN_P2M_IDENTITY or %XEN_P2M_MISSING
 *
 * The caller owns the frames: nobody else sets their entries at the same time.
 *
 * Context: Process context, may sleep.
 * Return: 0; -EINVAL for another type; -ERANGE for %XEN_P2M_MISSING beyond the
 * end of the tree, before any entry is set; -ENOMEM, after some entries may
 * have been set
 */
int xen_p2m_tree_set_range(struct p2m_tree *tree, unsigned long pfn,
			   unsigned long nr, enum xen_p2m_type type)
{
	unsigned long entry, end = pfn + min(nr, -1ul - pfn);
	int ret;

	if (type != XEN_P2M_IDENTITY && type != XEN_P2M_MISSING)
		return -EINVAL;
	if (type == XEN_P2M_MISSING && nr && end > tree->size)
		return -ERANGE;

	for (end = min(end, tree->size); pfn < end; pfn++) {
		entry = xen_p2m_range_entry(type, pfn);
		if (xen_p2m_tree_set(tree, pfn, entry))
			continue;
		ret = xen_p2m_tree_split(tree, pfn);
		if (ret)
			return ret;
		xen_p2m_tree_set(tree, pfn, entry);
		cond_resched();
	}
	return 0;
}

#ifdef CONFIG_XEN_P2M_KUNIT_TEST
#include "tests/p2m_kunit.c"
#endif
