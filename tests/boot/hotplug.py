#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Devices that come and go while Debian's kernel runs: a disk by lines (drive_add, device_add), one by QMP
(blockdev-add, device_add), written and read by the guest; a network card; a balloon that takes memory and gives it back; all let go by device_del, and the first one's
drive and id used again. And the monitor on the console's terminal (Ctrl-a c), the processor's registers, a core dump, a break.
  hotplug.py [q35] [OPTION...]    q35: there, behind root ports; RINGER_BUILD: build directory"""
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
build = os.environ.get("RINGER_BUILD", "build")
limit = float(os.environ.get("BOOT_TIMEOUT", 60))
out = os.path.join(build, "hotplug")
os.makedirs(out, exist_ok=True)
kernel, modules = [subprocess.run([f"tools/guest_{w}.sh", "cloud"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
                   for w in ("kernel", "modules")]
with open(f"{out}/test.sh", "w") as f:
    f.write("""modprobe virtio_pci && modprobe virtio_blk && modprobe virtio_net
echo HAS READY
while read line; do eval "$line"; done
""")
subprocess.run(["tools/guest_initramfs.sh", "-t", f"{out}/test.sh", "-a", modules, "-o", f"{out}/init.gz"], check=True)
for name in "ab":
    with open(f"{out}/{name}.img", "wb") as f:
        f.write(name.encode() * 512)
        f.truncate(8 << 20)
q35 = sys.argv[1:2] == ["q35"]
ports = {"da": "p0", "db": "p1", "dn": "p2", "db0": "p3", "again": "p2"} if q35 else {}
options = [*(["-machine", "q35"] if q35 else []), *(w for p in sorted(set(ports.values())) for w in ("-device", f"pcie-root-port,id={p}")),
           *sys.argv[1 + q35:]]
at = lambda device: {"id": device, **({"bus": ports[device]} if q35 else {})}
g = subprocess.Popen([f"{build}/ringer", "-m", "256M", "-kernel", kernel, "-initrd", f"{out}/init.gz", "-append",
                      "console=ttyS0 quiet panic=-1 sysrq_always_enabled", "-nographic", "-no-reboot", "-qmp",
                      f"unix:{out}/qmp,server=on,wait=off", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
seen, mark, deadline, log = b"", 0, time.time() + limit, open(f"{out}/log", "wb")


def expect(text):
    global seen, mark
    while text not in seen[mark:]:
        if not select.select([g.stdout], [], [], max(0, deadline - time.time()))[0]:
            raise SystemExit(f"FAILED: no {text} in time; {out}/log has the rest")
        data = os.read(g.stdout.fileno(), 65536)
        log.write(data)
        log.flush()
        if not data:
            raise SystemExit(f"FAILED: ended before {text}")
        seen += data
    mark = seen.index(text, mark) + len(text)


def say(text):
    g.stdin.write(text)
    g.stdin.flush()


def sh(command, answer):
    say(command.encode() + b"\n")
    expect(answer)


def ask(name, **arguments):
    q.write(json.dumps({"execute": name, "arguments": arguments}).encode())
    while True:
        answer = json.loads(q.readline())
        if "event" not in answer:
            return answer
        events.append(answer)


def deleted(device):
    while not any(e["event"] == "DEVICE_DELETED" and e["data"].get("device") == device for e in events):
        answer = json.loads(q.readline())
        events.append(answer)
    events.clear()


def wait_for(what, present):
    sh(f"n=0; while {'!' if present else ''} [ -e {what} ] && [ $n -lt 600 ]; do n=$((n+1)); usleep 20000; done; "
       f"[ {'' if present else '!'} -e {what} ] && echo HAS $((40 + 2))", b"HAS 42")


expect(b"HAS READY")
s = socket.socket(socket.AF_UNIX)
s.connect(f"{out}/qmp")
s.settimeout(limit)
q, events = s.makefile("rwb", buffering=0), []
q.readline()
ask("qmp_capabilities")
for what in ["mem", "tlb"]:  # Linux maps all memory at one place
    shown = ask("human-monitor-command", **{"command-line": f"info {what}"})["return"]
    assert "\r\nffff" in shown and ("-rw" in shown or " X" in shown), shown[:300]
say(b"\x01c")
expect(b"(qemu) ")
sh(f"drive_add 0 file={out}/a.img,if=none,format=raw,id=a", b"OK")
add = "device_add virtio-blk-pci,drive=a," + ",".join(f"{k}={v}" for k, v in at("da").items())
sh(add, b"(qemu) ")
sh(add, b"Error: device_add: Duplicate")
sh("device_add isa-serial", b"Error: ")
sh("info registers", b"RIP=")
expect(b"EFER=")
expect(b"(qemu) ")
sh(f"dump-guest-memory {out}/core", b"(qemu) ")
with open(f"{out}/core", "rb") as core:  # its notes' registers lead to the kernel's page tables and handlers
    head = core.read(4096)
    at_notes, at_ram = struct.unpack_from("<Q", head, 64 + 8)[0], struct.unpack_from("<Q", head, 120 + 8)[0]
    regs = struct.unpack_from("<II18Q", head, head.index(b"QEMU\0") + 8)
    tables = struct.unpack_from("<" + "IIIIQ" * 10 + "6Q", head, head.index(b"QEMU\0") + 8 + 8 + 8 * 18)
    cr, idt = tables[-6:-1], tables[-7]
    assert head[at_notes + 12:at_notes + 16] == b"CORE" and regs[:2] == (1, 440), regs
    assert struct.unpack_from("<Q", head, at_notes + 20 + 112 + 8 * 16)[0] == regs[18] and cr[0] >> 31 and idt >> 47, (regs, tables)
    core.seek(at_ram + (cr[3] & ~0xfff) + 8 * 511)
    assert core.read(1)[0] & 1, hex(cr[3])
sh("info pci", b'id "da"')
say(b"\x01c")
wait_for("/dev/vda", True)
sh("head -c 4 /dev/vda; echo HAS", b"aaaaHAS")
assert "return" in ask("blockdev-add", **{"driver": "raw", "node-name": "b", "file": {"driver": "file", "filename": f"{out}/b.img"}})
assert "return" in ask("device_add", driver="virtio-blk-pci", drive="b", **at("db"))
wait_for("/dev/vdb", True)
sh("echo written | dd of=/dev/vdb conv=fsync 2>/dev/null; head -c 4 /dev/vdb; echo HAS", b"writHAS")
assert "return" in ask("netdev_add", type="user", id="n0")
assert "return" in ask("device_add", driver="virtio-net-pci", netdev="n0", **at("dn"))
wait_for("/sys/class/net/eth0", True)
assert ask("balloon", value=200 << 20)["error"]["class"] == "DeviceNotActive"
assert "return" in ask("device_add", driver="virtio-balloon-pci", **at("db0"))
sh("modprobe virtio_balloon; m=$(awk '/MemTotal/ { print $2 }' /proc/meminfo); echo HAS $((m > 180000))", b"HAS 1")
assert "return" in ask("balloon", value=200 << 20)
while ask("query-balloon")["return"]["actual"] != 200 << 20 and time.time() < deadline:
    time.sleep(0.1)
sh("n=$(awk '/MemTotal/ { print $2 }' /proc/meminfo); echo HAS $((m - n))", f"HAS {56 << 10}".encode())
ask("human-monitor-command", **{"command-line": "balloon 256"})
while "actual=256" not in ask("human-monitor-command", **{"command-line": "info balloon"})["return"] and time.time() < deadline:
    time.sleep(0.1)
sh("n=$(awk '/MemTotal/ { print $2 }' /proc/meminfo); echo HAS $((m - n + 42))", b"HAS 42")
assert "return" in ask("qom-set", path="/machine/peripheral/db0", property="guest-stats-polling-interval", value=1)
stats = {"last-update": 0}
for i in range(2):  # it says what it has, and says it again
    before = stats["last-update"]
    while stats["last-update"] <= before and time.time() < deadline:
        time.sleep(0.1)
        stats = ask("qom-get", path="/machine/peripheral/db0", property="guest-stats")["return"]
    assert stats["last-update"] > before, stats
assert 180 << 20 < stats["stats"]["stat-total-memory"] < 256 << 20, stats
assert "error" in ask("device_del", id="none")
for device, node in [("da", "/dev/vda"), ("dn", "/sys/class/net/eth0")]:
    assert "return" in ask("device_del", id=device), device
    deleted(device)
    wait_for(node, False)
assert "return" in ask("device_add", driver="virtio-blk-pci", drive="a", **at("da"))
wait_for("/dev/vda", True)
sh("head -c 4 /dev/vda; echo HAS", b"aaaaHAS")
for i in range(1 if q35 else 26):  # more than there are places: each is free again; a root port's button takes 5 seconds
    assert "return" in ask("netdev_add", type="user", id=f"n{i + 1}"), i
    assert "return" in ask("device_add", driver="virtio-net-pci", netdev=f"n{i + 1}", **at("again")), i
    wait_for("/sys/class/net/eth0", True)
    assert i or "error" in ask("netdev_del", id="n1")
    assert "return" in ask("device_del", id="again"), i
    deleted("again")
    assert "return" in ask("netdev_del", id=f"n{i + 1}"), i
assert "return" in ask("device_del", id="da")
deleted("da")
assert "return" in ask("human-monitor-command", **{"command-line": "drive_del a"})
assert "no such" in str(ask("device_add", driver="virtio-blk-pci", drive="a", **at("da")))
say(b"\x01b")
time.sleep(0.3)
say(b"h")
expect(b"sysrq: HELP")
say(b"\x01x")
assert g.wait(10) == 0
assert open(f"{out}/b.img", "rb").read(8) == b"written\n"
head = subprocess.run(["readelf", "-hl", f"{out}/core"], stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT).stdout
assert "CORE" in head and "0x0000000010000000" in head and os.path.getsize(f"{out}/core") > 256 << 20, head
os.unlink(f"{out}/core")
print("hotplug: passed")
