/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* A bzImage and a partition to begin with, which each test then spoils in its own way. */

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"

#define SAMPLE_SETUP_SECTS 3
#define SAMPLE_SETUP ((SAMPLE_SETUP_SECTS + 1) * 512)
#define SAMPLE_KERNEL 0x5000
#define SAMPLE_SIZE (SAMPLE_SETUP + SAMPLE_KERNEL)
#define SAMPLE_INIT 0x1234000
#define SAMPLE_VERSION_AT 0x400
#define SAMPLE_RELEASE "6.1.0-56-amd64"

/* Behind what the header's struct knows: fields of a later protocol, to be copied all the same. */
#define SAMPLE_HEADER_END 0x274

static inline struct setup_header *sample_header(uint8_t *file)
{
	return (struct setup_header *)(file + 0x1f1);
}

/* SAMPLE_SIZE bytes. Bytes that must not be copied are 0xee, those of the kernel count up. */
static inline void sample_bzimage(uint8_t *file)
{
	struct setup_header *hdr = sample_header(file);

	memset(file, 0xee, SAMPLE_SIZE);
	for (size_t i = 0; i < SAMPLE_KERNEL; i++)
		file[SAMPLE_SETUP + i] = (uint8_t)(i * 7);
	memset(hdr, 0, sizeof(*hdr));
	memset(file + 0x1f1 + sizeof(*hdr), 0x5a, SAMPLE_HEADER_END - 0x1f1 - sizeof(*hdr));
	hdr->setup_sects = SAMPLE_SETUP_SECTS;
	hdr->root_flags = 1;
	hdr->syssize = SAMPLE_KERNEL / 16;
	hdr->boot_flag = 0xaa55;
	hdr->jump = 0xeb | (SAMPLE_HEADER_END - 0x202) << 8;
	memcpy(&hdr->header, "HdrS", 4);
	hdr->version = 0x020f;
	hdr->kernel_version = SAMPLE_VERSION_AT - 512;
	hdr->loadflags = LOADED_HIGH | CAN_USE_HEAP | KASLR_FLAG;
	hdr->code32_start = 0x100000;
	hdr->initrd_addr_max = 0x7fffffff;
	hdr->kernel_alignment = 0x200000;
	hdr->relocatable_kernel = 1;
	hdr->min_alignment = 21;
	hdr->xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
	hdr->cmdline_size = 2047;
	hdr->payload_offset = 0x1000;
	hdr->setup_data = 0x1122334455667788;
	hdr->pref_address = 0x1000000;
	hdr->init_size = SAMPLE_INIT;
	hdr->handover_offset = 0x190;
	strcpy((char *)file + SAMPLE_VERSION_AT, SAMPLE_RELEASE " (who@where) #1 SMP 2026-11-16");
}

static const struct image_cpu sample_cpus[] = { { 3, 0 }, { 1, 0 } };
static const struct image_range sample_ranges[] = {
	{ 0x40000000, 0x8000000, 0 },
	{ 0x50000000, 0x8000000, 0 },
};

static inline struct image_partition sample_partition(void)
{
	return (struct image_partition){
		.id = 5,
		.generation = 77,
		.cpus = sample_cpus,
		.n_cpus = 2,
		.ranges = sample_ranges,
		.n_ranges = 2,
		.low_start = 0x20000,
		.low_length = 0x8000,
		.primary_boot_apicid = 0,
		.tsc_khz = 2596119,
	};
}
