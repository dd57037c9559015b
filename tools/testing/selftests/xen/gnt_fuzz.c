// SPDX-License-Identifier: GPL-2.0
/*
 * Random calls to the devices from several processes and threads, with arguments
 * that are valid, nearly valid and absurd. Whatever they do, all grants come
 * back, and the kernel has nothing to report.
 *
 * XEN_SEED=N in the environment makes the same calls again, as far as the
 * threads and processes run alike; XEN_ROUNDS=N makes N thousand calls.
 *
 * What a domain may do and would suffer from is left out: hypercalls, frames and
 * grants of others than XEN_PEER, event channels that are not ours, a grant of an
 * auto-translated domain's own page mapped by itself, writing to frames.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "xen_privcmd.h"
#include "xen_test.h"

#define RW		(PROT_READ | PROT_WRITE)
#define WORKERS		3		/* processes at a time */
#define THREADS		3		/* of a process, at most */
#define CHUNK		500		/* calls of a process */
#define HANG_MS		60000		/* a call does not take that long */
#define GRANTS		64		/* that are there to map */
#define FILES		24
#define MAPS		32
#define AREA_PAGES	768		/* across two page tables */
#define ARG_PAGES	4
#define HUGE		(UINT32_MAX + 1ULL)	/* pages, none as an int */

enum call {
	OPEN, CLOSE, DUP, DEV_MAP, DEV_UNMAP, DEV_OFFSET, DEV_NOTIFY, DEV_COPY,
	BUF_EXPORT, BUF_WAIT, BUF_IMPORT, BUF_FORGET,
	ALLOC, DEALLOC, ALLOC_NOTIFY,
	MMAP, MMAP_HUGE, MUNMAP, MPROTECT, MADVISE, MREMAP, MLOCK, CLEAR_REFS,
	TOUCH, READV, SPLICE, FORK,
	PRIV_MMAP, PRIV_BATCH, PRIV_OLD, PRIV_RESOURCE, PRIV_DM, PRIV_IRQFD,
	PRIV_IOEVENTFD,
	PRIV_RESTRICT,
	EV_BIND, EV_REMOTE, EV_UNBIND, EV_NOTIFY, EV_WRITE, EV_READ, EV_OTHER,
	BAD_IOCTL, NR_CALLS
};

/* How often, and what it is called. */
static const struct {
	const char *name;
	unsigned int weight;
} calls[NR_CALLS] = {
	[OPEN] = { "open", 6 }, [CLOSE] = { "close", 3 }, [DUP] = { "dup", 2 },
	[DEV_MAP] = { "map", 16 }, [DEV_UNMAP] = { "unmap", 8 },
	[DEV_OFFSET] = { "offset", 3 }, [DEV_NOTIFY] = { "notify", 4 },
	[DEV_COPY] = { "copy", 5 }, [BUF_EXPORT] = { "dmabuf export", 2 },
	[BUF_WAIT] = { "dmabuf wait", 1 }, [BUF_IMPORT] = { "dmabuf import", 2 },
	[BUF_FORGET] = { "dmabuf release", 2 },
	[ALLOC] = { "alloc", 8 }, [DEALLOC] = { "dealloc", 8 },
	[ALLOC_NOTIFY] = { "alloc notify", 4 },
	[MMAP] = { "mmap", 24 }, [MMAP_HUGE] = { "huge mmap", 1 },
	[MUNMAP] = { "munmap", 10 }, [MPROTECT] = { "mprotect", 3 },
	[MADVISE] = { "madvise", 5 }, [MREMAP] = { "mremap", 4 },
	[MLOCK] = { "mlock", 2 }, [CLEAR_REFS] = { "clear_refs", 1 },
	[TOUCH] = { "touch", 10 }, [READV] = { "process_vm_readv", 3 },
	[SPLICE] = { "vmsplice", 4 }, [FORK] = { "fork", 1 },
	[PRIV_MMAP] = { "privcmd mmap", 4 }, [PRIV_BATCH] = { "batch", 6 },
	[PRIV_OLD] = { "old batch", 3 }, [PRIV_RESOURCE] = { "resource", 4 },
	[PRIV_DM] = { "dm_op", 2 }, [PRIV_IRQFD] = { "irqfd", 3 },
	[PRIV_IOEVENTFD] = { "ioeventfd", 4 },
	[PRIV_RESTRICT] = { "restrict", 1 },
	[EV_BIND] = { "bind", 4 }, [EV_REMOTE] = { "bind remote", 3 },
	[EV_UNBIND] = { "unbind", 3 }, [EV_NOTIFY] = { "send", 3 },
	[EV_WRITE] = { "unmask", 2 }, [EV_READ] = { "receive", 2 },
	[EV_OTHER] = { "evtchn", 1 }, [BAD_IOCTL] = { "ioctl", 1 },
};

enum kind { GNTDEV, GNTALLOC, EVTCHN, PRIVCMD, EXPORTED, NR_KINDS };

static const char * const paths[] = {
	"/dev/xen/gntdev", "/dev/xen/gntalloc", "/dev/xen/evtchn",
	"/dev/xen/privcmd",
};

/* What the threads of a process have, and race for. */
static struct {
	struct { int fd; enum kind kind; } files[FILES];
	struct { unsigned int file, count; uint64_t index; } maps[MAPS];
	uint32_t ports[8];
	int events[4];	/* eventfds */
	int importer;	/* a gntdev for dma-bufs of the others */
	int pipe[2];
	int clear_refs;
	void *area;	/* grants are mapped here, and written to */
	void *frames;	/* frames here, and not written to */
} own;

/**
 * struct thread - a thread
 * @rnd: state of its random numbers
 * @beat: where it says what it does
 * @arg: arguments of a call, at the end of which there is no memory
 * @arg_ro: the same, read-only
 * @left: calls to make
 */
struct thread {
	uint64_t rnd;
	struct beat *beat;
	void *arg, *arg_ro;
	unsigned int left;
};

/* Of all processes. */
static struct shared {
	struct beat {
		uint32_t nr, call;
	} beats[WORKERS][THREADS];
	uint32_t total;
	uint32_t made[NR_CALLS], done[NR_CALLS];
} *shared;

/* What is the same for all processes. */
static struct {
	uint64_t seed;
	size_t page;
	int self, peer;		/* domain ids */
	bool translated, privcmd;
	int domid;		/* whose grants these are */
	uint32_t refs[GRANTS];
	int frames_of;
	xen_pfn_t frame;
} env;

static __thread sigjmp_buf fault_env;
static __thread int fault_armed;

static void on_fault(int sig)
{
	if (__atomic_load_n(&fault_armed, __ATOMIC_SEQ_CST))
		siglongjmp(fault_env, sig);
	signal(sig, SIG_DFL);
	raise(sig);
}

