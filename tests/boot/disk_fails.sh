#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A host disk that is full (an image with holes on a small file system), and one that fails: the guest has I/O errors and goes
# on, what could be written is there, and the user is told once of each kind. With werror=stop and rerror=stop the machine
# stops, and what has failed is tried again when an operator says so.
#   tests/boot/disk_fails.sh        RINGER_BUILD: build directory. The full disk needs root or user namespaces.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${RINGER_BUILD:-build}
kernel=$(tools/guest_kernel.sh cloud) && modules=$(tools/guest_modules.sh cloud) || exit 1
out=$build/disk-fails failed=0
mkdir -p "$out"
gcc -O1 -shared -fPIC -o "$out/fail.so" tests/boot/disk_fails.c || exit 1

# guest NAME WRAPPER... <script    A guest that runs the script from standard input, with $out/disk; the log is $out/NAME.log
guest() {
	name=$1
	shift
	{ echo 'modprobe virtio_pci && modprobe virtio_blk || exit 1'; cat; } >"$out/$name.sh"
	tools/guest_initramfs.sh -t "$out/$name.sh" -a "$modules" -o "$out/$name.gz" || exit 1
	timeout -k 2 60 "$@" "$build/ringer" -m 256M -kernel "$kernel" -initrd "$out/$name.gz" -nographic -no-reboot \
		-append "console=ttyS0 panic=-1 quiet" -drive "file=$out/disk,format=raw,if=virtio,aio=threads${policy-}" \
		${policy:+-qmp unix:"$out/qmp",server=on,wait=off} \
		</dev/null >"$out/$name.log" 2>"$out/$name.err"
	status=$?
	[ $status = 0 ] && { [ -n "${guest_ends-}" ] || grep -q 'RINGER-STATUS 0' "$out/$name.log"; } ||
		fail "status $status, or its script failed"
}
fail() { failed=1; echo "FAILED $name: $*: see $out/$name.log, $name.err"; }
told() { [ "$(grep -c "$1" "$out/$name.err")" = 1 ] || fail "not told once of: $1"; }

rm -f "$out/disk" "$out/flush"
truncate -s 48M "$out/disk"
FAIL_AT=16777216 FAIL_FLUSH=$out/flush
export FAIL_AT FAIL_FLUSH
{ sleep 1; until grep -q 'flush now' "$out/fails.log"; do sleep 0.1; done; touch "$out/flush"; } &
: >"$out/fails.log"
guest fails env LD_PRELOAD="$out/fail.so" <<'TEST'
! dd if=/dev/vda of=/dev/null bs=4k skip=4096 count=1 iflag=direct || exit 2
! dd if=/dev/zero of=/dev/vda bs=4k seek=4100 count=4 oflag=direct || exit 3
! dd if=/dev/vda of=/dev/null bs=1M count=40 iflag=direct || exit 4
dd if=/bin/busybox of=/dev/vda bs=4k count=100 conv=fsync || exit 5
dd if=/dev/vda bs=4k count=100 iflag=direct | cmp -n 409600 - /bin/busybox || exit 6
echo flush now; sleep 2
! dd if=/bin/busybox of=/dev/vda bs=4k count=1 conv=fsync || exit 7
TEST
told "disk: read at .*Input/output error"
told "disk: write at .*Input/output error"
told "disk: flush at .*Input/output error"

# Events and states of a machine that stops: each failure is followed by what the operator does.
cat >"$out/operator.py" <<'PY'
import json, os, socket, sys, time
path, bad, steps = sys.argv[1], sys.argv[2], sys.argv[3:]
s = socket.socket(socket.AF_UNIX)
while s.connect_ex(path):
    time.sleep(0.05)
f = s.makefile("rw")
def ask(command):
    f.write(json.dumps({"execute": command}) + "\n")
    f.flush()
    return until(lambda m: "return" in m or "error" in m)
def until(wanted):
    for line in f:
        m = json.loads(line)
        seen.append(m.get("event"))
        if m.get("event") == "BLOCK_IO_ERROR":
            failures.append(m["data"])
        if wanted(m):
            return m
    sys.exit("the machine has ended")
seen, failures = [], []
ask("qmp_capabilities")
for operation, step in (s.split(":") for s in steps):
    if "STOP" not in seen:
        until(lambda m: m.get("event") == "STOP")
    status = ask("query-status")["return"]
    d = failures[-1]
    assert status["status"] == "io-error" and not status["running"], status
    assert d["operation"] == operation and d["action"] == "stop" and not d["nospace"] and "Input" in d["reason"], d
    seen.clear()
    if step == "heal":
        os.unlink(bad)
    ask("system_reset" if step == "reset" else "cont")
    if step == "heal":
        time.sleep(1)
        open(bad, "w")
print("operator: ok")
PY
FAIL_WHILE=$out/bad policy=,werror=stop,rerror=stop
export FAIL_WHILE
rm -f "$out/flush" "$out/qmp"
: >"$FAIL_WHILE"
timeout 60 python3 "$out/operator.py" "$out/qmp" "$FAIL_WHILE" write:cont write:heal read:heal >"$out/operator.log" 2>&1 &
guest stops env LD_PRELOAD="$out/fail.so" <<'TEST'
dd if=/bin/busybox of=/dev/vda bs=4k count=4 seek=4096 oflag=direct || exit 2
sleep 3
dd if=/dev/vda bs=4k count=4 skip=4096 iflag=direct | cmp -n 16384 - /bin/busybox || exit 3
TEST
wait $!
grep -q 'operator: ok' "$out/operator.log" || fail "the operator: $(tail -n 2 "$out/operator.log")"
told "disk: write at .*the machine stops"
told "disk: read at .*the machine stops"
rm -f "$out/qmp"
timeout 60 python3 "$out/operator.py" "$out/qmp" "$FAIL_WHILE" write:reset >"$out/operator.log" 2>&1 &
guest_ends=0 guest dropped env LD_PRELOAD="$out/fail.so" <<'TEST'
dd if=/bin/busybox of=/dev/vda bs=4k count=4 seek=4096 oflag=direct
TEST
unset FAIL_WHILE policy
unset guest_ends

mkdir -p "$out/small"
rm -f "$out/disk"
ln -s small/disk "$out/disk"
if unshare -rm true 2>/dev/null; then
	cat >"$out/mounted.sh" <<'S'
#!/bin/sh
mount -t tmpfs -o size=16M none "$1" && truncate -s 48M "$1/disk" || exit 1
shift
"$@"
S
	guest full unshare -rm sh "$out/mounted.sh" "$out/small" <<'TEST'
dd if=/bin/busybox of=/dev/vda bs=4k count=100 conv=fsync || exit 2
! dd if=/dev/zero of=/dev/vda bs=64k seek=64 oflag=direct || exit 3
! dd if=/dev/zero of=/dev/vda bs=4k seek=11000 count=100 oflag=direct || exit 4
dd if=/dev/vda bs=4k count=100 iflag=direct | cmp -n 409600 - /bin/busybox || exit 5
TEST
	told "disk: write at .*No space left on device"
fi
rm -rf "$out/disk" "$out/small"
[ $failed != 0 ] || echo "disk_fails: ok"
exit $failed
