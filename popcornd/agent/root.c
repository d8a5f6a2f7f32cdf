// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "agent.h"
#include "root.h"

#define ROOT "/popcorn/root"
#define FILES "/popcorn/files"
#define MEMORY "/popcorn/memory"

/* Of what we read of the primary's: a file that is larger is not what we take it for. */
#define TEXT_MAX (64U << 10)

/* In the root as the init will see it: links, also absolute ones and those that climb, lead nowhere else. */
static int open_in(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* The folder, which is made if it is not there. */
static int open_folder(int root, const char *path)
{
	const char *name = base_name(path);
	_cleanup_close_ int folder = -1;
	char parent[PATH_MAX];
	int fd = open_in(root, path, O_PATH | O_DIRECTORY);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (name == path) {
		folder = open_in(root, ".", O_PATH | O_DIRECTORY);
	} else {
		snprintf(parent, sizeof(parent), "%.*s", (int)(name - 1 - path), path);
		folder = open_folder(root, parent);
	}
	/* A name that is there, and could not be opened, is a link that leads to nothing. */
	if (folder < 0 || (mkdirat(folder, name, 0755) < 0 && errno != EEXIST))
		return -1;
	return open_in(root, path, O_PATH | O_DIRECTORY);
}

/*
 * What can't be written is said, and the kernel comes up without it. A link is replaced, and not what it
 * leads to.
 */
static void put_file(int root, const char *folder, const char *name, mode_t mode, const char *text)
{
	_cleanup_close_ int dir = open_folder(root, folder), fd = -1;
	size_t length = strlen(text);

	if (dir >= 0)
		(void)unlinkat(dir, name, 0);
	fd = dir < 0 ? -1
		     : openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			      mode);
	if (fd < 0 || write(fd, text, length) != (ssize_t)length)
		warn("write /%s/%s: %m", folder, name);
}

static void put_link(int root, const char *folder, const char *name, const char *target)
{
	_cleanup_close_ int dir = open_folder(root, folder);

	if (dir >= 0)
		(void)unlinkat(dir, name, 0);
	if (dir < 0 || symlinkat(target, dir, name) < 0)
		warn("link /%s/%s: %m", folder, name);
}

/* NULL: none, or too much. A NUL ends it. */
static char *read_text(int root, const char *path)
{
	_cleanup_close_ int fd = open_in(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	char *text = fd < 0 ? NULL : malloc(TEXT_MAX);
	size_t size = 0;
	ssize_t n = -1;

	while (text && size < TEXT_MAX && (n = read(fd, text + size, TEXT_MAX - size)) > 0)
		size += (size_t)n;
	if (n != 0) {
		free(text);
		return NULL;
	}
	text[size] = '\0';
	return text;
}

/* The next line of @text, without its end; @text moves on. */
static char *next_line(char **text)
{
	return *text && **text ? strsep(text, "\n") : NULL;
}

/* Mounting. */

static void make_folder(const char *path, mode_t mode)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		fail("make %s: %m", path);
}

static void mount_share(const char *target, unsigned long flags)
{
	make_folder(target, 0755);
	if (mount(AGENT_ROOT_TAG, target, "virtiofs", flags, NULL) < 0)
		fail("mount the root, which the primary shares as " AGENT_ROOT_TAG ": %m");
}

/* A folder that begins empty, in what lies above the primary's files: as if it had none. */
static void hide_folder(const char *path, mode_t mode)
{
	char below[PATH_MAX], above[PATH_MAX];
	struct stat st;

	snprintf(below, sizeof(below), FILES "%s", path);
	snprintf(above, sizeof(above), MEMORY "/upper%s", path);
	if (lstat(below, &st) < 0 || !S_ISDIR(st.st_mode))
		return;
	make_folder(above, mode);
	/* mkdir() minds the umask. */
	if (chmod(above, mode) < 0 || setxattr(above, "trusted.overlay.opaque", "y", 1, 0) < 0)
		fail("hide the primary's %s: %m", path);
}

/* A folder in which something is hidden, as it is below. */
static void copy_folder(const char *path)
{
	char below[PATH_MAX], above[PATH_MAX];
	struct stat st;

	snprintf(below, sizeof(below), FILES "%s", path);
	snprintf(above, sizeof(above), MEMORY "/upper%s", path);
	if (lstat(below, &st) < 0 || !S_ISDIR(st.st_mode))
		return;
	make_folder(above, st.st_mode & 07777);
	if (chown(above, st.st_uid, st.st_gid) < 0 || chmod(above, st.st_mode & 07777) < 0)
		fail("make %s: %m", above);
}

/*
 * redirect_dir: folders can be renamed. The rest is what it would be without a word on most kernels, and is said because
 * some are built otherwise: index and nfs_export want file handles, which a share does not have; xino wants bits of inode
 * numbers, which a share uses; metacopy would leave data below that may change there.
 */
