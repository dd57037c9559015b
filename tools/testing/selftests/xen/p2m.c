// SPDX-License-Identifier: GPL-2.0
/*
 * What the frames of a PV domain are, as /sys/kernel/debug/xen/p2m shows it:
 * devices and holes are identity, what is in the balloon is missing, what was
 * granted is foreign while it is mapped.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "xen_test.h"

#define MAX_RUNS	20000
#define LOW		0x100	/* Linux itself reserves frames below 1 MB */
#define P2M		"/sys/kernel/debug/xen/p2m"
#define BALLOON		"/sys/devices/system/xen_memory/xen_memory0/"
#define BALLOON_KB	(16 << 10)
#define MEMORY		"/sys/devices/system/memory/"
#define MAX_BLOCKS	4096
#define ADDED_KB	(4 << 10)

enum type { RAM, FOREIGN, IDENTITY, MISSING, TYPES };

static const char * const names[TYPES] = {
	"ram", "foreign", "identity", "missing",
};

struct run {
	uint64_t first;
	uint64_t last;
	enum type type;
};

/**
 * FIXTURE(p2m) - the table
 * @runs: its runs, the last without an end
 * @nr: number of runs
 * @generation: p2m_generation, which changes with the pages of the table
 */
FIXTURE(p2m) {
	struct run runs[MAX_RUNS];
	unsigned int nr;
	unsigned long generation;
};

static int load(FIXTURE_DATA(p2m) *self)
{
	char line[128], type[16];
	unsigned int i;
	FILE *f;
	int n;

	self->nr = 0;
	f = fopen(P2M, "re");
	if (!f)
		return -errno;
	if (!fgets(line, sizeof(line), f) ||
	    sscanf(line, "# generation %lu", &self->generation) != 1)
		goto bad;
	while (fgets(line, sizeof(line), f)) {
		struct run *run = self->runs + self->nr;

		if (self->nr++ == MAX_RUNS)
			goto bad;
		run->last = UINT64_MAX;
		n = sscanf(line, "%lx-%lx %15s", &run->first, &run->last, type);
		if (n == 1)
			n = sscanf(line, "%lx-... %15s", &run->first, type);
		if (n < 2)
			goto bad;
		for (i = 0; i < TYPES && strcmp(type, names[i]); i++)
			;
		if (i == TYPES)
			goto bad;
		run->type = i;
	}
	fclose(f);
	return self->nr ? 0 : -ENODATA;
bad:
	fclose(f);
	return -EINVAL;
}

FIXTURE_SETUP(p2m)
{
	int ret;

	if (xen_guest_type() != XEN_GUEST_PV)
		SKIP(return, "only a PV domain has a table");
	ret = load(self);
	if (ret == -EACCES || ret == -ENOENT)
		SKIP(return, "%s: %s", P2M, strerror(-ret));
	ASSERT_EQ(0, ret)
		TH_LOG("%s: %s", P2M, strerror(-ret));
}

FIXTURE_TEARDOWN(p2m)
{
}

static uint64_t count(FIXTURE_DATA(p2m) *self, enum type type)
{
	uint64_t frames = 0;
	unsigned int i;

	for (i = 0; i + 1 < self->nr; i++)
		if (self->runs[i].type == type)
			frames += self->runs[i].last - self->runs[i].first + 1;
	return frames;
}

/* Whether all frames from @first to @last are @type. */
static bool all(FIXTURE_DATA(p2m) *self, uint64_t first, uint64_t last,
		enum type type)
{
	unsigned int i;

	for (i = 0; i < self->nr; i++)
		if (self->runs[i].first <= last && self->runs[i].last >= first &&
		    self->runs[i].type != type)
			return false;
	return true;
}

/* Whether any frame from @first to @last is @type. */
static bool any(FIXTURE_DATA(p2m) *self, uint64_t first, uint64_t last,
		enum type type)
{
	unsigned int i;

	for (i = 0; i < self->nr; i++)
		if (self->runs[i].first <= last && self->runs[i].last >= first &&
		    self->runs[i].type == type)
			return true;
	return false;
}

/* Each frame is in one run, and neighbours differ. */
TEST_F(p2m, complete)
{
	unsigned int i;

	EXPECT_EQ(0, self->runs[0].first);
	for (i = 1; i < self->nr; i++) {
		EXPECT_EQ(self->runs[i - 1].last + 1, self->runs[i].first);
		/* The last one is what is beyond the table. */
		if (i + 1 < self->nr)
			EXPECT_NE(self->runs[i - 1].type, self->runs[i].type);
	}
	EXPECT_EQ(IDENTITY, self->runs[self->nr - 1].type);
	EXPECT_EQ(UINT64_MAX, self->runs[self->nr - 1].last);
	EXPECT_LT(0, count(self, RAM));
}

