// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of peer memory in bios: bios know that they have some, also when they
 * are cloned and split; and whether a device, or a disk, reaches all of it.
 *
 * No bio is submitted: what disks do with them, and what stands on disks, is tested
 * from user space.
 */

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/mm.h>

#include "p2pdma_test.h"

#define TREE		(&p2pdma_test_tree)
#define PAGES		4

static void put_bio(void *bio)
{
	bio_put(bio);
}

static struct bio *new_bio(struct kunit *test)
{
	struct bio *bio = bio_alloc(NULL, PAGES, REQ_OP_WRITE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, bio);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_bio, bio));
	return bio;
}

static void add_page(struct kunit *test, struct bio *bio, void *at)
{
	__bio_add_page(bio, virt_to_page(at), PAGE_SIZE, 0);
}

static void *system_page(struct kunit *test)
{
	void *page = (void *)get_zeroed_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	return page;
}

static void marked(struct kunit *test)
{
	struct bio *bio = new_bio(test), *clone, *split;
	void *page = system_page(test), *peer;
	struct pci_fabric *fabric;
	struct bio_set set;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, TREE, NULL);
	peer = p2pdma_test_alloc(test, p2pdma_test_provider(test, fabric, "b"),
				 PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, bioset_init(&set, 4, 0, BIOSET_NEED_BVECS));

	add_page(test, bio, page);
	KUNIT_EXPECT_FALSE(test, bio_flagged(bio, BIO_P2PDMA));
	clone = bio_alloc_clone(NULL, bio, GFP_KERNEL, &set);
	KUNIT_EXPECT_FALSE(test, bio_flagged(clone, BIO_P2PDMA));
	bio_put(clone);

	/* Behind system memory, in the same bio */
	KUNIT_EXPECT_EQ(test, bio_add_page(bio, virt_to_page(peer), PAGE_SIZE, 0),
			0);
	add_page(test, bio, peer);
	KUNIT_EXPECT_TRUE(test, bio_flagged(bio, BIO_P2PDMA));
	clone = bio_alloc_clone(NULL, bio, GFP_KERNEL, &set);
	KUNIT_EXPECT_TRUE(test, bio_flagged(clone, BIO_P2PDMA));
	split = bio_split(clone, PAGE_SIZE / SECTOR_SIZE, GFP_KERNEL, &set);
	KUNIT_EXPECT_TRUE(test, bio_flagged(split, BIO_P2PDMA));
	bio_put(split);
	bio_put(clone);

	bio_reset(bio, NULL, REQ_OP_READ);
	KUNIT_EXPECT_FALSE(test, bio_flagged(bio, BIO_P2PDMA));
	KUNIT_EXPECT_EQ(test, bio_add_page(bio, virt_to_page(peer), PAGE_SIZE, 0),
			PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, bio_flagged(bio, BIO_P2PDMA));

	bioset_exit(&set);
	free_page((unsigned long)page);
}

/* e isn't reached from a, b is; so isn't memory of both. */
static void reachable(struct kunit *test)
{
	struct bio *bio = new_bio(test);
	struct pci_fabric *fabric;
	void *page = system_page(test), *near, *far;
	struct device *a;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, TREE, NULL);
	a = &p2pdma_test_dev(test, fabric, "a")->dev;
	near = p2pdma_test_alloc(test, p2pdma_test_provider(test, fabric, "b"),
				 PAGE_SIZE);
	far = p2pdma_test_alloc(test, p2pdma_test_provider(test, fabric, "e"),
				PAGE_SIZE);

	add_page(test, bio, page);
	KUNIT_EXPECT_TRUE(test, bio_p2pdma_reachable(bio, a));
	add_page(test, bio, near);
	KUNIT_EXPECT_TRUE(test, bio_p2pdma_reachable(bio, a));
	KUNIT_EXPECT_TRUE(test,
			  bio_p2pdma_reachable(bio, p2pdma_test_child(test, a)));
	add_page(test, bio, far);
	KUNIT_EXPECT_FALSE(test, bio_p2pdma_reachable(bio, a));

	/* What has been done counts no more. */
	bio_advance(bio, PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, bio_p2pdma_reachable(bio, a));
	bio_advance(bio, 2 * PAGE_SIZE);
	add_page(test, bio, near);
	KUNIT_EXPECT_TRUE(test, bio_p2pdma_reachable(bio, a));

	free_page((unsigned long)page);
}

static bool asked_reaches(struct gendisk *disk, struct bio *bio)
{
	bool *answer = disk->private_data;

	return *answer;
}

/* The queue's feature and the driver's answer count, and there must be both. */
static void disks(struct kunit *test)
{
	static const struct block_device_operations asked = {
		.reaches_p2pdma = asked_reaches,
	};
	static const struct block_device_operations silent;
	struct queue_limits limits = { };
	struct bio *bio = new_bio(test);
	struct gendisk *disk;
	bool answer = true;

	disk = blk_alloc_disk(&limits, NUMA_NO_NODE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, disk);
	disk->private_data = &answer;
	disk->fops = &asked;
	KUNIT_EXPECT_FALSE(test, bdev_reaches_p2pdma(disk->part0, bio));

	limits = queue_limits_start_update(disk->queue);
	limits.features |= BLK_FEAT_PCI_P2PDMA;
	KUNIT_ASSERT_EQ(test, 0, queue_limits_commit_update(disk->queue, &limits));
	KUNIT_EXPECT_TRUE(test, bdev_reaches_p2pdma(disk->part0, bio));
	answer = false;
	KUNIT_EXPECT_FALSE(test, bdev_reaches_p2pdma(disk->part0, bio));
	answer = true;
	disk->fops = &silent;
	KUNIT_EXPECT_FALSE(test, bdev_reaches_p2pdma(disk->part0, bio));
	put_disk(disk);
}

/* One device below that lacks the feature is enough. */
static void stacked(struct kunit *test)
{
	struct queue_limits with, without, top;

	blk_set_stacking_limits(&with);
	without = with;
	with.features |= BLK_FEAT_PCI_P2PDMA;

	top = with;
	blk_stack_limits(&top, &with, 0);
	KUNIT_EXPECT_TRUE(test, top.features & BLK_FEAT_PCI_P2PDMA);
	blk_stack_limits(&top, &without, 0);
	KUNIT_EXPECT_FALSE(test, top.features & BLK_FEAT_PCI_P2PDMA);
	blk_stack_limits(&top, &with, 0);
	KUNIT_EXPECT_FALSE(test, top.features & BLK_FEAT_PCI_P2PDMA);

	top = without;
	blk_stack_limits(&top, &with, 0);
	KUNIT_EXPECT_FALSE(test, top.features & BLK_FEAT_PCI_P2PDMA);
}

static struct kunit_case bio_cases[] = {
	KUNIT_CASE(marked),
	KUNIT_CASE(reachable),
	KUNIT_CASE(disks),
	KUNIT_CASE(stacked),
	{ }
};

static struct kunit_suite bio_suite = {
	.name = "p2pdma_bio",
	.test_cases = bio_cases,
};

kunit_test_suite(bio_suite);
