// SPDX-License-Identifier: GPL-2.0
/*
 * Has normal_page.ko measure what the lookup of a page costs where grants are
 * mapped, and where ordinary memory is.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "bench.h"
#include "xen_test.h"

#define NR	512

static void measure(const char *name, void *addr)
{
	char args[80];
	int fd = open("/normal_page.ko", O_RDONLY);

	snprintf(args, sizeof(args), "name=%s addr=%lu", name, (long)addr);
	syscall(SYS_finit_module, fd, args, 0);
	if (errno != ECANCELED) {
		perror("normal_page.ko");
		exit(1);
	}
	close(fd);
}

int main(void)
{
	struct granter g;
	struct xen_map m;
	size_t len = NR * xen_page_size();
	void *mem;

	xen_param_set("xen_gntalloc", "limit", 8192);
	if (granter_open(&g, GRANTER_LOCAL, NR, GNTALLOC_FLAG_WRITABLE) ||
	    xen_map(&m, g.domid, g.refs, NR, PROT_READ | PROT_WRITE)) {
		fprintf(stderr, "%s\n", g.why);
		return 1;
	}
	measure("grant", m.addr);
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return 1;
	memset(mem, 1, len);
	measure("memory", mem);
	xen_unmap(&m);
	granter_returned(&g);
	granter_close(&g);
	return 0;
}
