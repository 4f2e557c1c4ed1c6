#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The guests outside long mode under each --stress setting, under --selfcheck=1 and -deterministic.
#   tests/guest/legacy/stress.sh
cd "$(dirname "$0")/../../.." || exit 1
status=0
for option in --stress=one --stress=careful --stress=nochain --stress=flush --stress=nochain,flush --stress=irq \
	--stress=tiny_tc --selfcheck=1 -deterministic; do
	echo "$option:"
	few=
	[ $option != --stress=nochain,flush ] || few=-DTURNS=300 # loops that are to become hot, which nothing does here
	METAL_CFLAGS=$few METAL_ARGS=$option tests/guest/legacy/run.sh || status=1
done
exit $status
