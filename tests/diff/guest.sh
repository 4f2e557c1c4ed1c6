#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The differential test in a guest: every row's digest is compared with the bare processor's, taken just before.
#   tests/diff/guest.sh [ringer options...]
# RINGER_BUILD: build directory. DIFF_EMULATOR: another program with the same command line. DIFF_ARGS: options for
# difftest on both sides (--cases 2, --prefix evex.). DIFF_TIMEOUT: seconds.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${RINGER_BUILD:-build}
emulator=${DIFF_EMULATOR:-$build/ringer}
args=${DIFF_ARGS:---cases 4}
out=$build/difftest-$(echo "$args" | tr -dc 'a-z0-9')
kernel=$(tools/guest_kernel.sh cloud) || exit 1
mkdir -p "$out/root"
# shellcheck disable=SC2086
"$build/tests/difftest" --quiet $args --output "$out/root/native.txt" || exit 1
cp "$build/tests/difftest" "$out/root/difftest"
cat >"$out/test.sh" <<TEST
/difftest --quiet $args --expect /native.txt
TEST
tools/guest_initramfs.sh -t "$out/test.sh" -a "$out/root" -o "$out/init.gz" || exit 1
timeout -k 5 "${DIFF_TIMEOUT:-600}" "$emulator" -m 512M -kernel "$kernel" -initrd "$out/init.gz" \
	-append "console=ttyS0 panic=-1 quiet" -nographic -no-reboot "$@" </dev/null >"$out/log" 2>&1
echo "emulator status $?"
tr -d '\r' <"$out/log" | grep -E 'DIFFERS|difftest:' >"$out/result"
grep DIFFERS "$out/result" | head -n 40
grep difftest: "$out/result" || tail -n 20 "$out/log"
compared=$(sed -n 's/.* differ, \([0-9]*\) of \([0-9]*\) expected.*/\1 \2/p' "$out/result")
[ -n "$compared" ] && grep -q ' 0 rows differ' "$out/result" || exit 1
# Rows the guest's processor lacks are few.
set -- $compared
[ $(($1 * 100)) -ge $(($2 * 95)) ]
