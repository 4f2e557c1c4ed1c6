#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Debian system whose root is a shared folder: the tree out of tools/guest_disk.sh's image is exported, systemd boots to
a login, programs run from it, files are written by root and by others, and the power button powers off. Then the host
looks at what is in the folder.
  root9p.py [MODEL...]       passthrough, mapped-xattr (default: both); RINGER_BUILD: build directory. Needs root."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
build = os.environ.get("RINGER_BUILD", "build")
limit = float(os.environ.get("BOOT_TIMEOUT", 100))
if os.getuid():
    sys.exit("owners of a root file system are root's to make: run it as root")
work = tempfile.mkdtemp(prefix="ringer-root-", dir=os.environ.get("WORK", "/var/tmp"))


def tool(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


kernel, modules = tool("tools/guest_kernel.sh", "amd64"), tool("tools/guest_modules.sh", "amd64")
source = tool("tools/guest_disk.sh", "cloud")
os.mkdir(f"{work}/root")
subprocess.run(["debugfs", "-R", f"rdump / {work}/root", f"{source}/disk.img"], stdout=subprocess.DEVNULL,
               stderr=subprocess.DEVNULL, check=True)
tool("tools/guest_initramfs.sh", "-r", "-a", modules, "-o", f"{work}/init.gz")
COMMANDS = [
    "useradd -m tester; su tester -c 'umask 027; mkdir -p ~/d/e; cp /etc/profile ~/d/s; ln -s s ~/d/l; ln ~/d/s ~/d/h'",
    "chown 1234:5678 /home/tester/d/s; chmod 4751 /home/tester/d/s; mkfifo /root/fifo; mknod /root/null c 1 3",
    "cp -a /usr/lib/systemd/system /root/copy && diff -r /usr/lib/systemd/system /root/copy && echo same-$((40 + 2))",
    "echo word >/root/null; flock /root/copy echo locked-$((40 + 2)); stat -c '%u:%g:%a-%h' /home/tester/d/s",
    "for t in 'cat /etc/shadow' 'echo x >/root/x' 'rm -f /etc/hostname'; do su tester -c \"$t\" >/dev/null 2>&1 && "
    "echo leak-$((1 + 1)); done",
]
failed = []


def check(what, ok, detail=""):
    print(f"{'ok' if ok else 'FAILED'}: {what} {'' if ok else detail}", flush=True)
    if not ok:
        failed.append(what)


def run(model):
    log, user = f"{work}/{model}.log", f"tester{len(model)}"
    begin = time.time()
    g = subprocess.Popen(
        [f"{build}/ringer", "-m", "512M", "-kernel", kernel, "-initrd", f"{work}/init.gz", "-append",
         "console=ttyS0 root=share rootfstype=9p rootflags=trans=virtio,version=9p2000.L,msize=512000,cache=loose "
         "quiet panic=-1", "-nographic", "-no-reboot",
         "-virtfs", f"local,path={work}/root,mount_tag=share,security_model={model},multidevs=remap"],
        stdin=subprocess.PIPE, stdout=open(log, "wb"), stderr=subprocess.STDOUT)

    def expect(text, mark):
        while True:
            seen = open(log, "rb").read()
            at = seen.find(text, mark)
            if at >= 0:
                return at + len(text)
            if g.poll() is not None or time.time() - begin > limit:
                raise EOFError(text.decode())
            time.sleep(0.05)

    def say(text):
        g.stdin.write(text.encode() + b"\n")
        g.stdin.flush()
    try:
        at = expect(b"login: ", 0)
        print(f"{model}: login after {time.time() - begin:.1f} s", flush=True)
        say("root")
        at = expect(b"Password: ", at)
        say("ringer")
        for i, command in enumerate(COMMANDS):
            at = expect(b"# ", at)
            say(f"{command.replace('tester', user)}; echo step-{i}-$((40 + 2))")
            at = expect(b"step-%d-42" % i, at)
        at = expect(b"# ", at)
        say("systemctl poweroff")
        status = g.wait(timeout=limit)
    except (EOFError, subprocess.TimeoutExpired) as e:
        g.kill()
        status = f"no '{e}'"
    seen = open(log, errors="replace").read()
    check(f"{model}: boots, works and powers off", status == 0, f"{status}: {seen[-2000:]}")
    check(f"{model}: copies", "same-42" in seen)
    check(f"{model}: locks", "locked-42" in seen)
    check(f"{model}: owners", "1234:5678:4751-2" in seen)
    check(f"{model}: others are kept out", "leak-2" not in seen)
    home = f"{work}/root/home/{user}/d"
    if os.path.exists(f"{home}/h"):
        st, real = os.lstat(f"{home}/s"), model == "passthrough"
        check(f"{model}: as kept on the host", ((st.st_uid, st.st_mode & 0o7777) == (1234, 0o4751)) == real and
              os.path.islink(f"{home}/l") == real and st.st_nlink == 2, st)
    for name in ["copy", "fifo", "null"]:
        subprocess.call(["rm", "-rf", f"{work}/root/root/{name}"])


for model in sys.argv[1:] or ["passthrough", "mapped-xattr"]:
    run(model)
    if failed:
        break
shutil.rmtree(work, ignore_errors=True)
sys.exit(bool(failed))
