#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Two disks and a CD-ROM on the IDE controller, under Debian's amd64 kernel with its own drivers: by bus mastering and by
# programmed I/O; and on SATA controllers, q35's and one of -device. The guest reads what the host has put there, copies
# the CD to the second disk, flushes; the host looks.
#   tests/boot/ide.sh        RINGER_BUILD: build directory. QEMU=qemu-system-x86_64: under that instead.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${RINGER_BUILD:-build}
kernel=$(tools/guest_kernel.sh amd64) && modules=$(tools/guest_modules.sh amd64) || exit 1
out=$build/ide
vmm=${QEMU:+$QEMU -accel tcg -cpu max}
mkdir -p "$out"
cat >"$out/test.sh" <<'TEST'
set -e
modprobe sd_mod; modprobe sr_mod; modprobe ata_piix; modprobe ahci
n=0
until [ -n "$first" ] && [ -n "$second" ] && [ -b /dev/sr0 ]; do # Linux looks for them by and by, on a busy host for long
	n=$((n + 1)); [ $n -lt 1000 ] || exit 1; usleep 20000
	for d in sda sdb; do # it names them as they answer
		case $(cat /sys/block/$d/size 2>/dev/null) in 65536) first=/dev/$d ;; 32768) second=/dev/$d ;; esac
	done
done
head -c 3000000 $first | sha256sum
dd if=/dev/sr0 of=$second bs=64k conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
cmp /dev/sr0 $second -n 2097152 && echo copied
dd if=/dev/zero of=/dev/sr0 bs=2k count=1 2>/dev/null && exit 1
dd if=$second of=/dev/null bs=512 skip=16000 count=400 iflag=direct 2>/dev/null && echo direct
TEST
tools/guest_initramfs.sh -t "$out/test.sh" -a "$modules" -o "$out/init.gz" || exit 1
head -c 1000000 /bin/bash >"$out/a"
truncate -s 32M "$out/a"
head -c 2097152 /dev/urandom >"$out/cd"
sum=$(head -c 3000000 "$out/a" | sha256sum | cut -d' ' -f1)

for how in dma pio ahci device; do
	append= disk=if=ide drives="-cdrom $out/cd"
	case $how in
	pio) append=libata.dma=0 ;;
	ahci) drives="$drives -machine q35 -smp 2" ;;
	device) disk=if=none drives="-drive file=$out/cd,if=none,format=raw,media=cdrom,id=c -device ich9-ahci,id=s
		-device ide-hd,bus=s.4,drive=a -device ide-hd,bus=s.1,drive=b -device ide-cd,bus=s.0,drive=c" ;;
	esac
	[ $disk = if=none ] && a=id=a b=id=b || a=index=0 b=index=1
	log=$out/$how.log
	rm -f "$out/b"
	truncate -s 16M "$out/b"
	timeout -k 2 60 ${vmm:-$build/ringer} -m 256M -kernel "$kernel" -initrd "$out/init.gz" -nographic -no-reboot \
		-append "console=ttyS0 panic=-1 quiet $append" -drive "file=$out/a,format=raw,$disk,$a" \
		-drive "file=$out/b,format=raw,$disk,$b" $drives </dev/null >"$log" 2>&1
	status=$?
	for line in "$sum" copied direct 'RINGER-STATUS 0'; do
		grep -aq "$line" "$log" || { echo "ide: $how: no '$line': see $log"; exit 1; }
	done
	[ $status = 0 ] || { echo "ide: $how: status $status: see $log"; exit 1; }
	cmp -n 2097152 "$out/b" "$out/cd" || { echo "ide: $how: the copy differs"; exit 1; }
done
echo "ide: disks and CD-ROM, by DMA and by programmed I/O, on SATA"
