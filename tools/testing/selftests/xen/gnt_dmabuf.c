// SPDX-License-Identifier: GPL-2.0
/*
 * A dma-buf that gntdev exports has its grants mapped until it is closed,
 * whatever is done to the file it came from.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "xen_test.h"

#define NR	4

/**
 * FIXTURE(gnt_dmabuf) - a dma-buf of another domain's pages
 * @g: where they come from
 * @fd: gntdev
 * @buf: the dma-buf
 * @kmsg: the kernel's messages from here on
 */
FIXTURE(gnt_dmabuf) {
	struct granter g;
	int fd;
	int buf;
	int kmsg;
};

FIXTURE_SETUP(gnt_dmabuf)
{
	struct ioctl_gntdev_dmabuf_exp_from_refs *op;
	struct granter *g = &self->g;
	unsigned int i;
	int ret;

	self->kmsg = xen_kmsg_open();
	ASSERT_LE(0, self->kmsg);
	ret = granter_open(g, GRANTER_PEER, NR, GNTALLOC_FLAG_WRITABLE);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g->why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", g->why);
	self->fd = open("/dev/xen/gntdev", O_RDWR);
	ASSERT_LE(0, self->fd);

	op = calloc(1, sizeof(*op) + NR * sizeof(op->refs[0]));
	ASSERT_NE(NULL, op);
	op->count = NR;
	op->domid = g->domid;
	for (i = 0; i < NR; i++)
		op->refs[i] = g->refs[i];
	ret = ioctl(self->fd, IOCTL_GNTDEV_DMABUF_EXP_FROM_REFS, op);
	self->buf = op->fd;
	free(op);
	if (ret && xen_guest_type() == XEN_GUEST_PV)
		SKIP(return, "gntdev exports no dma-buf in a PV domain");
	if (ret && errno == ENOTTY)
		SKIP(return, "no CONFIG_XEN_GNTDEV_DMABUF");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(gnt_dmabuf)
{
	EXPECT_EQ(0, granter_returned(&self->g));
	granter_close(&self->g);
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

/* Closed in either order. */
TEST_F(gnt_dmabuf, buffer_first)
{
	EXPECT_EQ(0, close(self->buf));
	EXPECT_EQ(0, close(self->fd));
}

TEST_F(gnt_dmabuf, file_first)
{
	EXPECT_EQ(0, close(self->fd));
	EXPECT_EQ(0, close(self->buf));
}

/* Its map has an index like others, at which it can be removed. */
TEST_F(gnt_dmabuf, map_removed)
{
	EXPECT_EQ(0, gntdev_unmap(self->fd, 0, NR));
	EXPECT_EQ(-ENOENT, gntdev_unmap(self->fd, 0, NR));
	EXPECT_EQ(0, close(self->buf));
	EXPECT_EQ(0, close(self->fd));
}

TEST_HARNESS_MAIN
