#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Wrong values for every option, as a hostile user gives them: ringer must answer with one line that begins with
"ringer: " and status 1, or start the machine (whose monitor is /bin/false here and ends at once); never a signal, a
sanitizer's report, silence, or a file, process or socket left behind. Every value of a list for every option, and pairs
and mutations of the command lines of peers.txt by chance.
  fuzz_options.py RINGER PEERS [CASES [SEED]]      with a build of MODE=asan above all"""
import os
import random
import re
import shlex
import subprocess
import sys
import tempfile

from tiny_kernel import make_kernel

RINGER, PEERS = os.path.abspath(sys.argv[1]), open(sys.argv[2]).read()
cases, seed = int((sys.argv[3:4] or [400])[0]), int((sys.argv[4:5] or [1])[0])
os.chdir(tempfile.mkdtemp(prefix="ringer-fuzz-"))
make_kernel("kernel")
for name in ("disk.img", "seed.iso"):
    with open(name, "wb") as f:
        f.truncate(1 << 20)
os.mkdir("share")
env = dict(os.environ, RINGER_VMM="/bin/false", ASAN_OPTIONS="exitcode=99:detect_leaks=0", UBSAN_OPTIONS="halt_on_error=1")
BOOT = ["-m", "64M", "-display", "none", "-kernel", "kernel"]
names = sorted(set(re.findall(r"^  -?-([a-zA-Z0-9_-]+)", subprocess.run([RINGER, "-help"], capture_output=True, text=True).stdout, re.M)))
names += ["hdb", "fdb", "qmp-pretty", "net", "usbdevice", "realtime", "set", "loadvm", "icount", "k", "L"]
names = [n for n in names if n not in ("daemonize", "version", "help", "pidfile", "debugcon")]
VALUES = ["", ",", "=", "=,=", ",,,", "x", "x=y", "id=", "id=a", "id=a,id=b", "-1", "0", "99999999999999999999", "0x", "1e9", "4G,",
          "on", "off", "help,", "none", "%s%n%d", "a" * 70, "a" * 700, "a" * 5000, "a=" + "b" * 5000, "../../x", "/", "/dev/null",
          "/nonexistent/x", "\x01\x02", "é", "\xff", "{", "{}", '{"a":', '{"driver":1}', '{"driver":"virtio-rng-pci","id":["x"]}',
          "[" * 100, "tcp:", "tcp::", "tcp::99999999", "unix:", "unix:" + "p" * 200, "telnet:", "telnet:x", "file:", "chardev:",
          "chardev:x", "user,", "user,id=", "user,hostfwd=", "user,hostfwd=tcp::-:", "file=", "file=disk.img,if=", "node,cpus=9-",
          "virtio-blk-pci,drive=", "virtio-net-pci,mac=:::::", "isa-debug-exit,iobase=-1", "type=1,", "type=x", "1,,1", "null,id=",
          "cpus=1,cpus=2,cores=0", "local,path=", "memory-backend-ram,id=x,size=-1", "host,+", "host,=on", "a.b=", ".=", "base="]
rng = random.Random(seed)


def mutate(words):
    words = list(words)
    i = rng.randrange(len(words))
    w = words[i]
    kind = rng.randrange(6)
    if kind == 0 and len(w) > 1:
        words[i] = w[:rng.randrange(len(w))]
    elif kind == 1:
        words[i] = w + "," + rng.choice(VALUES)
    elif kind == 2:
        del words[i]
    elif kind == 3:
        words.insert(i, rng.choice(words))
    elif kind == 4 and w:
        at = rng.randrange(len(w))
        words[i] = w[:at] + rng.choice(",=:.-%\"{}0x~") + w[at + 1:]
    else:
        words[i] = rng.choice(VALUES)
    return words


def usable(word):
    return "\0" not in word


def run(words):
    words = [w.encode("utf-8", "surrogateescape") if usable(w) else b"" for w in words]
    p = subprocess.Popen([RINGER, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        err = p.communicate(timeout=3)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:  # it waits for a peer, or is paused: it must end when it is told to
        p.terminate()
        try:
            err = p.communicate(timeout=5)[1].decode(errors="replace")
            return "" if p.returncode in (0, 1) else f"after SIGTERM status {p.returncode}: {err[-300:]}"
        except subprocess.TimeoutExpired:
            p.kill()
            return "hangs"
    err = re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+Z ", "", err, flags=re.M)  # -msg timestamp=on
    lines = [x for x in err.split("\n") if x.strip() and "warning: " not in x and "waiting for a connection" not in x]
    if p.returncode == 0:
        return ""
    if p.returncode != 1:
        return f"status {p.returncode}: {err[-1500:]}"
    if not lines or not lines[-1].startswith("ringer: ") or len(lines) > 1:
        return f"not one line: {err[-400:]!r}"
    return "" if len(lines[-1]) < 700 else f"a line of {len(lines[-1])}"


def plans():
    peers = [shlex.split(x.split(": ", 1)[1]) for x in PEERS.split("\n") if x and not x.startswith("#")]
    peers = [[w for w in p if w not in ("-daemonize",)] for p in peers]
    every = [[*BOOT, "-" + n, v] for n in names for v in VALUES]
    rng.shuffle(every)
    for i in range(cases):
        if i % 3 == 2:
            words = rng.choice(peers)
            for _ in range(rng.randrange(1, 4)):
                words = mutate(words) or ["-S"]
            yield [*words, "-pidfile", "pid"]
        else:
            yield every[i % len(every)]


failed = 0
for number, words in enumerate(plans()):
    why = run(words)
    if why:
        failed += 1
        print(f"FAILED {number}: {' '.join(shlex.quote(w)[:200] for w in words)}\n   {why}", flush=True)
        if failed > 30:
            break
left = [f for f in os.listdir(".") if f == "pid"]
print(f"{cases} command lines, {failed} failed{', a pidfile is left' if left else ''}")
sys.exit(1 if failed or left else 0)
