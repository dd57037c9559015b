/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the Xen tests have in common: the devices, one wrapper an ioctl, and
 * the granter, which is either this process or another domain.
 *
 * Every function returns -errno unless it says otherwise.
 */
#ifndef SELFTEST_XEN_TEST_H
#define SELFTEST_XEN_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/types.h>

/* <xen/gntdev.h> and <xen/evtchn.h> use them, no exported header has them. */
typedef uint16_t domid_t;
typedef uint32_t grant_ref_t;

#include <xen/evtchn.h>
#include <xen/gntalloc.h>
#include <xen/gntdev.h>

#include "xen_share.h"

/* Of the Xen interface, which is not exported. */
#define DOMID_SELF		0x7ff0
#define DOMID_INVALID		0x7ff4
#define DOMID_FIRST_RESERVED	0x7ff0
#define GNTCOPY_source_gref	1
#define GNTCOPY_dest_gref	2

/*
 * How long a grant that was ended while mapped may stay usable after the unmap.
 * Mainline ends up to ten such grants a second.
 */
#define XEN_RETURN_MS		20000

/* Pages that gntalloc may give out while a test program runs. */
#define GNTALLOC_LIMIT		8192

enum xen_guest {
	XEN_GUEST_NONE,		/* not under Xen */
	XEN_GUEST_PV,
	XEN_GUEST_PVH,
	XEN_GUEST_HVM,
	XEN_GUEST_ARM,
};

enum xen_guest xen_guest_type(void);
int xen_own_domid(void);
size_t xen_page_size(void);

/*
 * Opens /dev/xen/@name. If that is not possible here, @why says so in a way
 * fit for SKIP().
 */
int xen_open(const char *name, char *why, size_t size);

/* The first line of a file of sysfs or debugfs, and a write to such a file. */
int xen_get(const char *path, char *buf, size_t size);
int xen_put(const char *path, const char *text);

/* Reads and writes /sys/module/@module/parameters/@name. */
int xen_param_get(const char *module, const char *name, unsigned int *val);
int xen_param_set(const char *module, const char *name, unsigned int val);

/* The number of users of a loaded module, -ENOENT if it is not a module. */
int xen_module_users(const char *module);

/* The time in milliseconds, for what takes how long. */
int64_t xen_now_ms(void);

/*
 * Reads what the kernel logs from now on, for xen_kmsg_reports() to count the
 * warnings, bugs and lockdep reports in it and close the file. If there is much
 * to log, xen_kmsg_read() does so in between: what was overwritten counts as one.
 */
int xen_kmsg_open(void);
int xen_kmsg_read(int fd);
int xen_kmsg_reports(int fd);

/* How often something is repeated; XEN_ROUNDS in the environment: more. */
unsigned int xen_rounds(unsigned int nr);

/* A seed for rand_r(), which it prints; XEN_SEED in the environment: that one. */
unsigned int xen_seed(void);

/* Bytes that can be allocated. */
size_t xen_free_memory(void);

/*
 * The start of a test program: skips all its tests if this is not Xen. Else
 * raises the limit of gntalloc to GNTALLOC_LIMIT and calls @prepare, which may
 * be NULL. When the program exits, or is ended by a signal other than SIGKILL,
 * its settings are restored. Exits with KSFT_FAIL if the kernel reported a
 * problem after the start. Each test, and each child of a test, is killed when
 * its parent ends.
 */
void xen_test_begin(void (*prepare)(void));

/* For @prepare: restores a file at the end, and writes @val now if not NULL. */
int xen_set(const char *path, const char *val);
/* For @prepare: calls @cleanup at the end, before settings are restored. */
void xen_at_end(void (*cleanup)(void));

/* main() of a test program; -h and -l work without Xen. */
#ifdef __KSELFTEST_HARNESS_H
static inline void xen_test_main(int argc, char **argv, void (*prepare)(void))
{
	int ret = test_harness_argv_check(argc, argv);

	if (ret != KSFT_PASS)
		exit(ret);
	xen_test_begin(prepare);
	exit(test_harness_run(argc, argv));
}

#define XEN_TEST_MAIN(prepare)				\
	int main(int argc, char **argv)			\
	{						\
		xen_test_main(argc, argv, prepare);	\
	}

