// SPDX-License-Identifier: GPL-2.0
/*
 * The P2M table's pages: which are shared, and when there are own ones. The rules
 * are in Documentation/xen/p2m.rst; what is special about the table of this
 * domain, that Xen's tools see it and how it is made at boot, is in p2m.c.
 */
#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/kmemleak.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pgtable.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <asm/tlbflush.h>
#include <asm/xen/hypercall.h>

#include <xen/xen.h>

#include "p2m_tree.h"

/* A writer that faults waits for the lock each time: one should do. */
#define MAX_TRIES	100

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

/**
 * xen_p2m_free_page() - free what xen_p2m_alloc_page() returned
 * @page: the page, or %NULL
 */
void __ref xen_p2m_free_page(void *page)
{
	if (!page)
		return;
	if (unlikely(!slab_is_available())) {
		memblock_free(page, PAGE_SIZE);
	} else if (PageReserved(virt_to_page(page))) {
		/* From memblock. */
		kmemleak_free_part(page, PAGE_SIZE);
		free_reserved_page(virt_to_page(page));
	} else {
		free_page((unsigned long)page);
	}
}

static void fill_leaf(unsigned long *leaf, unsigned long pfn,
		      enum xen_p2m_type type)
{
	unsigned int i;

	for (i = 0; i < P2M_PER_PAGE; i++)
		leaf[i] = xen_p2m_void_entry(type, pfn + i);
}

static pte_t *new_table(unsigned long *leaf)
{
	pte_t *table = xen_p2m_alloc_page();
	unsigned int i;

	if (!table)
		return NULL;
	for (i = 0; i < PTRS_PER_PTE; i++)
		table[i] = pfn_pte(PFN_DOWN(__pa(leaf)), PAGE_KERNEL_RO);
	paravirt_alloc_pte(&init_mm, PFN_DOWN(__pa(table)));
	return table;
}

/*
 * Whoever walks the page tables without a lock, as a fault's handler does, may
 * still read it: then it only finds that there is nothing to be done.
 */
static void free_table(pte_t *table)
{
	/* To unpin it takes a struct page, which there is none of at first. */
	if (!slab_is_available())
		return;
	paravirt_release_pte(PFN_DOWN(__pa(table)));
	xen_p2m_free_page(table);
}

/**
 * xen_p2m_tree_init() - allocate what a tree shares
 * @tree: the tree
 * @size: number of its entries
 *
 * The caller maps the entries, and sets @tree->addr and @tree->size then.
 *
 * Context: Process context, may sleep. At boot, or in a test: it warns if there
 * is no memory, and @tree->missing_pte or @tree->identity_pte is %NULL.
 */
void __ref xen_p2m_tree_init(struct p2m_tree *tree, unsigned long size)
{
	size_t bytes = BITS_TO_LONGS(size / P2M_PER_PAGE) * sizeof(long);
	unsigned long *maps;

	BUILD_BUG_ON(P2M_PER_PAGE != PTRS_PER_PTE);
	raw_spin_lock_init(&tree->lock);
	seqcount_raw_spinlock_init(&tree->seq, &tree->lock);
	mutex_init(&tree->mutex);
	tree->missing = xen_p2m_alloc_page();
	tree->identity = xen_p2m_alloc_page();
	if (slab_is_available())
		maps = kvzalloc(2 * bytes, GFP_KERNEL);
	else
		maps = memblock_alloc_or_panic(2 * bytes, SMP_CACHE_BYTES);
	if (WARN_ON(!tree->missing || !tree->identity || !maps))
		return;
	tree->is_identity = maps;
	tree->is_kept = maps + bytes / sizeof(long);
	fill_leaf(tree->missing, 0, XEN_P2M_MISSING);
	fill_leaf(tree->identity, 0, XEN_P2M_MISSING);
	tree->missing_pte = new_table(tree->missing);
	tree->identity_pte = new_table(tree->identity);
}

static unsigned long *shared_leaf(struct p2m_tree *tree, enum xen_p2m_type type)
{
	return type == XEN_P2M_IDENTITY ? tree->identity : tree->missing;
}

