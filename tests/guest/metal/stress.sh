#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The bare-metal guests under each --stress setting, and the small ones under --selfcheck=1.
#   tests/guest/metal/stress.sh
cd "$(dirname "$0")/../../.." || exit 1
status=0
run() { # option guest...
	option=$1
	shift
	echo "$option:"
	METAL_LIMIT=${METAL_LIMIT:-150} METAL_ARGS=$option tests/guest/metal/run.sh "$@" || status=1
}
for s in cold hot tiny_tc nochain irq one careful flush; do
	run --stress=$s exceptions flow flags smc paging tlb step irq apic clock
done
# Not tlb: what it asks of A and D bits within one unit cannot be had twice.
run --selfcheck=1 exceptions flow flags smc step irq clock
run "--selfcheck=1 --stress=hot" exceptions flow flags smc step irq clock loops
exit $status
