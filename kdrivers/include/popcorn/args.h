/* SPDX-License-Identifier: GPL-2.0-only */
/* How an ioctl's argument is read: the one place, for /dev/popcorn and /dev/popcorn-msg. */
#ifndef _POPCORN_ARGS_H
#define _POPCORN_ARGS_H

#include <linux/minmax.h>
#include <linux/uaccess.h>

/**
 * popcorn_args_read - a structure that begins with its size, of a caller of any version
 * @arg: @known bytes
 * @known: size of the structure that we know
 * @least: size of its first published version
 * @out: it will be written back
 * @user: where the caller has it
 * @ret_size: how much of it is to be written back
 *
 * Return: 0; -EFAULT; -EINVAL: too small; -E2BIG: what we don't know is not zero.
 */
static inline int popcorn_args_read(void *arg, u32 known, u32 least, bool out, void __user *user,
				    u32 *ret_size)
{
	u32 size;
	int err;

	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < least || size > PAGE_SIZE)
		return -EINVAL;
	err = copy_struct_from_user(arg, known, user, size);
	if (err)
		return err;
	/*
	 * Somebody may have changed it between the two reads; and memory that can't be written is
	 * found here, before anything has happened that the caller would then not be told of.
	 */
	*(u32 *)arg = size;
	size = min(size, known);
	if (out && copy_to_user(user, arg, size))
		return -EFAULT;
	*ret_size = size;
	return 0;
}

#endif /* _POPCORN_ARGS_H */