/*
 * What the memory map does not call memory is identity: what belongs to devices
 * and the firmware, and the holes between.
 */
TEST_F(p2m, holes)
{
	uint64_t start, end, next = LOW;
	char line[256], *name;
	FILE *f;
	int n;

	f = fopen("/proc/iomem", "re");
	ASSERT_NE(NULL, f);
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == ' ')
			continue;
		name = strstr(line, " : ");
		n = sscanf(line, "%lx-%lx", &start, &end);
		ASSERT_EQ(2, n);
		ASSERT_NE(NULL, name);
		name += 3;
		name[strcspn(name, "\n")] = 0;
		if (end >> 12 < LOW)
			continue;
		/* Between the last one and this, by whole frames. */
		if (start >> 12 > next) {
			EXPECT_TRUE(all(self, next, (start >> 12) - 1, IDENTITY))
				TH_LOG("before %s at %lx", name, start);
		}
		next = (end + 1) >> 12;
		if (!strncmp(name, "System RAM", 10) ||
		    !strcmp(name, "Xen scratch") ||
		    !strcmp(name, "Unusable memory"))
			continue;
		/* Whole frames of it only: others share theirs with memory. */
		start = (start + 4095) >> 12;
		end = (end + 1) >> 12;
		if (start >= end)
			continue;
		EXPECT_TRUE(all(self, start, end - 1, IDENTITY))
			TH_LOG("%s at %lx", name, start << 12);
	}
	fclose(f);
	EXPECT_TRUE(all(self, next, UINT64_MAX, IDENTITY));
}

/* Each memory BAR of each PCI device. */
TEST_F(p2m, bars)
{
	uint64_t start, end, flags;
	unsigned int bars = 0;
	struct dirent *entry;
	char path[512];
	FILE *f;
	DIR *d;

	d = opendir("/sys/bus/pci/devices");
	while (d && (entry = readdir(d))) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource",
			 entry->d_name);
		f = fopen(path, "re");
		while (f && fscanf(f, "%lx %lx %lx", &start, &end,
				   &flags) == 3) {
			if (!(flags & 0x200) || !start)
				continue;
			bars++;
			EXPECT_TRUE(all(self, start >> 12, end >> 12, IDENTITY))
				TH_LOG("%s: %lx-%lx", entry->d_name, start, end);
		}
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	if (!bars)
		SKIP(return, "no PCI device with memory");
}

static bool has_id(const char *device, const char *name, unsigned int id)
{
	unsigned int found = 0;
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, name);
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%x", &found) != 1)
			found = 0;
		fclose(f);
	}
	return found == id;
}

/* QEMU's pci-testdev, mapped: asked for its first test it gives the name. */
TEST_F(p2m, bar_answers)
{
	unsigned char *mem = MAP_FAILED;
	struct dirent *entry;
	char path[512];
	int fd;
	DIR *d;

	d = opendir("/sys/bus/pci/devices");
	while (d && mem == MAP_FAILED && (entry = readdir(d))) {
		if (!has_id(entry->d_name, "vendor", 0x1b36) ||
		    !has_id(entry->d_name, "device", 0x0005))
			continue;
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/enable",
			 entry->d_name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		ASSERT_EQ(1, write(fd, "1", 1));
		close(fd);
		snprintf(path, sizeof(path),
			 "/sys/bus/pci/devices/%s/resource0", entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd);
		mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			   0);
		ASSERT_NE(MAP_FAILED, mem);
		close(fd);
	}
	if (d)
		closedir(d);
	if (mem == MAP_FAILED)
		SKIP(return, "no pci-testdev");
	__atomic_store_n(mem, 0, __ATOMIC_SEQ_CST);
	/* After test, width, offset, data and count: "mmio-...". */
	EXPECT_EQ('m', __atomic_load_n(mem + 16, __ATOMIC_SEQ_CST));
	EXPECT_EQ('m', __atomic_load_n(mem + 17, __ATOMIC_SEQ_CST));
	EXPECT_EQ('i', __atomic_load_n(mem + 18, __ATOMIC_SEQ_CST));
	EXPECT_EQ('o', __atomic_load_n(mem + 19, __ATOMIC_SEQ_CST));
	munmap(mem, 4096);
}

