#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The guest test set: programs that run on the host and, as they are, in a guest on Debian's kernel; what they say must
# be the same.
#   tests/guest/linux/run.sh [VMM [options...]]      VMM: $RINGER_BUILD/ringer by default, or qemu-system-x86_64
# PROGRAMS="jit ptrace" takes only those. MASKS="+popcnt -avx2" is handed to cpuid_masks (for a guest with -cpu).
# SLOW=4: that many times the limits; PART=20: a twentieth of the longest program's work (files).
# FLAVOUR: cloud, amd64, rt or 686-pae. BITS=32: the programs and busybox are 32-bit, as they must be on 686-pae and can
# be on the others. Logs, programs and differences: $RINGER_BUILD/guest-linux/, or guest-linux-32/.
set -u
cd "$(dirname "$0")/../../.." || exit 1

here=tests/guest/linux
build=${RINGER_BUILD:-build}
vmm=${1:-$build/ringer}
[ $# -eq 0 ] || shift
mkdir -p "$build"
flavour=${FLAVOUR:-cloud} busybox=$(command -v busybox)
case $flavour in 686-pae) bits=32 ;; *) bits=${BITS:-64} ;; esac
out=$(cd "$build" && pwd)/guest-linux
if [ "$bits" = 32 ]; then
	out=$out-32
	export BUSYBOX="$(dirname "$(tools/guest_kernel.sh 686-pae)")/busybox"
	busybox=$BUSYBOX
fi
root=$out/root
rm -rf "$out/native" "$out/guest" "$out/diff" "$root"
mkdir -p "$out/native" "$out/guest" "$out/diff" "$root/test/bin" "$root/tmp" "$out/bin"

wanted() {
	[ -z "${PROGRAMS:-}" ] || case " $PROGRAMS " in *" $1 "*) ;; *) return 1 ;; esac
}

rows() { # name, limit, judged, flags of each wanted program
	grep -v '^#' $here/programs.txt | while read -r name limit judged runs rest; do
		wanted "$name" || continue
		[ "$runs" = both ] || [ "$bits" = 64 ] || continue
		echo "$name $limit $judged ${rest%%#*}"
	done
}

compile() { # source, flags: only when something has changed
	name=$1
	shift
	[ "$out/bin/$name" -nt $here/$name.c ] && [ -z "$(find $here -name '*.h' -newer "$out/bin/$name")" ] && return
	set -- gcc -std=gnu17 -D_GNU_SOURCE -O2 -static -pthread -Wall -Wextra -Wshadow -Wno-unused-function "$@"
	[ "$bits" = 32 ] || { "$@" $here/$name.c -o "$out/bin/$name"; return; }
	# Assembly in the sources has the names of 64-bit code, which the compiler never uses here.
	"$@" -m32 -msse2 -Wno-psabi -S $here/$name.c -o "$out/bin/$name.s" || return
	sed -i -E 's/%r([abcd]x|[sd]i|[sb]p)/%e\1/g; s/%([xyz])mm1([67])/%\1mm\2/g; s/%([xyz])mm31/%\1mm5/g; s/%zmm21/%zmm6/g
		s/(xsave|xsaveopt|xsavec|xrstor)64/\1/g' "$out/bin/$name.s"
	"$@" -m32 "$out/bin/$name.s" -o "$out/bin/$name"
}

# A program of the host's with the libraries it needs, into the guest.
borrow() {
	path=$(PATH=/usr/bin:/bin command -v "$1") || return
	cp -L "$path" "$root/test/bin/$1"
	ldd "$path" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\).*/\1/p' | while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp -L "$library" "$root$library"
	done
}

for name in features corpus $(rows | cut -d' ' -f1); do
	[ -f $here/$name.c ] || continue
	# shellcheck disable=SC2046
	compile "$name" $(rows | sed -n "s/^$name [0-9]* [a-z]* //p") || exit 1
	cp "$out/bin/$name" "$root/test/bin/"
done
cp $here/files.sh "$root/test/bin/"
! wanted files || [ "$bits" = 32 ] || for program in xz bzip2 bunzip2 gzip mawk gawk bc perl; do borrow $program; done

# What runs a program: the same lines in both places. busybox is the shell and all that is not in test/bin.
cat >"$root/test/one.sh" <<'ONE'
here=$1 name=$2
shift 2
export PATH="$here/bin:$BUSYBOX" LC_ALL=C
cd /tmp
if [ -f "$here/bin/$name.sh" ]; then
	busybox sh "$here/bin/$name.sh" "$here/bin"
