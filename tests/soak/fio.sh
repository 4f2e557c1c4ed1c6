#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The same fio jobs on the same file: on the host, in a guest on virtio-blk, in one of QEMU TCG. 4 KiB random and 1 MiB
# sequential reads and writes, depth 1 and 16; prints MiB/s. First, with the host's cache cold in each place, as what has
# been written before slows the host's disk down for a while, several times in turn: each block of the file once, and the
# first 32 MiB that a guest reads in its life, most of which is its own code becoming warm; then the rest.
#   tests/soak/fio.sh [SECONDS [COLD_ROUNDS [ROUNDS]]]        RINGER_BUILD: build directory. Needs fio.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-5} cold_rounds=${2:-3} rounds=${3:-1} build=${RINGER_BUILD:-build}
command -v fio >/dev/null || { echo "fio.sh: install fio" >&2; exit 1; }
out=$build/fio
rm -rf "$out/add"
mkdir -p "$out/add/usr/bin"
for f in $(command -v fio) $(ldd "$(command -v fio)" | grep -o '/[^ ]*'); do
	mkdir -p "$out/add/$(dirname "$f")"
	cp -L "$f" "$out/add/$f"
done
cat >"$out/jobs.sh" <<EOF2
for job in \${JOBS:-warm:randread:4k:1 any:randread:4k:16 any:randwrite:4k:1 any:randwrite:4k:16 any:read:1m:1 \
	any:read:1m:16 any:write:1m:1 any:write:1m:16}; do
	set -- \$(echo "\$job" | tr : ' ')
	[ "\$1" != warm ] || cat \$DISK >/dev/null
	much="--time_based --runtime=$seconds"
	case \$1 in cold) much=--io_size=256M ;; first) much=--io_size=32M ;; esac # no block twice
	/usr/bin/fio --name=x --filename=\$DISK --rw=\$2 --bs=\$3 --iodepth=\$4 --ioengine=libaio --direct=1 \\
		--size=256M \$much --output-format=terse |
		awk -F\; -v n="\$1 \$2 \$3 depth \$4" '{ printf "%-30s %8.1f\\n", n, (\$7 + \$48) / 1024 }'
done
EOF2
{ echo 'modprobe virtio_pci && modprobe virtio_blk'; echo 'DISK=/dev/vda'; cat "$out/jobs.sh"; } >"$out/test.sh"
kernel=$(tools/guest_kernel.sh cloud)
tools/guest_initramfs.sh -t "$out/test.sh" -a "$(tools/guest_modules.sh cloud)" -a "$out/add" -o "$out/init.gz"
head -c 268435456 /dev/urandom >"$out/disk"
cold() { # the host's cache
	sync "$out/disk" && dd if="$out/disk" iflag=nocache count=0 2>/dev/null
}
guest() {
	name=$1
	shift
	cold
	echo "$name:"
	timeout 300 "$@" -m 512M -kernel "$kernel" -initrd "$out/init.gz" -append "console=ttyS0 quiet ${JOBS:+JOBS=$JOBS}" \
		-nographic -no-reboot -drive "file=$out/disk,format=raw,if=virtio" </dev/null | tr -d '\r' | grep depth
}
places() {
	cold
	echo "host (MiB/s):" && DISK=$out/disk sh "$out/jobs.sh"
	guest ringer "$build/ringer"
	[ -z "${QEMU-qemu-system-x86_64}" ] || guest "QEMU TCG" "${QEMU-qemu-system-x86_64}" -accel tcg -cpu max
}
export JOBS
for round in $(seq "$cold_rounds"); do
	for JOBS in cold:randread:4k:1 first:randread:4k:1; do places; done
done
JOBS=
for round in $(seq "$rounds"); do places; done
rm -f "$out/disk"
