#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each command line of peers.txt, with the stub monitor: it is taken, nothing but warnings is said, and the machine ends
with status 0 when it is told to by QMP. And that a machine with these names is what others' probes expect.
  test_peers.py RINGER STUB_MONITOR PEERS"""
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time

from tiny_kernel import make_kernel

RINGER, STUB, peers = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), open(sys.argv[3]).read()
os.chdir(tempfile.mkdtemp(prefix="ringer-peers-"))
env = dict(os.environ, RINGER_VMM=STUB)
failed = 0


def end(path, process):
    s = socket.socket(socket.AF_UNIX)
    for _ in range(250):
        try:
            s.connect(path)
            break
        except OSError:
            if process.poll() not in (None, 0):  # 0: -daemonize
                return "did not start"
            time.sleep(0.02)
    f = s.makefile("rwb", buffering=0)
    f.readline()
    f.write(b'{"execute": "qmp_capabilities"}{"execute": "quit"}')
    return "" if b"return" in f.readline() and b"return" in f.readline() else "no QMP"


def free_port(match):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"{match[1]}{s.getsockname()[1]}"


make_kernel("kernel")
os.mkdir("share")
for name, size in [("disk.img", 8 << 20), ("seed.iso", 1 << 20)]:
    with open(name, "wb") as f:
        f.truncate(size)
have_qcow2 = subprocess.run("qemu-img create -q -f qcow2 d.qcow2 16M && qemu-img create -q -f qcow2 -F raw -b disk.img over.qcow2", shell=True, stderr=subprocess.DEVNULL).returncode == 0
for line in peers.split("\n"):
    if not line or line.startswith("#"):
        continue
    name, options = line.split(": ", 1)
    options = re.sub(r"(hostfwd=tcp:[0-9.]*:|port=)[0-9]+", free_port, options)
    if "qcow2" in options and not have_qcow2:
        continue
    begin = time.time()
    p = subprocess.Popen([RINGER, *shlex.split(options), "-qmp", f"unix:{name}.end,server=on,wait=off"], env=env,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    why = end(f"{name}.end", p)
    try:
        said = p.communicate(timeout=10)[1].decode()
    except subprocess.TimeoutExpired:
        p.kill()
        why, said = "does not end", ""
    bad = [x for x in said.split("\n") if x and "warning" not in x]
    ok = not why and p.returncode == 0 and not bad
    failed += not ok
    print(f"{name}: {'ok' if ok else 'FAILED'} {why} {' '.join(bad)} ({time.time() - begin:.1f} s)")
# libguestfs asks so whether there is KVM.
p = subprocess.run([RINGER, "-display", "none", "-machine", "none,accel=kvm:hvf:tcg", "-qmp", "stdio"], env=env, timeout=10,
                   input=b'{"execute": "qmp_capabilities"}\n{"execute": "query-kvm"}\n{"execute": "quit"}\n', capture_output=True)
answers = [json.loads(x) for x in p.stdout.split(b"\n") if x.strip()]
if p.returncode or {"return": {"enabled": False, "present": False}} not in answers:
    failed += 1
    print(f"FAILED: probe for KVM: {p}")
sys.exit(1 if failed else 0)
