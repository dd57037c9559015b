// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the P2M table's pages, on trees of their own: neither this domain's is
 * touched, nor is a domain needed.  Without Xen only one cpu may see a tree.
 */
#include <kunit/test.h>

#include <linux/bitmap.h>
#include <linux/cpumask.h>
#include <linux/initrd.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>

#include <xen/xen.h>

#include "../p2m_tree.h"

#define LEAF	P2M_PER_PAGE
#define TABLE	P2M_PER_TABLE
#define TOP	(TABLE * PTRS_PER_PMD)

/* A frame of no meaning. */
#define MFN	0x1234567UL

/**
 * struct p2m_test - a tree, and where it is
 * @tree: the tree
 * @area: addresses for its entries, those of TABLE more than needed
 * @whole: whether there is a page table at each
 */
struct p2m_test {
	struct p2m_tree tree;
	struct vm_struct *area;
	bool whole;
};

static pmd_t *alloc_pmd(unsigned long addr)
{
	p4d_t *p4d = p4d_alloc(&init_mm, pgd_offset_k(addr), addr);
	pud_t *pud = p4d ? pud_alloc(&init_mm, p4d, addr) : NULL;

	return pud ? pmd_alloc(&init_mm, pud, addr) : NULL;
}

static void put_tree(void *data)
{
	struct p2m_test *t = data;
	struct p2m_tree *tree = &t->tree;
	unsigned long pfn;

	if (t->whole) {
		tree->keep_all = false;
		xen_p2m_tree_set_range(tree, 0, tree->size, XEN_P2M_IDENTITY);
		for (pfn = 0; pfn < tree->size; pfn += TABLE)
			pmd_clear(alloc_pmd((unsigned long)(tree->addr + pfn)));
		flush_tlb_all();
	}
	if (t->area)
		free_vm_area(t->area);
	if (tree->missing_pte)
		paravirt_release_pte(PFN_DOWN(__pa(tree->missing_pte)));
	if (tree->identity_pte)
		paravirt_release_pte(PFN_DOWN(__pa(tree->identity_pte)));
	xen_p2m_free_page(tree->missing_pte);
	xen_p2m_free_page(tree->identity_pte);
	xen_p2m_free_page(tree->missing);
	xen_p2m_free_page(tree->identity);
	kvfree(tree->is_identity);
}

/* A tree for @size frames, in which there is nothing. */
static struct p2m_tree *new_tree(struct kunit *test, unsigned long size)
{
	struct p2m_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct p2m_tree *tree = &t->tree;
	unsigned long pfn;
	pmd_t *pmd;

	KUNIT_ASSERT_NOT_NULL(test, t);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_tree, t));
	xen_p2m_tree_init(tree, size);
	KUNIT_ASSERT_NOT_NULL(test, tree->missing_pte);
	KUNIT_ASSERT_NOT_NULL(test, tree->identity_pte);
	t->area = get_vm_area(size * sizeof(long) + PMD_SIZE, VM_MAP);
	KUNIT_ASSERT_NOT_NULL(test, t->area);
	tree->addr = PTR_ALIGN(t->area->addr, PMD_SIZE);
	for (pfn = 0; pfn < size; pfn += TABLE) {
		pmd = alloc_pmd((unsigned long)(tree->addr + pfn));
		KUNIT_ASSERT_NOT_NULL(test, pmd);
		set_pmd(pmd, __pmd(__pa(tree->identity_pte) | _KERNPG_TABLE));
	}
	bitmap_set(tree->is_identity, 0, size / LEAF);
	tree->size = size;
	t->whole = true;
	return tree;
}

static unsigned long lookup(struct p2m_tree *tree, unsigned long pfn)
{
	unsigned long entry = INVALID_P2M_ENTRY;

	if (pfn < tree->size)
		entry = READ_ONCE(tree->addr[pfn]);
	return entry == INVALID_P2M_ENTRY ? xen_p2m_tree_void(tree, pfn) : entry;
}

static unsigned long entry_of(enum xen_p2m_type type, unsigned long pfn)
{
	return type == XEN_P2M_IDENTITY ? IDENTITY_FRAME(pfn) :
					  INVALID_P2M_ENTRY;
}

