#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Run every test and count: lint, the unit tests that Meson knows, the guest tests of tests/guests.txt.
#   tools/run_tests.sh [BUILD [NAME...]]     NAME: only guest tests whose name begins so
# Ends with "N passed, N failed"; status 1 if any failed. Logs: BUILD/tests-log/.
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
[ $# -eq 0 ] || shift
logs=$build/tests-log
mkdir -p "$logs"
passed=0 failed=0

result() { # name status seconds log
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
		printf 'ok      %-32s %4ds\n' "$1" "$3"
		return
	fi
	failed=$((failed + 1))
	printf 'FAILED  %-32s %4ds  %s\n' "$1" "$3" "$4"
	tail -n "${RINGER_TEST_TAIL:-15}" "$4" | sed 's/^/        | /'
}

one() { # name timeout command...
	name=$1 limit=$2 log=$logs/$1.log
	shift 2
	start=$(date +%s)
	timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null
	status=$?
	[ $status != 124 ] || echo "timed out after $limit s" >>"$log"
	result "$name" $status $(($(date +%s) - start)) "$log"
}

if [ $# -eq 0 ]; then
	one lint 60 tools/lint.sh
	meson test -C "$build" --num-processes 2 --logbase unit >"$logs/unit.log" 2>&1
	if [ -s "$build/meson-logs/unit.json" ]; then
		python3 tools/unit_results.py "$build/meson-logs/unit.json" "$logs" >"$logs/unit.list"
		while read -r name status seconds; do
			result "$name" "$status" "$seconds" "$logs/$name.log"
		done <"$logs/unit.list"
	else
		result unit 1 0 "$logs/unit.log"
	fi
fi

export RINGER_BUILD="$build"
while read -r name limit command; do
	case "$name" in '' | '#'*) continue ;; esac
	wanted=$([ $# -eq 0 ] && echo 1)
	for n in "$@"; do case "$name" in "$n"*) wanted=1 ;; esac; done
	[ -z "$wanted" ] || one "$name" "$limit" sh -c "$command"
done <tests/guests.txt

echo "$passed passed, $failed failed"
[ $failed = 0 ]
