#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Large programs, natively and in a guest: just-in-time compilers, databases, debuggers, compilers, as programs.txt has them.

    tests/soak/programs.py [-n NAME]... [ringer options...]

The guest runs the programs that the host has: it sees the host's root directory, read-only, as a shared folder. What a
program prints and its status must be the same in both places. Logs: $RINGER_BUILD/soak-programs. Needs root (postgres).
"""
import argparse
import base64
import os
import subprocess
import sys
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PATHS = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LC_ALL=C"
# In the guest, for each row: a fresh directory in a tmpfs, and its output between two marks.
GUEST = """for m in virtio_pci 9pnet_virtio 9p; do modprobe $m; done
mkdir /h
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro root /h || exit 1
for kind in proc sysfs devtmpfs; do mount -t $kind $kind /h/$(echo $kind | sed 's/sysfs/sys/; s/devtmpfs/dev/'); done
mkdir -p /h/dev/pts /h/dev/shm
mount -t devpts devpts /h/dev/pts
for d in dev/shm tmp run root var/tmp; do mount -t tmpfs -o mode=1777 tmpfs /h/$d; done
ifconfig lo 127.0.0.1 up
cp /rows /h/run/rows
chroot /h /bin/sh -c '. /run/rows'
"""


def rows(wanted):
    with open(f"{ROOT}/tests/soak/programs.txt", encoding="utf-8") as f:
        for line in f:
            if line.startswith("#") or "|" not in line:
                continue
            name, command = [part.strip() for part in line.split("|", 1)]
            if not wanted or name in wanted:
                yield name, command


def script(name, command):
    """sh text that runs one row in an empty directory and says its output, status and time between marks"""
    packed = base64.b64encode(f"export {PATHS}\n{command}\n".encode()).decode()
    return f"""mkdir -p /tmp/soak/x && cd /tmp/soak/x && echo {packed} | base64 -d >../x.sh
s=$(date +%s%N); timeout -k 5 120 sh ../x.sh >../out 2>../err </dev/null; r=$?; e=$(date +%s%N)
echo "PROGRAM-BEGIN {name}"; cat ../out; echo "status $r"; echo "PROGRAM-END $(((e - s) / 1000000))"
cd /; rm -rf /tmp/soak
"""


def parse(text):
    found = {}
    name = None
    for line in text.replace("\r", "").split("\n"):
        if line.startswith("PROGRAM-BEGIN "):
            name = line.split()[1]
            found[name] = ["", 0]
        elif line.startswith("PROGRAM-END ") and name:
            found[name][1] = int(line.split()[1]) / 1000
            name = None
        elif name:
            found[name][0] += line + "\n"
    return found


def main():
    parser = argparse.ArgumentParser(description="large programs natively and in a guest")
    parser.add_argument("-n", action="append", default=[], help="only this row")
    args, options = parser.parse_known_args()
    os.chdir(ROOT)
    build = os.environ.get("RINGER_BUILD", "build")
    out = os.path.abspath(f"{build}/soak-programs")
    os.makedirs(f"{out}/add", exist_ok=True)
    text = "".join(script(name, command) for name, command in rows(args.n))
    with open(f"{out}/add/rows", "w", encoding="utf-8") as f:
        f.write(text)
    with open(f"{out}/test.sh", "w", encoding="utf-8") as f:
        f.write(GUEST)
    native = parse(subprocess.run(["sh"], input=text, check=False, capture_output=True, text=True).stdout)

    def tool(*command):
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    kernel = tool("tools/guest_kernel.sh", "amd64")
    modules = tool("tools/guest_modules.sh", "amd64")
    tool("tools/guest_initramfs.sh", "-t", f"{out}/test.sh", "-a", modules, "-a", f"{out}/add", "-o", f"{out}/init.gz")
    vmm = subprocess.Popen([f"{build}/ringer", "-m", "3G", "-kernel", kernel, "-initrd", f"{out}/init.gz", "-append",
                            "console=ttyS0 quiet", "-nographic", "-no-reboot", "-virtfs",
                            "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap", *options],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           errors="replace")
    lines, failures = "", 0
    started = time.time()
    print(f"{'program':12} {'native, s':>10} {'ringer, s':>10}")
    for line in vmm.stdout:
        lines += line
        if line.startswith("PROGRAM-END "):
            name, (said, seconds) = list(parse(lines).items())[-1]
            same = native.get(name, ["", 0])[0] == said
            lacking = native[name][0] == "status 127\n"
            failures += not same
            print(f"{name:12} {native[name][1]:10.2f} {seconds:10.2f}  "
                  f"{'DIFFERENT' if not same else 'not on this host' if lacking else ''}", flush=True)
    status = vmm.wait()
    with open(f"{out}/log", "w", encoding="utf-8") as f:
        f.write(lines)
    missing = [name for name in native if name not in parse(lines)]
    print(f"{len(native)} programs, {failures} different, {len(missing)} not reached, ringer's status {status}, "
          f"{time.time() - started:.0f} s; {out}/log")
    return 1 if failures or missing or status else 0


sys.exit(main())