static enum xen_p2m_type shared_type(struct p2m_tree *tree, unsigned long *leaf)
{
	return leaf == tree->identity ? XEN_P2M_IDENTITY : XEN_P2M_MISSING;
}

static pte_t *shared_table(struct p2m_tree *tree, enum xen_p2m_type type)
{
	return type == XEN_P2M_IDENTITY ? tree->identity_pte : tree->missing_pte;
}

static pmd_t *pmd_of(struct p2m_tree *tree, unsigned long pfn)
{
	unsigned long addr = (unsigned long)(tree->addr + pfn);

	lockdep_assert(lockdep_is_held(&tree->lock) ||
		       lockdep_is_held(&tree->mutex));
	return pmd_offset(pud_offset(p4d_offset(pgd_offset_k(addr), addr),
				     addr), addr);
}

static pte_t *table_of(struct p2m_tree *tree, unsigned long pfn)
{
	return (pte_t *)pmd_page_vaddr(*pmd_of(tree, pfn));
}

static pte_t *pte_of(struct p2m_tree *tree, unsigned long pfn)
{
	return table_of(tree, pfn) + pfn / P2M_PER_PAGE % PTRS_PER_PTE;
}

static unsigned long *leaf_of(struct p2m_tree *tree, unsigned long pfn)
{
	return __va(PFN_PHYS(pte_pfn(ptep_get(pte_of(tree, pfn)))));
}

static bool is_shared_table(struct p2m_tree *tree, pte_t *table)
{
	return table == tree->missing_pte || table == tree->identity_pte;
}

static bool is_shared_leaf(struct p2m_tree *tree, unsigned long *leaf)
{
	return leaf == tree->missing || leaf == tree->identity;
}

/*
 * No cpu is to see what the page tables were before. The lock is held, so only
 * Xen can be asked to interrupt the other cpus; the trees of tests are used by
 * one.
 */
static void flush(unsigned long *entry)
{
	struct mmuext_op op = {
		.cmd = entry ? MMUEXT_INVLPG_ALL : MMUEXT_TLB_FLUSH_ALL,
		.arg1.linear_addr = (unsigned long)entry,
	};

	if (!xen_pv_domain())
		__flush_tlb_all();
	else if (HYPERVISOR_mmuext_op(&op, 1, NULL, DOMID_SELF) < 0)
		WARN_ON_ONCE(1);
}

static void begin(struct p2m_tree *tree)
{
	/* What is written to page tables is to be there at once. */
	lazy_mmu_mode_pause();
	if (tree->ops)
		tree->ops->begin(tree);
}

static void end(struct p2m_tree *tree)
{
	if (tree->ops)
		tree->ops->end(tree);
	lazy_mmu_mode_resume();
}

/* Who has seen that it is read-only finds out by a fault that it is not. */
static void make_writable(pte_t *pte, unsigned long *leaf)
{
	lazy_mmu_mode_pause();
	set_pte(pte, pfn_pte(PFN_DOWN(__pa(leaf)), PAGE_KERNEL));
	lazy_mmu_mode_resume();
}

/* Makes @leaf that of @pfn. */
static void __set_leaf(struct p2m_tree *tree, unsigned long pfn,
		       unsigned long *leaf)
{
	unsigned long nr = pfn / P2M_PER_PAGE;
	pte_t *pte = pte_of(tree, pfn);

	lockdep_assert_held(&tree->lock);
	/*
	 * An entry that is invalid is looked up in the bitmap, one of an own leaf
	 * that is identity is not: so the bit is set as long as anyone may see
	 * the shared leaf. Nor may anyone make an entry invalid as long as the
	 * bit is set: so an own leaf can only be written to when it is not.
	 */
	if (leaf == tree->identity)
		__set_bit(nr, tree->is_identity);
	raw_write_seqcount_begin(&tree->seq);
	begin(tree);
	set_pte(pte, pfn_pte(PFN_DOWN(__pa(leaf)), PAGE_KERNEL_RO));
	if (tree->ops)
		tree->ops->set_leaf(tree, pfn, leaf);
	end(tree);
	flush(tree->addr + pfn);
	if (leaf != tree->identity)
		__clear_bit(nr, tree->is_identity);
	raw_write_seqcount_end(&tree->seq);
	if (!is_shared_leaf(tree, leaf))
		make_writable(pte, leaf);
}