static void mount_overlay(bool of_primary)
{
	static const char options[] =
		"lowerdir=" FILES ",upperdir=" MEMORY "/upper,workdir=" MEMORY
		"/work,redirect_dir=on,index=off,nfs_export=off,xino=off,metacopy=off";

	mount_share(FILES, MS_RDONLY);
	make_folder(MEMORY, 0755);
	if (mount("popcorn", MEMORY, "tmpfs", MS_NOSUID | MS_NODEV, "size=50%,mode=0755") < 0)
		fail("mount memory for what is written: %m");
	make_folder(MEMORY "/upper", 0755);
	make_folder(MEMORY "/work", 0755);
	copy_folder("");
	if (of_primary) {
		hide_folder("/tmp", 01777);
		copy_folder("/var");
		hide_folder("/var/tmp", 01777);
	}
	if (mount("popcorn", ROOT, "overlay", 0, options) < 0)
		fail("mount memory over the root: %m");
	/* It has them for itself now. */
	if (umount2(FILES, MNT_DETACH) < 0 || umount2(MEMORY, MNT_DETACH) < 0)
		warn("unmount what is below the root: %m");
}

/* What a second system on the same files must not take from the first. */

/* The primary's names are names here too; its own name and "localhost" are not. */
static void write_hosts(int root, const struct agent_config *config)
{
	_cleanup_free_ char *theirs = read_text(root, "etc/hosts"), *text = NULL;
	char *rest = theirs, *line;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	fprintf(f,
		"127.0.0.1\tlocalhost\n127.0.1.1\t%s\n"
		"::1\tlocalhost ip6-localhost ip6-loopback\n",
		config->hostname);
	for (size_t i = 0; i < config->n_hosts; i++)
		fprintf(f, "%s\t%s\n", config->hosts[i].address, config->hosts[i].name);
	while ((line = next_line(&rest)))
		if (*line && *line != '#' && strncmp(line, "127.", 4) != 0 &&
		    strncmp(line, "::1", 3) != 0)
			fprintf(f, "%s\n", line);
	if (fclose(f) == 0)
		put_file(root, "etc", "hosts", 0644, text);
}

/* One that this kernel can ask: not one that the primary runs for itself. */
static bool has_nameserver(const char *text)
{
	const char *server = text;

	while (server && (server = strstr(server, "nameserver"))) {
		const char *address = server + strlen("nameserver");

		if ((server == text || server[-1] == '\n') &&
		    (*address == ' ' || *address == '\t')) {
			address += strspn(address, " \t");
			if (strncmp(address, "127.", 4) != 0 && strncmp(address, "::1", 3) != 0)
				return true;
		}
		server++;
	}
	return false;
}

/* One that is good here stays as it is, with all that is in it; links to files in /run lead nowhere. */
static void write_resolv_conf(int root, const struct agent_config *config)
{
	_cleanup_free_ char *theirs = read_text(root, "etc/resolv.conf");
	char text[AGENT_NAMESERVERS_MAX * (INET6_ADDRSTRLEN + 16)];
	int length = 0;

	if (!config->n_nameservers || (theirs && has_nameserver(theirs)))
		return;
	for (size_t i = 0; i < config->n_nameservers; i++)
		length += snprintf(text + length, sizeof(text) - (size_t)length, "nameserver %s\n",
				   config->nameservers[i]);
	put_file(root, "etc", "resolv.conf", 0644, text);
}

static void write_identity(int root, const struct agent_config *config)
{
	char line[AGENT_NAME_MAX + 2];

	if (*config->hostname) {
		snprintf(line, sizeof(line), "%s\n", config->hostname);
		put_file(root, "etc", "hostname", 0644, line);
	}
	if (*config->machine_id) {
		snprintf(line, sizeof(line), "%s\n", config->machine_id);
		put_file(root, "etc", "machine-id", 0444, line);
	}
	write_hosts(root, config);
	write_resolv_conf(root, config);
}

/*
 * Of the primary's units: what manages kernels, hardware or disks that this kernel does not have, and what does, by the
 * clock, for the files of a system what the primary does for them already.
 */
static const char *const masked_units[] = {
	"popcornd.service",
	"popcorn@.service",
	/* Interfaces and disks of the primary that these would wait for. */
	"systemd-networkd-wait-online.service",
	"NetworkManager-wait-online.service",
	"multipathd.service",
	"multipathd.socket",
	"open-iscsi.service",
	"iscsid.service",
	"iscsid.socket",
	"lvm2-monitor.service",
	"mdmonitor.service",
	"smartmontools.service",
	"zfs-import-cache.service",
	"zfs-import-scan.service",
	"getty@tty1.service",
	/* A crash kernel, another kernel. */
	"kdump-tools.service",
	"kexec.service",
	"kexec-load.service",
	/* Done by the primary. */
	"apt-daily.timer",
	"apt-daily-upgrade.timer",
	"unattended-upgrades.service",
	"dpkg-db-backup.timer",
	"man-db.timer",
	"logrotate.timer",
	"fstrim.timer",
	"e2scrub_all.timer",
	"e2scrub_reap.service",
	"mdcheck_start.timer",
	"mdcheck_continue.timer",
	"cron.service",
	"anacron.service",
	"anacron.timer",
};