/* The firmware's memory, mapped. */
TEST_F(p2m, firmware)
{
	unsigned char *mem;
	int fd;

	if (xen_own_domid())
		SKIP(return, "the firmware is dom0's");
	fd = open("/dev/mem", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		SKIP(return, "no /dev/mem: %s", strerror(errno));
	ASSERT_TRUE(all(self, 0xff, 0xff, IDENTITY));
	mem = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0xff000);
	ASSERT_NE(MAP_FAILED, mem);
	/* Where a PC begins: a far jump to f000:e05b. */
	EXPECT_EQ(0xea, mem[0xff0]);
	EXPECT_EQ(0xf0, mem[0xff4]);
	munmap(mem, 4096);
	close(fd);
}

/* The memory that was where there are no frames for it now is elsewhere. */
TEST_F(p2m, remapped)
{
	unsigned long pages = 0;
	char line[1024], *text;
	uint64_t holes = 0;
	unsigned int i;
	int fd;

	if (xen_own_domid())
		SKIP(return, "a domU's memory has no holes at first");
	fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, fd);
	for (;;) {
		ssize_t len = read(fd, line, sizeof(line) - 1);

		if (len < 0 && errno == EPIPE)
			continue;
		if (len <= 0)
			break;
		line[len] = 0;
		text = strstr(line, ";Remapped ");
		if (text && sscanf(text, ";Remapped %lu page(s)", &pages) == 1)
			break;
	}
	close(fd);
	if (!pages)
		SKIP(return, "the log does not go back to the boot");
	/* As many frames below the end of memory are holes. */
	for (i = 0; i < self->nr && holes < pages; i++)
		if (self->runs[i].type == IDENTITY)
			holes += self->runs[i].last - self->runs[i].first + 1;
	EXPECT_LE(pages, holes);
	EXPECT_EQ(IDENTITY, self->runs[1].type);
	EXPECT_TRUE(all(self, 0xa0, 0xff, IDENTITY));
}

static long balloon_kb(const char *name)
{
	char path[128];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), BALLOON "%s", name);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%li", &kb) != 1)
		kb = -1;
	fclose(f);
	return kb;
}

static void nap(void)
{
	struct timespec ts = { .tv_nsec = 50000000 };

	nanosleep(&ts, NULL);
}

/* Sets the balloon's target and waits for it to be reached. */
static int set_balloon(long kb, unsigned int naps)
{
	FILE *f;

	f = fopen(BALLOON "target_kb", "we");
	if (!f)
		return -errno;
	fprintf(f, "%li", kb);
	if (fclose(f))
		return -errno;
	for (; naps; naps--) {
		if (balloon_kb("info/current_kb") == kb)
			return 0;
		nap();
	}
	return -ETIME;
}

/*
 * What the balloon takes is missing, what it gives back is memory again. No page of
 * the table changes, as that would abort a migration.
 */
TEST_F(p2m, balloon)
{
	const unsigned long generation = self->generation;
	const uint64_t frames = BALLOON_KB / 4;
	uint64_t ram = count(self, RAM), missing = count(self, MISSING);
	long kb = balloon_kb("info/current_kb");

	if (kb < 0)
		SKIP(return, "no balloon");
	ASSERT_EQ(0, set_balloon(kb - BALLOON_KB, 200));
	EXPECT_EQ(0, load(self));
	EXPECT_EQ(ram - frames, count(self, RAM));
	EXPECT_EQ(missing + frames, count(self, MISSING));
	ASSERT_EQ(0, set_balloon(kb, 200));
	EXPECT_EQ(0, load(self));
	EXPECT_EQ(generation, self->generation);
	EXPECT_EQ(ram, count(self, RAM));
	EXPECT_EQ(missing, count(self, MISSING));
}

/* The blocks of memory that there are, up to @nr of them. */
static void memory_blocks(bool *there, unsigned int nr)
{
	struct dirent *entry;
	unsigned int block;
	DIR *d;

	memset(there, 0, nr * sizeof(*there));
	d = opendir(MEMORY);
	while (d && (entry = readdir(d)))
		if (sscanf(entry->d_name, "memory%u", &block) == 1 && block < nr)
			there[block] = true;
	if (d)
		closedir(d);
}

