// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "image-sample.h"
#include "run.h"

static uint8_t file[SAMPLE_SIZE];
static struct setup_header *hdr;
static struct bzimage image;
static struct popcorn_error error;

static void setup(void)
{
	sample_bzimage(file);
	hdr = sample_header(file);
	memset(&image, 0xcc, sizeof(image));
	memset(&error, 0, sizeof(error));
}

static void refuse_sized(enum popcorn_error_id id, const char *text, size_t size)
{
	/* A copy without a byte to spare, so that a sanitizer sees what is read behind it. */
	uint8_t *copy = malloc(size ? size : 1);
	struct bzimage before;

	memset(&error, 0, sizeof(error));
	memcpy(copy, file, size);
	before = image;
	ck_assert_int_eq(bzimage_parse(copy, size, &image, &error), -popcorn_error_errno(id));
	ck_assert_int_eq(error.id, id);
	ck_assert_msg(strstr(error.text, text), "'%s' is not in '%s'", text, error.text);
	ck_assert_mem_eq(&before, &image, sizeof(image));
	free(copy);
}

static void refuse(enum popcorn_error_id id, const char *text)
{
	refuse_sized(id, text, SAMPLE_SIZE);
}

static void accept(void)
{
	memset(&error, 0, sizeof(error));
	ck_assert_int_eq(bzimage_parse(file, SAMPLE_SIZE, &image, &error), 0);
	ck_assert_int_eq(error.id, POPCORN_ERROR_NONE);
}

START_TEST(test_fields)
{
	accept();
	ck_assert_ptr_eq(image.data, file);
	ck_assert_uint_eq(image.size, SAMPLE_SIZE);
	ck_assert_uint_eq(image.protocol, 0x20f);
	ck_assert_uint_eq(image.setup_size, SAMPLE_SETUP);
	ck_assert_uint_eq(image.kernel_size, SAMPLE_KERNEL);
	ck_assert_uint_eq(image.init_size, SAMPLE_INIT);
	ck_assert_uint_eq(image.alignment, 0x200000);
	ck_assert_uint_eq(image.pref_address, 0x1000000);
	ck_assert_uint_eq(image.cmdline_size, 2047);
	ck_assert_uint_eq(image.xloadflags, 3);
	ck_assert_str_eq(image.release, SAMPLE_RELEASE);
	ck_assert_uint_eq(image.version[0], 6);
	ck_assert_uint_eq(image.version[1], 1);
}
END_TEST

START_TEST(test_not_a_bzimage)
{
	hdr->boot_flag = 0;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "not a bzImage");
	setup();
	memcpy(&hdr->header, "HdrX", 4);
	refuse(POPCORN_ERROR_IMAGE_INVALID, "not a bzImage");
	memcpy(file, "\177ELF", 4);
	refuse(POPCORN_ERROR_IMAGE_INVALID, "not a bzImage");
}
END_TEST

START_TEST(test_truncated)
{
	char sizes[64];

	/* Every length: the file's end may fall anywhere. */
	for (size_t size = 0; size < 0x264; size++)
		refuse_sized(POPCORN_ERROR_IMAGE_INVALID, "copied whole", size);
	for (size_t size = 0x264; size < SAMPLE_SIZE; size += size < 0x1000 ? 1 : 997) {
		snprintf(sizes, sizeof(sizes), "says %d bytes, the file has %zu", SAMPLE_SIZE,
			 size);
		refuse_sized(POPCORN_ERROR_IMAGE_INVALID, sizes, size);
	}
	hdr->syssize = UINT32_MAX;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "says 68719478768 bytes");
}
END_TEST

START_TEST(test_longer_file)
{
	/* A signature is appended to signed images. */
	hdr->syssize -= 16;
	accept();
	ck_assert_uint_eq(image.kernel_size, SAMPLE_KERNEL - 256);
}
END_TEST

START_TEST(test_setup_sects_zero)
{
	/* 0 means 4: one sector more than the sample has. */
	hdr->setup_sects = 0;
	hdr->syssize = (SAMPLE_KERNEL - 512) / 16;
	accept();
	ck_assert_uint_eq(image.setup_size, 5 * 512);
	hdr->syssize++;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "truncated");
}
END_TEST

START_TEST(test_too_old)
{
	hdr->version = 0x020b;
	refuse(POPCORN_ERROR_IMAGE_TOO_OLD, "2.11");
	hdr->version = 0x020c;
	accept();
}
END_TEST

