#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# lsp2p's commands that work on the running machine alone: verify, file and monitor.
# Prints TAP.
#
# Destroys what is on the disks in P2PDMA_SCRATCH. Needs root. What file says of
# other stacks and kernels is tested without them, by tools/pci/lsp2p/tests/run.py.
# Options are in tap.sh.

all="verify_read verify_write verify_interrupted verify_not_root verify_refused
	verify_no_memory verify_other_disk verify_in_use verify_not_empty
	file_disk file_partition file_ext4 file_not_on_pci file_dm file_md file_changed
	monitor_driver monitor_published"

. "${0%/*}/tap.sh"

# lsp2p STATUS ARGUMENT...: passes if lsp2p ends with STATUS; its output goes to $dir/out and $dir/err
lsp2p() {
	expected=$1
	shift
	timeout 120 "$here/lsp2p" "$@" > "$dir/out" 2> "$dir/err"
	status=$?
	echo "\$ lsp2p $*"
	cat "$dir/out" "$dir/err"
	[ $status -eq "$expected" ] || { echo "exit status $status, not $expected"; return 1; }
}

# says out|err PATTERN...: is there a line for each of these?
says() {
	file=$dir/$1
	shift
	for pattern in "$@"; do
		grep -q -e "$pattern" "$file" || { echo "no line is like '$pattern'"; return 1; }
	done
}

nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"

# An error is one line, and there is no output
error() {
	[ ! -s "$dir/out" ] && [ "$(wc -l < "$dir/err")" -eq 1 ] && says err "^lsp2p: " "$1"
}

# Different data in each block at its begin, and nothing that looks like a file system
fill_disk() {
	if [ ! -e "$dir/data" ]; then
		seq 100000 800000 | head -c 4M > "$dir/data"
		truncate -s "$(blockdev --getsize64 "$disk")" "$dir/data"
	fi
	cmp -s "$dir/data" "$disk" || dd if="$dir/data" of="$disk" bs=4M oflag=direct conv=fsync 2> /dev/null
}

is_as_before() {
	cmp "$dir/data" "$disk"
}

# field NAME: the number of this name in JSON
field() {
	sed -n 's/.*"'"$1"'": *\([0-9]*\).*/\1/p' "$dir/out"
}

# By the lab's trace exactly so many bytes went to or from BARs
peer_bytes() {
	case $P2PDMA_LAB/$P2PDMA_ROUTE in
	/dev/*/bus-address | /dev/*/host-bridge)
		echo "lab: $answer; expected peer=$1"
		case $answer in
		"ok peer=$1 other="[1-9]*) return 0 ;;
		*) return 1 ;;
		esac ;;
	esac
}

verify_read() {
	fill_disk
	lab dma-begin
	lsp2p 0 --json verify "$provider" "$disk" || return 1
	lab dma-end
	[ "$(field read_bytes)" -ge 4000000 ] && [ "$(field written_bytes)" -eq 0 ] &&
		says out '"bar": *[0-9]' && peer_bytes "$(field read_bytes)" && is_as_before &&
		lsp2p 0 verify "$provider" "${disk#/dev/}" &&
		says out "in its BAR [0-9] by /proc/self/pagemap" "^yes: "
}

# Each block goes once in either direction
verify_write() {
	fill_disk
	lab dma-begin
	lsp2p 0 --json --destructive="$disk" verify "$provider" "$disk" || return 1
	lab dma-end
	[ "$(field written_bytes)" -ge 4000000 ] && [ "$(field written_bytes)" -eq "$(field read_bytes)" ] &&
		peer_bytes $((2 * $(field written_bytes))) && is_as_before
}

