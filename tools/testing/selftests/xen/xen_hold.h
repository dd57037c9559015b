/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What can keep a page in use after the process has unmapped it.
 */
#ifndef SELFTEST_XEN_HOLD_H
#define SELFTEST_XEN_HOLD_H

#include <stdbool.h>

#include <linux/aio_abi.h>
#include <linux/io_uring.h>

enum hold_kind {
	HOLD_PIPE,	/* vmsplice() into a pipe */
	HOLD_SOCKET,	/* and splice() from there to a socket */
	HOLD_URING,	/* io_uring fixed buffer */
	HOLD_DIO_WRITE,	/* O_DIRECT write to a disk that is suspended */
	HOLD_DIO_READ,	/* O_DIRECT read from it */
	HOLD_KINDS
};

/**
 * struct hold - one user of one page
 * @kind: how it uses the page
 * @why: reason to skip or to fail
 * @in: dio-read: the page gets data, it gives none
 * @outlives: still has the page when the process that mapped it is gone
 * @fds: pipe, socket
 * @ring: uring
 * @params: uring: where its parts are
 * @aio: dio
 * @cb: dio
 * @addr: uring: where the page was mapped
 *
 * Worked example: a pipe has the page, the process has not, the granter writes
 * to it, and that is what the pipe says:
 *
 *	hold_init(&h, HOLD_PIPE);
 *	hold_page(&h, addr);
 *	munmap(addr, PAGE_SIZE);
 *	granter_poke(&g, 0, 0, 42);
 *	hold_release(&h, buf);		*(uint64_t *)buf == 42
 *	hold_exit(&h);
 */
struct hold {
	enum hold_kind kind;
	char why[160];
	bool in;
	bool outlives;
	int fds[4];
	int ring;
	struct io_uring_params params;
	aio_context_t aio;
	struct iocb cb;
	void *addr;
};

/*
 * Makes the disk of the dio kinds, a device-mapper target on a loop device on
 * memory, until the calling process exits. To be called before any test.
 */
void hold_make_disk(void);

/* 0, or XEN_SKIP, or -errno; @h->why says why. */
int hold_init(struct hold *h, enum hold_kind kind);
/* Begins to use the 4 KB at @addr. May be called in a child. */
int hold_page(struct hold *h, void *addr);
/* Ends it. @buf: the 4 KB that it saw, or dio-read: has put there. */
int hold_release(struct hold *h, void *buf);
void hold_exit(struct hold *h);

#endif /* SELFTEST_XEN_HOLD_H */
