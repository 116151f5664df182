/* SPDX-License-Identifier: GPL-2.0 */
/* For builds outside of a kernel tree; see kernel.c */
