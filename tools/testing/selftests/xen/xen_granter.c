// SPDX-License-Identifier: GPL-2.0
/* The granter of a test: this process, or gntshare in another domain. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "xen_test.h"

#define PEER_MS		30000	/* for an answer of gntshare */

/* Waits until the sharer has answered everything that was asked. */
static int peer_wait(struct xen_peer *p, uint32_t seq)
{
	int64_t end = xen_now_ms() + PEER_MS;

	while (__atomic_load_n(&p->dir->rsp_seq, __ATOMIC_ACQUIRE) != seq) {
		if (xen_now_ms() >= end)
			return -ETIME;
		/* An earlier mapper may have had the signal: look again. */
		if (p->port < 0)
			usleep(200);
		else if (evtchn_wait(p->evtchn, p->port, 100) == -EIO)
			p->port = -1;
	}
	return 0;
}

int xen_peer_open(struct xen_peer *p, int domid, uint32_t ref)
{
	int ret;

	ret = xen_map(&p->map, domid, &ref, 1, PROT_READ | PROT_WRITE);
	if (ret)
		return ret;
	p->domid = domid;
	p->dir = p->map.addr;
	p->evtchn = -1;
	p->port = -1;
	ret = -EPROTO;
	if (p->dir->magic != XEN_SHARE_MAGIC ||
	    p->dir->version != XEN_SHARE_VERSION ||
	    p->dir->max > XEN_SHARE_MAX || p->dir->nr > p->dir->max)
		goto err;
	if (p->dir->port) {
		char why[160];

		p->evtchn = xen_open("evtchn", why, sizeof(why));
		if (p->evtchn >= 0)
			p->port = evtchn_bind_interdomain(p->evtchn, domid,
							  p->dir->port);
	}
	/* An earlier mapper may have died with a request under way. */
	ret = peer_wait(p, p->dir->req_seq);
	if (ret)
		goto err;
	return 0;
err:
	xen_peer_close(p);
	return ret;
}

int xen_peer_call(struct xen_peer *p, enum xen_share_op op, unsigned int page,
		  unsigned int offset, uint64_t *value)
{
	struct xen_share_dir *dir = p->dir;
	uint32_t seq = dir->req_seq + 1;
	int ret;

	dir->req_op = op;
	dir->req_page = page;
	dir->req_offset = offset;
	dir->req_value = *value;
	__atomic_store_n(&dir->req_seq, seq, __ATOMIC_RELEASE);
	if (p->port >= 0)
		evtchn_notify(p->evtchn, p->port);
	ret = peer_wait(p, seq);
	if (ret)
		return ret;
	*value = dir->rsp_value;
	return dir->rsp_status;
}

void xen_peer_close(struct xen_peer *p)
{
	if (p->evtchn >= 0)
		close(p->evtchn);
	xen_unmap(&p->map);
	p->dir = NULL;
}

static int granter_skip(struct granter *g, const char *why)
{
	snprintf(g->why, sizeof(g->why), "%s", why);
	return XEN_SKIP;
}

#define SELF_GRANT \
	"a self-grant loses its backing on an auto-translated domain"
#define NO_PEER \
	"no XEN_PEER=DOMID:REF of a gntshare in another domain"

static int granter_open_local(struct granter *g)
{
	enum xen_guest type;

	g->fd = xen_open("gntalloc", g->why, sizeof(g->why));
	if (g->fd < 0)
		return XEN_SKIP;
	type = xen_guest_type();
	/* Xen on x86 keeps one guest frame a page: that of the mapping wins. */
	if (type == XEN_GUEST_PVH || type == XEN_GUEST_HVM)
		return granter_skip(g, SELF_GRANT);
	g->domid = xen_own_domid();
	if (g->domid < 0)
		return granter_skip(g, "own domain id unknown: no xenstore");
	return 0;
}

static int granter_open_peer(struct granter *g)
{
	const char *env = getenv("XEN_PEER");
	uint32_t ref;
	int ret;

	if (!env || !*env)
		return granter_skip(g, NO_PEER);
	if (xen_parse_peer(env, &g->domid, &ref)) {
		snprintf(g->why, sizeof(g->why), "XEN_PEER=%s is no DOMID:REF",
			 env);
		return -EINVAL;
	}
	ret = xen_peer_open(&g->peer, g->domid, ref);
	if (ret)
		snprintf(g->why, sizeof(g->why), "no gntshare at XEN_PEER=%s",
			 env);
	return ret;
}

static int granter_alloc_local(struct granter *g, unsigned int nr, int flags)
{
	unsigned int page, word;
	uint64_t *p;
	int ret;

	ret = gntalloc_alloc(g->fd, g->domid, flags, nr, g->refs, &g->index);
	if (ret)
		return ret;
	g->mem = gntalloc_map_each(g->fd, g->index, nr);
	if (g->mem == MAP_FAILED) {
		ret = -errno;
		g->mem = NULL;
		gntalloc_dealloc(g->fd, g->index, nr);
		return ret;
	}
	for (page = 0; page < nr; page++) {
		p = g->mem + page * xen_page_size();
		for (word = 0; word < XEN_PAGE_SIZE / sizeof(*p); word++)
			p[word] = xen_share_pattern(page, word);
	}
	return 0;
}

