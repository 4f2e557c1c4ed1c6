# SPDX-License-Identifier: MIT
"""The three places a program runs in: natively in a chroot, under ringer, under QEMU TCG.

Each holds an agent (programs/agent.c) that is told a name and answers BEGIN and END lines; the agent's own time and the
time between the lines here are both kept. All three stay up through the bench, idle but for the one asked to run.
"""
import os
import queue
import subprocess
import threading
import time

BOOT_LIMIT = 120
RUN_LIMIT = 100


class Lost(Exception):
    """The agent said nothing more: the machine died or hangs."""


class Place:
    def __init__(self, name, command, log):
        self.name, self.command, self.log = name, command, log
        self.process = None
        self.lines = None

    def start(self):
        self.lines = queue.Queue()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, bufsize=0, start_new_session=True)
        threading.Thread(target=self.read, args=(self.process, self.lines), daemon=True).start()
        self.wait("READY", BOOT_LIMIT)

    def read(self, process, lines):
        """Lines with the time their end arrived; what is not a line yet is looked at as it comes."""
        with open(self.log, "ab") as log:
            part = b""
            while data := os.read(process.stdout.fileno(), 65536):
                at = time.monotonic()
                log.write(data)
                log.flush()
                *done, part = (part + data).split(b"\n")
                for line in done:
                    lines.put((at, line.decode(errors="replace").strip()))
        lines.put((time.monotonic(), None))

    def wait(self, beginning, limit):
        end = time.monotonic() + limit
        while True:
            try:
                at, line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise Lost(f"no {beginning} in {limit} s") from None
            if line is None:
                raise Lost(f"ended with status {self.process.wait()}")
            if line.startswith(beginning):
                return at, line

    def run(self, program):
        """One run: a dictionary, or Lost."""
        if not self.process:
            self.start()
        before = self.cpu_time()
        self.process.stdin.write(program.encode() + b"\n")
        begun, _ = self.wait(f"BEGIN {program}", 20)
        ended, line = self.wait(f"END {program} ", RUN_LIMIT)
        ns, status, output = line.split()[2:5]
        return {"guest": int(ns) / 1e9, "host": ended - begun, "cpu": self.cpu_time() - before, "status": int(status), "output": output}

    def stop(self):
        if not self.process:
            return
        try:
            self.process.stdin.write(b"quit\n")
            self.process.wait(timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def descendants(self):
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                        todo += [int(child) for child in f.read().split()]
            except OSError:
                pass
        return found

    def cpu_time(self):
        """Seconds of the host's processors that all its processes, and children they waited for, have had."""
        ticks = 0
        for pid in self.descendants():
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                ticks += sum(int(n) for n in f.read().rsplit(")", 1)[1].split()[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_beyond_ram(self, ram_name):
        """KiB resident (shared pages once) in all of its processes, but for mappings of the file named ram_name."""
        total = 0
        for pid in self.descendants():
            ram = False
            with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
                for line in f:
                    field = line.split()
                    if not field[0].endswith(":"):
                        ram = ram_name in line
                    elif field[0] == "Pss:" and not ram:
                        total += int(field[1])
        return total
