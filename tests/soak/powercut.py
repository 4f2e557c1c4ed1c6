#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Power cuts: a guest writes new files with fsync to an ext4 disk and says so; ringer is killed (SIGKILL) at a random
moment. Every record that was acknowledged must be there, whole, and fsck must find the file system clean after its
journal has been replayed.
  powercut.py [TIMES [ringer's -drive properties]]       RINGER_BUILD: build directory"""
import os
import random
import re
import subprocess
import sys
import time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
times, more = int((sys.argv[1:2] or [50])[0]), (sys.argv[2:3] or [""])[0]
build = os.environ.get("RINGER_BUILD", "build")
out = os.path.join(build, "powercut")
os.makedirs(out, exist_ok=True)


def tool(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


kernel, modules = tool("tools/guest_kernel.sh", "cloud"), tool("tools/guest_modules.sh", "cloud")
open(f"{out}/test.sh", "w").write("""modprobe virtio_pci && modprobe virtio_blk && mkdir /d && mount -t ext4 /dev/vda /d || exit 1
i=$(ls /d | grep -c record)
echo start $i
while i=$((i + 1)); do
	echo "record $i $(seq $i $((i + 2000)) | sha256sum)" >/tmp/r
	dd if=/tmp/r of=/d/record$i conv=fsync 2>/dev/null && echo acked $i
done
""")
tool("tools/guest_initramfs.sh", "-t", f"{out}/test.sh", "-a", modules, "-o", f"{out}/init.gz")
disk, acked = f"{out}/disk.img", 0
if os.path.exists(disk):
    os.unlink(disk)
tool("mke2fs", "-q", "-t", "ext4", "-N", "20000", disk, "128M")
for n in range(1, times + 1):
    log = open(f"{out}/log", "wb")
    p = subprocess.Popen([f"{build}/ringer", "-m", "256M", "-kernel", kernel, "-initrd", f"{out}/init.gz", "-nographic",
                          "-append", "console=ttyS0 quiet panic=-1", "-no-reboot", "-drive",
                          f"file={disk},format=raw,if=virtio{more}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    deadline = time.time() + 60
    while b"acked" not in open(f"{out}/log", "rb").read() and time.time() < deadline and p.poll() is None:
        time.sleep(0.02)
    time.sleep(random.uniform(0, 1))
    p.kill()
    p.wait()
    text = open(f"{out}/log", errors="replace").read()
    told = [int(k) for k in re.findall(r"^acked (\d+)\r?\n", text, re.M)]
    if not told:
        sys.exit(f"cut {n}: nothing was acknowledged: see {out}/log")
    acked = max(acked, *told)
    replay = subprocess.run(["e2fsck", "-p", disk], capture_output=True, text=True)
    check = subprocess.run(["e2fsck", "-f", "-n", disk], capture_output=True, text=True)
    listing = subprocess.run(["debugfs", "-R", "ls -p /", disk], capture_output=True, text=True).stdout
    there = {int(k) for k in re.findall(r"/record(\d+)/", listing)}
    lost = [k for k in range(1, acked + 1) if k not in there]
    last = subprocess.run(["debugfs", "-R", f"cat /record{acked}", disk], capture_output=True, text=True).stdout
    sums = subprocess.run(f"seq {acked} {acked + 2000} | sha256sum", shell=True, capture_output=True, text=True).stdout
    if replay.returncode > 1 or check.returncode or lost or last.strip() != f"record {acked} {sums.strip()}":
        sys.exit(f"cut {n}: fsck {replay.returncode} {check.returncode}, lost {lost[:5]}, the last one: {last!r}")
print(f"{times} power cuts, {acked} records acknowledged, none lost")
