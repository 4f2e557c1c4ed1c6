#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Wrong input for operators: every command of QMP with arguments of every shape, human lines, and streams of mutated
bytes, to one machine that must answer each whole command once, live, and end with status 0 when told to; never a signal
or a sanitizer's report.
  fuzz_qmp.py RINGER STUB_MONITOR [CASES [SEED]]      with a build of MODE=asan above all"""
import array
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time

from tiny_kernel import make_kernel

RINGER, STUB = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
cases, seed = int((sys.argv[3:4] or [2000])[0]), int((sys.argv[4:5] or [1])[0])
os.chdir(tempfile.mkdtemp(prefix="ringer-fuzz-"))
make_kernel("kernel")
open("disk.img", "wb").truncate(1 << 20)
env = dict(os.environ, RINGER_VMM=STUB, ASAN_OPTIONS="exitcode=99", UBSAN_OPTIONS="halt_on_error=1")
rng = random.Random(seed)
p = subprocess.Popen([RINGER, "-m", "64M", "-smp", "2", "-kernel", "kernel", "-display", "none", "-serial", "null", "-qmp", "unix:q,server=on,wait=off",
                      "-drive", "file=disk.img,format=raw,if=none,id=d", "-device", "virtio-blk-pci,drive=d,id=disk", "-device", "ide-cd,bus=ide.1,id=cd",
                      "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,id=card", "-device", "virtio-balloon-pci,id=b",
                      "-device", "virtio-scsi-pci,id=scsi"], env=env, stderr=open("said", "w"))
TEXTS = ["", "x", "cd", "disk", "card", "n", "b", "d", "%s%n%d", "é" * 99, "a" * 70, "a" * 700, "a" * 9000, ",", "=,=", "../../x", "/", "/dev/null", "fd:x", "fd:",
         "file:/nonexistent/x", "file:", "disk.img", "/machine/peripheral/b", "/machine/unattached/device[0]", "/machine/unattached/device[999999999999]",
         "guest-stats", "guest-stats-polling-interval", "raw", "qcow2", "full", "user", "tap", "virtio-blk-pci", "rng-random", "on", "-1", "0x1c", "ret", "elf"]
KEYS = ["id", "device", "name", "node-name", "driver", "drive", "filename", "file", "format", "protocol", "paging", "detach", "path", "property", "value", "val", "size",
        "keys", "events", "type", "data", "key", "down", "up", "fdname", "fd", "command-line", "typename", "model", "capabilities", "force", "qom-type", "netdev", "hostfwd", "mac", "addr"]
LINES = ["info", "x", "xp", "print", "sendkey", "device_add", "drive_add", "change", "eject", "set_link", "pmemsave", "memsave", "balloon", "cpu", "dump-guest-memory", "screendump",
         "object_add", "netdev_add", "drive_del", "i", "/", "help"]
SKIP = {"quit", "qmp_capabilities", "system_reset", "stop", "system_powerdown"}


def value(depth=0):
    kind = rng.randrange(10 if depth < 4 else 7)
    if kind < 4:
        return rng.choice(TEXTS)
    if kind == 4:
        return rng.choice([0, 1, -1, 4096, 1 << 20, 1 << 31, 1 << 32, (1 << 63) - 1, -(1 << 63), 28])
    if kind < 7:
        return rng.choice([True, False, None, 1.5, -0.0])
    if kind == 7:
        return [value(depth + 1) for _ in range(rng.randrange(4))]
    return arguments(depth + 1)


def arguments(depth=0):
    return {rng.choice(KEYS): value(depth) for _ in range(rng.randrange(5))}


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    for _ in range(400):
        try:
            s.connect("q")
            break
        except OSError:
            time.sleep(0.02)
    f = s.makefile("rb")
    f.readline()
    s.sendall(b'{"execute": "qmp_capabilities"}\n')
    f.readline()
    return s, f


def answer(s, f, what, n):
    s.sendall(what)
    while True:
        line = f.readline()
        if not line:
            raise EOFError
        if json.loads(line).get("id") == n:
            return json.loads(line)


def fail(why):
    print(f"FAILED case {n}, seed {seed}: {why}; {os.getcwd()}/said:\n{open('said').read()[-3000:]}")
    p.kill()
    sys.exit(1)


n, s, f, refused = 0, None, None, 0
try:
    s, f = connect()
    names = [c["name"] for c in answer(s, f, b'{"execute": "query-commands", "id": 0}', 0)["return"] if c["name"] not in SKIP]
    for n in range(1, cases + 1):
        name = rng.choice(names)
        args = {"command-line": f"{rng.choice(LINES)} {rng.choice(TEXTS)} {rng.choice(TEXTS)}"} if name == "human-monitor-command" else arguments()
        text = json.dumps({"execute": name, "arguments": args, "id": n}).encode()
        if len(text) > 60000:  # more is refused without its id
            continue
        kind = rng.randrange(10)
        if kind == 0:  # bytes that are not what they were, on a connection of their own
            broken = bytearray(text * 3)
            for _ in range(rng.randrange(1, 9)):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            if b"quit" not in broken:
                s.sendall(broken)
            f.close()
            s.close()
            s, f = connect()
        elif kind == 1:
            s.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1] * rng.randrange(1, 20)))])
            refused += "error" in answer(s, f, b"", n)
        else:
            refused += "error" in answer(s, f, text, n)
    s.sendall(b'{"execute": "quit"}')
    if p.wait(20):
        fail(f"status {p.returncode}")
except (OSError, EOFError, ValueError, subprocess.TimeoutExpired) as e:
    time.sleep(1)
    fail(f"{type(e).__name__} {e}, status {p.poll()}")
print(f"{cases} cases, {refused} refused: ok")