/* As set_phys_to_machine(). */
static void set(struct kunit *test, struct p2m_tree *tree, unsigned long pfn,
		unsigned long entry)
{
	KUNIT_ASSERT_EQ(test, 0, xen_p2m_tree_set_split(tree, pfn, entry));
}

static void expect_pages(struct kunit *test, struct p2m_tree *tree,
			 unsigned long tables, unsigned long leaves)
{
	struct p2m_tree_stat stat;

	xen_p2m_tree_stat(tree, &stat);
	KUNIT_EXPECT_EQ(test, tables, stat.tables);
	KUNIT_EXPECT_EQ(test, leaves, stat.leaves);
	KUNIT_EXPECT_EQ(test, tree->size / TABLE,
			stat.tables + stat.shared_tables);
	KUNIT_EXPECT_EQ(test, stat.tables * PTRS_PER_PTE,
			stat.leaves + stat.shared_leaves);
}

static void expect_all(struct kunit *test, struct p2m_tree *tree,
		       enum xen_p2m_type type)
{
	struct p2m_run run;

	KUNIT_EXPECT_TRUE(test, xen_p2m_tree_run(tree, 0, &run));
	KUNIT_EXPECT_EQ(test, type, run.type);
	KUNIT_EXPECT_EQ(test, 0, run.pfn);
	KUNIT_EXPECT_EQ(test, tree->size, run.nr);
	KUNIT_EXPECT_FALSE(test, xen_p2m_tree_run(tree, run.nr, &run));
}

/* What nobody has said anything about is identity, and costs no page. */
static void p2m_void(struct kunit *test)
{
	static const unsigned long pfns[] = {
		0, 1, LEAF - 1, LEAF, TABLE - 1, TABLE, TOP - 1, TOP,
		2 * TOP - 1, 2 * TOP, 1UL << 40,
	};
	struct p2m_tree *tree = new_tree(test, 2 * TOP);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pfns); i++)
		KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(pfns[i]),
				lookup(tree, pfns[i]));
	expect_all(test, tree, XEN_P2M_IDENTITY);
	expect_pages(test, tree, 0, 0);
	/* For Xen's tools there is nothing. */
	KUNIT_EXPECT_EQ(test, INVALID_P2M_ENTRY, tree->addr[0]);
	KUNIT_EXPECT_EQ(test, INVALID_P2M_ENTRY, tree->addr[2 * TOP - 1]);
}

static const unsigned long edges[] = { LEAF, TABLE, TOP, 7 * LEAF, 3 * TABLE };

static unsigned long partly(unsigned long from, unsigned long to,
			    unsigned long size)
{
	unsigned long first = from / size, last = (to - 1) / size;

	/* The units of which only a part is in the range. */
	if (first == last)
		return to - from != size;
	return !!(from % size) + !!(to % size);
}

/* A range that begins and ends at each kind of border, or one off. */
static void one_range(struct kunit *test, struct p2m_tree *tree,
		      unsigned long from, unsigned long to,
		      enum xen_p2m_type type, enum xen_p2m_type other)
{
	unsigned long tables = partly(from, to, TABLE);
	struct p2m_run run;

	/* A table of whole leaves, but not of all of them. */
	KUNIT_EXPECT_EQ(test, 0,
			xen_p2m_tree_set_range(tree, from, to - from, type));
	KUNIT_EXPECT_EQ(test, entry_of(other, from - 1), lookup(tree, from - 1));
	KUNIT_EXPECT_EQ(test, entry_of(type, from), lookup(tree, from));
	KUNIT_EXPECT_EQ(test, entry_of(type, (from + to) / 2),
			lookup(tree, (from + to) / 2));
	KUNIT_EXPECT_EQ(test, entry_of(type, to - 1), lookup(tree, to - 1));
	KUNIT_EXPECT_EQ(test, entry_of(other, to), lookup(tree, to));
	xen_p2m_tree_run(tree, from, &run);
	KUNIT_EXPECT_EQ(test, type, run.type);
	KUNIT_EXPECT_EQ(test, to - from, run.nr);
	xen_p2m_tree_run(tree, 0, &run);
	KUNIT_EXPECT_EQ(test, from, run.nr);
	expect_pages(test, tree, tables, partly(from, to, LEAF));