static uint64_t rnd64(struct thread *t)
{
	uint64_t z = t->rnd += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static unsigned int rnd(struct thread *t, unsigned int below)
{
	return rnd64(t) % below;
}

#define PICK(t, array) ((array)[rnd(t, ARRAY_SIZE(array))])

/* One time of many. */
static bool rarely(struct thread *t, unsigned int many)
{
	return !rnd(t, many);
}

/* No memory at all, a kernel's, none that there can be. */
static void *bad_pointer(struct thread *t)
{
	void * const bad[] = {
		NULL, (void *)8, t->arg + ARG_PAGES * env.page,
		(void *)-4096L, (void *)(~0UL << 47), (void *)(1UL << 62),
	};

	return PICK(t, bad);
}

/*
 * Where an argument of @size bytes is: in front of the end of the memory, now and
 * then where it can't be read or written.
 */
static void *pointer(struct thread *t, size_t size)
{
	size_t offset = ARG_PAGES * env.page - (size + 7) / 8 * 8;

	switch (rnd(t, 40)) {
	case 0:
		return bad_pointer(t);
	case 1:
		return t->arg_ro + offset;
	case 2:
		return t->arg + offset + 8;
	default:
		return t->arg + offset;
	}
}

static int issue(struct thread *t, int fd, unsigned long cmd, const void *arg,
		 size_t size, void **where)
{
	void *to = t->arg + ARG_PAGES * env.page - (size + 7) / 8 * 8;

	memcpy(to, arg, size);
	*where = to;
	return ioctl(fd, cmd, pointer(t, size));
}

static int pick_file(struct thread *t, enum kind kind)
{
	unsigned int i, first = rnd(t, FILES);

	/* Any, closed ones as well. */
	if (rarely(t, 30))
		return own.files[first].kind == EXPORTED ? -1 :
		       own.files[first].fd;
	for (i = 0; i < FILES; i++) {
		unsigned int n = (first + i) % FILES;

		if (own.files[n].fd >= 0 && own.files[n].kind == kind)
			return own.files[n].fd;
	}
	return -1;
}

static unsigned int file_slot(struct thread *t, enum kind kind)
{
	unsigned int i, first = rnd(t, FILES);

	for (i = 0; i < FILES; i++)
		if (own.files[(first + i) % FILES].fd >= 0 &&
		    own.files[(first + i) % FILES].kind == kind)
			break;
	return (first + i) % FILES;
}

static int pick_domid(struct thread *t)
{
	const int absurd[] = { DOMID_SELF, DOMID_XEN, DOMID_INVALID, 0x7ff3,
			       DOMID_FIRST_RESERVED - 1, 0xffff };

	return PICK(t, absurd);
}

static uint32_t pick_count(struct thread *t)
{
	const uint32_t absurd[] = { 0, 0x7fffffff, 0x80000000, UINT32_MAX,
				    65537, 1 << 20 };
	const uint32_t normal[] = { 1, 1, 1, 2, 2, 3, 5, 17, 33, 200 };

	return rarely(t, 20) ? PICK(t, absurd) : PICK(t, normal);
}

/* An offset that was returned, or one near to it. */
static uint64_t pick_index(struct thread *t, unsigned int map)
{
	uint64_t index = own.maps[map].index;

	switch (rnd(t, 24)) {
	case 0:
		return index + env.page;
	case 1:
		return index - env.page;
	case 2:
		return rnd64(t);
	case 3:
		return index + rnd(t, 4096);
	default:
		return index;
	}
}

static uint32_t pick_port(struct thread *t)
{
	return rarely(t, 8) ? (1 << 20) + rnd(t, 1 << 20) : PICK(t, own.ports);
}

static void remember(struct thread *t, unsigned int file, uint64_t index,
		     uint32_t count)
{
	unsigned int i = rnd(t, MAPS);

	own.maps[i].file = file;
	own.maps[i].index = index;
	own.maps[i].count = count;
}

/* A map of the files of a kind, if there is one. */
static unsigned int pick_map(struct thread *t, enum kind kind)
{
	unsigned int i, first = rnd(t, MAPS);

	for (i = 0; i < MAPS; i++) {
		unsigned int n = (first + i) % MAPS;

		if (own.maps[n].count &&
		    own.files[own.maps[n].file].kind == kind)
			return n;
	}
	return first;
}

/* A range of @area, at one of few places. */
static void *pick_range(struct thread *t, void *area, size_t *len)
{
	unsigned int first = rnd(t, 24) * 31 + (rarely(t, 4) ? rnd(t, 31) : 0);
	unsigned int nr = 1 + rnd(t, rarely(t, 8) ? 100 : 6);

	if (first + nr > AREA_PAGES)
		nr = AREA_PAGES - first;
	*len = nr * env.page;
	return area + first * env.page;
}

static int do_open(struct thread *t)
{
	const enum kind kinds[] = { GNTDEV, GNTDEV, GNTDEV, GNTDEV, GNTALLOC,
				    GNTALLOC, EVTCHN, EVTCHN, PRIVCMD };
	enum kind kind = PICK(t, kinds);
	unsigned int i = rnd(t, FILES);
	int fd, old;

	fd = open(paths[kind], O_RDWR | O_NONBLOCK);
	if (fd < 0)
		return fd;
	old = own.files[i].fd;
	own.files[i].kind = kind;
	own.files[i].fd = fd;
	if (old >= 0)
		close(old);
	return 0;
}

static int do_close(struct thread *t)
{
	unsigned int i = rnd(t, FILES);
	int fd = own.files[i].fd;

	if (fd < 0)
		return -1;
	/* Some are used after that. */
	if (!rarely(t, 8))
		own.files[i].fd = -1;
	return close(fd);
}

static int do_dup(struct thread *t)
{
	unsigned int from = rnd(t, FILES), to = rnd(t, FILES);
	int fd, old = own.files[to].fd;

	if (own.files[from].fd < 0)
		return -1;
	fd = dup(own.files[from].fd);
	if (fd < 0)
		return fd;
	own.files[to].kind = own.files[from].kind;
	own.files[to].fd = fd;
	if (old >= 0)
		close(old);
	return 0;
}

static int do_dev_map(struct thread *t)
{
	union {
		struct ioctl_gntdev_map_grant_ref op;
		char room[sizeof(struct ioctl_gntdev_map_grant_ref) +
			  200 * sizeof(struct ioctl_gntdev_grant_ref)];
	} arg = {};
	struct ioctl_gntdev_map_grant_ref *op;
	unsigned int file = file_slot(t, GNTDEV), i, nr;
	struct ioctl_gntdev_grant_ref *refs = arg.op.refs;
	bool bad = rarely(t, 8);
	void *where;
	size_t size;

	arg.op.count = pick_count(t);
	nr = arg.op.count > 200 ? 1 : arg.op.count;
	for (i = 0; i < nr; i++) {
		refs[i].domid = env.domid;
		refs[i].ref = PICK(t, env.refs);
		if (bad && rarely(t, 4))
			refs[i].domid = pick_domid(t);
		if (bad && rarely(t, 4))
			refs[i].ref = UINT32_MAX - rnd(t, 1 << 20);
	}
	size = sizeof(arg.op) + (nr ? nr - 1 : 0) * sizeof(*refs);
	if (issue(t, pick_file(t, GNTDEV) < 0 ? -1 : own.files[file].fd,
		  IOCTL_GNTDEV_MAP_GRANT_REF, &arg, size, &where))
		return -1;
	op = where;
	remember(t, file, op->index, arg.op.count);
	return 0;
}

static int do_dev_unmap(struct thread *t)
{
	unsigned int map = pick_map(t, GNTDEV);
	struct ioctl_gntdev_unmap_grant_ref op = {
		.index = pick_index(t, map),
		.count = rarely(t, 8) ? pick_count(t) : own.maps[map].count,
	};
	void *where;
	int ret;

	ret = issue(t, own.files[own.maps[map].file].fd,
		    IOCTL_GNTDEV_UNMAP_GRANT_REF, &op, sizeof(op), &where);
	/* It stays in the table now and then. */
	if (!ret && !rarely(t, 4))
		own.maps[map].count = 0;
	return ret;
}

static int do_dev_offset(struct thread *t)
{
	size_t len;
	struct ioctl_gntdev_get_offset_for_vaddr op = {
		.vaddr = rarely(t, 8) ? rnd64(t) :
			 (uintptr_t)pick_range(t, own.area, &len),
	};
	void *where;

	return issue(t, pick_file(t, GNTDEV), IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR,
		     &op, sizeof(op), &where);
}

static int do_notify(struct thread *t, enum kind kind)
{
	unsigned int map = pick_map(t, kind);
	struct ioctl_gntdev_unmap_notify op = {
		.index = pick_index(t, map) + rnd(t, 4096),
		.action = rarely(t, 8) ? (uint32_t)rnd64(t) : rnd(t, 4),
		.event_channel_port = pick_port(t),
	};
	void *where;

	return issue(t, own.files[own.maps[map].file].fd, kind == GNTDEV ?
		     IOCTL_GNTDEV_SET_UNMAP_NOTIFY :
		     IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &op, sizeof(op), &where);
}

static int do_dev_copy(struct thread *t)
{
	struct {
		struct ioctl_gntdev_grant_copy op;
		struct gntdev_grant_copy_segment segs[20];
	} arg = {};
	unsigned int i, nr = 1 + rnd(t, 20);
	struct gntdev_grant_copy_segment *seg;
	void *where, *virt;
	size_t len;

	for (i = 0; i < nr; i++) {
		seg = &arg.segs[i];
		seg->len = rarely(t, 8) ? rnd64(t) : 1 + rnd(t, 4096);
		seg->flags = rarely(t, 16) ? rnd64(t) : 1 + rnd(t, 3);
		virt = rarely(t, 8) ? bad_pointer(t) :
		       rarely(t, 4) ? pick_range(t, own.area, &len) : t->arg;
		if (seg->flags & GNTCOPY_source_gref) {
			seg->source.foreign.ref = PICK(t, env.refs);
			seg->source.foreign.domid = env.domid;
			seg->source.foreign.offset =
				rarely(t, 4) ? rnd(t, 4096) : 0;
		} else {
			seg->source.virt = virt;
		}
		if (seg->flags & GNTCOPY_dest_gref) {
			seg->dest.foreign.ref = PICK(t, env.refs);
			seg->dest.foreign.domid = env.domid;
			seg->dest.foreign.offset =
				rarely(t, 4) ? rnd(t, 4096) : 0;
		} else {
			seg->dest.virt = virt;
			/* One page of the arguments at most. */
			if (virt == t->arg && seg->len > 4096)
				seg->len = 4096;
		}
	}
	arg.op.count = rarely(t, 20) ? pick_count(t) : nr;
	arg.op.segments = t->arg + ARG_PAGES * env.page - sizeof(arg.segs);
	if (rarely(t, 20))
		arg.op.segments = bad_pointer(t);
	memcpy(t->arg + ARG_PAGES * env.page - sizeof(arg.segs), arg.segs,
	       sizeof(arg.segs));
	where = t->arg + 2 * env.page;
	memcpy(where, &arg.op, sizeof(arg.op));
	return ioctl(pick_file(t, GNTDEV), IOCTL_GNTDEV_GRANT_COPY,
		     rarely(t, 20) ? bad_pointer(t) : where);
}

static int do_export(struct thread *t)
{
	union {
		struct ioctl_gntdev_dmabuf_exp_from_refs op;
		char room[sizeof(struct ioctl_gntdev_dmabuf_exp_from_refs) +
			  200 * sizeof(uint32_t)];
	} arg = {};
	struct ioctl_gntdev_dmabuf_exp_from_refs *op;
	unsigned int i, nr, slot = rnd(t, FILES);
	uint32_t *refs = arg.op.refs;
	void *where;
	int old;

	arg.op.count = pick_count(t);
	nr = arg.op.count > 200 ? 1 : arg.op.count;
	arg.op.flags = rarely(t, 4) ? rnd(t, 4) : 0;
	arg.op.domid = rarely(t, 8) ? pick_domid(t) : env.domid;
	for (i = 0; i < nr; i++)
		refs[i] = rarely(t, 50) ? UINT32_MAX - rnd(t, 1 << 20) :
					  PICK(t, env.refs);
	if (issue(t, pick_file(t, GNTDEV), IOCTL_GNTDEV_DMABUF_EXP_FROM_REFS,
		  &arg, sizeof(arg.op) + nr * sizeof(*refs), &where))
		return -1;
	op = where;
	old = own.files[slot].fd;
	own.files[slot].kind = EXPORTED;
	own.files[slot].fd = op->fd;
	if (old >= 0)
		close(old);
	return 0;
}

static int do_wait(struct thread *t)
{
	struct ioctl_gntdev_dmabuf_exp_wait_released op = {
		.fd = pick_file(t, EXPORTED), .wait_to_ms = rnd(t, 3),
	};
	void *where;

	return issue(t, pick_file(t, GNTDEV),
		     IOCTL_GNTDEV_DMABUF_EXP_WAIT_RELEASED, &op, sizeof(op),
		     &where);
}

/*
 * Only by a file that exports nothing: one that imports its own dma-buf holds
 * itself, and is never released.
 */
static int do_import(struct thread *t)
{
	union {
		struct ioctl_gntdev_dmabuf_imp_to_refs op;
		char room[sizeof(struct ioctl_gntdev_dmabuf_imp_to_refs) +
			  200 * sizeof(uint32_t)];
	} arg = {};
	void *where;

	arg.op.fd = pick_file(t, EXPORTED);
	arg.op.count = pick_count(t);
	arg.op.domid = DOMID_INVALID;
	return issue(t, own.importer, IOCTL_GNTDEV_DMABUF_IMP_TO_REFS,
		     &arg, sizeof(arg), &where);
}

static int do_forget(struct thread *t)
{
	struct ioctl_gntdev_dmabuf_imp_release op = {
		.fd = pick_file(t, EXPORTED),
	};
	void *where;

	return issue(t, own.importer, IOCTL_GNTDEV_DMABUF_IMP_RELEASE,
		     &op, sizeof(op), &where);
}

static int do_alloc(struct thread *t)
{
	union {
		struct ioctl_gntalloc_alloc_gref op;
		char room[sizeof(struct ioctl_gntalloc_alloc_gref) +
			  200 * sizeof(uint32_t)];
	} arg = {};
	unsigned int file = file_slot(t, GNTALLOC);
	struct ioctl_gntalloc_alloc_gref *op;
	uint32_t nr;
	void *where;

	arg.op.count = pick_count(t);
	nr = arg.op.count > 200 ? 1 : arg.op.count;
	arg.op.domid = !env.translated && rarely(t, 2) ? env.self :
		       DOMID_INVALID;
	arg.op.flags = rarely(t, 8) ? rnd64(t) : rnd(t, 2);
	if (issue(t, own.files[file].fd, IOCTL_GNTALLOC_ALLOC_GREF, &arg,
		  sizeof(arg.op) + nr * sizeof(uint32_t), &where))
		return -1;
	op = where;
	remember(t, file, op->index, arg.op.count);
	return 0;
}

static int do_dealloc(struct thread *t)
{
	unsigned int map = pick_map(t, GNTALLOC);
	struct ioctl_gntalloc_dealloc_gref op = {
		.index = pick_index(t, map),
		.count = rarely(t, 4) ? pick_count(t) : own.maps[map].count,
	};
	void *where;
	int ret;

	ret = issue(t, own.files[own.maps[map].file].fd,
		    IOCTL_GNTALLOC_DEALLOC_GREF, &op, sizeof(op), &where);
	if (!ret && !rarely(t, 4))
		own.maps[map].count = 0;
	return ret;
}

static int do_mmap(struct thread *t)
{
	const int prots[] = { RW, RW, RW, PROT_READ, PROT_NONE, PROT_WRITE };
	unsigned int map = pick_map(t, rnd(t, 3) ? GNTDEV : GNTALLOC);
	int flags = rarely(t, 12) ? MAP_PRIVATE : MAP_SHARED;
	uint64_t index = pick_index(t, map);
	size_t len, any;
	void *addr;

	if (rarely(t, 16))
		flags |= MAP_POPULATE;
	addr = pick_range(t, own.area, &any);
	len = own.maps[map].count * env.page;
	if (rarely(t, 6) || !len || len > 200 * env.page)
		len = any;
	if (len > own.area + AREA_PAGES * env.page - addr)
		len = any;
	/* An offset of which the file sees the low bits only. */
	if (rarely(t, 100))
		index += HUGE * env.page;
	addr = mmap(addr, len, PICK(t, prots), flags | MAP_FIXED,
		    own.files[own.maps[map].file].fd, index & -env.page);
	return addr == MAP_FAILED ? -1 : 0;
}

/* As many pages as an int counts, and those of a map. */
static int do_mmap_huge(struct thread *t)
{
	unsigned int map = pick_map(t, rnd(t, 4) ? GNTDEV : GNTALLOC);
	size_t len = (HUGE + own.maps[map].count) * env.page;
	void *addr;

	addr = mmap(NULL, len, PROT_READ, MAP_SHARED | MAP_NORESERVE,
		    own.files[own.maps[map].file].fd, own.maps[map].index);
	if (addr == MAP_FAILED)
		return -1;
	munmap(addr, len);
	return 0;
}

static void *pick_area(struct thread *t)
{
	return rarely(t, 6) ? own.frames : own.area;
}

static int do_munmap(struct thread *t)
{
	size_t len;
	void *addr = pick_range(t, pick_area(t), &len);

	if (rarely(t, 8))
		return mmap(addr, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0;
	return munmap(addr, len);
}

static int do_mprotect(struct thread *t)
{
	const int prots[] = { PROT_NONE, PROT_READ, RW, PROT_READ | PROT_EXEC };
	void *area = pick_area(t), *addr;
	int prot = PICK(t, prots);
	size_t len;

	addr = pick_range(t, area, &len);
	if (area == own.frames)
		prot &= ~PROT_WRITE;
	return mprotect(addr, len, prot);
}

static int do_madvise(struct thread *t)
{
	const int advices[] = {
		MADV_DONTNEED, MADV_DONTNEED, MADV_WILLNEED, MADV_FREE,
		MADV_DONTFORK, MADV_DOFORK, MADV_MERGEABLE, MADV_HUGEPAGE,
		MADV_DODUMP, MADV_REMOVE, MADV_SEQUENTIAL, 20 /* COLD */,
		21 /* PAGEOUT */, 22 /* POPULATE_READ */, 25 /* COLLAPSE */,
	};
	size_t len;
	void *addr = pick_range(t, pick_area(t), &len);

	return madvise(addr, len, PICK(t, advices));
}

static int do_mremap(struct thread *t)
{
	/* Xen takes a PV domain's frames away when they are moved. */
	void *area = env.translated ? pick_area(t) : own.area, *from, *to;
	size_t len, to_len;

	from = pick_range(t, area, &len);
	to = pick_range(t, area, &to_len);
	switch (rnd(t, 4)) {
	case 0:
		return mremap(from, len, to_len, 0) == MAP_FAILED ? -1 : 0;
	case 1:		/* a second mapping, or the old one left empty */
		len = rarely(t, 2) ? 0 : to_len;
		return mremap(from, len, to_len, MREMAP_MAYMOVE | MREMAP_FIXED |
			      (len ? 4 /* DONTUNMAP */ : 0), to) == MAP_FAILED ?
		       -1 : 0;
	default:
		if (len > to_len)
			len = to_len;
		return mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			      to) == MAP_FAILED ? -1 : 0;
	}
}

static int do_mlock(struct thread *t)
{
	size_t len;
	void *addr = pick_range(t, pick_area(t), &len);

	return rarely(t, 2) ? mlock(addr, len) : munlock(addr, len);
}

static int do_touch(struct thread *t)
{
	void *area = pick_area(t);
	unsigned char *p;
	unsigned int i, nr = 1 + rnd(t, 4);
	size_t len;
	int sig;

	p = pick_range(t, area, &len);
	sig = sigsetjmp(fault_env, 1);
	if (!sig) {
		__atomic_store_n(&fault_armed, 1, __ATOMIC_SEQ_CST);
		for (i = 0; i < nr; i++) {
			size_t at = rnd64(t) % len / env.page * env.page +
				    rnd(t, XEN_PAGE_SIZE);

			if (area == own.area && rarely(t, 2))
				__atomic_store_n(p + at, i, __ATOMIC_RELAXED);
			else
				__atomic_load_n(p + at, __ATOMIC_SEQ_CST);
		}
	}
	__atomic_store_n(&fault_armed, 0, __ATOMIC_SEQ_CST);
	return sig ? -1 : 0;
}

static int do_readv(struct thread *t)
{
	struct iovec local = { t->arg, 2 * env.page }, remote;

	remote.iov_base = pick_range(t, pick_area(t), &remote.iov_len);
	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) > 0 ? 0 : -1;
}

