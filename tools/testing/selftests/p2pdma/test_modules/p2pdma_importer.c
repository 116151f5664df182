// SPDX-License-Identifier: GPL-2.0
/*
 * Lets user-space tests import dma-bufs for a PCI device, and export memory.
 *
 * No device does DMA for it: it attaches, maps and reports the addresses. Each
 * open file is one importer. Write one line, and read the answer; write() fails
 * with the errno of the call it stands for. Closing the file undoes what is
 * left to undo.
 *
 * /sys/kernel/debug/p2pdma_importer/importer
 *   "attach FD DEVICE KIND"  dma_buf_dynamic_attach() of the dma-buf FD. KIND is
 *                            "dynamic", "slow" (its device needs a second after
 *                            move_notify(), and a fence says so), "revocable"
 *                            (unmaps and unpins in move_notify(), and says that
 *                            it does), "pages" (takes no peer memory) or
 *                            "static" (dma_buf_attach())
 *   "map read|write|both"    dma_buf_map_attachment(); at most 4 at a time
 *   "unmap"                  undoes the last one
 *   "pin", "unpin", "detach"
 *   "vmap", "peek OFFSET", "poke OFFSET VALUE", "vunmap"  one word of 8 bytes
 *   The answer is "notified signaled value address length ...": how often
 *   move_notify() was called, whether the fence of a slow one has signaled, the
 *   word of the last "peek", and the DMA ranges of the last "map".
 * /sys/kernel/debug/p2pdma_importer/exporter
 *   "DEVICE BAR OFFSET SIZE"  p2pdma_export() of a part of a BAR, which needs
 *                             no struct pages; answers the file descriptor
 * /sys/kernel/debug/p2pdma_importer/released
 *   How many exported buffers were released.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/fcntl.h>
#include <linux/io.h>
#include <linux/iosys-map.h>
#include <linux/kref.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#ifdef HAVE_EXPORT	/* by the Makefile */
#include <linux/p2pdma-dmabuf.h>
#else
#define HAVE_EXPORT	0
#endif

#define LINE_LENGTH	512
#define MAX_MAPPINGS	4

static const char * const kinds[] = {
	"dynamic", "slow", "revocable", "pages", "static",
};

enum { DYNAMIC, SLOW, REVOCABLE, PAGES, STATIC };

struct importer {
	struct mutex lock;		/* serialises uses of one open file */
	struct dma_buf *dmabuf;
	struct device *dev;
	struct dma_buf_attachment *attach;
	int kind;
	int notified;			/* under the reservation lock */
	bool signaled;
	struct dma_fence *fence;	/* from a slow one's move_notify() on */
	struct delayed_work signal;
	struct sg_table *sgt[MAX_MAPPINGS];
	enum dma_data_direction dir[MAX_MAPPINGS];
	int mappings;
	int pins;
	struct iosys_map vmap;
	u64 value;
	char answer[LINE_LENGTH];
};

static struct dentry *root;
static DEFINE_SPINLOCK(fence_lock);
static atomic_t released = ATOMIC_INIT(0);

/* ---- A device that is busy after move_notify() ---- */

static const char *fence_name(struct dma_fence *fence)
{
	return KBUILD_MODNAME;
}

static const struct dma_fence_ops fence_ops = {
	.get_driver_name = fence_name,
	.get_timeline_name = fence_name,
};

static void signal_work(struct work_struct *work)
{
	struct importer *imp = container_of(to_delayed_work(work),
					    struct importer, signal);

	WRITE_ONCE(imp->signaled, true);
	dma_fence_signal(imp->fence);
}

static void release_all(struct importer *imp);

static void move_notify(struct dma_buf_attachment *attach)
{
	struct importer *imp = attach->importer_priv;
	struct dma_resv *resv = attach->dmabuf->resv;

	imp->notified++;
	if (imp->kind == REVOCABLE)
		release_all(imp);
	if (imp->kind != SLOW || imp->fence)
		return;

	imp->fence = kzalloc(sizeof(*imp->fence), GFP_KERNEL);
	if (!imp->fence)
		return;
	dma_fence_init(imp->fence, &fence_ops, &fence_lock,
		       dma_fence_context_alloc(1), 1);
	if (!dma_resv_reserve_fences(resv, 1))
		dma_resv_add_fence(resv, imp->fence, DMA_RESV_USAGE_BOOKKEEP);
	schedule_delayed_work(&imp->signal, HZ);
}

