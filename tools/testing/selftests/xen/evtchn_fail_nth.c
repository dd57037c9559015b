// SPDX-License-Identifier: GPL-2.0
/* Fault injection into the calls of /dev/xen/evtchn. */

#include "fail_nth.h"

#define RING_PORTS	64		/* that a new ring has room for */

static int domid, unbound, port;

FIXTURE(evtchn_fail_nth) {
};

FIXTURE_SETUP(evtchn_fail_nth)
{
	const char *why = fail_nth_open("evtchn");

	if (why)
		SKIP(return, "%s", why);
	domid = xen_own_domid();
	if (domid < 0)
		SKIP(return, "own domain id unknown: no xenstore");
}

FIXTURE_TEARDOWN(evtchn_fail_nth)
{
	fail_nth_close(_metadata);
}

static int bind(void)
{
	port = evtchn_bind_unbound(t.fd, domid);
	return port < 0 ? port : 0;
}

/* A second file has the other end of the channel. */
static int bind_second(void)
{
	int ret = open_second();

	unbound = ret ? : evtchn_bind_unbound(t.fd2, domid);
	return unbound < 0 ? unbound : 0;
}

static int bind_remote(void)
{
	port = evtchn_bind_interdomain(t.fd, domid, unbound);
	return port < 0 ? port : 0;
}

static int notify_and_write(void)
{
	uint32_t written = port;
	int ret = evtchn_notify(t.fd, port);

	if (!ret && write(t.fd, &written, sizeof(written)) != sizeof(written))
		ret = -errno;
	return ret;
}

static int unbind(void)
{
	return evtchn_unbind(t.fd, port);
}

static const struct call ports[] = {
	{ "open", .call = open_second },
	{ "bind", .call = bind, .error = -ENOSPC },
	{ "bind_remote", bind_second, bind_remote, .error = -ENOSPC },
	{ "notify_and_write", bind, notify_and_write },
	{ "unbind", bind, unbind, .none = true },
};

TEST_SWEEP(evtchn_fail_nth, ports, 1, ports)

static int fill_ring(void)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < RING_PORTS; i++)
		ret = bind();
	return ret;
}

static const struct call larger_ring[] = {
	{ "bind", fill_ring, bind, .error = -ENOSPC },
};

TEST_SWEEP(evtchn_fail_nth, larger_ring, 1, larger_ring)

FAIL_NTH_MAIN()
