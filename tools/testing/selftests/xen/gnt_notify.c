// SPDX-License-Identifier: GPL-2.0
/*
 * Notify on unmap: a byte that is cleared, an event that is sent, when a
 * mapping (gntdev) or a grant (gntalloc) ends, in whatever way it ends.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "xen_test.h"

#define RW	(PROT_READ | PROT_WRITE)
#define CLEAR	UNMAP_NOTIFY_CLEAR_BYTE
#define EVENT	UNMAP_NOTIFY_SEND_EVENT

/* An event arrives within this, or has not been sent. */
#define SOON	10000
#define NEVER	50

/* The word under test: byte 3 of word 2 is what gets cleared. */
#define OFFSET	16
#define BYTE	(OFFSET + 3)
#define BEFORE	0x1122334455667788ULL
#define AFTER	0x1122334400667788ULL

/**
 * struct loop - an event channel from this domain to itself
 * @fd: /dev/xen/evtchn
 * @rx: port where events arrive
 * @tx: port that sends them
 */
struct loop {
	int fd;
	int rx;
	int tx;
};

static int loop_open(struct loop *l, char *why, size_t size)
{
	l->fd = xen_open("evtchn", why, size);
	if (l->fd < 0)
		return XEN_SKIP;
	l->rx = evtchn_bind_unbound(l->fd, DOMID_SELF);
	if (l->rx < 0)
		return l->rx;
	l->tx = evtchn_bind_interdomain(l->fd, DOMID_SELF, l->rx);
	return l->tx < 0 ? l->tx : 0;
}

/**
 * FIXTURE(gnt_notify) - two mapped grants and a loop
 * @g: where the grants come from
 * @m: the mapping; page 1 has the word under test
 * @loop: event channel
 */
FIXTURE(gnt_notify) {
	struct granter g;
	struct xen_map m;
	struct loop loop;
};

GRANTER_VARIANTS(gnt_notify);

FIXTURE_SETUP(gnt_notify)
{
	struct granter *g = &self->g;
	int ret;

	GRANTER_OPEN(g, 2, GNTALLOC_FLAG_WRITABLE);
	ret = loop_open(&self->loop, g->why, sizeof(g->why));
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g->why);
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, granter_poke(g, 1, OFFSET, BEFORE));
	ASSERT_EQ(0, xen_map(&self->m, g->domid, g->refs, 2, RW));
}

FIXTURE_TEARDOWN(gnt_notify)
{
	EXPECT_EQ(0, granter_returned(&self->g));
	granter_close(&self->g);
	close(self->loop.fd);
}

/* Sets the notification of page 1, byte BYTE. */
static int set_notify(const struct xen_map *m, const struct loop *l,
		      uint32_t action)
{
	return gntdev_notify(m->fd, m->index + xen_page_size() + BYTE, action,
			     action & EVENT ? l->tx : 0);
}

/* The word under test, as the granter sees it. */
static uint64_t granter_word(struct granter *g)
{
	uint64_t val = 0;

	return granter_peek(g, 1, OFFSET, &val) ? 0 : val;
}

/* The loop itself works, or the rest means nothing. */
TEST_F(gnt_notify, loop)
{
	struct loop *l = &self->loop;

	EXPECT_EQ(-ETIME, evtchn_wait(l->fd, l->rx, NEVER));
	ASSERT_EQ(0, evtchn_notify(l->fd, l->tx));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
	ASSERT_EQ(0, evtchn_notify(l->fd, l->tx));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
	EXPECT_EQ(0, xen_unmap(&self->m));
}

/* The byte is cleared by the unmap, not before, and no other is. */
TEST_F(gnt_notify, clear_byte)
{
	struct loop *l = &self->loop;

	ASSERT_EQ(0, set_notify(&self->m, l, CLEAR));
	EXPECT_EQ(BEFORE, granter_word(&self->g));
	ASSERT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(AFTER, granter_word(&self->g));
}

/* The event arrives with the unmap, not before. */
TEST_F(gnt_notify, event)
{
	struct loop *l = &self->loop;

	ASSERT_EQ(0, set_notify(&self->m, l, EVENT));
	EXPECT_EQ(-ETIME, evtchn_wait(l->fd, l->rx, NEVER));
	ASSERT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
	EXPECT_EQ(BEFORE, granter_word(&self->g));
}

