// SPDX-License-Identifier: GPL-2.0
/* What can keep a page in use; the header describes the functions. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include <linux/dm-ioctl.h>
#include <linux/loop.h>

#include "xen_hold.h"
#include "xen_test.h"

#define BUF		4096
#define DISK_SIZE	0x100000
#define DISK_NAME	"xen-selftest"

/* What the disk has when nobody wrote to it. */
#define DISK_BYTE	0xd5

static int read_all(int fd, void *buf, size_t len)
{
	ssize_t ret;

	for (; len; buf += ret, len -= ret) {
		ret = read(fd, buf, len);
		if (ret <= 0)
			return ret ? -errno : -EPIPE;
	}
	return 0;
}

/* It is suspended while a page is held. */
static struct {
	int dm;
	int loop;
	int fd;
	char why[100];
} disk = { .dm = -1, .loop = -1, .fd = -1 };

static int disk_ioctl(unsigned long cmd, unsigned int flags, const char *table,
		      uint64_t *dev)
{
	struct {
		struct dm_ioctl io;
		struct dm_target_spec spec;
		char params[64];
	} arg = {
		.io = {
			.version = { DM_VERSION_MAJOR },
			.data_size = sizeof(arg),
			.data_start = sizeof(arg.io),
			.flags = flags,
			.name = DISK_NAME,
			.target_count = !!table,
		},
		.spec = {
			.length = DISK_SIZE / 512,
			.target_type = "linear",
		},
	};

	if (table)
		strncpy(arg.params, table, sizeof(arg.params) - 1);
	if (ioctl(disk.dm, cmd, &arg))
		return -errno;
	if (dev)
		*dev = arg.io.dev;
	return 0;
}

/* The devices go when no test has them open, which may be in a moment. */
static void disk_remove(void)
{
	close(disk.fd);
	disk_ioctl(DM_DEV_SUSPEND, 0, NULL, NULL);
	disk_ioctl(DM_DEV_REMOVE, DM_DEFERRED_REMOVE, NULL, NULL);
	close(disk.dm);
	ioctl(disk.loop, LOOP_CLR_FD);
	close(disk.loop);
}

void hold_make_disk(void)
{
	char path[32], table[64], fill[BUF];
	struct loop_config config = {};
	const char *what;
	unsigned int off;
	int control, nr;
	uint64_t dev;

	what = "/dev/mapper/control";
	disk.dm = open(what, O_RDWR | O_CLOEXEC);
	if (disk.dm < 0)
		goto skip;
	what = "/dev/loop-control";
	control = open(what, O_RDWR | O_CLOEXEC);
	if (control < 0)
		goto skip;
	nr = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	snprintf(path, sizeof(path), "/dev/loop%d", nr);
	what = path;
	disk.loop = open(path, O_RDWR | O_CLOEXEC);
	if (disk.loop < 0)
		goto skip;
	config.fd = memfd_create("disk", MFD_CLOEXEC);
	memset(fill, DISK_BYTE, sizeof(fill));
	for (off = 0; off < DISK_SIZE; off += BUF)
		if (pwrite(config.fd, fill, BUF, off) != BUF)
			goto skip;
	if (ioctl(disk.loop, LOOP_CONFIGURE, &config))
		goto skip;
	close(config.fd);

	what = "device-mapper";
	xen_at_end(disk_remove);
	snprintf(table, sizeof(table), "%s 0", path);
	/* Of a run that was killed. */
	disk_ioctl(DM_DEV_SUSPEND, 0, NULL, NULL);
	disk_ioctl(DM_DEV_REMOVE, 0, NULL, NULL);
	if (disk_ioctl(DM_DEV_CREATE, 0, NULL, &dev) ||
	    disk_ioctl(DM_TABLE_LOAD, 0, table, NULL) ||
	    disk_ioctl(DM_DEV_SUSPEND, 0, NULL, NULL))
		goto skip;
	snprintf(path, sizeof(path), "/dev/dm-%u", minor(dev));
	what = path;
	disk.fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk.fd >= 0)
		return;
skip:
	snprintf(disk.why, sizeof(disk.why), "no disk to suspend: %s: %s", what,
		 strerror(errno));
}

static int disk_suspend(bool suspend)
{
	return disk_ioctl(DM_DEV_SUSPEND,
			  suspend ? DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG |
				    DM_NOFLUSH_FLAG : 0, NULL, NULL);
}

static int dio_start(struct hold *h, void *addr)
{
	struct iocb *cb = &h->cb;
	int ret;

	ret = disk_suspend(true);
	if (ret)
		return ret;
	memset(cb, 0, sizeof(*cb));
	cb->aio_fildes = disk.fd;
	cb->aio_lio_opcode = h->in ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE;
	cb->aio_buf = (uintptr_t)addr;
	cb->aio_nbytes = BUF;
	cb->aio_offset = h->in ? BUF : 0;
	/* The pages are pinned and the bio submitted when this returns. */
	return syscall(SYS_io_submit, h->aio, 1, &cb) == 1 ? 0 : -errno;
}