	KUNIT_EXPECT_EQ(test, 0,
			xen_p2m_tree_set_range(tree, from, to - from, other));
	expect_all(test, tree, other);
	expect_pages(test, tree, 0, 0);
}

static void p2m_ranges(struct kunit *test)
{
	struct p2m_tree *tree = new_tree(test, 2 * TOP);
	enum xen_p2m_type type = XEN_P2M_MISSING, other = XEN_P2M_IDENTITY;
	/* For Xen each table is a hypercall. */
	const unsigned int nr = xen_pv_domain() ? 3 : ARRAY_SIZE(edges);
	unsigned int i, round;
	unsigned long from, to;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < nr * nr * 3 * 3; i++) {
			from = edges[i / 9 / nr] + i / 3 % 3 - 1;
			to = edges[i / 9 % nr] + i % 3 - 1;
			if (from < to &&
			    (!xen_pv_domain() || to - from < 2 * TABLE))
				one_range(test, tree, from, to, type, other);
		}
		swap(type, other);
		xen_p2m_tree_set_range(tree, 0, tree->size, other);
		expect_all(test, tree, other);
		expect_pages(test, tree, 0, 0);
	}
}

/* A balloon's frames are missing, a hole of the E820 map's is identity. */
static void p2m_domain(struct kunit *test)
{
	static const struct p2m_run runs[] = {
		{ XEN_P2M_RAM, 0, 0x9f },
		{ XEN_P2M_IDENTITY, 0x9f, 0x61 },
		{ XEN_P2M_RAM, 0x100, 3 * LEAF },
		{ XEN_P2M_MISSING, 0x100 + 3 * LEAF, 5 * LEAF + 3 },
		{ XEN_P2M_FOREIGN, 0x103 + 8 * LEAF, 1 },
		{ XEN_P2M_MISSING, 0x104 + 8 * LEAF, LEAF },
		{ XEN_P2M_IDENTITY, 0x104 + 9 * LEAF, TABLE },
		{ XEN_P2M_RAM, 0x104 + 9 * LEAF + TABLE, 2 },
	};
	struct p2m_tree *tree = new_tree(test, 3 * TABLE);
	unsigned long pfn, nr;
	struct p2m_run run;
	unsigned int i;

	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, 0, 2 * TABLE,
							XEN_P2M_MISSING));
	for (i = 0; i < ARRAY_SIZE(runs); i++) {
		pfn = runs[i].pfn;
		if (runs[i].type == XEN_P2M_IDENTITY)
			KUNIT_EXPECT_EQ(test, 0,
					xen_p2m_tree_set_range(tree, pfn,
							       runs[i].nr,
							       runs[i].type));
		for (nr = runs[i].nr; nr; nr--, pfn++) {
			if (runs[i].type == XEN_P2M_RAM)
				set(test, tree, pfn, MFN + pfn);
			if (runs[i].type == XEN_P2M_FOREIGN)
				set(test, tree, pfn, FOREIGN_FRAME(MFN + pfn));
		}
	}
	for (i = 0, pfn = 0; i < ARRAY_SIZE(runs); i++, pfn += run.nr) {
		KUNIT_EXPECT_TRUE(test, xen_p2m_tree_run(tree, pfn, &run));
		KUNIT_EXPECT_EQ(test, runs[i].type, run.type);
		KUNIT_EXPECT_EQ(test, runs[i].pfn, run.pfn);
		KUNIT_EXPECT_EQ(test, runs[i].nr, run.nr);
	}
}

/* Memory whose mfn is its pfn by chance is not identity. */
static void p2m_coincidence(struct kunit *test)
{
	struct p2m_tree *tree = new_tree(test, TABLE);
	const unsigned long pfn = 3 * LEAF + 5;

	set(test, tree, pfn, pfn);
	KUNIT_EXPECT_EQ(test, XEN_P2M_RAM,
			xen_p2m_entry_type(lookup(tree, pfn)));
	KUNIT_EXPECT_EQ(test, pfn, xen_p2m_entry_mfn(lookup(tree, pfn)));
	/* Its neighbours were identity, and are. */
	KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(pfn - 1), lookup(tree, pfn - 1));
	KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(pfn + 1), lookup(tree, pfn + 1));
	KUNIT_EXPECT_EQ(test, XEN_P2M_IDENTITY,
			xen_p2m_entry_type(lookup(tree, pfn + 1)));
	KUNIT_EXPECT_EQ(test, pfn + 1, xen_p2m_entry_mfn(lookup(tree, pfn + 1)));
	/* That is no reason to share its leaf. */
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, pfn + 1, 1,
							XEN_P2M_IDENTITY));
	KUNIT_EXPECT_EQ(test, pfn, lookup(tree, pfn));
	expect_pages(test, tree, 1, 1);
}

