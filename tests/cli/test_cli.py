#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command line and the app's side of a run, from outside: what each option answers, what bad input is told, and -
with the stub monitor, which obeys letters typed on the serial port - every way in which a machine can end.
  test_cli.py RINGER STUB_MONITOR"""
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time

from tiny_kernel import make_kernel

RINGER, STUB = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
os.chdir(tempfile.mkdtemp(prefix="ringer-cli-"))
failures = 0


def check(name, ok, detail=""):
    global failures
    if not ok:
        failures += 1
        print(f"FAILED {name}: {detail}")


def run(*args, data=b"", monitor=STUB, timeout=8):
    env = dict(os.environ, RINGER_VMM=monitor)
    try:
        p = subprocess.run([RINGER, *args], input=data, capture_output=True, timeout=timeout, env=env)
    except subprocess.TimeoutExpired as hung:
        return None, (hung.stdout or b"").decode(errors="replace"), "hung"
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


make_kernel("kernel")
open("empty", "wb").close()
open("text", "w").write("this is not a kernel\n" * 100)
open("bad.cfg", "w").write('[device "x"]\n  driver = "virtio-rng-pci"\n  frob = "1"\n')
open("good.cfg", "w").write('''# as QEMU's -writeconfig wrote them
[machine]
  type = "pc"
  accel = "tcg"
[device "r"]
  driver = "virtio-rng-pci"
  addr = "0x7"
[chardev "c"]
  backend = "file"
  path = "of,config"
[smbios]
  type = "1"
  serial = "s"
''')
BOOT = ["-m", "64M", "-kernel", "kernel"]
SERIAL = ["-device", "virtio-serial-pci"]
PORT = ["-chardev", "null,id=c", "-device", "virtserialport,chardev=c"]
CONSOLE = BOOT + ["-nographic", "-no-reboot"]


def test_answers():
    """Probes that scripts make: status 0, the answer on standard output, nothing on standard error."""
    for args, expected in [
        (["-version"], "QEMU emulator version 7.2.0 (ringer "),
        (["--version"], "QEMU emulator version "),
        (["-help"], "-kernel FILE"), (["-h"], "QEMU"), (["--help"], "--stats"),
        (["-accel", "help"], "tcg\n"), (["-M", "none", "-accel", "help"], "tcg\n"),
        (["-machine", "help"], "pc-i440fx"), (["-M", "?"], "pc "),
        (["-cpu", "help"], "host"), (["-cpu", "?"], "max"),
        (["-device", "help"], '"isa-debug-exit"'), (["-device", "?"], '"isa-debug-exit"'),
        (["-d", "help"], "guest_errors"), (["-d", "?"], "mmu"), (["--stress=help"], "nochain"),
        (["-display", "help"], "none"), (["-M", "none", "-netdev", "help"], "netdev"),
    ]:
        status, out, err = run(*args)
        check(f"{args}", status == 0 and expected in out and not err, (status, out[:200], err))
    check("first line of -h", " version 7.2" in run("-h")[1].split("\n")[0])


taken = socket.socket()
taken.bind(("127.0.0.1", 0))
taken.listen()
TAKEN = taken.getsockname()[1]


def test_bad_input():
    """One line that begins with "ringer: ", names the thing, and status 1."""
    for args, named in [
        ([], "-kernel"), (["-bogus"], "-bogus"), (["--bogus", "x"], "--bogus"), (["-drive", "file=x"], "x:"),
        (["disk.img"], "disk.img"), (["-m"], "-m"), (["-kernel"], "-kernel"),
        (BOOT + ["-m", "0"], "-m"), (BOOT + ["-m", "1M"], "1M"), (BOOT + ["-m", "100T"], "100T"),
        (BOOT + ["-m", "99999999999999999999"], "-m"), (BOOT + ["-m", "-5"], "-5"), (BOOT + ["-m", "1X"], "1X"),
        (BOOT + ["-m", "fast=1"], "fast"), (BOOT + ["-m", "17179869184G"], "17179869184G"),
        (["-m", "64M", "-kernel", "missing"], "missing"), (["-m", "64M", "-kernel", "empty"], "empty"),
        (["-m", "64M", "-kernel", "text"], "text"), (["-m", "64M", "-kernel", "/"], "/"),
        (BOOT + ["-initrd", "missing"], "missing"),
        (BOOT + ["-device", "e1000,mac=1"], "mac=1"), (BOOT + ["-device", "e1000,bus=rp1"], "bus=rp1"), (BOOT + ["-device", "isa-debug-exit,foo=1"], "foo"),
        (BOOT + ["-device", "isa-debug-exit,iobase=x"], "iobase"),
        (BOOT + ["-device", "isa-debug-exit,iobase=0xffff,iosize=4"], "iobase"),
        (BOOT + ["-device", "isa-debug-exit,iobase=0x70"], "isa-debug-exit"),
        (BOOT + ["-machine", "q36"], "q36"), (BOOT + ["-M", "pc,frob=1"], "frob"), (BOOT + ["-M", "pc,hpet=2"], "hpet"), (BOOT + ["-M", "microvm,hpet=on"], "hpet"),
        (BOOT + ["-accel", "kvm"], "kvm"), (BOOT + ["-accel", "warp"], "warp"), (BOOT + ["-machine", "accel=kvm"], "kvm"),
        (BOOT + ["-accel", "tcg,frob=1"], "frob"), (BOOT + ["-accel", "tcg,tb-size=0"], "tb-size"),
        (BOOT + ["-cpu", "i486dx9"], "i486dx9"), (BOOT + ["-cpu", "max,+frobnicate"], "frobnicate"),
        (BOOT + ["-cpu", "max,+vmx"], "vmx"),
        (BOOT + ["-smp", "17"], "-smp"), (BOOT + ["-smp", "0"], "-smp"), (BOOT + ["-smp", "cpus=x"], "x"),
        (BOOT + ["-smp", "4,sockets=3"], "topology"), (BOOT + ["-smp", "4,maxcpus=2"], "maxcpus"),
        (BOOT + ["-numa", "node,cpus=0-3"], "processors"), (BOOT + ["-numa", "node,memdev=m"], "'m'"),
        (BOOT + ["-numa", "node,mem=32M"], "32 MiB"), (BOOT + ["-numa", "dist,src=0,dst=0,val=20"], "distance"),
        (BOOT + ["-object", "rng-egd,id=r"], "rng-egd"), (BOOT + ["-object", "memory-backend-ram,id=a,size=1M"], "'a'"),
        (BOOT + ["-cpu", "host,pmu=on", "-deterministic"], "pmu"), (BOOT + ["-device", "pci-testdev,foo=1"], "foo"),
        (BOOT + ["-serial", "telnet:x"], "telnet"), (BOOT + ["-serial", "stdio", "-serial", "mon:stdio"], "-serial"),
        (BOOT + ["-serial", "file:/nonexistent/f"], "/nonexistent/f"), (BOOT + ["-D", "/nonexistent/f"], "/nonexistent/f"),
        (BOOT + ["-d", "frob"], "frob"), (BOOT + ["--stress=frob"], "frob"), (BOOT + ["--selfcheck=x"], "--selfcheck"),
        (BOOT + ["--stats=xml"], "xml"), (BOOT + ["-rtc", "base=frob"], "base=frob"),
        (BOOT + ["-rtc", "clock=x"], "clock=x"), (BOOT + ["-rtc", "base=2024-02-29T1"], "2024"), (BOOT + ["-msg", "x=on"], "x"),
        (BOOT + ["-overcommit", "cpu-pm=on"], "cpu-pm"), (BOOT + ["-overcommit", "mem-lock=x"], "mem-lock=x"),
        (BOOT + ["-M", "pc,memory-backend=m"], "memory-backend=m"),
        (BOOT + ["-M", "pc,memory-backend=m", "-object", "memory-backend-memfd,id=m,size=32M"], "32 MiB"),
        (BOOT + ["-device", "isa-serial"], "chardev="), (BOOT + ["-device", "isa-serial,chardev=x,index=9"], "index=9"),
        (BOOT + ["-add-fd", "fd=1"], "set="), (BOOT + ["-add-fd", "fd=99,set=1"], "fd="), (BOOT + ["-add-fd", "fd=x,set=1"], "fd=x"),
        (BOOT + ["-serial", "file:/dev/fdset/3"], "/dev/fdset/3"), (BOOT + ["-sandbox", "maybe"], "maybe"), (BOOT + ["-sandbox", "on,spawn=x"], "spawn=x"), (BOOT + ["-sandbox", "on,frob=deny"], "frob"),
        (BOOT + ["-usbdevice", "disk:x"], "disk:x"), (BOOT + ["-global", "x"], "DRIVER.PROPERTY"), (BOOT + ["-incoming", "tcp:0:1"], "-incoming"),
        (BOOT + ["-global", "isa-debugcon.iobase=x"], "iobase"), (BOOT + ["-readconfig", "/none"], "/none"),
        (BOOT + ["-readconfig", "text"], "line 1"), (BOOT + ["-readconfig", "bad.cfg"], "frob"),
        (BOOT + ["-fw_cfg", "opt/x"], "opt/x"), (BOOT + ["-fw_cfg", "name=opt/x,file=/none"], "/none"),
        (BOOT + ["-fw_cfg", "name=opt/" + 60 * "x" + ",string=y"], "characters"), (BOOT + ["-fw_cfg", "name=opt/x,frob=y"], "frob"),
        (BOOT + ["-cpu", "Skylake-Client,enforce"], "hle"),
        (BOOT + ["-display", "gtk"], "gtk"), (BOOT + ["-display", "vncx"], "vncx"), (BOOT + ["-spice", "port=1"], "spice"), (BOOT + ["-vga", "cirrus"], "cirrus"),
        (BOOT + ["-netdev", "user"], "id="), (BOOT + ["-netdev", "user,id=a", "-netdev", "tap,id=a"], "id=a"),
        (BOOT + ["-nic", "user,hostfwd=tcp:x"], "hostfwd=tcp:x"), (BOOT + ["-nic", "user,model=rtl8139"], "rtl8139"),
        (BOOT + ["-nic", f"user,hostfwd=tcp:127.0.0.1:{TAKEN}-:22"], str(TAKEN)), (BOOT + ["-nic", "carrier"], "carrier"),
        (BOOT + ["-nic", "user,mac=1:2:3"], "1:2:3"), (BOOT + ["-nic", "user,mac=01:00:00:00:00:01"], "group"),
        (BOOT + ["-nic", "user,guestfwd=x"], "guestfwd"), (BOOT + ["-nic", "tap,ifname=x"], "script"),
        (BOOT + ["-nic", "tap,ifname=lo,script=no"], "tap"), (BOOT + ["-nic", "tap,fd=99"], "fd=99"),
        (BOOT + ["-nic", f"socket,listen=127.0.0.1:{TAKEN}"], str(TAKEN)), (BOOT + ["-nic", "socket,mcast=x"], "mcast"),
        (BOOT + ["-nic", "socket,connect=127.0.0.1:1"], "127.0.0.1:1"),
        (BOOT + ["-nic", "stream,addr.type=unix,addr.path=/nonexistent/s"], "/nonexistent/s"),
        (BOOT + ["-device", "virtio-net-pci,netdev=x"], "'x'"), (BOOT + ["-device", "virtio-net-pci,frob=1"], "frob"),
        (BOOT + ["-netdev", "user,id=a"] + 2 * ["-device", "virtio-net-pci,netdev=a"], "'a'"),
        (BOOT + ["-net", "nic", "-net", "nic"], "-nic"), (BOOT + ["-deterministic", "-nic", "user"], "-deterministic"),
        (BOOT + ["-virtfs", "local,path=/nonexistent,mount_tag=t,security_model=none"], "/nonexistent"),
        (BOOT + ["-virtfs", "local,path=.,mount_tag=t"], "security_model"),
        (BOOT + ["-virtfs", "local,path=.,security_model=none"], "mount_tag"),
        (BOOT + ["-virtfs", "proxy,path=."], "proxy"), (BOOT + ["-fsdev", "local,path=.,security_model=none"], "id="),
        (BOOT + ["-virtfs", "local,path=.,mount_tag=t,security_model=mapped-file"], "mapped-file"),
        (BOOT + ["-device", "virtio-9p-pci,fsdev=x,mount_tag=t"], "x"),
        (BOOT + ["-pidfile", "/nonexistent/f"], "/nonexistent/f"), (BOOT + ["-gdb", "frob"], "frob"),
        (BOOT + ["-chardev", "null,id=a"] * 2, "'a'"), (BOOT + ["-chardev", "msmouse,id=a"], "msmouse"),
        (BOOT + ["-chardev", "socket,id=a"], "path="), (BOOT + ["-chardev", "socket,path=x,tls-creds=t,id=a"], "tls-creds"),
        (BOOT + ["-chardev", "socket,path=x,tn3270=on,id=a"], "tn3270"), (BOOT + ["-chardev", "pipe,id=a"], "path"),
        (BOOT + ["-serial", "unix:/nonexistent/s,server=on"], "/nonexistent/s"),
        (BOOT + ["-serial", f"tcp:127.0.0.1:{TAKEN},server=on,wait=off"], str(TAKEN)),
        (BOOT + ["-serial", "tcp:127.0.0.1:1"], "127.0.0.1:1"), (BOOT + ["-serial", "unix:x,frob=1"], "frob"),
        (BOOT + PORT, "virtio-serial-pci"), (BOOT + SERIAL + ["-device", "virtserialport"], "chardev="),
        (BOOT + SERIAL + ["-device", "virtserialport,chardev=x"], "'x'"), (BOOT + SERIAL + PORT + PORT[2:], "used twice"),
        (BOOT + SERIAL + PORT[:-1] + ["virtserialport,chardev=c,nr=0"], "nr=0"),
        (BOOT + SERIAL + PORT[:-1] + ["virtconsole,chardev=c,bus=y.0"], "y.0"),
        (BOOT + ["-device", "virtio-serial-pci,max_ports=1"] + PORT, "max_ports"),
        (BOOT + ["-device", "virtio-serial-pci,max_ports=99"], "max_ports=99"),
        (BOOT + ["-device", "virtio-rng-pci,packed=maybe"], "packed=maybe"),
        (BOOT + ["-device", "{"], "JSON"), (BOOT + ["-device", '{"driver":"virtio-rng-pci","frob":1}'], "frob"),
        (BOOT + ["-netdev", '{"type":"user","id":"a","hostfwd":[{"str":"tcp:x"}]}'], "tcp:x"),
        (BOOT + ["-blockdev", '{"driver":"raw","node-name":"n","file":{"driver":"file","filename":"/none"}}',
                 "-device", "virtio-blk-pci,drive=n"], "/none"),
        (BOOT + SERIAL + ["-device", "virtio-rng-pci,id=r"] + PORT[:-1] + ["virtserialport,chardev=c,id=r"], "id=r"),
        (BOOT + ["-M", "microvm,pcie=on"], "pcie=on"),
        (BOOT + ["-M", "microvm", "-device", "virtio-rng-pci"], "virtio-...-device"),
        (BOOT + ["-device", "virtio-rng-device"], "microvm"), (BOOT + ["-M", "microvm,isa-serial=off", "-serial", "null"], "isa-serial"),
        (BOOT + ["-device", "virtio-rng-pci,vectors=x"], "vectors=x"),
        (BOOT + ["-nic", "tap,queues=9,script=no,ifname=x"], "queues=9"), (BOOT + ["-nic", "tap,queues=2,script=no"], "ifname"),
    ]:
        status, out, err = run(*args, "-display", "none") if args and args[-1] not in ("-m", "-kernel") else run(*args)
        lines = err.strip().split("\n")
        ok = status == 1 and not out and len(lines) == 1 and lines[0].startswith("ringer: ") and named in err
        check(f"bad input {args}", ok, (status, out, err))
    status, out, err = run(*CONSOLE, monitor="/nonexistent/vmm")
    check("no monitor", status == 1 and "/nonexistent/vmm" in err and "RINGER_VMM" in err, (status, err))
    status, out, err = run(*CONSOLE, monitor="/etc/passwd")
    check("monitor not a program", status == 1 and "/etc/passwd" in err and err.count("\n") == 1, (status, err))


def test_disks():
    """Disk images that cannot be had, and options that contradict each other: one line, status 1, nothing left."""
    open("disk", "wb").write(bytes(1 << 20))
    open("cow", "wb").write(b"QFI\xfb" + bytes(1 << 16))
    good, blk = "file=disk,format=raw,if=none,id=d", ["-device", "virtio-blk-pci,drive=d"]
    node = ["-blockdev", "driver=file,node-name=f,filename=disk"]
    for args, named in [
        (["-drive", good + ",werror=frob"] + blk, "werror=frob"), (["-drive", good, "-device", "virtio-scsi-pci", "-device",
         "scsi-hd,drive=d,rerror=enospc"], "rerror=enospc"), (["-drive", "file=disk,format=raw,werror=stop"], "werror="), (["-drive", good, "-device", "scsi-hd,drive=d"], "virtio-scsi-pci"),
        (["-device", "virtio-scsi-pci,hotplug=on"], "hotplug=on"), (["-device", "scsi-hd"], "drive="),
        (["-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=x"], "drive=x"),
        (["-drive", good, "-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=d,scsi-id=999"], "scsi-id=999"),
        (["-drive", good, "-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=d,bus=x.0"], "x.0"),
        (["-drive", good, "-drive", "file=cow,format=raw,if=none,id=e", "-device", "virtio-scsi-pci", "-device",
          "scsi-hd,drive=d,lun=1,scsi-id=2", "-device", "scsi-hd,drive=e,lun=1,scsi-id=2"], "scsi-id=2,lun=1"),
        (["-drive", "file=missing,format=raw,if=virtio"], "missing"), (["-drive", "file=missing,if=virtio"], "missing"),
        (["-drive", "file=/,format=raw,if=virtio"], "/"), (["-drive", "file=/dev/null,format=raw,if=virtio"], "/dev/null"),
        (["-drive", "file=cow,if=virtio"], "qcow2"), (["-drive", "file=disk,format=qcow2,if=virtio"], "qcow2"), (["-drive", "file=disk,format=parallels,if=virtio"], "parallels"),
        (["-drive", "if=virtio"], "file="), (["-drive", "file=,if=virtio"], "missing"),
        (["-drive", "file=" + "x" * 600 + ",if=virtio"], "too long"), (["-drive", "file=fat:rw:/,if=virtio"], "fat:"),
        (["-drive", "file=disk,format=raw,if=floppy,index=2"], "floppy"), (["-M", "microvm", "-fda", "disk"], "floppy"),
        (["-drive", "file=disk,format=raw,if=sd"], "if=sd"), (["-boot", "order=ax"], "'x'"), (["-boot", "frob=1"], "frob"),
        (["-drive", "file=disk,if=virtio,cache=fast"], "fast"), (["-drive", "file=disk,if=virtio,discard=no"], "discard"),
        (["-drive", "file=disk,if=virtio,readonly=maybe"], "maybe"), (["-drive", "file=disk,if=virtio,frob=1"], "frob"),
        (["-drive", good, "-drive", good], "id=d"), (blk, "drive=d"), (["-device", "virtio-blk-pci"], "drive="),
        (["-drive", good] + blk + blk, "drive=d"), (["-drive", good] + blk + ["-device", "virtio-rng-pci,id=r"] * 2, "id=r"),
        (["-drive", "file=disk,format=raw,if=virtio,id=d"] + blk, "drive=d"),
        (["-drive", good, "-device", "virtio-blk-pci,drive=d,frob=1"], "frob"),
        (["-drive", good, "-device", "virtio-blk-pci,drive=d,num-queues=99"], "num-queues"),
        (["-drive", good, "-device", "virtio-blk-pci,drive=d,queue-size=3"], "queue-size"),
        (["-drive", good, "-device", "virtio-blk-pci,drive=d,addr=99"], "addr"),
        (["-drive", good, "-device", "virtio-blk-pci,drive=d,addr=1"], "addr"),
        (["-drive", good, "-device", "virtio-blk-pci,drive=d,addr=5", "-device", "virtio-rng-pci,addr=5"], "addr"),
        (["-blockdev", "driver=raw,node-name=d,file=f"] + blk, "'f'"), (["-blockdev", "driver=raw,node-name=d"], "d"),
        (["-blockdev", "driver=file,filename=disk"], "node-name"), (["-blockdev", "{}"], "node-name"), (["-blockdev", "{x"], "JSON"),
        (node + ["-blockdev", "driver=raw,node-name=d,file=f", "-blockdev", "driver=raw,node-name=e,file=f"], "'f'"),
        (["-deterministic", "-drive", "file=disk,format=raw,if=virtio"], "-deterministic"),
    ]:
        status, out, err = run(*CONSOLE, *args)
        ok = status == 1 and not out and err.count("\n") == 1 and err.startswith("ringer: ") and named in err
        check(f"bad disk {args}", ok, (status, out, err))
    for args in [
        ["-drive", "file=disk,format=raw,if=virtio,cache=none,aio=threads,discard=unmap,serial=S,index=0,media=disk"],
        ["-drive", good] + blk, blk + ["-drive", good], ["-drive", good + ",cache=unsafe,werror=enospc,rerror=stop"] + blk,
        node + ["-blockdev", "driver=raw,node-name=d,file=f,cache.direct=off"] + blk,
        ["-blockdev", "driver=raw,node-name=d,file.driver=file,file.filename=disk,file.aio=io_uring,read-only=on"] + blk,
        ["-drive", "file=disk,format=raw,if=virtio,readonly=on"] * 2,
        ["-snapshot"] + ["-drive", "file=disk,format=raw,if=virtio"] * 2, ["-device", "virtio-rng,id=x,bus=pci.0,addr=0x1f"],
    ]:
        status, out, err = run(*CONSOLE, *args, data=b"s")
        check(f"disk {args}", status == 0 and not err, (status, out, err))
    for args in [["-hda", "disk"], ["disk"], ["-drive", "file=disk"], ["-drive", "file=disk,if=virtio"]]:
        status, out, err = run(*CONSOLE, *args, data=b"s")
        check(f"disk with warnings {args}", status == 0 and "warning" in err and "disk" in err, (status, out, err))
    holder = subprocess.Popen([RINGER, *CONSOLE, "-drive", "file=disk,format=raw,if=virtio"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=dict(os.environ, RINGER_VMM=STUB))
    holder.stdout.read(4)
    for more in ["", ",readonly=on"]:
        status, out, err = run(*CONSOLE, "-drive", "file=disk,format=raw,if=virtio" + more)
        check(f"locked{more}", status == 1 and "locked" in err and err.count("\n") == 1, (status, out, err))
    if os.path.exists("/usr/bin/qemu-io"):
        other = subprocess.run(["qemu-io", "-f", "raw", "-c", "write 0 512", "disk"], capture_output=True, text=True)
        check("locked for QEMU's tools", other.returncode and "lock" in other.stderr, other)
    status, out, err = run(*CONSOLE, "-drive", "file=disk,format=raw,if=virtio,file.locking=off", data=b"s")
    check("not locked", status == 0 and not err, (status, out, err))
    holder.stdin.write(b"s")
    holder.communicate()


def test_accepted():
    """Spellings of other people's scripts that must work."""
    for args in [
        ["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"],
        ["-display", "none", "-serial", "stdio", "-no-user-config", "-name", "x,debug-threads=on"],
        ["-nodefaults", "-display", "none", "-serial", "mon:stdio", "-vga", "none", "-monitor", "none", "-parallel", "none"],
        ["--nographic", "--no-reboot", "--machine", "pc,accel=tcg,usb=off,vmport=off", "--cpu", "max"],
        ["-nographic", "-accel", "tcg,thread=multi,tb-size=32", "-smp", "cpus=1,sockets=1,cores=1,threads=1"],
        ["-nographic", "-m", "size=64M,slots=2,maxmem=1G", "-net", "none", "-nic", "none", "-rtc", "base=utc,driftfix=slew"],
        ["-nographic", "-boot", "order=dc,once=a,menu=on", "-k", "en-us", "-M", "type=pc"],
        ["-nographic", "-readconfig", "good.cfg", "-msg", "timestamp=on", "-overcommit", "mem-lock=off", "-realtime", "mlock=off"],
        ["-nographic", "-rtc", "base=localtime,clock=vm,driftfix=none", "-global", "kvm-pit.lost_tick_policy=delay", "-mem-prealloc"],
        ["-nographic", "-rtc", "base=2024-02-29", "-fw_cfg", "name=opt/x,string=y", "-fw_cfg", "opt/z,file=text", "-audiodev", "none,id=a"],
        ["-nographic", "-M", "pc,memory-backend=m", "-object", "memory-backend-memfd,id=m,size=64M,share=on"],
        ["-nographic", "-M", "pc,memory-backend=m", "-object", "memory-backend-file,id=m,size=64M,mem-path=/dev/shm,share=on"],
        ["-nographic", "-add-fd", "fd=0,set=3,opaque=x", "-chardev", "file,id=f,path=/dev/fdset/3,append=on"],
        ["-nographic", "-cpu", "Nehalem", "-global", "virtio-blk-pci.scsi=off"],
    ]:
        status, out, err = run(*BOOT, *args, data=b"s")
        check(f"accepted {args}", status == 0 and "stub" in out and not err, (status, out, err))
    for args in [["-enable-kvm"], ["-machine", "accel=kvm:tcg"], ["-accel", "kvm", "-accel", "tcg"], ["-accel", "hvf", "-enable-kvm"],
                 ["-global", "frob.x=off"], ["-L", "/tmp"], ["-usb"], ["-device", "usb-tablet"], ["-usbdevice", "tablet"],
                 ["-device", "qemu-xhci,id=u"], ["-soundhw", "hda"], ["-mem-path", "/dev/shm"], ["-cpu", "Skylake-Client"]]:
        status, out, err = run(*CONSOLE, *args, data=b"s")
        check(f"falls through {args}", status == 0 and err.count("\n") == 1 and "warning" in err, (status, err))


