#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""From exec to init: ringer against QEMU TCG, the same kernel and initramfs, alternating, medians of the rounds.

    tests/boot/speed.py [FLAVOUR [ROUNDS]]

The clock starts before the program is executed and stops when the marker line of /init arrives here.
Status 1 if ringer's median is the slower one. RINGER_BUILD names the build directory.
"""
import os
import statistics
import subprocess
import sys
import threading
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MARKER = b"RINGER-INIT"
LIMIT = 120


def boot(command):
    """Seconds from exec to the marker; the machine is given time to power off by itself."""
    start = time.monotonic()
    vm = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    timer = threading.Timer(LIMIT, vm.kill)
    timer.start()
    taken, seen = None, b""
    for line in vm.stdout:
        seen += line
        if taken is None and MARKER in line:
            taken = time.monotonic() - start
    vm.wait()
    timer.cancel()
    if taken is None:
        sys.stdout.write(seen[-2000:].decode(errors="replace"))
        sys.exit(f"{command[0]}: no {MARKER.decode()}, status {vm.returncode}")
    return taken


def main():
    os.chdir(ROOT)
    flavour = sys.argv[1] if len(sys.argv) > 1 else "cloud"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    build = os.environ.get("RINGER_BUILD", "build")
    kernel = subprocess.run(["tools/guest_kernel.sh", flavour], check=True, capture_output=True, text=True).stdout.strip()
    initrd = f"{build}/speed.gz"
    subprocess.run(["tools/guest_initramfs.sh", "-o", initrd], check=True)
    guest = ["-m", "512M", "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0", "-nographic", "-no-reboot"]
    commands = {
        "ringer": [f"{build}/ringer", *guest],
        "qemu": ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", *guest],
    }
    times = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(boot(command))
    for name, row in times.items():
        print(f"{name:8} median {statistics.median(row):6.2f} s  of", " ".join(f"{t:.2f}" for t in row))
    ratio = statistics.median(times["ringer"]) / statistics.median(times["qemu"])
    print(f"ringer takes {ratio:.2f} times QEMU's time, {flavour}, exec to init")
    return ratio > 1


if __name__ == "__main__":
    sys.exit(main())
