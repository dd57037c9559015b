/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XEN_P2M_TREE_H
#define _XEN_P2M_TREE_H

#include <linux/bitops.h>
#include <linux/mutex.h>
#include <linux/pgtable.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <asm/xen/page.h>

/* The entries that a page table of 512 leaves maps. */
#define P2M_PER_TABLE	(P2M_PER_PAGE * PTRS_PER_PTE)

struct p2m_tree;

/**
 * struct p2m_tree_ops - what else is done when the pages of a tree change
 * @prepare: the table of @pfn is to become one of its own: allocates what that
 *	takes. Called with the mutex held. Returns 0, or an error: then it stays
 *	as it is.
 * @begin: called before, with the lock held
 * @set_leaf: @leaf is now that of @pfn, between @begin and @end
 * @share_table: the table of @pfn is now a shared one, between @begin and @end
 * @end: called after, with the lock held
 */
struct p2m_tree_ops {
	int (*prepare)(struct p2m_tree *tree, unsigned long pfn);
	void (*begin)(struct p2m_tree *tree);
	void (*set_leaf)(struct p2m_tree *tree, unsigned long pfn,
			 unsigned long *leaf);
	void (*share_table)(struct p2m_tree *tree, unsigned long pfn);
	void (*end)(struct p2m_tree *tree);
};

/**
 * struct p2m_tree - a table from pfn to mfn, whose uniform parts share pages
 * @addr: the entries, an array in virtual memory
 * @size: their number, a multiple of P2M_PER_TABLE
 * @ops: see &struct p2m_tree_ops, or %NULL
 * @mutex: held by those who change the page tables of @addr, or depend on them
 * @lock: held while they change them and @is_identity. Entries are read and
 *	written without either.
 * @seq: odd while they do, for those who look at @is_identity without a lock
 * @is_identity: a bit for each leaf: whether it is @identity
 * @is_kept: a bit for each leaf: it is an own one, and stays so
 * @keep_all: no leaf of its own is ever given up, as others have mapped it
 * @missing: the leaf of all 512 frames that are missing
 * @identity: that of all 512 frames that are identity; it has the same content,
 *	as Xen's tools know no identity frames
 * @missing_pte: the page table of 512 times @missing
 * @identity_pte: that of 512 times @identity
 *
 * A leaf is a page of 512 entries, a table a page table of 512 leaves. For
 * example, in a domain of 1 GB with a hole for devices, in which one frame is
 * memory::
 *
 *	addr
 *	 | pmd 0 -> table -> 512 leaves of its own
 *	 | pmd 1 -> identity_pte -> identity, identity, ...
 *	 | pmd 2 -> identity_pte
 *	 | pmd 3 -> table -> identity, identity, own, identity, ...
 *
 * Only what has pages of its own can be written to. xen_p2m_tree_set() tries, and
 * fails where there are none; xen_p2m_tree_split() provides them, and
 * xen_p2m_tree_set_range() gives up those that are not needed any more.
 */
struct p2m_tree {
	unsigned long *addr;
	unsigned long size;
	const struct p2m_tree_ops *ops;
	struct mutex mutex;	/* for changes of pages */
	raw_spinlock_t lock;
	seqcount_raw_spinlock_t seq;
	unsigned long *is_identity;
	unsigned long *is_kept;
	bool keep_all;
	unsigned long *missing;
	unsigned long *identity;
	pte_t *missing_pte;
	pte_t *identity_pte;
};

/**
 * struct p2m_run - frames of one type that follow each other
 * @type: their type
 * @pfn: the first one
 * @nr: number of frames
 */
struct p2m_run {
	enum xen_p2m_type type;
	unsigned long pfn;
	unsigned long nr;
};

/**
 * struct p2m_tree_stat - the pages of a tree
 * @tables: page tables of its own
 * @shared_tables: references to missing_pte and identity_pte
 * @leaves: leaves of its own
 * @shared_leaves: references to missing and identity, by its own page tables
 */
struct p2m_tree_stat {
	unsigned long tables;
	unsigned long shared_tables;
	unsigned long leaves;
	unsigned long shared_leaves;
};

/* This domain's. */
extern struct p2m_tree xen_p2m;

/**
 * xen_p2m_tree_void() - what a frame is whose entry is invalid, or that has none
 * @tree: the tree
 * @pfn: the frame
 *
 * Void is identity: what the tree does not reach, and what has no leaf of its own
 * but the shared one of identity frames.
 *
 * Nothing is waited for, as this may have interrupted who changes the leaf. The
 * bit is set before a leaf becomes @identity and cleared after it no longer is, so
 * it may be looked at during a change, but not before one and the entry after it.
 *
 * Context: Any context.
 * Return: IDENTITY_FRAME(@pfn), or the entry, which is %INVALID_P2M_ENTRY unless
 * it has just changed
 */
static inline unsigned long xen_p2m_tree_void(const struct p2m_tree *tree,
					      unsigned long pfn)
{
	unsigned long entry;
	unsigned int seq;

	if (pfn >= tree->size)
		return IDENTITY_FRAME(pfn);

	do {
		seq = raw_read_seqcount(&tree->seq);
		if (test_bit(pfn / P2M_PER_PAGE, tree->is_identity))
			return IDENTITY_FRAME(pfn);
		entry = READ_ONCE(tree->addr[pfn]);
	} while (read_seqcount_retry(&tree->seq, seq));

	return entry;
}

/* The entry that says of @pfn that it is identity, or missing. */
static inline unsigned long xen_p2m_void_entry(enum xen_p2m_type type,
					       unsigned long pfn)
{
	return type == XEN_P2M_IDENTITY ? IDENTITY_FRAME(pfn) :
					  INVALID_P2M_ENTRY;
}

void *xen_p2m_alloc_page(void);
void xen_p2m_free_page(void *page);

void xen_p2m_tree_init(struct p2m_tree *tree, unsigned long size);
bool xen_p2m_tree_set(struct p2m_tree *tree, unsigned long pfn,
		      unsigned long entry);
int xen_p2m_tree_split(struct p2m_tree *tree, unsigned long pfn, bool keep);
int xen_p2m_tree_set_split(struct p2m_tree *tree, unsigned long pfn,
			   unsigned long entry);
int xen_p2m_tree_set_range(struct p2m_tree *tree, unsigned long pfn,
			   unsigned long nr, enum xen_p2m_type type);
bool xen_p2m_tree_run(struct p2m_tree *tree, unsigned long pfn,
		      struct p2m_run *run);
void xen_p2m_tree_stat(struct p2m_tree *tree, struct p2m_tree_stat *stat);

#endif