/* Runs each test of @fixture with local grants and with those of a peer. */
#define GRANTER_VARIANTS(fixture)						\
	FIXTURE_VARIANT(fixture) {						\
		enum granter_kind kind;						\
	};									\
	FIXTURE_VARIANT_ADD(fixture, local) { .kind = GRANTER_LOCAL };		\
	FIXTURE_VARIANT_ADD(fixture, peer) { .kind = GRANTER_PEER }

/* For FIXTURE_SETUP(): opens the granter of the variant, or skips the test. */
#define GRANTER_OPEN(g, nr, flags) do {						\
	struct granter *_g = (g);						\
	int _ret = granter_open(_g, variant->kind, nr, flags);			\
										\
	if (_ret == XEN_SKIP)							\
		SKIP(return, "%s", _g->why);					\
	ASSERT_EQ(0, _ret)							\
		TH_LOG("%s", _g->why);						\
} while (0)
#endif

/* A whole number in @min..@max and nothing else. */
int xen_parse(const char *str, uint64_t min, uint64_t max, uint64_t *val);
/* "DOMID:REF". */
int xen_parse_peer(const char *str, int *domid, uint32_t *ref);

int gntalloc_alloc(int fd, int domid, int flags, uint32_t count,
		   uint32_t *refs, uint64_t *index);
int gntalloc_dealloc(int fd, uint64_t index, uint32_t count);
/* Maps each page by itself, so that each can go; MAP_FAILED and errno. */
void *gntalloc_map_each(int fd, uint64_t index, unsigned int count);
/*
 * Ends the grants of @count pages from @first on, of an allocation that
 * gntalloc_map_each() has mapped at @mem. The addresses stay reserved.
 */
void gntalloc_end(int fd, uint64_t index, void *mem, unsigned int first,
		  unsigned int count);
int gntalloc_notify(int fd, uint64_t index, uint32_t action, uint32_t port);

int gntdev_map(int fd, int domid, const uint32_t *refs, uint32_t count,
	       uint64_t *index);
int gntdev_unmap(int fd, uint64_t index, uint32_t count);
int gntdev_notify(int fd, uint64_t index, uint32_t action, uint32_t port);
int gntdev_offset(int fd, const void *addr, uint64_t *offset, uint32_t *count);
int gntdev_copy(int fd, struct gntdev_grant_copy_segment *segs,
		unsigned int count);

/* The binds return the port. */
int evtchn_bind_unbound(int fd, int domid);
int evtchn_bind_interdomain(int fd, int domid, uint32_t port);
/* One that nobody has bound. */
int evtchn_bind_static(int fd, uint32_t port);
int evtchn_unbind(int fd, uint32_t port);
int evtchn_notify(int fd, uint32_t port);
/* Waits for @port to fire; -ETIME if it does not. Other events are dropped. */
int evtchn_wait(int fd, uint32_t port, int ms);

/**
 * struct xen_map - grants mapped through a /dev/xen/gntdev of their own
 * @fd: gntdev
 * @index: offset that the map ioctl returned
 * @nr: pages
 * @addr: where they are
 *
 * Worked example: two pages of domain 5, with references 8 and 9:
 *
 *	uint32_t refs[] = { 8, 9 };
 *	struct xen_map m;
 *
 *	xen_map(&m, 5, refs, 2, PROT_READ | PROT_WRITE);
 *	*xen_map_word(&m, 1, 0) = 42;	(reference 9, byte 0)
 *	xen_unmap(&m);
 *
 * The second page is xen_page_size() after the first, and 4 KB of it are
 * shared.
 */
struct xen_map {
	int fd;
	uint64_t index;
	unsigned int nr;
	void *addr;
};

/* Nothing is left behind when it fails. */
int xen_map(struct xen_map *m, int domid, const uint32_t *refs,
	    unsigned int nr, int prot);
int xen_unmap(struct xen_map *m);
size_t xen_map_len(const struct xen_map *m);
uint64_t *xen_map_word(const struct xen_map *m, unsigned int page,
		       unsigned int offset);

/* Reads, or writes back, the byte at @addr: 0 or the signal that it raised. */
int xen_probe(void *addr, bool write);