/* Another domain's frame keeps its mark, and missing is not foreign. */
static void p2m_foreign(struct kunit *test)
{
	struct p2m_tree *tree = new_tree(test, TABLE);
	const unsigned long pfn = LEAF;

	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, 0, TABLE,
							XEN_P2M_MISSING));
	KUNIT_EXPECT_EQ(test, XEN_P2M_MISSING,
			xen_p2m_entry_type(lookup(tree, pfn)));
	KUNIT_EXPECT_EQ(test, INVALID_P2M_ENTRY,
			xen_p2m_entry_mfn(lookup(tree, pfn)));
	set(test, tree, pfn, FOREIGN_FRAME(MFN));
	KUNIT_EXPECT_EQ(test, XEN_P2M_FOREIGN,
			xen_p2m_entry_type(lookup(tree, pfn)));
	KUNIT_EXPECT_EQ(test, MFN, xen_p2m_entry_mfn(lookup(tree, pfn)));
	KUNIT_EXPECT_EQ(test, INVALID_P2M_ENTRY, lookup(tree, pfn + 1));
	set(test, tree, pfn, INVALID_P2M_ENTRY);
	KUNIT_EXPECT_EQ(test, XEN_P2M_MISSING,
			xen_p2m_entry_type(lookup(tree, pfn)));
}

/* A leaf is shared again when its last frame is like the others, not before. */
static void p2m_share(struct kunit *test)
{
	static const enum xen_p2m_type types[] = {
		XEN_P2M_MISSING, XEN_P2M_IDENTITY,
	};
	static const unsigned int odd[] = { 0, 1, LEAF / 2, LEAF - 1 };
	struct p2m_tree *tree = new_tree(test, 2 * TABLE);
	unsigned long pfn, other;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		KUNIT_EXPECT_EQ(test, 0,
				xen_p2m_tree_set_range(tree, 0, 2 * TABLE,
						       types[i]));
		for (j = 0; j < ARRAY_SIZE(odd); j++) {
			pfn = TABLE + 2 * LEAF + odd[j];
			other = TABLE + 2 * LEAF + (odd[j] ? 0 : 1);
			set(test, tree, pfn, MFN);
			expect_pages(test, tree, 1, 1);
			/* The leaf is looked at, and has one. */
			KUNIT_EXPECT_EQ(test, 0,
					xen_p2m_tree_set_range(tree, other, 1,
							       types[i]));
			expect_pages(test, tree, 1, 1);
			KUNIT_EXPECT_EQ(test, MFN, lookup(tree, pfn));
			/* An entry alone does not give the page back. */
			set(test, tree, pfn, entry_of(types[i], pfn));
			expect_pages(test, tree, 1, 1);
			KUNIT_EXPECT_EQ(test, 0,
					xen_p2m_tree_set_range(tree, pfn, 1,
							       types[i]));
			expect_pages(test, tree, 0, 0);
			KUNIT_EXPECT_EQ(test, entry_of(types[i], pfn),
					lookup(tree, pfn));
			expect_all(test, tree, types[i]);
		}
	}
}

