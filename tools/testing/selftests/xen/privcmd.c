// SPDX-License-Identifier: GPL-2.0
/*
 * Frames of others, mapped through /dev/xen/privcmd: those of Xen's table of
 * machine addresses in a PV domain, elsewhere those of the domain of XEN_PEER.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "xen_privcmd.h"
#include "xen_share.h"
#include "xen_test.h"

#define MAX	1000			/* frames */
#define EXTENT	512			/* frames of an extent of the table */
#define NOBODY	0x10000000000ULL	/* a frame that is nowhere */

/**
 * FIXTURE(privcmd) - frames to map
 * @fd: /dev/xen/privcmd
 * @page: PAGE_SIZE
 * @domid: whose they are
 * @frames: they
 * @errs: what was said of each
 * @addr: where they were mapped
 * @one: where one was
 */
FIXTURE(privcmd) {
	int fd;
	size_t page;
	int domid;
	xen_pfn_t frames[MAX];
	int errs[MAX];
	void *addr;
	void *one;
};

static int batch(FIXTURE_DATA(privcmd) *self, void *addr, unsigned int nr,
		 const xen_pfn_t *frames, int *errs)
{
	struct privcmd_mmapbatch_v2 op = {
		.num = nr, .dom = self->domid, .addr = (uintptr_t)addr,
		.arr = frames, .err = errs,
	};

	memset(errs, 0x55, nr * sizeof(*errs));
	return ioctl(self->fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &op) ? -errno : 0;
}

/* The bytes of the pages that @nr frames take. */
static size_t room(FIXTURE_DATA(privcmd) *self, unsigned int nr)
{
	return (nr * XEN_PAGE_SIZE + self->page - 1) / self->page * self->page;
}

static int release(FIXTURE_DATA(privcmd) *self, void *addr, unsigned int nr)
{
	return munmap(addr, room(self, nr));
}

/*
 * A mapping for @nr frames that begins where @before frames take the rest of
 * the page table.
 */
static void *reserve(FIXTURE_DATA(privcmd) *self, unsigned int nr,
		     unsigned int before)
{
	size_t table = self->page * (self->page / 8), len = room(self, nr);
	uintptr_t addr;
	void *mem;

	mem = mmap(NULL, len + 2 * table, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return mem;
	addr = ((uintptr_t)mem + 2 * table - 1) / table * table;
	munmap(mem, len + 2 * table);
	return mmap((void *)(addr - room(self, before)), len, PROT_READ,
		    MAP_SHARED | MAP_FIXED, self->fd, 0);
}

/* The frames of Xen's table, which is in extents of 2 MB; -ERANGE: too few. */
static int find_table(FIXTURE_DATA(privcmd) *self)
{
	xen_pfn_t extents[1 + MAX / EXTENT] = {};
	struct xen_machphys_mfn_list list = {
		.max_extents = 1 + MAX / EXTENT, .extent_start = extents,
	};
	struct privcmd_hypercall call = {
		.op = HYPERVISOR_memory_op,
		.arg = { XENMEM_machphys_mfn_list, (uintptr_t)&list },
	};
	unsigned int i;

	if (ioctl(self->fd, IOCTL_PRIVCMD_HYPERCALL, &call))
		return -errno;
	if (list.nr_extents < 1 + MAX / EXTENT)
		return -ERANGE;
	for (i = 0; i < MAX; i++)
		self->frames[i] = extents[i / EXTENT] + i % EXTENT;
	self->domid = DOMID_XEN;
	return 0;
}

FIXTURE_SETUP(privcmd)
{
	const char *peer = getenv("XEN_PEER");
	unsigned int i;
	char why[160];
	uint32_t ref;
	int ret;

	self->addr = MAP_FAILED;
	self->one = MAP_FAILED;
	self->page = xen_page_size();
	self->fd = xen_open("privcmd", why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	if (xen_guest_type() == XEN_GUEST_PV) {
		ret = find_table(self);
		if (ret == -EPERM || ret == -EACCES)
			SKIP(return, "no hypercalls for this domain");
		if (ret == -ERANGE)
			SKIP(return, "Xen's table is too small: 1 GB of memory");
		ASSERT_EQ(0, ret);
	} else {
		if (!peer || xen_parse_peer(peer, &self->domid, &ref))
			SKIP(return, "no XEN_PEER, whose frames to map");
		for (i = 0; i < MAX; i++)
			self->frames[i] = XEN_GUEST_RAM + i;
	}
	self->one = reserve(self, 1, 0);
	ASSERT_NE(MAP_FAILED, self->one);
	ret = batch(self, self->one, 1, self->frames, self->errs);
	if (xen_own_domid())
		SKIP(return, "not dom0, which may map what it likes");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, self->errs[0]);
}

FIXTURE_TEARDOWN(privcmd)
{
	close(self->fd);
}

/* Whether @addr shows @frame, as another mapping of it does. */
static bool shows(FIXTURE_DATA(privcmd) *self, void *addr, xen_pfn_t frame)
{
	unsigned int tries;
	bool same = false;
	int err;

	release(self, self->one, 1);
	self->one = reserve(self, 1, 0);
	if (self->one == MAP_FAILED ||
	    batch(self, self->one, 1, &frame, &err) || err)
		return false;
	/* Its owner is alive. */
	for (tries = 0; tries < 10 && !same; tries++)
		same = !memcmp(addr, self->one, XEN_PAGE_SIZE);
	return same;
}

/* Every number of frames, in one page table and across several. */
TEST_F(privcmd, sizes)
{
	const unsigned int sizes[] = { 1, 2, 15, 16, 17, 511, 512, 513, MAX };
	const unsigned int befores[] = { 0, 1, 5 };
	unsigned int i, j, k, nr;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		nr = sizes[i];
		for (j = 0; j < ARRAY_SIZE(befores); j++) {
			self->addr = reserve(self, nr, befores[j]);
			ASSERT_NE(MAP_FAILED, self->addr);
			ASSERT_EQ(0, batch(self, self->addr, nr, self->frames,
					   self->errs));
			for (k = 0; k < nr; k++)
				EXPECT_EQ(0, self->errs[k]);
			for (k = 0; k < nr; k += 1 + nr / 8)
				EXPECT_TRUE(shows(self, self->addr +
						  k * XEN_PAGE_SIZE,
						  self->frames[k]));
			EXPECT_TRUE(shows(self,
					  self->addr + (nr - 1) * XEN_PAGE_SIZE,
					  self->frames[nr - 1]));
			EXPECT_EQ(0, release(self, self->addr, nr));
		}
	}
}

