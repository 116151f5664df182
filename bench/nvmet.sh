#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The part of bench/nvmet.py that runs in the guest: exports the disk by the NVMe
# target over RDMA, and has io_path use it as the target's host, with the target's
# buffers in peer memory and in system memory.
#
#   nvmet.sh MODULES IO_PATH IMAGE [FIGURE]
#
# With a FIGURE, io_path repeats that forever.

. "${0%/*}/../lab/guest/nvmet-rdma"

P2PDMA_MODULES=$1 io_path=$2 image=$3 figure=${4-}

count() {
	# The threads that a request needs run at once, not when io_path's time is up.
	chrt --idle 0 "$io_path" ${figure:+-f} -d "/dev/$disk" "$image" "$@" ||
		die "not counted: $*"
}

for serial in /sys/block/nvme*/device/serial; do
	read -r id < "$serial"
	[ "$id" = disk ] && local=${serial%/device/serial}
done
[ "$local" ] || die "no disk"
start_adapter
start_target "/dev/${local##*/}"

case $figure in
*_on | "")
	connect 1
	dmesg | grep -q 'nvmet: using p2pmem on' || die "no peer memory"
	count ${figure:-nvmet_read_on nvmet_write_on}
	disconnect ;;
esac
connect 0
count ${figure:-nvmet_read_off nvmet_write_off}
disconnect