/* A leaf that was asked for stays until all its frames are given up. */
static void p2m_kept(struct kunit *test)
{
	struct p2m_tree *tree = new_tree(test, TABLE);
	const unsigned long pfn = 5 * LEAF + 7;

	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, 0, TABLE,
							XEN_P2M_MISSING));
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_split(tree, pfn, true));
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, pfn + 1, 3,
							XEN_P2M_MISSING));
	expect_pages(test, tree, 1, 1);
	KUNIT_EXPECT_TRUE(test, xen_p2m_tree_set(tree, pfn, MFN));
	KUNIT_EXPECT_TRUE(test, xen_p2m_tree_set(tree, pfn, INVALID_P2M_ENTRY));
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, 5 * LEAF, LEAF,
							XEN_P2M_MISSING));
	expect_pages(test, tree, 0, 0);
	/* The next one is not kept for that. */
	set(test, tree, pfn, MFN);
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, pfn, 1,
							XEN_P2M_MISSING));
	expect_pages(test, tree, 0, 0);

	/* Of a tree whose pages others have mapped none is given up. */
	tree->keep_all = true;
	set(test, tree, pfn, MFN);
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, 0, TABLE,
							XEN_P2M_IDENTITY));
	expect_all(test, tree, XEN_P2M_IDENTITY);
	expect_pages(test, tree, 1, 1);
	KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(pfn), lookup(tree, pfn));
}

/**
 * struct ops_seen - what the ops of p2m_ops were told
 * @refuse: prepare() is to fail
 * @prepared: number of calls of prepare()
 * @open: begin() less end()
 * @changes: number of calls of end()
 * @leaf: of the last set_leaf()
 * @shared: the frame of the last share_table()
 */
static struct ops_seen {
	bool refuse;
	int prepared;
	int open;
	int changes;
	unsigned long *leaf;
	unsigned long shared;
} seen;

static int seen_prepare(struct p2m_tree *tree, unsigned long pfn)
{
	lockdep_assert_held(&tree->mutex);
	seen.prepared++;
	return seen.refuse ? -ENOMEM : 0;
}

static void seen_begin(struct p2m_tree *tree)
{
	lockdep_assert_held(&tree->lock);
	seen.open++;
}

static void seen_set_leaf(struct p2m_tree *tree, unsigned long pfn,
			  unsigned long *leaf)
{
	lockdep_assert_held(&tree->lock);
	seen.leaf = leaf;
}

static void seen_share_table(struct p2m_tree *tree, unsigned long pfn)
{
	lockdep_assert_held(&tree->lock);
	seen.shared = pfn;
}

static void seen_end(struct p2m_tree *tree)
{
	lockdep_assert_held(&tree->lock);
	seen.open--;
	seen.changes++;
}

static const struct p2m_tree_ops seen_ops = {
	.prepare	= seen_prepare,
	.begin		= seen_begin,
	.set_leaf	= seen_set_leaf,
	.share_table	= seen_share_table,
	.end		= seen_end,
};

/* Who follows a tree is told of what changes, and may refuse. */
static void p2m_ops(struct kunit *test)
{
	struct p2m_tree *tree = new_tree(test, 2 * TABLE);
	const unsigned long pfn = TABLE + 9 * LEAF;

	seen = (struct ops_seen){ .refuse = true };
	tree->ops = &seen_ops;
	KUNIT_EXPECT_EQ(test, -ENOMEM, xen_p2m_tree_split(tree, pfn, false));
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			xen_p2m_tree_set_range(tree, pfn, LEAF,
					       XEN_P2M_MISSING));
	KUNIT_EXPECT_EQ(test, 2, seen.prepared);
	KUNIT_EXPECT_EQ(test, 0, seen.changes);
	expect_all(test, tree, XEN_P2M_IDENTITY);
	expect_pages(test, tree, 0, 0);

	seen.refuse = false;
	set(test, tree, pfn, MFN);
	KUNIT_EXPECT_EQ(test, 3, seen.prepared);
	/* The table, and the leaf. */
	KUNIT_EXPECT_EQ(test, 2, seen.changes);
	KUNIT_EXPECT_EQ(test, MFN, *seen.leaf);
	/* In a table of its own there is nothing to prepare. */
	set(test, tree, pfn + LEAF, MFN);
	KUNIT_EXPECT_EQ(test, 3, seen.prepared);
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, pfn, LEAF,
							XEN_P2M_MISSING));
	KUNIT_EXPECT_PTR_EQ(test, tree->missing, seen.leaf);
	KUNIT_EXPECT_EQ(test, 0, seen.shared);
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, TABLE, TABLE,
							XEN_P2M_IDENTITY));
	KUNIT_EXPECT_EQ(test, TABLE, seen.shared);
	KUNIT_EXPECT_EQ(test, 0, seen.open);
	tree->ops = NULL;
}