static void set_leaf(struct p2m_tree *tree, unsigned long pfn,
		     unsigned long *leaf)
{
	lockdep_assert_held(&tree->mutex);
	guard(raw_spinlock_irqsave)(&tree->lock);
	__set_leaf(tree, pfn, leaf);
}

/* Makes @table that of @pfn. */
static void set_table(struct p2m_tree *tree, unsigned long pfn, pte_t *table)
{
	unsigned long nr = round_down(pfn, P2M_PER_TABLE) / P2M_PER_PAGE;

	lockdep_assert_held(&tree->mutex);
	guard(raw_spinlock_irqsave)(&tree->lock);
	if (table == tree->identity_pte)
		bitmap_set(tree->is_identity, nr, PTRS_PER_PTE);
	raw_write_seqcount_begin(&tree->seq);
	begin(tree);
	set_pmd(pmd_of(tree, pfn), __pmd(__pa(table) | _KERNPG_TABLE));
	if (tree->ops && is_shared_table(tree, table))
		tree->ops->share_table(tree, pfn);
	end(tree);
	/* One of its own says at first what the shared one has said. */
	if (is_shared_table(tree, table)) {
		flush(NULL);
		bitmap_clear(tree->is_kept, nr, PTRS_PER_PTE);
		if (table == tree->missing_pte)
			bitmap_clear(tree->is_identity, nr, PTRS_PER_PTE);
	}
	raw_write_seqcount_end(&tree->seq);
}

/* Gives @pfn a page table that can be written to. */
static int own_table(struct p2m_tree *tree, unsigned long pfn)
{
	pte_t *table;

	if (!is_shared_table(tree, table_of(tree, pfn)))
		return 0;
	if (tree->ops && tree->ops->prepare(tree, pfn))
		return -ENOMEM;
	table = new_table(leaf_of(tree, pfn));
	if (!table)
		return -ENOMEM;
	set_table(tree, pfn, table);
	return 0;
}

/**
 * xen_p2m_tree_set() - set the entry of a frame, where there is one
 * @tree: the tree
 * @pfn: the frame
 * @entry: an mfn, FOREIGN_FRAME(mfn), IDENTITY_FRAME(@pfn) or %INVALID_P2M_ENTRY
 *
 * Context: Any context but NMI.
 * Return: whether the frame has that entry now. If not, it may want
 * xen_p2m_tree_split() first. Beyond the end of the tree none is ever set; there
 * %INVALID_P2M_ENTRY is let pass, for those who undo what they could not do.
 */
bool xen_p2m_tree_set(struct p2m_tree *tree, unsigned long pfn,
		      unsigned long entry)
{
	unsigned int tries = 0;
	unsigned long *leaf;

	if (unlikely(pfn >= tree->size))
		return entry == INVALID_P2M_ENTRY;

	/*
	 * The interface requires atomic updates on p2m elements.
	 * xen_safe_write_ulong() is using an atomic store via asm().
	 */
	while (xen_safe_write_ulong(tree->addr + pfn, entry)) {
		scoped_guard(raw_spinlock_irqsave, &tree->lock)
			leaf = leaf_of(tree, pfn);
		if (leaf == tree->missing)
			return entry == INVALID_P2M_ENTRY;
		if (leaf == tree->identity)
			return entry == IDENTITY_FRAME(pfn);
		/* An own one, which was just made, or was to be shared. */
		if (WARN_ON_ONCE(tries++ == MAX_TRIES))
			return false;
	}

	return true;
}

/* Whether @pfn has a leaf of its own, which is kept from now on if @keep. */
static bool has_leaf(struct p2m_tree *tree, unsigned long pfn, bool keep)
{
	guard(raw_spinlock_irqsave)(&tree->lock);
	if (is_shared_leaf(tree, leaf_of(tree, pfn)))
		return false;
	if (keep)
		__set_bit(pfn / P2M_PER_PAGE, tree->is_kept);
	return true;
}

