#!/bin/sh
# SPDX-License-Identifier: MIT
#
# --deterministic: the same guest prints the same, times included, and runs the same number of instructions, every time
# and into whatever units its code is cut.   tests/boot/deterministic.sh [FLAVOUR]      RINGER_BUILD: build directory
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${RINGER_BUILD:-build}
kernel=$(tools/guest_kernel.sh "${1:-cloud}") || exit 1
out=$build/deterministic
mkdir -p "$out"

cat >"$out/test.sh" <<'TEST'
date +%s.%N
cat /proc/uptime /proc/interrupts
dd if=/dev/urandom bs=64 count=1 2>/dev/null | sha256sum
i=0
while [ $i -lt 100 ]; do i=$((i + 1)); echo $i | cat >/dev/null & done
wait
sleep 0.3
cat /proc/sys/kernel/random/uuid /proc/self/maps /proc/stat
TEST
tools/guest_initramfs.sh -t "$out/test.sh" -o "$out/init.gz" || exit 1

run() { # name, options...
	name=$1
	shift
	timeout -k 2 -s KILL 120 "$build/ringer" -m 256M -kernel "$kernel" -initrd "$out/init.gz" -no-reboot -nographic \
		-append "console=ttyS0 panic=-1" --deterministic "--stats=json:$out/$name.json" "$@" </dev/null >"$out/$name.log" 2>&1
	status=$?
	grep -q 'RINGER-STATUS 0' "$out/$name.log" && [ $status = 0 ] ||
		{ echo "$name: status $status, see $out/$name.log"; exit 1; }
	grep '"insns"' "$out/$name.json" >"$out/$name.count"
}

run first
run second
run cut --stress=nochain
for other in second cut; do
	cmp "$out/first.log" "$out/$other.log" && cmp "$out/first.count" "$out/$other.count" ||
		{ diff "$out/first.log" "$out/$other.log" | head -20; cat "$out/first.count" "$out/$other.count"; exit 1; }
done
echo "three runs, one output: $(cat "$out/first.count")"
