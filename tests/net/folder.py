#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shared folders from a guest: a tree of files read, copied, packed and unpacked through 9p and compared on the host; links,
modes, renames, removal, locks; a folder that is read-only; nothing reached outside of it.
  folder.py [-b RINGER] [-f FILES] [-m MODEL]... [-o MOUNT-OPTIONS] [-t SECONDS] [-p] [FLAVOUR]
-p: each step in a guest of its own, which sees with a cold cache what the one before has written."""
import argparse
import filecmp
import hashlib
import os
import random
import stat
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
p = argparse.ArgumentParser()
p.add_argument("-b", default=os.path.join(os.environ.get("RINGER_BUILD", ROOT + "/build"), "ringer"))
p.add_argument("-f", type=int, default=300)
p.add_argument("-m", action="append")
p.add_argument("-o", default="msize=262144")
p.add_argument("-p", action="store_true")
p.add_argument("-t", type=int, default=100)
p.add_argument("flavour", nargs="?", default="amd64")
args = p.parse_args()
os.chdir(ROOT)
work = tempfile.mkdtemp(prefix="ringer-9p-", dir=os.environ.get("WORK", "/var/tmp"))

SCRIPT = r"""#!/bin/sh
fail() { echo "GUEST-FAILED $*"; }
modprobe virtio_pci; modprobe 9pnet_virtio; modprobe 9p
mkdir /a /b /c
mount -t 9p -o trans=virtio,version=9p2000.L,OPTIONS share /a || exit 1
mount -t 9p -o trans=virtio,version=9p2000.L,ro ro /b || exit 2
cd /a
step() { case " $(sed 's/.*steps=//;s/ .*//;y/,/ /' /proc/cmdline) " in *" $1 "*) return 0 ;; esac; return 1; }
up() { cut -d' ' -f1 /proc/uptime; }
took() { echo "GUEST-TOOK $1 $t $(up)"; t=$(up); }
t=$(up)
if step read; then
	(cd tree && find . -type f | sort | xargs sha256sum) | sha256sum | sed 's/^/GUEST-SUM /'
	took read
