#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Hostile drivers against the virtio devices for as long as wanted, with ASan and UBSan: made-up inputs, another seed
# each time, then (with clang) libFuzzer from the kept ones. A failure leaves its input or names its seed. The number of
# cases so far is kept in build/fuzz-soak/cases, so that slices add up.
#   tests/fuzz/soak.sh SECONDS
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${RINGER_BUILD:-build}
out=$build/fuzz-soak
seconds=${1:?usage: $0 SECONDS}
mkdir -p "$out/corpus"
cases=$(cat "$out/cases" 2>/dev/null || echo 0)
end=$(($(date +%s) + seconds / 2))
while [ "$(date +%s)" -lt $end ]; do
	timeout -k 2 300 "$build/tests/fuzz_virtio" -n 100000 -s "$((cases + 1000000))" >"$out/log" 2>&1 || {
		echo "FAILED with -n 100000 -s $((cases + 1000000)): see $out/log"
		exit 1
	}
	cases=$((cases + 100000))
	echo $cases >"$out/cases"
done
if command -v clang >/dev/null; then
	if [ ! -x "$out/fuzz" ] || [ "$build/tests/fuzz_virtio" -nt "$out/fuzz" ]; then
		slirp=src/io/net_user_none.c
		clang -g -O1 -std=gnu17 -D_GNU_SOURCE -DLIBFUZZER -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
			-Isrc -o "$out/fuzz" tests/fuzz/virtio.c src/mem/mem.c src/host/limits.c src/host/loop.c \
			src/io/net.c src/io/net_config.c src/io/net_frame.c src/io/net_gather.c src/io/net_socket.c \
			src/io/net_stream.c src/io/net_tap.c src/io/net_user_config.c $slirp src/p9/*.c src/virtio/*.c -lpthread || exit 1
	fi
	"$out/fuzz" -max_total_time=$((seconds / 2)) -max_len=512 -timeout=20 -rss_limit_mb=1000 -artifact_prefix="$out/" \
		-print_final_stats=1 "$out/corpus" tests/fuzz/virtio >"$out/log" 2>&1 || {
		tail -n 40 "$out/log"
		exit 1
	}
	cases=$((cases + $(sed -n 's/.*number_of_executed_units: *//p' "$out/log")))
	echo $cases >"$out/cases"
fi
echo "$cases cases so far"
