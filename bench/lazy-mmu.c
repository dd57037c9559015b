// SPDX-License-Identifier: GPL-2.0
/*
 * What changing many PTEs of a process costs: each is a hypercall in a PV
 * domain, unless the lazy MMU mode gathers them.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bench.h"

#define NR	8192
#define ROUNDS	5

int main(void)
{
	size_t len = NR * sysconf(_SC_PAGESIZE);
	unsigned int round;
	char *mem;
	pid_t pid;

	for (round = 0; round < ROUNDS; round++) {
		mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (mem == MAP_FAILED)
			return 1;
		madvise(mem, len, MADV_NOHUGEPAGE);
		memset(mem, 1, len);

		begin();
		mprotect(mem, len, PROT_READ);
		end("mprotect", NR);
		mprotect(mem, len, PROT_READ | PROT_WRITE);

		begin();
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			return 1;
		end("fork", NR);

		begin();
		munmap(mem, len);
		end("munmap", NR);
	}
	return 0;
}
