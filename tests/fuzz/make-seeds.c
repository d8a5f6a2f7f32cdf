// SPDX-License-Identifier: GPL-2.0-or-later
/* Writes the seeds of the fuzz targets below the folder named: make-seeds tests/fuzz/seeds */
#define KLOG_SMALL
#include <sys/stat.h>
#include <errno.h>

#include "fuzz.h"
#include "../unit/image-sample.h"
#include "../unit/klog-sample.h"
#include "../unit/vmlinux-sample.h"
#include "protocol.h"
#include "vmlinux.h"

static const char *top;

static void save(const char *target, const char *name, const void *data, size_t size)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", top, target);
	CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%s/%s", top, target, name);
	f = fopen(path, "we");
	CHECK(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
}

static void bzimage(void)
{
	enum { SETUP = 0x600, KERNEL = 0x240 };
	uint8_t file[SAMPLE_SIZE];
	struct setup_header *hdr = sample_header(file);

	sample_bzimage(file);
	/* As small as can be. */
	hdr->setup_sects = SETUP / 512 - 1;
	hdr->syssize = KERNEL / 16;
	save("fuzz_bzimage", "good", file, SETUP + KERNEL);
	save("fuzz_bzimage", "truncated", file, SETUP + KERNEL - 1);
	hdr->setup_sects = 0;
	hdr->syssize = 0x30;
	save("fuzz_bzimage", "no-sects", file, 5 * 512 + 0x300);
	hdr->setup_sects = SETUP / 512 - 1;
	hdr->jump |= 0xff00;
	save("fuzz_bzimage", "long-header", file, SETUP + 0x300);
	hdr->pref_address = ~0ull;
	save("fuzz_bzimage", "preferred-wraps", file, SETUP + 0x300);
	hdr->pref_address = 0;
	hdr->xloadflags = XLF_KERNEL_64;
	save("fuzz_bzimage", "below-4g", file, SETUP + 0x300);
	hdr->kernel_version = SETUP - 512 - 1;
	save("fuzz_bzimage", "version-at-end", file, SETUP + 0x300);
}

static void cmdline(void)
{
	static const char *const lines[] = {
		"",
		"quiet console=ttyS1",
		"a=\"b c\" -- single",
		"\"--\" x",
		"panic=5 pci=noacpi",
		"acpi=off",
		"acpi=\"off\"",
		"\"open",
		"-- \"open",
		"x=-- --y",
		"\"acpi=off\" nolapic",
	};
	char name[16];

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		snprintf(name, sizeof(name), "line-%zu", i);
		save("fuzz_cmdline", name, lines[i], strlen(lines[i]));
	}
}

static void initramfs(void)
{
	static const char files[] = "\x04"
				    "\x00\x05\x05"
				    "a/b/chello"
				    "\x01\x03\x00"
				    "a/b"
				    "\x02\x03\x01"
				    "a/lb"
				    "\x03\x0b\x00"
				    "dev/console"
				    "initrd";
	static const char bad[] = "\x01\x00\x04\x00../a";
	static const char again[] = "\x02\x01\x01\x00x\x01\x01\x00xyz";

	save("fuzz_initramfs", "files", files, sizeof(files) - 1);
	save("fuzz_initramfs", "bad-path", bad, sizeof(bad) - 1);
	save("fuzz_initramfs", "twice", again, sizeof(again) - 1);
}

static void klog(void)
{
	static uint8_t memory[KLOG_SIZE];
	struct klog_sample s;

	for (int kind = 0; kind < 3; kind++) {
		static const char *const names[] = { "image", "tables-4k", "tables-2m" };
		uint64_t va = kind ? KLOG_DIRECT : KLOG_IMAGE;

		klog_sample_init(&s, memory, 4, 9, va);
		if (kind)
			klog_map(&s, va, 5, kind == 1 ? 12 : 21);
		klog_add_string(&s, 0, "Linux version 6.1.0");
		klog_add_string(&s, 0, "Command line: popcorn.generation=1");
		for (unsigned i = 0; i < 20; i++)
			klog_add_string(&s, i * 1000000, i % 3 ? "text" : "two\nlines\x1b");
		save("fuzz_klog", names[kind], memory, kind ? KLOG_SIZE : 0x2000);
	}
	klog_sample_init(&s, memory, 5, 10, KLOG_IMAGE);
	klog_add_string(&s, 0, "Linux version 6.1.0");
	klog_add_string(&s, 1000, "Command line: popcorn.generation=1");
	klog_add_string(&s, 2000, "Kernel panic");
	klog_add_string(&s, 3000, "end");
	memset(memory + KLOG_VMCORE, 0, 0xf00);
	save("fuzz_klog", "static", memory, 0x2000);
}

