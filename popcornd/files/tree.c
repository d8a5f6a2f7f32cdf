// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

/* By name, because what a kernel says of its types ("nodev") tells nothing of those without a disk. */
static const char *const real[] = {
	"9p",	    "afs",     "bcachefs", "btrfs", "ceph",	"cifs",	    "erofs",
	"exfat",    "ext2",    "ext3",	   "ext4",  "f2fs",	"fuseblk",  "gfs2",
	"hfs",	    "hfsplus", "iso9660",  "jfs",   "msdos",	"nfs",	    "nfs4",
	"nilfs2",   "ntfs",    "ntfs3",	   "ocfs2", "overlay",	"reiserfs", "smb3",
	"squashfs", "udf",     "ufs",	   "vfat",  "virtiofs", "xfs",	    "zfs",
};

bool tree_is_real(const char *type)
{
	for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++)
		if (strcmp(real[i], type) == 0)
			return true;
	return false;
}

/* In place: blanks, tabs, line ends and backslashes are there as \ooo. */
static int unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (*s != '\\') {
			*out++ = *s;
			continue;
		}
		for (int i = 1; i <= 3; i++)
			if (s[i] < '0' || s[i] > '7')
				return -EBADMSG;
		*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
		s += 3;
	}
	*out = '\0';
	return 0;
}

static bool is_below(const char *path, const char *folder)
{
	size_t length = strlen(folder);

	if (strcmp(folder, "/") == 0)
		return path[0] == '/' && path[1];
	return strncmp(path, folder, length) == 0 && path[length] == '/' && path[length + 1];
}

/* "ID PARENT MAJOR:MINOR ROOT PATH OPTIONS [TAG…] - TYPE SOURCE OPTIONS" */
static int parse(char *line, uint64_t *ret_id, char **ret_path, const char **ret_type)
{
	char *save = NULL, *field = strtok_r(line, " ", &save), *end, *path = NULL;

	if (!field)
		return -EBADMSG;
	errno = 0;
	*ret_id = strtoull(field, &end, 10);
	if (errno || *end || end == field)
		return -EBADMSG;
	for (int i = 0; i < 4; i++)
		path = strtok_r(NULL, " ", &save);
	if (!path || *path != '/' || unescape(path) < 0)
		return -EBADMSG;
	do
		field = strtok_r(NULL, " ", &save);
	while (field && strcmp(field, "-") != 0);
	*ret_type = field ? strtok_r(NULL, " \n", &save) : NULL;
	*ret_path = path;
	return *ret_type ? 0 : -EBADMSG;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct tree_mount *)a)->path, ((const struct tree_mount *)b)->path);
}

/* The place of @path, a new one if there was none. */
static struct tree_mount *place(struct tree_mount **mounts, size_t *n, const char *path)
{
	struct tree_mount *more;

	for (size_t i = 0; i < *n; i++)
		if (strcmp((*mounts)[i].path, path) == 0)
			return &(*mounts)[i];
	more = realloc(*mounts, (*n + 1) * sizeof(*more));
	if (!more)
		return NULL;
	*mounts = more;
	more[*n].path = strdup(path);
	if (!more[*n].path)
		return NULL;
	return &more[(*n)++];
}

int tree_find(FILE *mountinfo, const char *folder, struct tree_mount **ret, size_t *ret_n)
{
	struct tree_mount *mounts = NULL;
	char *line = NULL;
	size_t n = 0, room = 0;
	int r = 0;

	while (r == 0 && getline(&line, &room, mountinfo) >= 0) {
		struct tree_mount *mount;
		const char *type;
		char *path;
		uint64_t id;

		r = parse(line, &id, &path, &type);
		if (r < 0 || !is_below(path, folder))
			continue;
		/* Also what is not to be shared: it hides what was mounted there before. */
		mount = place(&mounts, &n, path);
		if (mount)
			mount->id = tree_is_real(type) ? id : 0;
		else
			r = -ENOMEM;
	}
	free(line);
	if (r == 0 && ferror(mountinfo))
		r = -EIO;
	if (r < 0) {
		tree_free(mounts, n);
		return r;
	}
	if (n > 0)
		qsort(mounts, n, sizeof(*mounts), compare);
	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		if (mounts[i].id)
			mounts[(*ret_n)++] = mounts[i];
		else
			free(mounts[i].path);
	}
	*ret = mounts;
	return 0;
}

void tree_free(struct tree_mount *mounts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(mounts[i].path);
	free(mounts);
}
