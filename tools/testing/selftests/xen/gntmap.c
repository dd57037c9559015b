// SPDX-License-Identifier: GPL-2.0
/* Maps what a gntshare in another domain shares; see --help. */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "xen_test.h"

static const char usage[] =
"Usage: gntmap [OPTION]... DOMID REF\n"
"       gntmap [OPTION]... DOMID:REF\n"
"       gntmap [OPTION]... --no-directory DOMID REF...\n"
"Map pages that domain DOMID shares. REF is what gntshare printed there.\n"
"\n"
"  --fresh           have gntshare replace its pages by new ones first, --count\n"
"                    of them\n"
"  --count N|all     map the first N pages (default all)\n"
"  --read            print the first 64-bit word of each page\n"
"  --verify          check that each page is what gntshare filled it with\n"
"  --write VALUE     write VALUE to the first word of each page\n"
"  --dma             map them a second time, in memory for DMA, as a dma-buf\n"
"  --hold SECONDS    keep the pages mapped for SECONDS, or until killed\n"
"  --quit            ask gntshare to end\n"
"  --no-directory    REF... are the pages themselves, not gntshare's directory\n"
"  --help            this text\n"
"\n"
"The order is fresh, verify, write, read, dma, hold, unmap, quit. The pages are\n"
"mapped read-only unless --write is given. Exit status: 0; 1 if a page cannot be\n"
"mapped or is not as it should be; 2 for bad arguments.\n";

static int bad_arg(const char *what, const char *arg)
{
	fprintf(stderr, "gntmap: bad %s '%s', see --help\n", what, arg);
	return 2;
}

static int fail(const char *what, int err)
{
	fprintf(stderr, "gntmap: cannot %s: %s\n", what, strerror(-err));
	return 1;
}

static int verify(const struct xen_map *m)
{
	unsigned int page, word;
	uint64_t *p, want;

	for (page = 0; page < m->nr; page++) {
		p = xen_map_word(m, page, 0);
		for (word = 0; word < XEN_PAGE_SIZE / sizeof(*p); word++) {
			want = xen_share_pattern(page, word);
			if (p[word] == want)
				continue;
			fprintf(stderr, "gntmap: page %u word %u is 0x%llx, not 0x%llx\n",
				page, word, (unsigned long long)p[word],
				(unsigned long long)want);
			return 1;
		}
	}
	printf("%u pages are right\n", m->nr);
	return 0;
}

/**
 * struct args - the command line
 * @domid: DOMID
 * @refs: REF...
 * @nr: number of @refs
 * @count: --count, 0 for all
 * @hold: --hold, in seconds
 * @value: what --write writes
 * @fresh: --fresh
 * @read: --read
 * @verify: --verify
 * @write: --write
 * @dma: --dma
 * @quit: --quit
 * @no_directory: --no-directory
 * @help: --help
 */
struct args {
	int domid;
	uint32_t refs[XEN_SHARE_MAX];
	unsigned int nr;
	uint64_t count;
	uint64_t hold;
	uint64_t value;
	bool fresh;
	bool read;
	bool verify;
	bool write;
	bool dma;
	bool quit;
	bool no_directory;
	bool help;
};

static int parse_options(struct args *a, int argc, char **argv)
{
	static const struct option options[] = {
		{ "count", required_argument, NULL, 'c' },
		{ "read", no_argument, NULL, 'r' },
		{ "verify", no_argument, NULL, 'v' },
		{ "write", required_argument, NULL, 'w' },
		{ "hold", required_argument, NULL, 'o' },
		{ "fresh", no_argument, NULL, 'f' },
		{ "dma", no_argument, NULL, 'd' },
		{ "quit", no_argument, NULL, 'q' },
		{ "no-directory", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			a->count = 0;
			if (strcmp(optarg, "all") &&
			    xen_parse(optarg, 1, XEN_SHARE_MAX, &a->count))
				return bad_arg("count", optarg);
			break;
		case 'r':
			a->read = true;
			break;
		case 'v':
			a->verify = true;
			break;
		case 'w':
			if (xen_parse(optarg, 0, UINT64_MAX, &a->value))
				return bad_arg("value", optarg);
			a->write = true;
			break;
		case 'o':
			if (xen_parse(optarg, 1, 86400 * 365, &a->hold))
				return bad_arg("hold time", optarg);
			break;
		case 'f':
			a->fresh = true;
			break;
		case 'd':
			a->dma = true;
			break;
		case 'q':
			a->quit = true;
			break;
		case 'n':
			a->no_directory = true;
			break;
		case 'h':
			a->help = true;
			break;
		default:
			return 2;
		}
	}
	return 0;
}