/**
 * xen_p2m_tree_split() - give a frame a leaf that can be written to
 * @tree: the tree
 * @pfn: the frame
 * @keep: whether xen_p2m_tree_set() is to succeed from then on, until a range is
 *	set that all frames of the leaf are in
 *
 * Context: Process context, may sleep.
 * Return: 0; -ERANGE if the tree does not reach that far; -ENOMEM
 */
int xen_p2m_tree_split(struct p2m_tree *tree, unsigned long pfn, bool keep)
{
	unsigned long *old, *leaf;

	if (pfn >= tree->size)
		return -ERANGE;
	if (has_leaf(tree, pfn, keep))
		return 0;

	leaf = xen_p2m_alloc_page();
	if (!leaf)
		return -ENOMEM;

	guard(mutex)(&tree->mutex);
	if (own_table(tree, pfn)) {
		xen_p2m_free_page(leaf);
		return -ENOMEM;
	}
	old = leaf_of(tree, pfn);
	if (is_shared_leaf(tree, old)) {
		fill_leaf(leaf, round_down(pfn, P2M_PER_PAGE),
			  shared_type(tree, old));
		set_leaf(tree, pfn, leaf);
	} else {
		/* Somebody else has done it. */
		xen_p2m_free_page(leaf);
	}
	has_leaf(tree, pfn, keep);
	return 0;
}

/**
 * xen_p2m_tree_set_split() - set the entry of a frame, with a leaf if it wants one
 * @tree: the tree
 * @pfn: the frame
 * @entry: as for xen_p2m_tree_set()
 *
 * Context: Process context, may sleep. Any but NMI where the leaf is kept.
 * Return: 0; -ERANGE if the tree does not reach that far; -ENOMEM; -EIO if the
 * leaf can't be written to
 */
int xen_p2m_tree_set_split(struct p2m_tree *tree, unsigned long pfn,
			   unsigned long entry)
{
	unsigned int tries;
	int ret;

	for (tries = 0; tries < MAX_TRIES; tries++) {
		if (xen_p2m_tree_set(tree, pfn, entry))
			return 0;
		/* Again, if it was shared in between. */
		ret = xen_p2m_tree_split(tree, pfn, false);
		if (ret)
			return ret;
	}
	return -EIO;
}

/* Whether all entries of @leaf, which is that of @pfn, say @type. */
static bool is_uniform(unsigned long *leaf, unsigned long pfn,
		       enum xen_p2m_type type)
{
	unsigned int i;

	pfn = round_down(pfn, P2M_PER_PAGE);
	for (i = 0; i < P2M_PER_PAGE; i++)
		if (READ_ONCE(leaf[i]) != xen_p2m_void_entry(type, pfn + i))
			return false;
	return true;
}

/*
 * Shares the leaf of @pfn if all its frames are @type.  Others may write entries
 * at the same time, without a lock: so none can while it is looked at.
 */
static void share_uniform(struct p2m_tree *tree, unsigned long pfn,
			  enum xen_p2m_type type)
{
	unsigned long *leaf = leaf_of(tree, pfn);
	pte_t *pte = pte_of(tree, pfn);
	bool share;

	if (tree->keep_all || is_shared_leaf(tree, leaf) ||
	    !is_uniform(leaf, pfn, type))
		return;

	scoped_guard(raw_spinlock_irqsave, &tree->lock) {
		lazy_mmu_mode_pause();
		set_pte(pte, pfn_pte(PFN_DOWN(__pa(leaf)), PAGE_KERNEL_RO));
		lazy_mmu_mode_resume();
		flush(tree->addr + pfn);
		share = !test_bit(pfn / P2M_PER_PAGE, tree->is_kept) &&
			is_uniform(leaf, pfn, type);
		if (share)
			__set_leaf(tree, pfn, shared_leaf(tree, type));
		else
			make_writable(pte, leaf);
	}
	if (share)
		xen_p2m_free_page(leaf);
}

