// SPDX-License-Identifier: GPL-2.0
/* The ioctls of gntalloc, gntdev and evtchn, and mapped grants. See xen_test.h. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "xen_test.h"

static int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

int gntalloc_alloc(int fd, int domid, int flags, uint32_t count,
		   uint32_t *refs, uint64_t *index)
{
	struct ioctl_gntalloc_alloc_gref *op;
	int ret;

	op = calloc(1, sizeof(*op) + count * sizeof(op->gref_ids[0]));
	if (!op)
		return -ENOMEM;
	op->domid = domid;
	op->flags = flags;
	op->count = count;
	ret = do_ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, op);
	if (!ret) {
		memcpy(refs, op->gref_ids_flex, count * sizeof(*refs));
		*index = op->index;
	}
	free(op);
	return ret;
}

int gntalloc_dealloc(int fd, uint64_t index, uint32_t count)
{
	struct ioctl_gntalloc_dealloc_gref op = {
		.index = index,
		.count = count,
	};

	return do_ioctl(fd, IOCTL_GNTALLOC_DEALLOC_GREF, &op);
}

void *gntalloc_map_each(int fd, uint64_t index, unsigned int count)
{
	size_t page = xen_page_size();
	unsigned int i;
	void *mem;

	mem = mmap(NULL, count * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	for (i = 0; mem != MAP_FAILED && i < count; i++) {
		if (mmap(mem + i * page, page, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, index + i * page) !=
		    MAP_FAILED)
			continue;
		munmap(mem, count * page);
		mem = MAP_FAILED;
	}
	return mem;
}

void gntalloc_end(int fd, uint64_t index, void *mem, unsigned int first,
		  unsigned int count)
{
	size_t page = xen_page_size();
	unsigned int i;

	mmap(mem + first * page, count * page, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	/* Some may have ended before. */
	for (i = first; i < first + count; i++)
		gntalloc_dealloc(fd, index + i * page, 1);
}

int gntalloc_notify(int fd, uint64_t index, uint32_t action, uint32_t port)
{
	struct ioctl_gntalloc_unmap_notify op = {
		.index = index,
		.action = action,
		.event_channel_port = port,
	};

	return do_ioctl(fd, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &op);
}

int gntdev_map(int fd, int domid, const uint32_t *refs, uint32_t count,
	       uint64_t *index)
{
	struct ioctl_gntdev_map_grant_ref *op;
	uint32_t i;
	int ret;

	op = calloc(1, sizeof(*op) + count * sizeof(op->refs[0]));
	if (!op)
		return -ENOMEM;
	op->count = count;
	for (i = 0; i < count; i++) {
		op->refs[i].domid = domid;
		op->refs[i].ref = refs[i];
	}
	ret = do_ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, op);
	if (!ret)
		*index = op->index;
	free(op);
	return ret;
}

int gntdev_unmap(int fd, uint64_t index, uint32_t count)
{
	struct ioctl_gntdev_unmap_grant_ref op = {
		.index = index,
		.count = count,
	};

	return do_ioctl(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, &op);
}

int gntdev_notify(int fd, uint64_t index, uint32_t action, uint32_t port)
{
	struct ioctl_gntdev_unmap_notify op = {
		.index = index,
		.action = action,
		.event_channel_port = port,
	};

	return do_ioctl(fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &op);
}

int gntdev_offset(int fd, const void *addr, uint64_t *offset, uint32_t *count)
{
	struct ioctl_gntdev_get_offset_for_vaddr op = {
		.vaddr = (uintptr_t)addr,
	};
	int ret;

	ret = do_ioctl(fd, IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR, &op);
	if (!ret) {
		*offset = op.offset;
		*count = op.count;
	}
	return ret;
}

int gntdev_copy(int fd, struct gntdev_grant_copy_segment *segs,
		unsigned int count)
{
	struct ioctl_gntdev_grant_copy op = {
		.count = count,
		.segments = segs,
	};

	return do_ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &op);
}

int evtchn_bind_unbound(int fd, int domid)
{
	struct ioctl_evtchn_bind_unbound_port op = { .remote_domain = domid };

	return do_ioctl(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &op);
}

int evtchn_bind_interdomain(int fd, int domid, uint32_t port)
{
	struct ioctl_evtchn_bind_interdomain op = {
		.remote_domain = domid,
		.remote_port = port,
	};

	return do_ioctl(fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &op);
}

