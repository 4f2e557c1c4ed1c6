#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The differential test on the bare processor: two runs agree (with and without address space randomisation), and at
# least 95% of the user-mode forms are among the rows.
#   native.sh DIFFTEST
set -eu
out=$(mktemp)
trap 'rm -f "$out"' EXIT
first=$("$1" --quiet --output "$out")
echo "$first"
"$1" --quiet --expect "$out"
setarch -R "$1" --quiet --expect "$out" 2>&1
"$1" --bits 32 --quiet --output "$out"
"$1" --bits 32 --quiet --expect "$out"
coverage=$(echo "$first" | sed -n 's/.*coverage \([0-9]*\).*/\1/p')
[ "$coverage" -ge 95 ]
