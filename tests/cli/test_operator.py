#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Operators: QMP and the human monitor over sockets and standard input, with the stub monitor. What tools send, what
they must get; input that is cut, nested, endless or no JSON; several at once; and -daemonize, -pidfile, -S.
  test_operator.py RINGER STUB_MONITOR"""
import array
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from tiny_kernel import make_kernel

RINGER, STUB = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
os.chdir(tempfile.mkdtemp(prefix="ringer-op-"))
env = dict(os.environ, RINGER_VMM=STUB)
failures = 0


def check(name, ok, detail=""):
    global failures
    if not ok:
        failures += 1
        print(f"FAILED {name}: {str(detail)[:500]}")


make_kernel("kernel")
BOOT = [RINGER, "-m", "64M", "-kernel", "kernel", "-display", "none"]


def start(*args, **more):
    return subprocess.Popen([*BOOT, *args], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    for _ in range(200):
        try:
            s.connect(path)
            return s
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nobody listens on {path}")


class Qmp:
    def __init__(self, path, ready=True):
        self.s = connect(path)
        self.f = self.s.makefile("rb")
        self.greeting = self.read()
        self.events = []
        if ready:
            self.ask("qmp_capabilities")

    def read(self):
        line = self.f.readline()
        return json.loads(line) if line else None

    def send(self, data):
        self.s.sendall(data if isinstance(data, bytes) else json.dumps(data).encode())
        while True:
            answer = self.read()
            if answer is None or "event" not in answer:
                return answer
            self.events.append(answer)

    def ask(self, name, /, **arguments):
        return self.send({"execute": name, **({"arguments": arguments} if arguments else {})}).get("return")

    def event(self, name):
        for e in self.events:
            if e["event"] == name:
                self.events.remove(e)
                return e
        while True:
            e = self.read()
            if e is None or e.get("event") == name:
                return e


def states(pid):
    kids = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [open(f"/proc/{k}/stat").read().rsplit(")", 1)[1].split()[0] for k in kids]


def test_qmp():
    p = start("-serial", "null", "-qmp", "unix:q,server=on,wait=off", "-name", "guest=box,debug-threads=on")
    q = Qmp("q", ready=False)
    greeting = q.greeting["QMP"]
    check("greeting", greeting["version"]["qemu"]["major"] == 7 and greeting["capabilities"] == [], greeting)
    check("negotiates first", q.send({"execute": "query-status"})["error"]["class"] == "CommandNotFound")
    check("capabilities", q.ask("qmp_capabilities") == {})
    check("only once", "error" in q.send({"execute": "qmp_capabilities"}))
    check("id", q.send({"execute": "query-version", "id": [1, {"x": None}]})["id"] == [1, {"x": None}])
    check("status", q.ask("query-status") == {"running": True, "singlestep": False, "status": "running"})
    check("stop", q.ask("stop") == {} and q.event("STOP") is not None)
    time.sleep(0.1)
    check("its processor stands still", states(p.pid) == ["T"], states(p.pid))
    check("paused", q.ask("query-status")["status"] == "paused")
    check("stop again", q.ask("stop") == {} and all(e["event"] != "STOP" for e in q.events))
    check("cont", q.ask("cont") == {} and q.event("RESUME") is not None and "T" not in states(p.pid))
    names = {c["name"] for c in q.ask("query-commands")}
    check("commands", {"quit", "stop", "cont", "system_reset", "system_powerdown", "query-version"} <= names)
    for name in sorted(n for n in names if n.startswith("query-")):
        check(name, q.ask(name) is not None or name in ("query-balloon", "query-cpu-model-expansion"))
    check("name", q.ask("query-name") == {"name": "box"})
    check("unknown", q.send({"execute": "no-such", "id": 7}) == {"id": 7, "error": {
        "class": "CommandNotFound", "desc": "The command no-such has not been found"}})
    check("line", "running" in q.ask("human-monitor-command", **{"command-line": "info status"}))
    check("a line that is cut", "unknown" in q.ask("human-monitor-command", **{"command-line": "x" + "é" * 100}))
    check("no line", "error" in q.send({"execute": "human-monitor-command"}))
    for bad in [b'{"execute": }\n', b"hello\n", b"[" * 3000 + b"\n", b'{"a":' * 3000 + b"\n", b'{"execute": 5}', b"{}",
                b'{"execute": null}', b'{"execute": "stop", "arguments": []}', b'{"\xff\xfe": 1}',
                b'{"execute": "stop", "execute": "stop"}', b'{"execute": "' + b"x" * 300000 + b'"}\n',
                b'{"execute": "a\\u0000b"}', b'{"execute": "' + b"y" * 60000 + b'"}',
                ('{"execute": "x' + "é" * 100 + '"}').encode()]:
        answer = q.send(bad)
        check(f"bad {bad[:30]}", set(answer) == {"error"} and len(json.dumps(answer)) < 1000, answer)
    check("still there", q.ask("query-status")["running"])
    q.s.sendall(b'{"execute":"query-na')
    time.sleep(0.05)
    check("in pieces", q.send(b'me"}\r\n {"execute":"query-kvm"}')["return"]["name"] == "box")
    check("two at once", q.read()["return"]["enabled"] is False)
    check("reset", q.ask("system_reset") == {} and q.event("RESET")["data"]["reason"] == "host-qmp-system-reset")
    check("running again", q.ask("query-status")["running"] and len(states(p.pid)) == 1)
    check("button", q.ask("system_powerdown") == {} and any(e["event"] == "POWERDOWN" for e in q.events))
    q.f.close()
    q.s.close()
    q = Qmp("q")
    check("who comes next is greeted", q.greeting["QMP"] is not None)
    check("quit", q.ask("quit") == {} and q.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-qmp-quit"})
    check("ends", p.wait(5) == 0 and not p.stderr.read() and not os.path.exists("q"))


def test_flood():
    """Commands whose answers nobody reads: they wait, and nothing grows."""
    p = start("-serial", "null", "-qmp", "unix:f,server=on,wait=off", "-qmp", "unix:g,server=on,wait=off")
    q, other = Qmp("f"), Qmp("g")
    q.s.settimeout(0.5)
    sent, line = 0, b'{"execute": "query-commands"}\n' * 100
    try:
        while sent < 64 << 20:
            sent += q.s.send(line)
    except OSError:
        pass
    check("it stops reading", sent < 16 << 20, sent)
    check("others are served", other.ask("query-status")["running"])
    rss = int(open(f"/proc/{p.pid}/statm").read().split()[1]) * 4096
    check("nothing grows", rss < 200 << 20, rss)
    other.ask("quit")
    check("ends", p.wait(5) == 0)


def test_human():
    p = start("-serial", "null", "-chardev", "socket,id=m,path=m,server=on,wait=off", "-mon", "chardev=m,mode=readline")
    s = connect("m")

    def say(text):
        got = b""
        s.sendall(text)
        while not got.endswith(b"(qemu) "):
            got += s.recv(4096)
        return got.decode()
    check("prompt", "QEMU" in say(b""))
    check("status", "VM status: running" in say(b"info status\n"))
    check("stop", "Error" not in say(b"stop\r\n") and "VM status: paused" in say(b"info status\n"))
    check("cont", "Error" not in say(b"c\n") and "running" in say(b"info status\n"))
    check("unknown", "unknown command: 'frob'" in say(b"frob 1 2\n"))
    check("info of what", "not built" in say(b"info nothing\n"))
    check("help", "system_powerdown" in say(b"help\n"))
    check("a long line", "unknown" in say(b"x" * 5000 + b"\n"))
    s.sendall(b"system_reset\nsystem_powerdown\nquit\n")
    check("ends", p.wait(5) == 0)


def test_probes():
    """What libvirt and test suites ask before they start, and of a machine that runs; memory into files."""
    open("d.img", "wb").write(bytes(1 << 20))
    p = start("-qmp", "unix:pr,server=on,wait=off", "-drive", "file=d.img,format=raw,if=virtio", "-device", "virtio-rng-pci,id=r0", "-device", "virtio-balloon-pci,id=b0")
    q = Qmp("pr")
    names = [c["name"] for c in q.ask("query-commands")]
    for name in names:
        if name.startswith("query-") or name.startswith("qom-list-types"):
            answer = q.send({"execute": name})
            check(name, "return" in answer or "desc" in answer["error"], answer)
    check("commands", len(names) == len(set(names)) > 50, names)
    check("machines", [m for m in q.ask("query-machines") if m.get("alias") == "q35"])
    check("models", "Skylake-Client" in [m["name"] for m in q.ask("query-cpu-definitions")])
    props = q.ask("query-cpu-model-expansion", type="full", model={"name": "Nehalem"})["model"]["props"]
    check("expansion", props["sse4.2"] and not props["avx2"], props)
    check("types", "virtio-blk-pci" in [t["name"] for t in q.ask("qom-list-types")])
    below = lambda path: [o["name"] for o in q.ask("qom-list", path=path)]
    check("objects", "r0" in below("/machine/peripheral") and "device[0]" in below("/machine/unattached") and "type" in below("/machine/unattached/device[0]"))
    fails = lambda command, /, **args: q.send({"execute": command, "arguments": args}).get("error", {}).get("desc", "")
    balloon = "/machine/peripheral/b0"
    check("properties", {"guest-stats", "guest-stats-polling-interval", "type"} <= set(below(balloon)) and "guest-stats" not in below("r0"))
    check("a balloon", q.ask("qom-get", path=balloon, property="type") == "virtio-balloon-pci")
    check("not asked", q.ask("qom-get", path="b0", property="guest-stats")["stats"]["stat-free-memory"] == -1)
    check("qom-set", q.ask("qom-set", path=balloon, property="guest-stats-polling-interval", value=10) == {} and
          q.ask("qom-get", path=balloon, property="guest-stats-polling-interval") == 10)
    check("the machine", q.ask("qom-get", path="/machine", property="type") == "pc-i440fx-7.2-machine")
    for args, said in ((dict(path=balloon, property="guest-stats-polling-interval", value=-1), "seconds"), (dict(path=balloon, property="type", value="x"), "writable"),
                       (dict(path=balloon, property="type"), "value"), (dict(path="r0", property="guest-stats", value=1), "not found"), (dict(path=balloon), "property"),
                       (dict(path="/machine/unattached/device[1]", property="type"), "not found"), (dict(path="/machine/unattached/device[0]x", property="type"), "not found")):
        check(f"qom-set {args}", said in fails("qom-set", **args), fails("qom-set", **args))
    check("no object", q.send({"execute": "qom-list", "arguments": {"path": "/machine/x"}})["error"]["class"] == "DeviceNotFound")
    inserted = q.ask("query-block")[0]["inserted"]
    check("block", inserted["file"] == "d.img" and inserted["image"]["virtual-size"] == 1 << 20, inserted)
    nodes = q.ask("query-named-block-nodes")
    check("nodes", [n["node-name"] for n in nodes] == [inserted["node-name"]] and nodes[0]["drv"] == "raw", nodes)
    stats = q.ask("query-blockstats")[0]
    check("blockstats", stats["node-name"] == inserted["node-name"] and stats["stats"]["rd_operations"] == 0 and "rd_bytes=0" in
          q.ask("human-monitor-command", **{"command-line": "info blockstats"}), stats)
    check("pci", "r0" in [d["qdev_id"] for d in q.ask("query-pci")[0]["devices"]])
    check("no such type", q.send({"execute": "device-list-properties", "arguments": {"typename": "x"}})["error"]["class"] == "DeviceNotFound")
    hmp = lambda line: q.ask("human-monitor-command", **{"command-line": line})
    check("info block", "d.img (raw)" in hmp("info block"), hmp("info block"))
    check("info", "info pci" in hmp("info") and "1af4:1044" in hmp("info pci"), hmp("info pci"))
    check("info mtree", "ram-below-4g" in hmp("info mtree"))
    check("info qtree", "virtio-blk-pci" in hmp("info qtree") and 'id "r0"' in hmp("info qtree"), hmp("info qtree"))
    check("no paging", hmp("info mem") == hmp("info tlb") == "PG disabled\r\n", hmp("info mem"))
    check("sendkey", hmp("sendkey ctrl-alt-f1") == "" and hmp("sendkey 0x1c 100") == "" and "unknown key" in hmp("sendkey a-frob"))
    keys = [{"type": "qcode", "data": "ctrl"}, {"type": "number", "data": 28}]
    check("send-key", q.ask("send-key", keys=keys) == {})
    for bad in [[], [{"type": "qcode", "data": "frob"}], [{"type": "number", "data": 9999}], [7]]:
        check(f"keys {bad}", "error" in q.send({"execute": "send-key", "arguments": {"keys": bad}}))
    down = {"type": "key", "data": {"down": True, "key": keys[0]}}
    check("input-send-event", q.ask("input-send-event", events=[down]) == {})
    check("migration", q.ask("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}]) == {} and
          "error" in q.send({"execute": "migrate-set-capabilities", "arguments": {"capabilities": [{"capability": "xbzrle", "state": True}]}}))
    check("xp", hmp("xp /4xb 0x100000").startswith("0000000000100000: 0x"), hmp("xp /4xb 0x100000"))
    check("xp out of range", "Cannot" in hmp("xp 0xfffffff0000"), hmp("xp 0xfffffff0000"))
    for bad in ["x /0x 0", "x", "x /4k 0", "pmemsave 0", "pmemsave 0 16", "pmemsave 0 99999999999 big", "memsave x 1 f", "cpu 7", "frob",
                "dump-guest-memory", "dump-guest-memory -z f", "x /99999999999999999999x 0", "print", "info frob"]:
        check(f"bad: {bad}", hmp(bad), "nothing said")
    check("print", hmp("print /x 4660") == "0x1234\r\n", hmp("print /x 4660"))
    check("pmemsave", q.ask("pmemsave", val=0x100000, size=4096, filename="m.bin") == {} and os.path.getsize("m.bin") == 4096)
    check("pmemsave out of range", "error" in q.send({"execute": "pmemsave", "arguments": {"val": 1 << 40, "size": 1, "filename": "n"}}))
    check("memsave", "error" in q.send({"execute": "memsave", "arguments": {"val": 0}}))
    check("nmi", q.ask("inject-nmi") == {})
    check("dump elsewhere", "error" in q.send({"execute": "dump-guest-memory", "arguments": {"paging": False, "protocol": "fd:x"}}))
    q.ask("quit")
    check("after probes", p.wait(10) == 0, p.returncode)


def lives(pid):
    """What a process holds: descriptors, threads."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def test_media():
    """Discs that come and go, and nodes, networks and objects; nothing is left behind of any of them."""
    for name in ("one.iso", "two.iso"):
        open(name, "wb").write(bytes(1 << 16))
    for machine, bus, name in (("pc", "ide.1", "ide1-cd0"), ("q35", "ide.3", "ide3-cd0")):
        p = start("-machine", machine, "-qmp", "unix:me,server=on,wait=off", "-device", f"ide-cd,bus={bus},id=cd",
                  "-netdev", "user,id=first", "-device", "virtio-net-pci,netdev=first,id=card", "-object", "rng-random,id=r", "-device", "virtio-rng-pci,rng=r")
        q = Qmp("me")
        fails = lambda command, /, **args: q.send({"execute": command, "arguments": args}).get("error", {}).get("desc", "")
        hmp = lambda line: q.ask("human-monitor-command", **{"command-line": line})
        tray = lambda: [(d["tray_open"], d.get("inserted", {}).get("file")) for d in q.ask("query-block") if d["qdev"] == "cd"][0]
        check("empty", tray() == (False, None) and "[not inserted]" in hmp("info block"), q.ask("query-block"))
        held = lives(p.pid)
        for i in range(50):
            node = {"driver": "raw", "node-name": "n", "read-only": True, "file": {"driver": "file", "filename": "one.iso"}}
            check("node", q.ask("blockdev-add", **node) == {})
            check("open", q.ask("blockdev-open-tray", id="cd") == {} and q.ask("blockdev-open-tray", id="cd") == {} and tray() == (True, None))
            check("insert", q.ask("blockdev-insert-medium", id="cd", **{"node-name": "n"}) == {})
            check("in use", "in use" in fails("blockdev-del", **{"node-name": "n"}))
            check("full", "already" in fails("blockdev-insert-medium", id="cd", **{"node-name": "n"}))
            check("close", q.ask("blockdev-close-tray", id="cd") == {} and tray() == (False, "one.iso"), tray())
            check("not open", "not open" in fails("blockdev-remove-medium", id="cd"))
            check("change", hmp("change cd two.iso raw") == "" and tray() == (False, "two.iso"), tray())
            check("del", q.ask("blockdev-del", **{"node-name": "n"}) == {} and "find" in fails("blockdev-del", **{"node-name": "n"}))
            check("eject", hmp(f"eject {name}") == "" and tray() == (True, None))
            check("close again", q.ask("blockdev-close-tray", id="cd") == {})
            check("netdev", q.ask("netdev_add", type="user", id="n1") == {} and q.ask("netdev_del", id="n1") == {})
            check("object", q.ask("object-add", **{"qom-type": "rng-random", "id": "r1"}) == {} and q.ask("object-del", id="r1") == {})
        moved = [e for e in q.events if e["event"] == "DEVICE_TRAY_MOVED"]
        check("told of trays", len(moved) >= 50, len(moved))
        check("nothing left", lives(p.pid) == held, (held, lives(p.pid)))
        check("change to nothing", "No such file" in hmp("change cd absent.iso") and tray() == (False, None))
        for name, args in (("blockdev-open-tray", {"id": "card"}), ("blockdev-open-tray", {}), ("eject", {"device": "x"}), ("eject", {"id": 7}),
                           ("blockdev-insert-medium", {"id": "cd", "node-name": "x"}), ("blockdev-insert-medium", {"id": "cd,x", "node-name": "x"}),
                           ("blockdev-change-medium", {"id": "cd", "filename": "/dev/null"}), ("blockdev-change-medium", {"id": "cd", "filename": "x" * 5000}),
                           ("blockdev-del", {"node-name": ""}), ("blockdev-del", {}), ("netdev_del", {"id": "first"}), ("netdev_del", {"id": "x"}),
                           ("netdev_del", {"id": ""}), ("object-del", {"id": "r"}), ("object-del", {"id": "x"}), ("set_link", {"name": "x", "up": True}),
                           ("set_link", {"name": "card", "up": "no"}), ("set_link", {}), ("device_add", {"driver": "isa-debug-exit"}), ("device_add", {}),
                           ("device_add", {"driver": 5}), ("device_add", {"driver": "virtio-blk-device", "drive": "x"}), ("snapshot-save", {}), ("migrate", {"uri": "x"})):
            check(f"refused: {name} {args}", fails(name, **args), "taken")
            check(f"as it was: {name}", lives(p.pid) == held, lives(p.pid))
        for line in ("change", "change cd", "eject", "eject x", "set_link card", "set_link card up", "drive_del", "drive_del x", "netdev_del", "savevm x", "loadvm x"):
            check(f"refused: {line}", hmp(line).startswith("Error: "), hmp(line))
        check("link", hmp("set_link card off") == hmp("set_link first on") == "" and q.ask("set_link", name="card", up=False) == {})
        q.ask("quit")
        check("ends", p.wait(10) == 0, p.returncode)


