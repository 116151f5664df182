/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: export of device memory as a dma-buf.
 *
 * For drivers that export memory of their device.  Importers of the dma-buf
 * don't need this header.
 */

#ifndef _LINUX_P2PDMA_DMABUF_H
#define _LINUX_P2PDMA_DMABUF_H

#include <linux/err.h>
#include <linux/types.h>

struct dma_buf;
struct p2pdma_phys_list;
struct p2pdma_provider;

#ifdef CONFIG_PCI_P2PDMA_DMABUF
struct dma_buf *p2pdma_export_list(struct p2pdma_phys_list *list, int fd_flags,
				   void (*release)(void *data), void *data);
struct dma_buf *p2pdma_export(struct p2pdma_provider *provider,
			      phys_addr_t phys, size_t size, int fd_flags,
			      void (*release)(void *data), void *data);
void p2pdma_revoke(struct dma_buf *dmabuf);
#else
static inline struct dma_buf *
p2pdma_export_list(struct p2pdma_phys_list *list, int fd_flags,
		   void (*release)(void *data), void *data)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline struct dma_buf *
p2pdma_export(struct p2pdma_provider *provider, phys_addr_t phys, size_t size,
	      int fd_flags, void (*release)(void *data), void *data)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void p2pdma_revoke(struct dma_buf *dmabuf) { }
#endif

#endif /* _LINUX_P2PDMA_DMABUF_H */