# Signals while blocks are written, which are the 37th and later ones
verify_interrupted() {
	fill_disk
	serial=$(cat "/sys/block/${disk#/dev/}/device/serial")
	late=0
	for delay in 1.5 2.5; do
		lab "slow $serial 10000000"
		timeout -s INT $delay "$here/lsp2p" --destructive="$disk" verify "$provider" "$disk" 2> "$dir/err"
		lab "slow $serial 0"
		cat "$dir/err"
		blocks=$(sed -n 's/.*stopped by a signal after \([0-9]*\) blocks.*/\1/p' "$dir/err")
		[ "${blocks:-0}" -gt 36 ] && late=$((late + 1))
		is_as_before || return 1
	done
	[ $late -gt 0 ]
}

verify_not_root() {
	$nobody "$here/lsp2p" verify "$provider" "$disk" > "$dir/out" 2> "$dir/err"
	status=$?
	cat "$dir/err"
	[ $status -eq 2 ] && error "only root gets its memory"
}

verify_refused() {
	fill_disk
	lsp2p 1 verify "$provider" "$disk" && error "doesn't reach memory of .*host-bridge-not-listed" &&
		lsp2p 1 --destructive="$disk" verify "$provider" "$disk" && error "host-bridge-not-listed" &&
		is_as_before
}

verify_no_memory() {
	lsp2p 2 verify "$client" "$disk" && error "has no memory that programs can get" &&
		lsp2p 2 verify ff:1f.7 "$disk" && error "ff:1f.7" &&
		lsp2p 2 verify "$provider" nosuchdisk && error "nosuchdisk" &&
		lsp2p 2 verify "$provider" /dev/null && error "/dev/null"
}

# Writes only if the same disk is named twice
verify_other_disk() {
	fill_disk
	for other in nosuchdisk "$provider" /dev/null; do
		lsp2p 2 --destructive="$other" verify "$provider" "$disk" &&
			error "nothing was written" || return 1
	done
	is_as_before
}

verify_in_use() {
	fill_disk
	addpart "$disk" 1 2048 4096 || return 1
	lsp2p 2 --destructive="$disk" verify "$provider" "$disk" && error "has partitions"
	result=$?
	lsp2p 0 --destructive="${disk}p1" verify "$provider" "${disk}p1" || result=1
	delpart "$disk" 1
	[ $result -eq 0 ] || return 1

	# As a file system, swap, dm or md that has it
	perl -MFcntl -e '$| = 1; sysopen(D, shift, O_RDONLY | O_EXCL) or die; print "held\n"; sleep 100' \
		"$disk" > "$dir/held" &
	holder=$!
	until grep -q held "$dir/held"; do
		kill -0 $holder || return 1
		sleep 0.1
	done
	lsp2p 2 --destructive="$disk" verify "$provider" "$disk" && error "is in use" &&
		lsp2p 0 verify "$provider" "$disk"
	result=$?
	kill $holder
	wait $holder
	[ $result -eq 0 ] && is_as_before
}

verify_not_empty() {
	end=$(($(blockdev --getsize64 "$disk") - 8192))
	# Where, and what, in octal: LVM, btrfs, md
	for what in 512:LABELONE 65600:_BHRfS_M "$end:\\0374N+\\0251"; do
		fill_disk
		printf '%b' "${what#*:}" | dd of="$disk" bs=1 seek="${what%%:*}" conv=fsync 2> /dev/null
		lsp2p 2 --destructive="$disk" verify "$provider" "$disk" && error "only to empty disks" || return 1
		[ "$(cmp -l "$dir/data" "$disk" | wc -l)" -le 10 ] || return 1
	done
	fill_disk
}

file_disk() {
	fill_disk
	lsp2p 0 file "$disk" && says out "NVMe pcie *yes" "^yes: " "^[\` -]*0.*PCI nvme" &&
		lsp2p 0 --json file "${disk#/dev/}" && says out '"passes": *"yes"' &&
		lsp2p 2 file /nosuchfile && error /nosuchfile &&
		lsp2p 2 file /dev/null && error /dev/null
}

