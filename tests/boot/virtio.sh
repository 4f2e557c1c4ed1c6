#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The virtio devices under Debian's kernel, a boot for each way: interrupts as messages, as lines of the I/O APIC and of
# the PIC; disks with each cache mode and engine, several queues, qcow2 with a backing file. The guest
# reads what the host has put on the disk, writes a file, flushes; the host then finds it there, or, with a snapshot, not.
#   tests/boot/virtio.sh [CASE...]        RINGER_BUILD: build directory
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${RINGER_BUILD:-build}
kernel=$(tools/guest_kernel.sh cloud) && modules=$(tools/guest_modules.sh cloud) || exit 1
out=$build/virtio
mkdir -p "$out"
mkdir -p "$out/add/bin"
gcc -D_GNU_SOURCE -O1 -static -o "$out/add/bin/dma" tests/boot/dma.c || exit 1
python3 -c 'import sys
for i in range(16): sys.stdout.buffer.write((b"\xb8" + bytes([i, 0, 0, 0]) + b"\xc3").ljust(512))' >"$out/code"
cat >"$out/test.sh" <<'TEST'
set -e
modprobe virtio_pci && modprobe virtio_mmio && modprobe virtio_blk && modprobe virtio-rng
echo ecam $(dmesg | grep -c 'PCI: MMCONFIG for domain') pci $(ls /sys/bus/pci/devices | wc -l)
d=vda
if grep -q scsi /proc/cmdline; then
	d=sda
	modprobe virtio_scsi && modprobe sd_mod && modprobe sr_mod
	while [ ! -b /dev/sda ] || [ ! -b /dev/sr0 ]; do usleep 20000; done
	head -c 1000000 /dev/sr0 | sha256sum | sed 's/^/disc /'
	[ "$(blockdev --getro /dev/sr0) $(blockdev --getss /dev/sr0)" = "1 2048" ]
	cat /sys/block/sda/device/vendor /sys/block/sda/device/model /sys/block/sda/queue/write_cache
	[ "$(blockdev --getsize64 /dev/sda)" = 50331648 ]
	[ "$(cat /sys/block/sda/queue/discard_max_bytes)" != 0 ]
fi
dd if=/dev/hwrng of=/tmp/random bs=1024 count=16 2>/dev/null
echo features $(cut -c35 /sys/bus/virtio/devices/virtio*/features)
[ "$(gzip -c </tmp/random | wc -c)" -gt 16000 ] && echo random
head -c 1000000 /dev/$d | sha256sum
dma /dev/$d 2097152 16
if [ "$(cat /sys/block/$d/ro)" = 1 ]; then
	dd if=/bin/busybox of=/dev/$d bs=4k seek=1024 conv=fsync 2>/dev/null && exit 1
	exit 0
fi
dd if=/bin/busybox of=/dev/$d bs=4k seek=1024 conv=fsync 2>/dev/null
dd if=/bin/busybox of=/dev/$d bs=64k seek=512 oflag=direct count=8 2>/dev/null
blkdiscard -o 16777216 -l 1048576 /dev/$d 2>/dev/null || [ $d = vda ]
echo 3 >/proc/sys/vm/drop_caches
dd if=/dev/$d bs=4k skip=1024 2>/dev/null | head -c $(stat -c %s /bin/busybox) | cmp - /bin/busybox
i=0
while [ $i -lt 4 ]; do i=$((i + 1)); dd if=/dev/$d of=/dev/null bs=4k skip=$((i * 900)) count=300 iflag=direct 2>/dev/null & done
wait
TEST
tools/guest_initramfs.sh -t "$out/test.sh" -a "$modules" -a "$out/add" -o "$out/init.gz" || exit 1
head -c 1000000 /bin/bash >"$out/start"
busybox=/bin/busybox
[ -x $busybox ] || busybox=/usr/bin/busybox
failed=0 ran=0 wanted=" $* "

# try NAME KERNEL-OPTIONS WRITTEN(yes|no) DISK RINGER-OPTION...
try() {
	name=$1 append=$2 written=$3 disk=$4 log=$out/$1.log
	shift 4
	[ "$wanted" = "  " ] || case "$wanted" in *" $name "*) ;; *) return ;; esac
	ran=$((ran + 1))
	rm -f "$out/raw" "$out/qcow2"
	truncate -s 48M "$out/raw"
	dd if="$out/start" of="$out/raw" conv=notrunc 2>/dev/null
	dd if="$out/code" of="$out/raw" bs=1M seek=2 conv=notrunc 2>/dev/null
	[ "$disk" = raw ] || qemu-img create -q -f qcow2 -F raw -b raw "$out/qcow2"
	timeout -k 2 60 "$build/ringer" -m 256M -kernel "$kernel" -initrd "$out/init.gz" -nographic -no-reboot \
		-append "console=ttyS0 panic=-1 quiet $append" -device virtio-rng "$@" </dev/null >"$log" 2>&1
	status=$? why=
	[ $status = 0 ] || why="$why status $status;"
	grep -q 'RINGER-STATUS 0' "$log" || why="$why the script failed;"
	grep -q '^random' "$log" || why="$why no random numbers;"
	grep -q "^$(sha256sum <"$out/start")" "$log" || why="$why read something else;"
	case $name in scsi*) grep -q "^disc $(sha256sum <"$out/start")" "$log" || why="$why read something else of the disc;" ;; esac
	case $name in q35*) grep -q "^ecam [1-9] pci [4-9]" "$log" || why="$why no ECAM;" ;; esac
	case $name in microvm*) grep -q "^ecam 0 pci 0" "$log" || why="$why a PCI bus;" ;; esac
	case $name in packed*|*packed) grep -q '^features .*1' "$log" || why="$why no packed rings;" ;; esac
	if [ "$disk" = qcow2 ]; then
		qemu-img check -q "$out/qcow2" || why="$why qemu-img check;"
		qemu-img convert -O raw "$out/qcow2" "$out/raw.new" &&
			qemu-img compare -q -f qcow2 -F raw "$out/qcow2" "$out/raw.new" || why="$why qemu-img compare;"
		mv "$out/raw.new" "$out/raw"
	fi
	dd if="$out/raw" bs=4k skip=1024 2>/dev/null | head -c "$(stat -Lc %s $busybox)" | cmp -s - $busybox && found=yes || found=no
	[ $found = $written ] || why="$why written to the image: $found;"
	[ -z "$why" ] || { failed=$((failed + 1)); echo "FAILED $name:$why see $log"; }
}

