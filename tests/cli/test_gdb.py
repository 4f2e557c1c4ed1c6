#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The GDB stub with the real monitor, spoken to in its own protocol: stop at the entry, registers, memory, steps,
breakpoints, interrupt, detach.   test_gdb.py RINGER"""
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time

RINGER = os.path.abspath(sys.argv[1])
os.chdir(tempfile.mkdtemp(prefix="ringer-gdb-"))
ENTRY = 0x100000
CODE = bytes.fromhex("b878563412" "bb01000000" "01d8" "90" "43" "ebfd" "f4")
#       100000 mov eax,0x12345678; 5 mov ebx,1; a add eax,ebx; c nop; d: inc ebx; e jmp d; 10 hlt
failures = 0


def check(name, ok, detail=""):
    global failures
    failures += not ok
    print(f"{'ok' if ok else 'FAILED'} {name} {'' if ok else detail}")


def make_kernel(path):
    note = struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", ENTRY)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, ENTRY, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    header += struct.pack("<IIQQQQQQ", 1, 5, 0x1000, ENTRY, ENTRY, len(CODE), len(CODE), 0x1000)
    header += struct.pack("<IIQQQQQQ", 4, 4, 0x200, 0, 0, len(note), len(note), 4)
    image = bytearray(0x1000) + CODE
    image[0:len(header)] = header
    image[0x200:0x200 + len(note)] = note
    open(path, "wb").write(image)


class Gdb:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(10)
        for _ in range(100):
            try:
                self.s.connect(path)
                break
            except OSError:
                time.sleep(0.05)
        self.buffer = b""

    def send(self, text):
        self.s.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) & 0xff))

    def receive(self):
        while True:
            start, end = self.buffer.find(b"$"), self.buffer.find(b"#")
            if 0 <= start < end and len(self.buffer) >= end + 3:
                packet, self.buffer = self.buffer[start + 1:end], self.buffer[end + 3:]
                try:
                    self.s.sendall(b"+")
                except OSError:
                    pass  # closed by a detach
                return packet.decode()
            more = self.s.recv(4096)
            if not more:
                return ""
            self.buffer += more

    def ask(self, text):
        self.send(text)
        return self.receive()

    def reg(self, n):
        return int.from_bytes(bytes.fromhex(self.ask(f"p{n:x}")), "little")


make_kernel("kernel")
ringer = subprocess.Popen([RINGER, "-m", "64M", "-kernel", "kernel", "-nographic", "-no-reboot", "-S", "-gdb", "unix:gdb"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
try:
    g = Gdb("gdb")
    RAX, RBX, RIP = 0, 1, 16
    check("supported", "swbreak+" in g.ask("qSupported:swbreak+"))
    check("stopped at the entry", g.ask("?").startswith("T05") and g.reg(RIP) == ENTRY, hex(g.reg(RIP)))
    xml = g.ask("qXfer:features:read:target.xml:0,fff")
    while xml[0] == "m":
        xml = "l" + xml[1:] + (rest := g.ask(f"qXfer:features:read:target.xml:{len(xml) - 1:x},fff"))[1:]
        xml = rest[0] + xml[1:]
    check("target description", xml[1:6] == "<?xml" and xml.endswith("</target>"), xml[-40:])
    check("read memory", bytes.fromhex(g.ask(f"m{ENTRY:x},{len(CODE):x}")) == CODE)
    check("unmapped memory", g.ask("mfffff00000,4").startswith("E"))
    check("step", g.ask("s").startswith("T05") and g.reg(RIP) == ENTRY + 5 and g.reg(RAX) == 0x12345678, hex(g.reg(RIP)))
    check("set a register", g.ask("P0=" + (0x1000).to_bytes(8, "little").hex()) == "OK" and g.reg(RAX) == 0x1000)
    check("breakpoint set", g.ask(f"Z0,{ENTRY + 0xc:x},1") == "OK")
    check("breakpoint hit", "swbreak" in g.ask("c") and g.reg(RIP) == ENTRY + 0xc and g.reg(RAX) == 0x1001, hex(g.reg(RIP)))
    check("step over it", g.ask("s").startswith("T05") and g.reg(RIP) == ENTRY + 0xd, hex(g.reg(RIP)))
    check("in a loop", g.ask(f"Z0,{ENTRY + 0xd:x},1") == "OK" and all(
        "swbreak" in g.ask("c") and g.reg(RBX) == 2 + i for i in range(3)), g.reg(RBX))
    check("breakpoint removed", g.ask(f"z0,{ENTRY + 0xd:x},1") == "OK")
    g.send("c")
    time.sleep(0.3)
    g.s.sendall(b"\x03")
    check("interrupt", g.receive().startswith("T02") and g.reg(RBX) > 1000, g.reg(RBX))
    check("all registers", len(g.ask("g")) > 400)
    check("patched code runs", g.ask(f"M{ENTRY + 0xd:x},3:90ebfd") == "OK")
    before = g.reg(RBX)
    g.send("c")
    time.sleep(0.1)
    g.s.sendall(b"\x03")
    g.receive()
    check("without its increment", before <= g.reg(RBX) <= before + 1, (before, g.reg(RBX)))
    def write(at, code):
        return g.ask(f"M{at:x},{len(code):x}:{code.hex()}") == "OK"
    # 200000: mov [0x300010],ebx; 6: inc ebx; 7: mov eax,[0x300010]; c: mov edi,0x300000; mov ecx,16; 16: rep stosd; jmp .
    check("more code", g.ask("P10=" + (0x200000).to_bytes(8, "little").hex()) == "OK" and write(0x200000, bytes.fromhex("891d10003000" "43" "a110003000" "bf00003000" "b910000000" "f3ab" "ebfe")))
    check("watch writes", g.ask("Z2,300010,4") == "OK" and g.ask("c").startswith("T05watch:300010;") and g.reg(RIP) == 0x200006)
    check("not reads", g.ask("c").startswith("T05watch:300010;") and g.reg(RIP) == 0x200016, hex(g.reg(RIP)))
    check("watch removed", g.ask("z2,300010,4") == "OK" and g.ask("Z3,300010,4") == "OK" and
          g.ask("P10=" + (0x200000).to_bytes(8, "little").hex()) == "OK")
    check("watch reads", g.ask("c").startswith("T05rwatch:300010;") and g.reg(RIP) == 0x20000c, hex(g.reg(RIP)))
    check("watch both", g.ask("Z4,300020,1") == "OK" and g.ask("c").startswith("T05awatch:300020;"))
    check("unwatched", g.ask("z3,300010,4") == "OK" and g.ask("z4,300020,1") == "OK")
    g.s.sendall(b"$X300000,3:}\x03a}]#" + b"%02x" % (sum(b"X300000,3:}\x03a}]") & 0xff))
    check("binary write", g.receive() == "OK" and g.ask("m300000,3") == "23617d", g.ask("m300000,3"))
    monitor = bytes.fromhex(g.ask("qRcmd," + b"info registers".hex())).decode()
    check("monitor", "RIP=" in monitor and "CR0=" in monitor, monitor)
    g.send("D")
    check("detach", g.receive() == "OK")
    g.s.close()
    g = Gdb("gdb")
    check("attach again", g.ask("?").startswith("T05"))
    g.send("k")
    check("kill", ringer.wait(10) == 0 and not os.path.exists("gdb"))
finally:
    ringer.kill()
    out, err = ringer.communicate()
    if err:
        print(err.decode())
sys.exit(1 if failures else 0)
