// SPDX-License-Identifier: GPL-2.0-or-later
/* Choosing, taking and giving back, on the fake machine. */
#include <check.h>
#include <errno.h>
#include <linux/kernel-page-flags.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "facts.h"
#include "fake.h"
#include "machine.h"
#include "memory.h"
#include "operations.h"
#include "resources.h"
#include "run.h"
#include "util.h"

static struct fake *fake;
static struct driver *driver;
static struct config config;
static struct resources *resources;
static struct popcorn_error error;
static const struct operation operation = { .cancel_fd = -1 };
static unsigned n_found;
static struct claim *found_claim;

static void start(unsigned cpus, unsigned threads, unsigned blocks, unsigned nodes)
{
	char run[PATH_MAX + 8];

	fake = fake_new(cpus, threads, blocks, nodes);
	driver = fake_driver(fake);
	config = (struct config){
		.primary_cpus = hwloc_bitmap_alloc(),
		.primary_memory = 2 * FAKE_BLOCK_SIZE,
		.drop_caches = true,
	};
	hwloc_bitmap_set(config.primary_cpus, 0);
	snprintf(run, sizeof(run), "%s/run", fake->root);
	error = (struct popcorn_error){ 0 };
	n_found = 0;
	ck_assert_msg(resources_new(&config, driver, fake->root, run, &resources, &error) == 0,
		      "%s", error.text);
}

static void setup(void)
{
	start(8, 2, 16, 1);
}

static void teardown(void)
{
	resources = resources_free(resources);
	driver = driver_free(driver);
	hwloc_bitmap_free(config.primary_cpus);
	fake_free(fake);
}

static struct claim *claim_of(const char *name, const char *cpus, unsigned count, uint64_t memory,
			      const char *nodes)
{
	struct kernel_def def = { .cpu_count = count, .memory = memory };
	struct node_memory *parts;
	struct claim *c = NULL;
	size_t n;

	error = (struct popcorn_error){ 0 };
	if (nodes) {
		ck_assert_int_eq(parse_memory_nodes(nodes, &parts, &n, &error), 0);
		ck_assert_int_eq(kernel_def_set_memory_nodes(&def, parts, n, &error), 0);
		free(parts);
	}
	if (cpus)
		ck_assert_int_eq(parse_cpus(cpus, &def.cpus, NULL), 0);
	if (resources_claim(resources, name, &def, &c, &error) < 0) {
		ck_assert_ptr_null(c);
		ck_assert_int_ne(error.id, POPCORN_ERROR_NONE);
	}
	hwloc_bitmap_free(def.cpus);
	free(def.memory_nodes);
	return c;
}

static struct claim *claim(const char *name, const char *cpus, unsigned count, uint64_t memory)
{
	return claim_of(name, cpus, count, memory, NULL);
}

static struct claim *claim_nodes(const char *name, const char *cpus, unsigned count,
				 const char *nodes)
{
	return claim_of(name, cpus, count, 0, nodes);
}

static void refused(const char *cpus, unsigned count, uint64_t memory, enum popcorn_error_id id,
		    const char *text)
{
	ck_assert_ptr_null(claim("no", cpus, count, memory));
	ck_assert_msg(error.id == id, "%s", error.text);
	ck_assert_msg(strstr(error.text, text) != NULL, "'%s' is not in '%s'", text, error.text);
}

static char *cpus_of(const struct claim *c)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	static char text[128];
	size_t n;
	const uint32_t *cpus = claim_cpus(c, &n);

	for (size_t i = 0; i < n; i++) {
		hwloc_bitmap_set(set, cpus[i]);
		ck_assert(i == 0 || cpus[i - 1] < cpus[i]);
	}
	hwloc_bitmap_list_snprintf(text, sizeof(text), set);
	hwloc_bitmap_free(set);
	return text;
}

/* Creates a kernel for @c and takes. *@ret_fd is open also on failure. */
static int take(struct claim *c, const char *name, int *ret_fd)
{
	uint32_t id;

	error = (struct popcorn_error){ 0 };
	ck_assert_int_eq(driver->ops->create(driver, name, &id, ret_fd), 0);
	return resources_take(resources, c, *ret_fd, &operation, &error);
}

static void give_back(struct claim *c, int fd)
{
	error = (struct popcorn_error){ 0 };
	ck_assert_msg(release_kernel(resources, driver, fd, c, &error) == 0, "%s", error.text);
	ck_assert(!claim_holds(c));
	claim_free(c);
	close(fd);
}

