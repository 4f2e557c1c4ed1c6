#!/bin/sh
# SPDX-License-Identifier: MIT
#
# CPUID models hold exactly: in guests with features taken away, cpuid_masks finds that each instruction works if and only
# if CPUID states its feature; what was asked for is there or gone; and the other programs still say what they say natively.
cd "$(dirname "$0")/../../.." || exit 1
build=${RINGER_BUILD:-build}
status=0

guest() { # -cpu, what cpuid_masks is to find
	echo "-cpu $1"
	MASKS=$2 PROGRAMS="features cpuid_masks signals compat32 xsave rep fpu_switch" \
		tests/guest/linux/run.sh "$build/ringer" -cpu "$1" || status=1
}

guest qemu64 '-avx -avx2 -sse4_1 -ssse3 -popcnt -xsave -rdrand -fsgsbase -bmi1 -sha +sse3 +cx16'
guest host,-avx2,-bmi2,-rdrand,-fsgsbase,-sha-ni '-avx2 -bmi2 -rdrand -fsgsbase -sha'
guest max,-avx,-popcnt,-movbe,-xsaveopt '-avx -avx2 -popcnt -movbe -xsaveopt'
exit $status
