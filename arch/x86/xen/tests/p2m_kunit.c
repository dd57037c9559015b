// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the P2M table, included by p2m_tree.c. They use separate trees
 * and need no Xen.
 */
#include <kunit/test-bug.h>
#include <kunit/test.h>

#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/vmalloc.h>

#define LEAF	P2M_PER_PAGE
#define TABLE	P2M_PER_TABLE
#define SIZE	(2 * TABLE)
#define MFN	0x1234567UL

static struct p2m_tree tree;
static struct vm_struct *area;

static void p2m_exit(struct kunit *test)
{
	unsigned long pfn;
	pte_t *table;

	if (!tree.identity_pte)
		return;
	for (pfn = 0; pfn < tree.size; pfn += LEAF)
		if (leaf_of(&tree, pfn) != tree.identity)
			free_page((unsigned long)leaf_of(&tree, pfn));
	for (pfn = 0; pfn < tree.size; pfn += TABLE) {
		table = table_of(&tree, pfn);
		pmd_clear(pmd_of(&tree, pfn));
		if (table != tree.identity_pte)
			free_table(table);
	}
	if (area) {
		flush_tlb_all();
		free_vm_area(area);
	}
	free_table(tree.identity_pte);
	free_page((unsigned long)tree.identity);
}

/* A tree without entries for each test. */
static int p2m_init(struct kunit *test)
{
	unsigned long addr;
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	tree = (struct p2m_tree){};
	area = NULL;
	xen_p2m_tree_init(&tree);
	KUNIT_ASSERT_NOT_NULL(test, tree.identity_pte);
	area = get_vm_area(SIZE * sizeof(long) + PMD_SIZE, VM_MAP);
	KUNIT_ASSERT_NOT_NULL(test, area);
	tree.addr = PTR_ALIGN(area->addr, PMD_SIZE);
	for (; tree.size < SIZE; tree.size += TABLE) {
		addr = (unsigned long)(tree.addr + tree.size);
		p4d = p4d_alloc(&init_mm, pgd_offset_k(addr), addr);
		pud = p4d ? pud_alloc(&init_mm, p4d, addr) : NULL;
		pmd = pud ? pmd_alloc(&init_mm, pud, addr) : NULL;
		KUNIT_ASSERT_NOT_NULL(test, pmd);
		set_pmd(pmd, __pmd(__pa(tree.identity_pte) | _KERNPG_TABLE));
	}
	return 0;
}

/* As __pfn_to_mfn(). */
static unsigned long lookup(unsigned long pfn)
{
	unsigned long entry = INVALID_P2M_ENTRY;

	if (pfn < tree.size)
		entry = READ_ONCE(tree.addr[pfn]);
	return entry == INVALID_P2M_ENTRY ? xen_p2m_tree_lookup(&tree, pfn) : entry;
}

/* As set_phys_to_machine(). */
static void set(struct kunit *test, unsigned long pfn, unsigned long entry)
{
	if (xen_p2m_tree_set(&tree, pfn, entry))
		return;
	KUNIT_ASSERT_EQ(test, 0, xen_p2m_tree_split(&tree, pfn));
	KUNIT_ASSERT_TRUE(test, xen_p2m_tree_set(&tree, pfn, entry));
}

static unsigned long own_leaves(void)
{
	unsigned long pfn, leaves = 0;

	for (pfn = 0; pfn < tree.size; pfn += LEAF)
		leaves += !xen_p2m_tree_shared(&tree, pfn);
	return leaves;
}

static void expect_range(struct kunit *test, int expected, unsigned long pfn,
			 unsigned long nr, enum xen_p2m_type type)
{
	KUNIT_EXPECT_EQ(test, expected,
			xen_p2m_tree_set_range(&tree, pfn, nr, type));
}

/* Frames without an entry are identity, and need no page. */
static void p2m_void(struct kunit *test)
{
	static const unsigned long pfns[] = {
		0, LEAF - 1, TABLE - 1, TABLE, SIZE - 1, SIZE, 1UL << 40,
	};
	unsigned long pfn;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pfns); i++) {
		pfn = pfns[i];
		KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(pfn), lookup(pfn));
		KUNIT_EXPECT_TRUE(test, xen_p2m_tree_set(&tree, pfn,
							 IDENTITY_FRAME(pfn)));
		/* Any other entry needs a page, which frames beyond can't get. */
		KUNIT_EXPECT_FALSE(test, xen_p2m_tree_set(&tree, pfn,
							  INVALID_P2M_ENTRY));
		KUNIT_EXPECT_FALSE(test, xen_p2m_tree_set(&tree, pfn, MFN));
		KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(pfn), lookup(pfn));
	}
	KUNIT_EXPECT_EQ(test, 0, own_leaves());
	/* Xen's tools read an invalid entry. */
	KUNIT_EXPECT_EQ(test, INVALID_P2M_ENTRY, tree.addr[0]);
}