/* With both, the byte is already clear when the event arrives. */
TEST_F(gnt_notify, both)
{
	struct loop *l = &self->loop;

	ASSERT_EQ(0, set_notify(&self->m, l, CLEAR | EVENT));
	ASSERT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
	EXPECT_EQ(AFTER, granter_word(&self->g));
}

/* Closing the file instead of the unmap ioctl notifies as well. */
TEST_F(gnt_notify, close)
{
	struct loop *l = &self->loop;

	ASSERT_EQ(0, set_notify(&self->m, l, CLEAR | EVENT));
	ASSERT_EQ(0, munmap(self->m.addr, xen_map_len(&self->m)));
	close(self->m.fd);
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
	EXPECT_EQ(AFTER, granter_word(&self->g));
}

/* Action 0 takes a notification back. */
TEST_F(gnt_notify, taken_back)
{
	struct loop *l = &self->loop;

	ASSERT_EQ(0, set_notify(&self->m, l, CLEAR | EVENT));
	ASSERT_EQ(0, set_notify(&self->m, l, 0));
	ASSERT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(-ETIME, evtchn_wait(l->fd, l->rx, NEVER));
	EXPECT_EQ(BEFORE, granter_word(&self->g));
}

/* A second call replaces the first: only its byte is cleared. */
TEST_F(gnt_notify, replaced)
{
	struct loop *l = &self->loop;
	uint64_t val;

	ASSERT_EQ(0, granter_poke(&self->g, 0, 0, BEFORE));
	ASSERT_EQ(0, set_notify(&self->m, l, CLEAR | EVENT));
	ASSERT_EQ(0, gntdev_notify(self->m.fd, self->m.index + 3, CLEAR, 0));
	ASSERT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(-ETIME, evtchn_wait(l->fd, l->rx, NEVER));
	EXPECT_EQ(BEFORE, granter_word(&self->g));
	ASSERT_EQ(0, granter_peek(&self->g, 0, 0, &val));
	EXPECT_EQ(AFTER, val);
}

/* The notification holds the port: it works after the port's file is closed. */
TEST_F(gnt_notify, port_closed)
{
	struct loop *l = &self->loop, other;
	char why[160];

	other.fd = xen_open("evtchn", why, sizeof(why));
	ASSERT_LE(0, other.fd);
	ASSERT_EQ(0, evtchn_unbind(l->fd, l->tx));
	EXPECT_EQ(0, evtchn_unbind(l->fd, l->rx));
	l->rx = evtchn_bind_unbound(l->fd, DOMID_SELF);
	ASSERT_LT(0, l->rx);
	l->tx = evtchn_bind_interdomain(other.fd, DOMID_SELF, l->rx);
	ASSERT_LT(0, l->tx);

	ASSERT_EQ(0, set_notify(&self->m, l, EVENT));
	close(other.fd);
	ASSERT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
}

/*
 * The byte of a page that is mapped read-only, which nobody knew when the
 * notification was set, is left alone; the event comes.
 */
TEST_F(gnt_notify, read_only_later)
{
	struct xen_map m = { .nr = 2, .fd = open("/dev/xen/gntdev", O_RDWR) };
	struct loop *l = &self->loop;

	ASSERT_LE(0, m.fd);
	ASSERT_EQ(0, gntdev_map(m.fd, self->g.domid, self->g.refs, 2,
				&m.index));
	ASSERT_EQ(0, set_notify(&m, l, CLEAR | EVENT));
	m.addr = mmap(NULL, xen_map_len(&m), PROT_READ, MAP_SHARED, m.fd,
		      m.index);
	ASSERT_NE(MAP_FAILED, m.addr);
	EXPECT_EQ(-EINVAL, set_notify(&m, l, CLEAR));
	EXPECT_EQ(0, xen_unmap(&m));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
	EXPECT_EQ(BEFORE, granter_word(&self->g));
	EXPECT_EQ(0, xen_unmap(&self->m));
}

/* A page that could not be mapped has no byte to be cleared. */
TEST_F(gnt_notify, not_mapped)
{
	struct xen_map m = { .nr = 2, .fd = open("/dev/xen/gntdev", O_RDWR) };
	uint32_t refs[2] = { self->g.refs[0], UINT32_MAX };
	struct loop *l = &self->loop;

	ASSERT_LE(0, m.fd);
	ASSERT_EQ(0, gntdev_map(m.fd, self->g.domid, refs, 2, &m.index));
	ASSERT_EQ(0, set_notify(&m, l, CLEAR | EVENT));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, xen_map_len(&m), RW, MAP_SHARED, m.fd,
				   m.index));
	EXPECT_EQ(0, gntdev_unmap(m.fd, m.index, 2));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
	close(m.fd);
	EXPECT_EQ(0, xen_unmap(&self->m));
}