START_TEST(test_32_bit)
{
	hdr->xloadflags &= ~XLF_KERNEL_64;
	refuse(POPCORN_ERROR_IMAGE_NOT_64BIT, "64-bit entry point");
}
END_TEST

START_TEST(test_header_end)
{
	hdr->jump = 0xeb | (0x263 - 0x202) << 8;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "ends at 0x263");
	hdr->jump = 0xeb | (0x264 - 0x202) << 8;
	accept();
	hdr->jump = 0xeb | 0xff << 8;
	accept();
}
END_TEST

START_TEST(test_kernel_size)
{
	hdr->syssize = 0;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "can't be");
	hdr->syssize = 0x200 / 16; /* ends where the entry would be */
	refuse(POPCORN_ERROR_IMAGE_INVALID, "can't be");
	hdr->syssize++;
	accept();
}
END_TEST

START_TEST(test_alignment)
{
	static const uint32_t bad[] = { 0,	  1,	    0x1000,	0x100000,
					0x300000, 0x200001, 0x80000000, 0xffffffff };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		hdr->kernel_alignment = bad[i];
		refuse(POPCORN_ERROR_IMAGE_INVALID, "aligned");
	}
	hdr->kernel_alignment = 0x1000000;
	accept();
}
END_TEST

START_TEST(test_not_relocatable)
{
	hdr->relocatable_kernel = 0;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "CONFIG_RELOCATABLE");
}
END_TEST

START_TEST(test_init_size)
{
	hdr->init_size = SAMPLE_KERNEL - 1;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "unpack");
	hdr->init_size = 0;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "unpack");
	hdr->init_size = 0x80000001;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "unpack");
	hdr->init_size = SAMPLE_KERNEL;
	accept();
}
END_TEST

START_TEST(test_version_string)
{
	char *version = (char *)file + SAMPLE_VERSION_AT;

	hdr->kernel_version = 0;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "version");
	hdr->kernel_version = SAMPLE_SETUP - 512;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "outside");
	hdr->kernel_version = 0xffff;
	refuse(POPCORN_ERROR_IMAGE_INVALID, "outside");

	/* Runs up to the end of the set-up code without an end. */
	hdr->kernel_version = SAMPLE_SETUP - 512 - 3;
	memcpy(file + SAMPLE_SETUP - 3, "6.1", 3);
	refuse(POPCORN_ERROR_IMAGE_INVALID, "kernel release");
	file[SAMPLE_SETUP - 1] = '\0';
	file[SAMPLE_SETUP - 2] = '9';
	refuse(POPCORN_ERROR_IMAGE_INVALID, "'69'");

	hdr->kernel_version = SAMPLE_VERSION_AT - 512;
	memset(version, 'a', 200);
	refuse(POPCORN_ERROR_IMAGE_INVALID, "1 to 127");
	strcpy(version, "6.1/../../etc #1");
	refuse(POPCORN_ERROR_IMAGE_INVALID, "kernel release");
	strcpy(version, "");
	refuse(POPCORN_ERROR_IMAGE_INVALID, "kernel release");
	strcpy(version, " 6.1");
	refuse(POPCORN_ERROR_IMAGE_INVALID, "kernel release");
	strcpy(version, "6.1\n#1");
	refuse(POPCORN_ERROR_IMAGE_INVALID, "kernel release");
	strcpy(version, "six.1 #1");
	refuse(POPCORN_ERROR_IMAGE_INVALID, "'six.1'");
	strcpy(version, "6 #1");
	refuse(POPCORN_ERROR_IMAGE_INVALID, "'6'");
	strcpy(version, "99999999999999999999.1 #1");
	refuse(POPCORN_ERROR_IMAGE_INVALID, "version number");

	strcpy(version, "6.12.117+deb12~x_Y-amd64");
	accept();
	ck_assert_str_eq(image.release, "6.12.117+deb12~x_Y-amd64");
	ck_assert_uint_eq(image.version[1], 12);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bzimage");
	TCase *tc = tcase_create("parse");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_fields);
	tcase_add_test(tc, test_not_a_bzimage);
	tcase_add_test(tc, test_truncated);
	tcase_add_test(tc, test_longer_file);
	tcase_add_test(tc, test_setup_sects_zero);
	tcase_add_test(tc, test_too_old);
	tcase_add_test(tc, test_32_bit);
	tcase_add_test(tc, test_header_end);
	tcase_add_test(tc, test_kernel_size);
	tcase_add_test(tc, test_alignment);
	tcase_add_test(tc, test_not_relocatable);
	tcase_add_test(tc, test_init_size);
	tcase_add_test(tc, test_version_string);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
