#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The guest test set, the bare-metal guests and those outside long mode, under each form of memory access (--memory) and
# each --stress setting: hours, in all. Ends with a table: passed of how many, and what did not; ~ met its time limit.
#   tests/matrix.sh [FORM...]       checked, mapped, direct and auto by default
# STRESS="none cold one,irq", SUITES="programs metal legacy", PROGRAMS, GUESTS="smc flow" in the environment: only those.
# SLOW=2: that many times the limits, on a busy host. Where a setting is very slow they are four times as long again, and
# the longest program does a twentieth of its work.
cd "$(dirname "$0")/.." || exit 1
build=${RINGER_BUILD:-build}
settings=${STRESS:-none cold hot nochain tiny_tc irq one careful flush one,irq}
suites=${SUITES:-programs metal legacy}
guests=${GUESTS:-exceptions flow flags smc paging tlb step irq apic clock sensitive user}
out=$(mkdir -p "$build/matrix" && cd "$build/matrix" && pwd)
[ $# -gt 0 ] || set -- checked mapped direct auto
: >"$out/table"

# "31/32 rep ~files" of lines "PASS name", "FAIL name: why"
cell() {
	awk '/^PASS /{ n++; ok++ }
		/^FAIL /{ n++; sub(/:$/, "", $2); bad = bad " " (/did not end|status (124|143)|time limit/ ? "~" : "") $2 }
		END { printf "%d/%d%s", ok, n, bad }' "$1"
}

# What a run.sh of bare guests says, in those words.
in_words() {
	tr -d '\r' | sed -n 's/^\([a-z0-9]*\): .* passed, 0 failed$/PASS \1/p; s/^\([a-z0-9]*\): FAILED/FAIL \1: /p'
}

for form in "$@"; do
	for stress in $settings; do
		option=--stress=$stress slow=${SLOW:-1} part=1 few=
		case $stress in
		none) option= ;;
		one* | *careful* | *flush* | *nochain*) slow=$((4 * slow)) part=20 few=-DTURNS=300 ;;
		esac
		cell=$out/$form-$stress
		mkdir -p "$cell"
		cp "$build/ringer" "$build/ringer-vmm" "$cell/" || exit 1
		for suite in $suites; do
			log=$cell/$suite.log
			case $suite in
			programs) RINGER_BUILD=$cell SLOW=$slow PART=$part GUEST_TIMEOUT=$((900 * slow)) \
				tests/guest/linux/run.sh "$cell/ringer" "--memory=$form" $option >"$log" 2>&1 ;;
			metal) # shellcheck disable=SC2086
				RINGER_BUILD=$cell METAL_LIMIT=$((60 * slow)) METAL_ARGS="--memory=$form $option" \
				tests/guest/metal/run.sh $guests 2>&1 | in_words >"$log" ;;
			legacy) RINGER_BUILD=$cell METAL_LIMIT=$((60 * slow)) METAL_ARGS="--memory=$form $option" METAL_CFLAGS=$few \
				tests/guest/legacy/run.sh 2>&1 | in_words >"$log" ;;
			esac
			echo "$form | $stress | $suite | $(cell "$log")" | tee -a "$out/table"
		done
	done
done
awk -F ' [|] ' '$4 ~ / / { bad++ } END { print NR " cells, " bad + 0 " with failures"; exit bad > 0 }' "$out/table"
