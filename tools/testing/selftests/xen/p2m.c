// SPDX-License-Identifier: GPL-2.0
/*
 * The frames of a PV domain, as /sys/kernel/debug/xen/p2m shows them: those of
 * devices and holes are identity, those in the balloon are missing, and those
 * of mapped grants are foreign.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#define MAX_BLOCKS	4096	/* of memory */
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
 * @runs: the runs of frames of one type; the last run has no end
 * @nr: number of runs
 * @generation: p2m_generation, which changes with the pages of the table
 */
FIXTURE(p2m) {
	struct run runs[MAX_RUNS];
	unsigned int nr;
	unsigned long generation;
};

#define table_t FIXTURE_DATA(p2m)

static int load(table_t *self)
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

/* The frames of @type from @first to @last. */
static uint64_t count_in(table_t *self, uint64_t first, uint64_t last,
			 enum type type)
{
	uint64_t frames = 0, from, to;
	unsigned int i;

	for (i = 0; i < self->nr; i++) {
		from = self->runs[i].first > first ? self->runs[i].first : first;
		to = self->runs[i].last < last ? self->runs[i].last : last;
		if (self->runs[i].type == type && from <= to)
			frames += to - from + 1;
	}
	return frames;
}

static uint64_t count(table_t *self, enum type type)
{
	return count_in(self, 0, UINT64_MAX, type);
}

static bool identity(table_t *self, uint64_t first, uint64_t last)
{
	return count_in(self, first, last, IDENTITY) == last - first + 1;
}

/* Each frame is in one run, and neighbours differ. */
TEST_F(p2m, complete)
{
	unsigned int i;

	EXPECT_EQ(0, self->runs[0].first);
	for (i = 1; i < self->nr; i++) {
		EXPECT_EQ(self->runs[i - 1].last + 1, self->runs[i].first);
		/* The last run is beyond the table. */
		if (i + 1 < self->nr)
			EXPECT_NE(self->runs[i - 1].type, self->runs[i].type);
	}
	EXPECT_EQ(IDENTITY, self->runs[self->nr - 1].type);
	EXPECT_EQ(UINT64_MAX, self->runs[self->nr - 1].last);
	EXPECT_LT(0, count(self, RAM));
}

/* The frames of devices, firmware and holes in the memory map are identity. */
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
		/* The hole before this entry, in whole frames. */
		if (start >> 12 > next) {
			EXPECT_TRUE(identity(self, next, (start >> 12) - 1))
				TH_LOG("before %s at %lx", name, start);
		}
		next = (end + 1) >> 12;
		if (!strncmp(name, "System RAM", 10) ||
		    !strcmp(name, "Xen scratch") ||
		    !strcmp(name, "Unusable memory"))
			continue;
		/* An entry may share its first and last frame with memory. */
		start = (start + 4095) >> 12;
		end = (end + 1) >> 12;
		if (start >= end)
			continue;
		EXPECT_TRUE(identity(self, start, end - 1))
			TH_LOG("%s at %lx", name, start << 12);
	}
	fclose(f);
	EXPECT_TRUE(identity(self, next, UINT64_MAX));
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
			EXPECT_TRUE(identity(self, start >> 12, end >> 12))
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
	char path[512], buf[16];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, name);
	return !xen_get(path, buf, sizeof(buf)) && strtoul(buf, NULL, 16) == id;
}

/* QEMU's pci-testdev answers the request for its first test with a name. */
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
		ASSERT_EQ(0, xen_put(path, "1"));
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

/* /dev/mem shows the firmware. */
TEST_F(p2m, firmware)
{
	unsigned char *mem;
	int fd;

	if (xen_own_domid())
		SKIP(return, "the firmware is dom0's");
	fd = open("/dev/mem", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		SKIP(return, "no /dev/mem: %s", strerror(errno));
	ASSERT_TRUE(identity(self, 0xff, 0xff));
	mem = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0xff000);
	ASSERT_NE(MAP_FAILED, mem);
	/* The reset vector of a PC is a far jump to f000:e05b. */
	EXPECT_EQ(0xea, mem[0xff0]);
	EXPECT_EQ(0xf0, mem[0xff4]);
	munmap(mem, 4096);
	close(fd);
}

/* At boot the kernel moves memory out of the holes of the memory map. */
TEST_F(p2m, remapped)
{
	unsigned long pages = 0;
	char line[1024], *text;
	uint64_t holes;
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
	/* The holes have as many frames as the kernel has moved. */
	holes = count_in(self, 0, self->runs[self->nr - 1].first - 1, IDENTITY);
	EXPECT_LE(pages, holes);
	EXPECT_EQ(IDENTITY, self->runs[1].type);
	EXPECT_TRUE(identity(self, 0xa0, 0xff));
}