file_partition() {
	addpart "$disk" 1 2048 4096 || return 1
	lsp2p 0 file "${disk}p1" && says out "^${disk#/dev/}p1 *partition *yes" "${disk#/dev/} *NVMe pcie *yes"
	result=$?
	delpart "$disk" 1
	return $result
}

# With data=journal, a file has no direct I/O
file_ext4() {
	mkdir "$dir/mnt"
	mkfs.ext4 -q -F "$disk" && mount -t ext4 -o nodelalloc "$disk" "$dir/mnt" || return 1
	echo data > "$dir/mnt/file"
	echo data > "$dir/mnt/journaled"
	chattr +j "$dir/mnt/journaled"
	lsp2p 0 file "$dir/mnt/file" && says out "$disk *file system ext4 *yes" "${disk#/dev/} *NVMe pcie *yes" &&
		lsp2p 1 file "$dir/mnt/journaled" && says out "^no: .*no direct I/O"
	result=$?
	umount "$dir/mnt"
	fill_disk
	return $result
}

file_not_on_pci() {
	lsp2p 1 file "$dir" && says out "file system tmpfs *no" "^no: tmpfs: files are in system memory" &&
		lsp2p 1 file /etc/passwd && says out "file system 9p *no" "^no: "
}

# Writes peer memory to both ends of a block device, reads it back by way of system memory and
# of peer memory, and prints "ok", or the errno
peer_io() {
	python3 -c 'import errno, mmap, os, sys
size = 65536
memory = os.open("/sys/bus/pci/devices/%s/p2pmem/allocate" % sys.argv[1], os.O_RDWR)
peer, system = mmap.mmap(memory, size), mmap.mmap(-1, size)
disk = os.open(sys.argv[2], os.O_RDWR | os.O_DIRECT)
try:
    for at in 0, os.lseek(disk, 0, os.SEEK_END) - size:
        data = os.urandom(size)
        peer[:] = data
        os.pwritev(disk, [peer], at)
        os.preadv(disk, [system], at)
        peer[:] = bytes(size)
        os.preadv(disk, [peer], at)
        if data != system[:] or data != peer[:]:
            sys.exit("wrong data at %d" % at)
    print("ok")
except OSError as error:
    print(errno.errorcode[error.errno])' "$provider" "$1"
}

# stack STATUS PATH PATTERN...: lsp2p ends with STATUS, says this, and peer memory fares accordingly
stack() {
	status=$1 path=$2
	shift 2
	lsp2p "$status" file "$path" && says out "$@" || return 1
	io=$(peer_io "$path")
	echo "peer memory: $io"
	case $status/$io in
	0/ok | 1/EREMOTEIO) return 0 ;;
	*) return 1 ;;
	esac
}

# Partitions of two disks
add_legs() {
	modprobe -d "$P2PDMA_MODULES" -a "$@" &&
		addpart "$disk" 1 2048 8192 && addpart "$disk" 2 10240 8192 && addpart "$disk" 3 18432 8192 &&
		addpart "$second" 1 2048 8192
}

delete_legs() {
	delpart "$disk" 1
	delpart "$disk" 2
	delpart "$disk" 3
	delpart "$second" 1
}

# Whether or not there is udev, dmsetup makes its nodes itself
export DM_DISABLE_UDEV=1

# delete_dm NAME...
delete_dm() {
	for made in "$@"; do
		[ ! -e "/dev/mapper/$made" ] || dmsetup remove "$made"
	done
}

