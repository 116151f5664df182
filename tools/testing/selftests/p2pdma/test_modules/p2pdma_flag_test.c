// SPDX-License-Identifier: GPL-2.0
/*
 * Sets BLK_FEAT_PCI_P2PDMA in the queue limits of the block device @disk, and so
 * says that it takes peer memory, whether or not its driver knows of that.  Later
 * kernels set this flag for some drivers that 6.12 doesn't set it for.  It stays
 * when the module is unloaded.
 *
 * It uses only the interface of Linux 6.12.
 */

#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/module.h>

static char *disk;
module_param(disk, charp, 0);
MODULE_PARM_DESC(disk, "path of a block device");

static int __init p2pdma_flag_test_init(void)
{
	struct request_queue *queue;
	struct queue_limits limits;
	struct file *file;
	int ret;

	file = bdev_file_open_by_path(disk, BLK_OPEN_READ, NULL, NULL);
	if (IS_ERR(file))
		return PTR_ERR(file);

	queue = bdev_get_queue(file_bdev(file));
	limits = queue_limits_start_update(queue);
	limits.features |= BLK_FEAT_PCI_P2PDMA;
	ret = queue_limits_commit_update_frozen(queue, &limits);
	fput(file);
	return ret;
}
module_init(p2pdma_flag_test_init);

static void __exit p2pdma_flag_test_exit(void)
{
}
module_exit(p2pdma_flag_test_exit);

MODULE_DESCRIPTION("Says that a block device takes peer memory");
MODULE_LICENSE("GPL");
