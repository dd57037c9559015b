/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A part of the benchmark: begin(), what is to be measured, end(). Prints a line
 * for each: case, number of pages, nanoseconds, which with vm/run --icount are
 * instructions, and the hits of the kprobes so far. The hypercalls in between are
 * counted by hypercalls.c, which knows begin and end by a hypercall that Xen does
 * not have; where Xen traces no hypercalls, on Arm, by a kprobe.
 */
#ifndef BENCH_H
#define BENCH_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "xen_privcmd.h"

#define BENCH_MARK	38	/* tmem_op of old */

static uint64_t bench_start;
static unsigned long bench_hits_before;

static inline uint64_t bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static inline void bench_mark(void)
{
	static int fd = -1;
	struct privcmd_hypercall call = { .op = BENCH_MARK };

	if (fd < 0)
		fd = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
	ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call);
}

/* The hits of all kprobes; 0 if there are none. */
static inline unsigned long bench_hits(void)
{
	FILE *f = fopen("/sys/kernel/debug/tracing/kprobe_profile", "re");
	unsigned long hits, all = 0;

	while (f && fscanf(f, "%*s %lu %*u", &hits) == 1)
		all += hits;
	if (f)
		fclose(f);
	return all;
}

static inline void begin(void)
{
	bench_hits_before = bench_hits();
	bench_mark();
	bench_start = bench_now();
}

static inline void end(const char *name, unsigned int nr)
{
	uint64_t ns = bench_now() - bench_start;

	bench_mark();
	printf("%s %u %llu %lu\n", name, nr, (unsigned long long)ns,
	       bench_hits() - bench_hits_before);
}

#endif
