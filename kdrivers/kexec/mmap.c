// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel's memory in user space: for its log after a crash, and for tools. Page by page by
 * faults, so that RELEASE can take all of it back at any time.
 */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <popcorn/compat.h>

#include "kexec.h"

/*
 * Every kernel has an inode, for nothing but its address space: unmap_mapping_range() finds all
 * mappings of one kernel, whichever descriptor made them, and no others.
 */
static struct vfsmount *popcorn_mount;
static int popcorn_mount_count;

static int popcorn_fs_init(struct fs_context *fc)
{
	return init_pseudo(fc, 0x504f5043 /* "POPC" */) ? 0 : -ENOMEM;
}

static struct file_system_type popcorn_fs = {
	.name = "popcorn",
	.owner = THIS_MODULE,
	.init_fs_context = popcorn_fs_init,
	.kill_sb = kill_anon_super,
};

struct inode *popcorn_inode_new(void)
{
	struct inode *inode;
	int err;

	if (popcorn_fault())
		return ERR_PTR(-ENOMEM);
	err = simple_pin_fs(&popcorn_fs, &popcorn_mount, &popcorn_mount_count);
	if (err)
		return ERR_PTR(err);
	inode = alloc_anon_inode(popcorn_mount->mnt_sb);
	if (IS_ERR(inode))
		simple_release_fs(&popcorn_mount, &popcorn_mount_count);
	return inode;
}

void popcorn_inode_free(struct inode *inode)
{
	if (!inode)
		return;
	iput(inode);
	simple_release_fs(&popcorn_mount, &popcorn_mount_count);
}

static vm_fault_t popcorn_fault_page(struct vm_fault *vmf)
{
	struct popcorn_kernel *kernel = vmf->vma->vm_private_data;

	/*
	 * RELEASE sets @gone under the same lock and unmaps after that: what is inserted here is
	 * either refused or found by it.
	 */
	guard(rwsem_read)(&kernel->mem_lock);
	if (kernel->gone || !popcorn_find_range(kernel, (u64)vmf->pgoff << PAGE_SHIFT, PAGE_SIZE))
		return VM_FAULT_SIGBUS;
	return vmf_insert_pfn(vmf->vma, vmf->address, vmf->pgoff);
}

static const struct vm_operations_struct popcorn_vm_ops = {
	.fault = popcorn_fault_page,
};

/* Context: mmap_lock is held. The descriptor, which the area holds, holds the kernel. */
static int map(struct popcorn_kernel *kernel, struct vm_area_struct *vma, bool may_write)
{
	u64 start = (u64)vma->vm_pgoff << PAGE_SHIFT;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if ((vma->vm_flags & VM_WRITE) && !may_write)
		return -EPERM;
	if (vma->vm_pgoff > ULONG_MAX >> PAGE_SHIFT)
		return -ERANGE;
	guard(rwsem_read)(&kernel->mem_lock);
	if (kernel->gone)
		return -ENODEV;
	if (!popcorn_find_range(kernel, start, vma->vm_end - vma->vm_start))
		return -ERANGE;
	popcorn_vm_flags(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP,
			 VM_MAYEXEC | (may_write ? 0 : VM_MAYWRITE));
	vma->vm_private_data = kernel;
	vma->vm_ops = &popcorn_vm_ops;
	return 0;
}

/*
 * Of a kernel's descriptor: all of its memory, the offset is its address.
 *
 * Writing is as much a change as any ioctl that is one, and as good as LOAD.
 */
int popcorn_mmap(struct popcorn_kernel *kernel, struct vm_area_struct *vma)
{
	return map(kernel, vma, capable(CAP_SYS_BOOT) && !security_locked_down(LOCKDOWN_KEXEC));
}

/* One range, for a process that has no other right: whoever gave it this has asked for it. */
struct memory_file {
	struct popcorn_kernel *kernel;
	u64 start, length;
};

static int memory_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct memory_file *memory = file->private_data;
	u64 pages = memory->length >> PAGE_SHIFT;

	if (vma->vm_pgoff >= pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -ERANGE;
	/* From here on it is like any other mapping of this memory. */
	vma->vm_pgoff += memory->start >> PAGE_SHIFT;
	return map(memory->kernel, vma, true);
}

static int memory_close(struct inode *inode, struct file *file)
{
	struct memory_file *memory = file->private_data;

	popcorn_put(memory->kernel);
	kfree(memory);
	return 0;
}

static const struct file_operations memory_fops = {
	.owner = THIS_MODULE,
	.mmap = memory_mmap,
	.release = memory_close,
	.llseek = noop_llseek,
};

/* The range of that number, without the head; 0 or negative errno. */
static int memory_range(struct popcorn_kernel *kernel, u32 index, u64 *ret_start, u64 *ret_length)
{
	struct popcorn_mem *mem;
	u64 skip;

	guard(rwsem_read)(&kernel->mem_lock);
	if (kernel->gone)
		return -ENODEV;
	list_for_each_entry(mem, &kernel->ranges, list) {
		if (index--)
			continue;
		skip = mem->start == kernel->head_phys ? POPCORN_HEAD_SIZE : 0;
		*ret_start = mem->start + skip;
		*ret_length = mem->length - skip;
		return 0;
	}
	return -ENOENT;
}

/* Returns the number of the descriptor to be. */
int popcorn_memory_fd(struct popcorn_call *call, u32 index, u64 *ret_start, u64 *ret_length)
{
	struct popcorn_kernel *kernel = call->kernel;
	struct memory_file *memory;
	struct file *file;
	int err;

	memory = popcorn_fault() ? NULL : kzalloc(sizeof(*memory), GFP_KERNEL);
	if (!memory)
		return -ENOMEM;
	err = memory_range(kernel, index, &memory->start, &memory->length);
	if (err)
		goto free;
	memory->kernel = kernel;
	file = anon_inode_getfile("[popcorn-memory]", &memory_fops, memory, O_RDWR);
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		goto free;
	}
	/* Mappings are found by it: see kernel_new_fd(). */
	file->f_mapping = kernel->inode->i_mapping;
	popcorn_get(kernel);
	*ret_start = memory->start;
	*ret_length = memory->length;
	return popcorn_new_fd(call, file);
free:
	kfree(memory);
	return err;
}