/* The function that allocates what a hypercall for many frames takes. */
static const char *alloc_function(void)
{
	return xen_guest_type() == XEN_GUEST_PV ? "alloc_mmu_updates" :
						  "alloc_batch";
}

/* Without memory for large batches all is mapped, too, in small ones. */
TEST_F(privcmd, no_memory)
{
	const unsigned int nr = 100;
	unsigned int k;
	int ret;

	ret = xen_fail(alloc_function(), "0", "-1");
	if (ret == -ENOENT)
		SKIP(return, "no CONFIG_FAIL_FUNCTION");
	if (ret)
		SKIP(return, "this kernel allocates nothing here");
	self->addr = reserve(self, nr, 30);
	EXPECT_NE(MAP_FAILED, self->addr);
	self->frames[50] = NOBODY;
	EXPECT_EQ(0, batch(self, self->addr, nr, self->frames, self->errs));
	xen_fail_end(alloc_function());
	for (k = 0; k < nr; k++) {
		EXPECT_EQ(k == 50, self->errs[k] != 0);
		if (k != 50)
			EXPECT_TRUE(shows(self, self->addr + k * XEN_PAGE_SIZE,
					  self->frames[k]));
	}
	EXPECT_EQ(0, release(self, self->addr, nr));
}

/*
 * The frames behind the peer's grants show what the peer has written there, all
 * of them in one call. Their numbers are in its grant table: an entry has 8
 * bytes or 16, and the frame in the second half.
 */
