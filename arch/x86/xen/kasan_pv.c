// SPDX-License-Identifier: GPL-2.0
/*
 * The early shadow of KASAN in a PV domain
 *
 * KASAN's checks read a byte of shadow for each eight bytes of memory, from the
 * first instrumented function on.  Before kasan_init() allocates the shadow,
 * all shadow addresses map one page, kasan_early_shadow_page, by one page table
 * of each level.  Elsewhere kasan_early_init() fills these tables, when the
 * kernel already runs on its own page tables.
 *
 * A PV domain starts in C, on page tables that Xen has built.  Only Xen may
 * change them.  Each table must be read-only, and contains machine frames.
 *
 * Nothing in this file is instrumented.
 */
#include <linux/kasan.h>
#include <linux/mm.h>

#include <asm/setup.h>

#include <asm/xen/hypercall.h>
#include <asm/xen/page.h>

#include "xen-ops.h"

#define EARLY_FLAGS	(_PAGE_PRESENT | _PAGE_ACCESSED)

/*
 * PV domains have four levels of page tables; an entry of the PGD maps 2^39 bytes.
 * KASAN_SHADOW_START depends on the number of levels, which is a variable.
 */
#define PV_PGDIR_SHIFT	39
#define PV_SHADOW_START	(KASAN_SHADOW_OFFSET + \
			 ((-1UL << 47) >> KASAN_SHADOW_SCALE_SHIFT))
#define SHADOW_PGD	((PV_SHADOW_START >> PV_PGDIR_SHIFT) % PTRS_PER_PGD)
#define SHADOW_PGDS	(1 << (47 - KASAN_SHADOW_SCALE_SHIFT - PV_PGDIR_SHIFT))

/* The machine address of an object in the kernel image or Xen's page tables */
static phys_addr_t __init early_maddr(const struct start_info *si,
				      const void *addr)
{
	const unsigned long *p2m = (const unsigned long *)si->mfn_list;

	return PFN_PHYS(p2m[PFN_DOWN(__pa_nodebug(addr))]);
}

/* Fills a page table with 512 equal entries, and makes it read-only for Xen. */
static void __init early_table(const struct start_info *si, void *table,
			       const void *to, unsigned long flags)
{
	unsigned long *entry = table;
	int i;

	for (i = 0; i < PTRS_PER_PTE; i++)
		entry[i] = early_maddr(si, to) | flags;
	HYPERVISOR_update_va_mapping((unsigned long)table,
				     native_make_pte(early_maddr(si, table) |
						     EARLY_FLAGS),
				     UVMF_INVLPG);
}

/**
 * xen_kasan_early_init() - map the early shadow in the page tables that Xen built
 * @si: Xen's start info
 *
 * Clears the BSS, which contains the tables of the early shadow.  So
 * xen_start_kernel() must not clear the BSS again.  Errors can't be reported
 * yet.  They show as a fault at the first access to the shadow.
 *
 * Context: the first C code of a PV domain.
 */
asmlinkage __visible void __init xen_kasan_early_init(struct start_info *si)
{
	struct mmu_update update[SHADOW_PGDS];
	phys_addr_t pgd;
	unsigned int i;

	BUILD_BUG_ON(PV_SHADOW_START % (1UL << PV_PGDIR_SHIFT));
	clear_bss();

	static_call_update_early(xen_hypercall, xen_hypercall_pv);

	early_table(si, kasan_early_shadow_pte, kasan_early_shadow_page,
		    EARLY_FLAGS | _PAGE_DIRTY | _PAGE_RW);
	early_table(si, kasan_early_shadow_pmd, kasan_early_shadow_pte, _KERNPG_TABLE);
	early_table(si, kasan_early_shadow_pud, kasan_early_shadow_pmd, _KERNPG_TABLE);

	pgd = early_maddr(si, (void *)si->pt_base);
	for (i = 0; i < SHADOW_PGDS; i++) {
		update[i].ptr = pgd + (SHADOW_PGD + i) * sizeof(pgd_t);
		update[i].val = early_maddr(si, kasan_early_shadow_pud) | _KERNPG_TABLE;
	}
	HYPERVISOR_mmu_update(update, SHADOW_PGDS, NULL, DOMID_SELF);
}

/* Copies the early shadow's entries from Xen's PGD to the kernel's. */
void __init xen_kasan_copy_shadow(pgd_t *to, const pgd_t *from)
{
	memcpy(to + SHADOW_PGD, from + SHADOW_PGD, SHADOW_PGDS * sizeof(pgd_t));
}

static void __init set_pgd_prot(pgd_t *pgd, pgprot_t prot)
{
	if (xen_pv_domain() &&
	    HYPERVISOR_update_va_mapping((unsigned long)pgd,
					 pfn_pte(PFN_DOWN(__pa_nodebug(pgd)), prot),
					 UVMF_INVLPG))
		panic("Xen does not change the mapping of KASAN's PGD\n");
}

/**
 * xen_kasan_pgd_ro() - let a copy of init_top_pgt be loaded
 * @pgd: the copy, on which kasan_init() runs while it changes init_top_pgt
 *
 * Xen requires that all mappings of a page table are read-only.
 */
void __init xen_kasan_pgd_ro(pgd_t *pgd)
{
	set_pgd_prot(pgd, PAGE_KERNEL_RO);
}

/**
 * xen_kasan_pgd_rw() - undo xen_kasan_pgd_ro()
 * @pgd: the copy, which is no longer loaded
 */
void __init xen_kasan_pgd_rw(pgd_t *pgd)
{
	set_pgd_prot(pgd, PAGE_KERNEL);
}

/**
 * xen_kasan_populate_p2m() - map the early shadow for the P2M table
 *
 * The P2M table is in the vmalloc area, but was mapped before kasan_init().
 * With CONFIG_KASAN_VMALLOC only vmalloc() maps shadow for this area.
 */
void __init xen_kasan_populate_p2m(void)
{
	if (!IS_ENABLED(CONFIG_KASAN_VMALLOC) || !xen_pv_domain())
		return;
	kasan_populate_early_shadow(kasan_mem_to_shadow(xen_p2m_addr),
				    kasan_mem_to_shadow(xen_p2m_addr +
							xen_p2m_size));
}

/*
 * Returns true for a page table of the early shadow.  These tables are
 * read-only since xen_kasan_early_init(), and are part of many other tables.
 * All entries of a table are equal: they lead to the table of the next level,
 * or to kasan_early_shadow_page.
 */
bool xen_kasan_shadow_table(const void *table)
{
	return table == lm_alias(kasan_early_shadow_pte) ||
	       table == lm_alias(kasan_early_shadow_pmd) ||
	       table == lm_alias(kasan_early_shadow_pud);
}
