#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Builds what the bench runs: the userland with the bench's programs in /bench, and the initramfs made of it.
#   bench/prepare.sh BUILD       BUILD/bench/tree and BUILD/bench/init.cpio; BUILD/bench/nano.elf; prints the kernel's path
# The programs compiled here are compiled once, and the same binaries run natively and in the guests.
set -eu
cd "$(dirname "$0")/.."

build=$1
kernel=$(tools/guest_kernel.sh "${FLAVOUR:-cloud}")
userland=$(bench/userland.sh)
out=$build/bench
tree=$out/tree
mkdir -p "$out"
metal=$(cd "$out" && pwd)/metal
make -s -C tests/guest/metal OUT="$metal" VPATH="$PWD/bench" "$metal/nano.elf"

if [ "$userland/.packages" -nt "$tree/.packages" ] || ! [ -d "$tree" ]; then
	rm -rf "$tree"
	cp -a "$userland" "$tree"
fi
mkdir -p "$tree/bench/data" "$tree/bench/src"
crypto=$(find "$tree" -name libcrypto.so.3 | head -1)
for name in five nbody process codegen agent; do
	[ "$tree/bench/$name" -nt bench/programs/$name.c ] ||
		gcc -std=gnu17 -D_GNU_SOURCE -O2 -static -Wall -Wextra $(sed -n 's|^// CFLAGS: ||p' bench/programs/$name.c) \
			-o "$tree/bench/$name" bench/programs/$name.c -lm
done
[ "$tree/bench/crypto" -nt bench/programs/crypto.c ] ||
	gcc -std=gnu17 -O2 -Wall -Wextra -o "$tree/bench/crypto" bench/programs/crypto.c "$crypto"
cp -u bench/programs/python.py bench/programs/perl.pl bench/programs/sqlite.sql "$tree/bench/"
cp "$tree/bench/agent" "$tree/init"
sed -n 's/^\([a-z]*\)  *|.*|  *\([^|]*\(|[^|]*\)*\)$/&/p' bench/programs.txt |
	awk -F ' *[|] ' '{ c = $6; for (i = 7; i <= NF; i++) c = c " | " $i; print $1 " " c }' >"$tree/bench/programs.txt"

# Input: from the userland's own files and a generator, so the same for everybody.
data=$tree/bench/data
if ! [ "$data/key.pem" -nt bench/prepare.sh ]; then
	cat "$(find "$tree" -name cc1 | head -1)" | head -c 28000000 >"$data/binary"
	head -c 3000000 "$data/binary" | tail -c 1600000 >"$data/small"
	awk 'BEGIN { x = 1; for (i = 0; i < 1500000; i++) { x = (x * 69069 + 12345) % 4294967296; printf "%08x line %d\n", x, i } }' >"$data/lines"
	openssl genrsa -traditional 2048 >"$data/key.pem" 2>/dev/null
fi
# What gcc compiles: files of ringer, already through the preprocessor.
for file in src/x86/decode.c src/bt/rewrite.c src/cpu/mmu.c src/machine/machine.c src/cli/options.c src/chip/i8254.c; do
	name=$(basename $file .c)
	[ -s "$tree/bench/src/$name.i" ] || gcc -std=gnu17 -D_GNU_SOURCE -E -P -Isrc -I"$build/src" -I"$build" $file -o "$tree/bench/src/$name.i"
done
if [ -n "$(find "$tree/bench" "$tree/init" -newer "$out/init.cpio" 2>/dev/null | head -1)" ] || ! [ -s "$out/init.cpio" ]; then
	(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -R 0:0 -o -H newc) >"$out/init.cpio"
fi
echo "$kernel"