def test_ends():
    """Each way a machine ends: status, and what is said."""
    debug_exit = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"]
    for name, data, args, status, said in [
        ("power-off", b"s", [], 0, ""), ("reset with -no-reboot", b"r", [], 0, ""),
        ("triple fault", b"t", [], 0, "triple-faulted at RIP 0xffffffff81000000"),
        ("crash", b"c", [], 1, "a stub's crash"), ("monitor killed", b"k", [], 1, "signal 9"),
        ("monitor exits", b"e", [], 1, "status 7"), ("debug exit", b"x", debug_exit, 0x21, ""),
        ("Ctrl-a x", b"\x01x", [], 0, ""),
    ]:
        got, out, err = run(*CONSOLE, *args, data=data)
        check(name, got == status and (said in err if said else not err), (got, out, err))
    out = run(*CONSOLE, data=b"\x01hs")[1]
    check("Ctrl-a h", "Ctrl-a x" in out, out)
    status, out, err = run(*CONSOLE, data=b"\x01cinfx\x7fo status\n\x01ca\x01cquit\r")
    check("Ctrl-a c", status == 0 and not err and "VM status: running" in out and "quit" in out, (status, out, err))
    out = run(*CONSOLE, data=b"a\x01\x01bs")[1]
    check("Ctrl-a Ctrl-a", out == "stub\na\x01b", out)
    out = run(*BOOT, "-display", "none", "-serial", "stdio", data=b"\x01s")[1]
    check("no mux on stdio", out == "stub\n\x01", out)
    status, out, err = run(*BOOT, "-nographic", data=b"rtas")
    check("resets", status == 0 and out.count("stub\n") == 3 and "resetting" in err, (status, out, err))
    status, out, err = run(*BOOT, "-nographic", "-no-shutdown", data=b"s\x01x")
    check("-no-shutdown", status == 0, (status, out, err))
    out = run(*CONSOLE, data=b"ps")[1]
    check("world switches", out == "stub\nones\n", out)


