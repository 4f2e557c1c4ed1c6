#!/bin/sh
# SPDX-License-Identifier: MIT
#
# From SeaBIOS and GRUB: Debian's disk as a SATA disk and as an IDE disk with a partition, and a CD-ROM with a kernel. Each
# must come to the login prompt, or to the end of its script, and power off with status 0.
#   tests/soak/firmware.sh [BOARD...]        RINGER_BUILD: build directory. Needs grub-mkrescue, grub-pc-bin and xorriso.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${RINGER_BUILD:-build}
out=$build/soak-firmware
grub=/usr/lib/grub/i386-pc
source=$(tools/guest_disk.sh amd64 full) && kernel=$(tools/guest_kernel.sh amd64) && modules=$(tools/guest_modules.sh amd64) || exit 1
mkdir -p "$out/iso/boot/grub"

# The disk: GRUB behind the partition table, Debian's file system from the first MiB on.
cat >"$out/disk.cfg" <<'CFG'
set root=(hd0,msdos1)
linux /vmlinuz root=/dev/sda1 rw console=ttyS0 quiet panic=-1
initrd /initrd.img
boot
CFG
grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -c "$out/disk.cfg" -o "$out/core" biosdisk part_msdos ext2 linux normal || exit 1
head -c 440 $grub/boot.img >"$out/disk.img"
truncate -s "$(($(stat -c %s "$source/disk.img") + 1048576))" "$out/disk.img"
dd if="$out/core" of="$out/disk.img" bs=512 seek=1 conv=notrunc status=none
dd if="$source/disk.img" of="$out/disk.img" bs=1M seek=1 conv=notrunc,sparse status=none
echo '2048,,L,*' | sfdisk -q --no-reread --no-tell-kernel "$out/disk.img" || exit 1

# The disc: GRUB, a kernel, and an initramfs that reads the disc again.
cat >"$out/test.sh" <<'TEST'
modprobe sr_mod; modprobe ata_piix; modprobe ahci
while [ ! -b /dev/sr0 ]; do usleep 20000; done
sha256sum </dev/sr0 | sed 's/^/disc /'
TEST
tools/guest_initramfs.sh -t "$out/test.sh" -a "$modules" -o "$out/iso/boot/init.gz" || exit 1
cp "$kernel" "$out/iso/boot/vmlinuz"
cat >"$out/iso/boot/grub/grub.cfg" <<'CFG'
linux /boot/vmlinuz console=ttyS0 quiet panic=-1
initrd /boot/init.gz
boot
CFG
grub-mkrescue -d $grub -o "$out/disc.iso" "$out/iso" >"$out/mkrescue.log" 2>&1 || { tail "$out/mkrescue.log"; exit 1; }
sum=$(sha256sum <"$out/disc.iso" | cut -c 1-64)

for board in ${*:-pc q35}; do
	timeout -k 2 100 "$build/ringer" -M "$board" -m 512M -cdrom "$out/disc.iso" -boot d -nographic -no-reboot \
		</dev/null >"$out/disc-$board.log" 2>&1
	status=$?
	[ $status = 0 ] && grep -q "disc $sum" "$out/disc-$board.log" || { echo "$board: the disc: status $status"; exit 1; }
	mkfifo "$out/keys" 2>/dev/null
	{ # the keys are typed when the prompt is there
		until grep -q 'login: ' "$out/disk-$board.log" 2>/dev/null; do sleep 0.2; done
		echo '{"execute":"qmp_capabilities"}{"execute":"system_powerdown"}'
		sleep 100
	} >"$out/keys" &
	typist=$!
	rm -f "$out/disk-$board.log"
	start=$(date +%s)
	timeout -k 2 140 "$build/ringer" -M "$board" -m 1G -drive "file=$out/disk.img,format=raw,snapshot=on" -no-reboot \
		-display none -serial "file:$out/disk-$board.log" -qmp stdio <"$out/keys" >"$out/disk-$board.qmp" 2>&1
	status=$?
	kill $typist 2>/dev/null
	[ $status = 0 ] && grep -q 'login: ' "$out/disk-$board.log" || { echo "$board: the disk: status $status"; exit 1; }
	echo "$board: disc and disk, $(($(date +%s) - start)) s from the disk's start to its power-off"
done
rm -f "$out/disk.img" "$out/keys"