int evtchn_bind_static(int fd, uint32_t port)
{
	struct ioctl_evtchn_bind op = { .port = port };

	return do_ioctl(fd, IOCTL_EVTCHN_BIND_STATIC, &op);
}

int evtchn_unbind(int fd, uint32_t port)
{
	struct ioctl_evtchn_unbind op = { .port = port };

	return do_ioctl(fd, IOCTL_EVTCHN_UNBIND, &op);
}

int evtchn_notify(int fd, uint32_t port)
{
	struct ioctl_evtchn_notify op = { .port = port };

	return do_ioctl(fd, IOCTL_EVTCHN_NOTIFY, &op);
}

int evtchn_wait(int fd, uint32_t port, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int64_t end = xen_now_ms() + ms, left;
	uint32_t fired;

	while ((left = end - xen_now_ms()) >= 0) {
		if (poll(&pfd, 1, left) != 1)
			continue;
		if (read(fd, &fired, sizeof(fired)) != sizeof(fired))
			return -EIO;
		/* Writing a port unmasks it. */
		if (write(fd, &fired, sizeof(fired)) != sizeof(fired))
			return -EIO;
		if (fired == port)
			return 0;
	}
	return -ETIME;
}

size_t xen_map_len(const struct xen_map *m)
{
	return m->nr * xen_page_size();
}

uint64_t *xen_map_word(const struct xen_map *m, unsigned int page,
		       unsigned int offset)
{
	return m->addr + page * xen_page_size() + offset;
}

int xen_map(struct xen_map *m, int domid, const uint32_t *refs,
	    unsigned int nr, int prot)
{
	int ret;

	m->nr = nr;
	m->fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	if (m->fd < 0)
		return -errno;
	ret = gntdev_map(m->fd, domid, refs, nr, &m->index);
	if (ret)
		goto err;
	m->addr = mmap(NULL, xen_map_len(m), prot, MAP_SHARED, m->fd, m->index);
	if (m->addr != MAP_FAILED)
		return 0;
	ret = -errno;
err:
	close(m->fd);
	return ret;
}

int xen_unmap(struct xen_map *m)
{
	int ret = 0;

	if (munmap(m->addr, xen_map_len(m)))
		ret = -errno;
	if (!ret)
		ret = gntdev_unmap(m->fd, m->index, m->nr);
	close(m->fd);
	return ret;
}

static sigjmp_buf probe_env;

static void probe_signal(int sig)
{
	siglongjmp(probe_env, sig);
}

int xen_probe(void *addr, bool write)
{
	struct sigaction sa = { .sa_handler = probe_signal }, segv, bus;
	unsigned char *p = addr, byte;
	int sig;

	sigaction(SIGSEGV, &sa, &segv);
	sigaction(SIGBUS, &sa, &bus);
	sig = sigsetjmp(probe_env, 1);
	if (!sig) {
		byte = __atomic_load_n(p, __ATOMIC_SEQ_CST);
		if (write)
			__atomic_store_n(p, byte, __ATOMIC_SEQ_CST);
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return sig;
}

int xen_refs_in_use(int domid, const uint32_t *refs, unsigned int nr, int ms)
{
	int fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC), ret = -ENOMEM;
	int64_t end = xen_now_ms() + ms;
	struct gntdev_grant_copy_segment *segs, *seg;
	unsigned int i, left;
	uint64_t word;

	if (fd < 0)
		return -errno;
	segs = calloc(nr, sizeof(*segs));
	if (!segs)
		goto out;
	for (i = 0; i < nr; i++) {
		segs[i].source.foreign.ref = refs[i];
		segs[i].source.foreign.domid = domid;
		segs[i].dest.virt = &word;
		segs[i].len = sizeof(word);
		segs[i].flags = GNTCOPY_source_gref;
	}
	for (;;) {
		ret = gntdev_copy(fd, segs, nr);
		if (ret)
			break;
		for (i = 0, left = 0; i < nr; i++) {
			seg = &segs[i];
			if (!seg->status)
				segs[left++] = *seg;
		}
		nr = left;
		ret = nr;
		if (!nr || xen_now_ms() >= end)
			break;
		usleep(20000);
	}
	free(segs);
out:
	close(fd);
	return ret;
}
