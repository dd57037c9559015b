// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs a PV dom0 to look up what a frame is: memory, identity frames that
 * share a page of the table, those that have an own one, and such that are
 * missing. Prints a line for each sample: case, number of frames, nanoseconds, 0.
 */

#define pr_fmt(fmt) "p2m: " fmt

#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>

#include <xen/page.h>
#include <xen/xen.h>

#define NR	64
#define ROUNDS	15
#define REPEAT	64	/* lookups of each frame in a sample */

static unsigned long sum;

static void lookup(const char *name, unsigned long pfn)
{
	unsigned int i, k, round;
	u64 start;

	for (round = 0; round < ROUNDS; round++) {
		start = ktime_get_ns();
		for (k = 0; k < REPEAT; k++)
			for (i = 0; i < NR; i++)
				WRITE_ONCE(sum, pfn_to_mfn(pfn + i));
		pr_info("%s %u %llu 0\n", name, NR,
			(ktime_get_ns() - start) / REPEAT);
	}
}

static bool are(unsigned long pfn, unsigned long bit)
{
	unsigned int i;

	for (i = 0; i < NR; i++)
		if (__pfn_to_mfn(pfn + i) != (bit ? (pfn + i) | bit : ~0UL))
			return false;
	return true;
}

static int __init p2m_init(void)
{
	unsigned long pfn;

	if (!xen_pv_domain())
		return -ENODEV;
	lookup("ram", page_to_pfn(virt_to_page(__va(PFN_PHYS(0x1000)))));
	/* The legacy hole of a PC, and what is below 4 GB. */
	if (!are(0xa0, IDENTITY_FRAME_BIT) || !are(0xfee00, IDENTITY_FRAME_BIT))
		return -ENXIO;
	lookup("identity-own", 0xa0);
	lookup("identity", 0xfee00);
	lookup("beyond", 1UL << 40);
	for (pfn = 0; pfn < xen_p2m_size; pfn += 512)
		if (are(pfn, 0))
			break;
	if (pfn >= xen_p2m_size)
		return -ENXIO;
	lookup("missing", pfn);
	return 0;
}
module_init(p2m_init);

static void __exit p2m_exit(void)
{
}
module_exit(p2m_exit);

MODULE_DESCRIPTION("Measures lookups in the P2M table");
MODULE_LICENSE("GPL");