/* Unknown actions and ports are EINVAL, an unknown offset ENOENT. */
TEST_F(gnt_notify, errors)
{
	struct loop *l = &self->loop;

	ASSERT_EQ(0, set_notify(&self->m, l, CLEAR));
	EXPECT_EQ(-EINVAL, set_notify(&self->m, l, 4));
	EXPECT_EQ(-EINVAL, set_notify(&self->m, l, CLEAR | 1u << 31));
	EXPECT_EQ(-EINVAL, gntdev_notify(self->m.fd, self->m.index, EVENT,
					 UINT32_MAX));
	/* Port 0 is never bound, that of a closed one is no more. */
	EXPECT_EQ(-EINVAL, gntdev_notify(self->m.fd, self->m.index, EVENT, 0));
	ASSERT_EQ(0, evtchn_unbind(l->fd, l->tx));
	EXPECT_EQ(-EINVAL, set_notify(&self->m, l, EVENT));
	EXPECT_EQ(-ENOENT, gntdev_notify(self->m.fd,
					 self->m.index + 2 * xen_page_size(),
					 CLEAR, 0));
	/* The first one is still in force. */
	ASSERT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(AFTER, granter_word(&self->g));
}

/* What is mapped read-only cannot be cleared, EINVAL, but can send an event. */
TEST_F(gnt_notify, read_only)
{
	struct granter *g = &self->g;
	struct loop *l = &self->loop;

	ASSERT_EQ(0, xen_unmap(&self->m));
	ASSERT_EQ(0, xen_map(&self->m, g->domid, g->refs, 2, PROT_READ));
	EXPECT_EQ(-EINVAL, set_notify(&self->m, l, CLEAR));
	EXPECT_EQ(-EINVAL, set_notify(&self->m, l, CLEAR | EVENT));
	EXPECT_EQ(0, set_notify(&self->m, l, EVENT));
	ASSERT_EQ(0, xen_unmap(&self->m));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
	EXPECT_EQ(BEFORE, granter_word(&self->g));
}

/* A process that is killed with a mapping has sent its notification. */
TEST_F(gnt_notify, killed)
{
	struct granter *g = &self->g;
	struct loop *l = &self->loop;
	int pipefd[2], status;
	char c;
	pid_t pid;

	ASSERT_EQ(0, xen_unmap(&self->m));
	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		c = xen_map(&self->m, g->domid, g->refs, 2, RW) ||
		    set_notify(&self->m, l, CLEAR | EVENT);
		(void)!write(pipefd[1], &c, 1);
		for (;;)
			pause();
	}
	ASSERT_EQ(1, read(pipefd[0], &c, 1));
	EXPECT_EQ(0, c);
	EXPECT_EQ(BEFORE, granter_word(&self->g));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
	EXPECT_EQ(AFTER, granter_word(&self->g));
}

/**
 * FIXTURE(gntalloc_notify) - a granted page, and a loop
 * @fd: gntalloc
 * @index: offset of the page
 * @ref: its grant
 * @domid: this domain, which may map the page
 * @loop: event channel
 *
 * The notification comes when the grant ends. Nothing is mapped but in the
 * test that says so: the granting side can be tested on any domain.
 */
FIXTURE(gntalloc_notify) {
	int fd;
	uint64_t index;
	uint32_t ref;
	int domid;
	struct loop loop;
};

FIXTURE_SETUP(gntalloc_notify)
{
	char why[160];
	int ret;

	self->fd = xen_open("gntalloc", why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	ret = loop_open(&self->loop, why, sizeof(why));
	if (ret == XEN_SKIP)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, ret);
	self->domid = xen_own_domid();
	if (self->domid < 0)
		SKIP(return, "own domain id unknown: no xenstore");
	ASSERT_EQ(0, gntalloc_alloc(self->fd, self->domid,
				    GNTALLOC_FLAG_WRITABLE, 1, &self->ref,
				    &self->index));
}

