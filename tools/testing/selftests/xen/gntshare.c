// SPDX-License-Identifier: GPL-2.0
/*
 * Shares pages of this domain with another one and serves its requests; see
 * xen_share.h for what the other side finds, and --help.
 */

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "xen_test.h"

/**
 * struct share - what is shared
 * @fd: /dev/xen/gntalloc
 * @evtchn: /dev/xen/evtchn, or -1
 * @to: the domain that may map
 * @dir: the directory page
 * @dir_ref: its grant
 * @index: offset of the data pages in @fd
 * @mem: the data pages
 * @refs: their grants; those in @dir are the other side's to read, and to spoil
 * @nr: their number
 * @max: what --count said
 * @port: of the event channel, 0 for none; what @dir says of it is spoilt too
 * @signalled: the latest mapper uses it
 */
struct share {
	int fd;
	int evtchn;
	int to;
	struct xen_share_dir *dir;
	uint32_t dir_ref;
	uint64_t index;
	void *mem;
	uint32_t refs[XEN_SHARE_MAX];
	unsigned int nr;
	unsigned int max;
	uint32_t port;
	bool signalled;
};

static int stop;

static void on_signal(int sig)
{
	(void)sig;
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
}

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

/* Grants @nr new pages and maps them; all or nothing. */
static int grant(struct share *s, unsigned int nr, int flags, uint32_t *refs,
		 uint64_t *index, void **mem)
{
	int ret;

	ret = gntalloc_alloc(s->fd, s->to, flags, nr, refs, index);
	if (ret)
		return ret;
	*mem = gntalloc_map_each(s->fd, *index, nr);
	if (*mem == MAP_FAILED) {
		ret = -errno;
		gntalloc_dealloc(s->fd, *index, nr);
	}
	return ret;
}

static int share_data(struct share *s, unsigned int nr, bool read_only)
{
	unsigned int page, word;
	uint64_t *p;
	int ret;

	ret = grant(s, nr, read_only ? 0 : GNTALLOC_FLAG_WRITABLE,
		    s->refs, &s->index, &s->mem);
	if (ret)
		return ret;
	for (page = 0; page < nr; page++) {
		p = s->mem + page * xen_page_size();
		for (word = 0; word < XEN_PAGE_SIZE / sizeof(*p); word++)
			p[word] = xen_share_pattern(page, word);
	}
	s->nr = nr;
	memcpy(s->dir->refs, s->refs, nr * sizeof(*s->refs));
	s->dir->nr = nr;
	s->dir->flags = read_only ? XEN_SHARE_READ_ONLY : 0;
	return 0;
}

static int share_start(struct share *s, bool read_only)
{
	uint64_t index;
	void *mem;
	int ret;

	ret = grant(s, 1, GNTALLOC_FLAG_WRITABLE, &s->dir_ref, &index, &mem);
	if (ret)
		return ret;
	s->dir = mem;
	ret = share_data(s, s->max, read_only);
	if (ret)
		return ret;
	s->dir->max = s->max;
	ret = s->evtchn < 0 ? -ENODEV : evtchn_bind_unbound(s->evtchn, s->to);
	s->port = ret < 0 ? 0 : ret;
	s->dir->port = s->port;
	/* As libxenvchan does: who waits is to see the end. */
	if (s->port) {
		ret = gntalloc_notify(s->fd, index, UNMAP_NOTIFY_SEND_EVENT,
				      s->port);
		if (ret)
			return ret;
	}
	s->dir->version = XEN_SHARE_VERSION;
	s->dir->magic = XEN_SHARE_MAGIC;
	return 0;
}

/* Replaces the data pages. */
static int share_again(struct share *s, unsigned int nr, bool read_only)
{
	gntalloc_end(s->fd, s->index, s->mem, 0, s->nr);
	munmap(s->mem, s->nr * xen_page_size());
	s->nr = 0;
	s->dir->nr = 0;
	s->dir->generation++;
	return share_data(s, nr, read_only);
}

/* The answer to the request in the directory, as untrusted as its author. */
static int answer(struct share *s, uint64_t *value)
{
	/* Once each: the other side may change them at any time. */
	uint32_t op = __atomic_load_n(&s->dir->req_op, __ATOMIC_RELAXED);
	uint32_t page = __atomic_load_n(&s->dir->req_page, __ATOMIC_RELAXED);
	uint32_t offset = __atomic_load_n(&s->dir->req_offset,
					  __ATOMIC_RELAXED);
	uint64_t *word;

	*value = __atomic_load_n(&s->dir->req_value, __ATOMIC_RELAXED);
	switch (op) {
	case XEN_SHARE_PEEK:
	case XEN_SHARE_POKE:
		if (page >= s->nr || offset % sizeof(*word) ||
		    offset >= XEN_PAGE_SIZE)
			return -EINVAL;
		word = s->mem + page * xen_page_size() + offset;
		/* An ended page is gone. */
		if (xen_probe(word, false))
			return -ENOENT;
		if (op == XEN_SHARE_PEEK)
			*value = *word;
		else
			*word = *value;
		return 0;
	case XEN_SHARE_REALLOC:
		if (page > s->max)
			return -EINVAL;
		return share_again(s, page ? : s->max,
				   *value & XEN_SHARE_READ_ONLY);
	case XEN_SHARE_END:
		if (page > s->nr || *value > s->nr - page)
			return -EINVAL;
		gntalloc_end(s->fd, s->index, s->mem, page, *value);
		return 0;
	case XEN_SHARE_QUIT:
		on_signal(0);
		return 0;
	default:
		return -EINVAL;
	}
}

