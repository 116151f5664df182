#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The part of bench/stacks.py that runs in the guest: makes devices that stand on
# disks, and has io_path read from them.
#
#   stacks.sh MODULES IO_PATH IMAGE [-f] FIGURE...
#
# Each device has the bytes of IMAGE. With -f, io_path repeats the first FIGURE
# forever.

modules=$1 io_path=$2 image=$3
shift 3

die() {
	echo "stopped $*"
	exit 1
}

# find_disk SERIAL: sets $disk to what programs use of it, which is no path of a head
find_disk() {
	for node in /sys/block/nvme*; do
		read -r serial < "$node/device/serial"
		disk=/dev/${node##*/}
		[ "$serial" = "$1" ] && [ -b "$disk" ] && return
	done
	die "no disk $1"
}

modprobe -d "$modules" -a raid0 dm-mod || die "no modules"

find_disk leg1
leg1=$disk
find_disk leg2
# In chunks smaller than a read, so that each read is split
mdadm --build /dev/md0 --level=0 --raid-devices=2 --chunk=64 "$leg1" "$disk" || die "no array"

find_disk disk
dmsetup create --noudevsync --noudevrules linear \
	--table "0 $(blockdev --getsz "$disk") linear $disk 0" || die "no mapping"

forever=
if [ "$1" = -f ]; then
	forever=-f
	shift
fi
for figure; do
	case $figure in
	raid0_*) stack=/dev/md0 ;;
	linear_*) stack=/dev/dm-0 ;;
	multipath_*)
		find_disk multi
		stack=$disk ;;
	esac
	"$io_path" $forever -d "$stack" "$image" "$figure" || die "not counted: $figure"
done