/* As udev does where the kernel does not: whether @block is in use then. */
static bool online(unsigned int block)
{
	char path[128], state[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), MEMORY "memory%u/state", block);
	f = fopen(path, "we");
	if (f) {
		fputs("online", f);
		fclose(f);
	}
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fscanf(f, "%15s", state) != 1)
		state[0] = 0;
	fclose(f);
	return !strcmp(state, "online");
}

/*
 * More memory than there ever was: the balloon adds a block, identity until then,
 * of which what Xen gives is memory, and the rest missing. The pages of the table
 * change when the block is added, not when its frames become memory.
 */
TEST_F(p2m, hot_add)
{
	bool before[MAX_BLOCKS], after[MAX_BLOCKS];
	unsigned long block_size = 0, generation = 0;
	unsigned int i, tries, added = 0;
	uint64_t ram = count(self, RAM), first, last;
	long kb = balloon_kb("info/current_kb");
	FILE *f;
	int ret;

	f = fopen(MEMORY "block_size_bytes", "re");
	if (kb < 0 || !f)
		SKIP(return, "no balloon, or no memory hotplug");
	ASSERT_EQ(1, fscanf(f, "%lx", &block_size));
	fclose(f);

	memory_blocks(before, MAX_BLOCKS);
	ret = set_balloon(kb + balloon_kb("info/low_kb") + ADDED_KB, 1);
	for (tries = 0; !added && tries < 100; tries++) {
		memory_blocks(after, MAX_BLOCKS);
		for (i = 0; i < MAX_BLOCKS; i++) {
			if (!after[i] || before[i])
				continue;
			added++;
			first = i * (block_size >> 12);
			last = first + (block_size >> 12) - 1;
			if (added == 1)
				EXPECT_TRUE(all(self, first, last, IDENTITY))
					TH_LOG("%lx-%lx before", first, last);
			EXPECT_EQ(0, load(self));
			generation = self->generation;
			EXPECT_TRUE(online(i));
		}
		nap();
	}
	EXPECT_LT(0, added)
		TH_LOG("no memory was added (%i)", ret);
	/* A domU gets no more than its maximum. */
	ret = set_balloon(kb + ADDED_KB, xen_own_domid() ? 40 : 200);
	if (!xen_own_domid())
		EXPECT_EQ(0, ret);
	EXPECT_EQ(0, load(self));
	EXPECT_EQ(ram + (balloon_kb("info/current_kb") - kb) / 4,
		  count(self, RAM));
	for (i = 0; i < MAX_BLOCKS; i++) {
		if (!after[i] || before[i])
			continue;
		first = i * (block_size >> 12);
		last = first + (block_size >> 12) - 1;
		EXPECT_FALSE(any(self, first, last, IDENTITY));
		EXPECT_TRUE(any(self, first, last, MISSING));
	}
	ASSERT_EQ(0, set_balloon(kb, 200));
	EXPECT_EQ(0, load(self));
	EXPECT_EQ(generation, self->generation);
	EXPECT_EQ(ram, count(self, RAM));
}

/* A grant's page is foreign as long as it is mapped. */
TEST_F(p2m, grants)
{
	const unsigned int nr = 40;
	unsigned long generation;
	uint64_t before, missing;
	struct granter g;
	struct xen_map m;
	int ret;

	ret = granter_open(&g, GRANTER_LOCAL, nr, GNTALLOC_FLAG_WRITABLE);
	if (ret == XEN_SKIP)
		SKIP(return, "%s", g.why);
	ASSERT_EQ(0, ret);
	/* There may be no page for it yet: then one is made, which is missing. */
	ASSERT_EQ(0, xen_map(&m, g.domid, g.refs, nr, PROT_READ));
	ASSERT_EQ(0, xen_unmap(&m));
	ASSERT_EQ(0, load(self));
	before = count(self, FOREIGN);
	missing = count(self, MISSING);
	generation = self->generation;

	ASSERT_EQ(0, xen_map(&m, g.domid, g.refs, nr, PROT_READ));
	ASSERT_EQ(0, load(self));
	EXPECT_EQ(before + nr, count(self, FOREIGN));
	EXPECT_EQ(missing - nr, count(self, MISSING));
	ASSERT_EQ(0, xen_unmap(&m));
	ASSERT_EQ(0, load(self));
	EXPECT_EQ(before, count(self, FOREIGN));
	EXPECT_EQ(missing, count(self, MISSING));
	EXPECT_EQ(generation, self->generation);
	granter_close(&g);
}

XEN_TEST_MAIN(NULL)
