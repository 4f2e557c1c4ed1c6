#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The same fio jobs on the same file: on the host, in a guest on virtio-blk, in one of QEMU TCG. 4 KiB random and 1 MiB
# sequential reads and writes, depth 1 and 16; prints MiB/s.
#   tests/soak/fio.sh [SECONDS]        RINGER_BUILD: build directory. Needs fio.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-5} build=${RINGER_BUILD:-build}
command -v fio >/dev/null || { echo "fio.sh: install fio" >&2; exit 1; }
out=$build/fio
rm -rf "$out/add"
mkdir -p "$out/add/usr/bin"
for f in $(command -v fio) $(ldd "$(command -v fio)" | grep -o '/[^ ]*'); do
	mkdir -p "$out/add/$(dirname "$f")"
	cp -L "$f" "$out/add/$f"
done
cat >"$out/jobs.sh" <<EOF2
for job in "randread 4k" "randwrite 4k" "read 1m" "write 1m"; do
	for depth in 1 16; do
		set -- \$job
		/usr/bin/fio --name=x --filename=\$DISK --rw=\$1 --bs=\$2 --iodepth=\$depth --ioengine=libaio --direct=1 \\
			--size=256M --time_based --runtime=$seconds --output-format=terse |
			awk -F\; -v n="\$job depth \$depth" '{ printf "%-24s %8.1f\\n", n, (\$7 + \$48) / 1024 }'
	done
done
EOF2
{ echo 'modprobe virtio_pci && modprobe virtio_blk'; echo 'DISK=/dev/vda'; cat "$out/jobs.sh"; } >"$out/test.sh"
kernel=$(tools/guest_kernel.sh cloud)
tools/guest_initramfs.sh -t "$out/test.sh" -a "$(tools/guest_modules.sh cloud)" -a "$out/add" -o "$out/init.gz"
head -c 268435456 /dev/urandom >"$out/disk"
guest() {
	timeout 300 "$@" -m 512M -kernel "$kernel" -initrd "$out/init.gz" -append "console=ttyS0 quiet" -nographic -no-reboot \
		-drive "file=$out/disk,format=raw,if=virtio" </dev/null | tr -d '\r' | grep depth
}
echo "host (MiB/s):" && DISK=$out/disk sh "$out/jobs.sh"
echo "ringer:" && guest "$build/ringer"
[ -z "${QEMU-qemu-system-x86_64}" ] || { echo "QEMU TCG:" && guest "${QEMU-qemu-system-x86_64}" -accel tcg -cpu max; }
rm -f "$out/disk"