/*
 * Waits for a signal of the mapper, or for an end. A mapper that has sent none
 * yet may have no event channel device.
 */
static void wait_for_request(struct share *s, int64_t end, bool until_eof)
{
	struct pollfd pfd[] = {
		{ .fd = s->evtchn, .events = POLLIN },
		{ .fd = until_eof ? STDIN_FILENO : -1, .events = POLLIN },
	};
	int64_t left = end ? end - xen_now_ms() : 1000;
	char buf[64];
	int ret;

	if (left > 1000)
		left = 1000;
	if (!s->signalled && left > 10)
		left = 10;
	if (left <= 0 || poll(pfd, 2, left) <= 0)
		return;
	if (pfd[0].revents) {
		/* There is something to read, so this does not wait. */
		ret = evtchn_wait(s->evtchn, s->port, 1000);
		s->signalled = !ret;
		if (ret == -EIO)
			s->evtchn = -1;
	}
	if (pfd[1].revents && read(STDIN_FILENO, buf, sizeof(buf)) <= 0)
		on_signal(0);
}

static void serve(struct share *s, int64_t end, bool until_eof)
{
	struct xen_share_dir *dir = s->dir;
	uint32_t seq = 0, asked;
	uint64_t value;

	while (!stopped() && (!end || xen_now_ms() < end)) {
		asked = __atomic_load_n(&dir->req_seq, __ATOMIC_ACQUIRE);
		if (asked == seq) {
			wait_for_request(s, end, until_eof);
			continue;
		}
		seq = asked;
		dir->rsp_status = answer(s, &value);
		dir->rsp_value = value;
		__atomic_store_n(&dir->rsp_seq, seq, __ATOMIC_RELEASE);
		if (s->port && s->evtchn >= 0)
			evtchn_notify(s->evtchn, s->port);
	}
}

static const char usage[] =
"Usage: gntshare --to DOMID [OPTION]...\n"
"Share pages of this domain with domain DOMID.\n"
"\n"
"  --to DOMID        the domain that may map the pages\n"
"  --count N         share N pages, 1 to 1006 (default 1)\n"
"  --read-only       DOMID may only read them\n"
"  --hold SECONDS    end after SECONDS (default: when killed)\n"
"  --exit-on-eof     end when standard input does\n"
"  --help            this text\n"
"\n"
"Prints one line, DOMID:REF, which gntmap and XEN_PEER of the tests take: this\n"
"domain and the grant of a directory of the pages. Only REF if this domain's id\n"
"cannot be found out (no xenstore). 64-bit word J of page I, both from 0, is\n"
"\"XEN\", I, J: 0x58454e00IIIIJJJJ. Needs /dev/xen/gntalloc; more than about 1000\n"
"pages in all: /sys/module/xen_gntalloc/parameters/limit.\n";

static int bad_arg(const char *what, const char *arg)
{
	fprintf(stderr, "gntshare: bad %s '%s', see --help\n", what, arg);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "to", required_argument, NULL, 't' },
		{ "count", required_argument, NULL, 'c' },
		{ "read-only", no_argument, NULL, 'r' },
		{ "hold", required_argument, NULL, 'o' },
		{ "exit-on-eof", no_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	struct sigaction sa = { .sa_handler = on_signal };
	struct share s = { .to = -1, .max = 1 };
	bool read_only = false, until_eof = false;
	uint64_t val, hold = 0;
	char why[160];
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 't':
			if (xen_parse(optarg, 0, DOMID_FIRST_RESERVED - 1, &val))
				return bad_arg("domain", optarg);
			s.to = val;
			break;
		case 'c':
			if (xen_parse(optarg, 1, XEN_SHARE_MAX, &val))
				return bad_arg("count", optarg);
			s.max = val;
			break;
		case 'r':
			read_only = true;
			break;
		case 'o':
			if (xen_parse(optarg, 1, 86400 * 365, &hold))
				return bad_arg("hold time", optarg);
			break;
		case 'e':
			until_eof = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			return 2;
		}
	}
	if (optind < argc)
		return bad_arg("argument", argv[optind]);
	if (s.to < 0) {
		fprintf(stderr, "gntshare: --to DOMID is missing, see --help\n");
		return 2;
	}

	s.fd = xen_open("gntalloc", why, sizeof(why));
	if (s.fd < 0) {
		fprintf(stderr, "gntshare: %s\n", why);
		return 1;
	}
	s.evtchn = xen_open("evtchn", why, sizeof(why));
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);

	ret = share_start(&s, read_only);
	if (ret) {
		fprintf(stderr, "gntshare: cannot share %u pages: %s%s\n", s.max,
			strerror(-ret), ret == -ENOSPC ?
			" (/sys/module/xen_gntalloc/parameters/limit)" : "");
		return 1;
	}

	ret = xen_own_domid();
	if (ret >= 0)
		printf("%d:", ret);
	printf("%u\n", s.dir_ref);
	if (fflush(stdout)) {
		fprintf(stderr, "gntshare: standard output: %s\n",
			strerror(errno));
		return 1;
	}

	serve(&s, hold ? xen_now_ms() + (int64_t)hold * 1000 : 0, until_eof);
	/* What is still mapped elsewhere stays until it is unmapped there. */
	return 0;
}