file_dm() {
	add_legs dm-mod dm-crypt dm-snapshot crypto_null ecb &&
		dmsetup create passes --table "0 8192 linear ${disk}p1 0
8192 16384 striped 2 128 ${disk}p2 0 ${second}p1 0" &&
		stack 0 /dev/mapper/passes "dm linear,striped *yes, shown by the kernel" &&
		dmsetup create crypt --table "0 8192 crypt cipher_null-ecb - 0 ${disk}p3 0" &&
		stack 1 /dev/mapper/crypt "dm crypt *no, shown by the kernel" "^no: dm-[0-9]*: .*encrypts" &&
		dmsetup create on_crypt --table "0 8192 linear /dev/mapper/crypt 0" &&
		stack 1 /dev/mapper/on_crypt "dm linear *no, shown by the kernel" "^no: dm-[0-9]*: .*encrypts" &&
		dmsetup create both --table "0 8192 linear /dev/mapper/passes 0
8192 8192 snapshot-origin ${disk}p1
16384 8192 snapshot ${second}p1 ${disk}p2 N 8" &&
		stack 1 /dev/mapper/both "dm linear,snapshot-origin,snapshot *no" \
			"^no: .*only the targets linear and striped"
	result=$?
	delete_dm both on_crypt crypt passes
	delete_legs
	return $result
}

# array LEVEL DISK...
array() {
	level=$1
	shift
	mdadm --create /dev/md0 --run --assume-clean --level="$level" --raid-devices=$# "$@"
}

file_md() {
	add_legs raid0 linear raid1 raid10 raid456
	result=$?
	for level in raid0 linear raid1 raid10; do
		[ $result -ne 0 ] ||
			{ array $level "${disk}p1" "${second}p1" &&
			stack 0 /dev/md0 "md $level *yes, shown by the kernel" &&
			mdadm --stop /dev/md0; } || result=1
	done
	[ $result -eq 0 ] && array raid5 "${disk}p1" "${second}p1" &&
		stack 1 /dev/md0 "md raid5 *no, shown by the kernel" "^no: md0: .*parity"
	result=$?
	mdadm --stop /dev/md0
	delete_legs
	fill_disk
	return $result
}

# A mirror loses the disk that takes no peer memory; what stands on it doesn't notice
file_changed() {
	add_legs raid1 dm-mod dm-delay &&
		dmsetup create delay --table "0 8192 delay ${disk}p2 0 0" &&
		array raid1 /dev/mapper/delay "${second}p1" &&
		dmsetup create on_md --table "0 4096 linear /dev/md0 0" &&
		stack 1 /dev/md0 "md raid1 *no, shown by the kernel" "^no: dm-[0-9]*: .*only the targets" &&
		stack 1 /dev/mapper/on_md "md raid1 *no" "^no: dm-[0-9]*: .*only the targets" &&
		mdadm /dev/md0 --fail /dev/mapper/delay --remove /dev/mapper/delay &&
		stack 0 /dev/md0 "md raid1 *yes, shown by the kernel" &&
		stack 1 /dev/mapper/on_md "md raid1 *yes" "^no: .*when its table was loaded" "^fix: load its table again" &&
		dmsetup reload on_md --table "0 4096 linear /dev/md0 0" && dmsetup resume on_md &&
		stack 0 /dev/mapper/on_md "dm linear *yes, shown by the kernel"
	result=$?
	delete_dm on_md
	mdadm --stop /dev/md0
	delete_dm delay
	delete_legs
	fill_disk
	return $result
}

# watch NAME COMMAND...: runs `COMMAND... lsp2p monitor`, and waits until it watches
watch() {
	watched=$dir/$1
	shift
	"$@" > "$watched" 2>&1 &
	watchers="$watchers $!"
	appears "watching"
}

# appears PATTERN: waits for such a line of the last watch
appears() {
	tries=0
	until grep -q "$1" "$watched"; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || { echo "no line like '$1'"; cat "$watched"; return 1; }
		sleep 0.1
	done
}

# Interrupts all watches: they end well
unwatch() {
	ended=0
	for watcher in $watchers; do
		kill -INT "$watcher"
		wait "$watcher" || { echo "monitor ended with $?"; ended=1; }
	done
	watchers=
	return $ended
}