TEST_F(privcmd, peer_wrote)
{
	struct privcmd_mmap_resource op = {
		.type = XENMEM_resource_grant_table,
	};
	unsigned int size, k, wrong = 0;
	static struct granter g;
	uint32_t last = 0;
	int ret;

	ret = granter_open(&g, GRANTER_PEER, MAX, 0);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g.why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", g.why);
	for (k = 0; k < MAX; k++)
		last = last > g.refs[k] ? last : g.refs[k];
	op.dom = g.domid;
	for (size = 16; size >= 8; size /= 2) {
		op.num = last * size / XEN_PAGE_SIZE + 1;
		self->addr = reserve(self, op.num, 1);
		ASSERT_NE(MAP_FAILED, self->addr);
		op.addr = (uintptr_t)self->addr;
		ret = ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op);
		for (k = 0; !ret && k < MAX; k++) {
			uint16_t *entry = self->addr + g.refs[k] * size;

			if ((entry[0] & GTF_type_mask) != GTF_permit_access ||
			    entry[1] != xen_own_domid())
				break;
			if (size == 16)
				self->frames[k] = *(uint64_t *)(entry + 4);
			else
				self->frames[k] = *(uint32_t *)(entry + 2);
		}
		EXPECT_EQ(0, release(self, self->addr, op.num));
		if (!ret && k == MAX)
			break;
	}
	ASSERT_LE(8, size);

	self->domid = g.domid;
	self->addr = reserve(self, MAX, 300);
	ASSERT_NE(MAP_FAILED, self->addr);
	EXPECT_EQ(0, batch(self, self->addr, MAX, self->frames, self->errs));
	for (k = 0; k < MAX; k++) {
		const uint64_t *words = self->addr + k * XEN_PAGE_SIZE;
		const unsigned int end = XEN_PAGE_SIZE / sizeof(*words) - 1;

		ASSERT_EQ(0, self->errs[k]);
		wrong += words[0] != xen_share_pattern(k, 0) ||
			 words[end] != xen_share_pattern(k, end);
	}
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(0, release(self, self->addr, MAX));
	EXPECT_EQ(0, granter_returned(&g));
	granter_close(&g);
}

/* Frames that Xen does not unmap: their pages are lost, and counted. */
TEST_F(privcmd, unmap_refused)
{
	const unsigned int nr = 40, refused = 3;
	unsigned int before, after, lost, k;
	int ret;

	if (xen_guest_type() == XEN_GUEST_PV)
		SKIP(return, "a PV domain unmaps by its PTEs");
	lost = room(self, refused) / self->page;
	if (xen_param_get("xen", "foreign_pages_lost", &before))
		SKIP(return, "this kernel counts no lost pages");
	self->addr = reserve(self, nr, 10);
	ASSERT_NE(MAP_FAILED, self->addr);
	ASSERT_EQ(0, batch(self, self->addr, nr, self->frames, self->errs));

	ret = xen_fail("remove_status", "0xffffffffffffffea", "3" /* refused */);
	if (ret == -ENOENT)
		SKIP(return, "no CONFIG_FAIL_FUNCTION");
	ASSERT_EQ(0, ret);
	EXPECT_EQ(0, release(self, self->addr, nr));
	xen_fail_end("remove_status");
	ASSERT_EQ(0, xen_param_get("xen", "foreign_pages_lost", &after));
	EXPECT_EQ(lost, after - before);

	/* They are not used for anything else, the others are. */
	for (k = 0; k < 5; k++) {
		self->addr = reserve(self, nr, 10);
		ASSERT_NE(MAP_FAILED, self->addr);
		EXPECT_EQ(0, batch(self, self->addr, nr, self->frames,
				   self->errs));
		EXPECT_TRUE(shows(self, self->addr, self->frames[0]));
		EXPECT_EQ(0, release(self, self->addr, nr));
	}
	ASSERT_EQ(0, xen_param_get("xen", "foreign_pages_lost", &after));
	EXPECT_EQ(lost, after - before);
}

/* mprotect() of frames: PV refuses it with EINVAL. The frames stay mapped. */
TEST_F(privcmd, mprotect)
{
	const unsigned int nr = 20;
	bool pv = xen_guest_type() == XEN_GUEST_PV;
	size_t len = room(self, nr);

	self->addr = reserve(self, nr, 10);
	ASSERT_NE(MAP_FAILED, self->addr);
	ASSERT_EQ(0, batch(self, self->addr, nr, self->frames, self->errs));
	errno = 0;
	EXPECT_EQ(pv ? -1 : 0, mprotect(self->addr, len, PROT_NONE));
	EXPECT_EQ(pv ? EINVAL : 0, errno);
	EXPECT_EQ(pv ? 0 : SIGSEGV, xen_probe(self->addr, false));
	if (!pv)
		EXPECT_EQ(0, mprotect(self->addr, len, PROT_READ));
	EXPECT_TRUE(shows(self, self->addr, self->frames[0]));
	EXPECT_EQ(0, release(self, self->addr, nr));
}