FIXTURE_TEARDOWN(gntalloc_notify)
{
	close(self->fd);
	EXPECT_EQ(0, xen_refs_in_use(self->domid, &self->ref, 1, 0));
	close(self->loop.fd);
}

/* The event arrives when the grant is deallocated, not before. */
TEST_F(gntalloc_notify, event)
{
	struct loop *l = &self->loop;

	ASSERT_EQ(0, gntalloc_notify(self->fd, self->index, EVENT, l->tx));
	EXPECT_EQ(-ETIME, evtchn_wait(l->fd, l->rx, NEVER));
	ASSERT_EQ(0, gntalloc_dealloc(self->fd, self->index, 1));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
}

/* As long as the granting process maps the page the grant has not ended. */
TEST_F(gntalloc_notify, mapped)
{
	struct loop *l = &self->loop;
	void *mem;

	mem = mmap(NULL, xen_page_size(), RW, MAP_SHARED, self->fd,
		   self->index);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, gntalloc_notify(self->fd, self->index, EVENT, l->tx));
	ASSERT_EQ(0, gntalloc_dealloc(self->fd, self->index, 1));
	EXPECT_EQ(-ETIME, evtchn_wait(l->fd, l->rx, NEVER));
	ASSERT_EQ(0, munmap(mem, xen_page_size()));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
}

/* Closing the file ends its grants. */
TEST_F(gntalloc_notify, close)
{
	struct loop *l = &self->loop;

	ASSERT_EQ(0, gntalloc_notify(self->fd, self->index, CLEAR | EVENT,
				     l->tx));
	close(self->fd);
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
	self->fd = -1;
}

/* Action 0 takes a notification back. */
TEST_F(gntalloc_notify, taken_back)
{
	struct loop *l = &self->loop;

	ASSERT_EQ(0, gntalloc_notify(self->fd, self->index, EVENT, l->tx));
	ASSERT_EQ(0, gntalloc_notify(self->fd, self->index, 0, 0));
	ASSERT_EQ(0, gntalloc_dealloc(self->fd, self->index, 1));
	EXPECT_EQ(-ETIME, evtchn_wait(l->fd, l->rx, NEVER));
}

/* Unknown actions and ports are EINVAL, an unknown offset ENOENT. */
TEST_F(gntalloc_notify, errors)
{
	struct loop *l = &self->loop;

	ASSERT_EQ(0, gntalloc_notify(self->fd, self->index, EVENT, l->tx));
	EXPECT_EQ(-EINVAL, gntalloc_notify(self->fd, self->index, 4, 0));
	EXPECT_EQ(-EINVAL, gntalloc_notify(self->fd, self->index, EVENT,
					   UINT32_MAX));
	EXPECT_EQ(-EINVAL, gntalloc_notify(self->fd, self->index, EVENT, 0));
	EXPECT_EQ(-ENOENT, gntalloc_notify(self->fd,
					   self->index + xen_page_size(), 0,
					   0));
	/* The first one is still in force. */
	ASSERT_EQ(0, gntalloc_dealloc(self->fd, self->index, 1));
	EXPECT_EQ(0, evtchn_wait(l->fd, l->rx, SOON));
}

/* The mapper sees the byte cleared when the granter goes, and keeps its map. */
TEST_F(gntalloc_notify, clear_byte)
{
	struct xen_map m;
	struct granter g;
	int ret;

	ret = granter_open(&g, GRANTER_LOCAL, 1, GNTALLOC_FLAG_WRITABLE);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g.why);
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, granter_poke(&g, 0, OFFSET, BEFORE));
	ASSERT_EQ(0, gntalloc_notify(g.fd, g.index + BYTE, CLEAR, 0));
	ASSERT_EQ(0, xen_map(&m, g.domid, g.refs, 1, RW));
	EXPECT_EQ(BEFORE, *xen_map_word(&m, 0, OFFSET));
	granter_close(&g);
	EXPECT_EQ(AFTER, *xen_map_word(&m, 0, OFFSET));
	EXPECT_EQ(xen_share_pattern(0, 3), *xen_map_word(&m, 0, 24));
	EXPECT_EQ(1, xen_refs_in_use(g.domid, g.refs, 1, 0));
	EXPECT_EQ(0, xen_unmap(&m));
	EXPECT_EQ(0, xen_refs_in_use(g.domid, g.refs, 1, XEN_RETURN_MS));
}

XEN_TEST_MAIN(NULL)