static long balloon_kb(const char *name)
{
	char path[128], buf[32];

	snprintf(path, sizeof(path), BALLOON "info/%s", name);
	return xen_get(path, buf, sizeof(buf)) ? -1 : atol(buf);
}

/* Sets the balloon's target, and looks @times whether it is reached. */
static int set_balloon(long kb, unsigned int times)
{
	char buf[32];
	int ret;

	snprintf(buf, sizeof(buf), "%li", kb);
	ret = xen_put(BALLOON "target_kb", buf);
	if (ret)
		return ret;
	for (; times; times--) {
		if (balloon_kb("current_kb") == kb)
			return 0;
		usleep(50000);
	}
	return -ETIME;
}

/*
 * Frames are missing while they are in the balloon. The pages of the table stay
 * the same: another generation would abort a migration.
 */
TEST_F(p2m, balloon)
{
	const unsigned long generation = self->generation;
	const uint64_t frames = BALLOON_KB / 4;
	uint64_t ram = count(self, RAM), missing = count(self, MISSING);
	long kb = balloon_kb("current_kb");

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

/* Finds which of the blocks of memory exist. */
static void memory_blocks(bool *there)
{
	struct dirent *entry;
	unsigned int block;
	DIR *d;

	memset(there, 0, MAX_BLOCKS);
	d = opendir(MEMORY);
	while (d && (entry = readdir(d)))
		if (sscanf(entry->d_name, "memory%u", &block) == 1 &&
		    block < MAX_BLOCKS)
			there[block] = true;
	if (d)
		closedir(d);
}

/* Sets @block online, as udev may have done before. */
static bool online(unsigned int block)
{
	char path[128], state[16];

	snprintf(path, sizeof(path), MEMORY "memory%u/state", block);
	xen_put(path, "online");
	return !xen_get(path, state, sizeof(state)) && !strcmp(state, "online");
}

/*
 * The balloon adds a block of memory to get more than the domain ever had. The
 * block is identity before. Afterwards it is memory as far as Xen gives some,
 * else missing. The pages of the table change only when the block is added.
 */
TEST_F(p2m, hot_add)
{
	bool before[MAX_BLOCKS], after[MAX_BLOCKS];
	uint64_t ram = count(self, RAM), first, last, block;	/* frames */
	unsigned int i, tries, added = 0;
	long kb = balloon_kb("current_kb");
	unsigned long generation = 0;
	char size[32];
	int ret;

	if (kb < 0 || xen_get(MEMORY "block_size_bytes", size, sizeof(size)))
		SKIP(return, "no balloon, or no memory hotplug");
	block = strtoul(size, NULL, 16) >> 12;
	memory_blocks(before);
	ret = set_balloon(kb + balloon_kb("low_kb") + ADDED_KB, 1);
	for (tries = 0; !added && tries < 100; tries++) {
		memory_blocks(after);
		for (i = 0; i < MAX_BLOCKS; i++) {
			if (!after[i] || before[i])
				continue;
			added++;
			first = i * block;
			last = first + block - 1;
			if (added == 1)
				EXPECT_TRUE(identity(self, first, last))
					TH_LOG("%lx-%lx before", first, last);
			EXPECT_EQ(0, load(self));
			generation = self->generation;
			EXPECT_TRUE(online(i));
		}
		usleep(50000);
	}
	EXPECT_LT(0, added)
		TH_LOG("no memory was added (%i)", ret);
	/* A domU gets no more than its maximum. */
	ret = set_balloon(kb + ADDED_KB, xen_own_domid() ? 40 : 200);
	if (!xen_own_domid())
		EXPECT_EQ(0, ret);
	EXPECT_EQ(0, load(self));
	EXPECT_EQ(ram + (balloon_kb("current_kb") - kb) / 4, count(self, RAM));
	for (i = 0; i < MAX_BLOCKS; i++) {
		if (!after[i] || before[i])
			continue;
		first = i * block;
		last = first + block - 1;
		EXPECT_EQ(0, count_in(self, first, last, IDENTITY));
		EXPECT_LT(0, count_in(self, first, last, MISSING));
	}
	ASSERT_EQ(0, set_balloon(kb, 200));
	EXPECT_EQ(0, load(self));
	EXPECT_EQ(generation, self->generation);
	EXPECT_EQ(ram, count(self, RAM));
}

/* The frames of mapped grants are foreign. */
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
	/* The first map may add pages, whose frames are missing. */
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