static void vmlinux(void)
{
	static const char *const formats[] = { "xz", "gzip", "zstd" };
	static struct vml_sample sample;
	static uint8_t out[1 + VML_ROOM + 4096];
	const struct bzimage kernel = {
		.init_size = 0x400000,
		.alignment = 0x200000,
		.pref_address = VML_BASE,
	};
	size_t size;
	void *blob;

	for (int groups = 3; groups >= 0; groups--) {
		static const char *const names[] = { "elf", NULL, "elf-2", "elf-3" };

		if (!names[groups])
			continue;
		vml_init(&sample);
		vml_add_relocs(&sample, groups);
		out[0] = 0;
		memcpy(out + 1, sample.data, sample.size);
		save("fuzz_vmlinux", names[groups], out, 1 + sample.size);
	}
	vml_init(&sample);
	vml_add_relocs(&sample, 3);
	for (int format = VML_XZ; format <= VML_ZSTD; format++) {
		out[0] = 1;
		size = vml_pack((enum vml_format)format, sample.data, sample.size, out + 1,
				VML_ROOM);
		save("fuzz_vmlinux", formats[format], out, 1 + size);
	}
	CHECK(vmlinux_layout(&kernel, sample.data, sample.size, &blob, &size) == 0);
	out[0] = 2;
	CHECK(size < sizeof(out));
	memcpy(out + 1, blob, size);
	save("fuzz_vmlinux", "blob", out, 1 + size);
}

static void agent(void)
{
	static char *arguments[] = { "sh", "-c", "echo hello", NULL };
	static char *environment[] = { "TERM=vt220", "LANG=C.UTF-8", NULL };
	static char *none[] = { NULL };
	const struct agent_command command = { .arguments = arguments, .environment = environment };
	const struct agent_command login = { .arguments = none,
					     .environment = environment,
					     .flags = AGENT_EXEC_FLAGS,
					     .size = agent_size(24, 80) };
	struct agent_header header;
	struct agent_number number;
	uint8_t exec[AGENT_EXEC_MAX];
	struct {
		struct agent_top top;
		struct agent_process process[2];
	} answer = {
		.top = { .header = agent_header(AGENT_TOP, 0), .cpus = 2, .listed = 2 },
		.process = { { .pid = 1, .state = 'S', .name = "init" }, { .pid = 2 } },
	};
	struct agent_hello hello = { .header = agent_header(AGENT_HELLO, 0), .release = "1.0" };

	save("fuzz_agent", "exec", exec, (size_t)agent_build_exec(&command, exec));
	save("fuzz_agent", "login", exec, (size_t)agent_build_exec(&login, exec));
	save("fuzz_agent", "top", &answer, sizeof(answer));
	save("fuzz_agent", "hello", &hello, sizeof(hello));
	header = agent_header(AGENT_CLOSE, AGENT_STDOUT);
	save("fuzz_agent", "close", &header, sizeof(header));
	number = agent_number(AGENT_CREDIT, AGENT_STDERR, 4096);
	save("fuzz_agent", "credit", &number, sizeof(number));
	number = agent_number(AGENT_SIGNAL, 0, 15);
	save("fuzz_agent", "signal", &number, sizeof(number));
	number = agent_number(AGENT_WINSIZE, 0, agent_size(50, 132));
	save("fuzz_agent", "winsize", &number, sizeof(number));
}

int main(int argc, char *argv[])
{
	CHECK(argc == 2);
	top = argv[1];
	bzimage();
	cmdline();
	initramfs();
	klog();
	vmlinux();
	agent();
	return 0;
}
