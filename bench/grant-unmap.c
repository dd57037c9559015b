// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to map grants with gntdev and to give them up, when nobody else
 * uses the pages.
 */

#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>

#include "bench.h"
#include "xen_test.h"

#define ROUNDS	15

static void round_of(unsigned int nr)
{
	struct granter g;
	struct xen_map m;

	if (granter_open(&g, GRANTER_LOCAL, nr, GNTALLOC_FLAG_WRITABLE)) {
		fprintf(stderr, "%s\n", g.why);
		exit(1);
	}
	begin();
	if (xen_map(&m, g.domid, g.refs, nr, PROT_READ | PROT_WRITE))
		exit(1);
	end("map", nr);
	begin();
	munmap(m.addr, xen_map_len(&m));
	end("munmap", nr);
	begin();
	gntdev_unmap(m.fd, m.index, nr);
	close(m.fd);
	end("close", nr);
	granter_returned(&g);
	granter_close(&g);
}

int main(void)
{
	static const unsigned int counts[] = { 1, 32, 512 };
	unsigned int i, round;

	xen_param_set("xen_gntalloc", "limit", 8192);
	for (i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		for (round = 0; round < ROUNDS; round++)
			round_of(counts[i]);
	return 0;
}