# rebind_and_watch NAME GONE PUBLISHED ROUTE DISK COMMAND...: the provider loses its driver and
# gets it again; each pattern appears in turn
rebind_and_watch() {
	kind=$1 gone=$2 published=$3 route=$4 came=$5
	shift 5
	watchers=
	watch "$kind" "$@" &&
		echo "$provider" > "/sys/bus/pci/drivers/$driver/unbind" && appears "$gone" &&
		echo "$provider" > "/sys/bus/pci/drivers/$driver/bind" && appears "$published" &&
		appears "$route" && appears "$came"
	result=$?
	unwatch || result=1
	cat "$watched"
	return $result
}

# Text as an unprivileged user sees it, and JSON, one after the other: a watch that is late misses
# what has changed back. In the middle of a change a device may have no node.
monitor_driver() {
	node=$(basename /sys/bus/pci/devices/"$provider"/nvme/nvme*)
	driver=$(basename "$(readlink /sys/bus/pci/devices/"$provider"/driver)")
	rebind_and_watch json '"event":"memory","change":"removed"' '"event":"memory","change":"published"' \
		"\"device\":\"$client\"" '"event":"disk","change":"added"' "$here/lsp2p" --json monitor &&
		rebind_and_watch text "has no memory for peers" "has published" "route .*$client" "disk .*came" \
			$nobody "$here/lsp2p" monitor
	result=$?
	case $P2PDMA_ROUTE in
	refused)	verdict="doesn't reach memory of .*: host-bridge-not-listed" ;;
	*)		verdict="may read and write memory of" ;;
	esac
	cp "$dir/text" "$dir/out"
	[ $result -eq 0 ] &&
		says out "$provider)* lost its driver $driver" "$provider)* has no memory for peers" "$node.* is gone" \
			"($provider) has the driver $driver" "has registered [0-9]*M" \
			"($client) $verdict" &&
		python3 -c 'import json, sys
lines = [json.loads(line) for line in sys.stdin]
wanted = [("driver", "unbound"), ("memory", "removed"), ("memory", "registered"), ("memory", "published")]
sys.exit(not all(any((line["event"], line["change"], line.get("device")) == (*want, sys.argv[1]) for line in lines)
                 for want in wanted))' "$provider" < "$dir/json"
}

# Memory of the test module, published and withdrawn by its debugfs files
monitor_published() {
	for owner in $P2PDMA_TEST_PROVIDERS; do
		[ "$(cat "/sys/bus/pci/devices/$owner/device")" != 0x1110 ] || break
	done
	files=/sys/kernel/debug/p2pdma_test/$owner
	insmod "$here/test_modules/p2pdma_test.ko" || return 1
	watchers=
	watch text "$here/lsp2p" monitor &&
		echo "2 0 0" > "$files/add" && appears "$owner has registered" &&
		echo 1 > "$files/publish" && appears "has published its memory" &&
		echo 0 > "$files/publish" && appears "doesn't publish its memory any more" &&
		rmmod p2pdma_test && appears "has no memory for peers any more"
	result=$?
	[ $result -eq 0 ] || rmmod p2pdma_test
	unwatch || result=1
	cat "$dir/text"
	return $result
}

[ "$(id -u)" -eq 0 ] || skip_all "needs root"
[ -x "$here/lsp2p" ] || skip_all "lsp2p isn't built"
provider=${P2PDMA_PROVIDER%% *}
disk=${P2PDMA_SCRATCH%% *}
second=$(echo "$P2PDMA_SCRATCH" | cut -s -d ' ' -f 2)
client=
[ -z "$disk" ] || client=$(cat "/sys/block/${disk#/dev/}/device/address")
for name in $tests; do
	case $name in
	verify_*)		needed=${provider:+$disk} ;;
	file_[dm][md] | file_changed)
				needed=${provider:+$second} ;;
	file_*)			needed=$disk ;;
	monitor_driver)		needed=${provider:+$disk} ;;
	monitor_published)	needed=$P2PDMA_TEST_PROVIDERS ;;
	esac
	if [ -n "$needed" ]; then
		run "$name"
	else
		skip "$name" "the machine has no such devices"
	fi
done
exit $((failed > 0))
