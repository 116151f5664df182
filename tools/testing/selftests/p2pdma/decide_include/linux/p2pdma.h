/* SPDX-License-Identifier: GPL-2.0 */
/* For drivers/pci/p2pdma_decide.c in a program: the kernel's own header */
#include "../../../../../../include/uapi/linux/p2pdma.h"