START_TEST(test_refused_cpus)
{
	struct claim *a;

	hwloc_bitmap_set(config.primary_cpus, 1);
	fake->online[5] = false;
	fake_refresh(fake);
	refused("0", 0, 256 * MIB, POPCORN_ERROR_CPU_BOOT, "CPU 0");
	refused("8", 0, 256 * MIB, POPCORN_ERROR_CPU_UNKNOWN, "0-7");
	refused("2,4000", 0, 256 * MIB, POPCORN_ERROR_CPU_UNKNOWN, "CPU 4000");
	refused("5", 0, 256 * MIB, POPCORN_ERROR_CPU_OFFLINE, "cpu5/online");
	refused("1", 0, 256 * MIB, POPCORN_ERROR_CPU_KEPT, "primary.cpus");
	refused(NULL, 6, 256 * MIB, POPCORN_ERROR_NO_FREE_CPUS, "5 are free");
	refused(NULL, 0, 256 * MIB, POPCORN_ERROR_INVALID_ARGUMENT, "1 to 4096");
	refused(NULL, 5000, 256 * MIB, POPCORN_ERROR_INVALID_ARGUMENT, "1 to 4096");
	a = claim("a", "2", 0, 256 * MIB);
	ck_assert_ptr_nonnull(a);
	refused("2-3", 0, 256 * MIB, POPCORN_ERROR_CPU_LENT, "kernel 'a'");
	ck_assert_uint_eq(resources_free_cpus(resources), 4);
	ck_assert_ptr_null(claim("a", "3", 0, 256 * MIB));
	ck_assert_int_eq(error.id, POPCORN_ERROR_NAME_TAKEN);
	ck_assert_ptr_null(claim("a/b", "3", 0, 256 * MIB));
	ck_assert_int_eq(error.id, POPCORN_ERROR_INVALID_NAME);
	claim_free(a);
	ck_assert_uint_eq(resources_free_cpus(resources), 5);
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_refused_memory)
{
	struct claim *a;
	uint64_t all = 14 * FAKE_BLOCK_SIZE; /* 16 less the two that are kept */

	ck_assert_uint_eq(resources_free_memory(resources), all);
	refused(NULL, 1, 0, POPCORN_ERROR_MEMORY_INVALID, "zero");
	refused(NULL, 1, 3 * MIB, POPCORN_ERROR_MEMORY_INVALID, "2 MiB");
	refused(NULL, 1, UINT64_MAX - 2 * MIB + 1, POPCORN_ERROR_NO_FREE_MEMORY, "primary.memory");
	refused(NULL, 1, all + 2 * MIB, POPCORN_ERROR_NO_FREE_MEMORY, "1792 MiB");
	/* What is promised is not promised twice. */
	a = claim("a", NULL, 1, all - 2 * MIB);
	ck_assert_ptr_nonnull(a);
	refused(NULL, 1, 4 * MIB, POPCORN_ERROR_NO_FREE_MEMORY, "up to 2 MiB");
	claim_free(a);
	/* Nor what the primary uses. */
	fake_write_file(fake, "/proc/meminfo", "MemFree: 1 kB\nMemAvailable: 102400 kB\n", 39);
	refused(NULL, 1, 128 * MIB, POPCORN_ERROR_NO_FREE_MEMORY, "up to 100 MiB");
}
END_TEST

START_TEST(test_chosen_cpus)
{
	struct claim *a, *b, *c;

	/* Cores are 0-1, 2-3, 4-5, 6-7: whole ones, from the top. */
	a = claim("a", NULL, 2, 128 * MIB);
	ck_assert_str_eq(cpus_of(a), "6-7");
	/* An odd one comes from the core that can't be whole anyway. */
	b = claim("b", NULL, 1, 128 * MIB);
	ck_assert_str_eq(cpus_of(b), "1");
	c = claim("c", NULL, 3, 128 * MIB);
	ck_assert_str_eq(cpus_of(c), "2,4-5");
	claim_free(a);
	claim_free(b);
	claim_free(c);
	a = claim("a", NULL, 3, 128 * MIB);
	ck_assert_str_eq(cpus_of(a), "1,6-7");
	claim_free(a);
	a = claim("a", "7,2,5", 0, 128 * MIB);
	ck_assert_str_eq(cpus_of(a), "2,5,7");
	claim_free(a);
	a = claim("a", NULL, 7, 128 * MIB);
	ck_assert_str_eq(cpus_of(a), "1-7");
	claim_free(a);
}
END_TEST