/* Shares the table of @pfn if all its leaves are shared ones of @type. */
static void share_table(struct p2m_tree *tree, unsigned long pfn,
			enum xen_p2m_type type)
{
	unsigned long leaf_pfn = PFN_DOWN(__pa(shared_leaf(tree, type)));
	pte_t *table = table_of(tree, pfn);
	unsigned int i;

	if (is_shared_table(tree, table))
		return;
	for (i = 0; i < PTRS_PER_PTE; i++)
		if (pte_pfn(ptep_get(table + i)) != leaf_pfn)
			return;
	set_table(tree, pfn, shared_table(tree, type));
	free_table(table);
}

/* All frames of the leaf of @pfn become @type, which takes no leaf. */
static int set_whole_leaf(struct p2m_tree *tree, unsigned long pfn,
			  enum xen_p2m_type type)
{
	unsigned long *old = leaf_of(tree, pfn);

	if (old == shared_leaf(tree, type))
		return 0;
	if (own_table(tree, pfn))
		return -ENOMEM;
	if (tree->keep_all && !is_shared_leaf(tree, old)) {
		fill_leaf(old, pfn, type);
		return 0;
	}
	set_leaf(tree, pfn, shared_leaf(tree, type));
	scoped_guard(raw_spinlock_irqsave, &tree->lock)
		__clear_bit(pfn / P2M_PER_PAGE, tree->is_kept);
	if (!is_shared_leaf(tree, old))
		xen_p2m_free_page(old);
	return 0;
}

/* All frames of the table of @pfn become @type. */
static void set_whole_table(struct p2m_tree *tree, unsigned long pfn,
			    enum xen_p2m_type type)
{
	pte_t *table = table_of(tree, pfn);
	unsigned int i;

	if (table == shared_table(tree, type))
		return;
	set_table(tree, pfn, shared_table(tree, type));
	if (is_shared_table(tree, table))
		return;
	for (i = 0; i < PTRS_PER_PTE; i++) {
		unsigned long *leaf = __va(PFN_PHYS(pte_pfn(ptep_get(table + i))));

		if (!is_shared_leaf(tree, leaf))
			xen_p2m_free_page(leaf);
	}
	free_table(table);
}

/* The frames of a part of a leaf become @type. */
static int set_part(struct p2m_tree *tree, unsigned long pfn,
		    unsigned long end, enum xen_p2m_type type)
{
	unsigned long first = pfn;
	int ret;

	scoped_guard(mutex, &tree->mutex)
		if (leaf_of(tree, pfn) == shared_leaf(tree, type))
			return 0;

	for (; pfn < end; pfn++) {
		ret = xen_p2m_tree_set_split(tree, pfn,
					     xen_p2m_void_entry(type, pfn));
		if (ret)
			return ret;
	}
	guard(mutex)(&tree->mutex);
	share_uniform(tree, first, type);
	return 0;
}

/**
 * xen_p2m_tree_set_range() - make frames identity or missing
 * @tree: the tree
 * @pfn: the first frame
 * @nr: number of frames
 * @type: %XEN_P2M_IDENTITY or %XEN_P2M_MISSING
 *
 * Leaves and page tables that are uniform then are shared, and their pages freed,
 * less those leaves that are kept and of which only a part is in the range.
 * Nobody else may set entries of these frames at the same time; others of the
 * same leaves they may, where they can sleep, or where the leaf is kept.
 *
 * Context: Process context, may sleep.
 * Return: 0; -EINVAL for another type; -ERANGE if frames beyond the tree, which
 * are always identity, were to be missing, and nothing was done; -ENOMEM if there
 * is no memory for the pages at the ends, or -EIO if one can't be written to,
 * where a part of the frames may have been set
 */
