#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Does lsp2p tell the same of this machine whatever it reads, and what the kernel
# says? Prints TAP. Changes nothing. Needs root.
#
#   lsp2p_agree.sh [-l] [-r NAME]...
#
# -l lists all tests, -r runs the named ones, as in programs with the harness.

all="all_pairs unprivileged"

tests=
while getopts lr: option; do
	case $option in
	l)
		# Columns of fixtures and variants, which are empty
		for name in $all; do
			printf '%20s %25s %s\n' "" "" "$name"
		done >&2
		exit 4 ;;
	r)
		tests="$tests $OPTARG" ;;
	*)
		exit 1 ;;
	esac
done
tests=${tests:-$all}

number=0 failed=0
here=$(cd "${0%/*}" && pwd)
dir=$(mktemp -d)
chmod 755 "$dir"
trap 'rm -rf "$dir"' EXIT

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
	number=$((number + 1))
	if "$name" > "$dir/log" 2>&1; then
		echo "ok $number $name"
		grep pairs "$dir/log" | sed 's/^/# /'
	else
		failed=$((failed + 1))
		echo "not ok $number $name"
		head -n 40 "$dir/log" | sed 's/^/# /'
	fi
done
echo "1..$number"
[ $failed -eq 0 ]
