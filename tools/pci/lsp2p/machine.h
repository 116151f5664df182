/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A machine: what is known of its PCI devices, wherever it was read: from the
 * running kernel, or from a file.
 *
 * What isn't known is kept apart from what is absent: of config space each byte
 * is known or not, and other facts have "unknown" as a value.  Nothing here
 * judges; see route.h.
 */
#ifndef LSP2P_MACHINE_H
#define LSP2P_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_SIZE	4096
#define BARS		6

/* As device_class() >> 8 */
#define CLASS_HOST_BRIDGE	0x0600
#define CLASS_PCI_BRIDGE	0x0604

enum answer { UNKNOWN, NO, YES };	/* as enum p2pdma_answer */

/* How DMA of a device is translated: the type of its IOMMU group's domain */
enum iommu {
	IOMMU_UNKNOWN,
	IOMMU_NONE,		/* no IOMMU group */
	IOMMU_IDENTITY,		/* passthrough: CPU addresses */
	IOMMU_DMA,		/* translated, strict */
	IOMMU_DMA_FQ,		/* translated, lazy */
	IOMMU_BLOCKED,
	IOMMU_OTHER,		/* a program's own (VFIO) */
};

/* A memory range with CPU addresses; a bus address is the CPU address minus @offset */
struct window {
	uint64_t start, end;	/* both in the range */
	int64_t offset;
};

struct bar {
	uint64_t start, end;	/* CPU addresses; both 0: not assigned or unknown */
	bool memory, prefetchable, is64, known;
	uint64_t sizes;		/* that Resizable BAR offers: bit n is 1 MiB << n */
};

struct host_bridge {
	uint32_t domain;
	uint8_t bus;		/* the root bus */
	struct window *windows;	/* of memory */
	unsigned int window_count;
	bool windows_known;
};

struct device {
	uint32_t domain;
	uint8_t bus, devfn;
	struct device *parent;	/* the bridge above it; NULL on a root bus */
	bool orphan;		/* the bridge above it isn't in the file; @host is a stand-in */
	struct host_bridge *host;
	struct device *physfn;	/* of a virtual function */
	bool is_bridge;

	/* Config space, and a bit for each byte of it that is known */
	uint8_t config[CONFIG_SIZE];
	uint8_t known[CONFIG_SIZE / 8];
	/*
	 * Whether the lists of capabilities are known, so that a capability that
	 * isn't below is absent; YES or NO once the machine is complete.
	 * @has_extended: extended config space exists and can be accessed.
	 */
	enum answer caps_known, extended_known, has_extended;
	uint16_t pcie_cap, acs_cap, ats_cap, sriov_cap, rebar_cap;	/* 0: none */

	/* Beyond config space */
	struct bar bars[BARS];
	enum iommu iommu;
	int iommu_group;	/* -1: none or unknown */
	enum answer untrusted;	/* behind an external port */
	unsigned int dma_mask_bits;	/* 0: unknown */
	int numa_node;		/* -1: none or unknown */
	char *driver;		/* NULL: none or unknown */
	char **nodes;		/* nvme0, card0, enp1s0, mlx5_0; NULL-terminated, or NULL */
	enum answer registered;	/* has p2pmem/ in sysfs */
	enum answer published;
	uint64_t p2pmem_size, p2pmem_available;
	/* For trees and text without registers; empty if the ID database is to be asked */
	char *name;
};

/* Releases of the kernel, to compare */
#define RELEASE(_major, _minor)	((_major) << 16 | (_minor))

/* Which P2PDMA core a kernel has */
enum core { CORE_UNKNOWN, CORE_NONE, CORE_STOCK, CORE_OURS };

struct machine {
	struct device **devices;	/* by domain, bus, devfn */
	size_t device_count;
	struct host_bridge **hosts;
	size_t host_count;

	char *source;		/* "this machine", or the file's name */
	bool live;		/* devices can be asked, and data moved */
	enum core core;
	char *kernel;		/* release, or NULL */
	/* Of the kernel: options that concern P2PDMA alone; NULL unknown */
	char *cmdline;
	char *admitted;		/* pci_p2pdma.host_bridge=, "" for none, NULL unknown */
	enum answer cpu_forwards;	/* AMD family 17h and later */
	enum answer encrypted;	/* memory encryption is active */
	enum answer bounce;	/* swiotlb=force */
	enum answer guest;	/* in a virtual machine */
	bool root;		/* read by root, so that config space is complete */
	struct fabric *fabric;	/* route.c's; made when it is first needed */
};

/* machine.c */
struct machine *machine_new(void);
void machine_free(struct machine *machine);
struct device *machine_add(struct machine *machine, uint32_t domain,
			   uint8_t bus, uint8_t devfn);	/* finds it if it is there */
struct device *machine_find(const struct machine *machine, uint32_t domain,
			    uint8_t bus, uint8_t devfn);
struct host_bridge *machine_host(struct machine *machine, uint32_t domain,
				 uint8_t bus);		/* finds or adds */
void config_set(struct device *device, unsigned int at, const void *bytes,
		unsigned int count);		/* makes these bytes known */
bool config_get8(const struct device *device, unsigned int at, uint8_t *value);
bool config_get16(const struct device *device, unsigned int at, uint16_t *value);
bool config_get32(const struct device *device, unsigned int at, uint32_t *value);
/*
 * Says where the device is, by its path below /sys/devices, once the devices above
 * it are there; false without memory.
 */
bool machine_place(struct machine *machine, struct device *device,
		   const char *path);
/* Once all devices are there: links parents, walks capabilities, reads BARs */
bool machine_complete(struct machine *machine, char *error, size_t size);
uint16_t device_vendor(const struct device *device);	/* 0xffff if unknown */
uint16_t device_id(const struct device *device);
uint32_t device_class(const struct device *device);	/* 24 bits; 0xffffff if unknown */
/* PCI_EXP_TYPE_...; -1 if it is unknown, or the device isn't PCI Express */
int device_pcie_type(const struct device *device);
/* Of the kernel, as RELEASE(); 0 if unknown */
unsigned int machine_release(const struct machine *machine);

/*
 * Sources.  Each gives a complete machine, or NULL and one line in @error that
 * says what is wrong with which file, in which line, and what to do.
 */
struct machine *machine_from_sysfs(char *error, size_t size);
/* The same from sys, proc, dev and boot below a folder, for tests */
struct machine *machine_from_root(const char *root, char *error, size_t size);
/* Any of the formats below */
struct machine *machine_from_file(const char *path, char *error, size_t size);
struct machine *machine_from_lspci(const char *text, const char *name,
				   char *error, size_t size);
struct machine *machine_from_tree(const char *text, const char *name,
				  char *error, size_t size);
/* Own dumps, and rdma_topo's */
struct machine *machine_from_json(const char *text, const char *name,
				  char *error, size_t size);
/* Writes a dump into a file, "-" is stdout; 0, or -1 with errno */
int machine_dump(const struct machine *machine, const char *path);

#endif
