// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/xen/p2m: the types of this PV domain's frames. Each line is
 * a run of frames of one type. See Documentation/xen/p2m.rst.
 */
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

#include <asm/xen/hypervisor.h>
#include <xen/xen.h>

#include "p2m_tree.h"

static enum xen_p2m_type type_of(unsigned long pfn)
{
	return xen_p2m_entry_type(__pfn_to_mfn(pfn));
}

/* The first frame after @pfn that is not @type, or the end of the table. */
static unsigned long run_end(unsigned long pfn, enum xen_p2m_type type)
{
	do {
		if (type == XEN_P2M_IDENTITY)
			pfn += xen_p2m_tree_shared(&xen_p2m, pfn) ?: 1;
		else
			pfn++;
		cond_resched();
	} while (pfn < xen_p2m.size && type_of(pfn) == type);

	return pfn;
}

static void *p2m_start(struct seq_file *m, loff_t *pos)
{
	return *pos <= xen_p2m.size ? pos : NULL;
}

static void *p2m_next(struct seq_file *m, void *v, loff_t *pos)
{
	/* p2m_show() has stored the end of its run. */
	*pos = (unsigned long)m->private;
	return p2m_start(m, pos);
}

static void p2m_stop(struct seq_file *m, void *v)
{
}

static int p2m_show(struct seq_file *m, void *v)
{
	static const char * const names[] = {
		[XEN_P2M_RAM] = "ram",
		[XEN_P2M_FOREIGN] = "foreign",
		[XEN_P2M_IDENTITY] = "identity",
		[XEN_P2M_MISSING] = "missing",
	};
	unsigned long pfn = *(loff_t *)v, end = pfn + 1;
	enum xen_p2m_type type = type_of(pfn);

	if (!pfn)
		seq_printf(m, "# generation %lu\n",
			   HYPERVISOR_shared_info->arch.p2m_generation);
	if (pfn < xen_p2m.size) {
		end = run_end(pfn, type);
		seq_printf(m, "%#lx-%#lx %s %lu\n", pfn, end - 1, names[type],
			   end - pfn);
	} else {
		seq_printf(m, "%#lx-... %s\n", pfn, names[type]);
	}
	m->private = (void *)end;
	return 0;
}

static const struct seq_operations p2m_sops = {
	.start	= p2m_start,
	.next	= p2m_next,
	.stop	= p2m_stop,
	.show	= p2m_show,
};
DEFINE_SEQ_ATTRIBUTE(p2m);

static int __init p2m_debugfs_init(void)
{
	struct dentry *dir;

	if (!xen_pv_domain())
		return 0;
	/* Keep the reference: nobody removes the directory. */
	dir = debugfs_lookup("xen", NULL) ?: debugfs_create_dir("xen", NULL);
	debugfs_create_file("p2m", 0400, dir, NULL, &p2m_fops);
	return 0;
}
device_initcall(p2m_debugfs_init);
