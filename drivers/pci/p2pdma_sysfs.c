// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: what user space sees of a provider.
 *
 * The directory p2pmem/ of a PCI device tells how much memory it offers, and
 * its file "allocate" gives memory to whoever maps it.  A mapping is filled
 * when it is made, with zeroed pages from anywhere in the pool; there are no
 * faults later.  A page goes back to the pool with the last reference on it,
 * be that a mapping or DMA in flight.
 */

#include <linux/io.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/sysfs.h>

#include "p2pdma.h"

/* ---- size, available, published ---- */

enum { P2PMEM_SIZE, P2PMEM_AVAILABLE, P2PMEM_PUBLISHED };

static ssize_t p2pmem_show(struct device *dev, struct device_attribute *attr,
			   char *buf);

static struct device_attribute p2pmem_files[] = {
	[P2PMEM_SIZE]		= __ATTR(size, 0444, p2pmem_show, NULL),
	[P2PMEM_AVAILABLE]	= __ATTR(available, 0444, p2pmem_show, NULL),
	[P2PMEM_PUBLISHED]	= __ATTR(published, 0444, p2pmem_show, NULL),
};

static ssize_t p2pmem_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	struct pci_dev *pdev = to_pci_dev(dev);
	struct pci_p2pdma *provider;
	size_t value = 0;

	/* The files appear a little before the provider does: 0 meanwhile. */
	scoped_guard(rcu) {
		provider = p2pdma_of(pdev);
		if (!provider)
			break;
		switch (attr - p2pmem_files) {
		case P2PMEM_SIZE:
			value = p2pdma_pool_size(provider->pool);
			break;
		case P2PMEM_AVAILABLE:
			value = p2pdma_pool_available(provider->pool);
			break;
		case P2PMEM_PUBLISHED:
			value = pci_has_p2pmem(pdev);
			break;
		}
	}
	return sysfs_emit(buf, "%zu\n", value);
}

/* ---- allocate ---- */

/**
 * p2pmem_zero - clear provider memory
 * @addr: kernel address, a multiple of 8
 * @size: bytes, a multiple of 8 and not 0
 *
 * By whole words: memset() may write UC memory byte by byte.  A read waits for
 * the writes to arrive: another device's data may come by another path, and
 * must not be overtaken by zeros (PCIe Base Specification 6.0, section 2.4.1: a
 * completion pushes posted writes ahead of it, but only on its own path).  It
 * also tells where the device doesn't answer and still has its last owner's
 * data.
 *
 * Context: any; takes as long as @size.
 * Return: 0; -EIO the device doesn't answer.
 */
int p2pmem_zero(void *addr, size_t size)
{
	u64 __iomem *word = (u64 __iomem __force *)addr;
	u64 __iomem *last = word + size / sizeof(*word) - 1;

	while (word <= last)
		__raw_writeq(0, word++);
	return __raw_readq(last) ? -EIO : 0;
}

/*
 * Map pages that p2pdma_alloc_user() gave, each with its own reference on the
 * region.  A page in the pool counts one; once it is mapped, the mapping's
 * count is the only one, so that the last unmap frees it.
 * On failure what isn't mapped is back in the pool.
 */
static int p2pmem_insert(struct vm_area_struct *vma, unsigned long start,
			 struct p2pdma_region *region, void *addr, size_t size)
{
	struct page *batch[16];
	unsigned long done, left, i;
	int ret = 0;

	while (size && !ret) {
		left = min(size >> PAGE_SHIFT, ARRAY_SIZE(batch));
		for (i = 0; i < left; i++)
			batch[i] = virt_to_page(addr + i * PAGE_SIZE);

		done = left;
		ret = vm_insert_pages(vma, start, batch, &left);
		done -= left;
		for (i = 0; i < done; i++)
			put_page(batch[i]);

		start += done * PAGE_SIZE;
		addr += done * PAGE_SIZE;
		size -= done * PAGE_SIZE;
	}

	if (size)
		p2pdma_free_user(region, addr, size);
	/* The only fault there can be: no memory for page tables */
	return ret == -EFAULT ? -ENOMEM : ret;
}

/*
 * Take a piece of at most *@size bytes, and say how large it is.  A pool in
 * small pieces serves as well: pages needn't be contiguous for user space.
 */
static void *p2pmem_take(struct pci_dev *pdev, size_t *size,
			 struct p2pdma_region **region)
{
	void *addr;

