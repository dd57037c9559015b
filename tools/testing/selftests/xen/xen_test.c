// SPDX-License-Identifier: GPL-2.0
/* The guest, and the settings of a test program. See xen_test.h. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/utsname.h>

#include "kselftest.h"
#include "xen_test.h"

#define XENFEAT_AUTO_TRANSLATED	2
#define XENFEAT_DOM0		11

#define XS_READ			2

/* A xenstore message: this header and its payload. */
struct xs_msg {
	uint32_t type;
	uint32_t req_id;
	uint32_t tx_id;
	uint32_t len;
};

int64_t xen_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

int xen_get(const char *path, char *buf, size_t size)
{
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = read(fd, buf, size - 1);
	if (len < 0)
		len = -errno;
	close(fd);
	if (len < 0)
		return len;
	buf[len] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return 0;
}

int xen_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		ret = -EINVAL;
	close(fd);
	return ret;
}

static bool has_feature(unsigned int bit)
{
	char buf[32];

	return !xen_get("/sys/hypervisor/properties/features", buf,
			  sizeof(buf)) &&
	       strtoull(buf, NULL, 16) >> bit & 1;
}

enum xen_guest xen_guest_type(void)
{
	struct utsname uts;
	char buf[16];

	if (xen_get("/sys/hypervisor/type", buf, sizeof(buf)) ||
	    strcmp(buf, "xen"))
		return XEN_GUEST_NONE;
	uname(&uts);
	if (!strncmp(uts.machine, "aarch64", 7) ||
	    !strncmp(uts.machine, "arm", 3))
		return XEN_GUEST_ARM;
	if (xen_get("/sys/hypervisor/guest_type", buf, sizeof(buf)))
		return has_feature(XENFEAT_AUTO_TRANSLATED) ? XEN_GUEST_HVM :
							      XEN_GUEST_PV;
	if (!strcmp(buf, "PV"))
		return XEN_GUEST_PV;
	if (!strcmp(buf, "PVH"))
		return XEN_GUEST_PVH;
	return XEN_GUEST_HVM;
}

/* Asks xenstore for "domid", which is relative to this domain's own home. */
static int xenstore_domid(void)
{
	struct {
		struct xs_msg hdr;
		char body[16];
	} msg = {
		.hdr = { .type = XS_READ, .len = sizeof("domid") },
		.body = "domid",
	};
	struct pollfd pfd = { .events = POLLIN };
	size_t size = sizeof(msg.hdr) + msg.hdr.len, got = 0;
	uint64_t domid;
	ssize_t len;
	int ret;

	pfd.fd = open("/dev/xen/xenbus", O_RDWR | O_CLOEXEC);
	if (pfd.fd < 0)
		return -errno;
	len = write(pfd.fd, &msg, size);
	ret = len < 0 ? -errno : -EIO;
	if (len != (ssize_t)size)
		goto out;

	size = sizeof(msg.hdr);
	while (got < size) {
		ret = -ETIME;
		if (poll(&pfd, 1, 5000) != 1)
			goto out;
		len = read(pfd.fd, (char *)&msg + got, size - got);
		ret = -EIO;
		if (len <= 0)
			goto out;
		got += len;
		if (got == sizeof(msg.hdr)) {
			if (msg.hdr.len >= sizeof(msg.body))
				goto out;
			size += msg.hdr.len;
		}
	}
	msg.body[msg.hdr.len] = 0;
	ret = -ENOENT;
	if (msg.hdr.type == XS_READ &&
	    !xen_parse(msg.body, 0, DOMID_FIRST_RESERVED - 1, &domid))
		ret = domid;
out:
	close(pfd.fd);
	return ret;
}

/*
 * Grants need a real domain id: neither the grant table nor GNTTABOP_map
 * take DOMID_SELF. dom0 is asked first as its xenstore may not be running.
 */
int xen_own_domid(void)
{
	return has_feature(XENFEAT_DOM0) ? 0 : xenstore_domid();
}

size_t xen_page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

int xen_open(const char *name, char *why, size_t size)
{
	char path[64];
	int fd, err;

	if (xen_guest_type() == XEN_GUEST_NONE) {
		snprintf(why, size, "not running under Xen");
		return -ENODEV;
	}
	snprintf(path, sizeof(path), "/dev/xen/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	err = errno;
	snprintf(why, size, "cannot open %s: %s", path, strerror(err));
	return -err;
}

static void param_path(char *path, size_t size, const char *module,
		       const char *name)
{
	snprintf(path, size, "/sys/module/%s/parameters/%s", module, name);
}

int xen_param_get(const char *module, const char *name, unsigned int *val)
{
	char path[96], buf[16];
	int ret;

	param_path(path, sizeof(path), module, name);
	ret = xen_get(path, buf, sizeof(buf));
	if (!ret)
		*val = strtoul(buf, NULL, 0);
	return ret;
}

int xen_param_set(const char *module, const char *name, unsigned int val)
{
	char path[96], buf[16];

	param_path(path, sizeof(path), module, name);
	snprintf(buf, sizeof(buf), "%u", val);
	return xen_put(path, buf);
}

int xen_module_users(const char *module)
{
	char path[96], buf[16];
	int ret;

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", module);
	ret = xen_get(path, buf, sizeof(buf));
	return ret ? : atoi(buf);
}

int xen_kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd < 0 ? -errno : fd;
}