def test_sandbox():
    """The app's jail: it is there, a reset starts a new monitor in it, nothing else is executed; bad values."""
    deny = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    status, out, err = run(*BOOT, "-nographic", "-sandbox", deny, data=b"rtas")
    check("resets in a sandbox", status == 0 and out.count("stub\n") == 3, (status, out, err))
    p = subprocess.Popen([RINGER, *CONSOLE, "-sandbox", deny], env=dict(os.environ, RINGER_VMM=STUB), stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.read(4)
    time.sleep(0.3)
    state = open(f"/proc/{p.pid}/status").read()
    check("seccomp", "Seccomp:\t2" in state and "NoNewPrivs:\t1" in state, state)
    p.communicate(b"s")
    check("after seccomp", p.returncode == 0, p.returncode)
    status, out, err = run(*CONSOLE, "-sandbox", "off", data=b"s")
    check("no sandbox", status == 0 and not err, (status, err))
    if not os.path.exists("/usr/bin/qemu-img"):
        return
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "s.qcow2", "1M"])
    add = b"\x01cdrive_add 0 file=s.qcow2,if=none,id=q\ndevice_add virtio-blk-pci,drive=q\nquit\n"
    for sandbox in ["off", deny]:
        status, out, err = run(*CONSOLE, "-sandbox", sandbox, data=add)
        check(f"sandbox {sandbox}: qemu-nbd", status == 0 and ("Error" in out) == (sandbox == deny), (status, out, err))


