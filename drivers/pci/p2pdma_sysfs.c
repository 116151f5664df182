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
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
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

	/* Appears before the provider does, and goes after: 0 meanwhile. */
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

/*
 * Clear provider memory.  The read waits for the writes to arrive: another
 * device's data may come by another path, and must not be overtaken by zeros
 * (PCIe Base Specification 6.0, section 2.4.1: a completion pushes the posted
 * writes ahead of it, but only on its own path).
 */
static void p2pmem_zero(void *addr, size_t size)
{
	void __iomem *io = (void __iomem __force *)addr;

	memset_io(io, 0, size);
	readb(io + size - 1);
}

/*
 * Map pages that p2pdma_alloc() gave, each with its own reference on the
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
		p2pdma_free(region, addr, size, size >> PAGE_SHIFT);
	return ret;
}

/*
 * Take the largest piece there is, of at most @want bytes.  A pool in pieces
 * serves as well as one in one: pages needn't be contiguous for user space.
 */
static void *p2pmem_take(struct pci_dev *pdev, size_t want, size_t *got,
			 struct p2pdma_region **region)
{
	void *addr;

	/* In bounds, so that clearing one piece doesn't take long. */
	for (want = min(want, SZ_2M); want; want = PAGE_ALIGN_DOWN(want / 2)) {
		addr = p2pdma_alloc(pdev, want, want >> PAGE_SHIFT, region);
		if (addr) {
			*got = want;
			return addr;
		}
	}
	return NULL;
}

/* May this be mapped, as far as can be told beforehand? */
static int p2pmem_check(struct pci_dev *pdev, const struct vm_area_struct *vma)
{
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
	if (p2pdma_pool_available(provider->pool) < vma->vm_end - vma->vm_start)
		return -ENOMEM;
	return 0;
}

/*
 * sysfs holds the file active meanwhile, and teardown removes it first of
 * all: the provider stays for as long as this runs, and what it maps is
 * unmapped afterwards.
 */
static int p2pmem_mmap(struct file *file, struct kobject *kobj,
		       struct bin_attribute *battr, struct vm_area_struct *vma)
{
	struct pci_dev *pdev = to_pci_dev(kobj_to_dev(kobj));
	struct p2pdma_region *region;
	unsigned long at;
	size_t size;
	void *piece;
	int ret;

	ret = p2pmem_check(pdev, vma);
	if (ret)
		return ret;

	/* The kernel's own mapping isn't cached either; aliases must agree. */
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);

	/* On failure the caller unmaps, and so frees, what is mapped by then. */
	for (at = vma->vm_start; at < vma->vm_end; at += size) {
		piece = p2pmem_take(pdev, vma->vm_end - at, &size, &region);
		if (!piece)
			return -ENOMEM;

		p2pmem_zero(piece, size);
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
	/*
	 * Nothing can be read or written; the size is for programs that won't
	 * map beyond the end of a file.
	 */
	.size		= SZ_1T,
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
