#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every -d item, -perfmap, --stats=json and the crash report, on a guest of a few instructions.
   test_trace.py RINGER"""
import glob
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time

RINGER = os.path.abspath(sys.argv[1])
os.chdir(tempfile.mkdtemp(prefix="ringer-trace-"))
ENTRY = 0x100000
CODE = bytes.fromhex("b878563412" "8b0d00002000" "b00f" "e670" "66ba3303" "ee" "0f20d8" "0f22d8" "0f01380f0b")
#       mov eax,0x12345678; mov ecx,[0x200000]; mov al,15; out 0x70,al; mov dx,0x333; out dx,al; mov eax,cr3;
#       mov cr3,eax; invlpg [eax]; ud2: no IDT, a triple fault
LOOP = bytes.fromhex("31c0" "40" "ebfd")
failures = 0


def check(name, ok, detail=""):
    global failures
    failures += not ok
    print(f"{'ok' if ok else 'FAILED'} {name} {'' if ok else detail}")


def make_kernel(path, code):
    note = struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", ENTRY)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, ENTRY, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    header += struct.pack("<IIQQQQQQ", 1, 5, 0x1000, ENTRY, ENTRY, len(code), len(code), 0x1000)
    header += struct.pack("<IIQQQQQQ", 4, 4, 0x200, 0, 0, len(note), len(note), 4)
    image = bytearray(0x1000) + code
    image[0:len(header)] = header
    image[0x200:0x200 + len(note)] = note
    open(path, "wb").write(image)


ARGS = [RINGER, "-m", "64M", "-nographic", "-no-reboot", "-kernel"]


def run(*options):
    return subprocess.run(ARGS + ["kernel", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)


make_kernel("kernel", CODE)
make_kernel("loop", LOOP)
for item, pattern in {
        "tu": r"0000000000100000  mov \$0x12345678, %eax +\| 4110\w+  mov \$0x12345678, %eax",
        "in_asm": r"unit 0000000000100000 physical 100000 32-bit kernel",
        "exit": r"exit: system at 10000d from unit 100000",
        "fault": r"fault: #UD error 0 at 0010:000000000010001d cpl 0",
        "int": r"int: v=06 e=0000 i=0 cpl=0 IP=0010:000000000010001d",
        "mmu": r"mmu: read of 200000 to 200000",
        "dev": r"dev: \w+ port write 70 size 1 value f",
        "unimp": r"unimp: port write 333 size 1 value f at \w+: no device",
        "reset": r"reset: triple fault\n  vcpu 0: rip 000000000010001d",
        "irq": None, "guest_errors": None, "cpu_reset": r"reset: the processor starts with\n  vcpu 0: rip 0000000000100000"}.items():
    r = run("-d", item, "-D", "log")
    text = open("log").read()
    check("-d " + item, r.returncode == 0 and (pattern is None or re.search(pattern, text)), text[-2000:] + r.stderr)
check("-d to stderr", "fault: #UD" in run("-d", "fault").stderr)
check("-d help", "guest_errors" in run("-d", "help").stdout)
run("--stats=json:stats.json")
stats = json.load(open("stats.json"))
check("--stats=json", stats["tu_translated"] > 1 and stats["faults"] > 0, stats)

run("--selfcheck=1", "--stats=json:stats.json")
check("--selfcheck", json.load(open("stats.json"))["selfchecks"] > 0)

p = subprocess.Popen(ARGS + ["loop", "-perfmap"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
for _ in range(100):
    time.sleep(0.05)
    children = open(f"/proc/{p.pid}/task/{p.pid}/children").read().split()
    if children and os.path.exists(perfmap := f"/tmp/perf-{children[0]}.map") and os.path.getsize(perfmap):
        break
symbols = open(perfmap).read()
os.unlink(perfmap)
check("-perfmap", "kernel_100000" in symbols and all(re.match(r"[0-9a-f]+ [0-9a-f]+ \S+$", s) for s in symbols.splitlines()), symbols)
os.kill(int(children[0]), signal.SIGSEGV)
report = p.communicate(timeout=10)[1]
check("crash report", p.returncode == 1 and "host exception" in report and "vcpu 0: rip" in report and "last exits" in report
      and re.search(r"0000000000100002  inc %eax", report), report)
sys.exit(1 if failures else 0)