	for (; *size; *size = PAGE_ALIGN_DOWN(*size / 2)) {
		addr = p2pdma_alloc_user(pdev, *size, region);
		if (addr)
			return addr;
	}
	return NULL;
}

/* May this be mapped, as far as can be told beforehand? */
static int p2pmem_check(struct pci_dev *pdev, struct vm_area_struct *vma)
{
	size_t size = vma->vm_end - vma->vm_start;
	struct pci_p2pdma *provider;
	const char *wrong = NULL;

	if (!(vma->vm_flags & VM_MAYSHARE))
		wrong = "memory of a device can't be private, use MAP_SHARED";
	else if (vma->vm_pgoff)
		wrong = "each mapping is new memory, its offset must be 0";
	if (wrong) {
		pci_info_ratelimited(pdev, "p2pmem/allocate: %s[%d]: %s\n",
				     current->comm, task_pid_nr(current), wrong);
		return -EINVAL;
	}

	guard(rcu)();
	provider = p2pdma_of(pdev);
	if (!provider || !READ_ONCE(provider->published))
		return -ENODEV;
	/* Don't take what there is from others only to give it back. */
	if (p2pdma_pool_available(provider->pool) < size ||
	    size > P2PDMA_USER_SIZE)
		return -ENOMEM;

	/* From here on teardown can find the mapping. */
	vma->vm_pgoff = provider->user_offset;
	return 0;
}

/*
 * sysfs has a page_mkwrite for all its mappings, so that a write to a clean
 * page asks here first.  There is no file to be prepared; a page without one
 * must be returned locked, or the fault is tried again for ever.
 */
static vm_fault_t p2pmem_page_mkwrite(struct vm_fault *vmf)
{
	folio_lock(page_folio(vmf->page));
	return VM_FAULT_LOCKED;
}

static const struct vm_operations_struct p2pmem_vm_ops = {
	.page_mkwrite = p2pmem_page_mkwrite,
};

/*
 * sysfs holds the file active meanwhile, and teardown removes it before it
 * takes the provider apart.
 */
static int p2pmem_mmap(struct file *file, struct kobject *kobj,
		       struct bin_attribute *battr, struct vm_area_struct *vma)
{
	struct pci_dev *pdev = to_pci_dev(kobj_to_dev(kobj));
	size_t size = SZ_2M;	/* Clearing one piece doesn't take long. */
	struct p2pdma_region *region;
	unsigned long at;
	void *piece;
	int ret;

	ret = p2pmem_check(pdev, vma);
	if (ret)
		return ret;

	/* The kernel's own mapping isn't cached either; aliases must agree. */
	vma->vm_page_prot = pgprot_decrypted(pgprot_noncached(vma->vm_page_prot));
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &p2pmem_vm_ops;

	/* On failure the caller unmaps, and so frees, what is mapped by then. */
	for (at = vma->vm_start; at < vma->vm_end; at += size) {
		if (fatal_signal_pending(current))
			return -EINTR;
		/* Teardown waits for this: not longer than for one piece. */
		if (!pci_has_p2pmem(pdev))
			return -ENODEV;

		/* What was too much for the last piece would be so again. */
		size = min(size, vma->vm_end - at);
		piece = p2pmem_take(pdev, &size, &region);
		if (!piece)
			return -ENOMEM;

		ret = p2pmem_zero(piece, size);
		if (ret) {
			pci_err(pdev, "p2pmem/allocate: the memory doesn't answer, it can't be cleared\n");
			p2pdma_free_user(region, piece, size);
			return ret;
		}

		ret = p2pmem_insert(vma, at, region, piece, size);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

static struct bin_attribute p2pmem_allocate = {
	.attr.name	= "allocate",
	.attr.mode	= 0660,
	.mmap		= p2pmem_mmap,
	.f_mapping	= p2pdma_user_mapping,
	/*
	 * Nothing can be read or written; the size is for programs that won't
	 * map beyond the end of a file.
	 */
	.size		= P2PDMA_USER_SIZE,
};

const struct attribute_group p2pdma_group = {
	.name = "p2pmem",
	.attrs = (struct attribute *[]) {
		&p2pmem_files[P2PMEM_SIZE].attr,
		&p2pmem_files[P2PMEM_AVAILABLE].attr,
		&p2pmem_files[P2PMEM_PUBLISHED].attr,
		NULL,
	},
	.bin_attrs = (struct bin_attribute *[]) { &p2pmem_allocate, NULL },
};