static const struct dma_buf_attach_ops attach_ops = {
	.allow_peer2peer = true,
	.move_notify = move_notify,
};

static const struct dma_buf_attach_ops attach_ops_revocable = {
	.allow_peer2peer = true,
#if HAVE_EXPORT
	.revocable = true,
#endif
	.move_notify = move_notify,
};

static const struct dma_buf_attach_ops attach_ops_pages = {
	.move_notify = move_notify,
};

static const struct dma_buf_attach_ops * const ops_of_kinds[] = {
	[DYNAMIC] = &attach_ops,
	[SLOW] = &attach_ops,
	[REVOCABLE] = &attach_ops_revocable,
	[PAGES] = &attach_ops_pages,
	[STATIC] = NULL,
};

/* ---- Commands ---- */

static int run_attach(struct importer *imp, char *args)
{
	struct dma_buf_attachment *attach;
	char device[32], kind[16];
	struct dma_buf *dmabuf;
	struct device *dev;
	int fd, i;

	if (sscanf(args, "%d %31s %15s", &fd, device, kind) != 3 || imp->attach)
		return -EBADMSG;
	i = match_string(kinds, ARRAY_SIZE(kinds), kind);
	if (i < 0)
		return -EBADMSG;

	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	dev = bus_find_device_by_name(&pci_bus_type, NULL, device);
	if (!dev) {
		dma_buf_put(dmabuf);
		return -ENXIO;
	}

	imp->kind = i;
	attach = dma_buf_dynamic_attach(dmabuf, dev, ops_of_kinds[i], imp);
	if (IS_ERR(attach)) {
		put_device(dev);
		dma_buf_put(dmabuf);
		return PTR_ERR(attach);
	}
	imp->attach = attach;
	imp->dmabuf = dmabuf;
	imp->dev = dev;
	return 0;
}

static int run_map(struct importer *imp, char *args)
{
	static const char * const names[] = {
		[DMA_BIDIRECTIONAL] = "both",
		[DMA_TO_DEVICE] = "read",
		[DMA_FROM_DEVICE] = "write",
	};
	int dir = match_string(names, ARRAY_SIZE(names), strim(args));
	struct sg_table *sgt;

	if (dir < 0 || imp->mappings == MAX_MAPPINGS)
		return -EBADMSG;

	sgt = dma_buf_map_attachment(imp->attach, dir);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	imp->dir[imp->mappings] = dir;
	imp->sgt[imp->mappings++] = sgt;
	return 0;
}

static int run_unmap(struct importer *imp, char *args)
{
	if (!imp->mappings)
		return -EBADMSG;
	imp->mappings--;
	dma_buf_unmap_attachment(imp->attach, imp->sgt[imp->mappings],
				 imp->dir[imp->mappings]);
	return 0;
}

static int run_pin(struct importer *imp, char *args)
{
	int error = dma_buf_pin(imp->attach);

	if (!error)
		imp->pins++;
	return error;
}

static int run_unpin(struct importer *imp, char *args)
{
	if (!imp->pins)
		return -EBADMSG;
	imp->pins--;
	dma_buf_unpin(imp->attach);
	return 0;
}

/* Unmap and unpin all, under the reservation lock */
static void release_all(struct importer *imp)
{
	while (imp->mappings)
		run_unmap(imp, "");
	while (imp->pins)
		run_unpin(imp, "");
}

static int run_vmap(struct importer *imp, char *args)
{
	if (iosys_map_is_set(&imp->vmap))
		return -EBADMSG;
	return dma_buf_vmap(imp->dmabuf, &imp->vmap);
}

static int run_vunmap(struct importer *imp, char *args)
{
	if (iosys_map_is_null(&imp->vmap))
		return -EBADMSG;
	dma_buf_vunmap(imp->dmabuf, &imp->vmap);
	iosys_map_clear(&imp->vmap);
	return 0;
}

