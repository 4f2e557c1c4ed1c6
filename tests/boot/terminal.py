#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The interactive path, in a pseudo-terminal with the real guest: a prompt, typing, job control, Ctrl-a, output and
pasted input without a byte lost, an idle guest that costs next to nothing, and every way out leaves the terminal as it
was and no process behind.
  tests/boot/terminal.py [FLAVOUR]        RINGER_BUILD: build directory"""
import hashlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

FLAVOUR = sys.argv[1] if len(sys.argv) > 1 else "cloud"
os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BUILD = os.environ.get("RINGER_BUILD", "build")
IDLE_SECONDS, IDLE_LIMIT = 10, 0.02
PROMPT = rb"# (\x1b\[6n)?\Z"  # busybox asks where the cursor is
failures = 0


def check(name, ok, detail=""):
    global failures
    print(f"{'ok    ' if ok else 'FAILED'} {name} {'' if ok else detail}", flush=True)
    failures += not ok


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


def first_line(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode().split("\n")[0]


class Session:
    """ringer as the leader of a session of its own, with a terminal that this script plays."""

    def __init__(self, kernel, initrd, *options):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execv(f"{BUILD}/ringer", ["ringer", "-m", "512M", "-kernel", kernel, "-initrd", initrd, "-nographic",
                                         "-no-reboot", "-append", "console=ttyS0 quiet", *options])
        self.before = termios.tcgetattr(self.master)
        self.text = b""
        self.status = None

    def read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            more = os.read(self.master, 65536)
        except OSError:
            more = b""
        self.text += more
        return bool(more)

    def expect(self, pattern, seconds=60):
        """Read until the pattern stands in what was not yet consumed; that and what came before is returned."""
        end = time.time() + seconds
        while not (found := re.search(pattern, self.text)):
            if time.time() > end or (not self.read(0.5) and self.ended()):
                return None
        text, self.text = self.text[:found.end()], self.text[found.end():]
        return text

    def type(self, data):
        at = 0
        while at < len(data):
            if select.select([], [self.master], [], 0)[1]:
                at += os.write(self.master, data[at:at + 512])
            self.read(0)

    def run(self, command, seconds=60):
        """The output of a shell command: what comes between its echo and the next prompt."""
        self.type(command.encode() + b"\r")
        text = self.expect(PROMPT, seconds) or b"(no prompt) " + self.text[-300:]
        lines = text.replace(b"\r\r", b"\r").split(b"\r\n")
        return b"\n".join(lines[1:-1]).decode(errors="replace")

    def processes(self):
        return [self.pid] + children(self.pid)

    def cpu_seconds(self):
        ticks = 0
        for p in self.processes():
            fields = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def wait(self, seconds):
        """Whether ringer ended; nobody reads its output meanwhile."""
        end = time.time() + seconds
        while not self.ended() and time.time() < end:
            time.sleep(0.01)
        return self.ended()

    def close(self):
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            self.wait(5)
        os.close(self.master)


def talk(s):
    check("prompt", s.expect(PROMPT) is not None, s.text[-500:])
    check("typing", s.run("echo $((6 * 7))") == "42")
    check("a terminal", s.run("tty") == "/dev/ttyS0")
    s.type(b"sleep 1000\r")
    time.sleep(0.5)
    s.type(b"\x03")
    check("Ctrl-C interrupts", s.expect(PROMPT, 10) is not None)
    s.type(b"sleep 1000\r")
    time.sleep(0.5)
    s.type(b"\x1a")
    check("Ctrl-Z stops", s.expect(rb"Stopped[^#]*# (\x1b\[6n)?\Z", 10) is not None, s.text)
    check("jobs", "Stopped" in s.run("jobs"))
    s.run("kill %1; wait")
    s.type(b"\x01h")
    check("Ctrl-a h helps", s.expect(rb"Ctrl-a x", 5) is not None)
    s.run("")
    check("still a shell", s.run("echo here") == "here")


def flood(s):
    check("100000 lines", s.run("yes | head -100000") == "\n".join(["y"] * 100000))
    check("a numbered flood", s.run("seq 1 50000") == "\n".join(str(i) for i in range(1, 50001)))
    dmesg = s.run("dmesg")
    s.run("dmesg >log")
    check("dmesg", s.run("sha256sum <log").split()[0] == hashlib.sha256(dmesg.encode() + b"\n").hexdigest())


def paste(s):
    data = b"".join(b"%06d the quick brown fox jumps over the lazy dog: 0123456789\n" % i for i in range(1600))
    s.type(b"cat >pasted\r")
    time.sleep(0.2)
    s.type(data.replace(b"\n", b"\r"))
    s.type(b"\x04")
    s.expect(PROMPT, 60)
    check("paste of 100 KB", s.run("sha256sum <pasted").split()[0] == hashlib.sha256(data).hexdigest())


def idle(s):
    time.sleep(2)
    s.expect(PROMPT, 0)
    begin = s.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    cost = (s.cpu_seconds() - begin) / IDLE_SECONDS
    check(f"idle costs {cost:.2%} of a core", cost < IDLE_LIMIT)


def leave(s, name, how, seconds=3):
    processes = s.processes()
    how(s)
    ended = s.wait(seconds)
    gone = not any(os.path.exists(f"/proc/{p}") for p in processes)
    check(f"{name} ends ringer", ended and gone and s.status == 0, (ended, gone, s.status))
    check(f"{name} restores the terminal", termios.tcgetattr(s.master) == s.before)
    s.close()


def kill(sig):
    return lambda s: os.kill(s.pid, sig)


def main():
    kernel = first_line("tools/guest_kernel.sh", FLAVOUR)
    initrd = f"{BUILD}/shell.gz"
    subprocess.run(["tools/guest_initramfs.sh", "-i", "-o", initrd], check=True)
    s = Session(kernel, initrd)
    for step in (talk, flood, paste, idle):
        step(s)
    leave(s, "Ctrl-a x", lambda s: s.type(b"\x01x"))
    s = Session(kernel, initrd)
    s.expect(PROMPT)
    s.type(b"exit\r")
    leave(s, "exit", lambda s: s.expect(rb"(?!)", 10), 10)
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        s = Session(kernel, initrd)
        s.expect(PROMPT)
        leave(s, f"{sig.name} at the prompt", kill(sig), 1)
    s = Session(kernel, initrd)
    s.expect(PROMPT)
    s.type(b"yes\r")
    time.sleep(1)
    leave(s, "SIGTERM in a flood that nobody reads", kill(signal.SIGTERM), 1)
    for delay in (0.02, 0.1, 0.3, 0.6, 1.0):
        s = Session(kernel, initrd)
        time.sleep(delay)
        leave(s, f"SIGTERM after {delay} s", kill(signal.SIGTERM), 1)
    print("failures:", failures)
    return failures != 0


sys.exit(main())