static int granter_alloc_peer(struct granter *g, unsigned int nr, int flags)
{
	struct xen_share_dir *dir = g->peer.dir;
	uint64_t value = flags & GNTALLOC_FLAG_WRITABLE ? 0 :
							  XEN_SHARE_READ_ONLY;
	int ret;

	if (nr > dir->max) {
		snprintf(g->why, sizeof(g->why),
			 "the peer shares %u pages, not %u", dir->max, nr);
		return XEN_SKIP;
	}
	ret = xen_peer_call(&g->peer, XEN_SHARE_REALLOC, nr, 0, &value);
	if (!ret)
		memcpy(g->refs, dir->refs, nr * sizeof(*g->refs));
	return ret;
}

int granter_alloc(struct granter *g, unsigned int nr, int flags)
{
	int ret;

	if (g->nr || !nr || nr > XEN_SHARE_MAX)
		return -EINVAL;
	ret = g->kind == GRANTER_LOCAL ? granter_alloc_local(g, nr, flags) :
					 granter_alloc_peer(g, nr, flags);
	if (!ret)
		g->nr = nr;
	else if (ret < 0)
		snprintf(g->why, sizeof(g->why), "cannot get %u grants: %s",
			 nr, strerror(-ret));
	return ret;
}

void granter_close(struct granter *g)
{
	if (g->peer.dir)
		xen_peer_close(&g->peer);
	if (g->mem)
		munmap(g->mem, g->nr * xen_page_size());
	if (g->fd >= 0)
		close(g->fd);
}

int granter_open(struct granter *g, enum granter_kind kind, unsigned int nr,
		 int flags)
{
	int fd, ret;

	memset(g, 0, sizeof(*g));
	g->kind = kind;
	g->fd = -1;
	/* The mapping side is needed in either case. */
	fd = xen_open("gntdev", g->why, sizeof(g->why));
	if (fd < 0)
		return XEN_SKIP;
	close(fd);
	ret = kind == GRANTER_LOCAL ? granter_open_local(g) :
				      granter_open_peer(g);
	if (!ret)
		ret = granter_alloc(g, nr, flags);
	if (ret)
		granter_close(g);
	return ret;
}

int granter_peek(struct granter *g, unsigned int page, unsigned int offset,
		 uint64_t *value)
{
	if (g->kind == GRANTER_PEER)
		return xen_peer_call(&g->peer, XEN_SHARE_PEEK, page, offset,
				     value);
	*value = *(uint64_t *)(g->mem + page * xen_page_size() + offset);
	return 0;
}

int granter_poke(struct granter *g, unsigned int page, unsigned int offset,
		 uint64_t value)
{
	if (g->kind == GRANTER_PEER)
		return xen_peer_call(&g->peer, XEN_SHARE_POKE, page, offset,
				     &value);
	*(uint64_t *)(g->mem + page * xen_page_size() + offset) = value;
	return 0;
}

/* Ends the grants of @nr pages from @first on, whoever has them mapped. */
static int end_pages(struct granter *g, unsigned int first, unsigned int nr)
{
	uint64_t value = nr;

	if (g->kind == GRANTER_PEER)
		return xen_peer_call(&g->peer, XEN_SHARE_END, first, 0, &value);
	gntalloc_end(g->fd, g->index, g->mem, first, nr);
	return 0;
}

int granter_end(struct granter *g, int ms)
{
	unsigned int nr = g->nr;
	uint64_t value = 0;
	int ret, in_use;

	g->nr = 0;
	ret = end_pages(g, 0, nr);
	if (ret)
		return ret;
	if (g->mem)
		munmap(g->mem, nr * xen_page_size());
	g->mem = NULL;
	in_use = xen_refs_in_use(g->domid, g->refs, nr, ms);
	if (g->kind == GRANTER_PEER)
		ret = xen_peer_call(&g->peer, XEN_SHARE_REALLOC, 1, 0, &value);
	return ret ? : in_use;
}

int granter_end_page(struct granter *g, unsigned int page, int ms)
{
	int ret = end_pages(g, page, 1);

	if (!ret)
		ret = xen_refs_in_use(g->domid, &g->refs[page], 1, ms);
	return ret > 0 ? -EBUSY : ret;
}

int granter_returned(struct granter *g)
{
	return granter_end(g, XEN_RETURN_MS);
}

bool xen_map_works(const struct xen_map *m, struct granter *g,
		   unsigned int page)
{
	static uint64_t n = 0x600d;
	uint64_t val = 0;

	n++;
	if (granter_poke(g, page, 0, n) || *xen_map_word(m, page, 0) != n)
		return false;
	*xen_map_word(m, page, 8) = n;
	return !granter_peek(g, page, 8, &val) && val == n;
}
