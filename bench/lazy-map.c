// SPDX-License-Identifier: GPL-2.0
/*
 * Compares eager and lazy maps of grants: a disk is read past the page cache into
 * granted pages (direct), or the process writes to each page (touch). A round is
 * map, use, munmap and close.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <linux/loop.h>

#include "bench.h"
#include "xen_test.h"

#define ROUNDS	15
#define MAX	512

#ifndef IOCTL_GNTDEV_MAP_LAZILY
#define IOCTL_GNTDEV_MAP_LAZILY	_IOC(_IOC_NONE, 'G', 13, 16)
#endif

struct lazily {
	uint64_t index;
	uint32_t count, flags;
};

static int open_disk(void)
{
	struct loop_config config = { .fd = memfd_create("disk", MFD_CLOEXEC) };
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd;
	char path[32];

	snprintf(path, sizeof(path), "/dev/loop%d", ioctl(ctl, LOOP_CTL_GET_FREE));
	close(ctl);
	fd = open(path, O_RDWR | O_CLOEXEC | O_DIRECT);
	if (fd < 0 || ftruncate(config.fd, MAX * 4096) ||
	    ioctl(fd, LOOP_CONFIGURE, &config)) {
		perror("lazy-map: loop device");
		exit(1);
	}
	close(config.fd);
	return fd;
}

/* The base has no lazy maps. */
static bool lazy_works(void)
{
	int fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	struct lazily op = { .count = 1 };
	bool works = ioctl(fd, IOCTL_GNTDEV_MAP_LAZILY, &op) && errno == ENOENT;

	close(fd);
	return works;
}

static void round_of(unsigned int nr, bool lazy, int disk)
{
	struct lazily op = { .count = nr };
	char name[32];
	struct granter g;
	unsigned int i;
	char *addr;
	int fd;

	if (granter_open(&g, GRANTER_LOCAL, nr, GNTALLOC_FLAG_WRITABLE)) {
		fprintf(stderr, "%s\n", g.why);
		exit(1);
	}
	fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	begin();
	if (gntdev_map(fd, g.domid, g.refs, nr, &op.index))
		exit(1);
	if (lazy && ioctl(fd, IOCTL_GNTDEV_MAP_LAZILY, &op))
		exit(1);
	addr = mmap(NULL, nr * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, op.index);
	if (addr == MAP_FAILED)
		exit(1);
	if (disk >= 0 && pread(disk, addr, nr * 4096, 0) != nr * 4096)
		exit(1);
	for (i = 0; disk < 0 && i < nr; i++)
		addr[i * 4096] = 1;
	munmap(addr, nr * 4096);
	gntdev_unmap(fd, op.index, nr);
	close(fd);
	snprintf(name, sizeof(name), "%s%s", disk < 0 ? "touch" : "direct",
		 lazy ? "-lazy" : "");
	end(name, nr);
	granter_returned(&g);
	granter_close(&g);
}

int main(void)
{
	static const unsigned int counts[] = { 1, 32, MAX };
	unsigned int i, round;
	bool lazy = lazy_works();
	int disk = open_disk();

	xen_param_set("xen_gntalloc", "limit", 8192);
	for (i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		for (round = 0; round < ROUNDS; round++) {
			round_of(counts[i], false, disk);
			round_of(counts[i], false, -1);
			if (lazy) {
				round_of(counts[i], true, disk);
				round_of(counts[i], true, -1);
			}
		}
	}
	ioctl(disk, LOOP_CLR_FD);
	return 0;
}
