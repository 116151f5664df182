// SPDX-License-Identifier: GPL-2.0
/*
 * Makes I/O to pages of a BAR as modules for GPU-direct storage do.
 *
 * Such a module is neither the driver of the device with the BAR nor that of the
 * disk, and takes no memory from P2PDMA: somebody else has registered the BAR,
 * keeps a part of it out of use, and says where it is.  The module finds the pages
 * by their PFNs, and has a block device read or write them by bio_vecs.  While it
 * does so, a reference on the page map keeps the pages.  It mustn't look for pages
 * while the BAR is being registered.
 *
 * /sys/kernel/debug/p2pdma_pfn_test/
 *   bio    a bio of its own
 *   file   asynchronous I/O to a file that was opened with O_DIRECT
 *
 * Write to one of them "read DISK AT DEVICE BAR OFFSET NR LENGTH STRIDE", or likewise
 * "write", which is from the BAR to the disk.  The data is AT (bytes) on the disk, and
 * in NR pieces of LENGTH bytes, STRIDE bytes apart, at OFFSET in the BAR.  write()
 * fails with the errno of the I/O.
 *
 * It uses only the interface of Linux 6.12.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/bvec.h>
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/memremap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pfn.h>
#include <linux/range.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#define LINE_LENGTH	128

struct transfer {
	bool write;
	char disk[32];
	loff_t at;
	size_t size;
	unsigned int nr_vecs;
	struct bio_vec vecs[BIO_MAX_VECS];
};

static struct dentry *root;

static int by_bio(struct transfer *io)
{
	struct bio_vec *vec;
	struct file *file;
	struct bio *bio;
	int ret = 0;

	file = bdev_file_open_by_path(io->disk, BLK_OPEN_READ | BLK_OPEN_WRITE,
				      NULL, NULL);
	if (IS_ERR(file))
		return PTR_ERR(file);

	bio = bio_alloc(file_bdev(file), io->nr_vecs,
			io->write ? REQ_OP_WRITE : REQ_OP_READ, GFP_KERNEL);
	bio->bi_iter.bi_sector = io->at >> SECTOR_SHIFT;
	for (vec = io->vecs; vec < io->vecs + io->nr_vecs; vec++) {
		if (bio_add_page(bio, vec->bv_page, vec->bv_len,
				 vec->bv_offset) != vec->bv_len)
			ret = -EIO;
	}
	if (!ret)
		ret = submit_bio_wait(bio);
	bio_put(bio);
	bdev_fput(file);
	return ret;
}

struct pending {
	struct kiocb iocb;
	struct completion done;
	long ret;
};

static void pending_complete(struct kiocb *iocb, long ret)
{
	struct pending *pending = container_of(iocb, struct pending, iocb);

	pending->ret = ret;
	complete(&pending->done);
}

static int by_file(struct transfer *io)
{
	struct pending pending;
	struct iov_iter iter;
	struct file *file;
	ssize_t ret;

	file = filp_open(io->disk, O_RDWR | O_DIRECT | O_LARGEFILE, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);

	init_sync_kiocb(&pending.iocb, file);
	pending.iocb.ki_pos = io->at;
	pending.iocb.ki_complete = pending_complete;
	init_completion(&pending.done);
	iov_iter_bvec(&iter, io->write ? ITER_SOURCE : ITER_DEST, io->vecs,
		      io->nr_vecs, io->size);
	ret = io->write ? vfs_iocb_iter_write(file, &pending.iocb, &iter) :
			  vfs_iocb_iter_read(file, &pending.iocb, &iter);
	if (ret == -EIOCBQUEUED) {
		wait_for_completion(&pending.done);
		ret = pending.ret;
	}
	filp_close(file, NULL);
	if (ret < 0)
		return ret;
	return ret == io->size ? 0 : -EIO;
}

/* Bio_vecs for a piece, page by page; -E2BIG if these are too many */
static int add_piece(struct transfer *io, phys_addr_t from, size_t length)
{
	size_t part;

	for (; length; length -= part, from += part) {
		part = min(length, PAGE_SIZE - offset_in_page(from));
		if (io->nr_vecs == ARRAY_SIZE(io->vecs))
			return -E2BIG;
		bvec_set_page(&io->vecs[io->nr_vecs++],
			      pfn_to_page(PHYS_PFN(from)), part,
			      offset_in_page(from));
		io->size += part;
	}
	return 0;
}

/*
 * The page map of a part of the BAR, with a reference: -ENODEV if there are no pages
 * of P2PDMA, -EINVAL if these are not in one page map
 */
static struct dev_pagemap *get_pages(struct range *range)
{
	struct dev_pagemap *pgmap = get_dev_pagemap(PHYS_PFN(range->start), NULL);
	int error = 0;

	if (!pgmap)
		return ERR_PTR(-ENODEV);
	if (pgmap->type != MEMORY_DEVICE_PCI_P2PDMA)
		error = -ENODEV;
	else if (!range_contains(&pgmap->range, range))
		error = -EINVAL;
	if (!error)
		return pgmap;
	put_dev_pagemap(pgmap);
	return ERR_PTR(error);
}

static int run(struct transfer *io, const char *args,
	       int (*how)(struct transfer *io))
{
	unsigned long long offset, length, stride;
	char direction[8], device[16];
	struct dev_pagemap *pgmap;
	struct range range;
	struct device *dev;
	int bar, error = 0;
	unsigned int nr, i;

	if (sscanf(args, "%7s %31s %lli %15s %d %lli %u %lli %lli", direction,
		   io->disk, &io->at, device, &bar, &offset, &nr, &length,
		   &stride) != 9 ||
	    !nr || !length || bar < 0 || bar >= PCI_STD_NUM_BARS)
		return -EBADMSG;
	io->write = !strcmp(direction, "write");

	dev = bus_find_device_by_name(&pci_bus_type, NULL, device);
	if (!dev)
		return -ENXIO;
	range.start = pci_resource_start(to_pci_dev(dev), bar) + offset;
	range.end = range.start + (nr - 1) * stride + length - 1;
	put_device(dev);

	pgmap = get_pages(&range);
	if (IS_ERR(pgmap))
		return PTR_ERR(pgmap);
	for (i = 0; i < nr && !error; i++)
		error = add_piece(io, range.start + i * stride, length);
	if (!error)
		error = how(io);
	put_dev_pagemap(pgmap);
	return error;
}

static ssize_t pfn_write(struct file *file, const char __user *buf,
			 size_t count, loff_t *pos)
{
	int (*how)(struct transfer *io) = file_inode(file)->i_private;
	char args[LINE_LENGTH];
	struct transfer *io;
	int error;

	if (count >= sizeof(args))
		return -EBADMSG;
	if (copy_from_user(args, buf, count))
		return -EFAULT;
	args[count] = '\0';

	io = kzalloc(sizeof(*io), GFP_KERNEL);
	if (!io)
		return -ENOMEM;
	error = run(io, args, how);
	kfree(io);
	return error ?: count;
}

static const struct file_operations pfn_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = pfn_write,
};

static int __init pfn_init(void)
{
	root = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("bio", 0200, root, by_bio, &pfn_fops);
	debugfs_create_file("file", 0200, root, by_file, &pfn_fops);
	return 0;
}
module_init(pfn_init);

static void __exit pfn_exit(void)
{
	debugfs_remove(root);
}
module_exit(pfn_exit);

MODULE_DESCRIPTION("I/O to pages of a BAR by PFN, for the selftests");
MODULE_LICENSE("GPL");