fi
if step copy; then cp -a tree copy || fail copy; sync; took copied; fi
if step pack; then tar -C tree -cf tree.tar . || fail tar; sync; took packed; fi
if step unpack; then mkdir unpacked && tar -C unpacked -xf tree.tar || fail untar; sync; took unpacked; fi
step rest || { cd /; umount /a; umount /b; echo GUEST-DONE; exit 0; }
echo data >new; chmod 4751 new; [ "$(stat -c %a new)" = 4751 ] || fail chmod $(stat -c %a new)
chown 12:34 new 2>/dev/null && { [ "$(stat -c %u:%g new)" = 12:34 ] || fail chown; }
ln new hard && [ "$(stat -c %h hard)" = 2 ] || fail hard link
ln -s new soft && [ "$(cat soft)" = data ] || fail soft link
mv new moved && [ "$(cat hard)" = data ] && [ ! -e new ] || fail mv
mkdir -p d/e && mv moved d/e && [ "$(cat d/e/moved)" = data ] || fail mv into
mv d g && [ "$(cat g/e/moved)" = data ] || fail mv directory
rmdir g 2>/dev/null && fail rmdir
rm -r g || fail rm
mkfifo pipe && [ -p pipe ] || fail mkfifo
(cat pipe >piped) & echo through >pipe; wait; [ "$(cat piped)" = through ] || fail pipe
touch -d '2001-02-03 04:05:06' hard && [ "$(stat -c %Y hard)" = 981173106 ] || fail touch
dd if=/dev/zero of=big bs=1M count=16 conv=fsync 2>/dev/null && [ "$(stat -c %s big)" = 16777216 ] || fail big
truncate -s 5 big && [ "$(stat -c %s big)" = 5 ] || fail truncate
exec 3>big 4<big; rm big; echo still >&3; [ "$(cat <&4)" = still ] || fail removed but open
exec 3>&- 4<&-
locks lock || fail locks
MODEL=$(sed 's/.*model=//;s/ .*//' /proc/cmdline)
[ "$(cat /sys/class/dmi/id/product_serial)" = "$MODEL" ] || fail SMBIOS
posix $([ $MODEL = none ] || echo devices) /a/posix || fail posix
ls -la . >/dev/null || fail ls
[ "$(cat /a/outside 2>/dev/null)" = secret ] && fail outside
ls /a/../secret 2>/dev/null && fail up
echo x 2>/dev/null >/b/x && fail read-only
rm -f /b/small 2>/dev/null && fail read-only rm
[ "$(cat /b/small)" = small ] || fail small
cd /; umount /a; umount /b
echo GUEST-DONE
"""


def check(what, ok):
    print(f"{'ok' if ok else 'FAILED'}: {what}")
    if not ok:
        failed.append(what)


def make_tree(path, files):
    rng = random.Random(1)
    dirs, deepest = [path], path.count("/") + 7  # as deep as Linux' source
    os.mkdir(path)
    for i in range(files):
        if i % 20 == 0:
            dirs.append(os.path.join(rng.choice([d for d in dirs[-50:] + [path] if d.count("/") < deepest]), f"dir{i}"))
            os.mkdir(dirs[-1])
        name = os.path.join(rng.choice(dirs[-20:]), f"file{i}" + "x" * rng.choice([0, 0, 30, 120]))
        with open(name, "wb") as f:
            f.write(rng.randbytes(rng.choice([0, 10, 1000, 5000, 5000, 20000])))
        os.chmod(name, rng.choice([0o644, 0o600, 0o755]))
    with open(path + "/large", "wb") as f:
        f.write(rng.randbytes(3 << 20))
    os.symlink("large", path + "/link")


def tree_sum(path):
    names = subprocess.check_output("find . -type f | LC_ALL=C sort", shell=True, cwd=path, text=True).split("\n")[:-1]
    lines = [f"{hashlib.sha256(open(os.path.join(path, n), 'rb').read()).hexdigest()}  {n}\n" for n in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def same(a, b, mapped):
    c = filecmp.dircmp(a, b, ignore=[])
    bad = c.left_only + c.right_only + c.funny_files
    for name in c.common_files:
        x, y = os.path.join(a, name), os.path.join(b, name)
        if os.path.islink(x) and mapped:
            if open(y).read() != os.readlink(x):
                bad.append(name)
        elif not filecmp.cmp(x, y, shallow=False):
            bad.append(name)
        elif not mapped and stat.S_IMODE(os.lstat(x).st_mode) != stat.S_IMODE(os.lstat(y).st_mode):
            bad.append(f"mode of {name}")
    if bad:
        print(a, bad[:5])
    return not bad and all(same(os.path.join(a, d), os.path.join(b, d), mapped) for d in c.common_dirs)


def boot(model, base, share, steps):
    log = open(f"{base}/log", "wb")
    command = [args.b, "-m", "512", "-kernel", kernel, "-initrd", f"{work}/init.gz", "-append",
               f"console=ttyS0 quiet steps={steps} model={model}", "-nographic", "-no-reboot", "-smbios", f"type=1,serial={model}", "-fsdev",
               f"local,id=f,path={share},security_model={model},multidevs=remap",
               "-device", "virtio-9p-pci,fsdev=f,mount_tag=share", "-virtfs",
               f"local,path={base}/ro,mount_tag=ro,security_model=none,readonly=on"]
    t = time.time()
    try:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=args.t).returncode
    except subprocess.TimeoutExpired:
        status = "time-out"
    out = open(f"{base}/log", errors="replace").read()
    check(f"{model}: power-off after {time.time() - t:.1f} s", status == 0)
    check(f"{model}: all of {steps}", "GUEST-DONE" in out and "GUEST-FAILED" not in out)
    for line in out.split("\n"):
        if line.startswith("GUEST-TOOK"):
            word, begin, end = line.split()[1:]
            print(f"{model}: {args.f} files {word} in {float(end) - float(begin):.1f} s", flush=True)
    return out


def run(model):
    base = f"{work}/{model}"
    share = f"{base}/share"
    os.makedirs(share)
    os.mkdir(f"{base}/ro")
    open(f"{base}/secret", "w").write("secret")
    open(f"{base}/ro/small", "w").write("small\n")
    os.symlink("../secret", f"{share}/outside")
    make_tree(f"{share}/tree", args.f)
    out = ""
    for steps in ["read", "copy", "pack", "unpack", "rest"] if args.p else ["read,copy,pack,unpack,rest"]:
        out += boot(model, base, share, steps)
    check(f"{model}: read", f"GUEST-SUM {tree_sum(share + '/tree')}" in out)
    mapped = model == "mapped-xattr"
    for copy in ["copy", "unpacked"]:
        check(f"{model}: {copy}", os.path.isdir(f"{share}/{copy}") and same(f"{share}/tree", f"{share}/{copy}", mapped))
    if args.p or not failed:
        print(f"{model}: " + ([line for line in out.split("\n") if line.startswith("posix:")] or ["posix: nothing"])[0])
    check(f"{model}: nothing left the folder", sorted(os.listdir(base)) == ["log", "ro", "secret", "share"])
    if failed:
        print(out[-3000:])


failed = []
open(f"{work}/test.sh", "w").write(SCRIPT.replace("OPTIONS", args.o))
kernel = subprocess.check_output(["tools/guest_kernel.sh", args.flavour], text=True).strip()
modules = subprocess.check_output(["tools/guest_modules.sh", args.flavour], text=True).strip()
os.makedirs(f"{work}/add/bin")
for program in ["locks", "posix"]:
    subprocess.check_call(["cc", "-O2", "-static", "-o", f"{work}/add/bin/{program}", f"tests/net/{program}.c"])
subprocess.check_call(["tools/guest_initramfs.sh", "-a", f"{work}/add", "-t", f"{work}/test.sh", "-a", modules, "-o", f"{work}/init.gz"])
for model in args.m or ["none", "mapped-xattr"] + ["passthrough"] * (os.getuid() == 0):
    if model == "mapped-xattr":
        try:
            os.setxattr(work, "user.probe", b"x")
        except OSError:
            print("no user attributes here: mapped-xattr is not tested")
            continue
    run(model)
if failed:
    sys.exit(1)
subprocess.call(["rm", "-rf", work])
