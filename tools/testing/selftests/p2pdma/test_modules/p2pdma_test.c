// SPDX-License-Identifier: GPL-2.0
/*
 * Lets user-space tests call the in-kernel P2PDMA interface.
 *
 * Binds to QEMU's ivshmem, pci-testdev and qxl devices, whose memory has no
 * other user, and does nothing with them by itself. Every call is a debugfs
 * file: open it, write one line of arguments, read one line of answer. write()
 * fails with the errno of the call it stands for; memory that the call
 * allocated is freed when the file is closed, even if the driver was unbound
 * before.
 *
 * /sys/kernel/debug/p2pdma_test/<device>/
 *   add       "bar size offset"  pci_p2pdma_add_resource()
 *   publish   "0" or "1"         pci_p2pmem_publish(); answers pci_has_p2pmem()
 *   alloc     "size"             pci_alloc_p2pmem(); answers the bus address
 *   sgl       "size"             pci_p2pmem_alloc_sgl(); answers "nents length
 *                                bus-address"
 *   foreign   (anything)         pci_p2pmem_virt_to_bus() of kmalloc()ed memory
 *   distance  "client"           pci_p2pdma_distance() to that PCI device
 * /sys/kernel/debug/p2pdma_test/
 *   between   "owner client"     pci_p2pdma_distance() of any two PCI devices
 *   find      "client ..."       pci_p2pmem_find_many(); answers a name or "none"
 *   enable    (a setting)        pci_p2pdma_enable_store(); answers what
 *                                pci_p2pdma_enable_show() shows then
 *   hammer    "device threads"   threads that allocate and free one page of the
 *                                device in a loop until the file is closed, with
 *                                no regard to its driver; answers how many
 *                                allocations succeeded and how many failed
 *
 * It uses only the interface of Linux 6.12.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define MAX_CLIENTS	4
#define MAX_THREADS	4
#define LINE_LENGTH	128

struct hammer {
	struct pci_dev *pdev;
	struct task_struct *thread[MAX_THREADS];
	int nr_threads;
	atomic_long_t had;
	atomic_long_t refused;
};

/* One open file: its device, the memory it holds, and its answer */
struct request {
	const struct command *cmd;
	struct pci_dev *pdev;		/* NULL for files of the module itself */
	struct mutex lock;		/* serialises uses of one open file */
	bool used;
	void *addr;
	size_t size;
	struct scatterlist *sgl;
	struct hammer *hammer;
	char answer[LINE_LENGTH];
};

struct command {
	const char *name;
	int (*run)(struct request *req, char *args);
	void (*end)(struct request *req);
};

/* Data of a debugfs file; files of the module itself have no device. */
struct file_data {
	const struct command *cmd;
	struct pci_dev *pdev;
};

static struct dentry *root;

static struct pci_dev *get_device_named(const char *name)
{
	struct device *dev = bus_find_device_by_name(&pci_bus_type, NULL, name);

	return dev ? to_pci_dev(dev) : NULL;
}

static int run_add(struct request *req, char *args)
{
	unsigned long long size, offset;
	int bar;

	if (sscanf(args, "%d %lli %lli", &bar, &size, &offset) != 3)
		return -EBADMSG;

	return pci_p2pdma_add_resource(req->pdev, bar, size, offset);
}

static int run_publish(struct request *req, char *args)
{
	bool publish;

	if (kstrtobool(args, &publish))
		return -EBADMSG;

	pci_p2pmem_publish(req->pdev, publish);
	scnprintf(req->answer, sizeof(req->answer), "%d\n",
		  pci_has_p2pmem(req->pdev));
	return 0;
}

static int run_alloc(struct request *req, char *args)
{
	u64 *word;

	if (kstrtoul(strim(args), 0, &req->size))
		return -EBADMSG;

	req->addr = pci_alloc_p2pmem(req->pdev, req->size);
	if (!req->addr)
		return -ENOMEM;

	/* The memory works up to its last word. */
	word = req->addr + round_down(req->size - 1, sizeof(*word));
	WRITE_ONCE(*word, (unsigned long)word);
	if (READ_ONCE(*word) != (unsigned long)word)
		return -EIO;

	scnprintf(req->answer, sizeof(req->answer), "%#llx\n",
		  (u64)pci_p2pmem_virt_to_bus(req->pdev, req->addr));
	return 0;
}

static void end_alloc(struct request *req)
{
	if (req->addr)
		pci_free_p2pmem(req->pdev, req->addr, req->size);
}

static int run_sgl(struct request *req, char *args)
{
	unsigned int nents = 0;
	u32 length;

	if (kstrtou32(strim(args), 0, &length))
		return -EBADMSG;

	req->sgl = pci_p2pmem_alloc_sgl(req->pdev, &nents, length);
	if (!req->sgl)
		return -ENOMEM;

	scnprintf(req->answer, sizeof(req->answer), "%u %u %#llx\n", nents,
		  req->sgl->length,
		  (u64)pci_p2pmem_virt_to_bus(req->pdev, sg_virt(req->sgl)));
	return 0;
}

