#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Debian system with a compiler and an SSH server from its own disk: boots to the login prompt, is logged into by ssh
through hostfwd, compiles and runs a C program, runs Python, SQLite and OpenSSL, and powers off, which ends the VMM with
status 0. With -q as often under QEMU TCG, alternating; prints the medians of the times to the login prompt. -l: no more
than these times; machines are ended at the prompt.
A machine is ended after -t seconds (300), without those for which the host let it wait for a processor.
  debian.py [-l] [-n BOOTS] [-q QEMU-BOOTS] [-f FLAVOUR] [-t SECONDS] [ringer options...]      RINGER_BUILD: build directory"""
import argparse
import glob
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
p = argparse.ArgumentParser()
p.add_argument("-n", type=int, default=20)
p.add_argument("-q", type=int, default=0)
p.add_argument("-l", action="store_true")
p.add_argument("-f", default="amd64")
p.add_argument("-t", type=float, default=300)
args, options = p.parse_known_args()
build = os.environ.get("RINGER_BUILD", "build")
source = subprocess.run(["tools/guest_disk.sh", args.f, "full"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
os.makedirs(f"{build}/debian", exist_ok=True)
os.chmod(f"{source}/key", 0o600)
COMMANDS = {
    "ringer": [f"{build}/ringer", *options],
    "qemu": ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"],
}
WORK = r"""set -e; cd /tmp; printf '#include <stdio.h>\nint main(void) { return printf("%%d\\n", 6 * 7) != 3; }\n' >x.c
gcc -O2 -o x x.c && ./x && python3 -c 'print(40 + 2)' && sqlite3 x.db 'create table t(a); insert into t values(42); select a from t'
openssl dgst -sha256 </dev/null | cut -c 1-80; systemctl is-system-running --wait; systemd-analyze | head -1; sync
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def waited(pid):
    """Seconds for which the host kept the process and its descendants waiting for a processor."""
    total = 0
    for task in glob.glob(f"/proc/{pid}/task/*"):
        try:
            with open(f"{task}/schedstat") as f:
                total += int(f.read().split()[1]) / 1e9
            with open(f"{task}/children") as f:
                total += sum(map(waited, f.read().split()))
        except OSError:
            pass  # it has ended
    return total


def end_late(vm, start):
    most = 0  # of those that have ended nothing is known any more
    while vm.poll() is None:
        most = max(most, waited(vm.pid))
        if time.monotonic() - start - most > args.t:
            vm.kill()
        time.sleep(0.5)


def ssh(port, command):
    return subprocess.run(["ssh", "-q", "-i", f"{source}/key", "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o",
                           "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20",
                           "root@127.0.0.1", command], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def boot(name, n):
    port, log, seen, login = free_port(), open(f"{build}/debian/{name}-{n}.log", "wb"), b"", 0
    start = time.monotonic()
    vm = subprocess.Popen([*COMMANDS[name], "-m", "1G", "-kernel", f"{source}/vmlinuz", "-initrd", f"{source}/initrd.img",
                           "-append", "console=ttyS0 root=/dev/vda rw quiet panic=-1", "-nographic", "-no-reboot",
                           "-drive", f"file={source}/disk.img,format=raw,if=virtio,snapshot=on",
                           "-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{port}-:22"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    threading.Thread(target=end_late, args=(vm, start)).start()
    said = []

    def session():
        r = None
        while vm.poll() is None:  # the server may not be up yet
            r = ssh(port, WORK)
            if r.returncode != 255:
                break
            time.sleep(0.2)
        said.append(r)
        ssh(port, "systemctl poweroff")

    worker = threading.Thread(target=session)
    while data := os.read(vm.stdout.fileno(), 65536):
        log.write(data)
        log.flush()
        seen += data
        if not login and b"login: " in seen:
            login = time.monotonic() - start
            if args.l:
                vm.terminate()
                break
            worker.start()
    status = vm.wait()
    if args.l and login:
        return "", login
    if not login:
        return f"status {status}, no login prompt", 0
    worker.join()
    out = said[0].stdout if said and said[0] else ""
    if status or out.count("42\n") != 3 or "e3b0c44298fc1c14" not in out:
        return f"status {status}, the session: {said}", login
    log.write(out.encode())
    return "", login


times, failed = {name: [] for name in COMMANDS}, 0
for i in range(1, max(args.n, args.q) + 1):
    for name, boots in [("ringer", args.n), ("qemu", args.q)]:
        if i > boots:
            continue
        why, login = boot(name, i)
        print(f"{name} boot {i}: {why or 'ok'}, login after {login:.1f} s", flush=True)
        failed += bool(why) and name == "ringer"
        times[name].append(login)
for name, row in times.items():
    if row:
        print(f"{name}: median {statistics.median(row):.1f} s to the login prompt, {len(row)} boots")
if times["qemu"]:
    print(f"ringer takes {statistics.median(times['ringer']) / statistics.median(times['qemu']):.2f} of QEMU's time")
sys.exit(bool(failed))