/* The pages that are given up are free. */
static void p2m_no_leak(struct kunit *test)
{
	const unsigned int rounds = xen_pv_domain() ? 100 : 1000, leaves = 20;
	struct p2m_tree *tree = new_tree(test, 2 * TABLE);
	unsigned long free;
	unsigned int i, k;

	/* That takes pages, too. */
	wait_for_initramfs();
	free = global_zone_page_state(NR_FREE_PAGES);
	for (i = 0; i < rounds; i++) {
		for (k = 0; k < leaves; k++)
			set(test, tree, TABLE + k * LEAF, MFN);
		/* Leaf by leaf, and all at once. */
		KUNIT_EXPECT_EQ(test, 0,
				xen_p2m_tree_set_range(tree, TABLE,
						       leaves / 2 * LEAF,
						       XEN_P2M_MISSING));
		KUNIT_EXPECT_EQ(test, 0,
				xen_p2m_tree_set_range(tree, TABLE, TABLE,
						       XEN_P2M_IDENTITY));
	}
	/* Others may take some meanwhile. */
	KUNIT_EXPECT_GT(test, global_zone_page_state(NR_FREE_PAGES) +
			      rounds * leaves / 4, free);
}

/* What a shared leaf says already needs no page; all else is refused. */
static void p2m_shared_is_read_only(struct kunit *test)
{
	struct p2m_tree *tree = new_tree(test, 2 * TABLE);

	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, TABLE, TABLE,
							XEN_P2M_MISSING));
	KUNIT_EXPECT_TRUE(test, xen_p2m_tree_set(tree, 5, IDENTITY_FRAME(5)));
	KUNIT_EXPECT_FALSE(test, xen_p2m_tree_set(tree, 5, IDENTITY_FRAME(6)));
	KUNIT_EXPECT_FALSE(test, xen_p2m_tree_set(tree, 5, INVALID_P2M_ENTRY));
	KUNIT_EXPECT_FALSE(test, xen_p2m_tree_set(tree, 5, MFN));
	KUNIT_EXPECT_TRUE(test, xen_p2m_tree_set(tree, TABLE,
						 INVALID_P2M_ENTRY));
	KUNIT_EXPECT_FALSE(test, xen_p2m_tree_set(tree, TABLE,
						  IDENTITY_FRAME(TABLE)));
	KUNIT_EXPECT_FALSE(test, xen_p2m_tree_set(tree, TABLE, MFN));
	expect_pages(test, tree, 0, 0);
}

static void p2m_out_of_range(struct kunit *test)
{
	struct p2m_tree *tree = new_tree(test, TABLE);
	struct p2m_run run;

	KUNIT_EXPECT_TRUE(test, xen_p2m_tree_set(tree, TABLE,
						 INVALID_P2M_ENTRY));
	KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(TABLE), lookup(tree, TABLE));
	KUNIT_EXPECT_FALSE(test, xen_p2m_tree_set(tree, TABLE, MFN));
	KUNIT_EXPECT_FALSE(test, xen_p2m_tree_set(tree, ~0UL >> PAGE_SHIFT,
						  MFN));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			xen_p2m_tree_set_range(tree, 0, 1, XEN_P2M_RAM));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			xen_p2m_tree_set_range(tree, 0, 1, XEN_P2M_FOREIGN));
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, 3, 0,
							XEN_P2M_MISSING));
	/* Nothing can be missing there, and then nothing becomes so here. */
	KUNIT_EXPECT_EQ(test, -ERANGE,
			xen_p2m_tree_set_range(tree, TABLE, ~0UL,
					       XEN_P2M_MISSING));
	KUNIT_EXPECT_EQ(test, -ERANGE,
			xen_p2m_tree_set_range(tree, TABLE - 1, 2,
					       XEN_P2M_MISSING));
	KUNIT_EXPECT_EQ(test, -ERANGE, xen_p2m_tree_split(tree, TABLE, false));
	expect_all(test, tree, XEN_P2M_IDENTITY);
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, 0, TABLE,
							XEN_P2M_MISSING));
	/* Identity it is. */
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, TABLE - 1, ~0UL,
							XEN_P2M_IDENTITY));
	KUNIT_EXPECT_TRUE(test, xen_p2m_tree_run(tree, TABLE - 1, &run));
	KUNIT_EXPECT_EQ(test, XEN_P2M_IDENTITY, run.type);
	KUNIT_EXPECT_EQ(test, 1, run.nr);
	KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(TABLE), lookup(tree, TABLE));
}

