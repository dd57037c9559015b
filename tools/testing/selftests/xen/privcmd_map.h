/* SPDX-License-Identifier: GPL-2.0 */
/* The fixture of the tests that map frames through /dev/xen/privcmd. */
#ifndef SELFTEST_XEN_PRIVCMD_MAP_H
#define SELFTEST_XEN_PRIVCMD_MAP_H

#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "xen_privcmd.h"

#define MAX	1000			/* frames */

/**
 * FIXTURE(privcmd) - frames to map
 * @fd: /dev/xen/privcmd
 * @page: PAGE_SIZE
 * @domid: the owner of the frames
 * @frames: their numbers
 * @errs: the status of each frame after batch()
 * @addr: the mapping
 * @one: a second mapping, of one frame, to compare with
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

#define privcmd_t FIXTURE_DATA(privcmd)

static inline int batch(privcmd_t *self, void *addr, unsigned int nr,
			const xen_pfn_t *frames)
{
	memset(self->errs, 0x55, sizeof(self->errs));
	return privcmd_batch(self->fd, self->domid, addr, nr, frames,
			     self->errs);
}

/* The bytes of the pages that hold @nr frames. */
static inline size_t room(privcmd_t *self, unsigned int nr)
{
	return (nr * XEN_PAGE_SIZE + self->page - 1) / self->page * self->page;
}

/* Creates a mapping that begins @before frames below the end of a page table. */
static inline void *reserve(privcmd_t *self, unsigned int nr,
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

static inline void *reserved(struct __test_metadata *_metadata, privcmd_t *self,
			     unsigned int nr, unsigned int before)
{
	self->addr = reserve(self, nr, before);
	ASSERT_NE(MAP_FAILED, self->addr);
	return self->addr;
}

/* A mapping of the first @nr frames. */
static inline void *mapped(struct __test_metadata *_metadata, privcmd_t *self,
			   unsigned int nr, unsigned int before)
{
	reserved(_metadata, self, nr, before);
	ASSERT_EQ(0, batch(self, self->addr, nr, self->frames));
	return self->addr;
}

static inline int release(privcmd_t *self, void *addr, unsigned int nr)
{
	return munmap(addr, room(self, nr));
}

/* Does @addr show @frame, as a second mapping of the frame does? */
static inline bool shows(privcmd_t *self, void *addr, xen_pfn_t frame)
{
	unsigned int tries;
	bool same = false;
	int err;

	if (self->one != MAP_FAILED)
		release(self, self->one, 1);
	self->one = reserve(self, 1, 0);
	if (self->one == MAP_FAILED ||
	    privcmd_batch(self->fd, self->domid, self->one, 1, &frame, &err) ||
	    err)
		return false;
	/* The owner may write to the frame at the same time. */
	for (tries = 0; tries < 10 && !same; tries++)
		same = !memcmp(addr, self->one, XEN_PAGE_SIZE);
	return same;
}

/* Each frame but those from NO_FRAME on is mapped, and has no error. */
static inline void check_frames(struct __test_metadata *_metadata,
				privcmd_t *self, void *addr, unsigned int nr,
				const xen_pfn_t *frames, unsigned int step)
{
	unsigned int k;

	for (k = 0; k < nr; k++) {
		EXPECT_EQ(frames[k] >= NO_FRAME, self->errs[k] != 0)
			TH_LOG("frame %u: error %d", k, self->errs[k]);
		if (frames[k] < NO_FRAME && (k % step == 0 || k == nr - 1))
			EXPECT_TRUE(shows(self, addr + k * XEN_PAGE_SIZE,
					  frames[k]))
				TH_LOG("frame %u shows something else", k);
	}
}

FIXTURE_SETUP(privcmd)
{
	char why[160];
	const char *none;

	self->one = MAP_FAILED;
	self->page = xen_page_size();
	self->fd = xen_open("privcmd", why, sizeof(why));
	if (self->fd < 0)
		SKIP(return, "%s", why);
	none = privcmd_frames(self->fd, MAX, self->frames, &self->domid);
	if (none)
		SKIP(return, "%s", none);
}

FIXTURE_TEARDOWN(privcmd)
{
	close(self->fd);
}

#endif /* SELFTEST_XEN_PRIVCMD_MAP_H */
