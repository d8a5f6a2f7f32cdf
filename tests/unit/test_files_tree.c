// SPDX-License-Identifier: GPL-2.0-or-later
/* What is mounted below a shared folder: what of it is shared. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "run.h"
#include "tree.h"

/* As "PATH=ID", in the order in which they are to be mounted. */
static void finds(const char *mountinfo, const char *folder, const char *expected)
{
	FILE *f = fmemopen((char *)mountinfo, strlen(mountinfo), "re");
	struct tree_mount *mounts = NULL;
	char all[1024] = "";
	size_t n = 0, length = 0;

	ck_assert_int_eq(tree_find(f, folder, &mounts, &n), 0);
	for (size_t i = 0; i < n; i++)
		length += (size_t)snprintf(all + length, sizeof(all) - length, "%s%s=%llu",
					   i ? " " : "", mounts[i].path,
					   (unsigned long long)mounts[i].id);
	ck_assert_str_eq(all, expected);
	tree_free(mounts, n);
	fclose(f);
}

static void bad(const char *mountinfo)
{
	FILE *f = fmemopen((char *)mountinfo, strlen(mountinfo), "re");
	struct tree_mount *mounts = NULL;
	size_t n = 77;

	ck_assert_int_eq(tree_find(f, "/", &mounts, &n), -EBADMSG);
	ck_assert(!mounts && n == 77);
	fclose(f);
}

static const char usual[] = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
			    "22 21 0:5 / /dev rw shared:2 - devtmpfs udev rw\n"
			    "23 22 0:20 / /dev/pts rw shared:3 - devpts devpts rw\n"
			    "24 21 0:21 / /proc rw shared:5 - proc proc rw\n"
			    "25 21 0:22 / /sys rw shared:6 - sysfs sysfs rw\n"
			    "26 25 0:23 / /sys/fs/cgroup rw shared:7 - cgroup2 cgroup2 rw\n"
			    "27 21 0:24 / /run rw shared:8 - tmpfs tmpfs rw\n"
			    "28 27 8:2 / /run/media/disk rw shared:9 - vfat /dev/sdb1 rw\n"
			    "30 29 0:31 / /home/net rw shared:11 master:3 - nfs4 server:/x rw\n"
			    "29 21 8:3 / /home rw shared:10 - xfs /dev/sda3 rw\n"
			    "31 21 0:32 / /home/a\\040b\\134 rw - btrfs /dev/sdc rw\n"
			    "32 21 0:33 / /homes rw - overlay overlay rw\n"
			    "33 21 0:34 / /tmp rw - tmpfs tmpfs rw\n"
			    "34 21 0:35 / /mnt/phone rw - fuse.sshfs x rw\n";

START_TEST(test_find)
{
	finds(usual, "/", "/home=29 /home/a b\\=31 /home/net=30 /homes=32 /run/media/disk=28");
	finds(usual, "/home", "/home/a b\\=31 /home/net=30");
	finds(usual, "/home/net", "");
	finds(usual, "/hom", "");
	finds(usual, "/run", "/run/media/disk=28");
	finds("", "/", "");
}
END_TEST

START_TEST(test_covered)
{
	/* The last one is what is seen there. */
	finds("21 1 8:1 / / rw - ext4 a rw\n22 21 8:2 / /a rw - ext4 b rw\n"
	      "23 22 8:3 / /a rw - xfs c rw\n",
	      "/", "/a=23");
	finds("21 1 8:1 / / rw - ext4 a rw\n22 21 8:2 / /a rw - ext4 b rw\n"
	      "23 22 0:3 / /a rw - tmpfs c rw\n",
	      "/", "");
}
END_TEST

START_TEST(test_bad)
{
	bad("x 1 8:1 / / rw - ext4 a rw\n");
	bad("21\n");
	bad("21 1 8:1 / a rw - ext4 a rw\n");
	bad("21 1 8:1 / /a rw\n");
	bad("21 1 8:1 / /a rw -\n");
	bad("21 1 8:1 / /a\\04 rw - ext4 a rw\n");
	bad("21 1 8:1 / /a\\098 rw - ext4 a rw\n");
	bad("\n");
}
END_TEST

START_TEST(test_real)
{
	ck_assert(tree_is_real("ext4") && tree_is_real("overlay") && tree_is_real("nfs4"));
	ck_assert(!tree_is_real("proc") && !tree_is_real("tmpfs") && !tree_is_real("fuse"));
	ck_assert(!tree_is_real("") && !tree_is_real("ext"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("files_tree");
	TCase *tc = tcase_create("tree");

	tcase_add_test(tc, test_find);
	tcase_add_test(tc, test_covered);
	tcase_add_test(tc, test_bad);
	tcase_add_test(tc, test_real);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