static int dio_finish(struct hold *h, void *buf)
{
	struct io_event ev;
	void *bounce;
	int ret;

	ret = disk_suspend(false);
	if (ret)
		return ret;
	if (syscall(SYS_io_getevents, h->aio, 1, 1, &ev, NULL) != 1)
		return -errno;
	if (ev.res != BUF)
		return (int64_t)ev.res < 0 ? (int)ev.res : -EIO;
	if (h->in) {
		memset(buf, DISK_BYTE, BUF);
		return 0;
	}
	if (posix_memalign(&bounce, BUF, BUF))
		return -ENOMEM;
	ret = pread(disk.fd, bounce, BUF, 0) == BUF ? 0 : -EIO;
	memcpy(buf, bounce, BUF);
	free(bounce);
	return ret;
}

/* Submits one request and waits for it; its result. */
static int uring_submit(struct hold *h, const struct io_uring_sqe *sqe)
{
	const struct io_uring_params *p = &h->params;
	unsigned int *tail, *head;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	int ret = -EIO;
	void *ring;

	ring = mmap(NULL, BUF, PROT_READ | PROT_WRITE, MAP_SHARED, h->ring,
		    IORING_OFF_SQ_RING);
	sqes = mmap(NULL, BUF, PROT_READ | PROT_WRITE, MAP_SHARED, h->ring,
		    IORING_OFF_SQES);
	if (ring == MAP_FAILED || sqes == MAP_FAILED)
		return -errno;

	/* It has one entry, and two for completions. */
	tail = ring + p->sq_off.tail;
	sqes[0] = *sqe;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, h->ring, 1, 1, IORING_ENTER_GETEVENTS,
		    NULL, 0) < 0)
		ret = -errno;

	head = ring + p->cq_off.head;
	tail = ring + p->cq_off.tail;
	cqes = ring + p->cq_off.cqes;
	if (__atomic_load_n(tail, __ATOMIC_ACQUIRE) != *head) {
		ret = cqes[*head % p->cq_entries].res;
		__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	}
	munmap(ring, BUF);
	munmap(sqes, BUF);
	return ret;
}

static int uring_read(struct hold *h, void *buf)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_WRITE_FIXED,
		.fd = h->fds[1],
		.addr = (uintptr_t)h->addr,
		.len = BUF,
		.off = -1,
	};
	int ret;

	ret = uring_submit(h, &sqe);
	if (ret < 0)
		return ret;
	if (syscall(SYS_io_uring_register, h->ring, IORING_UNREGISTER_BUFFERS,
		    NULL, 0))
		return -errno;
	return read_all(h->fds[0], buf, BUF);
}

int hold_init(struct hold *h, enum hold_kind kind)
{
	memset(h, 0, sizeof(*h));
	memset(h->fds, -1, sizeof(h->fds));
	h->ring = -1;
	h->kind = kind;
	h->in = kind == HOLD_DIO_READ;
	h->outlives = kind != HOLD_DIO_READ && kind != HOLD_DIO_WRITE;

	if (pipe(h->fds))
		goto err;
	switch (kind) {
	case HOLD_SOCKET:
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, h->fds + 2))
			goto err;
		break;
	case HOLD_URING:
		h->ring = syscall(SYS_io_uring_setup, 1, &h->params);
		if (h->ring >= 0)
			break;
		snprintf(h->why, sizeof(h->why), "no io_uring: %s",
			 strerror(errno));
		hold_exit(h);
		return XEN_SKIP;
	case HOLD_DIO_WRITE:
	case HOLD_DIO_READ:
		if (disk.fd < 0) {
			strcpy(h->why, disk.why);
			hold_exit(h);
			return XEN_SKIP;
		}
		if (syscall(SYS_io_setup, 1, &h->aio))
			goto err;
		break;
	default:
		break;
	}
	return 0;
err:
	snprintf(h->why, sizeof(h->why), "%s", strerror(errno));
	hold_exit(h);
	return -errno;
}

int hold_page(struct hold *h, void *addr)
{
	struct iovec iov = { .iov_base = addr, .iov_len = BUF };
	ssize_t ret;

	h->addr = addr;
	switch (h->kind) {
	case HOLD_PIPE:
	case HOLD_SOCKET:
		ret = vmsplice(h->fds[1], &iov, 1, 0);
		if (ret == BUF && h->kind == HOLD_SOCKET)
			ret = splice(h->fds[0], NULL, h->fds[2], NULL, BUF, 0);
		if (ret < 0)
			return -errno;
		return ret == BUF ? 0 : -EIO;
	case HOLD_URING:
		if (syscall(SYS_io_uring_register, h->ring,
			    IORING_REGISTER_BUFFERS, &iov, 1))
			return -errno;
		return 0;
	default:
		return dio_start(h, addr);
	}
}

int hold_release(struct hold *h, void *buf)
{
	switch (h->kind) {
	case HOLD_PIPE:
		return read_all(h->fds[0], buf, BUF);
	case HOLD_SOCKET:
		return read_all(h->fds[3], buf, BUF);
	case HOLD_URING:
		return uring_read(h, buf);
	default:
		return dio_finish(h, buf);
	}
}

void hold_exit(struct hold *h)
{
	unsigned int i;

	if (h->aio) {
		/* This waits for what is under way. */
		disk_suspend(false);
		syscall(SYS_io_destroy, h->aio);
	}
	if (h->ring >= 0)
		close(h->ring);
	for (i = 0; i < 4; i++)
		if (h->fds[i] >= 0)
			close(h->fds[i]);
}