static void end_sgl(struct request *req)
{
	if (req->sgl)
		pci_p2pmem_free_sgl(req->pdev, req->sgl);
}

static int run_foreign(struct request *req, char *args)
{
	scnprintf(req->answer, sizeof(req->answer), "%#llx %#llx\n",
		  (u64)pci_p2pmem_virt_to_bus(req->pdev, req),
		  (u64)pci_p2pmem_virt_to_bus(req->pdev, NULL));
	return 0;
}

static int run_distance(struct request *req, char *args)
{
	struct pci_dev *client = get_device_named(args);

	if (!client)
		return -ENXIO;

	scnprintf(req->answer, sizeof(req->answer), "%d\n",
		  pci_p2pdma_distance(req->pdev, &client->dev, false));
	pci_dev_put(client);
	return 0;
}

static int run_between(struct request *req, char *args)
{
	struct pci_dev *owner, *client = NULL;
	int error = -ENXIO;
	char *name;

	args = strim(args);
	name = strsep(&args, " ");
	owner = get_device_named(name);
	if (args)
		client = get_device_named(args);
	if (owner && client) {
		scnprintf(req->answer, sizeof(req->answer), "%d\n",
			  pci_p2pdma_distance(owner, &client->dev, false));
		error = 0;
	}
	pci_dev_put(owner);
	pci_dev_put(client);
	return error;
}

static int run_find(struct request *req, char *args)
{
	struct device *client[MAX_CLIENTS];
	struct pci_dev *pdev, *found = NULL;
	int nr = 0, error = 0;
	char *name;

	args = strim(args);
	while (!error && (name = strsep(&args, " "))) {
		pdev = nr < MAX_CLIENTS ? get_device_named(name) : NULL;
		if (pdev)
			client[nr++] = &pdev->dev;
		else
			error = -ENXIO;
	}

	if (!error) {
		found = pci_p2pmem_find_many(client, nr);
		scnprintf(req->answer, sizeof(req->answer), "%s\n",
			  found ? pci_name(found) : "none");
	}

	pci_dev_put(found);
	while (nr)
		put_device(client[--nr]);
	return error;
}

static int run_enable(struct request *req, char *args)
{
	struct pci_dev *pdev = NULL;
	bool use = false;
	ssize_t length;
	char *page;
	int error;

	error = pci_p2pdma_enable_store(args, &pdev, &use);
	if (error)
		return error;

	page = (char *)get_zeroed_page(GFP_KERNEL);
	if (page) {
		length = pci_p2pdma_enable_show(page, pdev, use);
		if (length == strlen(page))
			strscpy(req->answer, page);
		else
			error = -EIO;
		free_page((unsigned long)page);
	} else {
		error = -ENOMEM;
	}

	pci_dev_put(pdev);
	return error;
}

static int hammer_thread(void *data)
{
	struct hammer *hammer = data;
	void *addr;

	while (!kthread_should_stop()) {
		addr = pci_alloc_p2pmem(hammer->pdev, PAGE_SIZE);
		if (addr) {
			atomic_long_inc(&hammer->had);
			pci_free_p2pmem(hammer->pdev, addr, PAGE_SIZE);
		} else {
			atomic_long_inc(&hammer->refused);
		}
		cond_resched();
	}
	return 0;
}

static int run_hammer(struct request *req, char *args)
{
	struct task_struct *thread;
	struct hammer *hammer;
	char name[32];
	int nr;

	if (sscanf(args, "%31s %d", name, &nr) != 2 ||
	    nr < 1 || nr > MAX_THREADS)
		return -EBADMSG;

	hammer = kzalloc(sizeof(*hammer), GFP_KERNEL);
	if (!hammer)
		return -ENOMEM;

	/* From here on end_hammer() cleans up. */
	req->hammer = hammer;
	hammer->pdev = get_device_named(name);
	if (!hammer->pdev)
		return -ENXIO;

	while (hammer->nr_threads < nr) {
		thread = kthread_run(hammer_thread, hammer, "p2pdma_hammer/%d",
				     hammer->nr_threads);
		if (IS_ERR(thread))
			return PTR_ERR(thread);
		hammer->thread[hammer->nr_threads++] = thread;
	}
	return 0;
}

static void end_hammer(struct request *req)
{
	struct hammer *hammer = req->hammer;

	if (!hammer)
		return;

	while (hammer->nr_threads)
		kthread_stop(hammer->thread[--hammer->nr_threads]);
	pci_dev_put(hammer->pdev);
	kfree(hammer);
}

static const struct command device_commands[] = {
	{ "add",	run_add },
	{ "publish",	run_publish },
	{ "alloc",	run_alloc,	end_alloc },
	{ "sgl",	run_sgl,	end_sgl },
	{ "foreign",	run_foreign },
	{ "distance",	run_distance },
};

