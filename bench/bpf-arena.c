// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to create and to free a BPF arena with 16 and 8192 pages in use,
 * for the page tables of its 4 GiB.  It is freed by a kworker, between a kprobe
 * and a kretprobe, whose time stamps are microseconds: 1000 instructions.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "bench.h"

#define ROUNDS	7
#define TRACING	"/sys/kernel/debug/tracing/"

static void put(const char *name, const char *text)
{
	FILE *f = fopen(name, "we");

	if (!f || fputs(text, f) < 0 || fclose(f)) {
		perror(name);
		exit(1);
	}
}

/* When @event was, if @line is it, in seconds; else @old. */
static double stamp(char *line, const char *event, double old)
{
	char *end = strstr(line, event), *start;

	if (!end)
		return old;
	*end = 0;
	start = strrchr(line, ' ');
	return start ? strtod(start, NULL) : old;
}

/* The nanoseconds that the last arena_map_free() took, once it is over. */
static unsigned long long time_to_free(void)
{
	double from = 0, to = 0;
	char line[256];
	int tries;
	FILE *f;

	for (tries = 0; tries < 100; tries++) {
		usleep(100000);
		f = fopen(TRACING "trace", "re");
		while (f && fgets(line, sizeof(line), f)) {
			from = stamp(line, ": free: ", from);
			to = stamp(line, ": freed: ", to);
		}
		if (f)
			fclose(f);
		if (to) {
			put(TRACING "trace", "");
			return (to - from) * 1e9;
		}
	}
	fprintf(stderr, "bpf-arena: the arena is not freed\n");
	exit(1);
}

int main(void)
{
	static const unsigned int counts[] = { 16, 8192 };
	size_t page = sysconf(_SC_PAGESIZE), k;
	unsigned int i, nr, round;
	char *mem;
	int fd;

	put(TRACING "trace_clock", "mono");
	put(TRACING "kprobe_events",
	    "p:free arena_map_free\nr:freed arena_map_free\n");
	put(TRACING "events/kprobes/enable", "1");

	for (i = 0; i < 2; i++) {
		nr = counts[i];
		for (round = 0; round < ROUNDS; round++) {
			union bpf_attr attr = {
				.map_type = BPF_MAP_TYPE_ARENA,
				.max_entries = nr,
				.map_flags = BPF_F_MMAPABLE,
			};

			begin();
			fd = syscall(SYS_bpf, BPF_MAP_CREATE, &attr,
				     sizeof(attr));
			if (fd < 0) {
				perror("bpf-arena: BPF_MAP_CREATE");
				return 1;
			}
			end("create", nr);
			mem = mmap(NULL, nr * page, PROT_READ | PROT_WRITE,
				   MAP_SHARED, fd, 0);
			if (mem == MAP_FAILED) {
				perror("bpf-arena: mmap");
				return 1;
			}
			for (k = 0; k < nr; k++)
				mem[k * page] = 1;
			munmap(mem, nr * page);
			begin();
			close(fd);
			bench_mark();
			printf("free %u %llu 0\n", nr, time_to_free());
		}
	}
	return 0;
}
