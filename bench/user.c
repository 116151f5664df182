// SPDX-License-Identifier: GPL-2.0
/*
 * Part "user" of the benchmark: memory for programs.
 *
 * It maps as a program does, in the address space of the program that loads the
 * module; only entering and leaving the kernel isn't counted.  There are no
 * page faults later, on either core.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/timex.h>

#include <pci_fabric.h>

#include "bench.h"

#define USER_ROUNDS	15

static ulong zero;
module_param(zero, ulong, 0);
MODULE_PARM_DESC(zero,
		 "address of p2pdma_zero(), which modules can't name, where the core has it");

static bool map_unmap(struct file *file, size_t size)
{
	unsigned long addr = vm_mmap(file, 0, size, PROT_READ | PROT_WRITE,
				     MAP_SHARED, 0);

	return !IS_ERR_VALUE(addr) && !vm_munmap(addr, size);
}

/* Open p2pmem/allocate */
static struct file *open_allocate(struct pci_dev *pdev)
{
	char *device = kobject_get_path(&pdev->dev.kobj, GFP_KERNEL);
	struct file *file;
	char *path;

	path = kasprintf(GFP_KERNEL, "/sys%s/p2pmem/allocate", device ?: "");
	kfree(device);
	if (!path)
		return ERR_PTR(-ENOMEM);
	file = filp_open(path, O_RDWR, 0);
	kfree(path);
	return file;
}

static int count(struct pci_dev *pdev, const char *name, size_t size)
{
	struct file *file = open_allocate(pdev);
	u64 took[USER_ROUNDS], start;
	bool good = true;
	int round;

	if (IS_ERR(file))
		return PTR_ERR(file);
	if (bench_where(name, map_unmap)) {
		while (map_unmap(file, size))
			;
	}

	/* A round that isn't counted allocates page tables. */
	for (round = -1; good && round < USER_ROUNDS; round++) {
		start = get_cycles();
		good = map_unmap(file, size);
		if (round >= 0)
			took[round] = get_cycles() - start;
	}
	filp_close(file, NULL);
	if (!good)
		return -EFAULT;
	bench_log(name, bench_median(took, USER_ROUNDS), 1);
	return 0;
}

/* The share of clearing the memory: nothing in the core of Linux 6.12 */
static int count_zero(struct pci_dev *pdev, const char *name, size_t size)
{
	int (*clear)(void *addr, size_t size) = (void *)zero;
	u64 took[USER_ROUNDS], start;
	unsigned int round;
	int error = 0;
	void *addr;

	if (!BENCH_OURS) {
		bench_log(name, 0, 1);
		return 0;
	}

	addr = pci_alloc_p2pmem(pdev, size);
	if (!addr)
		return -ENOMEM;
	for (round = 0; !error && round < USER_ROUNDS; round++) {
		start = get_cycles();
		error = clear(addr, size);
		took[round] = get_cycles() - start;
	}
	pci_free_p2pmem(pdev, addr, size);
	if (!error)
		bench_log(name, bench_median(took, USER_ROUNDS), 1);
	return error;
}

static const struct pci_fabric_node nodes[] = {
	{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 1, .node = 1 },
	{ .name = "root", .below = "host", .kind = PCI_FABRIC_ROOT_PORT },
	{ .name = "provider", .below = "root", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { { SZ_64M } } },
};

/**
 * bench_user - count memory for programs
 *
 * Return: 0 or what went wrong.
 */
int bench_user(void)
{
	struct pci_fabric *fabric;
	struct pci_dev *pdev;
	int error;

	if (BENCH_OURS && !bench_symbol_is(zero, "p2pdma_zero"))
		return -EINVAL;

	fabric = pci_fabric_create(nodes, ARRAY_SIZE(nodes));
	if (IS_ERR(fabric))
		return PTR_ERR(fabric);
	pdev = pci_fabric_dev(fabric, "provider");

	error = pci_p2pdma_add_resource(pdev, 0, 0, 0);
	if (!error) {
		pci_p2pmem_publish(pdev, true);
		error = count(pdev, "mmap_2m", SZ_2M);
	}
	if (!error)
		error = count_zero(pdev, "zero_2m", SZ_2M);

	pci_fabric_destroy(fabric);
	return error;
}