def test_flow():
    """No byte lost: a flood of output, input larger than the rings, and outputs that are files."""
    out = run(*CONSOLE, data=b"fs")[1]
    check("flood", out == "stub\n" + "".join(f"line {i}\n" for i in range(20000)), len(out))
    data = b"n" + b"y" * 300000 + b".s"
    lost = [i for i in range(20) if "counted 300000\n" not in run(*CONSOLE, data=data)[1]]
    check("long input, pipe", not lost, lost)
    open("input", "wb").write(data)
    with open("input", "rb") as f:
        p = subprocess.run([RINGER, *CONSOLE], stdin=f, capture_output=True, timeout=20, env=dict(os.environ, RINGER_VMM=STUB))
    check("long input, file", b"counted 300000\n" in p.stdout, p)
    p = subprocess.Popen([RINGER, *CONSOLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ, RINGER_VMM=STUB))
    p.stdin.write(b"fs")
    p.stdin.close()
    time.sleep(0.5)
    out = p.stdout.read()
    check("slow reader", p.wait(20) == 0 and out.endswith(b"line 19999\n") and out.count(b"\n") == 20001, len(out))
    p = subprocess.Popen([RINGER, *CONSOLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ, RINGER_VMM=STUB))
    p.stdout.close()
    p.stdin.write(b"fs")
    p.stdin.close()
    check("reader gone", p.wait(20) == 0, p.returncode)
    status, out, err = run(*BOOT, "-display", "none", "-serial", "stdio", "-serial", "file:second", data=b"s")
    check("second port to a file", status == 0 and os.path.getsize("second") == 0, (status, err))
    status = run(*CONSOLE, "-d", "exit", "-D", "log", data=b"ds")[0]
    check("-D", status == 0 and open("log").read() == "traced\n")
    check("-d to stderr", run(*CONSOLE, "-d", "exit", data=b"ds")[2] == "traced\n")


