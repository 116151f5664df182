// SPDX-License-Identifier: GPL-2.0
/* PCI peer-to-peer DMA: the code of the tracepoints; all of it is in their header. */

#include "p2pdma.h"

#define CREATE_TRACE_POINTS
#include <trace/events/p2pdma.h>
