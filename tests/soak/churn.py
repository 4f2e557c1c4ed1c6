#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Address spaces for long: churn.c's processes, more of them than the guest has memory, on Debian's amd64 kernel with a
swap disk. None may find a difference from its model, and what the host keeps for it - mappings, anonymous memory, page
tables of each of ringer's processes, sampled each second - must stay bounded: in ten minutes or more the most of the last
third may not be a third (and some) above that of the thirds before. At the end each process looks at all that it has,
once, which maps most of it: that counts for no third. When the host stops the machine or keeps it waiting for a processor
its kernel speaks of stalls and lockups afterwards: of those no more are allowed than there were such waits, and both are
told; anything else that it says is wrong.
  churn.py [SECONDS [RINGER OPTIONS...]]      an hour by default; RINGER_BUILD: build directory
PROCESSES, MEGABYTES (40 of 200), MEMORY (6G), SEED, in the environment. Samples: $RINGER_BUILD/churn/samples (with NAME set: churn-NAME)."""
import os
import subprocess
import sys
import time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
env = os.environ.get
seconds = int((sys.argv[1:2] or [3600])[0])
build, processes, megabytes = env("RINGER_BUILD", "build"), int(env("PROCESSES", "40")), int(env("MEGABYTES", "200"))
seed = int(env("SEED", str(int(time.time()))))
out = f"{build}/churn" + (f"-{env('NAME')}" if env("NAME") else "")
SLACK = {"mappings": 4096, "anonymous": 64 << 10, "tables": 16 << 10, "resident": 64 << 10}  # KiB but for the first
MAX_MAPPINGS = int(open("/proc/sys/vm/max_map_count").read())


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


os.makedirs(f"{out}/root/bin", exist_ok=True)
run("gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-static", "-Wall", "-Wextra", "-Wshadow", "-Werror", "tests/soak/churn.c", "-o",
    f"{out}/root/bin/churn")
with open(f"{out}/test.sh", "w") as f:
    f.write(f"""modprobe virtio_pci && modprobe virtio_blk && mkswap /dev/vda >/dev/null && swapon /dev/vda || exit 9
echo always >/sys/kernel/mm/transparent_hugepage/enabled
echo 500 >/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
churn {processes} {megabytes} {seconds} {seed}
status=$?
grep -E '^(pswpin|pswpout|thp_fault_alloc|thp_collapse_alloc|thp_split_page|thp_split_pmd|pgmajfault|oom_kill) ' /proc/vmstat | sed 's/^/COUNT /'
dmesg | grep -E 'WARNING:|BUG:|Oops|[Oo]ut of memory|rcu.*stall|soft lockup|I/O error' | sed 's/^/KERNEL /'
exit $status
""")
kernel, modules = run("tools/guest_kernel.sh", "amd64"), run("tools/guest_modules.sh", "amd64")
run("tools/guest_initramfs.sh", "-t", f"{out}/test.sh", "-a", modules, "-a", f"{out}/root", "-o", f"{out}/init.gz")
run("rm", "-f", f"{out}/swap")
run("truncate", "-s", f"{2 * processes * megabytes}M", f"{out}/swap")


def family(pid):
    yield pid
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        for task in tasks:
            for child in open(f"/proc/{pid}/task/{task}/children").read().split():
                yield from family(int(child))
    except OSError:
        pass  # it has ended


def sample(pid):
    """Of each of ringer's processes, in the order in which they began."""
    rows = []
    for p in sorted(set(family(pid))):
        try:
            status = dict(line.split(":", 1) for line in open(f"/proc/{p}/status"))
            number = {k: int(status[k].split()[0]) for k in ("VmRSS", "RssAnon", "VmPTE") if k in status}
            rows.append({"mappings": sum(1 for _ in open(f"/proc/{p}/maps", "rb")), "anonymous": number["RssAnon"],
                         "tables": number["VmPTE"], "resident": number["VmRSS"]})
        except (OSError, KeyError):
            pass
    return rows


def waited(pid):
    """The seconds that each of its threads has waited for a processor."""
    seconds = {}
    for p in set(family(pid)):
        try:
            for task in os.listdir(f"/proc/{p}/task"):
                seconds[task] = int(open(f"/proc/{p}/task/{task}/schedstat").read().split()[1]) / 1e9
        except (OSError, IndexError):
            pass  # it has ended
    return seconds