def test_backing():
    """What is said to be behind an image counts, not what its header names."""
    if not shutil.which("qemu-img"):
        return
    open("base.raw", "wb").write(b"base" * (1 << 18))
    open("later.raw", "wb").write(b"base" * (1 << 18))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "later.raw", "top.qcow2"], check=True)
    os.rename("later.raw", "gone.raw") # the header's is not there
    node = lambda name, driver, below, **more: ["-blockdev", json.dumps({"driver": driver, "node-name": name, "file": below, **more})]
    file = lambda name, path: ["-blockdev", json.dumps({"driver": "file", "filename": path, "node-name": name})]
    files = [*file("f0", "base.raw"), *file("f1", "top.qcow2")]
    disk = ["-device", "virtio-blk-pci,drive=top,id=d"]
    p = start("-qmp", "unix:ba,server=on,wait=off", *files, *node("base", "raw", "f0", **{"read-only": True}), *node("top", "qcow2", "f1", backing="base"), *disk)
    q = Qmp("ba")
    check("backing", q.ask("query-block")[0]["inserted"]["file"] == "top.qcow2")
    check("is in use", "error" in q.send({"execute": "blockdev-del", "arguments": {"node-name": "base"}}))
    q.ask("quit")
    check("ends", p.wait(10) == 0, p.returncode)
    for args, said in (([*files, *node("top", "qcow2", "f1"), *disk], "cannot open"),
                       ([*files, *node("top", "qcow2", "f1", backing="nobody"), *disk], "not there"),
                       ([*files, *node("top", "qcow2", "f1", backing="top"), *disk], "in use"),
                       ([*files, *node("a", "qcow2", "f0", backing="top"), *node("top", "qcow2", "f1", backing="a"), *disk], "leads back"),
                       ([*files, *node("base", "raw", "f0"), *node("top", "raw", "f1", backing="base"), *disk], "no backing")):
        p = subprocess.run([*BOOT, *args], env=env, capture_output=True, text=True, timeout=10)
        check(f"refused: {said}", p.returncode == 1 and said in p.stderr and p.stderr.count("\n") == 1, p)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.raw", "over.qcow2"], check=True)
    over = ["-qmp", "unix:ov,server=on,wait=off", "-drive", "file.file.filename=over.qcow2,file.driver=qcow2,format=raw,if=virtio"]
    with open("base.raw", "rb") as base: # nobody else is to read it: byte 200 of the locks that QEMU takes
        fcntl.fcntl(base, 37, struct.pack("hhxxxxqqixxxx", fcntl.F_RDLCK, os.SEEK_SET, 200, 1, 0)) # F_OFD_SETLK
        p = subprocess.run([*BOOT, *over], env=env, capture_output=True, text=True, timeout=10)
        check("its backing is locked", p.returncode == 1 and "lock" in p.stderr and p.stderr.count("\n") == 1, p)
        over[-1] += ",file.backing.file.locking=off"
        p = start(*over)
        q = Qmp("ov")
        inserted = q.ask("query-block")[0]["inserted"]
        check("a format below", inserted["drv"] == "qcow2" and inserted["image"]["virtual-size"] == 1 << 20, inserted)
        q.ask("quit")
        check("ends", p.wait(10) == 0, p.returncode)
    p = start("-qmp", "unix:nb,server=on,wait=off", *files, *node("top", "qcow2", "f1", backing=None), *disk)
    q = Qmp("nb")
    check("no backing", q.ask("query-block")[0]["inserted"]["file"] == "top.qcow2")
    q.ask("quit")
    check("ends", p.wait(10) == 0, p.returncode)