static int run_peek(struct importer *imp, char *args)
{
	size_t offset;

	if (kstrtoul(strim(args), 0, &offset) || !imp->vmap.is_iomem ||
	    iosys_map_is_null(&imp->vmap) ||
	    offset > imp->dmabuf->size - sizeof(u64))
		return -EBADMSG;
	imp->value = readq(imp->vmap.vaddr_iomem + offset);
	return 0;
}

static int run_poke(struct importer *imp, char *args)
{
	unsigned long long value;
	size_t offset;

	if (sscanf(args, "%li %lli", &offset, &value) != 2 ||
	    !imp->vmap.is_iomem || iosys_map_is_null(&imp->vmap) ||
	    offset > imp->dmabuf->size - sizeof(u64))
		return -EBADMSG;
	writeq(value, imp->vmap.vaddr_iomem + offset);
	return 0;
}

/*
 * The fence's operations go with this module, so no reference to it may stay:
 * a stub fence of the kernel replaces it in the reservation, and a waiter drops
 * its reference soon.
 */
static void drop_fence(struct importer *imp)
{
	struct dma_resv *resv = imp->dmabuf->resv;
	struct dma_fence *stub;

	flush_delayed_work(&imp->signal);
	if (!imp->fence)
		return;

	stub = dma_fence_get_stub();
	dma_resv_lock(resv, NULL);
	dma_resv_replace_fences(resv, imp->fence->context, stub,
				DMA_RESV_USAGE_BOOKKEEP);
	dma_resv_unlock(resv);
	dma_fence_put(stub);

	while (kref_read(&imp->fence->refcount) > 1)
		msleep(20);
	dma_fence_put(imp->fence);
	imp->fence = NULL;
}

/* Called without the reservation lock */
static void detach(struct importer *imp)
{
	if (!imp->attach)
		return;

	dma_resv_lock(imp->dmabuf->resv, NULL);
	if (iosys_map_is_set(&imp->vmap))
		run_vunmap(imp, "");
	release_all(imp);
	dma_resv_unlock(imp->dmabuf->resv);

	dma_buf_detach(imp->dmabuf, imp->attach);
	drop_fence(imp);
	dma_buf_put(imp->dmabuf);
	put_device(imp->dev);
	imp->attach = NULL;
}

/* Called with the reservation lock; attach and detach aren't */
static const struct {
	const char *name;
	int (*run)(struct importer *imp, char *args);
} commands[] = {
	{ "map", run_map },
	{ "unmap", run_unmap },
	{ "pin", run_pin },
	{ "unpin", run_unpin },
	{ "vmap", run_vmap },
	{ "vunmap", run_vunmap },
	{ "peek", run_peek },
	{ "poke", run_poke },
};

static int run(struct importer *imp, char *line)
{
	char *name = strsep(&line, " ");
	int i, error = -EBADMSG;

	if (!line)
		line = "";
	if (!strcmp(name, "attach"))
		return run_attach(imp, line);
	if (!imp->attach)
		return -EBADMSG;
	if (!strcmp(name, "detach")) {
		detach(imp);
		return 0;
	}

	dma_resv_lock(imp->dmabuf->resv, NULL);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name))
			error = commands[i].run(imp, line);
	dma_resv_unlock(imp->dmabuf->resv);
	return error;
}

/* ---- Files ---- */

static int importer_open(struct inode *inode, struct file *file)
{
	struct importer *imp = kzalloc(sizeof(*imp), GFP_KERNEL);

	if (!imp)
		return -ENOMEM;
	mutex_init(&imp->lock);
	INIT_DELAYED_WORK(&imp->signal, signal_work);
	file->private_data = imp;
	return 0;
}

static int get_line(char line[LINE_LENGTH], const char __user *buf,
		    size_t count)
{
	if (count >= LINE_LENGTH)
		return -EBADMSG;
	if (copy_from_user(line, buf, count))
		return -EFAULT;
	line[count] = '\0';
	return 0;
}

static ssize_t importer_write(struct file *file, const char __user *buf,
			      size_t count, loff_t *pos)
{
	struct importer *imp = file->private_data;
	char line[LINE_LENGTH];
	int error;

	error = get_line(line, buf, count);
	if (error)
		return error;
	guard(mutex)(&imp->lock);
	error = run(imp, strim(line));
	return error ?: count;
}

