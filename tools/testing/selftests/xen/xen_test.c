// SPDX-License-Identifier: GPL-2.0
/* What the Xen tests have in common; the header describes the functions. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>

#include "kselftest.h"
#include "xen_test.h"

#define XENFEAT_AUTO_TRANSLATED	2
#define XENFEAT_DOM0		11

#define XS_READ			2

#define HYPERVISOR_MULTICALL	13
#define HYPERVISOR_XEN_VERSION	17

#define PEER_MS			30000	/* for an answer of gntshare */

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

static void sleep_us(unsigned int us)
{
	struct timespec ts = { .tv_nsec = us * 1000L };

	nanosleep(&ts, NULL);
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

static int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
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

#define FAIL	"/sys/kernel/debug/fail_function/"

/* The test program: what to restore and to check at its end. */
static struct {
	pid_t pid;
	struct setting {
		char path[80];
		char old[24];
	} settings[16];
	unsigned int nr;
	void (*cleanup)(void);
	bool fail_function;	/* nobody else injected errors */
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
	if (program.fail_function)
		xen_put(FAIL "inject", "");
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
	static const char * const kept[] = {
		FAIL "probability", FAIL "interval", FAIL "times", FAIL "verbose",
	};
	char path[96], limit[16], buf[16];
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

	program.fail_function = !xen_get(FAIL "inject", buf, sizeof(buf)) &&
				!*buf;
	for (i = 0; i < ARRAY_SIZE(kept); i++)
		xen_set(kept[i], NULL);
	param_path(path, sizeof(path), "xen_gntalloc", "limit");
	snprintf(limit, sizeof(limit), "%u", GNTALLOC_LIMIT);
	if (!xen_param_get("xen_gntalloc", "limit", &i) && i < GNTALLOC_LIMIT)
		xen_set(path, limit);
	if (prepare)
		prepare();
}

int xen_fail(const char *function, const char *retval, const char *times)
{
	char path[96];
	int ret;

	if (!program.fail_function)
		return access(FAIL, F_OK) ? -ENOENT : -EBUSY;
	snprintf(path, sizeof(path), FAIL "%s/retval", function);
	ret = xen_put(FAIL "inject", function);
	if (!ret && (xen_put(path, retval) || xen_put(FAIL "verbose", "0") ||
		     xen_put(FAIL "interval", "1") ||
		     xen_put(FAIL "probability", "100") ||
		     xen_put(FAIL "times", times)))
		ret = -EINVAL;
	return ret;
}

void xen_fail_end(const char *function)
{
	char text[96];

	xen_put(FAIL "times", "0");
	snprintf(text, sizeof(text), "!%s", function);
	xen_put(FAIL "inject", text);
}

/* A debug build of Xen overwrites the entries of a multicall. */
int xen_is_debug(void)
{
	struct {
		unsigned long op, result, args[6];
	} entry = { .op = HYPERVISOR_XEN_VERSION };
	struct {
		uint64_t op, arg[5];
	} call = { .op = HYPERVISOR_MULTICALL, .arg = { (uintptr_t)&entry, 1 } };
	int fd = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	/* IOCTL_PRIVCMD_HYPERCALL: <xen/privcmd.h> can't be included. */
	ret = do_ioctl(fd, _IOC(_IOC_NONE, 'P', 0, sizeof(call)), &call);
	close(fd);
	return ret ? : entry.op != HYPERVISOR_XEN_VERSION;
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
		sleep_us(20000);
	}
	free(segs);
out:
	close(fd);
	return ret;
}

/* Waits until the sharer has answered everything that was asked. */
static int peer_wait(struct xen_peer *p, uint32_t seq)
{
	int64_t end = xen_now_ms() + PEER_MS;

	while (__atomic_load_n(&p->dir->rsp_seq, __ATOMIC_ACQUIRE) != seq) {
		if (xen_now_ms() >= end)
			return -ETIME;
		/* An earlier mapper may have had the signal: look again. */
		if (p->port < 0)
			sleep_us(200);
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