int xen_p2m_tree_set_range(struct p2m_tree *tree, unsigned long pfn,
			   unsigned long nr, enum xen_p2m_type type)
{
	unsigned long end = pfn + min(nr, -1ul - pfn), next;
	int ret = 0;

	if (type != XEN_P2M_IDENTITY && type != XEN_P2M_MISSING)
		return -EINVAL;

	if (type == XEN_P2M_MISSING && nr && end > tree->size)
		return -ERANGE;

	for (end = min(end, tree->size); pfn < end && !ret; pfn = next) {
		next = pfn + P2M_PER_TABLE;
		if (!(pfn % P2M_PER_TABLE) && next <= end && !tree->keep_all) {
			guard(mutex)(&tree->mutex);
			set_whole_table(tree, pfn, type);
			continue;
		}
		next = min(end, round_down(pfn, P2M_PER_PAGE) + P2M_PER_PAGE);
		if (next - pfn == P2M_PER_PAGE) {
			guard(mutex)(&tree->mutex);
			ret = set_whole_leaf(tree, pfn, type);
		} else {
			ret = set_part(tree, pfn, next, type);
		}
		if (next == end || !(next % P2M_PER_TABLE)) {
			guard(mutex)(&tree->mutex);
			share_table(tree, pfn, type);
		}
	}
	return ret;
}

/* The type of @pfn, and up to where in its leaf the others have it. */
static enum xen_p2m_type leaf_run(struct p2m_tree *tree, unsigned long pfn,
				  unsigned long *end)
{
	unsigned long last = round_down(pfn, P2M_PER_PAGE) + P2M_PER_PAGE;
	enum xen_p2m_type type;
	unsigned long entry;

	for (*end = pfn; *end < last; ++*end) {
		entry = READ_ONCE(tree->addr[*end]);
		if (entry == INVALID_P2M_ENTRY)
			entry = xen_p2m_tree_void(tree, *end);
		if (*end == pfn)
			type = xen_p2m_entry_type(entry);
		else if (xen_p2m_entry_type(entry) != type)
			break;
	}
	return type;
}

/**
 * xen_p2m_tree_run() - find out how many frames are of one type
 * @tree: the tree
 * @pfn: the first one
 * @run: what is found
 *
 * Others may change entries meanwhile; a run is right for each frame at the time
 * when it was looked at.
 *
 * Context: Process context, may sleep.
 * Return: true; false if @pfn is beyond the tree, where all is identity
 */
bool xen_p2m_tree_run(struct p2m_tree *tree, unsigned long pfn,
		      struct p2m_run *run)
{
	enum xen_p2m_type type;
	unsigned long end;
	pte_t *table;

	if (pfn >= tree->size)
		return false;

	run->pfn = pfn;
	for (; pfn < tree->size; pfn = end) {
		guard(mutex)(&tree->mutex);
		table = table_of(tree, pfn);
		if (is_shared_table(tree, table)) {
			type = shared_type(tree, leaf_of(tree, pfn));
			end = round_down(pfn, P2M_PER_TABLE) + P2M_PER_TABLE;
		} else if (is_shared_leaf(tree, leaf_of(tree, pfn))) {
			type = shared_type(tree, leaf_of(tree, pfn));
			end = round_down(pfn, P2M_PER_PAGE) + P2M_PER_PAGE;
		} else {
			type = leaf_run(tree, pfn, &end);
		}
		if (pfn == run->pfn)
			run->type = type;
		else if (type != run->type)
			break;
		cond_resched();
	}
	run->nr = pfn - run->pfn;
	return true;
}

/**
 * xen_p2m_tree_stat() - count the pages of a tree
 * @tree: the tree
 * @stat: gets the numbers
 *
 * Context: Process context, may sleep.
 */
void xen_p2m_tree_stat(struct p2m_tree *tree, struct p2m_tree_stat *stat)
{
	unsigned long pfn;
	pte_t *table;
	unsigned int i;

	memset(stat, 0, sizeof(*stat));
	for (pfn = 0; pfn < tree->size; pfn += P2M_PER_TABLE) {
		cond_resched();
		guard(mutex)(&tree->mutex);
		table = table_of(tree, pfn);
		if (is_shared_table(tree, table)) {
			stat->shared_tables++;
			continue;
		}
		stat->tables++;
		for (i = 0; i < PTRS_PER_PTE; i++) {
			if (is_shared_leaf(tree, leaf_of(tree, pfn + i * P2M_PER_PAGE)))
				stat->shared_leaves++;
			else
				stat->leaves++;
		}
	}
}