/* Pages that stay in use in a pipe, until it is read. */
static int do_splice(struct thread *t)
{
	struct iovec iov;
	char buf[4096];

	if (rarely(t, 2))
		return read(own.pipe[0], buf, sizeof(buf)) > 0 ? 0 : -1;
	iov.iov_base = pick_range(t, own.area, &iov.iov_len);
	return vmsplice(own.pipe[1], &iov, 1, SPLICE_F_NONBLOCK) > 0 ? 0 : -1;
}

static void one_call(struct thread *t, enum call call);

static int do_fork(struct thread *t)
{
	static const enum call of_child[] = {
		MUNMAP, TOUCH, MMAP, DEV_UNMAP, DEALLOC, CLOSE, MPROTECT,
		MADVISE, MREMAP, DEV_MAP, ALLOC,
	};
	unsigned int nr = rnd(t, 12), i;
	uint64_t seed = rnd64(t);
	pid_t pid;
	int status;

	pid = fork();
	if (pid < 0)
		return -1;
	if (!pid) {
		t->rnd = seed;
		for (i = 0; i < nr; i++)
			one_call(t, PICK(t, of_child));
		_exit(0);
	}
	if (rarely(t, 4))
		kill(pid, SIGKILL);
	return waitpid(pid, &status, 0) == pid ? 0 : -1;
}