def test_streams():
    """Ports and serial ports as libvirt looks them up."""
    p = start("-qmp", "unix:st,server=on,wait=off", "-chardev", "pty,id=charserial0", "-device", "isa-serial,chardev=charserial0,id=serial0",
              "-device", "virtio-serial-pci", "-chardev", "socket,path=ga,server=on,wait=off,id=ga", "-device", "virtserialport,chardev=ga,name=x,id=port0")
    q = Qmp("st")
    seen = {c["label"]: (c["filename"], c["frontend-open"]) for c in q.ask("query-chardev")}
    check("pty", os.path.exists(seen["charserial0"][0].removeprefix("pty:")) and seen["charserial0"][0].startswith("pty:/dev/"), seen)
    check("port", seen["ga"] == ("disconnected:unix:ga,server=on", False), seen)
    q.ask("quit")
    check("ends", p.wait(10) == 0, p.returncode)


def test_descriptors():
    """What is sent with a command: a name for it, a dump into it, and nothing left of it."""
    p = start("-serial", "null", "-smp", "2", "-qmp", "unix:fd,server=on,wait=off")
    q = Qmp("fd")
    fails = lambda command, /, **args: q.send({"execute": command, "arguments": args}).get("error", {}).get("desc", "")

    def pass_on(name, *files):
        line = json.dumps({"execute": "getfd", "arguments": {"fdname": name}}).encode()
        q.s.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [f.fileno() for f in files]))])
        return q.read()
    held = lives(p.pid)
    with open("core", "wb") as core, open("/dev/null") as other:
        check("getfd", pass_on("a", other) == {"return": {}} and pass_on("a", core) == {"return": {}})
        check("several", pass_on("b", other, other, core) == {"return": {}} and q.ask("closefd", fdname="b") == {})
        check("none sent", "SCM_RIGHTS" in fails("getfd", fdname="c"))
        check("a digit", "error" in pass_on("9", other) and "error" in pass_on("", other) and "error" in pass_on("x" * 70, other))
        check("many", ["return" in pass_on(f"n{i}", other) for i in range(20)].count(True) == 15)
        check("not to be written", "written" in fails("dump-guest-memory", paging=False, protocol="fd:n0"))
    for i in range(1, 15):
        check("closefd", q.ask("closefd", fdname=f"n{i}") == {} and "not been found" in fails("closefd", fdname=f"n{i}"))
    check("dump", q.ask("query-dump")["status"] == "none" and q.ask("dump-guest-memory", paging=False, protocol="fd:a", detach=True) == {})
    check("is told", q.event("DUMP_COMPLETED")["data"]["result"] == q.ask("query-dump") == {"status": "completed", "completed": 64 << 20, "total": 64 << 20})
    core = open("core", "rb").read()
    phoff, phnum = struct.unpack_from("<Q", core, 32)[0], struct.unpack_from("<H", core, 56)[0]
    loads = [h for h in (struct.unpack_from("<IIQQQQQQ", core, phoff + 56 * i) for i in range(phnum)) if h[0] == 1]
    check("a core", core[:4] == b"\x7fELF" and len(loads) == 1 and loads[0][4:6] == (0, 64 << 20) and len(core) == loads[0][2] + (64 << 20), loads)
    for bad in (dict(protocol="fd:a"), dict(protocol="fd:"), dict(protocol="tcp:x"), dict(paging=True, protocol="file:x"), dict(protocol="file:/nonexistent/x")):
        check(f"{bad}", fails("dump-guest-memory", **{"paging": False, **bad}))
    check("no such", fails("netdev_add", type="tap", id="t", fd="nobody"))
    check("nothing left", lives(p.pid)[0] - held[0] in (0, 1), (held, lives(p.pid))) # the last that was not named
    q.ask("quit")
    check("ends", p.wait(10) == 0, p.returncode)


