// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: the sysfs directory p2pmem/ of a device with memory.
 *
 * Files in the directory show how much memory the device has, and limit how
 * much programs may allocate; mapping the file "allocate" allocates memory.
 * mmap() fills the mapping with zeroed pages from anywhere in the pool; there
 * are no page faults later.  A page is freed to the pool with the last
 * reference on it, held by a mapping or by DMA in flight.
 */

#include <linux/device.h>
#include <linux/mm_types.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/sysfs.h>

#include "p2pdma.h"

/* ---- size, available, published, user_limit ---- */

enum { P2PMEM_SIZE, P2PMEM_AVAILABLE, P2PMEM_PUBLISHED, P2PMEM_USER_LIMIT };

static ssize_t p2pmem_show(struct device *dev, struct device_attribute *attr,
			   char *buf);
static ssize_t p2pmem_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t count);

static struct device_attribute p2pmem_files[] = {
	[P2PMEM_SIZE]		= __ATTR(size, 0444, p2pmem_show, NULL),
	[P2PMEM_AVAILABLE]	= __ATTR(available, 0444, p2pmem_show, NULL),
	[P2PMEM_PUBLISHED]	= __ATTR(published, 0444, p2pmem_show, NULL),
	[P2PMEM_USER_LIMIT]	= __ATTR(user_limit, 0644, p2pmem_show,
					 p2pmem_store),
};

static ssize_t p2pmem_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	struct pci_p2pdma *p2pdma;
	size_t value = 0;

	/* The files appear before pci_dev::p2pdma is set: show 0 until then. */
	scoped_guard(rcu) {
		p2pdma = p2pdma_of(to_pci_dev(dev));
		if (!p2pdma)
			break;
		switch (attr - p2pmem_files) {
		case P2PMEM_SIZE:
			value = p2pdma_pool_size(p2pdma->pool);
			break;
		case P2PMEM_AVAILABLE:
			value = p2pdma_pool_available(p2pdma->pool);
			break;
		case P2PMEM_PUBLISHED:
			value = READ_ONCE(p2pdma->published);
			break;
		case P2PMEM_USER_LIMIT:
			value = p2pdma_user_limit(p2pdma);
			break;
		}
	}
	return sysfs_emit(buf, "%zu\n", value);
}

/* Set user_limit, the only file that can be written */
static ssize_t p2pmem_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t count)
{
	struct pci_p2pdma *p2pdma;
	u64 limit;
	int ret;

	ret = kstrtou64(buf, 10, &limit);
	if (ret)
		return ret;

	guard(rcu)();
	p2pdma = p2pdma_of(to_pci_dev(dev));
	if (!p2pdma)
		return -ENODEV;
	p2pdma_set_user_limit(p2pdma, limit);
	return count;
}

/* ---- allocate ---- */

static int p2pmem_mmap(struct file *file, struct kobject *kobj,
		       struct bin_attribute *battr, struct vm_area_struct *vma)
{
	return p2pdma_mem_mmap(to_pci_dev(kobj_to_dev(kobj)), vma);
}

static struct bin_attribute p2pmem_allocate = {
	.attr.name	= "allocate",
	.attr.mode	= 0660,
	.mmap		= p2pmem_mmap,
	.f_mapping	= p2pdma_user_mapping,
	/* Not readable; the size is for programs that map only up to it. */
	.size		= P2PDMA_USER_SIZE,
};

const struct attribute_group p2pdma_group = {
	.name = "p2pmem",
	.attrs = (struct attribute *[]) {
		&p2pmem_files[P2PMEM_SIZE].attr,
		&p2pmem_files[P2PMEM_AVAILABLE].attr,
		&p2pmem_files[P2PMEM_PUBLISHED].attr,
		&p2pmem_files[P2PMEM_USER_LIMIT].attr,
		NULL,
	},
	.bin_attrs = (struct bin_attribute *[]) { &p2pmem_allocate, NULL },
};
