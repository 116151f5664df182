// SPDX-License-Identifier: GPL-2.0
/*
 * While it is loaded, each call of the kernel's function @function takes 5 ms
 * longer, before it does anything; the CPU waits with interrupts disabled.  So a
 * test hits a race between what the caller has looked up and what another CPU
 * frees meanwhile.
 */

#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/module.h>

static char *function;
module_param(function, charp, 0);
MODULE_PARM_DESC(function, "a function that can have a kprobe");

static int wait_before(struct kprobe *probe, struct pt_regs *regs)
{
	mdelay(5);
	return 0;
}

static struct kprobe probe = {
	.pre_handler = wait_before,
};

static int __init p2pdma_delay_test_init(void)
{
	int ret;

	if (!function)
		return -EINVAL;

	probe.symbol_name = function;
	ret = register_kprobe(&probe);
	/* ENOENT would say that there is no such module. */
	return ret == -ENOENT ? -EINVAL : ret;
}
module_init(p2pdma_delay_test_init);

static void __exit p2pdma_delay_test_exit(void)
{
	unregister_kprobe(&probe);
}
module_exit(p2pdma_delay_test_exit);

MODULE_DESCRIPTION("Makes a function of the kernel slower");
MODULE_LICENSE("GPL");
