#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The bench: each program natively, under ringer and under QEMU TCG, in one run on one machine.

    bench/bench.py [BUILD]                  (or: make bench)
    ROUNDS=5          rounds; in each, each program runs once in each place, in turn
    ONLY="fib gcc"    only these rows (names of programs.txt, boot, nano, stats)
    PLACES="native ringer qemu"             which places
    OPTIONS="--memory=mapped"               more options for ringer
    OUT=dir           results (BUILD/bench/results); PUBLISH=1 also writes docs/PERFORMANCE.md and docs/bench.svg
"""
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

import report
from vm import Lost, Place

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
QEMU = "qemu-system-x86_64"
RAM = "2G"
NANO_LIMIT = 120


def output_of(*command):
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def programs():
    rows = []
    with open("bench/programs.txt", encoding="utf-8") as f:
        for line in f:
            if line.startswith("#") or not line.strip():
                continue
            name, group, title, must, aim, command = [part.strip() for part in line.split("|", 5)]
            rows.append({"name": name, "group": group, "title": title, "must": float(must) if must else None,
                         "aim": float(aim) if aim else None, "command": command, "runs": {}})
    return rows


class Bench:
    def __init__(self, build):
        self.build = build
        self.rounds = int(os.environ.get("ROUNDS", "5"))
        self.only = os.environ.get("ONLY", "").split()
        self.out = os.environ.get("OUT", f"{build}/bench/results")
        os.makedirs(self.out, exist_ok=True)
        wanted = os.environ.get("PLACES", "native ringer qemu").split()
        self.wanted = [p for p in wanted if p != "qemu" or shutil.which(QEMU)]
        self.kernel = subprocess.run(["bench/prepare.sh", build], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
        self.result = {"machine": self.machine(), "rounds": self.rounds, "rows": [], "notes": []}

    def machine(self):
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
            cpu = re.search(r"model name\s*: (.*)", f.read())
        commit = output_of("git", "rev-parse", "--short=12", "HEAD")
        changed = output_of("git", "status", "--porcelain", "src")
        return {"commit": commit + ("+changes" if changed else ""), "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
                "cpu": cpu.group(1) if cpu else platform.processor(), "cpus": os.cpu_count(), "kernel": platform.release(),
                "load": os.getloadavg()[0], "guest_kernel": self.guest_kernel(), "ram": RAM,
                "qemu": output_of(QEMU, "--version").split("\n")[0] if "qemu" in self.wanted else ""}

    def guest_kernel(self):
        try:
            with open(os.path.join(os.path.dirname(self.kernel), "package"), encoding="ascii") as f:
                return f.read().strip()
        except OSError:
            return self.kernel

    def takes(self, name):
        return not self.only or name in self.only

    def say(self, text):
        print(text, flush=True)

    def note(self, text):
        self.result["notes"].append(text)
        self.say("NOTE " + text)

    def command(self, place, initrd, *more):
        vmm = {"ringer": [f"{self.build}/ringer", *os.environ.get("OPTIONS", "").split()], "qemu": [QEMU, "-accel", "tcg", "-cpu", "max"]}[place]
        return [*vmm, "-m", RAM, "-kernel", self.kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1", "-display",
                "none", "-serial", "stdio", "-no-reboot", *more]

    def place(self, name):
        log = f"{self.out}/{name}.log"
        open(log, "wb").close()
        if name == "native":
            return Place(name, [f"{self.build}/bench/tree/init", f"{self.build}/bench/tree"], log)
        stats = [f"--stats=json:{self.out}/programs.json"] if name == "ringer" else []
        return Place(name, self.command(name, f"{self.build}/bench/init.cpio", *stats), log)

    def run_programs(self):
        rows = [row for row in programs() if self.takes(row["name"])]
        self.result["rows"] += rows
        if not rows:
            return
        places = [self.place(name) for name in self.wanted]
        try:
            for n in range(self.rounds):
                for row in rows:
                    # Who is first changes from round to round.
                    for place in places[n % len(places):] + places[:n % len(places)]:
                        self.run_one(place, row)
                    self.say(f"round {n + 1}  {row['title']:32}" + "".join(
                        f" {p.name} {row['runs'][p.name][-1]['guest']:7.3f}" for p in places if row["runs"].get(p.name)))
            for place in places:
                if place.name == "ringer" and place.process:
                    self.result["resident_kib"] = place.resident_beyond_ram("ringer-ram")
        finally:
            for place in places:
                place.stop()

    def run_one(self, place, row):
        if row.get("lost", {}).get(place.name):
            return
        try:
            run = place.run(row["name"])
        except (Lost, OSError) as error:
            place.kill()
            row.setdefault("lost", {})[place.name] = str(error)
            self.note(f"{row['name']} under {place.name}: {error}")
            return
        row["runs"].setdefault(place.name, []).append(run)
        if run["status"]:
            self.note(f"{row['name']} under {place.name}: status {run['status']}, see {place.log}")

    def run_boots(self):
        """From exec of the VMM to a busybox /init's marker line; ringer's run also gives the boot/halt statistics."""
        if not self.takes("boot") and not self.takes("stats"):
            return
        initrd, stats = f"{self.build}/bench/boot.gz", f"{self.out}/stats.json"
        subprocess.run(["tools/guest_initramfs.sh", "-o", initrd], check=True)
        runs = {}
        for _ in range(self.rounds):
            for name in self.wanted:
                if name == "native":
                    continue
                command = self.command(name, initrd, *([f"--stats=json:{stats}"] if name == "ringer" else []))
                command[command.index(RAM)] = "512M"
                taken = self.boot(command)
                if taken is None:
                    self.note(f"boot under {name} does not reach init")
                else:
                    runs.setdefault(name, []).append({"guest": taken, "host": taken, "status": 0, "output": ""})
        self.result["rows"].append({"name": "boot", "group": "boot", "title": "kernel, exec to init", "must": 0.6, "aim": 0.3,
                                    "runs": runs})
        if os.path.exists(stats):
            with open(stats, encoding="ascii") as f:
                self.result["stats"] = json.load(f)

    @staticmethod
    def boot(command):
        start = time.monotonic()
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as vm:
            taken = None
            for line in vm.stdout:
                if taken is None and b"RINGER-INIT" in line:
                    taken = time.monotonic() - start
        return taken

    def run_nano(self):
        """The bare-metal guest's lines "NANO name cycles", lowest of the rounds within the guest, medians here."""
        if not self.takes("nano"):
            return
        rows = {}
        for _ in range(self.rounds):
            for name in self.wanted:
                if name == "native":
                    continue
                vmm = self.command(name, "")[:5 if name == "qemu" else 3]
                out = output_of("timeout", "-k", "2", "-s", "KILL", str(NANO_LIMIT), *vmm, "-m", "64M", "-nodefaults", "-display", "none",
                                "-serial", "stdio", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel",
                                f"{self.build}/bench/metal/nano.elf")
                for title, cycles in re.findall(r"^NANO (.*?) (\d+)\s*$", out, re.M):
                    rows.setdefault(title, {}).setdefault(name, []).append(int(cycles))
                if " 0 failed" not in out:
                    self.note(f"nano under {name} does not end well: {out[-200:]!r}")
        self.result["nano"] = rows

    def run(self):
        self.run_programs()
        self.run_boots()
        self.run_nano()
        report.judge(self.result)
        with open(f"{self.out}/bench.json", "w", encoding="utf-8") as f:
            json.dump(self.result, f, indent=1)
        report.write_svg(self.result, f"{self.out}/bench.svg")
        print(report.text(self.result))
        if os.environ.get("PUBLISH"):
            report.publish(self.result)


if __name__ == "__main__":
    os.chdir(ROOT)
    Bench(sys.argv[1] if len(sys.argv) > 1 else "build").run()