KUNIT_DEFINE_ACTION_WRAPPER(free_model, kvfree, const void *);

static void compare(struct kunit *test, struct p2m_tree *tree,
		    const unsigned long *model)
{
	unsigned long pfn, wrong = 0;

	for (pfn = 0; pfn < tree->size; pfn++)
		wrong += lookup(tree, pfn) != model[pfn];
	KUNIT_EXPECT_EQ(test, 0, wrong);
}

/*
 * Anything at random, against a flat array.  In a PV domain, where each page that
 * changes is some hypercalls, less of it.
 */
static void p2m_random(struct kunit *test)
{
	const unsigned int steps = xen_pv_domain() ? 2000 : 100000;
	const unsigned long size = 3 * TABLE;
	struct p2m_tree *tree = new_tree(test, size);
	unsigned long pfn, nr, i, entry, *model;
	u32 seed = get_random_u32(), r;
	enum xen_p2m_type type;
	struct rnd_state rnd;
	unsigned int step;

	kunit_info(test, "seed %u, %u steps\n", seed, steps);
	prandom_seed_state(&rnd, seed);
	model = kvmalloc_array(size, sizeof(*model), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, model);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, free_model, model));
	for (pfn = 0; pfn < size; pfn++)
		model[pfn] = IDENTITY_FRAME(pfn);

	for (step = 0; step < steps; step++) {
		r = prandom_u32_state(&rnd);
		type = r & 1 ? XEN_P2M_MISSING : XEN_P2M_IDENTITY;
		/* Near a border more often than not. */
		pfn = prandom_u32_state(&rnd) % size;
		if (r & 2)
			pfn = min(round_down(pfn, r & 4 ? LEAF : TABLE) +
				  (r >> 3) % 3, size - 1);
		if (r & 0x100) {
			nr = prandom_u32_state(&rnd) %
			     (1 << (r >> 24) % (step % 100 ? 12 : 20)) + 1;
			if (r & 0x200)
				nr = round_up(nr, LEAF);
			nr = min(nr, size - pfn);
			KUNIT_ASSERT_EQ(test, 0,
					xen_p2m_tree_set_range(tree, pfn, nr,
							       type));
			for (i = pfn; i < pfn + nr; i++)
				model[i] = entry_of(type, i);
		} else {
			entry = r & 0x200 ? entry_of(type, pfn) :
				r & 0x400 ? FOREIGN_FRAME(MFN ^ r) :
				r & 0x800 ? pfn : MFN + step;
			set(test, tree, pfn, entry);
			model[pfn] = entry;
		}
		KUNIT_ASSERT_EQ(test, model[pfn], lookup(tree, pfn));
		pfn = prandom_u32_state(&rnd) % size;
		KUNIT_ASSERT_EQ(test, model[pfn], lookup(tree, pfn));
		if (step % (steps / 10) == 0)
			compare(test, tree, model);
	}
	compare(test, tree, model);

	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_set_range(tree, 0, size,
							XEN_P2M_MISSING));
	expect_pages(test, tree, 0, 0);
}

static int p2m_init(struct kunit *test)
{
	/* See flush() of p2m_tree.c. */
	return set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
}

static struct kunit_case p2m_cases[] = {
	KUNIT_CASE(p2m_void),
	KUNIT_CASE_SLOW(p2m_ranges),
	KUNIT_CASE(p2m_domain),
	KUNIT_CASE(p2m_coincidence),
	KUNIT_CASE(p2m_foreign),
	KUNIT_CASE(p2m_share),
	KUNIT_CASE(p2m_kept),
	KUNIT_CASE(p2m_ops),
	KUNIT_CASE(p2m_no_leak),
	KUNIT_CASE(p2m_shared_is_read_only),
	KUNIT_CASE(p2m_out_of_range),
	KUNIT_CASE_SLOW(p2m_random),
	{}
};

static struct kunit_suite p2m_suite = {
	.name = "xen_p2m",
	.init = p2m_init,
	.test_cases = p2m_cases,
};

kunit_test_suite(p2m_suite);