static int do_priv_mmap(struct thread *t)
{
	size_t len;
	void *addr = pick_range(t, own.frames, &len);

	addr = mmap(addr, len, PROT_READ, (rarely(t, 16) ? MAP_PRIVATE :
		    MAP_SHARED) | MAP_FIXED, pick_file(t, PRIVCMD), 0);
	return addr == MAP_FAILED ? -1 : 0;
}

static void pick_frames(struct thread *t, xen_pfn_t *frames, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		frames[i] = rarely(t, 40) ? 0x10000000000ULL + i :
					    env.frame + rnd(t, 400);
}

static int do_batch(struct thread *t)
{
	xen_pfn_t frames[AREA_PAGES];
	struct privcmd_mmapbatch_v2 op = { .dom = env.frames_of };
	void *addr, *where;
	size_t len;
	int fd;

	fd = pick_file(t, PRIVCMD);
	addr = pick_range(t, own.frames, &len);
	/* A mapping is mapped as a whole: make it, or take what is there. */
	if (rnd(t, 4) && mmap(addr, len, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
			      0) == MAP_FAILED)
		return -1;
	op.num = len / env.page;
	pick_frames(t, frames, op.num);
	memcpy(t->arg, frames, op.num * sizeof(*frames));
	op.addr = (uintptr_t)addr;
	op.arr = t->arg;
	op.err = t->arg + 2 * env.page;
	if (rarely(t, 16))
		op.num = pick_count(t);
	if (rarely(t, 16))
		op.addr += rarely(t, 2) ? 8 : env.page;
	if (rarely(t, 16))
		op.dom = pick_domid(t);
	if (rarely(t, 24))
		op.arr = bad_pointer(t);
	if (rarely(t, 24))
		op.err = bad_pointer(t);
	return issue(t, fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &op, sizeof(op), &where);
}

