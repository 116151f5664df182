/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel's files about routes need of the kernel, for kernel.c: its
 * types, and a PCI core on top of a struct machine.
 *
 * Only what these files use is here, and only what they may know: nothing
 * writes, nothing is locked, and nothing changes during a question.
 */
#ifndef LSP2P_KERNEL_H
#define LSP2P_KERNEL_H

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>
#include <linux/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;
typedef u64 phys_addr_t;
typedef u64 dma_addr_t;
typedef u64 resource_size_t;

/* ---- Small things ---- */

#define BIT(n)			(1UL << (n))
#define GENMASK(high, low)	((~0UL >> (63 - (high))) & (~0UL << (low)))
#define FIELD_GET(mask, reg)	(((reg) & (mask)) >> __builtin_ctzll(mask))
#define FIELD_PREP(mask, value)	((unsigned long)(value) << __builtin_ctzll(mask) & (mask))
#define FIELD_MAX(mask)		((mask) >> __builtin_ctzll(mask))
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#ifndef static_assert
#define static_assert		_Static_assert
#endif
#define fallthrough		__attribute__((__fallthrough__))
#define __maybe_unused		__attribute__((__unused__))

#define min(a, b) ({			\
	__auto_type __a = (a);		\
	__auto_type __b = (b);		\
	__a < __b ? __a : __b; })
#define min_not_zero(a, b)	((a) && (!(b) || (a) < (b)) ? (a) : (b))
#define min_t(type, a, b)	min((type)(a), (type)(b))
#define max(a, b) ({			\
	__auto_type __a = (a);		\
	__auto_type __b = (b);		\
	__a > __b ? __a : __b; })

#define container_of(pointer, type, member) \
	((type *)((char *)(pointer) - offsetof(type, member)))

static inline u16 get_unaligned_be16(const void *bytes)
{
	const u8 *byte = bytes;

	return byte[0] << 8 | byte[1];
}

/* Return: 0, or -1 for anything but hexadecimal digits */
int hex2bin(u8 *to, const char *digits, size_t count);

#define EXPORT_SYMBOL_GPL(symbol)	struct lsp2p_needs_a_semicolon
#define EXPORT_SYMBOL_IF_KUNIT(symbol)	struct lsp2p_needs_a_semicolon
#define KUNIT_STATIC_STUB_REDIRECT(...)	do { } while (0)

enum pci_p2pdma_map_type {
	PCI_P2PDMA_MAP_UNKNOWN,
	PCI_P2PDMA_MAP_NOT_SUPPORTED,
	PCI_P2PDMA_MAP_BUS_ADDR,
	PCI_P2PDMA_MAP_THRU_HOST_BRIDGE,
};

/* ---- Resources ---- */

#define IORESOURCE_MEM		0x200UL
#define IORESOURCE_UNSET	0x20000000UL

struct resource {
	resource_size_t start, end;	/* CPU addresses */
	unsigned long flags;
	s64 offset;			/* minus bus address */
};

struct resource_entry {
	struct resource *res;
	s64 offset;
};

static inline unsigned long resource_type(const struct resource *res)
{
	return res->flags & IORESOURCE_MEM;
}

/* ---- Devices ---- */

struct device {
	struct device *parent;
	const void *driver;		/* NULL: none */
	u64 *dma_mask;
	u64 bus_dma_limit;		/* 0: none */
};

struct resource_windows {
	struct resource_entry *entries;
	unsigned int count;
};

struct pci_bus;

struct pci_host_bridge {
	struct resource_windows windows;
	struct pci_bus *bus;
	struct pci_dev *first;		/* with the lowest devfn on the root bus */
};

#define resource_list_for_each_entry(entry, list)		\
	for (entry = (list)->entries;				\
	     entry < (list)->entries + (list)->count; entry++)

struct pci_bus {
	u32 domain;
	u8 number;
	struct pci_bus *parent;
	struct pci_dev *self;
	struct pci_host_bridge *host;
};

struct pci_dev {
	struct device dev;
	struct pci_bus *bus;
	unsigned int devfn;
	u16 vendor, device;
	u8 pcie_cap, pcie_type;
	u16 acs_cap;
	int cfg_size;
	bool is_virtfn;
	bool untrusted, ats_enabled, ari_forwarding;
	bool p2pdma_tlp_choice;		/* known to the kernel alone */
	bool translated;		/* as assumed at the moment */
	struct pci_dev *physfn;
	u64 dma_mask;
	struct resource resource[PCI_STD_NUM_BARS];
	const void *source;		/* what config space is read from */
};