/* IOCTL_PRIVCMD_MMAP of memory that is not privcmd's: EINVAL. */
TEST_F(privcmd, old_call_elsewhere)
{
	struct privcmd_mmap_entry entry = {
		.mfn = self->frames[0], .npages = 1,
	};
	struct privcmd_mmap op = {
		.num = 1, .dom = self->domid, .entry = &entry,
	};
	uint64_t *mem;

	if (xen_guest_type() != XEN_GUEST_PV)
		SKIP(return, "PV domains only have this call");
	mem = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	*mem = 0x600d;
	entry.va = (uintptr_t)mem;
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_PRIVCMD_MMAP, &op));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0x600d, *mem);
	EXPECT_EQ(0, munmap(mem, self->page));
}

/* Where the mapping is moved the frames are, until it is given up there. */
TEST_F(privcmd, moved)
{
	const unsigned int nr = 20;
	void *to, *other;
	unsigned int k;

	if (xen_guest_type() == XEN_GUEST_PV)
		SKIP(return, "Xen lets no PTE of another domain's frame be copied");
	self->addr = reserve(self, nr, 10);
	ASSERT_NE(MAP_FAILED, self->addr);
	ASSERT_EQ(0, batch(self, self->addr, nr, self->frames, self->errs));
	to = reserve(self, nr, 3);
	ASSERT_NE(MAP_FAILED, to);
	ASSERT_EQ(to, mremap(self->addr, room(self, nr), room(self, nr),
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	/* What would be reused if it were freed. */
	other = reserve(self, nr, 5);
	ASSERT_NE(MAP_FAILED, other);
	ASSERT_EQ(0, batch(self, other, nr, self->frames + nr, self->errs));
	for (k = 0; k < nr; k++)
		EXPECT_TRUE(shows(self, to + k * XEN_PAGE_SIZE, self->frames[k]));
	EXPECT_EQ(0, release(self, to, nr));
	for (k = 0; k < nr; k++)
		EXPECT_TRUE(shows(self, other + k * XEN_PAGE_SIZE,
				  self->frames[nr + k]));
	EXPECT_EQ(0, release(self, other, nr));
}

/* A mapping that is mapped in parts, after there was no page table for it. */
TEST_F(privcmd, parts)
{
	const unsigned int nr = 32, half = nr / 2;	/* whole pages */
	unsigned int k;
	int ret;

	if (xen_guest_type() == XEN_GUEST_PV)
		SKIP(return, "there are no pages behind a PV domain's PTEs");
	self->addr = reserve(self, nr, 10);
	ASSERT_NE(MAP_FAILED, self->addr);
	ret = xen_fail("fill_in_ptes", "0xfffffffffffffff4" /* -ENOMEM */, "1");
	if (ret == -ENOENT)
		SKIP(return, "no CONFIG_FAIL_FUNCTION");
	if (ret)
		SKIP(return, "this kernel takes no injected errors here");
	batch(self, self->addr, nr, self->frames, self->errs);
	xen_fail_end("fill_in_ptes");
	for (k = 0; k < nr; k++)
		EXPECT_EQ(-ENOMEM, self->errs[k]);
	/* The second part first. */
	EXPECT_EQ(0, batch(self, self->addr + half * XEN_PAGE_SIZE, half,
			   self->frames + half, self->errs));
	EXPECT_EQ(0, batch(self, self->addr, half, self->frames, self->errs));
	for (k = 0; k < nr; k++)
		EXPECT_TRUE(shows(self, self->addr + k * XEN_PAGE_SIZE,
				  self->frames[k]));
	EXPECT_EQ(0, release(self, self->addr, nr));
}

/* The ioctl says that a frame is paged out, whichever of the frames that is. */
TEST_F(privcmd, paged_out)
{
	const unsigned int nr = EXTENT + 40;
	unsigned int k;
	int ret;

	if (xen_guest_type() == XEN_GUEST_PV)
		SKIP(return, "no errors are injected into a PV domain's hypercall");
	self->addr = reserve(self, nr, 10);
	ASSERT_NE(MAP_FAILED, self->addr);
	ret = xen_fail("map_frames", "0xfffffffffffffffe" /* -ENOENT */, "1");
	if (ret == -ENOENT)
		SKIP(return, "no CONFIG_FAIL_FUNCTION");
	if (ret)
		SKIP(return, "this kernel takes no injected errors here");
	ret = batch(self, self->addr, nr, self->frames, self->errs);
	xen_fail_end("map_frames");
	EXPECT_EQ(-ENOENT, ret);
	for (k = 0; k < nr; k++)
		EXPECT_EQ(k < EXTENT ? -ENOENT : 0, self->errs[k]);
	EXPECT_EQ(0, release(self, self->addr, nr));
}

/* A process that is killed leaves nothing mapped, and loses no page. */
TEST_F(privcmd, killed)
{
	unsigned int before = 0, after = 0, round;
	int status, pipes[2];
	pid_t pid;
	char byte;

	xen_param_get("xen", "foreign_pages_lost", &before);
	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, pipe(pipes));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			self->frames[7] = NOBODY;
			self->addr = reserve(self, MAX, 7);
			if (self->addr != MAP_FAILED &&
			    !batch(self, self->addr, MAX, self->frames,
				   self->errs) &&
			    write(pipes[1], "", 1) == 1)
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
	xen_param_get("xen", "foreign_pages_lost", &after);
	EXPECT_EQ(before, after);
}

/* Frames that can't be mapped: so it is said of each, and of no other. */
TEST_F_TIMEOUT(privcmd, bad_frames, 400)
{
	const unsigned int sizes[] = { 5, 40, 512, 530 };
	unsigned int i, k, nr, which, bad;
	xen_pfn_t frames[MAX];

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		nr = sizes[i];
		/* First, middle, last, all of these, two neighbours, all. */
		for (which = 0; which < 6; which++) {
			for (k = 0, bad = 0; k < nr; k++) {
				bool is_bad = which == 5 ||
					(k == 0 && (which == 0 || which == 3)) ||
					(k == nr / 2 && (which == 1 || which >= 3)) ||
					(k == nr / 2 + 1 && which == 4) ||
					(k == nr - 1 && (which == 2 || which == 3));

				frames[k] = is_bad ? NOBODY + k : self->frames[k];
				bad += is_bad;
			}
			self->addr = reserve(self, nr, 3);
			ASSERT_NE(MAP_FAILED, self->addr);
			EXPECT_EQ(0, batch(self, self->addr, nr, frames,
					   self->errs));
			for (k = 0; k < nr; k++) {
				EXPECT_EQ(frames[k] >= NOBODY,
					  self->errs[k] != 0);
				/* Elsewhere there is a PTE, of an empty page. */
				if (xen_guest_type() == XEN_GUEST_PV)
					EXPECT_EQ(frames[k] >= NOBODY ? SIGBUS : 0,
						  xen_probe(self->addr +
							    k * XEN_PAGE_SIZE,
							    false));
				bad -= self->errs[k] != 0;
			}
			EXPECT_EQ(0, bad);
			k = nr / 2 - 1;
			if (which < 5)
				EXPECT_TRUE(shows(self, self->addr +
						  k * XEN_PAGE_SIZE,
						  self->frames[k]));
			EXPECT_EQ(0, release(self, self->addr, nr));
		}
	}
}

