// SPDX-License-Identifier: GPL-2.0
/*
 * Frames of other domains, and of Xen, mapped through /dev/xen/privcmd: each
 * page shows its frame until the unmap.
 */

#include <signal.h>
#include <sys/wait.h>

#include "privcmd_map.h"

/* All numbers of frames, in one page table and across several. */
TEST_F(privcmd, sizes)
{
	const unsigned int sizes[] = { 1, 2, 15, 16, 17, 511, 512, 513, MAX };
	const unsigned int befores[] = { 0, 1, 5 };
	unsigned int i, j, nr;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		nr = sizes[i];
		for (j = 0; j < ARRAY_SIZE(befores); j++) {
			mapped(_metadata, self, nr, befores[j]);
			check_frames(_metadata, self, self->addr, nr,
				     self->frames, 1 + nr / 8);
			EXPECT_EQ(0, release(self, self->addr, nr));
		}
	}
}

/*
 * Reads the entries of @refs from the grant table of @domid, and their frames.
 * An entry has @size bytes: flags, domain, and the frame in the second half.
 */
static bool find_entries(privcmd_t *self, int domid, const uint32_t *refs,
			 unsigned int nr, unsigned int size)
{
	uint32_t last = 0, frames;
	unsigned int k;
	bool found;

	for (k = 0; k < nr; k++)
		last = last > refs[k] ? last : refs[k];
	frames = last * size / XEN_PAGE_SIZE + 1;
	self->addr = reserve(self, frames, 1);
	found = self->addr != MAP_FAILED &&
		!map_grant_table(self->fd, domid, self->addr, frames, 0);
	for (k = 0; found && k < nr; k++) {
		uint16_t *entry = self->addr + refs[k] * size;

		found = (entry[0] & GTF_type_mask) == GTF_permit_access &&
			entry[1] == xen_own_domid();
		self->frames[k] = size == 16 ? *(uint64_t *)(entry + 4) :
					       *(uint32_t *)(entry + 2);
	}
	release(self, self->addr, frames);
	return found;
}

/* The peer's grant table, as a resource, has the grant of the directory. */
TEST_F(privcmd, grant_table)
{
	uint32_t ref;
	int domid = xen_peer_domid(&ref);

	if (domid < 0)
		SKIP(return, "no XEN_PEER, whose grant table to map");
	EXPECT_TRUE(find_entries(self, domid, &ref, 1, 16) ||
		    find_entries(self, domid, &ref, 1, 8));
}

/* The frames behind the peer's grants show the data that the peer wrote. */
TEST_F(privcmd, peer_wrote)
{
	const unsigned int end = XEN_PAGE_SIZE / sizeof(uint64_t) - 1;
	static struct granter g;
	unsigned int k;
	int ret;

	ret = granter_open(&g, GRANTER_PEER, MAX, 0);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g.why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", g.why);
	ASSERT_TRUE(find_entries(self, g.domid, g.refs, MAX, 16) ||
		    find_entries(self, g.domid, g.refs, MAX, 8));
	self->domid = g.domid;
	mapped(_metadata, self, MAX, 300);
	for (k = 0; k < MAX; k++) {
		const uint64_t *words = self->addr + k * XEN_PAGE_SIZE;

		ASSERT_EQ(0, self->errs[k]);
		EXPECT_EQ(xen_share_pattern(k, 0), words[0]);
		EXPECT_EQ(xen_share_pattern(k, end), words[end]);
	}
	EXPECT_EQ(0, release(self, self->addr, MAX));
	EXPECT_EQ(0, granter_returned(&g));
	granter_close(&g);
}

/* mprotect() leaves the frames mapped. On PV it fails with EINVAL. */
TEST_F(privcmd, mprotect)
{
	bool pv = xen_guest_type() == XEN_GUEST_PV;
	const unsigned int nr = 20;
	size_t len = room(self, nr);

	mapped(_metadata, self, nr, 10);
	errno = 0;
	EXPECT_EQ(pv ? -1 : 0, mprotect(self->addr, len, PROT_NONE));
	EXPECT_EQ(pv ? EINVAL : 0, errno);
	EXPECT_EQ(pv ? 0 : SIGSEGV, xen_probe(self->addr, false));
	if (!pv)
		EXPECT_EQ(0, mprotect(self->addr, len, PROT_READ));
	EXPECT_TRUE(shows(self, self->addr, self->frames[0]));
	EXPECT_EQ(0, release(self, self->addr, nr));
}

/* A moved mapping keeps its frames until its unmap. */
TEST_F(privcmd, moved)
{
	const unsigned int nr = 20;
	void *to, *other;

	if (xen_guest_type() == XEN_GUEST_PV)
		SKIP(return, "Xen lets no PTE of another domain's frame be copied");
	to = reserve(self, nr, 3);
	ASSERT_NE(MAP_FAILED, to);
	mapped(_metadata, self, nr, 10);
	ASSERT_EQ(to, mremap(self->addr, room(self, nr), room(self, nr),
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	/* If the move had freed the pages, the next mapping would get them. */
	other = reserved(_metadata, self, nr, 5);
	ASSERT_EQ(0, batch(self, other, nr, self->frames + nr));
	check_frames(_metadata, self, to, nr, self->frames, 1);
	EXPECT_EQ(0, release(self, to, nr));
	check_frames(_metadata, self, other, nr, self->frames + nr, 1);
	EXPECT_EQ(0, release(self, other, nr));
}

/* After processes that mapped frames were killed, frames can be mapped again. */
TEST_F(privcmd, killed)
{
	int status, pipes[2];
	unsigned int round;
	pid_t pid;
	char byte;

	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, pipe(pipes));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			self->frames[7] = NO_FRAME;
			mapped(_metadata, self, MAX, 7);
			if (write(pipes[1], "", 1) == 1)
				pause();
			_exit(1);
		}
		close(pipes[1]);
		EXPECT_EQ(1, read(pipes[0], &byte, 1));
		close(pipes[0]);
		kill(pid, SIGKILL);
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	mapped(_metadata, self, MAX, 7);
	check_frames(_metadata, self, self->addr, MAX, self->frames, 40);
	EXPECT_EQ(0, release(self, self->addr, MAX));
}

XEN_TEST_MAIN(NULL)