#define PCI_SLOT(devfn)			((devfn) >> 3 & 0x1f)
#define PCI_FUNC(devfn)			((devfn) & 7)
#define PCI_CFG_SPACE_SIZE		256
#define PCI_POSSIBLE_ERROR(value)	((value) == (typeof(value))~0ULL)

#define PCI_VENDOR_ID_NVIDIA		0x10de
#define PCI_VENDOR_ID_ALIBABA		0x1ded
#define PCI_VENDOR_ID_ZHAOXIN		0x1d17
#define PCI_VENDOR_ID_INTEL		0x8086

/* All devices here are PCI functions. */
static inline bool dev_is_pci(const struct device *dev)
{
	return dev;
}

static inline struct pci_dev *to_pci_dev(struct device *dev)
{
	return container_of(dev, struct pci_dev, dev);
}

static inline int dev_to_node(struct device *dev __maybe_unused)
{
	return -1;
}

static inline int pci_domain_nr(const struct pci_bus *bus)
{
	return bus->domain;
}

static inline bool pci_is_root_bus(const struct pci_bus *bus)
{
	return !bus->parent;
}

static inline bool pci_is_pcie(const struct pci_dev *pdev)
{
	return pdev->pcie_cap;
}

static inline int pci_pcie_type(const struct pci_dev *pdev)
{
	return pdev->pcie_type;
}

static inline struct pci_dev *pci_physfn(struct pci_dev *pdev)
{
	return pdev->is_virtfn && pdev->physfn ? pdev->physfn : pdev;
}

static inline struct pci_dev *pci_upstream_bridge(struct pci_dev *pdev)
{
	pdev = pci_physfn(pdev);
	return pci_is_root_bus(pdev->bus) ? NULL : pdev->bus->self;
}

static inline bool pci_ari_enabled(const struct pci_bus *bus)
{
	return bus->self && bus->self->ari_forwarding;
}

static inline struct pci_host_bridge *pci_find_host_bridge(struct pci_bus *bus)
{
	return bus->host;
}

static inline struct resource *pci_resource_n(struct pci_dev *pdev, int bar)
{
	return &pdev->resource[bar];
}

static inline resource_size_t pci_resource_start(struct pci_dev *pdev, int bar)
{
	return pdev->resource[bar].start;
}

static inline resource_size_t pci_resource_end(struct pci_dev *pdev, int bar)
{
	return pdev->resource[bar].end;
}

static inline dma_addr_t pci_bus_address(struct pci_dev *pdev, int bar)
{
	return pdev->resource[bar].start - pdev->resource[bar].offset;
}

/* A register that isn't known can't be read: an error, as if it hadn't answered */
int lsp2p_read(const struct pci_dev *pdev, int where, unsigned int size,
	       u32 *value);

static inline int pci_read_config_byte(const struct pci_dev *pdev, int where,
				       u8 *value)
{
	u32 read = ~0U;
	int ret = lsp2p_read(pdev, where, sizeof(*value), &read);

	*value = read;
	return ret;
}

static inline int pci_read_config_word(const struct pci_dev *pdev, int where,
				       u16 *value)
{
	u32 read = ~0U;
	int ret = lsp2p_read(pdev, where, sizeof(*value), &read);

	*value = read;
	return ret;
}

static inline int pci_read_config_dword(const struct pci_dev *pdev, int where,
					u32 *value)
{
	*value = ~0U;
	return lsp2p_read(pdev, where, sizeof(*value), value);
}

static inline int pcie_capability_read_word(struct pci_dev *pdev, int where,
					    u16 *value)
{
	return pci_read_config_word(pdev, pdev->pcie_cap + where, value);
}

static inline int pcie_capability_read_dword(struct pci_dev *pdev, int where,
					     u32 *value)
{
	return pci_read_config_dword(pdev, pdev->pcie_cap + where, value);
}

struct pci_bus_region {
	dma_addr_t start, end;
};

void pcibios_resource_to_bus(struct pci_bus *bus, struct pci_bus_region *region,
			     struct resource *res);
int pci_dev_specific_acs_enabled(struct pci_dev *pdev, u16 acs_flags);

/* ---- DMA ---- */

/* A device's dma-ranges are known to the kernel alone. */
static inline dma_addr_t phys_to_dma_unencrypted(struct device *dev __maybe_unused,
						 phys_addr_t phys)
{
	return phys;
}

static inline bool use_dma_iommu(struct device *dev)
{
	return to_pci_dev(dev)->translated;
}

static inline void *get_dma_ops(struct device *dev __maybe_unused)
{
	return NULL;
}

bool is_swiotlb_force_bounce(struct device *dev);

#endif
