/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What <xen/privcmd.h> has, which includes a header that is not exported, and
 * what it takes of the Xen interface.
 */
#ifndef SELFTEST_XEN_PRIVCMD_H
#define SELFTEST_XEN_PRIVCMD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

typedef uint64_t xen_pfn_t;

struct privcmd_hypercall {
	uint64_t op;
	uint64_t arg[5];
};

struct privcmd_mmap_entry {
	uint64_t va;
	uint64_t mfn;
	uint64_t npages;
};

struct privcmd_mmap {
	int num;
	uint16_t dom;
	struct privcmd_mmap_entry *entry;
};

struct privcmd_mmapbatch {
	int num;
	uint16_t dom;
	uint64_t addr;
	const xen_pfn_t *arr;
};

struct privcmd_mmapbatch_v2 {
	unsigned int num;
	uint16_t dom;
	uint64_t addr;
	const xen_pfn_t *arr;
	int *err;
};

struct privcmd_dm_op_buf {
	void *uptr;
	size_t size;
};

struct privcmd_dm_op {
	uint16_t dom;
	uint16_t num;
	const struct privcmd_dm_op_buf *ubufs;
};

struct privcmd_mmap_resource {
	uint16_t dom;
	uint32_t type;
	uint32_t id;
	uint32_t idx;
	uint64_t num;
	uint64_t addr;
};

struct privcmd_irqfd {
	uint64_t dm_op;
	uint32_t size;
	uint32_t fd;
	uint32_t flags;
	uint16_t dom;
	uint8_t pad[2];
};

struct privcmd_ioeventfd {
	uint64_t ioreq;
	uint64_t ports;
	uint64_t addr;
	uint32_t addr_len;
	uint32_t event_fd;
	uint32_t vcpus;
	uint32_t vq;
	uint32_t flags;
	uint16_t dom;
	uint8_t pad[2];
};

#define PRIVCMD_IRQFD_FLAG_DEASSIGN	1
#define PRIVCMD_IOEVENTFD_FLAG_DEASSIGN	1

#define IOCTL_PRIVCMD_HYPERCALL \
	_IOC(_IOC_NONE, 'P', 0, sizeof(struct privcmd_hypercall))
#define IOCTL_PRIVCMD_MMAP \
	_IOC(_IOC_NONE, 'P', 2, sizeof(struct privcmd_mmap))
#define IOCTL_PRIVCMD_MMAPBATCH \
	_IOC(_IOC_NONE, 'P', 3, sizeof(struct privcmd_mmapbatch))
#define IOCTL_PRIVCMD_MMAPBATCH_V2 \
	_IOC(_IOC_NONE, 'P', 4, sizeof(struct privcmd_mmapbatch_v2))
#define IOCTL_PRIVCMD_DM_OP \
	_IOC(_IOC_NONE, 'P', 5, sizeof(struct privcmd_dm_op))
#define IOCTL_PRIVCMD_RESTRICT \
	_IOC(_IOC_NONE, 'P', 6, sizeof(uint16_t))
#define IOCTL_PRIVCMD_MMAP_RESOURCE \
	_IOC(_IOC_NONE, 'P', 7, sizeof(struct privcmd_mmap_resource))
#define IOCTL_PRIVCMD_IRQFD \
	_IOW('P', 8, struct privcmd_irqfd)
#define IOCTL_PRIVCMD_IOEVENTFD \
	_IOW('P', 9, struct privcmd_ioeventfd)

#define DOMID_XEN			0x7ff2
#define DOMID_IDLE			0x7fff	/* privcmd of a domU takes it */
#define HYPERVISOR_memory_op		12
#define HYPERVISOR_event_channel_op	32
#define XENMEM_machphys_mfn_list	5
#define XENMEM_resource_ioreq_server	0
#define XENMEM_resource_ioreq_frame	1	/* of a server, for the vCPUs */
#define XENMEM_resource_grant_table	1
#define GTF_type_mask			3
#define GTF_permit_access		1

/* A frame that is RAM of a guest which is not PV. */
#if defined(__aarch64__)
#define XEN_GUEST_RAM	(0x40000000ULL >> 12)
#else
#define XEN_GUEST_RAM	(16ULL << 20 >> 12)
#endif

#define EVTCHNOP_bind_interdomain	0
#define EVTCHNOP_close			3
#define EVTCHNOP_alloc_unbound		6

struct evtchn_bind_interdomain {
	uint16_t remote_dom;
	uint32_t remote_port;
	uint32_t local_port;
};

struct evtchn_close {
	uint32_t port;
};

struct evtchn_alloc_unbound {
	uint16_t dom;
	uint16_t remote_dom;
	uint32_t port;
};

#define XEN_DMOP_create_ioreq_server	1
#define XEN_DMOP_destroy_ioreq_server	6

/* What the two take of a union. */
struct xen_dm_op_ioreq_server {
	uint32_t op;
	uint32_t pad;
	union {
		struct {
			uint8_t handle_bufioreq;
			uint8_t pad[3];
			uint16_t id;
		} create;
		struct {
			uint16_t id;
			uint16_t pad;
		} destroy;
		uint8_t room[64];
	};
};

#define STATE_IOREQ_READY	1
#define STATE_IORESP_READY	3
#define IOREQ_TYPE_COPY		1

/* A request to write, if the other bits beside the state are 0. */
struct ioreq {
	uint64_t addr;
	uint64_t data;
	uint32_t count;
	uint32_t size;
	uint32_t vp_eport;
	uint16_t pad;
	uint8_t state;
	uint8_t type;
};

struct xen_machphys_mfn_list {
	unsigned int max_extents;
	xen_pfn_t *extent_start;
	unsigned int nr_extents;
};

#endif /* SELFTEST_XEN_PRIVCMD_H */
