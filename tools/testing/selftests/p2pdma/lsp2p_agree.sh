#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Does lsp2p tell the same of this machine whatever it reads, and what the kernel
# says? Changes nothing. Needs root. Prints TAP; options are in tap.sh.

all="all_pairs unprivileged"

. "${0%/*}/tap.sh"

# The stock core tells its answers to the test module alone.
stock() {
	rmmod p2pdma_test 2> /dev/null
	insmod "$here/test_modules/p2pdma_test.ko" || return
	"$here/lsp2p_agree" stock /sys/kernel/debug/p2pdma_test/between
	status=$?
	rmmod p2pdma_test
	return $status
}

all_pairs() {
	lspci -vvv -xxxx > "$dir/lspci" || return
	if [ -e /dev/p2pdma ]; then
		"$here/lsp2p_agree" kernel "$dir/lspci"
	else
		stock && "$here/lsp2p_agree" sysfs "$dir/lspci"
	fi
}

unprivileged() {
	"$here/lsp2p" dump > "$dir/dump" || return
	chmod 644 "$dir/dump"
	setpriv --reuid=65534 --regid=65534 --clear-groups "$here/lsp2p_agree" unprivileged "$dir/dump"
}

for name in $tests; do
	run "$name"
done
exit $((failed > 0))
