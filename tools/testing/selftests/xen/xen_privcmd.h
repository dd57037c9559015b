/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calls of /dev/xen/privcmd, and the parts of the Xen interface that they
 * take. The functions return 0 or -errno.
 */
#ifndef SELFTEST_XEN_PRIVCMD_H
#define SELFTEST_XEN_PRIVCMD_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <xen/privcmd.h>

#include "xen_test.h"

#define DOMID_XEN			0x7ff2
#define DOMID_IDLE			0x7fff	/* privcmd of a domU accepts it */
#define HYPERVISOR_memory_op		12
#define HYPERVISOR_event_channel_op	32
#define XENMEM_machphys_mfn_list	5
#define XENMEM_resource_ioreq_server	0
#define XENMEM_resource_ioreq_frame	1	/* of a server, for the vCPUs */
#define XENMEM_resource_grant_table	1
#define GTF_type_mask			3
#define GTF_permit_access		1

#define TABLE_EXTENT	512		/* frames of an extent of Xen's table */
#define NO_FRAME	0x10000000000ULL	/* beyond all memory */

/* A frame that is RAM of a guest which is not PV. */
#if defined(__aarch64__)
#define XEN_GUEST_RAM	(0x40000000ULL >> 12)
#else
#define XEN_GUEST_RAM	(16ULL << 20 >> 12)
#endif

struct xen_machphys_mfn_list {
	unsigned int max_extents;
	xen_pfn_t *extent_start;
	unsigned int nr_extents;
};

static inline int privcmd_hypercall(int fd, unsigned int op, uint64_t cmd,
				    void *arg)
{
	struct privcmd_hypercall call = {
		.op = op, .arg = { cmd, (uintptr_t)arg },
	};

	return ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call) ? -errno : 0;
}

static inline int privcmd_batch(int fd, int domid, void *addr, unsigned int nr,
				const xen_pfn_t *frames, int *errs)
{
	struct privcmd_mmapbatch_v2 op = {
		.num = nr, .dom = domid, .addr = (uintptr_t)addr,
		.arr = frames, .err = errs,
	};

	return ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &op) ? -errno : 0;
}

/* The old call, of PV domains only: @npages frames from @frame on. */
static inline int mmap_frames(int fd, int domid, int num, void *addr,
			      uint64_t npages, xen_pfn_t frame)
{
	struct privcmd_mmap_entry entry = {
		.va = (uintptr_t)addr, .mfn = frame, .npages = npages,
	};
	struct privcmd_mmap op = {
		.num = num, .dom = domid, .entry = &entry,
	};

	return ioctl(fd, IOCTL_PRIVCMD_MMAP, &op) ? -errno : 0;
}

/* Frames of the grant table of @domid, from frame @idx on. */
static inline int map_grant_table(int fd, int domid, void *addr,
				  uint64_t nr, uint32_t idx)
{
	struct privcmd_mmap_resource op = {
		.dom = domid, .type = XENMEM_resource_grant_table, .idx = idx,
		.num = nr, .addr = (uintptr_t)addr,
	};

	return ioctl(fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op) ? -errno : 0;
}

static inline int privcmd_dm_op(int fd, int domid, unsigned int nr,
				const struct privcmd_dm_op_buf *bufs)
{
	struct privcmd_dm_op op = { .dom = domid, .num = nr, .ubufs = bufs };

	return ioctl(fd, IOCTL_PRIVCMD_DM_OP, &op) ? -errno : 0;
}

/* The domain of XEN_PEER, and the grant of its directory in @ref. */
static inline int xen_peer_domid(uint32_t *ref)
{
	const char *peer = getenv("XEN_PEER");
	int domid;

	return peer && !xen_parse_peer(peer, &domid, ref) ? domid : -ENOENT;
}

/*
 * Finds @nr frames that dom0 may map, and their domain. PV: Xen's table of
 * machine addresses. Others: RAM of the domain of XEN_PEER. Returns a reason
 * to skip, or NULL.
 */
static inline const char *privcmd_frames(int fd, unsigned int nr,
					 xen_pfn_t *frames, int *domid)
{
	xen_pfn_t extents[2] = {};
	struct xen_machphys_mfn_list list = {
		.max_extents = 2, .extent_start = extents,
	};
	unsigned int i;
	uint32_t ref;

	if (xen_own_domid())
		return "not dom0, which may map frames of other domains";
	if (xen_guest_type() == XEN_GUEST_PV) {
		if (privcmd_hypercall(fd, HYPERVISOR_memory_op,
				      XENMEM_machphys_mfn_list, &list))
			return "Xen does not tell where its table is";
		if (list.nr_extents * TABLE_EXTENT < nr)
			return "Xen's table is too small: 1 GB of memory";
		*domid = DOMID_XEN;
	} else {
		*domid = xen_peer_domid(&ref);
		if (*domid < 0)
			return "no XEN_PEER, whose frames to map";
		extents[0] = XEN_GUEST_RAM;
		extents[1] = XEN_GUEST_RAM + TABLE_EXTENT;
	}
	for (i = 0; i < nr; i++)
		frames[i] = extents[i / TABLE_EXTENT] + i % TABLE_EXTENT;
	return NULL;
}

#endif /* SELFTEST_XEN_PRIVCMD_H */
