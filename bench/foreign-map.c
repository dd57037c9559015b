// SPDX-License-Identifier: GPL-2.0
/*
 * Measures how privcmd maps and unmaps frames of other domains. Any dom0 may map
 * Xen's table of machine addresses. Arm has no such table, so the frames there are
 * those of the domain XEN_PEER.
 *
 *	foreign-map			1, 16 and 512 frames
 *	foreign-map large		1000 and 16384 frames, too
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "bench.h"
#include "xen_share.h"
#include "xen_test.h"

#define ROUNDS		15
#define EXTENT		512	/* frames of the table that follow each other */
#define MAX		16384
#define ARM_RAM		(0x40000000ULL >> 12)	/* of a guest */

int main(int argc, char **argv)
{
	static const unsigned int counts[] = { 1, 16, 512, 1000, MAX };
	static uint64_t frames[MAX];
	static int errs[MAX];
	bool large = argc > 1 && !strcmp(argv[1], "large");
	const char *peer = getenv("XEN_PEER");
	int domid = DOMID_XEN;
	uint64_t extent;
	uint32_t ref;
	struct xen_machphys_mfn_list list = {
		.max_extents = 1, .extent_start = &extent,
	};
	struct privcmd_hypercall call = {
		.op = HYPERVISOR_memory_op,
		.arg = { XENMEM_machphys_mfn_list, (uintptr_t)&list },
	};
	size_t page = sysconf(_SC_PAGESIZE), table = page * page / 8;
	unsigned int i, nr, round;
	uintptr_t addr;
	size_t size;
	int fd;

	fd = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		perror("foreign-map: /dev/xen/privcmd");
		return 1;
	}
	if (!ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call)) {
		for (i = 0; i < MAX; i++)
			frames[i] = extent + i % EXTENT;
	} else if (peer && !xen_parse_peer(peer, &domid, &ref)) {
		for (i = 0; i < MAX; i++)
			frames[i] = ARM_RAM + i;
	} else {
		fprintf(stderr, "foreign-map: no table of Xen's, no XEN_PEER\n");
		return 1;
	}
	/* From the start of a page table. */
	size = MAX * XEN_PAGE_SIZE + table;
	addr = (uintptr_t)mmap(NULL, size, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	addr = (addr + table - 1) / table * table;

	for (i = 0; i < (large ? 5 : 3); i++) {
		nr = counts[i];
		for (round = 0; round < ROUNDS; round++) {
			struct privcmd_mmapbatch_v2 op = {
				.num = nr, .dom = domid, .addr = addr,
				.arr = frames, .err = errs,
			};

			size = (nr * XEN_PAGE_SIZE + page - 1) / page * page;
			if (mmap((void *)addr, size, PROT_READ,
				 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
				return 1;
			begin();
			if (ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &op) || errs[nr - 1])
				return 1;
			end("map", nr);
			begin();
			munmap((void *)addr, size);
			end("unmap", nr);
		}
	}
	return 0;
}
