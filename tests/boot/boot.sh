#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Boot Debian's kernel of a flavour N times: the init marker appears, a script runs, the guest powers off, ringer ends
# with status 0; and the guest's log holds no warning that QEMU TCG's log of the same image does not hold too.
#   tests/boot/boot.sh cloud|amd64|rt|686-pae [N [ringer options...]]
# RINGER_BUILD: build directory. BOOT_TIMEOUT: seconds a boot may take.
set -u
cd "$(dirname "$0")/../.." || exit 1

flavour=${1:?usage: $0 cloud|amd64|rt|686-pae [N [options...]]} n=${2:-1}
shift $(($# < 2 ? $# : 2))
build=${RINGER_BUILD:-build}
limit=${BOOT_TIMEOUT:-120}
kernel=$(tools/guest_kernel.sh "$flavour") || exit 1
cache=$(dirname "$kernel")
out=$build/boot-$flavour
mkdir -p "$out"

cat >"$out/test.sh" <<'TEST'
echo "kernel: $(uname -r)"
echo "busybox: $(sha256sum </bin/busybox)"
i=0
while [ $i -lt 200 ]; do i=$((i + 1)); done
echo "counted: $i, processes: $(for p in 1 2 3 4 5; do echo $p | cat; done | wc -l)"
TEST
[ ! -x "$cache/busybox" ] || export BUSYBOX="$cache/busybox"
tools/guest_initramfs.sh -t "$out/test.sh" -o "$out/init.gz" || exit 1
append="console=ttyS0 panic=-1"

# What a kernel says when it is unhappy, without times, addresses and numbers.
warnings() {
	tr -d '\r' <"$1" | grep -E 'WARNING:|BUG:|[Ss]tall|[Uu]nstable|lockup|hung_task|Oops|Call Trace|unchecked MSR|traps:|general protection|TSC.*(warp|fail)|timer.*(broken|not)|nobody cared|Kernel panic' |
		sed -E 's/^\[ *[0-9.]+\] *//; s/0x[0-9a-f]+|[0-9a-f]{8,}|[0-9]+/#/g' | sort -u
}

reference=$cache/qemu-reference.log
if [ ! -s "$reference" ]; then
	timeout 300 qemu-system-x86_64 -accel tcg -cpu max -m 512M -kernel "$kernel" -initrd "$out/init.gz" \
		-append "$append" -nographic -no-reboot </dev/null >"$reference.tmp" 2>&1
	grep -q RINGER-STATUS "$reference.tmp" || { echo "QEMU does not boot $kernel: see $reference.tmp"; exit 1; }
	mv "$reference.tmp" "$reference"
fi
warnings "$reference" >"$out/qemu.warnings"

status=0
sum=$(sha256sum <"${BUSYBOX:-/bin/busybox}" 2>/dev/null || sha256sum </usr/bin/busybox)
i=0
while [ $i -lt "$n" ]; do
	i=$((i + 1))
	log=$out/$i.log
	timeout -k 5 "$limit" "$build/ringer" -m 512M -kernel "$kernel" -initrd "$out/init.gz" -append "$append" \
		-nographic -no-reboot "$@" </dev/null >"$log" 2>&1
	code=$?
	why=
	[ $code = 0 ] || why="$why status $code;"
	grep -q RINGER-INIT "$log" || why="$why no init;"
	grep -q 'RINGER-STATUS 0' "$log" || why="$why the script did not end well;"
	grep -q "busybox: $sum" "$log" || why="$why wrong checksum;"
	grep -q 'counted: 200, processes: 5' "$log" || why="$why the script computed wrong;"
	warnings "$log" | comm -23 - "$out/qemu.warnings" >"$out/$i.warnings"
	[ ! -s "$out/$i.warnings" ] || why="$why warnings that QEMU does not show;"
	if [ -n "$why" ]; then
		status=1
		echo "boot $i of $n, $flavour:$why see $log"
		cat "$out/$i.warnings"
		tail -n 10 "$log"
	fi
done
[ $status != 0 ] || echo "$flavour: $n of $n boots"
exit $status