static void p2m_out_of_range(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, -ERANGE, xen_p2m_tree_split(&tree, SIZE));
	expect_range(test, -EINVAL, 0, 1, XEN_P2M_RAM);
	expect_range(test, -EINVAL, 0, 1, XEN_P2M_FOREIGN);
	expect_range(test, 0, SIZE, 0, XEN_P2M_MISSING);
	expect_range(test, -ERANGE, SIZE - 1, 2, XEN_P2M_MISSING);
	expect_range(test, -ERANGE, 1, ~0UL, XEN_P2M_MISSING);
	KUNIT_EXPECT_EQ(test, 0, own_leaves());
	expect_range(test, 0, SIZE - 1, 1, XEN_P2M_MISSING);
	expect_range(test, 0, SIZE - 1, ~0UL, XEN_P2M_IDENTITY);
	KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(SIZE - 1), lookup(SIZE - 1));
}

/* The first entry of a leaf leaves the others as they are. */
static void p2m_split(struct kunit *test)
{
	const unsigned long pfn = TABLE + 3 * LEAF + 5;
	unsigned long i, *leaf;

	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_split(&tree, pfn));
	KUNIT_EXPECT_EQ(test, 1, own_leaves());
	for (i = pfn - LEAF; i < pfn + LEAF; i++)
		KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(i), lookup(i));
	leaf = leaf_of(&tree, pfn);
	KUNIT_EXPECT_TRUE(test, xen_p2m_tree_set(&tree, pfn, MFN));
	KUNIT_EXPECT_EQ(test, MFN, leaf[5]);
	KUNIT_EXPECT_EQ(test, MFN, lookup(pfn));

	/* The leaf stays for good. */
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_split(&tree, pfn + 1));
	KUNIT_EXPECT_EQ(test, MFN, lookup(pfn));
	expect_range(test, 0, TABLE, TABLE, XEN_P2M_IDENTITY);
	KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(pfn), lookup(pfn));
	KUNIT_EXPECT_PTR_EQ(test, leaf, leaf_of(&tree, pfn));
	KUNIT_EXPECT_EQ(test, 1, own_leaves());
}

/* A stale TLB entry, which names the shared leaf, is not believed. */
static void p2m_stale(struct kunit *test)
{
	const unsigned long pfn = 3 * LEAF + 5;
	unsigned long *leaf;

	/* Xen flushes the TLB for a new page table: have that first. */
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_split(&tree, pfn + LEAF));
	KUNIT_EXPECT_EQ(test, INVALID_P2M_ENTRY, READ_ONCE(tree.addr[pfn]));
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_split(&tree, pfn));
	/* Another CPU sets the entry; this one's TLB is not refilled. */
	leaf = leaf_of(&tree, pfn);
	WRITE_ONCE(leaf[5], MFN);
	KUNIT_EXPECT_EQ(test, MFN, lookup(pfn));

	/* A write that faults goes to the leaf, too. */
	set_pte(pte_of(&tree, pfn), pfn_pte(PFN_DOWN(__pa(leaf)), PAGE_KERNEL_RO));
	flush_tlb_kernel_range((unsigned long)(tree.addr + pfn),
			       (unsigned long)(tree.addr + pfn + 1));
	KUNIT_EXPECT_TRUE(test, xen_p2m_tree_set(&tree, pfn, MFN + 1));
	KUNIT_EXPECT_EQ(test, MFN + 1, leaf[5]);
	KUNIT_EXPECT_EQ(test, MFN + 1, lookup(pfn));
}

/* The frames that share the page of a frame, from that frame on. */
static void p2m_shared(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_split(&tree, TABLE + LEAF));
	KUNIT_EXPECT_EQ(test, TABLE, xen_p2m_tree_shared(&tree, 0));
	KUNIT_EXPECT_EQ(test, 1, xen_p2m_tree_shared(&tree, TABLE - 1));
	KUNIT_EXPECT_EQ(test, LEAF - 5, xen_p2m_tree_shared(&tree, TABLE + 5));
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_shared(&tree, TABLE + LEAF));
	KUNIT_EXPECT_EQ(test, 0, xen_p2m_tree_shared(&tree, TABLE + 2 * LEAF - 1));
	KUNIT_EXPECT_EQ(test, LEAF, xen_p2m_tree_shared(&tree, TABLE + 2 * LEAF));
}

/* Memory whose mfn is its pfn is not identity. */
static void p2m_types(struct kunit *test)
{
	const unsigned long pfn = 3 * LEAF + 5;
	const struct {
		unsigned long entry;
		enum xen_p2m_type type;
		unsigned long mfn;
	} types[] = {
		{ pfn, XEN_P2M_RAM, pfn },
		{ FOREIGN_FRAME(MFN), XEN_P2M_FOREIGN, MFN },
		{ IDENTITY_FRAME(pfn), XEN_P2M_IDENTITY, pfn },
		{ INVALID_P2M_ENTRY, XEN_P2M_MISSING, INVALID_P2M_ENTRY },
	};
	unsigned long entry;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		set(test, pfn, types[i].entry);
		entry = lookup(pfn);
		KUNIT_EXPECT_EQ(test, types[i].type, xen_p2m_entry_type(entry));
		KUNIT_EXPECT_EQ(test, types[i].mfn, xen_p2m_entry_mfn(entry));
	}
}

