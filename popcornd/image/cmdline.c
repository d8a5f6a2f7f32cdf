// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The command line of a secondary: defaults, what the user asked for, what must win.
 *
 * For a repeated option the last one counts (parse_args() calls the handler for each in turn), so
 * what keeps the secondary away from the primary's hardware stands behind the user's part, and what
 * a user may have reason to change stands before it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "image.h"
#include "internal.h"

/*
 * A kernel that restarts itself must not reset the machine. popcorn_guest.ko rings the primary
 * before it comes to that; this is what is left when the module is not there.
 */
#define CMDLINE_REBOOT "reboot=bios"

/*
 * First of all, where a long line is not cut off: a name for this boot, so that the log in a
 * kernel's memory can be told from one that an earlier kernel left there. No module has this
 * name, so nobody minds the option.
 *
 * Defaults:
 *  8250.nr_uarts=0	the legacy ports are the primary's; a debugging user may own one of them
 *  nmi_watchdog=0	a perf counter's NMI has no use beside the heartbeat
 *  swiotlb=512	1 MiB. A kernel with memory on both sides of 4 GiB takes 64 MiB for bouncing DMA
 *			of devices that can't reach above it, and it has no such device. A user who
 *			gives it one says swiotlb=32768
 *  cryptomgr.notests	if the primary is the same kernel: it has tested the same code on the same
 *			CPUs, which is a tenth of a boot. With fips=1 the kernel tests all the same
 */
static const char cmdline_before[] =
	"popcorn.generation=%" PRIu32 " 8250.nr_uarts=0 nmi_watchdog=0 swiotlb=512%s";

/*
 * What must win:
 *  noapic, acpi=noirq, acpi_sci=edge	the I/O APIC and the PIC are the primary's. Without noapic, a
 *			MADT without I/O APIC makes the kernel look for the firmware's MP table and
 *			program the real one; without acpi_sci=edge it rewrites the PIC's ELCR
 *  pci=off		configuration space is the primary's
 *  no_ipi_broadcast=1	a broadcast reaches every CPU of the machine, not only this kernel's
 *  apic_extnmi=none	external NMIs (LINT1) are for the primary
 *  tsc=reliable, tsc_early_khz=	no PIT or HPET is there to measure or to doubt it; a kernel
 *			without it was seen to hang
 *  dis_ucode_ldr	microcode is the primary's: cores share it
 *  reboot=, panic=0	a reset would reset the machine; a panicked kernel stays where it is
 *  rdinit=, console=	popcorn-agent comes first; consoles that the user named stay beside hvc0
 */
static const char cmdline_after[] =
	"noapic acpi=noirq acpi_sci=edge pci=off no_ipi_broadcast=1 apic_extnmi=none "
	"tsc=reliable tsc_early_khz=%" PRIu32 " dis_ucode_ldr " CMDLINE_REBOOT
	" panic=0 rdinit=/popcorn-agent console=hvc0";

/*
 * Options that can't be outdone by a later one and would turn the secondary against the machine:
 * without our ACPI tables or without local APIC it falls back to the primary's hardware. A handler
 * without argument is called whatever is behind the "=".
 */
static const struct {
	const char *option;
	bool any_value;
} cmdline_refused[] = {
	{ "acpi=off", false }, { "acpi=ht", false },	{ "acpi_rsdp", true },
	{ "nolapic", true },   { "disableapic", true }, { "tsc=unstable", false },
};

struct word {
	const char *start;
	size_t length;
	bool quotes; /* has any */
};

/*
 * The next word as the kernel's next_arg() sees it: double quotes protect spaces, and a word may be
 * quoted as a whole. False at the end. *@quote says if a quote was left open.
 */
static bool next_word(const char **p, struct word *ret, bool *quote)
{
	const char *s = *p;
	bool whole;

	while (*s == ' ')
		s++;
	if (!*s)
		return false;
	whole = *quote = ret->quotes = *s == '"';
	if (whole)
		s++;
	ret->start = s;
	for (; *s && (*quote || *s != ' '); s++)
		if (*s == '"') {
			*quote = !*quote;
			ret->quotes = true;
		}
	ret->length = (size_t)(s - ret->start);
	if (whole && ret->length && s[-1] == '"')
		ret->length--;
	*p = s;
	return true;
}