def test_stats():
    err = run(*CONSOLE, "--stats=json", data=b"s")[2]
    check("json", "tu_translated" in json.loads(err), err)
    run(*CONSOLE, "--stats=json:stats", data=b"s")
    check("json to a file", "nyi" in json.load(open("stats")))
    status, out, err = run(*CONSOLE, "--stats", data=b"s")
    check("text", status == 0, err)


def children(pid):
    """By /proc alone: a bare machine has no ps."""
    found = []
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()[1]
        except OSError:
            continue
        found += [int(p)] if int(parent) == pid else []
    return found


def gone(pids):
    for _ in range(100):
        if not any(os.path.exists(f"/proc/{p}") for p in pids):
            return True
        time.sleep(0.02)
    return False


def start(*args, **kw):
    p = subprocess.Popen([RINGER, *CONSOLE, *args], env=dict(os.environ, RINGER_VMM=STUB), stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
    p.stdout.read(5)
    return p


def test_signals():
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        p = start("-pidfile", "pid")
        check("pidfile", open("pid").read() == f"{p.pid}\n")
        monitors = children(p.pid)
        p.send_signal(sig)
        err = p.communicate(timeout=10)[1]
        check(f"signal {sig}", p.returncode == 0 and b"signal %d" % sig in err and gone(monitors), (p.returncode, err))
        check("pidfile removed", not os.path.exists("pid"))
    p = start()
    monitors = children(p.pid)
    p.kill()
    p.wait()
    check("the monitor dies with the app", len(monitors) == 1 and gone(monitors), monitors)
    p = start()
    monitors = children(p.pid)
    os.kill(monitors[0], signal.SIGKILL)
    check("the app notices the monitor's death", p.wait(10) == 1)
    p = start()
    fds = sorted(os.listdir(f"/proc/{children(p.pid)[0]}/fd"), key=int)
    check("the monitor's descriptors", fds == ["0", "1", "2", "3", "4", "5"], fds)
    p.communicate(b"s")


def test_terminal():
    """Raw while the guest runs, and as it was afterwards, whatever ended it."""
    for name, keys, args in [("power-off", b"s", []), ("crash", b"c", []), ("Ctrl-a x", b"\x01x", []), ("monitor killed", b"k", []),
                             ("signal", signal.SIGTERM, []), ("abort", signal.SIGABRT, []), ("bad kernel", b"", ["-kernel", "text"])]:
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        p = subprocess.Popen([RINGER, *CONSOLE, *args], stdin=slave, stdout=slave, stderr=slave,
                             env=dict(os.environ, RINGER_VMM=STUB))
        seen = b""
        deadline = time.time() + 10
        while b"stub" not in seen and b"ringer:" not in seen and time.time() < deadline:
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 4096)
        if not args:
            lflag = termios.tcgetattr(slave)[3]
            check("raw mode", not lflag & (termios.ICANON | termios.ECHO | termios.ISIG), lflag)
        if isinstance(keys, int):
            p.send_signal(keys)
        else:
            os.write(master, keys)
        p.wait(10)
        check(f"terminal restored: {name}", termios.tcgetattr(slave) == before)
        os.close(master)
        os.close(slave)