static int do_old(struct thread *t)
{
	struct privcmd_mmap_entry entries[3] = {};
	struct privcmd_mmap op = {
		.num = 1 + rnd(t, 3), .dom = env.frames_of, .entry = t->arg,
	};
	void *addr, *area = rarely(t, 4) ? own.area : own.frames, *where;
	unsigned int i;
	size_t len;
	int fd;

	fd = pick_file(t, PRIVCMD);
	addr = pick_range(t, area, &len);
	/* What is not privcmd's must be left as it is. */
	if (area == own.area)
		addr = mmap(addr, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_FIXED, -1, 0);
	else
		addr = mmap(addr, len, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	if (addr == MAP_FAILED)
		return -1;
	for (i = 0; i < 3; i++) {
		entries[i].va = (uintptr_t)addr;
		entries[i].mfn = env.frame + rnd(t, 400);
		entries[i].npages = rarely(t, 8) ? rnd64(t) : 1 + rnd(t, 2);
		addr += entries[i].npages * env.page;
	}
	if (rarely(t, 16))
		op.num = pick_count(t);
	if (rarely(t, 16))
		op.entry = bad_pointer(t);
	memcpy(t->arg, entries, sizeof(entries));
	return issue(t, fd, IOCTL_PRIVCMD_MMAP, &op, sizeof(op), &where);
}

static int do_resource(struct thread *t)
{
	struct privcmd_mmap_resource op = {
		.dom = rarely(t, 8) ? pick_domid(t) : env.peer,
		.type = rarely(t, 8) ? rnd(t, 5) : XENMEM_resource_grant_table,
		.idx = rarely(t, 8) ? rnd64(t) : rnd(t, 2),
		.id = rarely(t, 16) ? rnd64(t) : 0,
	};
	void *addr, *where;
	size_t len;
	int fd;

	/* An ioreq server would be one that somebody uses. */
	if (op.type == 0)
		op.id = 0xffff;
	fd = pick_file(t, PRIVCMD);
	if (!rarely(t, 4)) {
		addr = pick_range(t, own.frames, &len);
		if (mmap(addr, len, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) ==
		    MAP_FAILED)
			return -1;
		op.addr = (uintptr_t)addr;
		op.num = rarely(t, 4) ? 1 + rnd(t, 8) : len / env.page;
		if (rarely(t, 16))
			op.addr += rarely(t, 2) ? 8 : env.page;
		if (rarely(t, 16))
			op.num = rnd64(t);
	} else if (rarely(t, 4)) {
		op.num = 1;
	}
	return issue(t, fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op, sizeof(op),
		     &where);
}

/* An operation that there is not. */
static int do_dm(struct thread *t)
{
	struct privcmd_dm_op_buf bufs[20] = {};
	struct privcmd_dm_op op = {
		.dom = rarely(t, 8) ? pick_domid(t) : env.peer,
		.num = rarely(t, 8) ? rnd(t, 40) : 1 + rnd(t, 3),
		.ubufs = t->arg + env.page,
	};
	unsigned int i;
	void *where;

	memset(t->arg, 0xff, 512);
	for (i = 0; i < 20; i++) {
		bufs[i].uptr = t->arg;
		bufs[i].size = rarely(t, 8) ? rnd64(t) : rnd(t, 512);
		if (i && rarely(t, 4))
			bufs[i].uptr = pick_range(t, own.area, &bufs[i].size);
		if (rarely(t, 16))
			bufs[i].uptr = bad_pointer(t);
	}
	memcpy(t->arg + env.page, bufs, sizeof(bufs));
	if (rarely(t, 16))
		op.ubufs = bad_pointer(t);
	return issue(t, pick_file(t, PRIVCMD), IOCTL_PRIVCMD_DM_OP, &op,
		     sizeof(op), &where);
}

/* An eventfd, which may be closed while it is used. */
static int *pick_event(struct thread *t)
{
	int *event = &own.events[rnd(t, ARRAY_SIZE(own.events))];

	if (rarely(t, 8))
		close(__atomic_exchange_n(event, eventfd(rarely(t, 8),
							 EFD_NONBLOCK),
					  __ATOMIC_RELAXED));
	return event;
}

/* The same when an eventfd is written to. */
static int do_irqfd(struct thread *t)
{
	struct privcmd_irqfd op = {
		.dm_op = (uintptr_t)(rarely(t, 16) ? bad_pointer(t) : t->arg),
		.size = rarely(t, 8) ? rnd64(t) : rnd(t, 64),
		.flags = rarely(t, 16) ? rnd(t, 4) : rnd(t, 2),
		.dom = rarely(t, 8) ? pick_domid(t) : env.peer,
	};
	int *event = pick_event(t);
	void *where;
	int ret;

	memset(t->arg, 0xff, 64);
	op.fd = rarely(t, 16) ? pick_file(t, PRIVCMD) : *event;
	ret = issue(t, pick_file(t, PRIVCMD), IOCTL_PRIVCMD_IRQFD, &op,
		    sizeof(op), &where);
	if (ret)
		return errno == EOPNOTSUPP ? 0 : -1;
	/* Each that fails to make its DM_OP says so in the log, once. */
	if (rarely(t, 8))
		eventfd_write(*event, 1);
	return op.flags ? -1 : 0;
}

static void map_frame(struct thread *t, int fd, void *addr)
{
	xen_pfn_t frame = env.frame + rnd(t, 400);
	struct privcmd_mmapbatch_v2 op = {
		.num = 1, .dom = env.frames_of, .addr = (uintptr_t)addr,
		.arr = &frame,
	};
	int err;

	op.err = &err;
	if (mmap(addr, env.page, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) !=
	    MAP_FAILED)
		ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &op);
}

