#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The programs that are hardest on a translator, in a Linux guest under every --stress setting. (The small guests of
# tests/guest/metal/ have a stress.sh of their own, with --selfcheck=1 besides.)
cd "$(dirname "$0")/../../.." || exit 1
build=${RINGER_BUILD:-build}
status=0

for stress in ${STRESS:-cold hot nochain tiny_tc irq one flush careful}; do
	echo "--stress=$stress"
	GUEST_TIMEOUT=${GUEST_TIMEOUT:-300} PROGRAMS="signals sigframe jit compat32 modeswitch rep xsave masked" \
		tests/guest/linux/run.sh "$build/ringer" --stress="$stress" || status=1
done
exit $status
