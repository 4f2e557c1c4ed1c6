#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Debian system from its own disk: systemd, a login on the serial console, files written, synced and read back, and
`systemctl poweroff` - or the power button, pressed through QMP, every second time -, which ends ringer with status 0; afterwards fsck finds the disk clean, and what was synced is there.
  disk.py [FLAVOUR [BOOTS [ringer options...]]]       RINGER_BUILD: build directory
Each boot works on the same copy of the disk, so the second finds what the first has left."""
import json
import os
import select
import socket
import subprocess
import sys
import time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
flavour, boots, options = (sys.argv[1:2] or ["cloud"])[0], int((sys.argv[2:3] or [1])[0]), sys.argv[3:]
build = os.environ.get("RINGER_BUILD", "build")
limit = float(os.environ.get("BOOT_TIMEOUT", 120))
source = subprocess.run(["tools/guest_disk.sh", flavour], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
out = os.path.join(build, "boot-disk")
os.makedirs(out, exist_ok=True)
disk = os.path.join(out, "disk.img")
subprocess.run(["cp", "--sparse=always", "--reflink=auto", os.path.join(source, "disk.img"), disk], check=True)


class Guest:
    def __init__(self, log):
        self.seen, self.mark, self.deadline = b"", 0, time.time() + limit
        self.log = open(log, "wb")
        self.process = subprocess.Popen(
            [f"{build}/ringer", "-m", "512M", "-kernel", f"{source}/vmlinuz", "-initrd", f"{source}/initrd.img",
             "-append", "console=ttyS0 root=/dev/vda rw quiet panic=-1", "-nographic", "-no-reboot",
             "-drive", f"file={disk},format=raw,if=virtio", "-qmp", f"unix:{out}/qmp,server=on,wait=off", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def read(self):
        if not select.select([self.process.stdout], [], [], max(0, self.deadline - time.time()))[0]:
            raise TimeoutError
        data = os.read(self.process.stdout.fileno(), 65536)
        self.log.write(data)
        self.log.flush()
        self.seen += data
        return data

    def expect(self, text):
        while text not in self.seen[self.mark:]:
            if not self.read():
                raise EOFError(text.decode())
        self.mark = self.seen.index(text, self.mark) + len(text)

    def say(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def ask(self, what):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{out}/qmp")
            f = s.makefile("rwb", buffering=0)
            f.write(b'{"execute": "qmp_capabilities"}{"execute": "%s", "id": 1}' % what)
            for line in f:
                self.log.write(line)
                answer = json.loads(line)
                if answer.get("id") == 1:
                    return answer["return"]

    def disk_is_counted(self):
        """16 MiB were written, synced, and read again."""
        s = self.ask(b"query-blockstats")[0]["stats"]
        return (min(s["wr_bytes"], s["rd_bytes"]) > 16 << 20 and s["flush_operations"] and s["failed_wr_operations"] == 0 and
                16 << 20 < s["wr_highest_offset"] <= os.path.getsize(disk) and
                all(0 < s[f"{x}_operations"] * 512 <= s[f"{x}_bytes"] and s[f"{x}_total_time_ns"] for x in ("rd", "wr")))


def session(n):
    g = Guest(os.path.join(out, f"{n}.log"))
    start = time.time()
    try:
        g.expect(b"login: ")
        login = time.time() - start
        g.say("root\n")
        g.expect(b"Password: ")
        g.say("ringer\n")
        g.expect(b"# ")
        g.say("dd if=/dev/urandom of=/root/data bs=1M count=16 status=none && sync && "
              "md5sum </root/data >/root/sum && sync && echo 3 >/proc/sys/vm/drop_caches && "
              f"[ \"$(md5sum </root/data)\" = \"$(cat /root/sum)\" ] && echo {n} >>/root/boots && "
              "echo written $(wc -l </root/boots) $((40 + 2))\n")
        g.expect(b"written %d 42" % n)
        if not g.disk_is_counted():
            return "query-blockstats", login
        if n % 2:
            g.ask(b"system_powerdown")
        else:
            g.say("systemctl poweroff\n")
        while g.read():
            pass
        status = g.process.wait()
    except (TimeoutError, EOFError) as e:
        return f"{type(e).__name__} {e} after {time.time() - start:.0f} s", 0
    finally:
        g.process.kill()
    bad = [line for line in g.seen.decode(errors="replace").split("\n")
           if any(w in line for w in ("I/O error", "BUG:", "WARNING:", "Oops", "EXT4-fs error", "hung task"))]
    return (f"status {status}" if status else bad[0] if bad else ""), login


failed = []
for i in range(1, boots + 1):
    why, took = session(i)
    fsck = subprocess.run(["e2fsck", "-f", "-n", disk], capture_output=True, text=True)
    if not why and fsck.returncode:
        why = "fsck: " + fsck.stdout.strip().replace("\n", "; ")
    print(f"boot {i}: {why or 'ok'}, login after {took:.1f} s", flush=True)
    if why:
        failed.append(i)
        break
os.unlink(disk)
sys.exit(bool(failed))
