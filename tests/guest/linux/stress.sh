#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The programs that are hardest on a translator, under the stress settings with which a Linux guest boots in reasonable
# time. (Those that cost a thousandfold - one, flush, careful - are for the small guests of tests/guest/metal/.)
cd "$(dirname "$0")/../../.." || exit 1
build=${RINGER_BUILD:-build}
status=0

for stress in ${STRESS:-nochain tiny_tc irq}; do
	echo "--stress=$stress"
	GUEST_TIMEOUT=${GUEST_TIMEOUT:-300} PROGRAMS="signals sigframe jit compat32 modeswitch rep xsave masked" \
		tests/guest/linux/run.sh "$build/ringer" --stress="$stress" || status=1
done
exit $status
