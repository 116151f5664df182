/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's own header, also where none is installed */
#include "../../../../../include/uapi/linux/p2pdma.h"
