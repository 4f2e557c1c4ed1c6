#!/bin/sh
# SPDX-License-Identifier: MIT
#
# stress-ng in a guest with two processors, each stressor alone, with --verify: none may fail, and the kernel may not
# complain.
#   tests/guest/linux/stress_ng.sh [seconds for each [stressors...]]     60 seconds is the soak; `make test` takes 2
# CPUS: another number of processors. OPTIONS: more for ringer. FLAVOUR: another kernel than cloud's. USERLAND: a
# directory that is the guest's root, with /usr/bin/stress-ng, for a 686-pae kernel.
set -u
cd "$(dirname "$0")/../../.." || exit 1
build=${RINGER_BUILD:-build}
seconds=${1:-60} cpus=${CPUS:-2}
[ $# -eq 0 ] || shift
stressors=${*:-cpu vm fork futex switch mmap sigsegv timer atomic membarrier}
out=$build/guest-stress-ng
root=$out/root

rm -rf "$root"
mkdir -p "$root/test/bin"
if [ -n "${USERLAND:-}" ]; then
	cp -a "$USERLAND/." "$root/"
	ln -s /usr/bin/stress-ng "$root/test/bin/stress-ng"
else
	program=$(PATH=/usr/bin:/bin command -v stress-ng) || { echo "stress_ng.sh: no stress-ng: run tools/deps.sh" >&2; exit 1; }
	cp -L "$program" "$root/test/bin/stress-ng"
	ldd "$program" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\).*/\1/p' | while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp -L "$library" "$root$library"
	done
fi
{
	echo 'dmesg -n 1; mount -t tmpfs tmp /tmp; mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm; cd /tmp; ulimit -c 0'
	for s in $stressors; do
		case $s in vm | mmap) more="--$s-bytes 96M" ;; *) more= ;; esac
		echo "/test/bin/stress-ng --$s $cpus $more --verify --timeout $seconds --metrics-brief >/tmp/$s.log 2>&1"
		echo "echo \"STRESS $s \$? \$(awk '\$4 == \"$s\" { print \$5, \"operations in\", \$6, \"s\" }' /tmp/$s.log)\""
		echo "grep -E 'fail|error' /tmp/$s.log | sed 's/^/DETAIL /'"
	done
	echo 'dmesg | grep -E "WARNING:|BUG:|[Ss]tall|Oops|nstable|soft lockup" | sed "s/^/KERNEL /"; true'
} >"$out/test.sh"
kernel=$(tools/guest_kernel.sh "${FLAVOUR:-cloud}") || exit 1
cache=$(dirname "$kernel")
[ ! -x "$cache/busybox" ] || export BUSYBOX="$cache/busybox"
tools/guest_initramfs.sh -t "$out/test.sh" -a "$root" -o "$out/init.gz" || exit 1

n=$(echo "$stressors" | wc -w)
# shellcheck disable=SC2086
timeout -k 5 $((60 + n * (seconds + 20))) "$build/ringer" -m 1G -smp "$cpus" -kernel "$kernel" -initrd "$out/init.gz" \
	-append "console=ttyS0 panic=-1 quiet" -nographic -no-reboot ${OPTIONS:-} </dev/null >"$out/serial.log" 2>&1
code=$?
tr -d '\r' <"$out/serial.log" | sed -n 's/.*\(STRESS [a-z]* [0-9]* .*\)/\1/p; /^DETAIL\|^KERNEL/p'
passed=$(tr -d '\r' <"$out/serial.log" | grep -c 'STRESS [a-z]* 0 ')
if [ $code = 0 ] && [ "$passed" = "$n" ] && ! grep -q '^KERNEL' "$out/serial.log"; then
	echo "$passed stressors, $seconds s each on $cpus processors: all passed"
	exit 0
fi
echo "stress-ng: status $code, $passed of $n passed: see $out/serial.log"
exit 1
