/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For drivers/pci/p2pdma_decide.c in a program: what it needs of the kernel's
 * header of this name.
 */
#ifndef _P2PDMA_DECIDE_DMA_MAP_OPS_H
#define _P2PDMA_DECIDE_DMA_MAP_OPS_H

enum pci_p2pdma_map_type {
	PCI_P2PDMA_MAP_UNKNOWN,
	PCI_P2PDMA_MAP_NOT_SUPPORTED,
	PCI_P2PDMA_MAP_BUS_ADDR,
	PCI_P2PDMA_MAP_THRU_HOST_BRIDGE,
};

#endif