class Waits:
    """Stretches of WINDOW seconds in which a thread of the machine waited for SHARE of them: the least that a kernel complains of is 20 s."""
    WINDOW, SHARE = 20, 1 / 2

    def __init__(self):
        self.at, self.had, self.found = time.time(), {}, []
        self.rows = []

    def note(self, pid):
        now, had = time.time(), waited(pid)
        stopped = any(stat(p) == "T" for p in family(pid))
        one = max((had[t] - self.had[t] for t in had if t in self.had), default=0)
        lost = now - self.at if stopped else max(one, now - self.at - 5)
        self.rows = [r for r in self.rows if r[0] > now - self.WINDOW] + [(now, lost)]
        if sum(r[1] for r in self.rows) > self.WINDOW * self.SHARE:
            self.found.append(sum(r[1] for r in self.rows))
            self.rows = []
        self.at, self.had = now, had


def stat(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return ""


def judge(samples, most):
    """What has grown: the largest of a process, and the sum of all."""
    wrong = []
    third = len(samples) // 3
    for kind, slack in SLACK.items():
        for name, of in ("largest", max), ("sum", sum):
            peaks = [max(of(r[kind] for r in rows) for rows in part)
                     for part in (samples[:third], samples[third:2 * third], samples[2 * third:])]
            grown = seconds >= 600 and peaks[2] > max(peaks[:2]) * 4 / 3 + slack
            print(f"{kind:10} {name:8} in each third: {' '.join(f'{p:10}' for p in peaks)}{'  GROWS' if grown else ''}")
            if grown:
                wrong.append(f"{kind} ({name})")
    if most > MAX_MAPPINGS:
        wrong.append(f"{most} mappings")
    return wrong


begin = time.time()
samples, most, waits = [], 0, Waits()  # all but those of the end; mappings of one process at any time
with open(f"{out}/log", "wb") as log:
    vm = subprocess.Popen([f"{build}/ringer", "-m", env("MEMORY", "6G"), "-kernel", kernel, "-initrd", f"{out}/init.gz", "-append",
                           "console=ttyS0 quiet panic=-1", "-nographic", "-no-reboot", "-drive",
                           f"file={out}/swap,format=raw,if=virtio", f"--stats=text:{out}/stats"] + sys.argv[2:],
                          stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
try:
    with open(f"{out}/samples", "w") as f:
        while vm.poll() is None and time.time() - begin < 3 * seconds + 600:
            rows = sample(vm.pid)
            waits.note(vm.pid)
            if rows and time.time() - begin < seconds:
                samples.append(rows)
            most = max([most] + [r["mappings"] for r in rows])
            if rows:
                f.write(f"{time.time() - begin:.0f} " + " ".join(",".join(str(v) for v in r.values()) for r in rows) + "\n")
                f.flush()
            time.sleep(1)
finally:
    vm.kill()
    vm.wait()
    os.unlink(f"{out}/swap")
lines = open(f"{out}/log", errors="replace").read().replace("\r", "").split("\n")
said = [line for line in lines if line.startswith(("CHURN", "COUNT", "DIFFERENCE", "KERNEL", "RINGER-STATUS"))]
print("\n".join(line for i, line in enumerate(said) if not line.startswith("CHURN") or i > len(said) - 30 or i % 30 == 0))
wrong = judge(samples, most) if len(samples) > max(seconds / 4, 5) else [f"only {len(samples)} samples"]
stalls = [s for s in said if s.startswith("KERNEL") and ("stall" in s or "soft lockup" in s)]
print(f"the host kept it waiting {len(waits.found)} times, {sum(waits.found):.0f} s; its kernel spoke of a stall {len(stalls)} times")
if len(stalls) > len(waits.found):
    wrong.append("more stalls than the host made")
if vm.returncode or "CHURN ended without a difference" not in lines or any(
        s.startswith(("DIFF", "KERNEL")) and s not in stalls for s in said):
    wrong.append(f"the guest (status {vm.returncode}): see {out}/log")
print(f"churn: seed {seed}, {seconds} s: " + ("; ".join(wrong) if wrong else "no difference, bounded"))
sys.exit(bool(wrong))
