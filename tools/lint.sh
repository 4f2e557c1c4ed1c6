#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The rules of the house that a script can check: includes follow tools/layers.txt, every file opens with its licence
# line, no line is longer than 120 columns (tabs are 4), no C file has spaces where tabs belong.
cd "$(dirname "$0")/.." || exit 1

files=$(git ls-files -c -o --exclude-standard 2>/dev/null | grep -E '\.([chS]|py|sh|build)$|(^|/)Makefile$')
bad=$(
	for f in $files; do [ -f "$f" ] && echo "$f"; done | while read -r f; do
		head -3 "$f" | grep -q 'SPDX-License-Identifier: MIT' || echo "$f:1: no licence line"
	done
	for f in $(echo "$files" | grep -E '\.[chS]$'); do
		[ -f "$f" ] || continue
		expand -t4 "$f" | awk -v f="$f" 'length > 120 { print f ":" NR ": longer than 120 columns" }'
		awk -v f="$f" '/^        /{ print f ":" NR ": indented with spaces" }' "$f"
	done
	awk '
	FILENAME == "tools/layers.txt" {
		if (!/^#/)
			for (i = 1; i <= NF; i++) may[$1, $i] = 1
		next
	}
	match($0, /^#include "[^"\/]*\//) {
		split(FILENAME, path, "/")
		to = substr($0, RSTART + 10, RLENGTH - 11)
		if (to != "base" && !((path[2], to) in may))
			print FILENAME ":" FNR ": " path[2] "/ may not include " to "/ (tools/layers.txt)"
	}' tools/layers.txt $(echo "$files" | grep -E '^src/[^/]*/.*\.[chS]$')
)
[ -z "$bad" ] || { echo "$bad"; exit 1; }
