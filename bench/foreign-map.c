// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to map frames of others through privcmd: those of Xen's table of
 * machine addresses, which any PV dom0 may map.
 */

#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>

#include "bench.h"

#define ROUNDS		15
#define MAX		512

int main(void)
{
	static const unsigned int counts[] = { 1, 16, 512 };
	uint64_t extent, frames[MAX];
	struct xen_machphys_mfn_list list = {
		.max_extents = 1, .extent_start = &extent,
	};
	struct privcmd_hypercall call = {
		.op = HYPERVISOR_memory_op,
		.arg = { XENMEM_machphys_mfn_list, (uintptr_t)&list },
	};
	size_t page = sysconf(_SC_PAGESIZE), table = page * page / 8;
	unsigned int i, nr, round;
	int fd, errs[MAX];
	uintptr_t addr;

	fd = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call)) {
		perror("foreign-map");
		return 1;
	}
	for (i = 0; i < MAX; i++)
		frames[i] = extent + i;
	/* From the start of a page table. */
	addr = (uintptr_t)mmap(NULL, 2 * table, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	addr = (addr + table - 1) / table * table;

	for (i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		nr = counts[i];
		for (round = 0; round < ROUNDS; round++) {
			struct privcmd_mmapbatch_v2 op = {
				.num = nr, .dom = DOMID_XEN, .addr = addr,
				.arr = frames, .err = errs,
			};

			if (mmap((void *)addr, nr * page, PROT_READ,
				 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
				return 1;
			begin();
			if (ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &op) || errs[nr - 1])
				return 1;
			end("map", nr);
			munmap((void *)addr, nr * page);
		}
	}
	return 0;
}
