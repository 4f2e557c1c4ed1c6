#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Single instructions of 16-bit code against what a processor has been recorded to do (vectors.c, vectors.py).
#   tests/guest/vectors/run.sh own|suite [ringer options...]
# own: recorded.txt, as record16.c has recorded it on a processor of today.
# suite: the real-mode tests of https://github.com/SingleStepTests/80286 (MIT licence), as far as they fit. They are not
# part of this project: VECTORS_CACHE names a directory with a checkout of that repository. VECTORS_LIMIT: how many of
# each of its files (200). RINGER_BUILD: the build directory. VMM: another program with the same command line.
cd "$(dirname "$0")/../../.." || exit 1
build=${RINGER_BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
out=$build/vectors
kind=${1:?usage: $0 own|suite [options...]}
shift
mkdir -p "$out"
flock "$out" make -s -C tests/guest/vectors OUT="$out" || exit 1
case $kind in
own)
	python3 tests/guest/vectors/vectors.py text "$out/own.bin" tests/guest/vectors/recorded.txt || exit 1 ;;
suite)
	if [ ! -d "${VECTORS_CACHE:-}/v1_real_mode" ]; then
		echo "vectors: skipped: VECTORS_CACHE does not name a checkout of SingleStepTests/80286"
		exit 0
	fi
	python3 tests/guest/vectors/vectors.py --limit "${VECTORS_LIMIT:-200}" moo "$out/suite.bin" \
		"$VECTORS_CACHE"/v1_real_mode/*.MOO.gz || exit 1 ;;
*)
	echo "vectors: no such kind: $kind"
	exit 1 ;;
esac
log=$out/vectors-$kind.log
timeout -k 5 "${METAL_LIMIT:-120}" "${VMM:-$build/ringer}" -cpu max -m 64M -nodefaults -display none -serial stdio \
	-no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel "$out/vectors.elf" -initrd "$out/$kind.bin" "$@" \
	</dev/null >"$log" 2>&1
code=$?
if [ $code = 1 ] && grep -q '[1-9][0-9]* passed, 0 failed' "$log"; then
	echo "vectors, $kind: $(grep ' passed, ' "$log")"
	exit 0
fi
echo "vectors, $kind: FAILED, status $code: see $log"
grep -a -B2 FAIL "$log" | head -n 20
tail -n 3 "$log"
exit 1
