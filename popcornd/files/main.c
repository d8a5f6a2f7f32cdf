// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * popcorn-files TREE FOLDER rw|ro VIRTIOFSD: started by popcornd in a unit of its own for each share
 * of a kernel, with a listening vhost-user socket as standard input. Makes a private tree of what is to
 * be shared at TREE, and becomes virtiofsd, which makes it its root: then there is nothing else that it,
 * or whoever takes it over, could open.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tree.h"
#include "util.h"

/* Where virtiofsd gets its socket. */
#define SOCKET_FD 3

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(EXIT_FAILURE);
}

static uint64_t mount_id(int fd)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0 || !(stx.stx_mask & STATX_MNT_ID))
		return 0;
	return stx.stx_mnt_id;
}

/* What @fd is in, without what is mounted on it. */
static int clone_mount(int fd)
{
	return open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
}

/* @path below @tree, wherever symbolic links there lead. */
static int open_below(int tree, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS,
	};

	return (int)syscall(SYS_openat2, tree, path, &how, sizeof(how));
}

/* One more mount at its place in the tree. One that came or went meanwhile is left out. */
static void add_mount(int tree, const char *folder, const struct tree_mount *mount)
{
	size_t skip = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
	_cleanup_close_ int from = -1, clone = -1, to = -1;

	from = open(mount->path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (from < 0 || mount_id(from) != mount->id)
		return;
	to = open_below(tree, mount->path + skip);
	clone = clone_mount(from);
	if (clone < 0 || to < 0 ||
	    move_mount(clone, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		fprintf(stderr, "what is mounted on %s is not shared: %s\n", mount->path,
			strerror(errno));
}

static void make_tree(const char *at, const char *folder, bool read_only)
{
	struct mount_attr attr = {
		/* Devices are the other kernel's own, if at all. */
		.attr_set =
			MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | (read_only ? MOUNT_ATTR_RDONLY : 0),
		.propagation = MS_PRIVATE,
	};
	_cleanup_close_ int root = -1, clone = -1, tree = -1;
	_cleanup_fclose_ FILE *mountinfo = NULL;
	_cleanup_free_ char *real = NULL;
	struct tree_mount *mounts;
	size_t n;
	int r;

	/* Whoever named a link meant what it leads to. */
	real = realpath(folder, NULL);
	if (!real)
		die("%s can't be shared: %s", folder, strerror(errno));
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		die("no namespace for mounts: %s", strerror(errno));
	root = open(real, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	mountinfo = fopen("/proc/self/mountinfo", "re");
	if (root < 0 || !mountinfo)
		die("%s can't be shared: %s", real, strerror(errno));
	r = tree_find(mountinfo, real, &mounts, &n);
	if (r < 0)
		die("/proc/self/mountinfo: %s", strerror(-r));

	clone = clone_mount(root);
	if (clone < 0)
		die("%s can't be shared: %s", real, strerror(errno));
	if (move_mount(clone, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		die("%s can't be mounted at %s: %s", real, at, strerror(errno));
	tree = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (tree < 0)
		die("%s: %s", at, strerror(errno));
	for (size_t i = 0; i < n; i++)
		add_mount(tree, real, &mounts[i]);
	tree_free(mounts, n);
	if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		die("%s can't be shared %s: %s", real, read_only ? "for reading only" : "safely",
		    strerror(errno));
}

/* Standard input becomes SOCKET_FD, where virtiofsd may keep it, and /dev/null what it was. */
static void move_socket(void)
{
	_cleanup_close_ int null = -1;

	/* First the socket: until then the number may be what open() gives. */
	if (dup2(STDIN_FILENO, SOCKET_FD) < 0 ||
	    (null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0 || dup2(null, STDIN_FILENO) < 0)
		die("standard input: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	_cleanup_free_ char *source = NULL, *socket = NULL, *files = NULL;
	struct rlimit limit;
	bool read_only, lower;

	lower = argc == 5 && strcmp(argv[3], "lower") == 0;
	read_only = lower || (argc == 5 && strcmp(argv[3], "ro") == 0);
	if (argc != 5 || (!read_only && strcmp(argv[3], "rw") != 0))
		die("Usage: %s TREE FOLDER rw|ro|lower VIRTIOFSD\n\nStarted by popcornd.", argv[0]);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("no limit for files: %s", strerror(errno));
	make_tree(argv[1], argv[2], read_only);
	move_socket();
	/*
	 * announce_submounts: two file systems may have files of the same number. Not below an overlay, which does not
	 * look into what is mounted by itself (EREMOTE). What an overlay has below it is programs more than
	 * anything else: with cache=auto each open of a library would drop the pages of all that run it. With these
	 * options they are kept, and what is known of a file is asked for again after 10 s, which drops them if it has
	 * changed. No thread pool: only requests that are answered in their order can be taken up where a dead server was.
	 */
	if (asprintf(&source, "source=%s,xattr,sandbox=namespace,log_level=warn,%s", argv[1],
		     lower ? "cache=always,timeout=10" : "cache=auto,announce_submounts") < 0 ||
	    asprintf(&socket, "--fd=%d", SOCKET_FD) < 0 ||
	    asprintf(&files, "--rlimit-nofile=%llu", (unsigned long long)limit.rlim_max) < 0)
		die("out of memory");
	execl(argv[4], argv[4], socket, files, "--thread-pool-size=0", "-f", "-o", source,
	      (char *)NULL);
	die("%s: %s", argv[4], strerror(errno));
}