/* Logins on serial lines: the lines are the primary's, and an init would wait for them. Ours has one on its console. */
static void write_gettys(int root)
{
	static const char wants[] = "etc/systemd/system/getty.target.wants";
	_cleanup_close_ int fd = open_in(root, wants, O_RDONLY | O_DIRECTORY);
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;

	if (fd >= 0 && (dir = fdopendir(dup(fd))))
		while ((entry = readdir(dir)))
			if (strncmp(entry->d_name, "serial-getty@", 13) == 0)
				(void)unlinkat(fd, entry->d_name, 0);
	/* Not among those of getty.target, which may be masked where nobody logs in on a screen. */
	put_link(root, "etc/systemd/system/multi-user.target.wants", "serial-getty@hvc0.service",
		 "/usr/lib/systemd/system/serial-getty@.service");
}

static void write_unmanaged(int root, const char *interface)
{
	char text[256];

	/* Other interfaces are the primary's; ifupdown would miss them. */
	put_file(root, "etc/network", "interfaces", 0644, "auto lo\niface lo inet loopback\n");
	if (!*interface)
		return;
	snprintf(text, sizeof(text), "[Match]\nName=%s\n\n[Link]\nUnmanaged=yes\n", interface);
	put_file(root, "etc/systemd/network", "00-popcorn.network", 0644, text);
	snprintf(text, sizeof(text),
		 "[Match]\nOriginalName=%s\n\n[Link]\nNamePolicy=keep\nMACAddressPolicy=none\n",
		 interface);
	put_file(root, "etc/systemd/network", "00-popcorn.link", 0644, text);
	snprintf(text, sizeof(text), "[keyfile]\nunmanaged-devices=interface-name:%s\n", interface);
	put_file(root, "etc/NetworkManager/conf.d", "00-popcorn.conf", 0644, text);
}

static void leave_the_primary(int root, const char *interface)
{
	_cleanup_close_ int seed = open_in(root, "var/lib/systemd", O_PATH | O_DIRECTORY);

	put_file(root, "etc", "fstab", 0644, "");
	put_file(root, "etc", "crypttab", 0600, "");
	/* Two kernels that begin with one seed would be the worse for it. */
	if (seed >= 0)
		(void)unlinkat(seed, "random-seed", 0);
	put_file(root, "etc/systemd/journald.conf.d", "90-popcorn.conf", 0644,
		 "[Journal]\nStorage=volatile\n");
	for (size_t i = 0; i < sizeof(masked_units) / sizeof(masked_units[0]); i++)
		put_link(root, "etc/systemd/system", masked_units[i], "/dev/null");
	write_gettys(root);
	write_unmanaged(root, interface);
}

void root_name(const struct agent_config *config)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0) {
		warn("open the root: %m");
		return;
	}
	write_identity(root, config);
}

void root_mount(const struct agent_config *config, const char *interface)
{
	_cleanup_close_ int root = -1;
	bool of_primary = config->root == AGENT_ROOT_PRIMARY;

	make_folder(ROOT, 0755);
	if (config->root == AGENT_ROOT_FOLDER) {
		/* It is somebody's, and kept: what is in it is theirs to say. */
		mount_share(ROOT, 0);
		return;
	}
	mount_overlay(of_primary);
	root = open(ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		fail("open the root: %m");
	write_identity(root, config);
	if (of_primary)
		leave_the_primary(root, interface);
}

/* Handing over. */

/* All that is on the same file system; what can't be removed stays, and costs memory. */
static void empty(int folder, dev_t device)
{
	_cleanup_closedir_ DIR *dir = fdopendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct stat st;
		int fd;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    st.st_dev != device)
			continue;
		if (!S_ISDIR(st.st_mode)) {
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
			continue;
		}
		fd = openat(dirfd(dir), entry->d_name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			empty(fd, device);
		(void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	}
}

/* Mounts of the agent's become those of the new root. */
static void take_mount(const char *path)
{
	char target[64];

	snprintf(target, sizeof(target), ROOT "%s", path);
	/* Also in a folder that is somebody's: nothing could run there without. */
	make_folder(target, 0755);
	if (mount(path, target, NULL, MS_MOVE, NULL) < 0)
		fail("move %s to the root: %m", path);
}

void root_start_init(const struct agent_config *config, char *argv[])
{
	static char init[PATH_MAX];
	int initramfs = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	take_mount("/dev");
	take_mount("/proc");
	take_mount("/sys");
	make_folder(ROOT "/run", 0755);
	if (mount("run", ROOT "/run", "tmpfs", MS_NOSUID | MS_NODEV | MS_STRICTATIME,
		  "mode=0755,size=20%") < 0)
		fail("mount /run: %m");
	if (initramfs >= 0 && fstat(initramfs, &st) == 0)
		empty(initramfs, st.st_dev);
	/* As switch_root(8): the first file system of a kernel can't be left by pivot_root(2). */
	if (chdir(ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		fail("change to the root: %m");
	snprintf(init, sizeof(init), "%s", config->init);
	argv[0] = init;
	execv(init, argv);
	fail("start %s: %m", init);
}
