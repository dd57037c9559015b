/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XEN_P2M_TREE_H
#define _XEN_P2M_TREE_H

#include <linux/pgtable.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <asm/xen/page.h>

/* Number of entries that one page table of 512 leaves maps. */
#define P2M_PER_TABLE	(P2M_PER_PAGE * PTRS_PER_PTE)

/**
 * struct p2m_tree_ops - hooks for a second structure that names the leaves
 * @prepare: allocate memory for a new leaf of @pfn. May sleep. Returns 0 or an
 *	error, and then nothing is changed
 * @begin: called under the lock before a page is replaced
 * @end: called under the lock after a page was replaced. @leaf is the new leaf of
 *	@pfn, or %NULL if a page table was replaced
 */
struct p2m_tree_ops {
	int (*prepare)(unsigned long pfn);
	void (*begin)(void);
	void (*end)(unsigned long pfn, unsigned long *leaf);
};

/**
 * struct p2m_tree - a table from pfn to mfn whose identity parts share pages
 * @addr: the entries, an array in virtual memory
 * @size: number of entries, a multiple of P2M_PER_TABLE
 * @ops: hooks, or %NULL
 * @lock: serializes changes of the page tables that map @addr. Entries are read
 *	and written without a lock
 * @identity: the shared leaf: 512 times %INVALID_P2M_ENTRY, mapped read-only
 * @identity_pte: the shared page table: 512 times @identity
 *
 * A leaf is a page of 512 entries. Each part of 512 identity frames maps the
 * shared leaf until one of its frames gets another entry. The part then gets a
 * leaf of its own, forever. This rule makes readers safe without a TLB flush. A
 * stale TLB entry can only map the shared leaf, where each entry is invalid.
 * xen_p2m_tree_lookup() reads such entries again through the direct map.
 */
struct p2m_tree {
	unsigned long *addr;
	unsigned long size;
	const struct p2m_tree_ops *ops;
	spinlock_t lock;	/* for the page tables of @addr */
	unsigned long *identity;
	pte_t *identity_pte;
};

/* The P2M table of this domain. Its size is 0 until the table is built. */
extern struct p2m_tree xen_p2m;

/* The entry of an identity or a missing frame. */
static inline unsigned long xen_p2m_range_entry(enum xen_p2m_type type,
						unsigned long pfn)
{
	return type == XEN_P2M_IDENTITY ? IDENTITY_FRAME(pfn) :
					  INVALID_P2M_ENTRY;
}

void *xen_p2m_alloc_page(void);
void xen_p2m_tree_init(struct p2m_tree *tree);
unsigned long xen_p2m_tree_lookup(struct p2m_tree *tree, unsigned long pfn);
unsigned long xen_p2m_tree_shared(struct p2m_tree *tree, unsigned long pfn);
bool __xen_p2m_tree_set(struct p2m_tree *tree, unsigned long pfn,
			unsigned long entry);
int xen_p2m_tree_split(struct p2m_tree *tree, unsigned long pfn);
int xen_p2m_tree_set_range(struct p2m_tree *tree, unsigned long pfn,
			   unsigned long nr, enum xen_p2m_type type);

/**
 * xen_p2m_tree_set() - set the entry of a frame that has a leaf of its own
 * @tree: the tree
 * @pfn: the frame
 * @entry: an mfn, FOREIGN_FRAME(mfn), IDENTITY_FRAME(@pfn) or %INVALID_P2M_ENTRY
 *
 * Context: Any context but NMI.
 * Return: true if xen_p2m_tree_lookup() returns @entry from now on; false if
 * xen_p2m_tree_split() has to be called first
 */
static inline bool xen_p2m_tree_set(struct p2m_tree *tree, unsigned long pfn,
				    unsigned long entry)
{
	/*
	 * The interface requires atomic updates on p2m elements.
	 * xen_safe_write_ulong() is using an atomic store via asm().
	 */
	return (likely(pfn < tree->size) &&
		likely(!xen_safe_write_ulong(tree->addr + pfn, entry))) ||
	       __xen_p2m_tree_set(tree, pfn, entry);
}

#endif
