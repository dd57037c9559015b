// SPDX-License-Identifier: GPL-2.0
/*
 * irqfds of /dev/xen/privcmd: a write to an irqfd makes a DM_OP. Xen refuses
 * the operations, as the tests are no device model.
 */

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "xen_privcmd.h"

#define MAX_DM_OP	4096		/* default of dm_op_buf_max_size */

/**
 * FIXTURE(privcmd_eventfd) - a device and an eventfd
 * @fd: /dev/xen/privcmd
 * @event: the eventfd
 * @kmsg: the kernel's messages since the start of the test
 * @bytes: an invalid DM_OP
 */
FIXTURE(privcmd_eventfd) {
	int fd;
	int event;
	int kmsg;
	char bytes[MAX_DM_OP];
};

#define data_t FIXTURE_DATA(privcmd_eventfd)

static int irqfd(data_t *self, int event, uint32_t size, uint32_t flags)
{
	struct privcmd_irqfd op = {
		.dm_op = (uintptr_t)self->bytes, .size = size, .fd = event,
		.flags = flags, .dom = DOMID_IDLE,
	};

	return ioctl(self->fd, IOCTL_PRIVCMD_IRQFD, &op) ? -errno : 0;
}

static int deassign(data_t *self)
{
	return irqfd(self, self->event, 0, PRIVCMD_IRQFD_FLAG_DEASSIGN);
}

static int new_eventfd(data_t *self)
{
	self->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return self->event;
}

FIXTURE_SETUP(privcmd_eventfd)
{
	char why[160];
	int ret;

	self->fd = xen_open("privcmd", why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	self->kmsg = xen_kmsg_open();
	ASSERT_LE(0, self->kmsg);
	memset(self->bytes, 0xff, MAX_DM_OP);
	ASSERT_LE(0, new_eventfd(self));
	ret = deassign(self);
	if (ret == -EOPNOTSUPP || ret == -ENOTTY)
		SKIP(return, "no CONFIG_XEN_PRIVCMD_EVENTFD");
	if (ret == -EPERM)
		SKIP(return, "privcmd is for another domain only");
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN(privcmd_eventfd)
{
	if (self->fd < 0)
		return;
	close(self->event);
	/* A deassign waits for the end of all irqfds that were closed. */
	new_eventfd(self);
	deassign(self);
	close(self->event);
	close(self->fd);
	EXPECT_EQ(0, xen_kmsg_reports(self->kmsg));
}

/* An eventfd is assigned once, and again after its deassign. */
TEST_F(privcmd_eventfd, irqfd_once)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, irqfd(self, self->event, 24, 0));
		EXPECT_EQ(-EBUSY, irqfd(self, self->event, 24, 0));
		EXPECT_EQ(0, deassign(self));
	}
	EXPECT_EQ(-EBADF, irqfd(self, -1, 24, 0));
	EXPECT_EQ(-EINVAL, irqfd(self, self->fd, 24, 0));
	EXPECT_EQ(-EINVAL, irqfd(self, self->event, 24, 2));
	/* The teardown closes the eventfd while it is assigned. */
	EXPECT_EQ(0, irqfd(self, self->event, 24, 0));
}

/* The parameter of the module limits the size of a DM_OP. */
TEST_F(privcmd_eventfd, irqfd_size)
{
	static const uint32_t small[] = { 0, MAX_DM_OP };
	static const uint32_t large[] = {
		MAX_DM_OP + 1, 1 << 22, (1 << 22) + 1, 1U << 31, ~0U,
	};
	unsigned int max, i;

	ASSERT_EQ(0, xen_param_get("xen_privcmd", "dm_op_buf_max_size", &max));
	if (max != MAX_DM_OP)
		SKIP(return, "dm_op_buf_max_size is %u", max);
	for (i = 0; i < ARRAY_SIZE(small); i++) {
		EXPECT_EQ(0, irqfd(self, self->event, small[i], 0));
		EXPECT_EQ(0, deassign(self));
	}
	for (i = 0; i < ARRAY_SIZE(large); i++)
		EXPECT_EQ(-E2BIG, irqfd(self, self->event, large[i], 0))
			TH_LOG("%u bytes", large[i]);
}

/* The next write to an irqfd consumes the count from before the assign. */
TEST_F(privcmd_eventfd, irqfd_pending)
{
	struct pollfd p = { .fd = self->event, .events = POLLIN };
	uint64_t count;

	ASSERT_EQ(0, eventfd_write(self->event, 3));
	ASSERT_EQ(0, irqfd(self, self->event, 24, 0));
	EXPECT_EQ(1, poll(&p, 1, 0));
	EXPECT_EQ(POLLIN, p.revents);
	ASSERT_EQ(0, eventfd_write(self->event, 1));
	EXPECT_EQ(-1, eventfd_read(self->event, &count));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(0, deassign(self));
	ASSERT_EQ(0, eventfd_write(self->event, 1));
	EXPECT_EQ(0, eventfd_read(self->event, &count));
	EXPECT_EQ(1, count);
}

/* An empty buffer of a DM_OP, at the start of a page, has no page. */
TEST_F(privcmd_eventfd, dm_op_empty)
{
	struct privcmd_dm_op_buf buf = {};
	int ret;

	buf.uptr = mmap(NULL, xen_page_size(), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, buf.uptr);
	ret = privcmd_dm_op(self->fd, DOMID_IDLE, 1, &buf);
	if (ret == -ENOSYS)
		SKIP(return, "this Xen has no DM_OP");
	/* Xen has no such domain. */
	EXPECT_EQ(-ESRCH, ret);
}

struct closer {
	int fd;
	useconds_t delay;
};

static void *close_later(void *arg)
{
	struct closer *c = arg;

	usleep(c->delay);
	close(c->fd);
	return NULL;
}

/* One thread closes the eventfd while another deassigns the irqfd. */
TEST_F_TIMEOUT(privcmd_eventfd, irqfd_closed, 200)
{
	unsigned int rounds = 20 * xen_rounds(5), i;
	struct closer c;
	pthread_t id;

	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(0, irqfd(self, self->event, 24, 0));
		c.fd = self->event;
		c.delay = i % 20 * (i % 40);
		ASSERT_EQ(0, pthread_create(&id, NULL, close_later, &c));
		/* Either thread may win. Afterwards the irqfd is gone. */
		deassign(self);
		pthread_join(id, NULL);
		EXPECT_EQ(-EBADF, deassign(self));
		ASSERT_LE(0, new_eventfd(self));
	}
}

XEN_TEST_MAIN(NULL)
