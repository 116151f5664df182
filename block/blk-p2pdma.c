// SPDX-License-Identifier: GPL-2.0
/*
 * Can a disk access the peer memory in a bio?
 *
 * The feature BLK_FEAT_PCI_P2PDMA of a queue says that it takes peer memory, and
 * nothing of routes: a disk learns only when it maps the memory whether it reaches
 * it.  A stacking driver that sends a bio to several disks must know before it sends
 * it to the first one.  So the question is passed down, by @reaches_p2pdma of struct
 * block_device_operations, to those disks that do DMA; they ask by
 * bio_p2pdma_reachable().  A disk without this operation counts as out of reach.
 *
 * Nothing here submits or refuses bios.
 */

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/export.h>
#include <linux/memremap.h>
#include <linux/pci-p2pdma.h>

/**
 * bio_p2pdma_reachable - can a device access all peer memory in a bio?
 * @bio: the bio; its other memory doesn't matter
 * @client: device that would do the DMA: a PCI device, or a child of one
 *
 * The answer holds until the PCI fabric or @client's DMA mask changes.  The reasons
 * of a refusal are in the log, once for each pair of devices.
 *
 * Context: any; never sleeps.  The caller holds @client.
 * Return: true if @client can access it in both directions.
 */
bool bio_p2pdma_reachable(struct bio *bio, struct device *client)
{
	const struct dev_pagemap *pgmap = NULL;
	struct bvec_iter iter;
	struct bio_vec bv;

	bio_for_each_bvec(bv, bio, iter) {
		if (!is_pci_p2pdma_page(bv.bv_page) ||
		    bv.bv_page->pgmap == pgmap)
			continue;
		pgmap = bv.bv_page->pgmap;
		if (!pci_p2pdma_page_reachable(bv.bv_page, client))
			return false;
	}
	return true;
}
EXPORT_SYMBOL_GPL(bio_p2pdma_reachable);

/**
 * bdev_reaches_p2pdma - can a block device access all peer memory in a bio?
 * @bdev: the block device; may stand on others
 * @bio: the bio; is for another device, and isn't sent
 *
 * Context: any; never sleeps.  The caller holds @bdev.
 * Return: true if @bdev takes peer memory, and for each part of it a device below that
 * reaches the memory in @bio (all copies of a mirror, one path of several); false also
 * if this isn't known.
 */
bool bdev_reaches_p2pdma(struct block_device *bdev, struct bio *bio)
{
	struct gendisk *disk = bdev->bd_disk;

	return blk_queue_pci_p2pdma(disk->queue) && disk->fops->reaches_p2pdma &&
		disk->fops->reaches_p2pdma(disk, bio);
}
EXPORT_SYMBOL_GPL(bdev_reaches_p2pdma);
