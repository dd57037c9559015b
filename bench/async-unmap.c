// SPDX-License-Identifier: GPL-2.0
/*
 * Has async_unmap.ko measure: "count", what is exact when instructions are
 * counted, or "time". Prints what part of a cpu a crowd takes, in 1/1000 of a
 * percent.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/syscall.h>

#define CROWD	100000

static void run(const char *what)
{
	int fd = open("/sys/module/async_unmap/parameters/run", O_WRONLY);

	if (fd < 0 || write(fd, what, strlen(what)) < 0) {
		perror(what);
		exit(1);
	}
	close(fd);
}

/* 1/100 s that the cpus were busy. */
static unsigned long busy(void)
{
	unsigned long user, nice, sys, irq, softirq;
	FILE *f = fopen("/proc/stat", "r");

	if (!f || fscanf(f, "cpu %lu %lu %lu %*u %*u %lu %lu", &user, &nice,
			 &sys, &irq, &softirq) != 5)
		exit(1);
	fclose(f);
	return user + nice + sys + irq + softirq;
}

static void cpu_percent(unsigned int n)
{
	unsigned long before, after;

	sleep(3);
	before = busy();
	sleep(20);
	after = busy();
	printf("async_unmap: cpu %u %lu 0\n", n, (after - before) * 1000 / 20);
}

int main(int argc, char **argv)
{
	char what[40];
	int fd = open("/async_unmap.ko", O_RDONLY);

	setvbuf(stdout, NULL, _IONBF, 0);
	if (syscall(SYS_finit_module, fd, "", 0)) {
		perror("async_unmap.ko");
		return 1;
	}
	if (argc > 1 && !strcmp(argv[1], "count")) {
		run("held");
		run("fast");
		return 0;
	}
	run("time 10");
	run("time 100");
	run("time 1000");
	run("time 5000");
	cpu_percent(0);
	snprintf(what, sizeof(what), "crowd %u", CROWD);
	run(what);
	cpu_percent(CROWD);
	run("time 10");
	run("release");
	return 0;
}