/* Requests that nobody makes: what is in the frames is no ioreq server's. */
static int do_ioeventfd(struct thread *t)
{
	static const uint32_t lens[] = { 1, 2, 4, 8, 8, 8, 3, 0 };
	struct privcmd_ioeventfd op = {
		.ports = (uintptr_t)(rarely(t, 16) ? bad_pointer(t) : t->arg),
		.addr = rarely(t, 16) ? rnd64(t) : rnd(t, 4) * 512,
		.addr_len = PICK(t, lens),
		.event_fd = rarely(t, 16) ? pick_file(t, PRIVCMD) :
					    *pick_event(t),
		.vcpus = rarely(t, 8) ? pick_count(t) : 1 + rnd(t, 2),
		.vq = rnd(t, 2),
		.flags = rarely(t, 16) ? rnd(t, 4) : rnd(t, 2),
		.dom = rarely(t, 8) ? pick_domid(t) : env.peer,
	};
	void *area = rarely(t, 16) ? own.area : own.frames, *addr, *where;
	int fd = pick_file(t, PRIVCMD), ret, i;
	uint32_t *ports = t->arg;
	size_t len;

	for (i = 0; i < 4; i++)
		ports[i] = pick_port(t);
	addr = pick_range(t, area, &len);
	if (area == own.frames && rarely(t, 2))
		map_frame(t, fd, addr);
	op.ioreq = (uintptr_t)addr;
	ret = issue(t, fd, IOCTL_PRIVCMD_IOEVENTFD, &op, sizeof(op), &where);
	if (ret)
		return errno == EOPNOTSUPP ? 0 : -1;
	return op.flags ? -1 : 0;
}

static int do_restrict(struct thread *t)
{
	uint16_t domid = rarely(t, 2) ? env.frames_of : pick_domid(t);
	void *where;

	return issue(t, pick_file(t, PRIVCMD), IOCTL_PRIVCMD_RESTRICT, &domid,
		     sizeof(domid), &where);
}

static void got_port(struct thread *t, int port)
{
	if (port > 0)
		own.ports[rnd(t, ARRAY_SIZE(own.ports))] = port;
}

static int do_bind(struct thread *t)
{
	struct ioctl_evtchn_bind_unbound_port op = {
		.remote_domain = rarely(t, 8) ? pick_domid(t) : env.self,
	};
	void *where;
	int port;

	port = issue(t, pick_file(t, EVTCHN), IOCTL_EVTCHN_BIND_UNBOUND_PORT,
		     &op, sizeof(op), &where);
	got_port(t, port);
	return port < 0 ? -1 : 0;
}

static int do_remote(struct thread *t)
{
	struct ioctl_evtchn_bind_interdomain op = {
		.remote_domain = rarely(t, 8) ? pick_domid(t) : env.self,
		.remote_port = pick_port(t),
	};
	void *where;
	int port;

	port = issue(t, pick_file(t, EVTCHN), IOCTL_EVTCHN_BIND_INTERDOMAIN,
		     &op, sizeof(op), &where);
	got_port(t, port);
	return port < 0 ? -1 : 0;
}

static int do_port(struct thread *t, unsigned long cmd)
{
	struct ioctl_evtchn_unbind op = { .port = pick_port(t) };
	void *where;

	return issue(t, pick_file(t, EVTCHN), cmd, &op, sizeof(op), &where);
}

static int do_write(struct thread *t)
{
	unsigned int i, nr = 1 + rnd(t, 4);
	uint32_t *ports = t->arg;

	for (i = 0; i < nr; i++)
		ports[i] = pick_port(t);
	return write(pick_file(t, EVTCHN), rarely(t, 8) ? bad_pointer(t) : ports,
		     rarely(t, 16) ? 5000 : nr * sizeof(*ports)) < 0 ? -1 : 0;
}

static int do_read(struct thread *t)
{
	return read(pick_file(t, EVTCHN), pointer(t, 64), 1 + rnd(t, 64)) < 0 ?
	       -1 : 0;
}

/* Virtual interrupts and static ports that there are not. */
static int do_ev_other(struct thread *t)
{
	struct ioctl_evtchn_bind_virq virq = { .virq = 24 + rnd(t, 1000) };
	struct ioctl_evtchn_bind port = {
		/* The first ones are the kernel's. */
		.port = rarely(t, 2) ? rnd(t, 16) : pick_port(t),
	};
	struct ioctl_evtchn_restrict_domid domid = { .domid = pick_domid(t) };
	int fd = pick_file(t, EVTCHN);
	void *where;

	switch (rnd(t, 4)) {
	case 0:
		return issue(t, fd, IOCTL_EVTCHN_BIND_VIRQ, &virq, sizeof(virq),
			     &where);
	case 1:
		return issue(t, fd, IOCTL_EVTCHN_BIND_STATIC, &port,
			     sizeof(port), &where);
	case 2:
		return issue(t, fd, IOCTL_EVTCHN_RESTRICT_DOMID, &domid,
			     sizeof(domid), &where);
	default:
		return ioctl(fd, IOCTL_EVTCHN_RESET, 0);
	}
}