static int refuse, changes;

static int seen_prepare(unsigned long pfn)
{
	return refuse;
}

static void seen_begin(void)
{
	KUNIT_EXPECT_EQ(kunit_get_current_test(), 0, changes++ % 2);
}

static void seen_end(unsigned long pfn, unsigned long *leaf)
{
	struct kunit *test = kunit_get_current_test();

	KUNIT_EXPECT_EQ(test, 1, changes++ % 2);
	if (leaf)
		KUNIT_EXPECT_EQ(test, IDENTITY_FRAME(pfn), leaf[pfn % LEAF]);
}

static const struct p2m_tree_ops seen_ops = {
	.prepare	= seen_prepare,
	.begin		= seen_begin,
	.end		= seen_end,
};

/*
 * Each new page is reported, and can be refused. Frames that were made missing once
 * need no new page: a change of pages aborts a migration.
 */
static void p2m_ops(struct kunit *test)
{
	const unsigned long pfn = TABLE + 9 * LEAF;
	unsigned long i;

	tree.ops = &seen_ops;
	refuse = -ENOMEM;
	changes = 0;
	KUNIT_EXPECT_EQ(test, -ENOMEM, xen_p2m_tree_split(&tree, pfn));
	expect_range(test, -ENOMEM, pfn, LEAF, XEN_P2M_MISSING);
	KUNIT_EXPECT_EQ(test, 0, changes);
	KUNIT_EXPECT_EQ(test, 0, own_leaves());

	refuse = 0;
	expect_range(test, 0, pfn, 4 * LEAF, XEN_P2M_MISSING);
	/* A page table and four leaves, each with begin() and end(). */
	KUNIT_EXPECT_EQ(test, 2 * 5, changes);
	for (i = pfn; i < pfn + 4 * LEAF; i++) {
		set(test, i, MFN);
		set(test, i, INVALID_P2M_ENTRY);
		set(test, i, FOREIGN_FRAME(MFN));
	}
	expect_range(test, 0, pfn, 4 * LEAF, XEN_P2M_IDENTITY);
	expect_range(test, 0, pfn, 4 * LEAF, XEN_P2M_MISSING);
	KUNIT_EXPECT_EQ(test, 2 * 5, changes);
}

/* Random operations against a flat array. */
static void p2m_random(struct kunit *test)
{
	const unsigned int steps = xen_pv_domain() ? 2000 : 20000;
	unsigned long pfn, nr, i, *model, wrong = 0;
	u32 seed = get_random_u32(), r;
	enum xen_p2m_type type;
	struct rnd_state rnd;
	unsigned int step;

	kunit_info(test, "seed %u\n", seed);
	prandom_seed_state(&rnd, seed);
	model = kunit_kmalloc_array(test, SIZE, sizeof(*model), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, model);
	for (pfn = 0; pfn < SIZE; pfn++)
		model[pfn] = IDENTITY_FRAME(pfn);

	for (step = 0; step < steps; step++) {
		r = prandom_u32_state(&rnd);
		pfn = prandom_u32_state(&rnd) % SIZE;
		/* Near a border more often than not. */
		if (r & 2)
			pfn = min(round_down(pfn, r & 4 ? LEAF : TABLE) +
				  (r >> 3) % 3, SIZE - 1);
		if (r & 0x100) {
			type = r & 1 ? XEN_P2M_MISSING : XEN_P2M_IDENTITY;
			nr = min((r >> 16) % (3 * LEAF) + 1, SIZE - pfn);
			expect_range(test, 0, pfn, nr, type);
			for (i = pfn; i < pfn + nr; i++)
				model[i] = xen_p2m_range_entry(type, i);
		} else {
			model[pfn] = r & 0x200 ? pfn : FOREIGN_FRAME(MFN ^ r);
			set(test, pfn, model[pfn]);
		}
		KUNIT_ASSERT_EQ(test, model[pfn], lookup(pfn));
		pfn = prandom_u32_state(&rnd) % SIZE;
		KUNIT_ASSERT_EQ(test, model[pfn], lookup(pfn));
	}
	for (pfn = 0; pfn < SIZE; pfn++)
		wrong += lookup(pfn) != model[pfn];
	KUNIT_EXPECT_EQ(test, 0, wrong);
}

static struct kunit_case p2m_cases[] = {
	KUNIT_CASE(p2m_void),
	KUNIT_CASE(p2m_split),
	KUNIT_CASE(p2m_stale),
	KUNIT_CASE(p2m_shared),
	KUNIT_CASE(p2m_types),
	KUNIT_CASE(p2m_ops),
	KUNIT_CASE(p2m_out_of_range),
	KUNIT_CASE_SLOW(p2m_random),
	{}
};

static struct kunit_suite p2m_suite = {
	.name = "xen_p2m",
	.init = p2m_init,
	.exit = p2m_exit,
	.test_cases = p2m_cases,
};

kunit_test_suite(p2m_suite);
