#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The fuzzer of the monitor's zone for long: CASES (100 million, about half an hour), from a seed of the clock, in the
# mapped form with all code hot, then a tenth as many as code is by itself. FUZZER=zonekernel: a kernel instead;
# zonedirect: code that runs directly, as it is and displaced; worldfuzz: a hostile process in displaced code, in machines
# of 4000 cases each, as these lose the processes that code runs in.
#   tests/guest/metal/soak.sh [CASES]
cd "$(dirname "$0")/../../.." || exit 1
build=${RINGER_BUILD:-build}
cases=${1:-100000000}
fuzzer=${FUZZER:-zonefuzz}
status=0
soak() { # cases option...
	out=$(mkdir -p "$build/soak" && cd "$build/soak" && pwd)
	rm -f "$out/$fuzzer.o"
	make -s -C tests/guest/metal OUT="$out" MORE="-DCASES=$1ull" "$out/$fuzzer.elf" || exit 1
	shift
	"$build/ringer" -cpu max -m 64M -nodefaults -display none -serial stdio -no-reboot \
		-device isa-debug-exit,iobase=0xf4,iosize=4 "$@" -kernel "$out/$fuzzer.elf" </dev/null
	[ $? = 1 ] || status=1
}
case $fuzzer in
zonedirect) soak "$cases" --memory=direct ;;
worldfuzz)
	for _ in $(seq $((cases / 4000))); do
		soak 4000 --memory=direct
	done ;;
*)
	soak "$cases" --memory=mapped --stress=hot
	soak $((cases / 10)) --memory=mapped ;;
esac
exit $status