def test_stdio():
    p = subprocess.run([*BOOT, "-serial", "null", "-qmp", "stdio"], env=env, capture_output=True, timeout=10,
                       input=b'{"execute":"qmp_capabilities"}{"execute":"query-kvm"}{"execute":"quit"}')
    lines = [json.loads(x) for x in p.stdout.split(b"\n") if x.strip()]
    check("standard input", "QMP" in lines[0] and lines[2]["return"]["enabled"] is False and p.returncode == 0, p)
    open("commands", "w").write("info status\nquit\n")
    p = subprocess.run([*BOOT, "-serial", "null", "-monitor", "stdio"], env=env, capture_output=True, timeout=10,
                       stdin=open("commands"))
    check("a file of lines", p.stdout.startswith(b"QEMU") and b"VM status: running" in p.stdout and not p.returncode, p)
    p = subprocess.run([*BOOT, "-serial", "stdio", "-monitor", "stdio"], env=env, capture_output=True, timeout=10)
    check("one standard input", p.returncode == 1 and p.stderr.count(b"\n") == 1, p)


def test_paused():
    p = start("-serial", "null", "-S", "-smp", "1", "-qmp", "unix:s,server=on,wait=off")
    q = Qmp("s")
    check("-S", q.ask("query-status")["status"] == "prelaunch" and states(p.pid) == ["T"], states(p.pid))
    check("reset while paused", q.ask("system_reset") == {} and q.ask("query-status")["running"] is False)
    check("which it stays", states(p.pid) == ["T"], states(p.pid))
    check("cont", q.ask("cont") == {} and q.ask("query-status")["status"] == "running")
    p.send_signal(signal.SIGTERM)
    check("told of a signal", q.event("SHUTDOWN")["data"]["reason"] == "host-signal" and p.wait(5) == 0)


