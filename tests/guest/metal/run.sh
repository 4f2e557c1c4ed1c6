#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Build and run bare-metal guests; each must end with status 1 (debug-exit 0) and a line "N passed, 0 failed".
#   tests/guest/metal/run.sh [GUEST...]     under $RINGER_BUILD/ringer
# QEMU=qemu-system-x86_64: under that instead, by TCG. METAL_ARGS: more options. METAL_LIMIT: seconds a guest may take.
# METAL_CFLAGS: how the guests are compiled, too, in a directory of their own. METAL_FOLDER: the folder beside this one that has the guests (metal).
cd "$(dirname "$0")/../../.." || exit 1
build=${RINGER_BUILD:-build}
folder=${METAL_FOLDER:-metal}
case $build in /*) out=$build/$folder ;; *) out=$PWD/$build/$folder ;; esac
[ -z "${METAL_CFLAGS:-}" ] || out=$out$METAL_CFLAGS
mkdir -p "$out"
flock "$out" make -s -C "tests/guest/$folder" OUT="$out" MORE="${METAL_CFLAGS:-}" || exit 1
[ $# -gt 0 ] || set -- $(basename -s .c "tests/guest/$folder"/*.c)
if [ -n "${QEMU:-}" ]; then
	vmm="$QEMU -accel tcg" tag=qemu
else
	vmm=$build/ringer tag=ringer
fi
status=0
for guest in "$@"; do
	log=$out/$guest.$tag.log
	timeout -k 5 "${METAL_LIMIT:-60}" $vmm -cpu max -m 64M -nodefaults -display none -serial stdio -no-reboot \
		-device isa-debug-exit,iobase=0xf4,iosize=4 ${METAL_ARGS:-} -kernel "$out/$guest.elf" </dev/null >"$log" 2>&1
	code=$?
	if [ $code = 1 ] && grep -q ' passed, 0 failed' "$log"; then
		echo "$guest: $(grep ' passed, ' "$log")"
		continue
	fi
	status=1
	echo "$guest: FAILED, status $code$([ $code != 124 ] || echo ' (time limit)'): see $log"
	grep -a FAIL "$log" | head -n "${METAL_TAIL:-20}"
	tail -n 8 "$log"
done
exit $status