START_TEST(test_nodes)
{
	struct claim *a, *b;
	struct image_partition partition;
	int fd_a, fd_b;

	teardown();
	start(16, 2, 32, 4); /* per node 4 CPUs and 8 blocks, 1 GiB */
	/* All of it from one node, memory too. */
	a = claim("a", NULL, 4, 4 * FAKE_BLOCK_SIZE);
	ck_assert_str_eq(cpus_of(a), "12-15");
	ck_assert_int_eq(take(a, "a", &fd_a), 0);
	ck_assert_int_eq(claim_partition(a, fd_a, &partition, &error), 0);
	ck_assert_uint_eq(partition.n_ranges, 1);
	ck_assert_uint_eq(partition.ranges[0].node, 3);
	ck_assert_uint_eq(partition.ranges[0].length, 4 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(partition.n_nodes, 1);
	ck_assert_uint_eq(partition.distances[0], 10);
	ck_assert_uint_eq(partition.n_cpus, 4);
	ck_assert_uint_eq(partition.pm_timer, FAKE_PM_TIMER);
	ck_assert_uint_eq(partition.cpus[0].apicid, 24);
	ck_assert_uint_eq(partition.cpus[0].node, 3);
	/* CPUs of two nodes: half of the memory from each. */
	b = claim("b", "6-9", 0, 4 * FAKE_BLOCK_SIZE);
	ck_assert_int_eq(take(b, "b", &fd_b), 0);
	ck_assert_int_eq(claim_partition(b, fd_b, &partition, &error), 0);
	ck_assert_uint_eq(partition.n_ranges, 2);
	ck_assert_uint_eq(partition.ranges[0].length, 2 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(partition.ranges[1].length, 2 * FAKE_BLOCK_SIZE);
	ck_assert_uint_ne(partition.ranges[0].node, partition.ranges[1].node);
	ck_assert_uint_eq(partition.n_nodes, 2);
	ck_assert_uint_eq(partition.nodes[0], 1);
	ck_assert_uint_eq(partition.nodes[1], 2);
	ck_assert_uint_eq(partition.distances[1], 23);
	ck_assert_uint_eq(partition.distances[2], 23);
	/* More than the node has: the nearest other one gives the rest. */
	give_back(b, fd_b);
	b = claim("b", "4", 0, 10 * FAKE_BLOCK_SIZE);
	ck_assert_int_eq(take(b, "b", &fd_b), 0);
	ck_assert_int_eq(claim_partition(b, fd_b, &partition, &error), 0);
	ck_assert_uint_eq(partition.ranges[0].node, 1);
	ck_assert_uint_eq(partition.ranges[0].length, 8 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(partition.ranges[1].length, 2 * FAKE_BLOCK_SIZE);
	give_back(b, fd_b);
	give_back(a, fd_a);
	fake_check_whole(fake);
}
END_TEST

static void found(void *userdata, const char *name, uint32_t id, struct claim *c)
{
	(void)userdata, (void)id;
	ck_assert_ptr_nonnull(fake_kernel(fake, name));
	n_found++;
	found_claim = c;
}

/* Bytes of a node that the kernel has, of all kinds. */
static uint64_t has_of(const char *name, unsigned node)
{
	const struct fake_kernel *kernel = fake_kernel(fake, name);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < kernel->n_ranges; i++)
		if (kernel->ranges[i].node == node)
			sum += kernel->ranges[i].length;
	return sum;
}

static void refused_nodes(const char *nodes, const char *text)
{
	ck_assert_ptr_null(claim_nodes("no", "3", 0, nodes));
	ck_assert_msg(error.id == POPCORN_ERROR_NO_FREE_MEMORY, "%s", error.text);
	ck_assert_msg(strstr(error.text, text) != NULL, "'%s' is not in '%s'", text, error.text);
}

START_TEST(test_memory_by_node)
{
	struct image_partition partition;
	struct claim *a, *b;
	char lease[PATH_MAX + 32];
	void *text;
	size_t size;
	int fd, fd_b;

	teardown();
	start(8, 1, 16, 2); /* per node 4 CPUs and 8 blocks */
	/* Not where the CPUs are, and not even a whole number of blocks. */
	a = claim_nodes("a", "1-2", 0, "0:130M,1:384M");
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	ck_assert_uint_eq(has_of("a", 0), 130 * MIB);
	ck_assert_uint_eq(has_of("a", 1), 384 * MIB);
	ck_assert_uint_eq(fake_taken(fake), 514 * MIB);
	/* The kernel lies where its CPUs are. */
	ck_assert_uint_eq(fake_kernel(fake, "a")->ranges[0].node, 0);
	ck_assert_int_eq(claim_partition(a, fd, &partition, &error), 0);
	ck_assert_uint_eq(partition.n_nodes, 2);
	ck_assert_uint_eq(partition.distances[1], 21);
	snprintf(lease, sizeof(lease), "%s/run/leases/a", fake->root);
	ck_assert_int_eq(read_file(lease, 1 << 20, &text, &size), 0);
	ck_assert_ptr_nonnull(strstr(text, "memory_nodes = \"0:136314880,1:402653184\";"));
	free(text);

	/* Node 1 has five blocks left, of node 0 (whose block 0 never goes) 7 less one and 2 MiB. */
	refused_nodes("1:768M", "768 MiB of the memory of node 1 were asked for; the node can give "
				"640 MiB");
	refused_nodes("0:768M", "node 0 were asked for; the node can give 766 MiB");
	refused_nodes("0:128M,2:2M", "node 2 were asked for; nodes 0-1 have memory");
	/* What is promised and not taken yet counts as well. */
	b = claim_nodes("b", NULL, 1, "1:640M");
	ck_assert_ptr_nonnull(b);
	ck_assert_str_eq(cpus_of(b), "7");
	refused_nodes("1:2M", "the node can give 0");
	ck_assert_msg(take(b, "b", &fd_b) == 0, "%s", error.text);
	ck_assert_uint_eq(has_of("b", 1), 640 * MIB);
	refused_nodes("1:2M", "the node can give 0");
	give_back(b, fd_b);
	give_back(a, fd);
	fake_check_whole(fake);

	/* CPUs near the memory; it may be of all nodes. */
	a = claim_nodes("a", NULL, 2, "0:128M");
	ck_assert_str_eq(cpus_of(a), "2-3");
	claim_free(a);
	a = claim_nodes("a", NULL, 2, "1:896M,0:128M");
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	ck_assert_uint_eq(has_of("a", 1), 896 * MIB);
	ck_assert_uint_eq(has_of("a", 0), 128 * MIB);
	give_back(a, fd);
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_memory_by_node_of_four)
{
	struct fake_kernel *kernel;
	char run[PATH_MAX + 8];
	struct claim *a;
	int fd;

	teardown();
	start(16, 2, 32, 4); /* per node 4 CPUs and 8 blocks */
	/* The same of each node; the kernel on the node with most of its CPUs. */
	a = claim_nodes("a", "5,8-10", 0, "0:256M,1:256M,2:256M,3:256M");
	claim_need_first(a, 200 * MIB, 256 * MIB);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	kernel = fake_kernel(fake, "a");
	ck_assert_uint_eq(kernel->n_ranges, 4);
	ck_assert_uint_eq(kernel->ranges[0].node, 2);
	ck_assert_uint_eq(kernel->ranges[0].length, 256 * MIB);
	for (unsigned node = 0; node < 4; node++)
		ck_assert_uint_eq(has_of("a", node), 256 * MIB);
	/* Another popcornd counts the same. */
	claim_free(a);
	resources_free(resources);
	snprintf(run, sizeof(run), "%s/run", fake->root);
	ck_assert_int_eq(resources_new(&config, driver, fake->root, run, &resources, &error), 0);
	ck_assert_int_eq(resources_recover(resources, found, NULL, &error), 0);
	refused_nodes("3:896M", "the node can give 768 MiB");
	give_back(found_claim, fd);
	fake_check_whole(fake);

	/* Too little near the CPUs for the kernel: it lies on the nearest node that has enough. */
	a = claim_nodes("a", "12", 0, "3:64M,0:256M,2:256M");
	claim_need_first(a, 200 * MIB, 0);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	kernel = fake_kernel(fake, "a");
	ck_assert_uint_eq(kernel->ranges[0].node, 2);
	ck_assert_uint_eq(kernel->ranges[0].length, 256 * MIB);
	ck_assert_uint_eq(has_of("a", 3), 64 * MIB);
	ck_assert_uint_eq(has_of("a", 0), 256 * MIB);
	ck_assert_uint_eq(fake_taken(fake), 576 * MIB);
	give_back(a, fd);
	fake_check_whole(fake);

	/* Enough near the CPUs, but in too small pieces: the next node carries the kernel. */
	for (unsigned i = 24; i < 32; i++)
		if (i % 2 == 0) {
			fake->blocks[i].refuse = EINVAL;
			fake->blocks[i].refusals = UINT_MAX;
		}
	/* 4 places for 256 MiB, twice 5 for 200 MiB. */
	fake->contig_refusals = 14;
	a = claim_nodes("a", "12", 0, "1:256M,3:256M");
	claim_need_first(a, 200 * MIB, 0);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	kernel = fake_kernel(fake, "a");
	ck_assert_uint_eq(kernel->ranges[0].node, 1);
	ck_assert_uint_ge(kernel->ranges[0].length, 200 * MIB);
	ck_assert_uint_eq(has_of("a", 1), 256 * MIB);
	ck_assert_uint_eq(has_of("a", 3), 256 * MIB);
	give_back(a, fd);
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_memory_of_a_node_busy)
{
	struct claim *a;
	int fd;

	teardown();
	start(8, 1, 16, 2);
	for (unsigned i = 8; i < 16; i++) {
		fake->blocks[i].refuse = EBUSY;
		fake->blocks[i].refusals = UINT_MAX;
	}
	/* Pieces of it, if its blocks don't go; none of the other node's. */
	a = claim_nodes("a", "1", 0, "0:128M,1:256M");
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	ck_assert_uint_eq(has_of("a", 0), 128 * MIB);
	ck_assert_uint_eq(has_of("a", 1), 256 * MIB);
	give_back(a, fd);
	fake_check_whole(fake);

	/* All or nothing, though the other node has plenty. */
	fake->contig_refusals = UINT_MAX;
	a = claim_nodes("a", "1", 0, "0:128M,1:256M");
	ck_assert_int_eq(take(a, "a", &fd), -EBUSY);
	ck_assert_int_eq(error.id, POPCORN_ERROR_MEMORY_BUSY);
	ck_assert_msg(strstr(error.text, "256 MiB of the memory of node 1 were asked for; 0") !=
			      NULL,
		      "%s", error.text);
	ck_assert_ptr_nonnull(strstr(error.text, "8-15"));
	give_back(a, fd);
	fake_check_whole(fake);

	/* Some of it. */
	fake->blocks[12].refusals = 0;
	a = claim_nodes("a", "1", 0, "0:128M,1:256M");
	ck_assert_int_eq(take(a, "a", &fd), -EBUSY);
	ck_assert_msg(strstr(error.text, "node 1 were asked for; 128 MiB were found") != NULL, "%s",
		      error.text);
	give_back(a, fd);
	fake_check_whole(fake);

	/* No piece that is long enough for the kernel: the longest one is told, and where. */
	fake->blocks[10].refusals = 0;
	a = claim_nodes("a", "5", 0, "1:256M");
	claim_need_first(a, 200 * MIB, 0);
	ck_assert_int_eq(take(a, "a", &fd), -EBUSY);
	ck_assert_msg(strstr(error.text, "256 MiB of the memory of node 1 were asked for, of which "
					 "the kernel needs 200 MiB in one piece") != NULL,
		      "%s", error.text);
	give_back(a, fd);
	fake_check_whole(fake);

	/* Each step may fail. */
	fake->contig_refusals = 0;
	for (unsigned step = 1;; step++) {
		int k;

		fake->step = 0;
		a = claim_nodes("a", "1", 0, "0:130M,1:256M");
		ck_assert_ptr_nonnull(a);
		uint32_t id;

		ck_assert_int_eq(driver->ops->create(driver, "a", &id, &fd), 0);
		fake->step = 0;
		fake->step_at = step;
		k = resources_take(resources, a, fd, &operation, &error);
		fake->step_at = 0;
		if (k == 0) {
			ck_assert_uint_eq(has_of("a", 0), 130 * MIB);
			ck_assert_uint_eq(has_of("a", 1), 256 * MIB);
		}
		give_back(a, fd);
		fake_check_whole(fake);
		/* A step that failed may have been made good by another one. */
		if (k == 0 && fake->step < step)
			break;
	}
}
END_TEST

static struct machine *machine(void)
{
	struct machine *m;

	error = (struct popcorn_error){ 0 };
	ck_assert_msg(resources_machine(resources, &m, &error) == 0, "%s", error.text);
	return m;
}

START_TEST(test_facts)
{
	/* The flags of all pages of 16 blocks; in the third block of node 1 one can't be moved. */
	const size_t pages = 16 * FAKE_BLOCK_SIZE / PAGE_SIZE_BYTES;
	uint64_t *flags = calloc(pages, sizeof(*flags));
	struct share *shares;
	struct machine *m;
	struct claim *a, *b;
	uint32_t cpu;
	size_t n;
	int fd;

	teardown();
	start(8, 1, 16, 2); /* per node 4 CPUs and 8 blocks */
	for (size_t i = 0; i < pages; i++)
		flags[i] = UINT64_C(1) << KPF_BUDDY;
	flags[10 * FAKE_BLOCK_SIZE / PAGE_SIZE_BYTES + 5] = UINT64_C(1) << KPF_SLAB;
	fake_write_file(fake, "/proc/kpageflags", flags, pages * sizeof(*flags));
	fake->online[3] = false;
	fake_refresh(fake);
	m = machine();
	ck_assert(m->live);
	ck_assert_uint_eq(m->block_size, FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(m->n_domains[LEVEL_NODE], 2);
	ck_assert_uint_eq(m->nodes[0].memory, 8 * FAKE_BLOCK_SIZE);
	/* Block 0 never goes. */
	ck_assert_uint_eq(m->nodes[0].takeable, 7 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(m->nodes[1].takeable, 7 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(m->max_kernels, FAKE_KERNELS_MAX);
	machine_free(m);

	a = claim_nodes("a", "6-7", 0, "0:130M,1:256M");
	b = claim("b", "4", 0, 256 * MIB);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	/* What is lent is as takeable as before; only what nobody lent is offline. */
	m = machine();
	ck_assert_uint_eq(m->nodes[0].memory, 8 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(m->nodes[0].takeable, 7 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(m->nodes[1].takeable, 7 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(m->max_kernels, FAKE_KERNELS_MAX);
	for (unsigned os = 0; os < 8; os++) {
		cpu = machine_find_cpu(m, os);
		/* What was never seen online is not known at all. */
		if (cpu == UNKNOWN) {
			ck_assert_uint_eq(os, 3);
			continue;
		}
		ck_assert_int_eq(m->cpus[cpu].state, os == 3 ? CPU_OFFLINE : CPU_USABLE);
		if (os != 3)
			ck_assert_uint_eq(m->cpus[cpu].in[LEVEL_NODE], os / 4);
	}
	machine_free(m);
	ck_assert_int_eq(resources_shares(resources, &shares, &n), 0);
	ck_assert_uint_eq(n, 2);
	for (size_t i = 0; i < n; i++) {
		const struct share *s = &shares[i];

		if (strcmp(s->name, "a") == 0) {
			ck_assert_int_eq(hwloc_bitmap_weight(s->cpus), 2);
			ck_assert_uint_eq(s->n_memory, 2);
			ck_assert_uint_eq(s->memory[0].bytes, 130 * MIB);
			ck_assert_uint_eq(s->memory[1].bytes, 256 * MIB);
		} else {
			/* Not taken yet: where its CPU is. */
			ck_assert(hwloc_bitmap_isset(s->cpus, 4));
			ck_assert_uint_eq(s->n_memory, 1);
			ck_assert_uint_eq(s->memory[0].node, 1);
			ck_assert_uint_eq(s->memory[0].bytes, 256 * MIB);
		}
	}
	shares_free(shares, n);
	claim_free(b);
	give_back(a, fd);
	ck_assert_int_eq(resources_shares(resources, &shares, &n), 0);
	ck_assert_uint_eq(n, 0);
	shares_free(shares, n);
	fake_check_whole(fake);
	free(flags);
}
END_TEST

START_TEST(test_lent_cpus_after_restart)
{
	char run[PATH_MAX + 8];
	struct claim *a, *b;
	int fd;

	/* A topology that is loaded while CPUs are away does not know them: they must come back. */
	a = claim("a", "4-7", 0, 128 * MIB);
	ck_assert_int_eq(take(a, "a", &fd), 0);
	resources_free(resources);
	snprintf(run, sizeof(run), "%s/run", fake->root);
	ck_assert_int_eq(resources_new(&config, driver, fake->root, run, &resources, &error), 0);
	b = claim("b", NULL, 2, 128 * MIB);
	ck_assert_str_eq(cpus_of(b), "2-3");
	claim_free(b);
	claim_free(a);
	ck_assert_int_eq(driver->ops->release(driver, fd, &(uint32_t){ 0 }, &(uint32_t){ 0 }), 0);
	b = claim("b", NULL, 6, 128 * MIB);
	ck_assert_str_eq(cpus_of(b), "2-7");
	claim_free(b);
	close(fd);
}
END_TEST

static unsigned n_offline(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < fake->n_blocks; i++)
		n += !fake->blocks[i].online;
	return n;
}

START_TEST(test_blocks)
{
	struct fake_kernel *kernel;
	struct claim *a;
	int fd;

	/* Movable before Normal before DMA32; high before low. */
	for (int i = 1; i < 4; i++)
		fake->blocks[i].zone = '3';
	fake->blocks[8].zone = fake->blocks[9].zone = 'M';
	fake_refresh(fake);
	a = claim("a", NULL, 1, 2 * FAKE_BLOCK_SIZE);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	kernel = fake_kernel(fake, "a");
	ck_assert_uint_eq(kernel->n_ranges, 1);
	ck_assert_uint_eq(kernel->ranges[0].start, 8 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(kernel->ranges[0].length, 2 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(fake_n_leases(fake), 1);
	give_back(a, fd);
	fake_check_whole(fake);

	a = claim("a", NULL, 1, 14 * FAKE_BLOCK_SIZE);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	ck_assert_uint_eq(n_offline(), 14);
	ck_assert(fake->blocks[0].online && fake->blocks[1].online);
	ck_assert_uint_eq(fake_kernel(fake, "a")->n_ranges, 1);
	give_back(a, fd);
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_refusing_blocks)
{
	struct fake_kernel *kernel;
	struct claim *a;
	int fd;

	/* The longest piece comes first. */
	fake->blocks[14].refuse = EBUSY;
	fake->blocks[14].refusals = UINT_MAX;
	a = claim("a", NULL, 1, 3 * FAKE_BLOCK_SIZE);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	kernel = fake_kernel(fake, "a");
	ck_assert_uint_eq(kernel->n_ranges, 2);
	ck_assert_uint_eq(kernel->ranges[0].start, 12 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(kernel->ranges[0].length, 2 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(kernel->ranges[1].start, 15 * FAKE_BLOCK_SIZE);
	give_back(a, fd);
	fake_check_whole(fake);

	/* A longer piece is looked for if one is needed, and what is too much goes back. */
	a = claim("a", NULL, 1, 3 * FAKE_BLOCK_SIZE);
	claim_need_first(a, 3 * FAKE_BLOCK_SIZE - MIB, 0);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	kernel = fake_kernel(fake, "a");
	ck_assert_uint_eq(kernel->n_ranges, 1);
	ck_assert_uint_eq(kernel->ranges[0].start, 11 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(n_offline(), 3);
	give_back(a, fd);
	fake_check_whole(fake);

	/* One that refuses for a while is tried again; one that always will is not. */
	for (int i = 1; i < 16; i++) {
		fake->blocks[i].refuse = i < 14 ? EINVAL : EBUSY;
		fake->blocks[i].refusals = i < 14 ? UINT_MAX : 1;
	}
	fake->offline_tries = 0;
	a = claim("a", NULL, 1, 2 * FAKE_BLOCK_SIZE);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	ck_assert_uint_eq(fake->offline_tries, 15 + 2);
	give_back(a, fd);
	fake_check_whole(fake);

	/* One that hangs is given up. */
	fake->blocks[15].hang = true;
	fake->blocks[14].refusals = fake->blocks[13].refusals = 0;
	a = claim("a", NULL, 1, 2 * FAKE_BLOCK_SIZE);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	ck_assert(fake->blocks[15].online);
	give_back(a, fd);
	fake_check_whole(fake);
}
END_TEST

static void refuse_all(void)
{
	for (int i = 1; i < 16; i++) {
		fake->blocks[i].refuse = EBUSY;
		fake->blocks[i].refusals = UINT_MAX;
	}
}

START_TEST(test_contig)
{
	struct fake_kernel *kernel;
	struct claim *a;
	int fd;

	/* Less than a block: one piece of an online one. */
	a = claim("a", NULL, 1, 64 * MIB);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	kernel = fake_kernel(fake, "a");
	ck_assert_uint_eq(kernel->n_ranges, 1);
	ck_assert_uint_eq(kernel->ranges[0].kind, POPCORN_MEMORY_CONTIG);
	ck_assert_uint_eq(kernel->ranges[0].length, 64 * MIB);
	ck_assert_uint_eq(n_offline(), 0);
	ck_assert_uint_eq(resources_free_memory(resources), 14 * FAKE_BLOCK_SIZE - 64 * MIB);
	give_back(a, fd);
	fake_check_whole(fake);

	/* Whole blocks and a remainder: exactly what was asked for. */
	a = claim("a", NULL, 1, 3 * FAKE_BLOCK_SIZE + 2 * MIB);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	kernel = fake_kernel(fake, "a");
	ck_assert_uint_eq(kernel->n_ranges, 2);
	ck_assert_uint_eq(kernel->ranges[0].kind, POPCORN_MEMORY_OFFLINE);
	ck_assert_uint_eq(kernel->ranges[1].kind, POPCORN_MEMORY_CONTIG);
	ck_assert_uint_eq(kernel->ranges[1].length, 2 * MIB);
	ck_assert_uint_eq(fake_taken(fake), 3 * FAKE_BLOCK_SIZE + 2 * MIB);
	give_back(a, fd);
	fake_check_whole(fake);

	/* No block goes: pieces, and one of them may be longer than a block. */
	refuse_all();
	fake->contig_refusals = 3;
	a = claim("a", NULL, 1, 3 * FAKE_BLOCK_SIZE);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	ck_assert_uint_eq(fake_taken(fake), 3 * FAKE_BLOCK_SIZE);
	ck_assert_uint_eq(n_offline(), 0);
	give_back(a, fd);

	/* The first piece must be long enough, whatever the blocks are like. */
	fake->blocks[15].refusals = fake->blocks[13].refusals = 0;
	fake->contig_refusals = 0;
	a = claim("a", NULL, 1, 3 * FAKE_BLOCK_SIZE);
	claim_need_first(a, 200 * MIB, 0);
	ck_assert_msg(take(a, "a", &fd) == 0, "%s", error.text);
	kernel = fake_kernel(fake, "a");
	ck_assert_uint_ge(kernel->ranges[0].length, 200 * MIB);
	ck_assert_uint_eq(fake_taken(fake), 3 * FAKE_BLOCK_SIZE);
	give_back(a, fd);
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_memory_busy)
{
	struct claim *a;
	int fd;

	refuse_all();
	fake->contig_refusals = UINT_MAX;
	a = claim("a", NULL, 1, 3 * FAKE_BLOCK_SIZE);
	ck_assert_int_eq(take(a, "a", &fd), -EBUSY);
	ck_assert_int_eq(error.id, POPCORN_ERROR_MEMORY_BUSY);
	ck_assert_ptr_nonnull(strstr(error.text, "1-15"));
	ck_assert_uint_le(fake->contig_tries, 64);
	give_back(a, fd);
	fake_check_whole(fake);

	/* Some of it, but not all. */
	fake->blocks[15].refusals = fake->blocks[14].refusals = 0;
	a = claim("a", NULL, 1, 3 * FAKE_BLOCK_SIZE);
	ck_assert_int_eq(take(a, "a", &fd), -EBUSY);
	ck_assert_int_eq(error.id, POPCORN_ERROR_MEMORY_BUSY);
	ck_assert_ptr_nonnull(strstr(error.text, "at most 256 MiB"));
	give_back(a, fd);
	fake_check_whole(fake);

	/* Enough, but in too small pieces. */
	fake->blocks[14].refusals = UINT_MAX;
	fake->blocks[13].refusals = fake->blocks[11].refusals = 0;
	a = claim("a", NULL, 1, 3 * FAKE_BLOCK_SIZE);
	claim_need_first(a, 200 * MIB, 0);
	ck_assert_int_eq(take(a, "a", &fd), -EBUSY);
	ck_assert_int_eq(error.id, POPCORN_ERROR_MEMORY_BUSY);
	ck_assert_msg(strstr(error.text, "in one piece") != NULL, "%s", error.text);
	give_back(a, fd);
	fake_check_whole(fake);

	/* Nothing that could be taken at all. */
	for (int i = 1; i < 16; i++)
		fake->blocks[i].zone = 'x';
	fake_refresh(fake);
	a = claim("a", NULL, 1, 3 * FAKE_BLOCK_SIZE);
	ck_assert_int_eq(take(a, "a", &fd), -ENOMEM);
	ck_assert_int_eq(error.id, POPCORN_ERROR_NO_FREE_MEMORY);
	give_back(a, fd);
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_cpu_busy)
{
	struct claim *a = claim("a", "2-3", 0, 2 * FAKE_BLOCK_SIZE);
	int fd;

	fake->refuse_cpu[3] = true;
	ck_assert_int_eq(take(a, "a", &fd), -EBUSY);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CPU_BUSY);
	ck_assert_ptr_nonnull(strstr(error.text, "CPU 3"));
	ck_assert(claim_holds(a));
	give_back(a, fd);
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_cancelled)
{
	struct claim *a = claim("a", NULL, 1, 2 * FAKE_BLOCK_SIZE);
	int cancel_fd = eventfd(0, 0), fd;
	const struct operation cancelled = { .cancel_fd = cancel_fd };
	uint32_t id;

	ck_assert_int_eq(driver->ops->create(driver, "a", &id, &fd), 0);
	eventfd_write(cancel_fd, 1);
	ck_assert_int_eq(resources_take(resources, a, fd, &cancelled, &error), -ECANCELED);
	ck_assert_int_eq(error.id, POPCORN_ERROR_CANCELLED);
	give_back(a, fd);
	fake_check_whole(fake);
	close(cancel_fd);
}
END_TEST

START_TEST(test_block_stays_away)
{
	struct claim *a = claim("a", NULL, 1, 3 * FAKE_BLOCK_SIZE);
	uint32_t cpus, ranges;
	int fd;

	ck_assert_int_eq(take(a, "a", &fd), 0);
	fake->blocks[14].refuse_online = ENOMEM;
	ck_assert_int_eq(driver->ops->release(driver, fd, &cpus, &ranges), 0);
	error = (struct popcorn_error){ 0 };
	ck_assert_int_lt(resources_give_back(resources, a, &error), 0);
	ck_assert_msg(strstr(error.text, "memory blocks 14 of 'a'") != NULL, "%s", error.text);
	ck_assert(claim_holds(a));
	ck_assert_uint_eq(n_offline(), 1);
	ck_assert_uint_eq(fake_n_leases(fake), 1);
	fake->blocks[14].refuse_online = 0;
	give_back(a, fd);
	fake_check_whole(fake);
}
END_TEST

/* Eight threads want the same things. */
#define RACERS 8
static pthread_barrier_t barrier;

static void *racer(void *arg)
{
	char name[8];

	snprintf(name, sizeof(name), "k%zu", (size_t)arg);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 20; i++) {
		struct kernel_def def = { .cpu_count = 1 + (unsigned)i % 2,
					  .memory = 3 * FAKE_BLOCK_SIZE };
		struct popcorn_error e = { 0 };
		struct claim *c;
		uint32_t id;
		int fd;

		if (resources_claim(resources, name, &def, &c, &e) < 0) {
			ck_assert_msg(e.id == POPCORN_ERROR_NO_FREE_CPUS ||
					      e.id == POPCORN_ERROR_NO_FREE_MEMORY,
				      "%s", e.text);
			continue;
		}
		ck_assert_int_eq(driver->ops->create(driver, name, &id, &fd), 0);
		if (resources_take(resources, c, fd, &operation, &e) < 0)
			ck_assert_msg(e.id == POPCORN_ERROR_MEMORY_BUSY, "%s", e.text);
		ck_assert_int_eq(release_kernel(resources, driver, fd, c, &e), 0);
		claim_free(c);
		close(fd);
	}
	return NULL;
}

START_TEST(test_race)
{
	pthread_t threads[RACERS];

	pthread_barrier_init(&barrier, NULL, RACERS);
	for (size_t i = 0; i < RACERS; i++)
		pthread_create(&threads[i], NULL, racer, (void *)i);
	for (size_t i = 0; i < RACERS; i++)
		pthread_join(threads[i], NULL);
	fake_check_whole(fake);
	ck_assert_uint_eq(resources_free_cpus(resources), 7);
	ck_assert_uint_eq(resources_free_memory(resources), 14 * FAKE_BLOCK_SIZE);
}
END_TEST

START_TEST(test_4096_cpus)
{
	struct claim *a, *b;
	uint64_t before;
	size_t n;
	int fd;

	teardown();
	start(4096, 2, 256, 8);
	before = now_usec();
	a = claim("a", NULL, 512, 4 * FAKE_BLOCK_SIZE);
	claim_cpus(a, &n);
	ck_assert_uint_eq(n, 512);
	ck_assert_str_eq(cpus_of(a), "3584-4095");
	b = claim("b", NULL, 3000, 4 * FAKE_BLOCK_SIZE);
	claim_cpus(b, &n);
	ck_assert_uint_eq(n, 3000);
	ck_assert_int_eq(take(b, "b", &fd), 0);
	/* A generous bound: it is for a complexity that went wrong, not for a slow machine. */
	ck_assert_uint_lt(now_usec() - before, 20 * USEC_PER_SEC);
	ck_assert_uint_eq(resources_free_cpus(resources), 4095 - 3512);
	give_back(b, fd);
	claim_free(a);
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_lent_nodes_after_restart)
{
	struct image_partition partition;
	char run[PATH_MAX + 8];
	struct claim *a;
	int fd;

	/* Linux hides where a CPU is that is lent: popcornd has written it down. */
	teardown();
	start(16, 2, 32, 4);
	a = claim("a", "7,12-13", 0, 128 * MIB);
	ck_assert_int_eq(take(a, "a", &fd), 0);
	resources_free(resources);
	claim_free(a);
	snprintf(run, sizeof(run), "%s/run", fake->root);
	ck_assert_int_eq(resources_new(&config, driver, fake->root, run, &resources, &error), 0);
	ck_assert_int_eq(resources_recover(resources, found, NULL, &error), 0);
	ck_assert_uint_eq(n_found, 1);
	ck_assert_int_eq(claim_partition(found_claim, fd, &partition, &error), 0);
	ck_assert_uint_eq(partition.n_cpus, 3);
	ck_assert_uint_eq(partition.cpus[0].node, 1);
	ck_assert_uint_eq(partition.cpus[1].node, 3);
	ck_assert_uint_eq(partition.cpus[2].node, 3);
	give_back(found_claim, fd);
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_recover)
{
	struct claim *a, *b;
	char run[PATH_MAX + 8];
	uint32_t cpus, ranges;
	size_t n;
	int fd, fd_b;

	snprintf(run, sizeof(run), "%s/run", fake->root);
	fake->blocks[15].zone = fake->blocks[14].zone = 'M';
	fake_refresh(fake);
	a = claim("a", "2-3", 0, 3 * FAKE_BLOCK_SIZE + 64 * MIB);
	ck_assert_int_eq(take(a, "a", &fd), 0);
	/* b was released by the driver, and then popcornd died. */
	b = claim("b", "4", 0, FAKE_BLOCK_SIZE);
	ck_assert_int_eq(take(b, "b", &fd_b), 0);
	ck_assert_int_eq(driver->ops->release(driver, fd_b, &cpus, &ranges), 0);
	fake_write_file(fake, "/run/leases/.c", "half", 4);
	claim_free(a);
	claim_free(b);
	resources_free(resources);
	ck_assert_uint_eq(n_offline(), 4);

	ck_assert_int_eq(resources_new(&config, driver, fake->root, run, &resources, &error), 0);
	ck_assert_msg(resources_recover(resources, found, NULL, &error) == 0, "%s", error.text);
	ck_assert_uint_eq(n_found, 1);
	ck_assert_uint_eq(n_offline(), 3);
	ck_assert_uint_eq(fake_n_leases(fake), 1);
	ck_assert_uint_eq(claim_memory(found_claim), 3 * FAKE_BLOCK_SIZE + 64 * MIB);
	ck_assert_uint_eq(claim_cpus(found_claim, &n)[1], 3);
	ck_assert_uint_eq(n, 2);
	ck_assert(claim_holds(found_claim));
	refused("3", 0, FAKE_BLOCK_SIZE, POPCORN_ERROR_CPU_LENT, "kernel 'a'");
	give_back(found_claim, fd);
	fake_check_whole(fake);
	close(fd_b);
}
END_TEST

START_TEST(test_recover_without_lease)
{
	struct claim *a = claim("a", "2-3", 0, 3 * FAKE_BLOCK_SIZE);
	char run[PATH_MAX + 8], path[PATH_MAX + 32];
	int fd;

	snprintf(run, sizeof(run), "%s/run", fake->root);
	snprintf(path, sizeof(path), "%s/leases/a", run);
	ck_assert_int_eq(take(a, "a", &fd), 0);
	claim_free(a);
	resources_free(resources);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(resources_new(&config, driver, fake->root, run, &resources, &error), 0);
	ck_assert_int_eq(resources_recover(resources, found, NULL, &error), 0);
	ck_assert_uint_eq(n_found, 1);
	give_back(found_claim, fd);
	fake_check_whole(fake);
}
END_TEST

START_TEST(test_bad_lease)
{
	static const char *const texts[] = {
		"",
		"version = 1;",
		"version = 2; memory = 1L; blocks = ();",
		"}",
		"\1\2",
		"version = 1; memory = 1L; blocks = ( { index = 3; } );",
		"version = 1; memory = 1L; blocks = ( { index = -3L; node = 0; zone = \"\"; } );",
		"version = 1; memory = 1L; blocks = ( { index = 3L; node = 0; zone = "
		"\"12345678901234567890\"; } );",
	};

	static const char unplugged[] =
		"version = 1; memory = 1L; blocks = ( { index = 3L; node = 0; zone = \"Normal\"; },"
		" { index = 4000L; node = 0; zone = \"\"; } );";

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		fake_write_file(fake, "/run/leases/z", texts[i], strlen(texts[i]));
		error = (struct popcorn_error){ 0 };
		ck_assert_int_lt(resources_recover(resources, found, NULL, &error), 0);
		ck_assert_ptr_nonnull(strstr(error.text, "leases/z"));
		ck_assert_uint_eq(fake_n_leases(fake), 1);
	}
	/* A block that was unplugged meanwhile needs nothing. */
	fake_write_file(fake, "/run/leases/z", unplugged, strlen(unplugged));
	error = (struct popcorn_error){ 0 };
	ck_assert_msg(resources_recover(resources, found, NULL, &error) == 0, "%s", error.text);
	fake_check_whole(fake);
	ck_assert_uint_eq(n_found, 0);
}
END_TEST

START_TEST(test_new_fails)
{
	struct resources *r = NULL;
	char run[PATH_MAX + 8];

	snprintf(run, sizeof(run), "%s/run", fake->root);
	ck_assert_int_lt(resources_new(&config, driver, "/nonexistent", run, &r, &error), 0);
	ck_assert_ptr_nonnull(strstr(error.text, "hot-remove"));
	error = (struct popcorn_error){ 0 };
	fake_write_file(fake, "/x", "", 0);
	snprintf(run, sizeof(run), "%s/x", fake->root);
	ck_assert_int_lt(resources_new(&config, driver, fake->root, run, &r, &error), 0);
	ck_assert_ptr_nonnull(strstr(error.text, "folder"));
	ck_assert_ptr_null(r);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("resources");
	TCase *tc = tcase_create("resources");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_refused_cpus);
	tcase_add_test(tc, test_refused_memory);
	tcase_add_test(tc, test_chosen_cpus);
	tcase_add_test(tc, test_nodes);
	tcase_add_test(tc, test_memory_by_node);
	tcase_add_test(tc, test_memory_by_node_of_four);
	tcase_add_test(tc, test_memory_of_a_node_busy);
	tcase_add_test(tc, test_facts);
	tcase_add_test(tc, test_lent_cpus_after_restart);
	tcase_add_test(tc, test_lent_nodes_after_restart);
	tcase_add_test(tc, test_blocks);
	tcase_add_test(tc, test_refusing_blocks);
	tcase_add_test(tc, test_contig);
	tcase_add_test(tc, test_memory_busy);
	tcase_add_test(tc, test_cpu_busy);
	tcase_add_test(tc, test_cancelled);
	tcase_add_test(tc, test_block_stays_away);
	tcase_add_test(tc, test_race);
	tcase_add_test(tc, test_4096_cpus);
	tcase_add_test(tc, test_recover);
	tcase_add_test(tc, test_recover_without_lease);
	tcase_add_test(tc, test_bad_lease);
	tcase_add_test(tc, test_new_fails);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