/* The reports; records that were overwritten count as @lost each time. */
static int kmsg_read(int fd, int lost)
{
	static const char * const reports[] = {
		"WARNING: ", "BUG: ", "INFO: possible", "INFO: trying",
		"Oops: ", "UBSAN: ", "ODEBUG: ",
	};
	char buf[1024];
	unsigned int i;
	int count = 0;
	ssize_t len;

	/* A record each. */
	while ((len = read(fd, buf, sizeof(buf) - 1)) > 0 || errno == EPIPE) {
		if (len < 0)
			count += lost;
		buf[len > 0 ? len : 0] = 0;
		for (i = 0; i < ARRAY_SIZE(reports); i++) {
			if (strstr(buf, reports[i])) {
				count++;
				break;
			}
		}
		errno = 0;
	}
	return count;
}

int xen_kmsg_read(int fd)
{
	return kmsg_read(fd, 1);
}

int xen_kmsg_reports(int fd)
{
	int count = xen_kmsg_read(fd);

	close(fd);
	return count;
}

unsigned int xen_rounds(unsigned int nr)
{
	const char *env = getenv("XEN_ROUNDS");

	return env ? atoi(env) : nr;
}

unsigned int xen_seed(void)
{
	const char *env = getenv("XEN_SEED");
	unsigned int seed = env ? strtoul(env, NULL, 0) : xen_now_ms();

	fprintf(stderr, "# XEN_SEED=%u\n", seed);
	return seed;
}

size_t xen_free_memory(void)
{
	return sysconf(_SC_AVPHYS_PAGES) * xen_page_size();
}

/* The test program: what to restore and to check at its end. */
static struct {
	pid_t pid;
	struct setting {
		char path[80];
		char old[24];
	} settings[16];
	unsigned int nr;
	void (*cleanup)(void);
	int kmsg;
} program = { .kmsg = -1 };

int xen_set(const char *path, const char *val)
{
	struct setting *s = &program.settings[program.nr];
	int ret;

	if (program.nr == ARRAY_SIZE(program.settings))
		return -ENOSPC;
	snprintf(s->path, sizeof(s->path), "%s", path);
	ret = xen_get(path, s->old, sizeof(s->old));
	if (!ret && val)
		ret = xen_put(path, val);
	if (!ret)
		program.nr++;
	return ret;
}

void xen_at_end(void (*cleanup)(void))
{
	program.cleanup = cleanup;
}

/* Forked tests inherit the handlers, but restore nothing. */
static bool restore(void)
{
	if (program.pid != getpid())
		return false;
	if (program.cleanup)
		program.cleanup();
	program.cleanup = NULL;
	for (; program.nr; program.nr--)
		xen_put(program.settings[program.nr - 1].path,
			program.settings[program.nr - 1].old);
	return true;
}

static void on_signal(int sig)
{
	restore();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* All tests have ended: the kernel can report no more of them. */
static void on_exit_of_program(void)
{
	int reports;

	if (!restore())
		return;
	reports = kmsg_read(program.kmsg, 0);
	if (reports <= 0)
		return;
	fflush(stdout);
	fprintf(stderr, "# the kernel reported %d problems, expected none\n",
		reports);
	_exit(KSFT_FAIL);
}

/* No test outlives the program, and no child of a test the test. */
static void die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void xen_test_begin(void (*prepare)(void))
{
	static const int signals[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM,
	};
	char path[96], limit[16];
	unsigned int i;

	if (xen_guest_type() == XEN_GUEST_NONE) {
		ksft_print_header();
		ksft_exit_skip("not running under Xen\n");
	}
	program.pid = getpid();
	program.kmsg = xen_kmsg_open();
	atexit(on_exit_of_program);
	for (i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], on_signal);
	pthread_atfork(NULL, NULL, die_with_parent);

	param_path(path, sizeof(path), "xen_gntalloc", "limit");
	snprintf(limit, sizeof(limit), "%u", GNTALLOC_LIMIT);
	if (!xen_param_get("xen_gntalloc", "limit", &i) && i < GNTALLOC_LIMIT)
		xen_set(path, limit);
	if (prepare)
		prepare();
}

int xen_parse(const char *str, uint64_t min, uint64_t max, uint64_t *val)
{
	unsigned long long v;
	char *end;

	if (*str < '0' || *str > '9')
		return -EINVAL;
	errno = 0;
	v = strtoull(str, &end, 0);
	if (*end)
		return -EINVAL;
	if (errno || v < min || v > max)
		return -ERANGE;
	*val = v;
	return 0;
}

int xen_parse_peer(const char *str, int *domid, uint32_t *ref)
{
	const char *colon = strchr(str, ':');
	char buf[16];
	uint64_t d, r;

	if (!colon || colon - str >= (ptrdiff_t)sizeof(buf))
		return -EINVAL;
	memcpy(buf, str, colon - str);
	buf[colon - str] = 0;
	if (xen_parse(buf, 0, DOMID_FIRST_RESERVED - 1, &d) ||
	    xen_parse(colon + 1, 0, UINT32_MAX, &r))
		return -EINVAL;
	*domid = d;
	*ref = r;
	return 0;
}
