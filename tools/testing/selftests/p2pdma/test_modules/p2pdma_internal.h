/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions of the core that are exported for KUnit tests.  Their own headers, in
 * drivers/pci, aren't there for modules.
 */

#ifndef _SELFTESTS_P2PDMA_INTERNAL_H
#define _SELFTESTS_P2PDMA_INTERNAL_H

#include <linux/types.h>

struct device;

void pci_p2pdma_fabric_changed(void);
bool p2pdma_is_bus_addr(struct device *dev, dma_addr_t addr);
bool p2pdma_cpu_allows(void);
bool p2pdma_memory_encrypted(void);

#endif /* _SELFTESTS_P2PDMA_INTERNAL_H */