else
	exec "$here/bin/$name" "$@" # a time limit ends this process, not a shell before it
fi
ONE

mkdir -p "$out/busybox"
for applet in $("$busybox" --list); do ln -sf "$busybox" "$out/busybox/$applet"; done
FEATURES=$("$out/bin/features")
{
	echo 'dmesg -n 1; mount -t tmpfs tmp /tmp; mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm; ulimit -c 0; ifconfig lo up 2>/dev/null'
	echo "export PART=${PART:-1}"
	echo "export BUSYBOX=/bin FEATURES='$FEATURES'"
	echo 'FEATURES=$(/test/bin/features); echo "FEATURES $FEATURES"'
	rows | while read -r name limit judged flags; do
		args=
		[ "$name" != cpuid_masks ] || args=${MASKS:-}
		echo "echo 'BEGIN $name'"
		echo "timeout $((limit * ${SLOW:-1})) busybox sh /test/one.sh /test $name $args 2>&1; echo \"END $name \$?\""
	done
	echo 'dmesg | grep -E "WARNING:|BUG:|[Ss]tall|Oops|nstable" | sed "s/^/KERNEL /"; true'
} >"$out/test.sh"
tools/guest_initramfs.sh -t "$out/test.sh" -a "$root" -o "$out/init.gz" || exit 1
kernel=$(tools/guest_kernel.sh "$flavour") || exit 1

start=$(date +%s)
timeout -k 5 "${GUEST_TIMEOUT:-900}" "$vmm" -m 512M -kernel "$kernel" -initrd "$out/init.gz" \
	-append "console=ttyS0 panic=-1 quiet" -nographic -no-reboot "$@" </dev/null >"$out/serial.log" 2>&1
code=$?
echo "guest: status $code after $(($(date +%s) - start)) s"
tr -d '\r' <"$out/serial.log" | awk -v dir="$out/guest" '
	{ sub(/\r$/, "") }
	match($0, /BEGIN [a-z0-9_]+$/) { name = substr($0, RSTART + 6); next }
	match($0, /END [a-z0-9_]+ [0-9]+$/) { split(substr($0, RSTART), part, " "); print part[3] >(dir "/" name ".status"); name = ""; next }
	name != "" { print >(dir "/" name) }'

common=$(tr -d '\r' <"$out/serial.log" | sed -n 's/^FEATURES //p' | head -1)
for feature in $FEATURES; do
	case " $common " in *" $feature "*) ;; *) absent="${absent:-}$feature " ;; esac
done
[ -z "${absent:-}" ] || echo "not in the guest, so not compared: $absent"
tr -d '\r' <"$out/serial.log" | grep '^KERNEL'

passed=0 failed=0
result() {
	if [ -z "$2" ]; then
		passed=$((passed + 1))
		echo "PASS $1"
	else
		failed=$((failed + 1))
		echo "FAIL $1: $2"
		[ ! -s "$out/diff/$1" ] || head -n "${DIFF_LINES:-12}" "$out/diff/$1" | sed 's/^/     | /'
	fi
}

[ "$bits" = 64 ] || awk '$4 == "only64" { sub(/.*# /, $1 ": "); print "64 bits only: " $0 }' $here/programs.txt
rows >"$out/rows"
while read -r name limit judged flags; do
	touch "$out/guest/$name"
	status=$(cat "$out/guest/$name.status" 2>/dev/null)
	why=
	if [ -z "$status" ]; then
		why="did not end"
	elif [ "$judged" = self ]; then
		[ "$status" = 0 ] || { why="status $status"; cp "$out/guest/$name" "$out/diff/$name"; }
	else
		FEATURES=$common BUSYBOX=$out/busybox timeout 120 busybox sh "$root/test/one.sh" "$root/test" "$name" \
			>"$out/native/$name" 2>&1
		native=$?
		diff -I " in a world$" "$out/native/$name" "$out/guest/$name" >"$out/diff/$name" || why="differs in $(grep -c '^>' "$out/diff/$name") lines"
		[ "$status" = "$native" ] || why="status $status, natively $native; $why"
		! grep -q '^WRONG' "$out/guest/$name" || why="says it is wrong; $why"
	fi
	result "$name" "$why"
done <"$out/rows"
[ $code = 0 ] || result "power-off" "status $code"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
