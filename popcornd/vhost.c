// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>

#include "util.h"
#include "vhost.h"

int vhost_open(const char *path, uint64_t *ret_features)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	uint64_t features;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, VHOST_GET_FEATURES, &features) < 0)
		return -errno;
	if (ret_features)
		*ret_features = features;
	return steal_fd(&fd);
}
