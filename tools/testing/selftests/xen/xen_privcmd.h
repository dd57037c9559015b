/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What <xen/privcmd.h> has, which includes a header that is not exported, and
 * what it takes of the Xen interface.
 */
#ifndef SELFTEST_XEN_PRIVCMD_H
#define SELFTEST_XEN_PRIVCMD_H

#include <stdint.h>
#include <sys/ioctl.h>

typedef uint64_t xen_pfn_t;

struct privcmd_hypercall {
	uint64_t op;
	uint64_t arg[5];
};

struct privcmd_mmapbatch_v2 {
	unsigned int num;
	uint16_t dom;
	uint64_t addr;
	const xen_pfn_t *arr;
	int *err;
};

struct privcmd_mmap_resource {
	uint16_t dom;
	uint32_t type;
	uint32_t id;
	uint32_t idx;
	uint64_t num;
	uint64_t addr;
};

#define IOCTL_PRIVCMD_HYPERCALL \
	_IOC(_IOC_NONE, 'P', 0, sizeof(struct privcmd_hypercall))
#define IOCTL_PRIVCMD_MMAPBATCH_V2 \
	_IOC(_IOC_NONE, 'P', 4, sizeof(struct privcmd_mmapbatch_v2))
#define IOCTL_PRIVCMD_MMAP_RESOURCE \
	_IOC(_IOC_NONE, 'P', 7, sizeof(struct privcmd_mmap_resource))

#define DOMID_XEN			0x7ff2
#define HYPERVISOR_memory_op		12
#define XENMEM_machphys_mfn_list	5
#define XENMEM_resource_grant_table	1
#define GTF_type_mask			3
#define GTF_permit_access		1

struct xen_machphys_mfn_list {
	unsigned int max_extents;
	xen_pfn_t *extent_start;
	unsigned int nr_extents;
};

#endif /* SELFTEST_XEN_PRIVCMD_H */