/* What failed may be mapped later, what did not must not be mapped over. */
TEST_F(privcmd, again)
{
	const unsigned int nr = 20, hole = 9;
	xen_pfn_t good = self->frames[hole];

	if (xen_guest_type() != XEN_GUEST_PV)
		SKIP(return, "what failed has a PTE on an auto-translated domain");
	self->addr = reserve(self, nr, 10);
	ASSERT_NE(MAP_FAILED, self->addr);
	self->frames[hole] = NOBODY;
	ASSERT_EQ(0, batch(self, self->addr, nr, self->frames, self->errs));
	EXPECT_NE(0, self->errs[hole]);
	EXPECT_EQ(-EINVAL, batch(self, self->addr, nr, self->frames,
				 self->errs));
	/* The second is mapped, and in the next page table. */
	EXPECT_EQ(-EINVAL, batch(self, self->addr + hole * self->page, 2,
				 self->frames, self->errs));
	EXPECT_EQ(-EINVAL, batch(self, self->addr + hole * self->page + 8, 1,
				 &good, self->errs));
	EXPECT_EQ(0, batch(self, self->addr + hole * self->page, 1, &good,
			   self->errs));
	EXPECT_EQ(0, self->errs[0]);
	EXPECT_TRUE(shows(self, self->addr + hole * self->page, good));
	EXPECT_EQ(0, release(self, self->addr, nr));
}

