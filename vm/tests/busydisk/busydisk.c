// SPDX-License-Identifier: GPL-2.0
/*
 * A disk in memory that is slow, and that has references to the pages of a
 * request when this is complete, as a disk behind a network may have: until the
 * peer has acknowledged what was sent. When it lets go of a page, that must show
 * what it did when the request was complete.
 */

#define pr_fmt(fmt) "busydisk: " fmt

#include <linux/atomic.h>
#include <linux/blkdev.h>
#include <linux/crc32.h>
#include <linux/highmem.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

static unsigned int size_mb = 64;
module_param(size_mb, uint, 0444);
MODULE_PARM_DESC(size_mb, "size of the disk");

static unsigned int complete_ms = 2;
module_param(complete_ms, uint, 0644);
MODULE_PARM_DESC(complete_ms, "milliseconds that a request takes");

static unsigned int hold_ms = 50;
module_param(hold_ms, uint, 0644);
MODULE_PARM_DESC(hold_ms, "milliseconds that its pages are in use then, at most");

static atomic_t nr_held;
static atomic_t nr_changed;

static int get_atomic(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_read(kp->arg));
}

static const struct kernel_param_ops atomic_ops = { .get = get_atomic };
module_param_cb(held, &atomic_ops, &nr_held, 0444);
MODULE_PARM_DESC(held, "pages that were held so far");
module_param_cb(changed, &atomic_ops, &nr_changed, 0444);
MODULE_PARM_DESC(changed, "those of them that changed meanwhile");

/**
 * struct job - a request
 * @work: completes it, and later lets go of its pages
 * @bio: the request, %NULL when it is complete
 * @nr: number of its pages
 * @seg: a part of a page, in use, and its checksum
 */
struct job {
	struct delayed_work work;
	struct bio *bio;
	unsigned int nr;
	struct {
		struct page *page;
		unsigned int offset;
		unsigned int len;
		u32 crc;
	} seg[];
};

static struct workqueue_struct *wq;
static struct gendisk *disk;
static void *mem;

static u32 checksum(struct page *page, unsigned int offset, unsigned int len)
{
	void *addr = kmap_local_page(page);
	u32 crc = crc32(0, addr + offset, len);

	kunmap_local(addr);
	return crc;
}

static void job_work(struct work_struct *work)
{
	struct job *job = container_of(work, struct job, work.work);
	unsigned int i;

	if (job->bio) {
		bio_endio(job->bio);
		job->bio = NULL;
		queue_delayed_work(wq, &job->work,
				   msecs_to_jiffies(get_random_u32_below(hold_ms + 1)));
		return;
	}
	for (i = 0; i < job->nr; i++) {
		if (checksum(job->seg[i].page, job->seg[i].offset,
			     job->seg[i].len) != job->seg[i].crc)
			atomic_inc(&nr_changed);
		put_page(job->seg[i].page);
	}
	atomic_add(job->nr, &nr_held);
	kfree(job);
}

static void busydisk_submit(struct bio *bio)
{
	void *at = mem + (bio->bi_iter.bi_sector << SECTOR_SHIFT);
	struct bvec_iter iter;
	struct bio_vec bv;
	unsigned int nr = 0;
	struct job *job;

	bio_for_each_segment(bv, bio, iter)
		nr++;
	job = kmalloc(struct_size(job, seg, nr), GFP_NOIO);
	if (!job) {
		bio_io_error(bio);
		return;
	}
	job->bio = bio;
	job->nr = 0;
	bio_for_each_segment(bv, bio, iter) {
		if (bio_data_dir(bio) == WRITE)
			memcpy_from_bvec(at, &bv);
		else
			memcpy_to_bvec(&bv, at);
		at += bv.bv_len;
		get_page(bv.bv_page);
		job->seg[job->nr].page = bv.bv_page;
		job->seg[job->nr].offset = bv.bv_offset;
		job->seg[job->nr].len = bv.bv_len;
		job->seg[job->nr].crc = checksum(bv.bv_page, bv.bv_offset,
						 bv.bv_len);
		job->nr++;
	}
	INIT_DELAYED_WORK(&job->work, job_work);
	queue_delayed_work(wq, &job->work, msecs_to_jiffies(complete_ms));
}

static const struct block_device_operations busydisk_ops = {
	.owner = THIS_MODULE,
	.submit_bio = busydisk_submit,
};

/* There is no exit: what it is for ends with the machine. */
static int __init busydisk_init(void)
{
	struct queue_limits lim = { .logical_block_size = 512 };
	int ret = -ENOMEM;

	wq = alloc_workqueue("busydisk", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!wq)
		return -ENOMEM;
	mem = vzalloc((size_t)size_mb << 20);
	if (!mem)
		goto no_mem;
	disk = blk_alloc_disk(&lim, NUMA_NO_NODE);
	if (IS_ERR(disk)) {
		ret = PTR_ERR(disk);
		goto no_disk;
	}
	strscpy(disk->disk_name, "busydisk");
	disk->fops = &busydisk_ops;
	set_capacity(disk, (sector_t)size_mb << (20 - SECTOR_SHIFT));
	ret = add_disk(disk);
	if (!ret)
		return 0;
	put_disk(disk);
no_disk:
	vfree(mem);
no_mem:
	destroy_workqueue(wq);
	return ret;
}
module_init(busydisk_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A slow disk that keeps pages in use");
