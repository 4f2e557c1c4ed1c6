#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What boot_load makes, run by QEMU TCG instead of ringer: the kernel must boot, find every ACPI table good, and power
# off by them.   tests/boot/image.sh cloud|amd64|rt|pvh     (pvh: the vmlinux inside the amd64 flavour's bzImage)
set -eu
cd "$(dirname "$0")/../.."
build=${RINGER_BUILD:-build}
out=$build/boot-image
mkdir -p "$out"
case ${1:-cloud} in
pvh)
	kernel=$out/vmlinux
	[ -s "$kernel" ] || python3 - "$(tools/guest_kernel.sh amd64)" "$kernel" <<'EXTRACT'
import lzma, struct, sys
image = open(sys.argv[1], "rb").read()
offset, length = struct.unpack_from("<II", image, 0x248)
start = (image[0x1f1] + 1) * 512 + offset
open(sys.argv[2], "wb").write(lzma.LZMADecompressor().decompress(image[start:start + length]))
EXTRACT
	;;
*) kernel=$(tools/guest_kernel.sh "${1:-cloud}") ;;
esac
tools/guest_initramfs.sh -o "$out/init.gz"
nasm -f bin -o "$out/stub.bin" tests/boot/image.asm
gcc -std=gnu17 -D_GNU_SOURCE -O1 -Isrc -o "$out/image" tests/boot/image.c src/boot/*.c src/mem/mem.c
"$out/image" "$out/ram.bin" "$out/rom.bin" "$out/stub.bin" 192 "$kernel" "$out/init.gz" "console=ttyS0 panic=-1"
status=0
timeout 120 qemu-system-x86_64 -accel tcg -cpu max -m 192M -bios "$out/rom.bin" -nodefaults -display none -serial stdio \
	-object memory-backend-file,id=ram,size=192M,mem-path="$out/ram.bin" -machine memory-backend=ram -no-reboot </dev/null >"$out/log" 2>&1 || status=$?
rm -f "$out/ram.bin"
grep -q RINGER-INIT "$out/log" || { echo "no init"; status=1; }
grep -E 'ACPI (BIOS )?(Error|Warning|Exception)|Firmware Bug|ACPI: .*(fail|[Ii]nvalid)' "$out/log" && status=1
[ $status = 0 ] || tail -n 20 "$out/log"
exit $status