/*
 * Quotes don't count: the kernel takes them off a value, acpi="off" is acpi=off. With @any_value a
 * value may follow.
 */
static bool word_is(const struct word *word, const char *s, bool any_value)
{
	for (size_t i = 0; i < word->length; i++) {
		if (word->start[i] == '"')
			continue;
		if (!*s && any_value && word->start[i] == '=')
			return true;
		if (word->start[i] != *s++)
			return false;
	}
	return *s == '\0';
}

/*
 * *@ret_own is the length of the part that is for the kernel: a word "--" ends it, and everything
 * behind that word goes to init. Ours would go there too if it came behind it.
 */
static int check_user(const char *user, size_t *ret_own, struct popcorn_error *error)
{
	const char *p = user;
	bool quote = false;
	struct word word;

	for (p = user; *p; p++)
		if (*p < ' ' || *p > '~')
			return popcorn_error_set(
				error, POPCORN_ERROR_INVALID_ARGUMENT,
				"the command line has a byte %#x at position %zu; only printable "
				"ASCII characters can be passed",
				(unsigned char)*p, (size_t)(p - user));

	for (p = user;;) {
		const char *before = p;

		if (!next_word(&p, &word, &quote)) {
			*ret_own = (size_t)(p - user);
			return 0;
		}
		if (quote)
			return popcorn_error_set(
				error, POPCORN_ERROR_INVALID_ARGUMENT,
				"the command line has a quote that is not closed, at position %zu: "
				"it would swallow popcorn's own options",
				(size_t)(word.start - user));
		if (word_is(&word, "--", false)) {
			/* Some kernels take it for the end then, some don't. */
			if (word.quotes)
				return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
							 "the command line has a '--' with quotes; "
							 "write it without");
			/* What is for init is its own affair. */
			*ret_own = (size_t)(before - user);
			return 0;
		}
		for (size_t i = 0; i < sizeof(cmdline_refused) / sizeof(cmdline_refused[0]); i++)
			if (word_is(&word, cmdline_refused[i].option, cmdline_refused[i].any_value))
				return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
							 "the command line has '%s', with which "
							 "the kernel would use "
							 "hardware of the primary; leave it out",
							 cmdline_refused[i].option);
	}
}

int image_cmdline(const char *user, const struct bzimage *kernel,
		  const struct image_partition *partition, char **ret, struct popcorn_error *error)
{
	_cleanup_free_ char *before = NULL, *after = NULL, *all = NULL;
	size_t own = 0, length, added;
	const char *rest;
	int r;

	if (!user)
		user = "";
	if (partition->tsc_khz == 0)
		return popcorn_error_set(error, POPCORN_ERROR_INVALID_ARGUMENT,
					 "the TSC's frequency is not known; a kernel can't keep "
					 "time without it here");
	r = check_user(user, &own, error);
	if (r < 0)
		return r;
	rest = user + own;
	rest += strspn(rest, " ");
	while (own && user[own - 1] == ' ')
		own--;

	if (asprintf(&after, cmdline_after, partition->tsc_khz) < 0) {
		after = NULL;
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	}
	if (asprintf(&before, cmdline_before, partition->generation,
		     partition->is_tested ? " cryptomgr.notests" : "") < 0) {
		before = NULL;
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	}
	if (asprintf(&all, "%s%s%.*s %s%s%s", before, own ? " " : "", (int)own, user, after,
		     *rest ? " " : "", rest) < 0) {
		all = NULL;
		return popcorn_error_set(error, POPCORN_ERROR_NO_MEMORY, NULL);
	}

	length = strlen(all);
	added = length - strlen(user);
	if (length > kernel->cmdline_size)
		return popcorn_error_set(
			error, POPCORN_ERROR_CMDLINE_TOO_LONG,
			"the command line has %zu characters and popcorn adds %zu, kernel %s takes "
			"%" PRIu32 " in all; shorten it by %zu",
			strlen(user), added, kernel->release, kernel->cmdline_size,
			length - kernel->cmdline_size);

	*ret = all;
	all = NULL;
	return 0;
}
