// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to map grants with gntdev and to give them up, when nobody else
 * uses the pages. Run with vm/run --icount: a nanosecond is an instruction.
 *
 * Prints a line for each sample: case, number of pages, value.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>

#include "xen_test.h"

#define ROUNDS	15

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void sample(const char *name, unsigned int nr, uint64_t start)
{
	printf("%s %u %llu\n", name, nr, (unsigned long long)(now() - start));
}

static void round_of(unsigned int nr)
{
	struct granter g;
	struct xen_map m;
	uint64_t start;

	if (granter_open(&g, GRANTER_LOCAL, nr, GNTALLOC_FLAG_WRITABLE)) {
		fprintf(stderr, "%s\n", g.why);
		exit(1);
	}
	start = now();
	if (xen_map(&m, g.domid, g.refs, nr, PROT_READ | PROT_WRITE))
		exit(1);
	sample("map", nr, start);
	start = now();
	munmap(m.addr, xen_map_len(&m));
	sample("munmap", nr, start);
	start = now();
	gntdev_unmap(m.fd, m.index, nr);
	close(m.fd);
	sample("close", nr, start);
	granter_returned(&g);
	granter_close(&g);
}

int main(void)
{
	static const unsigned int counts[] = { 1, 32, 512 };
	unsigned int i, round;

	xen_gntalloc_room(8192);
	for (i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		for (round = 0; round < ROUNDS; round++)
			round_of(counts[i]);
	return 0;
}
