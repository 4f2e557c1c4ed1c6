#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two questions beside the bench, in its machine.

    python3 bench/extra.py compile [BUILD [ROUNDS]]   two compiles at a time on two processors against one at a time on one
    python3 bench/extra.py bits32 [BUILD [ROUNDS]]    programs of five.c built for 32 bits and for 64, each against itself natively:
                                                      the least processor time of the rounds
    python3 bench/extra.py idle [BUILD [SECONDS]]     what a booted guest that does nothing takes of the host, with 1, 4 and 8 processors

ONLY="getppid32 fib32": these of bits32 only. Two processors of the host must be free for `compile`.
"""
import os
import resource
import subprocess
import sys
import time

import vm

FILES = "for f in decode rewrite mmu machine options i8254; do gcc -O2 -w -c /bench/src/$f.i -o /tmp/$k$f.o; done"
# fib as in the bench (-O1), and with its recursion unfolded by the compiler
BITS32 = {"primes": "five{} primes 4000000", "fib": "five{} fib 41", "fib-O2": "fiveO2-{} fib 42", "memsweep": "five{} memsweep 2",
          "getppid": "five{} getppid 2000000"}
PROGRAMS = {"one": f"k=0; {FILES}; {FILES}", "two": f"for k in 1 2; do ({FILES}) & done; wait"}
PROGRAMS |= {name + bits: "/bench/" + command.format(bits) for name, command in BITS32.items() for bits in ("32", "64")}


def build_initrd(build):
    """The bench's, and the programs above over it."""
    kernel = subprocess.run(["bench/prepare.sh", build], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
    out = os.path.abspath(f"{build}/bench/extra")
    os.makedirs(f"{out}/bench", exist_ok=True)
    for bits in ("32", "64"):
        for level, program in (("-O1", "five"), ("-O2", "fiveO2-")):
            subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", level, "-w", "-static", f"-m{bits}", "-o",
                            f"{out}/bench/{program}{bits}", "bench/programs/five.c"], check=True)
    with open(f"{out}/bench/programs.txt", "w", encoding="ascii") as f:
        f.writelines(f"{name} {command}\n" for name, command in PROGRAMS.items())
    subprocess.run(f"(cat {build}/bench/init.cpio; cd {out}; find bench | cpio --quiet -o -H newc) >{out}.cpio", shell=True, check=True)
    return kernel, f"{out}.cpio", out


def guest(build, kernel, initrd, processors):
    place = vm.Place("ringer", [f"{build}/ringer", "-nographic", "-m", "2G", "-kernel", kernel, "-initrd", initrd, "-append",
                                "console=ttyS0 quiet", "-no-reboot", "-smp", str(processors)], initrd + ".log")
    place.start()
    return place


def run(place, program, what):
    r = place.run(program)
    if r["status"]:
        sys.exit(f"{program}: status {r['status']}")
    return r[what]


def children_time():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_time(place):
    """Seconds that the host has run its processes' threads, to the nanosecond: ticks are too coarse here."""
    total = 0
    for pid in place.descendants():
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
    return total / 1e9


def idle_times(build, kernel, initrd, seconds):
    for processors in (1, 4, 8):
        place = guest(build, kernel, initrd, processors)
        time.sleep(5)
        before, begun = run_time(place), time.monotonic()
        time.sleep(seconds)
        used = 100 * (run_time(place) - before) / (time.monotonic() - begun)
        print(f"idle, {processors} processors: {used:.2f}% of a processor, {used / processors:.2f}% each", flush=True)
        place.stop()


def compile_times(build, kernel, initrd, rounds):
    times = {}
    for processors, program in ((1, "one"), (2, "two")):
        place = guest(build, kernel, initrd, processors)
        times[program] = [run(place, program, "guest") for _ in range(rounds)]
        place.stop()
    for i, (one, two) in enumerate(zip(times["one"], times["two"])):
        print(f"{'first' if i == 0 else 'again'}: one processor {one:.2f} s, two {two:.2f} s: {one / two:.2f} times as fast")


def bits32_times(build, kernel, initrd, out, rounds):
    wanted = os.environ.get("ONLY", " ".join(n + "32" for n in BITS32)).split()
    place = guest(build, kernel, initrd, 1)
    for name, command in BITS32.items():
        if name + "32" not in wanted:
            continue
        ratio = {}
        for bits in ("64", "32"):
            native, ours = [], []
            for _ in range(rounds):
                before = children_time()
                subprocess.run(f"{out}/bench/{command.format(bits)}".split(), stdout=subprocess.DEVNULL, check=True)
                native.append(children_time() - before)
                ours.append(run(place, name + bits, "cpu"))
            ratio[bits] = min(ours) / min(native)
            print(f"{name}{bits}: native {min(native):.3f} s, guest {min(ours):.3f} s: {ratio[bits]:.2f}")
        print(f"{name}: 32-bit ratio / 64-bit ratio {ratio['32'] / ratio['64']:.2f}", flush=True)
    place.stop()


def main():
    what, build, rounds = (sys.argv[1:] + ["", "build", "10" if sys.argv[1:2] == ["idle"] else "2"][len(sys.argv) - 1:])[:3]
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    if what == "compile":
        compile_times(build, *build_initrd(build)[:2], int(rounds))
    elif what == "idle":
        idle_times(build, *build_initrd(build)[:2], float(rounds))
    elif what == "bits32":
        bits32_times(build, *build_initrd(build), int(rounds))
    else:
        sys.exit(__doc__)


main()
