/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: memory of a device as a dma-buf.
 *
 * For drivers whose device has memory that others shall use.  Importers of the
 * dma-buf don't need it.
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
