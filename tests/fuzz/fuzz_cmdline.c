// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whatever the user's command line: what must win wins, as the kernel's own parser would see it
 * (lib/cmdline.c, kernel/params.c; written again here after their rules).
 */
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "image.h"

/* Takes a word off *@line, as parameter and value. */
static bool next_parameter(char **line, char **ret_name, char **ret_value)
{
	char *p = *line, *name, *equals = NULL;
	bool quote = false, whole = false;

	while (*p == ' ')
		p++;
	if (!*p)
		return false;
	if (*p == '"') {
		p++;
		quote = whole = true;
	}
	name = p;
	for (; *p && (quote || *p != ' '); p++) {
		if (*p == '=' && !equals && p != name)
			equals = p;
		if (*p == '"')
			quote = !quote;
	}
	*line = *p ? p + 1 : p;
	*p = '\0';
	if (whole && p > name && p[-1] == '"')
		p[-1] = '\0';
	*ret_name = name;
	*ret_value = NULL;
	if (equals) {
		*equals++ = '\0';
		if (*equals == '"') {
			equals++;
			if (p > equals && p[-1] == '"')
				p[-1] = '\0';
		}
		*ret_value = equals;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct bzimage kernel = { .cmdline_size = 2047, .release = "6.1.0" };
	static const struct image_partition partition = { .generation = 9, .tsc_khz = 1234567 };
	static const struct {
		const char *name, *value;
	} last[] = {
		{ "pci", "off" },
		{ "acpi", "noirq" },
		{ "acpi_sci", "edge" },
		{ "no_ipi_broadcast", "1" },
		{ "panic", "0" },
		{ "apic_extnmi", "none" },
		{ "tsc_early_khz", "1234567" },
		{ "tsc", "reliable" },
		{ "rdinit", "/popcorn-agent" },
		{ "console", "hvc0" },
		{ "reboot", NULL },
	};
	const char *seen[sizeof(last) / sizeof(last[0])] = { 0 };
	char *user, *line, *rest, *name, *value;
	struct popcorn_error error = { 0 };
	bool noapic = false, no_microcode = false;
	int r;

	user = malloc(size + 1);
	CHECK(user);
	memcpy(user, data, size);
	user[size] = '\0';
	r = image_cmdline(user, &kernel, &partition, &line, &error);
	free(user);
	CHECK((r < 0) == (error.id != POPCORN_ERROR_NONE));
	if (r < 0)
		return 0;
	CHECK(strlen(line) <= kernel.cmdline_size);
	for (const char *p = line; *p; p++)
		CHECK(*p >= ' ' && *p <= '~');
	for (rest = line; next_parameter(&rest, &name, &value);) {
		if (!value && strcmp(name, "--") == 0)
			break;
		for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++)
			if (strcmp(name, last[i].name) == 0)
				seen[i] = value;
		CHECK(strcmp(name, "nolapic") != 0 && strcmp(name, "disableapic") != 0);
		CHECK(strcmp(name, "acpi_rsdp") != 0);
		CHECK(!(value && strcmp(name, "acpi") == 0 && strcmp(value, "off") == 0));
		noapic |= strcmp(name, "noapic") == 0;
		no_microcode |= strcmp(name, "dis_ucode_ldr") == 0;
	}
	for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++) {
		CHECK(seen[i]);
		CHECK(!last[i].value || strcmp(seen[i], last[i].value) == 0);
	}
	CHECK(noapic && no_microcode);
	free(line);
	return 0;
}