/* The peer's grant table, as a resource, has the grant that we know of. */
TEST_F(privcmd, grant_table)
{
	struct privcmd_mmap_resource op = {
		.type = XENMEM_resource_grant_table, .num = 1,
	};
	const char *peer = getenv("XEN_PEER");
	const uint16_t *entry;
	unsigned int size;
	bool found = false;
	uint32_t ref;
	int domid;

	if (!peer || xen_parse_peer(peer, &domid, &ref))
		SKIP(return, "no XEN_PEER, whose grant table to map");
	op.dom = domid;
	/* An entry has 8 bytes, or 16, and begins with flags and domid. */
	for (size = 8; size <= 16; size += 8) {
		self->addr = reserve(self, op.num, 1);
		ASSERT_NE(MAP_FAILED, self->addr);
		op.addr = (uintptr_t)self->addr;
		op.idx = ref * size / XEN_PAGE_SIZE;
		if (!ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op)) {
			entry = self->addr + ref * size % XEN_PAGE_SIZE;
			found |= (entry[0] & GTF_type_mask) == GTF_permit_access &&
				 entry[1] == xen_own_domid();
		}
		EXPECT_EQ(0, release(self, self->addr, op.num));
	}
	EXPECT_TRUE(found);
}

/* A resource is mapped where there is room for it, at the start of a page. */
TEST_F(privcmd, resource_bounds)
{
	struct privcmd_mmap_resource op = {
		.type = XENMEM_resource_grant_table, .num = 1,
	};
	const unsigned int page = self->page / XEN_PAGE_SIZE;	/* frames */
	const char *peer = getenv("XEN_PEER");
	uint32_t ref;
	int domid;

	if (!peer || xen_parse_peer(peer, &domid, &ref))
		SKIP(return, "no XEN_PEER, whose grant table to map");
	op.dom = domid;
	/* The address space below is ours, and empty. */
	self->addr = reserve(self, 1, 5);
	ASSERT_NE(MAP_FAILED, self->addr);

	op.addr = (uintptr_t)self->addr - self->page;
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op));
	EXPECT_EQ(EINVAL, errno);
	op.addr = (uintptr_t)self->addr + 8;
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op));
	EXPECT_EQ(EINVAL, errno);
	op.addr = (uintptr_t)self->addr;
	op.num = page + 1;
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op));
	EXPECT_EQ(EINVAL, errno);

	/* One that Xen does not have leaves the mapping as it was. */
	op.num = 1;
	op.idx = 1 << 20;
	EXPECT_EQ(-1, ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op));
	EXPECT_EQ(EINVAL, errno);

	op.idx = 0;
	EXPECT_EQ(0, ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op));
	if (xen_guest_type() != XEN_GUEST_PV) {
		/* Its pages are in use. */
		EXPECT_EQ(-1, ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(0, release(self, self->addr, 1));
		/* Each page of the mapping is to have one. */
		self->addr = reserve(self, 3 * page, 1);
		ASSERT_NE(MAP_FAILED, self->addr);
		op.addr = (uintptr_t)self->addr;
		EXPECT_EQ(-1, ioctl(self->fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(0, release(self, self->addr, 3 * page));
		return;
	}
	EXPECT_EQ(0, release(self, self->addr, 1));
}

/**
 * FIXTURE(privcmd_counts) - counts that are larger than an int
 * @p: as for the other tests
 * @len: bytes of the mapping
 * @errs: a page for what is said of the frames
 * @array: a page of frames, with nothing behind it
 */
FIXTURE(privcmd_counts) {
	FIXTURE_DATA(privcmd) p;
	size_t len;
	int *errs;
	xen_pfn_t *array;
};

FIXTURE_VARIANT(privcmd_counts) {
	bool large;
};

FIXTURE_VARIANT_ADD(privcmd_counts, page) { .large = false };
FIXTURE_VARIANT_ADD(privcmd_counts, large) { .large = true };

#define LARGE_ADDR	((void *)(1UL << 40))
#define LARGE_LEN	(8UL << 40)	/* INT_MAX + 1 pages of 4 KB */
#define ARRAYS_ADDR	((void *)(1UL << 39))

static const uint64_t counts[] = {
	0, 1, INT_MAX, INT_MAX + 1UL, UINT_MAX, UINT_MAX + 1UL, UINT_MAX + 2UL,
	LONG_MAX >> 12, LONG_MAX, LONG_MAX + 1UL, ULONG_MAX,
};

/* A mapping without frames. */
static void *new_mapping(FIXTURE_DATA(privcmd_counts) *self)
{
	bool large = self->len == LARGE_LEN;

	return mmap(large ? LARGE_ADDR : NULL, self->len, PROT_READ,
		    MAP_SHARED | (large ? MAP_FIXED : 0), self->p.fd, 0);
}

FIXTURE_SETUP(privcmd_counts)
{
	size_t page = xen_page_size();
	char why[160];

	self->p.one = MAP_FAILED;
	self->p.page = page;
	self->len = variant->large ? LARGE_LEN : page;
	self->p.fd = xen_open("privcmd", why, sizeof(why));
	if (self->p.fd < 0)
		SKIP(return, "%s", why);
	if (xen_own_domid())
		SKIP(return, "not dom0, which may map what it likes");
	/* Arrays of 4G elements there do not reach the kernel's addresses. */
	self->errs = mmap(ARRAYS_ADDR, 2 * page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (self->errs == MAP_FAILED)
		SKIP(return, "no address space for such arrays");
	self->array = (void *)self->errs + page;
	if (xen_guest_type() == XEN_GUEST_PV) {
		ASSERT_EQ(0, find_table(&self->p));
	} else {
		const char *peer = getenv("XEN_PEER");
		uint32_t ref;

		if (!peer || xen_parse_peer(peer, &self->p.domid, &ref))
			SKIP(return, "no XEN_PEER, whose frames to map");
		self->p.frames[0] = XEN_GUEST_RAM;
	}
	self->array[0] = self->p.frames[0];
	self->p.addr = new_mapping(self);
	if (self->p.addr == MAP_FAILED)
		SKIP(return, "no address space for such a mapping");
}

FIXTURE_TEARDOWN(privcmd_counts)
{
	munmap(self->p.addr, self->len);
	close(self->p.fd);
}

static int mmap_range(FIXTURE_DATA(privcmd_counts) *self, int num,
		      uint64_t npages)
{
	struct privcmd_mmap_entry entry = {
		.va = (uintptr_t)self->p.addr, .mfn = self->p.frames[0],
		.npages = npages,
	};
	struct privcmd_mmap op = {
		.num = num, .dom = self->p.domid, .entry = &entry,
	};

	return ioctl(self->p.fd, IOCTL_PRIVCMD_MMAP, &op) ? -errno : 0;
}

/* A count that is refused maps nothing, and the next call can map there. */
TEST_F(privcmd_counts, mmap)
{
	unsigned int i;
	int ret;

	if (xen_guest_type() != XEN_GUEST_PV) {
		EXPECT_EQ(-ENOSYS, mmap_range(self, 1, INT_MAX + 1UL));
		SKIP(return, "only a PV domain has IOCTL_PRIVCMD_MMAP");
	}
	EXPECT_EQ(-EINVAL, mmap_range(self, -1, 1));
	EXPECT_EQ(-EINVAL, mmap_range(self, INT_MIN, 1));
	EXPECT_EQ(SIGBUS, xen_probe(self->p.addr, false));
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		ret = mmap_range(self, 1, counts[i]);
		if (counts[i] <= 1) {
			EXPECT_EQ(0, ret);
			EXPECT_EQ(counts[i] ? 0 : SIGBUS,
				  xen_probe(self->p.addr, false));
		} else if (counts[i] == INT_MAX && variant->large) {
			/* Xen has not as many frames in a row. */
			EXPECT_GT(0, ret);
		} else {
			EXPECT_EQ(-EINVAL, ret)
				TH_LOG("%#llx pages",
				       (unsigned long long)counts[i]);
			EXPECT_EQ(SIGBUS, xen_probe(self->p.addr, false));
			EXPECT_EQ(0, mmap_range(self, 1, 1));
			EXPECT_EQ(0, xen_probe(self->p.addr, false));
		}
		ASSERT_EQ(0, munmap(self->p.addr, self->len));
		self->p.addr = new_mapping(self);
		ASSERT_NE(MAP_FAILED, self->p.addr);
	}
}

static int map_batch(FIXTURE_DATA(privcmd_counts) *self, int version,
		     uint32_t num, int *errs)
{
	struct privcmd_mmapbatch v1 = {
		.num = num, .dom = self->p.domid,
		.addr = (uintptr_t)self->p.addr, .arr = self->array,
	};
	struct privcmd_mmapbatch_v2 v2 = {
		.num = num, .dom = self->p.domid,
		.addr = (uintptr_t)self->p.addr, .arr = self->array,
		.err = errs,
	};
	int ret;

	if (version == 1)
		ret = ioctl(self->p.fd, IOCTL_PRIVCMD_MMAPBATCH, &v1);
	else
		ret = ioctl(self->p.fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &v2);
	return ret ? -errno : 0;
}

/* As there, and no status is written. */
TEST_F(privcmd_counts, batch)
{
	int version, ret, *errs = self->errs;
	unsigned int i;

	for (version = 1; version <= 2; version++) {
		for (i = 0; i < ARRAY_SIZE(counts); i++) {
			if (counts[i] > UINT_MAX)
				continue;
			memset(errs, 0x55, self->p.page);
			ret = map_batch(self, version, counts[i], errs);
			if (counts[i] == 1) {
				EXPECT_EQ(variant->large ? -EINVAL : 0, ret);
			} else {
				/* The array is shorter than INT_MAX. */
				EXPECT_EQ(counts[i] == INT_MAX &&
					  self->p.page == XEN_PAGE_SIZE ?
					  -EFAULT : -EINVAL, ret)
					TH_LOG("v%d, %#llx frames", version,
					       (unsigned long long)counts[i]);
				EXPECT_EQ(0x55555555, errs[0]);
				EXPECT_EQ(0x55555555, errs[1]);
				EXPECT_EQ(SIGBUS, xen_probe(self->p.addr, false));
				if (!variant->large) {
					EXPECT_EQ(0, map_batch(self, version, 1,
							       errs));
					EXPECT_EQ(0, xen_probe(self->p.addr,
							       false));
				}
			}
			ASSERT_EQ(0, munmap(self->p.addr, self->len));
			self->p.addr = new_mapping(self);
			ASSERT_NE(MAP_FAILED, self->p.addr);
		}
	}
}

/* As there, with frames of the peer's grant table. */
TEST_F(privcmd_counts, resource)
{
	struct privcmd_mmap_resource op = {
		.type = XENMEM_resource_grant_table,
		.addr = (uintptr_t)self->p.addr,
	};
	const char *peer = getenv("XEN_PEER");
	unsigned int i;
	uint32_t ref;
	int domid;

	if (!peer || xen_parse_peer(peer, &domid, &ref))
		SKIP(return, "no XEN_PEER, whose grant table to map");
	op.dom = domid;
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		int error = EINVAL;

		if (counts[i] == 1)
			continue;
		/* The kernel has no memory for the numbers of so many frames. */
		if (counts[i] == INT_MAX && variant->large &&
		    (xen_guest_type() == XEN_GUEST_PV ||
		     self->p.page > XEN_PAGE_SIZE))
			error = ENOMEM;
		op.num = counts[i];
		EXPECT_EQ(-1, ioctl(self->p.fd, IOCTL_PRIVCMD_MMAP_RESOURCE,
				    &op));
		EXPECT_EQ(error, errno)
			TH_LOG("%#llx frames", (unsigned long long)counts[i]);
		EXPECT_EQ(SIGBUS, xen_probe(self->p.addr, false));
	}
	op.num = 1;
	if (variant->large && xen_guest_type() != XEN_GUEST_PV) {
		EXPECT_EQ(-1, ioctl(self->p.fd, IOCTL_PRIVCMD_MMAP_RESOURCE,
				    &op));
		EXPECT_EQ(EINVAL, errno);
		return;
	}
	EXPECT_EQ(0, ioctl(self->p.fd, IOCTL_PRIVCMD_MMAP_RESOURCE, &op));
	EXPECT_EQ(0, xen_probe(self->p.addr, false));
}

/* A hypercall buffer that can't be: an error, and no report of the kernel. */
TEST(hypercall_buffer)
{
	const size_t large = 3UL << 30;
	size_t page = xen_page_size();
	char why[160];
	void *mem;
	int fd, kmsg;

	fd = xen_open("hypercall", why, sizeof(why));
	if (fd < 0)
		SKIP(return, "%s", why);
	kmsg = xen_kmsg_open();
	ASSERT_LE(0, kmsg);
	/* The list of its pages has 8 bytes for each, in one piece. */
	if (page == XEN_PAGE_SIZE) {
		mem = mmap(NULL, large, PROT_READ, MAP_SHARED, fd, 0);
		EXPECT_EQ(MAP_FAILED, mem);
		EXPECT_EQ(ENOMEM, errno);
	}
	mem = mmap(NULL, 1UL << 44, PROT_READ, MAP_SHARED, fd, 0);
	EXPECT_EQ(MAP_FAILED, mem);
	EXPECT_EQ(ENOMEM, errno);
	mem = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	EXPECT_EQ(0, xen_probe(mem + 2 * page, true));
	EXPECT_EQ(0, munmap(mem, 3 * page));
	close(fd);
	EXPECT_EQ(0, xen_kmsg_reports(kmsg));
}

XEN_TEST_MAIN(NULL)
