#!/bin/sh
# SPDX-License-Identifier: MIT
#
# lowdevice.c in the mapped form, in every tier: of its 160,000 accesses to a device only a few may fault in the host.
cd "$(dirname "$0")/../../.." || exit 1
stats=$(mktemp) || exit 1
trap 'rm -f "$stats"' EXIT
for mode in "mapped" "mapped --stress=hot" "mapped --stress=cold" "auto"; do
	METAL_ARGS="--memory=$mode --stats=json:$stats" tests/guest/metal/run.sh lowdevice || exit 1
	faults=$(sed -n 's/.*"shadow_true": \([0-9]*\).*/\1/p' "$stats")
	[ "${faults:-200}" -lt 200 ] || { echo "--memory=$mode: ${faults:-no} host faults"; exit 1; }
done
