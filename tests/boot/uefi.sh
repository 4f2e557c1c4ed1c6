#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Firmware on q35: Debian's SeaBIOS starts the sector of firmware.sh from a SATA disk; OVMF, with its variables in flash
# memory, finds its shell, whose script from a SATA disk writes a file there and a variable, and powers off. The host
# looks for both. A second start finds the variable.
#   tests/boot/uefi.sh        RINGER_BUILD: build directory. QEMU=qemu-system-x86_64: under that instead.
cd "$(dirname "$0")/../.." || exit 1
build=${RINGER_BUILD:-build}
out=$build/boot-uefi
vmm=${QEMU:+$QEMU -accel tcg}
vmm=${vmm:-$build/ringer}
mkdir -p "$out"
fail() { echo "uefi: $*"; exit 1; }
gcc -m32 -nostdlib -static -Wl,-Ttext=0x7c00,--oformat=binary,--build-id=none,-e,_start -o "$out/sector" \
	tests/boot/firmware/sector.S && dd if="$out/sector" of="$out/disk" bs=1M conv=sync 2>/dev/null || exit 1
timeout -k 5 60 $vmm -machine q35 -cpu max -m 64M -nographic -serial stdio -no-reboot -drive "file=$out/disk,format=raw" \
	-device isa-debug-exit,iobase=0xf4,iosize=4 </dev/null >"$out/bios.log" 2>&1
code=$?
grep -aq "sector: second sector" "$out/bios.log" && [ $code = 33 ] || fail "SeaBIOS: status $code: see $out/bios.log"

[ -e /usr/share/OVMF/OVMF_CODE.fd ] || fail "install the package ovmf"
cp /usr/share/OVMF/OVMF_VARS.fd "$out/vars"
id=5a1cd6d0-0f3b-4f7e-9c56-1f8a7c2b9e11
printf 'fs0:\r\nsetvar found -guid %s -bs -rt -nv =0x414243\r\necho kept > fs0:\\mark\r\nreset -s\r\n' $id >"$out/first.nsh"
printf 'fs0:\r\nsetvar found -guid %s\r\nreset -s\r\n' $id >"$out/second.nsh"
rm -f "$out/esp"
truncate -s 80M "$out/esp"
mformat -i "$out/esp" -F :: || exit 1
for start in first second; do
	mcopy -o -i "$out/esp" "$out/$start.nsh" ::startup.nsh || exit 1
	log=$out/$start.log
	timeout -k 5 90 $vmm -machine q35 -cpu max -m 256M -nographic -no-reboot \
		-drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE.fd \
		-drive "if=pflash,format=raw,file=$out/vars" -drive "file=$out/esp,format=raw" </dev/null >"$log" 2>&1
	code=$?
	[ $code = 0 ] || fail "$start: status $code: see $log"
	mtype -i "$out/esp" ::mark 2>/dev/null | tr -d '\0' | grep -q kept || fail "$start: no file on the disk: see $log"
	tr -d '\0' <"$out/vars" | grep -aq foundCBA || fail "$start: no variable in the flash memory: see $log"
done
grep -aq '43 *42 *41' "$out/second.log" || fail "the second start did not find the variable: see $log"
echo "uefi: SeaBIOS and OVMF on q35"