static const struct command module_commands[] = {
	{ "between",	run_between },
	{ "find",	run_find },
	{ "enable",	run_enable },
	{ "hammer",	run_hammer,	end_hammer },
};

static int request_open(struct inode *inode, struct file *file)
{
	const struct file_data *data = inode->i_private;
	struct request *req;

	req = kzalloc(sizeof(*req), GFP_KERNEL);
	if (!req)
		return -ENOMEM;

	req->cmd = data->cmd;
	req->pdev = pci_dev_get(data->pdev);
	mutex_init(&req->lock);
	file->private_data = req;
	return 0;
}

static ssize_t request_write(struct file *file, const char __user *buf,
			     size_t count, loff_t *pos)
{
	struct request *req = file->private_data;
	char args[LINE_LENGTH];
	int error;

	if (count >= sizeof(args))
		return -EBADMSG;
	if (copy_from_user(args, buf, count))
		return -EFAULT;
	args[count] = '\0';

	guard(mutex)(&req->lock);

	/* A command that holds something can be run only once per file. */
	if (req->used && req->cmd->end)
		return -EALREADY;
	req->used = true;

	error = req->cmd->run(req, args);
	return error ?: count;
}

static ssize_t request_read(struct file *file, char __user *buf, size_t count,
			    loff_t *pos)
{
	struct request *req = file->private_data;
	struct hammer *hammer;

	guard(mutex)(&req->lock);

	hammer = req->hammer;
	if (hammer)
		scnprintf(req->answer, sizeof(req->answer), "%ld %ld\n",
			  atomic_long_read(&hammer->had),
			  atomic_long_read(&hammer->refused));

	return simple_read_from_buffer(buf, count, pos, req->answer,
				       strlen(req->answer));
}

static int request_release(struct inode *inode, struct file *file)
{
	struct request *req = file->private_data;

	if (req->cmd->end)
		req->cmd->end(req);
	pci_dev_put(req->pdev);
	mutex_destroy(&req->lock);
	kfree(req);
	return 0;
}

static const struct file_operations request_fops = {
	.owner = THIS_MODULE,
	.open = request_open,
	.write = request_write,
	.read = request_read,
	.release = request_release,
};

/* Driver data of a device */
struct device_files {
	struct dentry *dir;
	struct file_data data[ARRAY_SIZE(device_commands)];
};

static int p2pdma_test_probe(struct pci_dev *pdev,
			     const struct pci_device_id *id)
{
	struct device_files *files;
	int i, error;

	error = pcim_enable_device(pdev);
	if (error)
		return error;

	/* Peer memory may lie above 4 GiB. */
	error = dma_set_mask(&pdev->dev, DMA_BIT_MASK(64));
	if (error)
		return error;

	files = devm_kzalloc(&pdev->dev, sizeof(*files), GFP_KERNEL);
	if (!files)
		return -ENOMEM;

	files->dir = debugfs_create_dir(pci_name(pdev), root);
	for (i = 0; i < ARRAY_SIZE(device_commands); i++) {
		files->data[i].cmd = &device_commands[i];
		files->data[i].pdev = pdev;
		debugfs_create_file(device_commands[i].name, 0600, files->dir,
				    &files->data[i], &request_fops);
	}

	pci_set_drvdata(pdev, files);
	return 0;
}

/* Waits for writes in progress: no registration starts after this. */
static void p2pdma_test_remove(struct pci_dev *pdev)
{
	struct device_files *files = pci_get_drvdata(pdev);

	debugfs_remove(files->dir);
}

static const struct pci_device_id p2pdma_test_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110) },	/* ivshmem */
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT, 0x0005) },		/* pci-testdev */
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT, 0x0100) },		/* qxl */
	{ }
};
MODULE_DEVICE_TABLE(pci, p2pdma_test_ids);

static struct pci_driver p2pdma_test_driver = {
	.name = KBUILD_MODNAME,
	.id_table = p2pdma_test_ids,
	.probe = p2pdma_test_probe,
	.remove = p2pdma_test_remove,
};

static int __init p2pdma_test_init(void)
{
	static struct file_data data[ARRAY_SIZE(module_commands)];
	int i, error;

	root = debugfs_create_dir(KBUILD_MODNAME, NULL);
	for (i = 0; i < ARRAY_SIZE(module_commands); i++) {
		data[i].cmd = &module_commands[i];
		debugfs_create_file(module_commands[i].name, 0600, root,
				    &data[i], &request_fops);
	}

	error = pci_register_driver(&p2pdma_test_driver);
	if (error)
		debugfs_remove(root);
	return error;
}
module_init(p2pdma_test_init);

static void __exit p2pdma_test_exit(void)
{
	pci_unregister_driver(&p2pdma_test_driver);
	debugfs_remove(root);
}
module_exit(p2pdma_test_exit);

MODULE_DESCRIPTION("Calls the P2PDMA interface for the selftests");
MODULE_LICENSE("GPL");
