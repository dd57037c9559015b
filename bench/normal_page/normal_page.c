// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs vm_normal_page() to find the page of a PTE, in a mapping of the
 * process that loads this module. Logs a line for each sample: case, number of
 * PTEs, nanoseconds without those of the call, 0.
 */

#define pr_fmt(fmt) "normal_page: " fmt

#include <linux/kprobes.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>

#define NR	512
#define ROUNDS	15
#define REPEAT	16	/* lookups of each PTE in a sample */

typedef struct page *(*lookup_fn)(struct vm_area_struct *vma,
				  unsigned long addr, pte_t pte);

static unsigned long addr;
module_param(addr, ulong, 0);
MODULE_PARM_DESC(addr, "address of 512 mapped pages");

static char *name;
module_param(name, charp, 0);
MODULE_PARM_DESC(name, "name of the case");

static pte_t ptes[NR];

static int get_pte(pte_t *pte, unsigned long at, void *data)
{
	ptes[(at - addr) >> PAGE_SHIFT] = ptep_get(pte);
	return 0;
}

static noinline struct page *nothing(struct vm_area_struct *vma,
				     unsigned long at, pte_t pte)
{
	return NULL;
}

/* Symbols that are not exported can be probed. */
static lookup_fn symbol(const char *symbol_name)
{
	struct kprobe kp = { .symbol_name = symbol_name };

	if (register_kprobe(&kp))
		return NULL;
	unregister_kprobe(&kp);
	return (lookup_fn)kp.addr;
}

static u64 lookups(struct vm_area_struct *vma, lookup_fn fn)
{
	static struct page *found;
	unsigned int i, k;
	u64 start = ktime_get_ns();

	for (k = 0; k < REPEAT; k++)
		for (i = 0; i < NR; i++)
			WRITE_ONCE(found, fn(vma, addr + i * PAGE_SIZE, ptes[i]));
	return ktime_get_ns() - start;
}

static int __init normal_page_init(void)
{
	lookup_fn fn = symbol("vm_normal_page");
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	unsigned int round;
	int ret = -EINVAL;
	u64 call;

	if (!fn)
		return -ENOENT;
	mmap_read_lock(mm);
	vma = find_vma(mm, addr);
	if (!vma || addr < vma->vm_start || addr + NR * PAGE_SIZE > vma->vm_end)
		goto out;
	ret = apply_to_page_range(mm, addr, NR * PAGE_SIZE, get_pte, NULL);
	if (ret)
		goto out;
	for (round = 0; round < ROUNDS; round++) {
		call = lookups(vma, nothing);
		pr_info("%s %u %llu 0\n", name, NR,
			(lookups(vma, fn) - call) / REPEAT);
	}
	/* There is nothing to keep. */
	ret = -ECANCELED;
out:
	mmap_read_unlock(mm);
	return ret;
}
module_init(normal_page_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("What it costs to find the page of a PTE");