/*
 * The number of grants @refs of @domid that this domain can still use although
 * @domid has ended them; waits up to @ms for all of them to be gone. Xen says
 * so: GRANT_COPY from a grant that has ended is refused. A grant does not end
 * as long as it is mapped (the first version of the grant table).
 *
 * Worked example: references 40, 41, 42 were ended, 41 is mapped. Xen copies
 * from 41 only: the answer is 1. After the unmap, and the next run of the
 * timer that ends such grants, Xen copies from none: the answer is 0.
 *
 * If @domid grants something else to this domain at the same time, and with one
 * of @refs, then that grant is counted.
 */
int xen_refs_in_use(int domid, const uint32_t *refs, unsigned int nr, int ms);

/**
 * struct xen_peer - this side of a gntshare in another domain
 * @map: the directory page, mapped
 * @dir: the directory
 * @domid: the sharing domain
 * @evtchn: /dev/xen/evtchn, or negative
 * @port: our end of the directory's event channel, or negative
 */
struct xen_peer {
	struct xen_map map;
	struct xen_share_dir *dir;
	int domid;
	int evtchn;
	int port;
};

int xen_peer_open(struct xen_peer *p, int domid, uint32_t ref);
/* @value goes both ways. -ETIME if there is no answer within 30 s. */
int xen_peer_call(struct xen_peer *p, enum xen_share_op op, unsigned int page,
		  unsigned int offset, uint64_t *value);
void xen_peer_close(struct xen_peer *p);

enum granter_kind {
	GRANTER_LOCAL,	/* this process, to its own domain */
	GRANTER_PEER,	/* gntshare in another domain, named by $XEN_PEER */
};

/* granter_open(): not here, and why[] says why */
#define XEN_SKIP	1

/**
 * struct granter - where the grants of a test come from
 * @kind: local or peer
 * @domid: the domain to map from
 * @nr: number of grants
 * @refs: their references
 * @why: reason to skip or to fail, if granter_open() did not return 0
 * @fd: local: /dev/xen/gntalloc
 * @index: local: offset of the pages in it
 * @mem: local: the pages
 * @peer: peer: the directory
 *
 * Worked example, with both kinds alike:
 *
 *	granter_open(&g, variant->kind, 2, GNTALLOC_FLAG_WRITABLE);
 *	xen_map(&m, g.domid, g.refs, 2, PROT_READ);
 *	granter_poke(&g, 1, 8, 42);		(the granter writes)
 *	*xen_map_word(&m, 1, 8) == 42;		(the mapper reads)
 *	xen_unmap(&m);
 *	granter_returned(&g) == 0;		(nothing is left mapped)
 *	granter_close(&g);
 */
struct granter {
	enum granter_kind kind;
	int domid;
	unsigned int nr;
	uint32_t refs[XEN_SHARE_MAX];
	char why[160];

	int fd;
	uint64_t index;
	void *mem;

	struct xen_peer peer;
};

/* @nr grants of new pages filled with xen_share_pattern(), or XEN_SKIP. */
int granter_open(struct granter *g, enum granter_kind kind, unsigned int nr,
		 int flags);
/* Others, after granter_returned(). */
int granter_alloc(struct granter *g, unsigned int nr, int flags);
/* A word of a page, as the granter sees it. */
int granter_peek(struct granter *g, unsigned int page, unsigned int offset,
		 uint64_t *value);
int granter_poke(struct granter *g, unsigned int page, unsigned int offset,
		 uint64_t value);
/*
 * Ends the grants; the number of them that this domain can still use @ms later.
 * A gntshare keeps one page, a new one.
 */
int granter_end(struct granter *g, int ms);
/* Ends one of them: 0, or -EBUSY if it can still be used @ms later. */
int granter_end_page(struct granter *g, unsigned int page, int ms);
/* granter_end() after XEN_RETURN_MS. */
int granter_returned(struct granter *g);
void granter_close(struct granter *g);

/*
 * Whether @page of @m, which is @page of @g as well, shows what the granter
 * writes to its first word, and the granter what is written to the second.
 */
bool xen_map_works(const struct xen_map *m, struct granter *g,
		   unsigned int page);

#endif /* SELFTEST_XEN_TEST_H */