/* DOMID REF..., or DOMID:REF. */
static int parse_refs(struct args *a, char **argv)
{
	uint64_t val;

	if (!*argv) {
		fprintf(stderr, "gntmap: DOMID and REF are missing, see --help\n");
		return 2;
	}
	if (strchr(*argv, ':')) {
		if (xen_parse_peer(*argv, &a->domid, &a->refs[a->nr++]))
			return bad_arg("DOMID:REF", *argv);
	} else {
		if (xen_parse(*argv, 0, DOMID_FIRST_RESERVED - 1, &val))
			return bad_arg("domain", *argv);
		a->domid = val;
	}
	while (*++argv) {
		if (a->nr == (a->no_directory ? XEN_SHARE_MAX : 1))
			return bad_arg("argument", *argv);
		if (xen_parse(*argv, 0, UINT32_MAX, &val))
			return bad_arg("reference", *argv);
		a->refs[a->nr++] = val;
	}
	if (!a->nr) {
		fprintf(stderr, "gntmap: REF is missing, see --help\n");
		return 2;
	}
	if (a->no_directory && (a->fresh || a->quit || a->count > a->nr))
		return bad_arg("option with --no-directory", a->fresh ?
			       "--fresh" : a->quit ? "--quit" : "--count");
	return 0;
}

/* Replaces the reference of the directory by those that it lists. */
static int read_directory(struct args *a, struct xen_peer *peer)
{
	uint64_t val = 0;
	unsigned int nr;
	int ret;

	ret = xen_peer_open(peer, a->domid, a->refs[0]);
	if (ret == -EPROTO) {
		fprintf(stderr, "gntmap: grant %u of domain %d is no directory\n",
			a->refs[0], a->domid);
		return 1;
	}
	if (ret)
		return fail("map the directory", ret);

	nr = __atomic_load_n(a->fresh ? &peer->dir->max : &peer->dir->nr,
			     __ATOMIC_RELAXED);
	if (a->count > nr) {
		fprintf(stderr, "gntmap: domain %d shares only %u pages\n",
			a->domid, nr);
		return 1;
	}
	if (a->fresh) {
		ret = xen_peer_call(peer, XEN_SHARE_REALLOC, a->count, 0, &val);
		if (ret)
			return fail("get fresh pages", ret);
	}
	nr = __atomic_load_n(&peer->dir->nr, __ATOMIC_RELAXED);
	/* It is the other domain's word. */
	if (!nr || nr > XEN_SHARE_MAX || a->count > nr)
		return fail("use the directory", -EPROTO);
	memcpy(a->refs, peer->dir->refs, nr * sizeof(*a->refs));
	a->nr = nr;
	return 0;
}

/* Exports the first @nr pages as a dma-buf, which lives until this process ends. */
static int export_dma(const struct args *a, unsigned int nr)
{
	struct ioctl_gntdev_dmabuf_exp_from_refs *op;
	char why[160];
	int fd, ret;

	fd = xen_open("gntdev", why, sizeof(why));
	op = calloc(1, sizeof(*op) + nr * sizeof(op->refs[0]));
	if (fd < 0 || !op)
		return fd < 0 ? fd : -ENOMEM;
	op->flags = GNTDEV_DMA_FLAG_COHERENT;
	op->count = nr;
	op->domid = a->domid;
	memcpy(op->refs, a->refs, nr * sizeof(op->refs[0]));
	ret = ioctl(fd, IOCTL_GNTDEV_DMABUF_EXP_FROM_REFS, op) ? -errno : 0;
	free(op);
	return ret;
}

int main(int argc, char **argv)
{
	struct timespec ts = {};
	struct args a = {};
	struct xen_peer peer;
	struct xen_map m;
	sigset_t signals;
	unsigned int i;
	char why[160];
	int ret, err;

	ret = parse_options(&a, argc, argv);
	if (ret)
		return ret;
	if (a.help) {
		fputs(usage, stdout);
		return 0;
	}
	ret = parse_refs(&a, argv + optind);
	if (ret)
		return ret;

	ret = xen_open("gntdev", why, sizeof(why));
	if (ret < 0) {
		fprintf(stderr, "gntmap: %s\n", why);
		return 1;
	}
	close(ret);
	/* They wait until the hold, which they end, and all is unmapped. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);

	if (!a.no_directory) {
		ret = read_directory(&a, &peer);
		if (ret)
			return ret;
	}
	ret = xen_map(&m, a.domid, a.refs, a.count ? a.count : a.nr,
		      PROT_READ | (a.write ? PROT_WRITE : 0));
	if (ret)
		return fail("map the pages", ret);

	ret = a.verify ? verify(&m) : 0;
	for (i = 0; i < m.nr; i++) {
		if (a.write)
			*xen_map_word(&m, i, 0) = a.value;
		if (a.read)
			printf("page %u grant %u: 0x%016llx\n", i, a.refs[i],
			       (unsigned long long)*xen_map_word(&m, i, 0));
	}
	if (a.dma) {
		err = export_dma(&a, m.nr);
		if (err)
			ret = fail("map the pages for DMA", err);
	}
	if (fflush(stdout))
		ret = fail("write to standard output", -errno);

	ts.tv_sec = a.hold;
	if (a.hold)
		sigtimedwait(&signals, NULL, &ts);

	err = xen_unmap(&m);
	if (err)
		ret = fail("unmap the pages", err);
	if (a.quit) {
		err = xen_peer_call(&peer, XEN_SHARE_QUIT, 0, 0, &a.value);
		if (err)
			ret = fail("end gntshare", err);
	}
	if (!a.no_directory)
		xen_peer_close(&peer);
	return ret;
}
