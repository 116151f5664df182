/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * User-space interface of the peer-to-peer DMA samples.
 */
#ifndef _P2PDMA_SAMPLES_H
#define _P2PDMA_SAMPLES_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct p2pdma_copy - a copy from one DMA buffer to another
 * @source: file descriptor of a DMA buffer that may be read
 * @destination: file descriptor of a DMA buffer that may be written
 * @source_offset: where to start in the source, in bytes
 * @destination_offset: where to start in the destination, in bytes
 * @length: bytes
 */
struct p2pdma_copy {
	__s32 source;
	__s32 destination;
	__u64 source_offset;
	__u64 destination_offset;
	__u64 length;
};

/*
 * On /dev/p2pdma_copy: copy by DMA, and return when it is done.  0, or -1 and:
 *
 * EBADF, EINVAL	no DMA buffers; a range outside of them, or empty, or
 *			overlapping the other; alignment that the engine lacks
 * EACCES		a source not opened to be read, a destination not opened
 *			to be written
 * ENODEV		no DMA engine that can be stopped, or it is unbound, or
 *			a buffer is revoked
 * EREMOTEIO		the engine can't reach a buffer; nothing was copied
 * EIO			the engine failed
 * ETIMEDOUT		the engine didn't finish in time, and was stopped
 * EINTR		a signal came; the destination's content is undefined
 * ENOMEM		no memory
 *
 * or another error of the driver that exported a buffer.
 */
#define P2PDMA_COPY	_IOW('P', 0xd0, struct p2pdma_copy)

/**
 * struct p2pdma_export - a part of a BAR as a DMA buffer
 * @offset: where it starts in the BAR, in bytes, at a page
 * @size: bytes, whole pages
 *
 * Buffers of the same part share the memory.
 */
struct p2pdma_export {
	__u64 offset;
	__u64 size;
};

/*
 * On /dev/p2pdma-<PCI device>: make a DMA buffer.  Returns a file descriptor,
 * or -1 and EINVAL (bad range), ENODEV (the device is gone), EMFILE, ENOMEM.
 */
#define P2PDMA_EXPORT	_IOW('P', 0xd1, struct p2pdma_export)

/**
 * struct p2pdma_gpu_range - a range of the caller's memory to migrate
 * @start: its address, at a page
 * @size: bytes, whole pages
 * @pages: set to the number of pages that have moved; also on an error
 *
 * A page that can't be moved at the moment stays where it is, without an error,
 * such as one with DMA under way.
 */
struct p2pdma_gpu_range {
	__u64 start;
	__u64 size;
	__u64 pages;
};

/*
 * On /dev/p2pdma-gpu-<PCI device>: migrate to the memory of the device, or back
 * to system memory, where a page also goes by itself when a CPU accesses it.  The
 * range must be anonymous and private memory, such as malloc() gives.  0, or -1
 * and:
 *
 * EINVAL	not whole pages, an empty range, or memory of another kind
 * EFAULT	nothing is mapped there
 * ENODEV	the device is gone
 * ENOMEM	no memory left, on the device or in the system
 * EINTR	the caller is being killed
 */
#define P2PDMA_GPU_TO_DEVICE	_IOWR('P', 0xd2, struct p2pdma_gpu_range)
#define P2PDMA_GPU_TO_SYSTEM	_IOWR('P', 0xd3, struct p2pdma_gpu_range)

#endif /* _P2PDMA_SAMPLES_H */
