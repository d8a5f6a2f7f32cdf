// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <errno.h>

#include "image-sample.h"
#include "run.h"

#define BEFORE "popcorn.generation=77 8250.nr_uarts=0 nmi_watchdog=0 swiotlb=512"
#define AFTER                                                                          \
	"noapic acpi=noirq acpi_sci=edge pci=off no_ipi_broadcast=1 apic_extnmi=none " \
	"tsc=reliable tsc_early_khz=2596119 dis_ucode_ldr reboot=bios panic=0 "        \
	"rdinit=/popcorn-agent console=hvc0"

static struct bzimage kernel;
static struct image_partition partition;
static struct popcorn_error error;

static void setup(void)
{
	kernel = (struct bzimage){ .cmdline_size = 2047, .release = "6.1.0" };
	partition = sample_partition();
	memset(&error, 0, sizeof(error));
}

static void composed(const char *user, const char *expected)
{
	char *line;

	ck_assert_int_eq(image_cmdline(user, &kernel, &partition, &line, &error), 0);
	ck_assert_str_eq(line, expected);
	free(line);
}

static void refuse(const char *user, enum popcorn_error_id id, const char *text)
{
	char *line = (char *)1;

	memset(&error, 0, sizeof(error));
	ck_assert_int_eq(image_cmdline(user, &kernel, &partition, &line, &error),
			 -popcorn_error_errno(id));
	ck_assert_ptr_eq(line, (char *)1);
	ck_assert_int_eq(error.id, id);
	ck_assert_msg(strstr(error.text, text), "'%s' is not in '%s'", text, error.text);
}

START_TEST(test_composition)
{
	composed("", BEFORE " " AFTER);
	composed(NULL, BEFORE " " AFTER);
	composed("quiet", BEFORE " quiet " AFTER);
	composed("  quiet  x=1  ", BEFORE "   quiet  x=1 " AFTER);
	/* The user's word stands before ours: a later one wins. */
	composed("panic=5 console=ttyS1", BEFORE " panic=5 console=ttyS1 " AFTER);
	composed("8250.nr_uarts=2", BEFORE " 8250.nr_uarts=2 " AFTER);
}
END_TEST

/* What follows "--" is init's: ours must not end up there. */
START_TEST(test_init_arguments)
{
	composed("quiet -- single", BEFORE " quiet " AFTER " -- single");
	composed("quiet   --   single", BEFORE " quiet " AFTER " --   single");
	composed("--", BEFORE " " AFTER " --");
	composed("-- a \"open", BEFORE " " AFTER " -- a \"open");
	refuse("\"--\" x", POPCORN_ERROR_INVALID_ARGUMENT, "'--' with quotes");
	refuse("a \"--\"\"\" x", POPCORN_ERROR_INVALID_ARGUMENT, "'--' with quotes");
	composed("x=-- a--b ---", BEFORE " x=-- a--b --- " AFTER);
	composed("\"a -- b\" c=\"d -- e\"", BEFORE " \"a -- b\" c=\"d -- e\" " AFTER);
	composed("a -- acpi=off", BEFORE " a " AFTER " -- acpi=off");
}
END_TEST

START_TEST(test_bad_bytes)
{
	refuse("a\nb", POPCORN_ERROR_INVALID_ARGUMENT, "0xa at position 1");
	refuse("\t", POPCORN_ERROR_INVALID_ARGUMENT, "0x9 at position 0");
	refuse("ab\x7f", POPCORN_ERROR_INVALID_ARGUMENT, "0x7f at position 2");
	refuse("\xc3\xa4", POPCORN_ERROR_INVALID_ARGUMENT, "0xc3");
	refuse("-- \x01", POPCORN_ERROR_INVALID_ARGUMENT, "0x1");
}
END_TEST

START_TEST(test_quotes)
{
	refuse("a=\"b", POPCORN_ERROR_INVALID_ARGUMENT, "position 0");
	refuse("x a\"b c", POPCORN_ERROR_INVALID_ARGUMENT, "position 2");
	refuse("\"", POPCORN_ERROR_INVALID_ARGUMENT, "quote");
	refuse("\"a\" \"b", POPCORN_ERROR_INVALID_ARGUMENT, "quote");
	composed("a=\"b c\" \"d e\"", BEFORE " a=\"b c\" \"d e\" " AFTER);
}
END_TEST

START_TEST(test_refused_options)
{
	refuse("acpi=off", POPCORN_ERROR_INVALID_ARGUMENT, "'acpi=off'");
	refuse("quiet acpi=ht x", POPCORN_ERROR_INVALID_ARGUMENT, "'acpi=ht'");
	refuse("acpi=\"off\"", POPCORN_ERROR_INVALID_ARGUMENT, "'acpi=off'");
	refuse("\"acpi=off\"", POPCORN_ERROR_INVALID_ARGUMENT, "'acpi=off'");
	refuse("nolapic", POPCORN_ERROR_INVALID_ARGUMENT, "'nolapic'");
	refuse("disableapic", POPCORN_ERROR_INVALID_ARGUMENT, "'disableapic'");
	refuse("disableapic=0", POPCORN_ERROR_INVALID_ARGUMENT, "'disableapic'");
	refuse("nolapic=", POPCORN_ERROR_INVALID_ARGUMENT, "'nolapic'");
	refuse("acpi_rsdp=0x1000", POPCORN_ERROR_INVALID_ARGUMENT, "'acpi_rsdp'");
	composed("acpi=offline nolapic_timer", BEFORE " acpi=offline nolapic_timer " AFTER);
}
END_TEST

START_TEST(test_too_long)
{
	char user[4096], *line;
	size_t room = 2047 - strlen(BEFORE " "
					   " " AFTER);

	memset(user, 'x', sizeof(user));
	user[room] = '\0';
	ck_assert_int_eq(image_cmdline(user, &kernel, &partition, &line, &error), 0);
	ck_assert_uint_eq(strlen(line), 2047);
	free(line);
	user[room] = 'x';
	user[room + 1] = '\0';
	refuse(user, POPCORN_ERROR_CMDLINE_TOO_LONG, "kernel 6.1.0 takes 2047");
	ck_assert_ptr_nonnull(strstr(error.text, "shorten it by 1"));
	user[room + 1] = 'x';
	user[sizeof(user) - 1] = '\0';
	refuse(user, POPCORN_ERROR_CMDLINE_TOO_LONG, "has 4095 characters");
	kernel.cmdline_size = 200;
	refuse("", POPCORN_ERROR_CMDLINE_TOO_LONG, "takes 200 in all");
}
END_TEST

START_TEST(test_no_tsc)
{
	partition.tsc_khz = 0;
	refuse("", POPCORN_ERROR_INVALID_ARGUMENT, "TSC");
}
END_TEST

/* Only beside a primary that is the same kernel, and for the user to undo. */
START_TEST(test_self_tests)
{
	partition.is_tested = true;
	composed("", BEFORE " cryptomgr.notests " AFTER);
	composed("cryptomgr.notests=0", BEFORE " cryptomgr.notests cryptomgr.notests=0 " AFTER);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cmdline");
	TCase *tc = tcase_create("cmdline");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_composition);
	tcase_add_test(tc, test_init_arguments);
	tcase_add_test(tc, test_bad_bytes);
	tcase_add_test(tc, test_quotes);
	tcase_add_test(tc, test_refused_options);
	tcase_add_test(tc, test_too_long);
	tcase_add_test(tc, test_no_tsc);
	tcase_add_test(tc, test_self_tests);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
