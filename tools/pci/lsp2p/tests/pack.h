/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Packs config space as "rdma_topo dump" does: zlib, then base64.
 */
#ifndef LSP2P_PACK_H
#define LSP2P_PACK_H

#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#define MAX_PACKED	16384	/* of the text */

static inline void pack(char *text, const uint8_t *bytes, size_t size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t packed[8192] = { };
	unsigned long length = sizeof(packed), i;
	uint32_t three;
	int left;

	compress(packed, &length, bytes, size);
	for (i = 0; i < length; i += 3) {
		left = length - i;
		three = packed[i] << 16 | packed[i + 1] << 8 | packed[i + 2];
		*text++ = digits[three >> 18];
		*text++ = digits[three >> 12 & 63];
		*text++ = left > 1 ? digits[three >> 6 & 63] : '=';
		*text++ = left > 2 ? digits[three & 63] : '=';
	}
	*text = '\0';
}

#endif
