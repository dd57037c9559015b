// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/xen/p2m: what the frames of this PV domain are, a line for
 * all of one type that follow each other::
 *
 *	# tables 3 own, 1021 shared; leaves 521 own, 1015 shared
 *	0x0-0x9e ram 159
 *	0x9f-0xff identity 97
 *	0x100-0x3ffff ram 261888
 *	0x40000-0x7ffffff identity 133955584
 *	0x8000000-... identity
 *
 * Leaves and tables are pages of the P2M table, see struct p2m_tree.
 */
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/seq_file.h>

#include <xen/xen.h>

#include "p2m_tree.h"

/* The run that begins at *pos, with one of no frames for all beyond the tree. */
static void *run_at(struct seq_file *m, loff_t *pos)
{
	struct p2m_run *run = m->private;

	if (xen_p2m_tree_run(&xen_p2m, *pos, run))
		return run;
	if (*pos > xen_p2m.size)
		return NULL;
	*run = (struct p2m_run){ .type = XEN_P2M_IDENTITY, .pfn = *pos };
	return run;
}

static void *p2m_start(struct seq_file *m, loff_t *pos)
{
	return run_at(m, pos);
}

static void *p2m_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct p2m_run *run = v;

	*pos = run->pfn + (run->nr ?: 1);
	return run_at(m, pos);
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
	struct p2m_tree_stat stat;
	struct p2m_run *run = v;

	if (!run->pfn) {
		xen_p2m_tree_stat(&xen_p2m, &stat);
		seq_printf(m, "# tables %lu own, %lu shared; leaves %lu own, %lu shared\n",
			   stat.tables, stat.shared_tables, stat.leaves,
			   stat.shared_leaves);
	}
	if (run->nr)
		seq_printf(m, "%#lx-%#lx %s %lu\n", run->pfn,
			   run->pfn + run->nr - 1, names[run->type], run->nr);
	else
		seq_printf(m, "%#lx-... %s\n", run->pfn, names[run->type]);
	return 0;
}

static const struct seq_operations p2m_seq_ops = {
	.start	= p2m_start,
	.next	= p2m_next,
	.stop	= p2m_stop,
	.show	= p2m_show,
};

static int p2m_open(struct inode *inode, struct file *file)
{
	return seq_open_private(file, &p2m_seq_ops, sizeof(struct p2m_run));
}

static const struct file_operations p2m_fops = {
	.owner		= THIS_MODULE,
	.open		= p2m_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= seq_release_private,
};

static int __init p2m_debugfs_init(void)
{
	if (!xen_pv_domain())
		return 0;
	debugfs_create_file("p2m", 0400, debugfs_create_dir("xen", NULL), NULL,
			    &p2m_fops);
	return 0;
}
device_initcall(p2m_debugfs_init);
