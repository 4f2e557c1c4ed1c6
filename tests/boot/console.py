#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""virtio-serial under Debian's kernel: a named port on a Unix socket, as a guest's agent has one; a console (hvc0) on a
second socket, with a shell; a port whose output goes to a file; one on a pseudo-terminal; and the serial port itself on a
socket. Bytes both ways, whole, with a reader that comes late and one that goes and comes back.
  console.py [FLAVOUR [ringer options...]]       RINGER_BUILD: build directory"""
import hashlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
flavour, options = (sys.argv[1:2] or ["cloud"])[0], sys.argv[2:]
build = os.environ.get("RINGER_BUILD", "build")
card = ",packed=on" if "packed" in options else ""
options = [o for o in options if o != "packed"]
work = tempfile.mkdtemp(prefix="ringer-console-")
deadline = time.time() + float(os.environ.get("BOOT_TIMEOUT", 60))
SCRIPT = """
modprobe virtio_pci && modprobe virtio_console
n=0; while [ $n -lt 500 ] && [ $(cat /sys/class/virtio-ports/*/name | wc -l) != 3 ]; do n=$((n + 1)); usleep 20000; done
for p in /sys/class/virtio-ports/*; do [ ! -s $p/name ] || ln -s /dev/${p##*/} /dev/$(cat $p/name); done
ls -l /dev/org.test.agent /dev/org.test.file /dev/org.test.pty || exit 1
head -c 300000 /dev/zero | tr '\\0' z >/dev/org.test.file
setsid sh -c 'exec sh -i </dev/hvc0 >/dev/hvc0 2>&1' &
exec 3<>/dev/org.test.pty
read line <&3 && echo "pty heard $line" >&3
exec 4<>/dev/org.test.agent
done=
until [ -n "$done" ]; do
	read line <&4 || { usleep 20000; continue; } # nobody is there
	case $line in
	sum) dd bs=1000 count=400 iflag=fullblock <&4 2>/dev/null | sha256sum >&4 ;;
	big) head -c 500000 /bin/busybox >&4 ;;
	end) done=1 ;;
	*) echo "got $line" >&4 ;;
	esac
done
exit 0
"""
open(f"{work}/test.sh", "w").write(SCRIPT)
kernel = subprocess.check_output(["tools/guest_kernel.sh", flavour], text=True).strip()
modules = subprocess.check_output(["tools/guest_modules.sh", flavour], text=True).strip()
subprocess.check_call(["tools/guest_initramfs.sh", "-t", f"{work}/test.sh", "-a", modules, "-o", f"{work}/init.gz"])
log = open(f"{work}/log", "wb")
machine = subprocess.Popen(
    [f"{build}/ringer", "-m", "256M", "-kernel", kernel, "-initrd", f"{work}/init.gz", "-append", "console=ttyS0 quiet",
     "-display", "none", "-no-reboot", "-serial", f"unix:{work}/serial,server=on,wait=off",
     "-chardev", f"socket,path={work}/agent,server=on,wait=off,id=ch0", "-chardev", f"file,path={work}/file,id=ch1",
     "-chardev", "pty,id=ch2", "-chardev", f"socket,path={work}/hvc,server,nowait,id=ch3",
     "-device", "virtio-serial-pci,id=vs" + card, "-device", "virtserialport,chardev=ch0,name=org.test.agent",
     "-device", "virtserialport,bus=vs.0,chardev=ch1,name=org.test.file,nr=3",
     "-device", "virtserialport,chardev=ch2,name=org.test.pty", "-device", "virtconsole,chardev=ch3", *options],
    stdin=subprocess.DEVNULL, stdout=log, stderr=log)
failed = []


def check(what, ok):
    print(f"{'ok' if ok else 'FAILED'}: {what}")
    if not ok:
        failed.append(what)


def connect(name):
    while True:
        try:
            s = socket.socket(socket.AF_UNIX)
            s.connect(f"{work}/{name}")
            s.settimeout(max(0.1, deadline - time.time()))
            return s
        except OSError:
            if machine.poll() is not None or time.time() > deadline:
                raise
            time.sleep(0.02)


def until(s, text):
    have = b""
    while text not in have:
        b = s.recv(65536)
        if not b:
            raise EOFError(have[-300:])
        have += b
    return have


try:
    serial, hvc, agent = connect("serial"), connect("hvc"), connect("agent")
    path = None
    while not path:
        path = re.search(r"(/dev/pts/\d+) \(label ch2\)", open(f"{work}/log").read())
    pty = os.open(path[1], os.O_RDWR | os.O_NOCTTY)
    os.write(pty, b"hello\n")
    have = b""
    while b"pty heard hello\n" not in have:
        have += os.read(pty, 100)
    check("pseudo-terminal", True)
    hvc.sendall(b"echo hvc $((6 * 7))\n")
    check("shell on hvc0", b"hvc 42" in until(hvc, b"hvc 42"))
    agent.sendall(b"one\n")
    check("agent", until(agent, b"\n") == b"got one\n")
    data = os.urandom(400000)
    agent.sendall(b"sum\n" + data)
    check("to the guest", until(agent, b"-\n").startswith(hashlib.sha256(data).hexdigest().encode()))
    agent.sendall(b"big\n")
    time.sleep(0.3)  # it must wait for us
    with open("/bin/busybox", "rb") as f:
        want = f.read(500000)
    have = b""
    while len(have) < len(want):
        have += agent.recv(65536)
    check("from the guest", have == want)
    agent.close()
    agent = connect("agent")
    time.sleep(0.2)
    agent.sendall(b"again\n")
    check("a peer that comes back", until(agent, b"\n").endswith(b"got again\n"))
    agent.sendall(b"end\n")
    check("serial port", b"RINGER-STATUS 0" in until(serial, b"RINGER-STATUS 0"))
    check("power-off", machine.wait(max(1, deadline - time.time())) == 0)
    check("file", open(f"{work}/file", "rb").read() == b"z" * 300000)
    check("sockets are gone", not os.path.exists(f"{work}/agent") and not os.path.exists(f"{work}/serial"))
except (OSError, EOFError, subprocess.TimeoutExpired) as e:
    check(f"no error ({e!r})", False)
finally:
    machine.kill()
    machine.wait()
if failed:
    print(open(f"{work}/log", errors="replace").read()[-2000:])
    serial.settimeout(1)
    print(serial.recv(65536).decode(errors="replace")[-2000:])
    sys.exit(1)
subprocess.call(["rm", "-rf", work])
