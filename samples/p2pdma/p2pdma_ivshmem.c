// SPDX-License-Identifier: GPL-2.0
/*
 * A provider: lets other devices use the memory in a BAR.
 *
 * For two devices of QEMU whose memory no other driver manages: ivshmem, and
 * the display bochs-display.  There are two ways to offer memory, and this
 * driver shows both:
 *
 * With struct pages (ivshmem, unless pages=0).  Such memory can be used like
 * system memory: user space maps it and reads files into it with O_DIRECT,
 * kernel users allocate from its pool, and /dev/dma_heap has a heap of it.
 * Two calls in probe() do all that, and unbinding the driver undoes it.  The
 * cost is RAM for the pages, 16 MiB for each GiB.
 *
 * Without pages (the display, and ivshmem with pages=0).  That takes no RAM;
 * the driver manages the memory, and exports it as DMA buffers.  Here user
 * space asks for a buffer of a part of the BAR, by P2PDMA_EXPORT on
 * /dev/p2pdma-<PCI device>.
 *
 * The core revokes buffers when the device goes, and decides whether another
 * device can reach them.
 */

#include <linux/cleanup.h>
#include <linux/dma-buf.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/p2pdma-dmabuf.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "p2pdma_samples.h"

static bool pages = true;
module_param(pages, bool, 0444);
MODULE_PARM_DESC(pages, "give ivshmem's memory struct pages (default: yes)");

/* A device model */
struct ivshmem_model {
	int bar;		/* the one with the memory */
	bool may_have_pages;
};

static const struct ivshmem_model ivshmem_model = {
	.bar = 2,
	.may_have_pages = true,
};

static const struct ivshmem_model display_model = {
	.bar = 0,
};

/*
 * A device that exports its memory without pages.  Open files hold a reference;
 * their requests are refused once the driver is unbound.
 */
struct ivshmem {
	struct kref ref;
	struct miscdevice misc;
	char name[32];
	struct mutex lock;		/* protects @provider */
	struct p2pdma_provider *provider;	/* NULL: driver is unbound */
	phys_addr_t start;
	u64 size;
};

static void ivshmem_free(struct kref *ref)
{
	struct ivshmem *shm = container_of(ref, struct ivshmem, ref);

	mutex_destroy(&shm->lock);
	kfree(shm);
}

/* misc_open() holds misc_mtx, so the driver can't deregister meanwhile. */
static int ivshmem_open(struct inode *inode, struct file *file)
{
	struct ivshmem *shm = container_of(file->private_data, struct ivshmem,
					   misc);

	kref_get(&shm->ref);
	return 0;
}

static int ivshmem_release(struct inode *inode, struct file *file)
{
	struct ivshmem *shm = container_of(file->private_data, struct ivshmem,
					   misc);

	kref_put(&shm->ref, ivshmem_free);
	return 0;
}

static struct dma_buf *ivshmem_export(struct ivshmem *shm,
				      const struct p2pdma_export *request)
{
	u64 end;

	if (!request->size || !PAGE_ALIGNED(request->offset) ||
	    !PAGE_ALIGNED(request->size) ||
	    check_add_overflow(request->offset, request->size, &end) ||
	    end > shm->size)
		return ERR_PTR(-EINVAL);

	guard(mutex)(&shm->lock);
	if (!shm->provider)
		return ERR_PTR(-ENODEV);
	return p2pdma_export(shm->provider, shm->start + request->offset,
			     request->size, O_RDWR, NULL, NULL);
}

static long ivshmem_ioctl(struct file *file, unsigned int cmd,
			  unsigned long arg)
{
	struct ivshmem *shm = container_of(file->private_data, struct ivshmem,
					   misc);
	struct p2pdma_export request;
	struct dma_buf *dmabuf;
	int fd;

	if (cmd != P2PDMA_EXPORT)
		return -ENOTTY;
	if (copy_from_user(&request, (void __user *)arg, sizeof(request)))
		return -EFAULT;

	dmabuf = ivshmem_export(shm, &request);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}

static const struct file_operations ivshmem_fops = {
	.owner = THIS_MODULE,
	.open = ivshmem_open,
	.release = ivshmem_release,
	.unlocked_ioctl = ivshmem_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static int ivshmem_probe_without_pages(struct pci_dev *pdev, int bar)
{
	struct p2pdma_provider *provider;
	struct ivshmem *shm;
	int ret;

	ret = pcim_p2pdma_init(pdev);
	if (ret)
		return ret;
	provider = pcim_p2pdma_provider(pdev, bar);
	if (!provider)
		return -ENODEV;

	shm = kzalloc(sizeof(*shm), GFP_KERNEL);
	if (!shm)
		return -ENOMEM;

	kref_init(&shm->ref);
	mutex_init(&shm->lock);
	shm->provider = provider;
	shm->start = pci_resource_start(pdev, bar);
	shm->size = pci_resource_len(pdev, bar);
	snprintf(shm->name, sizeof(shm->name), "p2pdma-%s", pci_name(pdev));
	shm->misc.minor = MISC_DYNAMIC_MINOR;
	shm->misc.name = shm->name;
	shm->misc.fops = &ivshmem_fops;
	shm->misc.parent = &pdev->dev;

	ret = misc_register(&shm->misc);
	if (ret) {
		kref_put(&shm->ref, ivshmem_free);
		return ret;
	}
	pci_set_drvdata(pdev, shm);
	return 0;
}

static int ivshmem_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	const struct ivshmem_model *model =
		(const struct ivshmem_model *)id->driver_data;
	int ret;

	/* Without memory decoding no device could reach the BAR. */
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;

	if (!pages || !model->may_have_pages)
		return ivshmem_probe_without_pages(pdev, model->bar);

	ret = pci_p2pdma_add_resource(pdev, model->bar, 0, 0);
	if (ret)
		return ret;
	pci_p2pmem_publish(pdev, true);
	return 0;
}

static void ivshmem_remove(struct pci_dev *pdev)
{
	struct ivshmem *shm = pci_get_drvdata(pdev);

	if (!shm)		/* with pages: nothing to do */
		return;

	misc_deregister(&shm->misc);
	scoped_guard(mutex, &shm->lock)
		shm->provider = NULL;
	kref_put(&shm->ref, ivshmem_free);
}

/* No MODULE_DEVICE_TABLE(): other drivers use these devices, too. */
static const struct pci_device_id ivshmem_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110),
	  .driver_data = (kernel_ulong_t)&ivshmem_model },
	{ PCI_DEVICE(0x1234, 0x1111),
	  .driver_data = (kernel_ulong_t)&display_model },
	{ }
};

static struct pci_driver ivshmem_driver = {
	.name = KBUILD_MODNAME,
	.id_table = ivshmem_ids,
	.probe = ivshmem_probe,
	.remove = ivshmem_remove,
};
module_pci_driver(ivshmem_driver);

MODULE_IMPORT_NS(DMA_BUF);
MODULE_DESCRIPTION("Sample provider of peer-to-peer DMA: ivshmem and bochs-display");
MODULE_LICENSE("GPL");