static ssize_t importer_read(struct file *file, char __user *buf, size_t count,
			     loff_t *pos)
{
	struct importer *imp = file->private_data;
	struct scatterlist *sg;
	int i, n;

	guard(mutex)(&imp->lock);
	/* A revocable one's move_notify() unmaps. */
	if (imp->attach)
		dma_resv_lock(imp->dmabuf->resv, NULL);
	n = scnprintf(imp->answer, LINE_LENGTH, "%d %d %#llx", imp->notified,
		      READ_ONCE(imp->signaled), imp->value);
	if (imp->mappings) {
		for_each_sgtable_dma_sg(imp->sgt[imp->mappings - 1], sg, i)
			n += scnprintf(imp->answer + n, LINE_LENGTH - n,
				       " %#llx %#x", (u64)sg_dma_address(sg),
				       sg_dma_len(sg));
	}
	if (imp->attach)
		dma_resv_unlock(imp->dmabuf->resv);
	scnprintf(imp->answer + n, LINE_LENGTH - n, "\n");
	return simple_read_from_buffer(buf, count, pos, imp->answer,
				       strlen(imp->answer));
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct importer *imp = file->private_data;

	detach(imp);
	mutex_destroy(&imp->lock);
	kfree(imp);
	return 0;
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.open = importer_open,
	.write = importer_write,
	.read = importer_read,
	.release = importer_release,
};

#if HAVE_EXPORT
static void export_released(void *data)
{
	atomic_inc(&released);
}

static int export_bar(struct pci_dev *pdev, int bar, u64 offset, size_t size)
{
	struct p2pdma_provider *provider;
	struct dma_buf *dmabuf;
	int fd;

	/* Keeps the driver, if there is one, from being unbound */
	guard(device)(&pdev->dev);
	if (!pdev->dev.driver)
		return -ENXIO;
	fd = pcim_p2pdma_init(pdev);
	if (fd)
		return fd;
	provider = pcim_p2pdma_provider(pdev, bar);
	if (!provider)
		return -ENXIO;

	dmabuf = p2pdma_export(provider, pci_resource_start(pdev, bar) + offset,
			       size, O_RDWR, export_released, NULL);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	/* For export_released(); the dma-buf core puts the module after it. */
	__module_get(THIS_MODULE);
	dmabuf->owner = THIS_MODULE;
	fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}
#else
static int export_bar(struct pci_dev *pdev, int bar, u64 offset, size_t size)
{
	return -EOPNOTSUPP;
}
#endif

static ssize_t exporter_write(struct file *file, const char __user *buf,
			      size_t count, loff_t *pos)
{
	unsigned long long offset, size;
	char line[LINE_LENGTH], name[32];
	struct device *dev;
	int bar, fd;

	fd = get_line(line, buf, count);
	if (fd)
		return fd;
	if (sscanf(line, "%31s %d %lli %lli", name, &bar, &offset, &size) != 4)
		return -EBADMSG;

	dev = bus_find_device_by_name(&pci_bus_type, NULL, name);
	if (!dev)
		return -ENXIO;
	fd = export_bar(to_pci_dev(dev), bar, offset, size);
	put_device(dev);
	if (fd < 0)
		return fd;
	file->private_data = (void *)(long)fd;
	return count;
}

static ssize_t exporter_read(struct file *file, char __user *buf, size_t count,
			     loff_t *pos)
{
	char answer[16];

	scnprintf(answer, sizeof(answer), "%ld\n", (long)file->private_data);
	return simple_read_from_buffer(buf, count, pos, answer, strlen(answer));
}

static const struct file_operations exporter_fops = {
	.owner = THIS_MODULE,
	.write = exporter_write,
	.read = exporter_read,
};

static int __init p2pdma_importer_init(void)
{
	root = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("importer", 0600, root, NULL, &importer_fops);
	debugfs_create_file("exporter", 0600, root, NULL, &exporter_fops);
	debugfs_create_atomic_t("released", 0400, root, &released);
	return 0;
}
module_init(p2pdma_importer_init);

static void __exit p2pdma_importer_exit(void)
{
	debugfs_remove(root);
}
module_exit(p2pdma_importer_exit);

MODULE_DESCRIPTION("Imports and exports dma-bufs for the P2PDMA selftests");
MODULE_IMPORT_NS(DMA_BUF);
MODULE_LICENSE("GPL");
