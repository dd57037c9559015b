// SPDX-License-Identifier: GPL-2.0
/*
 * hypercalls OP: reads what xentrace writes of a domain and prints, for each pair
 * of marks (see bench.h), the number of hypercalls between them and how many of
 * these were OP. Fails if Xen lost records.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define TRC_LOST_RECORDS	0x0001f001
#define TRC_PV_HYPERCALL_V2	0x0020100d
#define TRC_HVM_VMMCALL		0x00082012

int main(int argc, char **argv)
{
	unsigned long wanted = argc == 2 ? strtoul(argv[1], NULL, 10) : -1ul;
	unsigned long calls = 0, found = 0;
	uint32_t head, data[2 + 7];
	unsigned int op, extra;
	int counting = 0;

	while (fread(&head, sizeof(head), 1, stdin) == 1) {
		/* A time stamp, if the top bit says so, and up to 7 words. */
		extra = (head >> 28 & 7) + 2 * (head >> 31);
		if (extra && fread(data, sizeof(*data), extra, stdin) != extra)
			break;
		if ((head & 0xfffffff) == TRC_LOST_RECORDS) {
			fprintf(stderr, "hypercalls: Xen lost records\n");
			return 1;
		}
		if ((head & 0xfffffff) != TRC_PV_HYPERCALL_V2 &&
		    (head & 0xfffffff) != TRC_HVM_VMMCALL)
			continue;
		op = data[2 * (head >> 31)] & 0xfffff;
		if (op != BENCH_MARK) {
			calls++;
			found += op == wanted;
			continue;
		}
		if (counting)
			printf("%lu %lu\n", calls, found);
		counting = !counting;
		calls = 0;
		found = 0;
	}
	return counting;
}