def test_daemonize():
    args = ["-serial", "file:out", "-monitor", "none", "-qmp", "unix:d,server,nowait", "-pidfile", "pid", "-daemonize"]
    p = subprocess.run([*BOOT, *args], env=env, capture_output=True, timeout=10)
    check("daemonize", p.returncode == 0 and not p.stderr, p)
    q, pid = Qmp("d"), int(open("pid").read())
    check("runs on", os.getsid(pid) == pid and os.readlink(f"/proc/{pid}/fd/0") == "/dev/null")
    q.ask("quit")
    for _ in range(100):
        if not os.path.exists("pid"):
            break
        time.sleep(0.02)
    check("leaves nothing", not os.path.exists("pid") and not os.path.exists("d"))
    p = subprocess.run([*BOOT, *args, "-kernel", "/nonexistent"], env=env, capture_output=True, timeout=10)
    check("says why not", p.returncode == 1 and p.stderr.count(b"\n") == 1 and not os.path.exists("pid"), p)
    p = subprocess.run([*BOOT, "-nographic", "-daemonize"], env=env, capture_output=True, timeout=10)
    check("no standard input", p.returncode == 1 and b"standard input" in p.stderr, p)


def test_bad():
    for args, said in [(["-qmp", "nonsense"], "nonsense"), (["-mon", "mode=control"], "chardev"),
                       (["-mon", "chardev=x"], "x"), (["-action", "panic"], "panic"), (["-echr", "99"], "99"),
                       (["-watchdog-action", "inject-nmi"], "inject-nmi"),
                       (["-action", "reboot=explode"], "explode"), (["-monitor", "unix:/nonexistent/x"], "/nonexistent")]:
        p = subprocess.run([*BOOT, "-serial", "null", *args], env=env, capture_output=True, timeout=10, text=True)
        check(f"{args}", p.returncode == 1 and said in p.stderr and p.stderr.count("\n") == 1, p)


for test in [v for k, v in list(globals().items()) if k.startswith("test_")]:
    begin, was = time.time(), failures
    test()
    print(f"{test.__name__}: {'ok' if failures == was else 'FAILED'} ({time.time() - begin:.1f} s)")
sys.exit(1 if failures else 0)