/* None of theirs, on any of them. */
static int do_bad_ioctl(struct thread *t)
{
	static const char types[] = { 'G', 'E', 'P' };

	return ioctl(pick_file(t, rnd(t, NR_KINDS)),
		     _IOC(rnd(t, 4), PICK(t, types), 100 + rnd(t, 100),
			  rnd(t, 1000)), pointer(t, rnd(t, 256)));
}

static int make(struct thread *t, enum call call)
{
	switch (call) {
	case OPEN:		return do_open(t);
	case CLOSE:		return do_close(t);
	case DUP:		return do_dup(t);
	case DEV_MAP:		return do_dev_map(t);
	case DEV_UNMAP:		return do_dev_unmap(t);
	case DEV_OFFSET:	return do_dev_offset(t);
	case DEV_NOTIFY:	return do_notify(t, GNTDEV);
	case DEV_COPY:		return do_dev_copy(t);
	case BUF_EXPORT:	return do_export(t);
	case BUF_WAIT:		return do_wait(t);
	case BUF_IMPORT:	return do_import(t);
	case BUF_FORGET:	return do_forget(t);
	case ALLOC:		return do_alloc(t);
	case DEALLOC:		return do_dealloc(t);
	case ALLOC_NOTIFY:	return do_notify(t, GNTALLOC);
	case MMAP:		return do_mmap(t);
	case MMAP_HUGE:		return do_mmap_huge(t);
	case MUNMAP:		return do_munmap(t);
	case MPROTECT:		return do_mprotect(t);
	case MADVISE:		return do_madvise(t);
	case MREMAP:		return do_mremap(t);
	case MLOCK:		return do_mlock(t);
	case CLEAR_REFS:	return write(own.clear_refs, rarely(t, 2) ?
					     "4" : "1", 1) == 1 ? 0 : -1;
	case TOUCH:		return do_touch(t);
	case READV:		return do_readv(t);
	case SPLICE:		return do_splice(t);
	case FORK:		return do_fork(t);
	case PRIV_MMAP:		return do_priv_mmap(t);
	case PRIV_BATCH:	return do_batch(t);
	case PRIV_OLD:		return do_old(t);
	case PRIV_RESOURCE:	return do_resource(t);
	case PRIV_DM:		return do_dm(t);
	case PRIV_IRQFD:	return do_irqfd(t);
	case PRIV_IOEVENTFD:	return do_ioeventfd(t);
	case PRIV_RESTRICT:	return do_restrict(t);
	case EV_BIND:		return do_bind(t);
	case EV_REMOTE:		return do_remote(t);
	case EV_UNBIND:		return do_port(t, IOCTL_EVTCHN_UNBIND);
	case EV_NOTIFY:		return do_port(t, IOCTL_EVTCHN_NOTIFY);
	case EV_WRITE:		return do_write(t);
	case EV_READ:		return do_read(t);
	case EV_OTHER:		return do_ev_other(t);
	default:		return do_bad_ioctl(t);
	}
}

static void one_call(struct thread *t, enum call call)
{
	__atomic_store_n(&t->beat->call, call + 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&t->beat->nr, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&shared->made[call], 1, __ATOMIC_RELAXED);
	if (make(t, call) >= 0)
		__atomic_fetch_add(&shared->done[call], 1, __ATOMIC_RELAXED);
	__atomic_store_n(&t->beat->call, 0, __ATOMIC_RELAXED);
	__atomic_fetch_add(&shared->total, 1, __ATOMIC_RELAXED);
}

static void *run_thread(void *arg)
{
	unsigned int sum = 0, at, i;
	struct thread *t = arg;

	for (i = 0; i < NR_CALLS; i++)
		sum += calls[i].weight;
	for (; t->left; t->left--) {
		at = rnd(t, sum);
		for (i = 0; at >= calls[i].weight; i++)
			at -= calls[i].weight;
		if (!env.privcmd && i >= PRIV_MMAP && i <= PRIV_RESTRICT)
			continue;
		one_call(t, i);
	}
	return NULL;
}

