#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The real gdb on a real kernel: stop before the first instruction, a breakpoint in the kernel and one at a system call,
# single steps, registers, memory by linear address, a watchpoint, monitor commands; after detaching the guest goes on
# and powers off.   tests/gdb/kernel.sh [FLAVOUR]      RINGER_BUILD: build directory
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${RINGER_BUILD:-build}
kernel=$(tools/guest_kernel.sh "${1:-cloud}") || exit 1
out=$build/gdb-kernel
mkdir -p "$out"
rm -f "$out"/*

cat >"$out/test.sh" <<'TEST'
grep -E ' (__x64_sys_reboot|linux_banner|startup_64|jiffies_64)$' /proc/kallsyms
TEST
tools/guest_initramfs.sh -t "$out/test.sh" -o "$out/init.gz" || exit 1
run() { # options...: boots with addresses that are the same each time
	timeout -k 2 -s KILL 90 "$build/ringer" -m 256M -kernel "$kernel" -initrd "$out/init.gz" -no-reboot -nographic \
		-append "console=ttyS0 nokaslr" "$@" </dev/null
}

run >"$out/symbols.log" 2>&1 || { echo "the guest does not boot"; tail "$out/symbols.log"; exit 1; }
symbol() { tr -d '\r' <"$out/symbols.log" | sed -n "s/.*\([0-9a-f]\{16\}\) [a-zA-Z] $1\$/0x\1/p" | head -1; }
reboot=$(symbol __x64_sys_reboot) banner=$(symbol linux_banner) jiffies=$(symbol jiffies_64)
[ -n "$reboot" ] && [ -n "$banner" ] && [ -n "$jiffies" ] || { echo "no symbols: see $out/symbols.log"; exit 1; }

cat >"$out/commands" <<GDB
set confirm off
set pagination off
set tcp connect-timeout 20
target remote $out/socket
printf "first %x\n", \$rip
hbreak *0x1000000
continue
printf "startup %x %x\n", \$rip, \$cr0 & 1
delete
hbreak *$reboot
continue
printf "reboot %x cs %x\n", \$rip == $reboot, \$cs
stepi
stepi
printf "stepped %d\n", \$rip > $reboot && \$rip < $reboot + 32
x/s $banner
monitor gva2gpa $banner
monitor info registers
info threads
delete
watch *(unsigned long *)$jiffies
continue
delete
detach
GDB
run -S -gdb "unix:$out/socket" >"$out/console.log" 2>&1 &
pid=$!
tries=0
while [ ! -S "$out/socket" ] && [ $tries -lt 50 ]; do tries=$((tries + 1)); sleep 0.1; done
timeout -k 2 60 gdb -batch -nx -x "$out/commands" >"$out/gdb.log" 2>&1
wait $pid
status=$?

failed=0
expect() { grep -q "$1" "$2" || { echo "not in $2: $1"; failed=1; }; }
expect '^startup 1000000 1' "$out/gdb.log"
expect '^reboot 1 cs 10' "$out/gdb.log"
expect '^stepped 1' "$out/gdb.log"
expect 'Linux version' "$out/gdb.log"
expect '^gpa: 0x' "$out/gdb.log"
expect '^RIP=ffffffff8' "$out/gdb.log"
expect 'Thread 1' "$out/gdb.log"
expect 'New value = ' "$out/gdb.log"
expect 'detached' "$out/gdb.log"
expect 'Power down' "$out/console.log"
[ $status = 0 ] || { echo "ringer ended with status $status"; failed=1; }
[ $failed = 0 ] && echo "gdb: all as it should be"
exit $failed