raw=file=$out/raw,format=raw,if=virtio
# Memory that the guest has used and freed goes back to the host: the machine's RAM is a memfd, whose size on the host
# falls while the guest still runs.
balloon() {
	[ "$wanted" = "  " ] || case "$wanted" in *" balloon "*) ;; *) return ;; esac
	ran=$((ran + 1))
	cat >"$out/balloon.sh" <<-'TEST'
		modprobe virtio_pci && modprobe virtio_balloon
		mount -t tmpfs none /tmp && dd if=/dev/urandom of=/tmp/x bs=1M count=150 2>/dev/null
		echo used && sleep 1 && rm /tmp/x && sleep 6 && echo freed && sleep 1
	TEST
	tools/guest_initramfs.sh -t "$out/balloon.sh" -a "$modules" -o "$out/balloon.gz" || exit 1
	used=0 freed=0
	: >"$out/balloon.log" # what an earlier run has said
	rm -f "$out/pid"
	timeout -k 2 60 "$build/ringer" -m 256M -kernel "$kernel" -initrd "$out/balloon.gz" -nographic -no-reboot -append \
		"console=ttyS0 quiet" -device virtio-balloon-pci,free-page-reporting=on -pidfile "$out/pid" \
		</dev/null >"$out/balloon.log" 2>&1 &
	for word in used freed; do
		i=0
		until grep -q "^$word" "$out/balloon.log" || [ $((i += 1)) -gt 600 ]; do sleep 0.05; done
		[ -s "$out/pid" ] || break
		for fd in /proc/"$(cat "$out/pid")"/fd/*; do
			case $(readlink "$fd") in */memfd:ringer-ram*) eval "$word=$(($(stat -Lc %b "$fd") / 2048))" ;; esac
		done
	done
	wait
	grep -q 'RINGER-STATUS 0' "$out/balloon.log" && [ "$used" -gt 150 ] && [ "$freed" -gt 0 ] && [ "$freed" -lt $((used - 75)) ] && return
	failed=$((failed + 1))
	echo "FAILED balloon: $used MiB used, $freed MiB when freed: see $out/balloon.log"
}
balloon
try msi "" yes raw -drive "$raw"
try intx "pci=nomsi" yes raw -drive "$raw,aio=threads"
try pic "noapic pci=nomsi" yes raw -drive "$raw,cache=none"
try queues "" yes raw -drive "file=$out/raw,format=raw,if=none,id=d" \
	-device virtio-blk-pci,drive=d,num-queues=4,queue-size=16,addr=0x1e
try packed "" yes raw -drive "file=$out/raw,format=raw,if=none,id=d" \
	-device virtio-blk-pci,drive=d,packed=on,num-queues=2 -device virtio-rng-pci,packed=on,in_order=on
try packed-plain "pci=nomsi" yes raw -drive "file=$out/raw,format=raw,if=none,id=d" \
	-device virtio-blk-pci,drive=d,packed=on,queue-size=16,event_idx=off,indirect_desc=off
cp "$out/start" "$out/disc"
truncate -s 1M "$out/disc"
cd=file=$out/disc,format=raw,if=none,id=c,media=cdrom
try scsi "scsi" yes raw -drive "file=$out/raw,format=raw,if=none,id=d" -drive "$cd" -device virtio-scsi-pci,id=s,num_queues=2 \
	-device scsi-hd,drive=d,bus=s.0,serial=ringer -device scsi-cd,drive=c,scsi-id=3,lun=2
try scsi-packed "scsi" yes raw -drive "file=$out/raw,format=raw,if=none,id=d" -drive "$cd" \
	-device virtio-scsi-pci,packed=on -device scsi-hd,drive=d,lun=1,scsi-id=0 -device scsi-cd,drive=c,scsi-id=0,lun=0
try scsi-if "scsi" yes raw -drive "file=$out/raw,format=raw,if=scsi" \
	-drive "file=$out/disc,format=raw,if=scsi,media=cdrom"
try q35 "" yes raw -machine q35 -vga none -drive "$raw" -device virtio-rng-pci,addr=1 -smp 2
try microvm "" yes raw -machine microvm -drive "$raw"
try microvm-bare "scsi" yes raw -M microvm,pit=off,pic=off,rtc=off -m 4G -drive "file=$out/raw,format=raw,if=none,id=d" \
	-drive "$cd" -device virtio-scsi-device,packed=on -device scsi-hd,drive=d -device scsi-cd,drive=c
try through "" yes raw -drive "$raw,cache=writethrough"
try readonly "" no raw -drive "$raw,readonly=on"
try snapshot "" no raw -snapshot -drive "$raw"
try qcow2 "" yes qcow2 -drive "file=$out/qcow2,if=virtio"
try qcow2-snapshot "" no qcow2 -drive "file=$out/qcow2,if=virtio,format=qcow2,snapshot=on"
[ $failed != 0 ] || echo "virtio: $ran cases"
exit $((failed != 0))