/* The memory of a thread's arguments, twice, with none behind it. */
static bool make_args(struct thread *t)
{
	size_t len = ARG_PAGES * env.page;
	int fd = memfd_create("args", 0);
	void **where[] = { &t->arg, &t->arg_ro };
	unsigned int i;

	if (fd < 0 || ftruncate(fd, len))
		return false;
	for (i = 0; i < 2; i++) {
		*where[i] = mmap(NULL, len + env.page, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (*where[i] == MAP_FAILED ||
		    mmap(*where[i], len, i ? PROT_READ : RW,
			 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
			return false;
	}
	close(fd);
	return true;
}

/* A process: calls of @threads threads at the same files and mappings. */
static int run_process(uint64_t seed, unsigned int worker, unsigned int threads)
{
	struct sigaction sa = { .sa_handler = on_fault };
	struct thread t[THREADS] = {};
	pthread_t ids[THREADS];
	unsigned int i;

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < FILES; i++)
		own.files[i].fd = -1;
	own.importer = open(paths[GNTDEV], O_RDWR);
	for (i = 0; i < ARRAY_SIZE(own.events); i++)
		own.events[i] = eventfd(0, EFD_NONBLOCK);
	own.clear_refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	/* GRANT_COPY to the last page may go one further. */
	own.area = mmap(NULL, (AREA_PAGES + 1) * env.page, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	own.frames = mmap(NULL, (AREA_PAGES + 1) * env.page, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (own.area == MAP_FAILED || own.frames == MAP_FAILED ||
	    pipe2(own.pipe, O_NONBLOCK))
		return 1;
	for (i = 0; i < threads; i++) {
		t[i].rnd = seed * THREADS + i;
		t[i].beat = &shared->beats[worker][i];
		t[i].left = CHUNK / threads;
		if (!make_args(&t[i]))
			return 1;
		/* One of each, for a start. */
		if (!i) {
			unsigned int k;

			for (k = 0; k < EXPORTED; k++) {
				own.files[k].kind = k;
				own.files[k].fd = open(paths[k], O_RDWR |
						       O_NONBLOCK);
			}
		}
	}
	for (i = 1; i < threads; i++)
		if (pthread_create(&ids[i], NULL, run_thread, &t[i]))
			return 1;
	run_thread(&t[0]);
	for (i = 1; i < threads; i++)
		pthread_join(ids[i], NULL);
	return 0;
}

/**
 * FIXTURE(gnt_fuzz) - grants to map, and what is looked at in the end
 * @g: where the grants come from
 * @kmsg: the kernel's messages from here on
 * @alloc: gntalloc
 * @used: pages that it counts
 * @users: of the modules
 * @leaked: pages that gntdev has lost
 */
FIXTURE(gnt_fuzz) {
	struct granter g;
	int kmsg;
	int alloc;
	unsigned int used;
	int users[2];
	unsigned int leaked;
};

FIXTURE_VARIANT(gnt_fuzz) {
	enum granter_kind kind;
};

FIXTURE_VARIANT_ADD(gnt_fuzz, local) { .kind = GRANTER_LOCAL };
FIXTURE_VARIANT_ADD(gnt_fuzz, peer) { .kind = GRANTER_PEER };

/* Frames that this domain may map: as in privcmd.c. */
static void find_frames(void)
{
	xen_pfn_t extent = 0;
	struct xen_machphys_mfn_list list = {
		.max_extents = 1, .extent_start = &extent,
	};
	struct privcmd_hypercall call = {
		.op = HYPERVISOR_memory_op,
		.arg = { XENMEM_machphys_mfn_list, (uintptr_t)&list },
	};
	int fd = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);

	env.frames_of = env.peer;
	env.frame = XEN_GUEST_RAM;
	if (!env.translated && fd >= 0 &&
	    !ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call)) {
		env.frames_of = DOMID_XEN;
		env.frame = extent;
	}
	env.privcmd = fd >= 0 && !env.self &&
		      (env.frames_of == DOMID_XEN || env.peer != DOMID_INVALID);
	if (fd >= 0)
		close(fd);
}

FIXTURE_SETUP(gnt_fuzz)
{
	const char *peer = getenv("XEN_PEER"), *seed = getenv("XEN_SEED");
	struct granter *g = &self->g;
	enum xen_guest type;
	uint32_t ref;
	int ret;

	self->kmsg = xen_kmsg_open();
	ASSERT_LE(0, self->kmsg);
	self->users[0] = xen_module_users("xen_gntdev");
	self->users[1] = xen_module_users("xen_gntalloc");
	ret = granter_open(g, variant->kind, GRANTS, GNTALLOC_FLAG_WRITABLE);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g->why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", g->why);
	self->alloc = xen_open("gntalloc", g->why, sizeof(g->why));
	ASSERT_LE(0, self->alloc)
		TH_LOG("%s", g->why);
	self->used = gntalloc_used(self->alloc);
	ASSERT_EQ(0, xen_param_get("xen_gntdev", "leaked", &self->leaked));

	type = xen_guest_type();
	env.translated = type == XEN_GUEST_PVH || type == XEN_GUEST_HVM;
	env.page = xen_page_size();
	env.self = xen_own_domid();
	env.peer = DOMID_INVALID;
	if (peer)
		xen_parse_peer(peer, &env.peer, &ref);
	env.domid = g->domid;
	memcpy(env.refs, g->refs, sizeof(env.refs));
	find_frames();
	env.seed = seed ? strtoull(seed, NULL, 0) : time(NULL);
	shared = mmap(NULL, sizeof(*shared), RW, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
}

FIXTURE_TEARDOWN(gnt_fuzz)
{
	unsigned int leaked = 0, used, i;

	if (self->alloc > 0) {
		/* What was in use in a pipe takes its time. */
		for (i = 0; i < 50; i++) {
			used = gntalloc_used(self->alloc);
			if (used == self->used)
				break;
			usleep(100000);
		}
		EXPECT_EQ(self->used, used);
		close(self->alloc);
		xen_param_get("xen_gntdev", "leaked", &leaked);
		EXPECT_EQ(self->leaked, leaked);
		EXPECT_EQ(0, granter_returned(&self->g));
	}
	granter_close(&self->g);
	for (i = 0; i < 50; i++) {
		if (xen_module_users("xen_gntdev") == self->users[0])
			break;
		usleep(100000);
	}
	EXPECT_EQ(self->users[0], xen_module_users("xen_gntdev"));
	EXPECT_EQ(self->users[1], xen_module_users("xen_gntalloc"));
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

/* The call in which a thread of @worker is for too long, or NULL. */
static const char *hanging(unsigned int worker, uint32_t (*last)[THREADS],
			   int64_t (*since)[THREADS])
{
	unsigned int i;

	for (i = 0; i < THREADS; i++) {
		struct beat *b = &shared->beats[worker][i];
		uint32_t nr = __atomic_load_n(&b->nr, __ATOMIC_RELAXED);
		uint32_t call = __atomic_load_n(&b->call, __ATOMIC_RELAXED);

		if (nr != last[worker][i] || !call) {
			last[worker][i] = nr;
			since[worker][i] = xen_now_ms();
		} else if (xen_now_ms() - since[worker][i] > HANG_MS) {
			return calls[call - 1].name;
		}
	}
	return NULL;
}

TEST_F_TIMEOUT(gnt_fuzz, calls, 7000)
{
	unsigned int total = xen_rounds(20) * 1000, started = 0, polls = 0;
	unsigned int w, i, made, done;
	static uint32_t last[WORKERS][THREADS];
	static int64_t since[WORKERS][THREADS];
	pid_t pids[WORKERS] = {};
	const char *hangs = NULL;
	bool running = true;
	int status;

	TH_LOG("XEN_SEED=%llu XEN_ROUNDS=%u", (unsigned long long)env.seed,
	       total / 1000);
	while (running && !hangs) {
		running = false;
		for (w = 0; w < WORKERS; w++) {
			if (pids[w] && waitpid(pids[w], &status, WNOHANG) ==
			    pids[w]) {
				/* Some are killed, none dies by itself. */
				EXPECT_TRUE(WIFEXITED(status) ?
					    !WEXITSTATUS(status) :
					    WTERMSIG(status) == SIGKILL)
					TH_LOG("status %x", status);
				pids[w] = 0;
				memset(shared->beats[w], 0,
				       sizeof(shared->beats[w]));
			}
			if (!pids[w] && shared->total < total) {
				started++;
				pids[w] = fork();
				ASSERT_LE(0, pids[w]);
				if (!pids[w])
					_exit(run_process(env.seed * 1000003 +
							  started, w,
							  started % 3 ? 1 :
							  THREADS));
			}
			if (pids[w]) {
				running = true;
				hangs = hangs ? : hanging(w, last, since);
			}
		}
		/* What they may do has messages enough to overwrite others. */
		EXPECT_EQ(0, xen_kmsg_read(self->kmsg));
		usleep(5000);
		w = started % WORKERS;
		if (started % 7 == 6 && pids[w] && ++polls % 16 == 0)
			kill(pids[w], SIGKILL);
	}
	ASSERT_EQ(NULL, hangs)
		TH_LOG("a call does not return: %s", hangs);
	made = 0;
	done = 0;
	for (i = 0; i < NR_CALLS; i++) {
		made += shared->made[i];
		done += shared->done[i];
	}
	TH_LOG("%u calls of %u processes, %u succeeded", made, started, done);
	/* They are not all refused. */
	for (i = 0; i < NR_CALLS; i++)
		if (shared->made[i] >= 200 && i != PRIV_DM && i != BAD_IOCTL &&
		    i != EV_OTHER && (i < BUF_EXPORT || i > BUF_FORGET) &&
		    (i != PRIV_OLD || !env.translated)) {
			EXPECT_LT(0, shared->done[i])
				TH_LOG("%s never succeeds", calls[i].name);
		}
}

int main(int argc, char **argv)
{
	xen_gntalloc_room(8192);
	return test_harness_run(argc, argv);
}
