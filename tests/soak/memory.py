#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Free-page reporting: a guest on tools/guest_disk.sh's Debian compiles some large C files at once, and its caches are
dropped. What it then calls free must be back with the host, by at least 80 %: the host's memory behind guest RAM is
read from the size of its memfd.
It takes 2 minutes alone on a machine, and some more on a busy one.
  memory.py [MEGABYTES [FUNCTIONS]]       RINGER_BUILD: build directory"""
import os
import socket
import subprocess
import sys
import time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
size = int((sys.argv[1:2] or [1024])[0])
functions = int((sys.argv[2:3] or [1500])[0]) # in each of four files
build = os.environ.get("RINGER_BUILD", "build")
source = subprocess.run(["tools/guest_disk.sh", "amd64", "full"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
os.makedirs(f"{build}/memory", exist_ok=True)
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
vm = subprocess.Popen([f"{build}/ringer", "-m", f"{size}M", "-kernel", f"{source}/vmlinuz", "-initrd", f"{source}/initrd.img",
                       "-append", "console=ttyS0 root=/dev/vda rw quiet panic=-1", "-nographic", "-no-reboot", "-drive",
                       f"file={source}/disk.img,format=raw,if=virtio,snapshot=on", "-device",
                       "virtio-balloon-pci,free-page-reporting=on", "-nic", f"user,hostfwd=tcp:127.0.0.1:{port}-:22"],
                      stdin=subprocess.DEVNULL, stdout=open(f"{build}/memory/log", "wb"), stderr=subprocess.STDOUT)


begin = time.time()


def say(what):
    print(f"{time.time() - begin:6.1f} s: {what}", flush=True)


def ssh(command):
    return subprocess.run(["ssh", "-q", "-i", f"{source}/key", "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o",
                           "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "root@127.0.0.1",
                           command], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=1500)


def used():  # MiB of guest RAM that the host has pages for
    for fd in os.listdir(f"/proc/{vm.pid}/fd"):
        path = f"/proc/{vm.pid}/fd/{fd}"
        if os.readlink(path).startswith("/memfd:ringer-ram"):
            return os.stat(path).st_blocks / 2048
    raise OSError("no memfd of guest RAM")


BUILD = f"COUNT={functions}; " + r"""set -e; cd /root; for f in 1 2 3 4; do
{ echo '#include <stdio.h>'; i=0; while [ $i -lt $COUNT ]; do i=$((i + 1))
echo "double f$f"_"$i(double *a, int n) { double s = 0; for (int i = 0; i < n; i++) { a[i] *= $i; s += a[i] * s; } return s; }"; done; } >x$f.c
gcc -O2 -g -c x$f.c & done; wait; ls x?.o >/dev/null; dd if=/dev/vda of=/dev/null bs=1M count=600 status=none"""
try:
    while ssh("true").returncode:
        if vm.poll() is not None:
            sys.exit(f"the guest ended: see {build}/memory/log")
        if time.time() - begin > 300:
            sys.exit(f"no login after 300 s: see {build}/memory/log")
        time.sleep(0.3)
    say("logged in")
    r = ssh(BUILD)
    if r.returncode:
        sys.exit(f"the build failed: {r}")
    most = used()
    say(f"compiled; the host has {most:.0f} MiB in use")
    ssh("rm -f /root/x*; sync; echo 3 >/proc/sys/vm/drop_caches")
    time.sleep(15)
    free = int(ssh("awk '/MemFree/ { print $2 }' /proc/meminfo").stdout) / 1024
    now = used()
    ssh("systemctl poweroff")
    status = vm.wait(timeout=60)
finally:
    vm.kill()
returned = (size - now) / free
print(f"of {size} MiB the host had {most:.0f} in use after the build, {now:.0f} when the guest had {free:.0f} free: "
      f"{100 * returned:.0f} % of that is back")
sys.exit(status or most < size / 2 or returned < 0.8)
