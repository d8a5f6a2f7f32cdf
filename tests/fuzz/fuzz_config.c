// SPDX-License-Identifier: GPL-2.0-or-later
/* A hostile popcornd.conf, and the same bytes as a kernel's definition. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "fuzz.h"
#include "text.h"

static char folder[] = "/tmp/popcorn-fuzz-XXXXXX", path[64];

static void clean(void)
{
	unlink(path);
	rmdir(folder);
}

static void put(const uint8_t *data, size_t size)
{
	int fd;

	if (!*path) {
		CHECK(mkdtemp(folder));
		snprintf(path, sizeof(path), "%s/db0.conf", folder);
		atexit(clean);
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
}

static void check_error(int r, const struct popcorn_error *error)
{
	CHECK((r < 0) == (error->id != POPCORN_ERROR_NONE) && r <= 0);
	if (r == 0)
		return;
	CHECK(error->id == POPCORN_ERROR_CONFIG && r == -EINVAL);
	CHECK(strncmp(error->text, path, strlen(path)) == 0);
	CHECK(!error->text[text_safe_length(error->text)]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct popcorn_error error = { 0 };
	struct kernel_def *def = NULL;
	struct config *config = NULL;
	int r;

	put(data, size);
	r = config_load(path, &config, &error);
	check_error(r, &error);
	if (r == 0) {
		CHECK(memory_is_valid(config->primary_memory) &&
		      memory_is_valid(config->default_memory));
		CHECK(hwloc_bitmap_isset(config->primary_cpus, 0));
		CHECK(config->default_image[0] == '/' && config->agent[0] == '/');
		CHECK(config->heartbeat_ms >= 100 && config->boot_timeout_usec >= 100000);
		config_free(config);
	}
	CHECK(config_load("/nonexistent", &config, NULL) == 0);
	error = (struct popcorn_error){ 0 };
	r = kernel_def_load(config, folder, "db0", &def, &error);
	check_error(r, &error);
	if (r == 0) {
		CHECK(memory_is_valid(def->memory) && def->image[0] == '/');
		CHECK(def->cpus ? !hwloc_bitmap_iszero(def->cpus)
				: def->cpu_count >= 1 && def->cpu_count <= POPCORN_CPUS_MAX);
		kernel_def_free(def);
	}
	config_free(config);
	return 0;
}
