#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Existing programs as clients: fio with verification and peer memory as its
# buffers, and nvme-cli on a controller that provides memory. Prints TAP.
#
# Writes to the first disk in P2PDMA_SCRATCH. Needs root.
# Options are in tap.sh.

all="fio_psync fio_libaio fio_io_uring fio_mixed_sizes nvme_id_ctrl nvme_smart_log nvme_io nvme_provider_io nvme_reset"

. "${0%/*}/tap.sh"

# Passes if by the lab's DMA trace all data went to or from the peer's BAR
peer_only() {
	[ -n "$P2PDMA_LAB" ] || return 0
	echo "lab: $answer"
	case $P2PDMA_ROUTE in
	bus-address | host-bridge)
		case $answer in
		"ok peer="[1-9]*" other=0"*) return 0 ;;
		*) return 1 ;;
		esac ;;
	esac
}

# fio_job NAME OPTION...: writes a pattern with peer memory, reads it back
fio_job() {
	lab dma-begin
	fio --name="$1" --filename="$disk" --direct=1 --rw=write --verify=crc32c \
		--verify_fatal=1 --do_verify=1 --iomem="mmapshared:$dir/peer" \
		--size=4m "$@" --output="$dir/fio" || { cat "$dir/fio"; return 1; }
	lab dma-end
	cat "$dir/fio"
	grep -q "err= 0" "$dir/fio" && peer_only
}

nvme_io() {
	head -c 65536 /dev/urandom > "$dir/data"
	nvme write "$disk" -s 8 -c 127 -z 65536 -d "$dir/data" &&
		nvme read "$disk" -s 8 -c 127 -z 65536 -d "$dir/back" &&
		cmp "$dir/data" "$dir/back"
}

# The submission queues of this controller may lie in its own memory. Only
# reads: the disk may not be overwritten. Compares data that the kernel's driver
# reads with data that nvme-cli reads.
nvme_provider_io() {
	echo "available $(cat "$p2pmem/available") of $(cat "$p2pmem/size")"
	dd if="${controller}n1" of="$dir/own1" bs=65536 count=1 iflag=direct &&
		nvme read "${controller}n1" -s 0 -c 127 -z 65536 -d "$dir/own2" &&
		cmp "$dir/own1" "$dir/own2"
}

# A controller that is reset registers nothing twice, and loses nothing
nvme_reset() {
	size=$(cat "$p2pmem/size")
	nvme reset "$controller" || return 1
	tries=0
	until [ "$(cat "$state")" = live ]; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || { echo "still $(cat "$state")"; return 1; }
		sleep 0.1
	done
	echo "before $size, after $(cat "$p2pmem/size")"
	[ "$(cat "$p2pmem/size")" = "$size" ] && [ "$(cat "$p2pmem/published")" = 1 ]
}

[ "$(id -u)" -eq 0 ] || skip_all "needs root"
provider=${P2PDMA_PROVIDER%% *}
[ -n "$provider" ] || provider=$(cd /sys/bus/pci/devices &&
	grep -lx 1 ./*/p2pmem/published 2>/dev/null | head -n 1 | cut -d/ -f2)
p2pmem=/sys/bus/pci/devices/$provider/p2pmem
[ -n "$provider" ] && [ -d "$p2pmem" ] || skip_all "no device with published peer memory"
disk=${P2PDMA_SCRATCH%% *}
[ -n "$disk" ] || skip_all "no disk in P2PDMA_SCRATCH"

# fio takes a ':' as the end of a file's name.
ln -s "$p2pmem/allocate" "$dir/peer"

if ! command -v fio > /dev/null; then
	for name in psync libaio io_uring mixed_sizes; do
		skip "fio_$name" "fio isn't installed"
	done
elif [ "$P2PDMA_ROUTE" = refused ]; then
	for name in psync libaio io_uring mixed_sizes; do
		skip "fio_$name" "the disk can't reach the provider"
	done
else
	run fio_psync		fio_job --ioengine=psync --bs=64k
	run fio_libaio		fio_job --ioengine=libaio --bs=64k --iodepth=8
	run fio_io_uring	fio_job --ioengine=io_uring --bs=64k --iodepth=8
	run fio_mixed_sizes	fio_job --ioengine=libaio --bsrange=4k-256k --iodepth=4 --rw=randwrite
fi

controller=
for node in "/sys/bus/pci/devices/$provider"/nvme/nvme*; do
	[ -d "$node" ] && controller=/dev/${node##*/} state=$node/state
done

if ! command -v nvme > /dev/null; then
	for name in id_ctrl smart_log io provider_io reset; do
		skip "nvme_$name" "nvme-cli isn't installed"
	done
	exit $((failed > 0))
fi
run nvme_io nvme_io
if [ -n "$controller" ]; then
	run nvme_id_ctrl	nvme id-ctrl "$controller"
	run nvme_smart_log	nvme smart-log "$controller"
	if head -c 65536 "${controller}n1" | cmp -s -n 65536 - /dev/zero; then
		skip nvme_provider_io "the provider's disk is empty: wrong data would look the same"
	else
		run nvme_provider_io	nvme_provider_io
	fi
	run nvme_reset		nvme_reset
else
	for name in id_ctrl smart_log provider_io reset; do
		skip "nvme_$name" "the provider isn't an NVMe controller"
	done
fi
exit $((failed > 0))
