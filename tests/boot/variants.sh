#!/bin/sh
# SPDX-License-Identifier: MIT
#
# One kernel, many machines: memory sizes (below and above 4 GiB), processors with and without what a kernel takes other
# paths for, the PVH entry instead of the bzImage's, and all ways to reset. Each boots to init and ends well.
#   tests/boot/variants.sh [FLAVOUR]        RINGER_BUILD: build directory
set -u
cd "$(dirname "$0")/../.." || exit 1
flavour=${1:-cloud}
build=${RINGER_BUILD:-build}
kernel=$(tools/guest_kernel.sh "$flavour") || exit 1
out=$build/variants
mkdir -p "$out"
tools/extract_vmlinux.py "$kernel" "$out/vmlinux" || exit 1
cat >"$out/test.sh" <<'TEST'
awk '/MemTotal/ { print "memory:", int($2 / 1024) }' /proc/meminfo
grep -q xsave /proc/cpuinfo && sha256sum /bin/busybox
[ -z "$(dmesg | grep -E 'WARNING|BUG:|nchecked MSR|nstable')" ]
TEST
tools/guest_initramfs.sh -t "$out/test.sh" -o "$out/init.gz" || exit 1
failed=0

# boot NAME KERNEL EXPECTED OPTION...: EXPECTED must stand in the guest's output
boot() {
	name=$1 image=$2 expected=$3 log=$out/$1.log
	shift 3
	timeout -k 2 60 "$build/ringer" -kernel "$image" -initrd "$out/init.gz" -append "console=ttyS0 panic=-1" \
		-nographic -no-reboot "$@" </dev/null >"$log" 2>&1
	status=$?
	if [ $status = 0 ] && grep -q 'RINGER-STATUS 0' "$log" && grep -q -e "$expected" "$log"; then
		echo "ok      $name"
		return
	fi
	failed=$((failed + 1))
	echo "FAILED  $name: status $status"
	tail -n 5 "$log"
}

for m in 128M 1G 2G 3500M 4G; do
	boot "memory-$m" "$kernel" 'memory: ' -m $m
done
boot memory-8G "$kernel" 'memory: 79[0-9][0-9]' -m 8G
boot pvh "$out/vmlinux" RINGER-INIT -m 512M
boot pvh-qemu64 "$out/vmlinux" RINGER-INIT -m 512M -cpu qemu64
for cpu in host max qemu64 max,-avx512f max,-avx2,-avx max,-x2apic max,-pcid max,-tsc-deadline max,-smap,-smep \
	max,-fsgsbase max,-xsave max,-invpcid max,-pdpe1gb max,-nx max,-rdtscp max,-umip max,-hypervisor max,kvm=off; do
	boot "cpu-$cpu" "$kernel" RINGER-INIT -m 512M -cpu $cpu
done
boot isolation "$kernel" 'page tables isolation: enabled' -m 512M \
	-cpu max,vendor=GenuineIntel,-arch-capabilities
boot isolation-without-pcid "$kernel" 'page tables isolation: enabled' -m 512M \
	-cpu max,vendor=GenuineIntel,-arch-capabilities,-pcid

# Each way that Linux has of resetting a PC: the keyboard controller, a triple fault, port CF9, ACPI.
cat >"$out/test.sh" <<'TEST'
grep -o 'reboot=.' /proc/cmdline
echo RINGER-STATUS 0
reboot -f
TEST
tools/guest_initramfs.sh -t "$out/test.sh" -o "$out/init.gz" || exit 1
for way in k t p a; do
	boot reset-$way "$kernel" "^reboot=$way" -m 512M -append "console=ttyS0 panic=-1 reboot=$way"
done
echo "failures: $failed"
[ $failed = 0 ]