def test_job_control():
    """-serial stdio keeps Ctrl-Z and Ctrl-C for ringer: the terminal changes hands around a stop; the monitor stops too."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ["RINGER_VMM"] = STUB
        os.execv(RINGER, [RINGER, *BOOT, "-display", "none", "-serial", "stdio"])
    before = termios.tcgetattr(master)
    seen = b""
    while b"stub" not in seen:
        seen += os.read(master, 4096)
    raw = termios.tcgetattr(master)
    monitor = children(pid)[0]
    os.write(master, b"\x1a")
    check("Ctrl-Z stops", os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]))
    for _ in range(100):
        state = open(f"/proc/{monitor}/stat").read().rsplit(")", 1)[1].split()[0]
        if state == "T":
            break
        time.sleep(0.02)
    check("Ctrl-Z: cooked", before[3] == termios.tcgetattr(master)[3] != raw[3] and state == "T", state)
    os.kill(pid, signal.SIGCONT)
    for _ in range(100):
        if termios.tcgetattr(master)[3] == raw[3]:
            break
        time.sleep(0.02)
    check("raw again", termios.tcgetattr(master) == raw)
    os.write(master, b"a")
    time.sleep(0.2)
    check("goes on", b"a" in os.read(master, 4096))
    os.write(master, b"\x03")
    seen = b""
    try:
        while more := os.read(master, 4096):
            seen += more
    except OSError:
        pass
    check("Ctrl-C ends", os.waitpid(pid, 0)[1] == 0 and b"signal 2" in seen and gone([monitor]), seen)


def test_background():
    """Another process group has the terminal: its mode stays, it is not read, and signals end ringer all the same."""
    pid, master = pty.fork()
    if pid == 0:
        before = termios.tcgetattr(0)
        p = subprocess.Popen([RINGER, *CONSOLE], env=dict(os.environ, RINGER_VMM=STUB), process_group=0)
        time.sleep(0.5)
        same = termios.tcgetattr(0) == before
        time.sleep(1)  # the test types now
        p.terminate()
        try:
            status = p.wait(2)
        except subprocess.TimeoutExpired:
            p.kill()
            status = 99
        print(f"same {same} status {status} after {termios.tcgetattr(0) == before}", flush=True)
        os._exit(0)
    time.sleep(1)
    os.write(master, b"text\n")
    seen = b""
    try:
        while more := os.read(master, 4096):
            seen += more
    except OSError:
        pass
    os.waitpid(pid, 0)
    check("in the background", b"stub" in seen and b"same True status 0 after True" in seen, seen)


def test_stuck_output():
    """A signal ends ringer at once though nobody reads what it writes."""
    for name, data in [("output", b"f"), ("output and the guest is off", b"fs")]:
        p = subprocess.Popen([RINGER, *CONSOLE], env=dict(os.environ, RINGER_VMM=STUB), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        p.stdin.write(data)
        p.stdin.flush()
        time.sleep(0.5)
        monitors = children(p.pid)
        p.terminate()
        try:
            status = p.wait(2)
        except subprocess.TimeoutExpired:
            status = "hung"
            p.kill()
        check(f"SIGTERM, stuck {name}", status == 0 and gone(monitors), status)


def test_nothing_left():
    left = [f for f in os.listdir("/dev/shm") if "ringer" in f] if os.path.isdir("/dev/shm") else []
    check("nothing in /dev/shm", not left, left)


for test in [v for k, v in list(globals().items()) if k.startswith("test_")]:
    begin = time.time()
    was = failures
    test()
    print(f"{test.__name__}: {'ok' if failures == was else 'FAILED'} ({time.time() - begin:.1f} s)")
sys.exit(1 if failures else 0)
