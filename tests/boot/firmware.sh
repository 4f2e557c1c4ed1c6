#!/bin/sh
# SPDX-License-Identifier: MIT
#
# From the reset vector: Debian's SeaBIOS finds a disk (virtio, then IDE, then one of less than a cylinder, then a
# floppy, then the beginning of one) and starts the boot sector there, which uses the BIOS's services, line 20 and
# protected mode and ends the machine with status 33.
#   tests/boot/firmware.sh
# RINGER_BUILD: build directory. QEMU=qemu-system-x86_64: under that instead.
cd "$(dirname "$0")/../.." || exit 1
build=${RINGER_BUILD:-build}
out=$build/boot-firmware
mkdir -p "$out"
vmm=${QEMU:+$QEMU -accel tcg}
gcc -m32 -nostdlib -static -Wl,-Ttext=0x7c00,--oformat=binary,--build-id=none,-e,_start -o "$out/disk.tmp" \
	tests/boot/firmware/sector.S || exit 1
dd if="$out/disk.tmp" of="$out/disk.img" bs=1M conv=sync 2>/dev/null
dd if="$out/disk.tmp" of="$out/small.img" bs=8k conv=sync 2>/dev/null
dd if="$out/disk.tmp" of="$out/floppy.img" bs=1474560 conv=sync 2>/dev/null
dd if="$out/disk.tmp" of="$out/begun.img" bs=20k conv=sync 2>/dev/null
for disk in "-nodefaults -bios bios-256k.bin -drive file=$out/disk.img,if=virtio,format=raw" \
	"-drive file=$out/disk.img,format=raw" \
	"-drive file=$out/small.img,format=raw" \
	"-fda $out/floppy.img -boot a" \
	"-drive file=$out/begun.img,format=raw,if=floppy -boot a"; do
timeout -k 5 "${BOOT_TIMEOUT:-60}" ${vmm:-$build/ringer} -cpu max -m 64M -nographic -serial stdio \
	-no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4 $disk "$@" \
	</dev/null >"$out/log" 2>&1
code=$?
for line in hello ticks 'memory map' 'second sector' 'line 20'; do
	grep -aq "sector: $line" "$out/log" || { echo "no '$line': see $out/log"; tail -n 5 "$out/log"; exit 1; }
done
[ $code = 33 ] || { echo "status $code: see $out/log"; exit 1; }
done
echo "firmware: the boot sector has done all it does"
