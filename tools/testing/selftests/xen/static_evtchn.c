// SPDX-License-Identifier: GPL-2.0
/*
 * A static event channel is one that Xen makes at boot. Here dom0 makes one by
 * hypercalls, so that the kernel does not know its ports.
 */

#include <unistd.h>

#include "kselftest_harness.h"
#include "xen_privcmd.h"

#define EVTCHNOP_bind_interdomain	0
#define EVTCHNOP_close			3
#define EVTCHNOP_alloc_unbound		6

struct evtchn_bind_interdomain {
	uint16_t remote_dom;
	uint32_t remote_port;
	uint32_t local_port;
};

struct evtchn_alloc_unbound {
	uint16_t dom;
	uint16_t remote_dom;
	uint32_t port;
};

/**
 * FIXTURE(static_evtchn) - a channel between two ports of this domain
 * @fd: /dev/xen/privcmd, for hypercalls
 * @evtchn: two /dev/xen/evtchn
 * @port: the ends of the channel
 */
FIXTURE(static_evtchn) {
	int fd;
	int evtchn[2];
	uint32_t port[2];
};

static int evtchn_op(int fd, int cmd, void *arg)
{
	return privcmd_hypercall(fd, HYPERVISOR_event_channel_op, cmd, arg);
}

FIXTURE_SETUP(static_evtchn)
{
	struct evtchn_alloc_unbound alloc = {
		.dom = DOMID_SELF, .remote_dom = DOMID_SELF,
	};
	struct evtchn_bind_interdomain bind = { .remote_dom = DOMID_SELF };
	char why[160];
	int i;

	if (xen_own_domid())
		SKIP(return, "not dom0, which makes hypercalls");
	self->fd = xen_open("privcmd", why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	for (i = 0; i < 2; i++) {
		self->evtchn[i] = xen_open("evtchn", why, sizeof(why));
		if (self->evtchn[i] < 0)
			SKIP(return, "%s", why);
	}
	ASSERT_EQ(0, evtchn_op(self->fd, EVTCHNOP_alloc_unbound, &alloc));
	self->port[0] = alloc.port;
	bind.remote_port = alloc.port;
	ASSERT_EQ(0, evtchn_op(self->fd, EVTCHNOP_bind_interdomain, &bind));
	self->port[1] = bind.local_port;
}

FIXTURE_TEARDOWN(static_evtchn)
{
	int i;

	for (i = 0; i < 2; i++) {
		close(self->evtchn[i]);
		if (self->port[i])
			EXPECT_EQ(0, evtchn_op(self->fd, EVTCHNOP_close,
					       &self->port[i]));
	}
	close(self->fd);
}

/* An unbind does not close a static port: it can be bound again. */
TEST_F(static_evtchn, again)
{
	int round, i;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < 2; i++) {
			ASSERT_EQ(0, evtchn_bind_static(self->evtchn[i],
							self->port[i]));
			/* The connection itself may have sent an event. */
			evtchn_wait(self->evtchn[i], self->port[i], 100);
		}
		for (i = 0; i < 2; i++) {
			EXPECT_EQ(0, evtchn_notify(self->evtchn[i],
						   self->port[i]));
			EXPECT_EQ(0, evtchn_wait(self->evtchn[!i],
						 self->port[!i], 5000));
		}
		for (i = 0; i < 2; i++)
			EXPECT_EQ(0, evtchn_unbind(self->evtchn[i],
						   self->port[i]));
	}
}

XEN_TEST_MAIN(NULL)
