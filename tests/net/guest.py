#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guest on the user-mode network: DHCP, ping, files by HTTP in both directions and compared, many connections at once
through hostfwd; then the machine ends and leaves no socket behind. -T: on a tap interface, in a network namespace.
-i: iperf3 in both directions besides. -q: so many
pairs of queues and processors, on a tap interface. -e: the card is an e1000 (of the flavours, amd64 has its driver).
  guest.py [-T] [-i] [-e] [-b RINGER] [-c CONNECTIONS] [-s MEGABYTES] [-q QUEUES] [-n NETDEV-PROPERTIES] [-d CARD-PROPERTIES] [FLAVOUR]"""
import argparse
import concurrent.futures
import hashlib
import http.server
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
p = argparse.ArgumentParser()
p.add_argument("-b", default=os.path.join(os.environ.get("RINGER_BUILD", ROOT + "/build"), "ringer"))
p.add_argument("-T", action="store_true")
p.add_argument("-i", action="store_true")
p.add_argument("-e", action="store_true")
p.add_argument("-c", type=int, default=20)
p.add_argument("-s", type=int, default=8)
p.add_argument("-n", default="")
p.add_argument("-d", default="")
p.add_argument("-q", type=int, default=1)
p.add_argument("-t", type=int, default=100)
p.add_argument("flavour", nargs="?", default="cloud")
args = p.parse_args()
os.chdir(ROOT)
if args.T and not os.environ.get("IN_NAMESPACE"):
    if os.geteuid() != 0 or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        print("no rights for a tap interface here: not tested")
        sys.exit(0)
    os.environ["IN_NAMESPACE"] = "1"
    os.execvp("unshare", ["unshare", "-n", sys.executable, __file__, *sys.argv[1:]])
work = tempfile.mkdtemp(prefix="ringer-net-")

SCRIPT = """#!/bin/sh
modprobe virtio_pci; modprobe virtio_net; modprobe e1000
cat >/dhcp.sh <<'S'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
ip route add default via $router
echo "GUEST-ADDRESS $ip/$mask router $router dns $dns"
S
chmod +x /dhcp.sh
ip link set lo up
ip link set eth0 up
if [ TAP ]; then ip addr add 10.0.2.15/24 dev eth0; else udhcpc -q -n -i eth0 -s /dhcp.sh || exit 1; fi
ping -c 3 -W 5 10.0.2.2 || exit 2
mkdir /www; mount -t tmpfs -o size=80% tmpfs /www
dd if=/dev/urandom of=/www/up bs=65536 count=$((SIZE * 16)) 2>/dev/null
echo "GUEST-SUM up $(sha256sum </www/up)"
echo small >/www/small
echo GUEST-QUEUES $(ls /sys/class/net/eth0/queues | grep -c rx)
t=$(cut -d' ' -f1 /proc/uptime)
wget -q -O /www/down http://10.0.2.2:PORT/down || exit 3
echo "GUEST-SUM down $(sha256sum </www/down)"
echo "GUEST-TIME down $t $(cut -d' ' -f1 /proc/uptime)"
serve /www &
sleep 0.3
[ ! -x /bin/iperf3 ] || iperf3 -s >/dev/null &
sleep 0.5
echo GUEST-READY
until wget -q -O /dev/null http://10.0.2.2:PORT/done 2>/dev/null; do sleep 0.3; done
grep -E 'virtio|eth0' /proc/interrupts
cat /proc/net/dev /proc/net/snmp | grep -E 'eth0|^Tcp:'
exit 0
"""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok = self.path == "/down" or done.is_set()
        self.send_response(200 if ok else 404)
        self.send_header("Content-Length", str(len(data) if self.path == "/down" else 0))
        self.end_headers()
        if self.path == "/down":
            self.wfile.write(data)

    def log_message(self, *a):
        pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def check(what, ok):
    print(f"{'ok' if ok else 'FAILED'}: {what}")
    if not ok:
        failed.append(what)


failed = []
data = os.urandom(args.s << 20)
done = threading.Event()
if args.T:
    subprocess.check_call("ip link set lo up; ip tuntap add tap0 mode tap" + " multi_queue" * (args.q > 1) + "; ip addr add 10.0.2.2/24 dev tap0;"
                          "ip link set tap0 up", shell=True)
server = http.server.ThreadingHTTPServer(("0.0.0.0" if args.T else "127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
forward = free_port()
speed = 5201 if args.T else free_port()
target = "10.0.2.15:80" if args.T else f"127.0.0.1:{forward}"
back_end = "tap,id=n0,ifname=tap0,script=no" + f",queues={args.q}" * (args.q > 1) if args.T else (
    f"user,id=n0,hostfwd=tcp:127.0.0.1:{forward}-:80,hostfwd=tcp:127.0.0.1:{speed}-:5201")
open(f"{work}/test.sh", "w").write(SCRIPT.replace("PORT", str(server.server_port)).replace("SIZE", str(args.s))
                                     .replace("[ TAP ]", "true" if args.T else "false"))
kernel = subprocess.check_output(["tools/guest_kernel.sh", args.flavour], text=True).strip()
modules = subprocess.check_output(["tools/guest_modules.sh", args.flavour], text=True).strip()
os.makedirs(f"{work}/add/bin")
subprocess.check_call(["cc", "-O2", "-static", "-o", f"{work}/add/bin/serve", "tests/net/serve.c"])
if args.i:
    subprocess.check_call(f"cp /usr/bin/iperf3 {work}/add/bin && ldd /usr/bin/iperf3 | grep -o '/[^ ]*' | "
                          f"xargs -I X install -D X {work}/addX", shell=True)
subprocess.check_call(["tools/guest_initramfs.sh", "-a", f"{work}/add", "-t", f"{work}/test.sh", "-a", modules, "-o", f"{work}/init.gz"])
command = [args.b, "-m", str(512 + 4 * args.s), "-kernel", kernel, "-initrd", f"{work}/init.gz", "-append",
           "console=ttyS0 quiet", "-nographic", "-no-reboot", "-netdev",
           back_end + args.n, "-device", ("e1000,netdev=n0" if args.e else "virtio-net-pci,netdev=n0,mq=on") + args.d, "-smp", str(args.q)]
log = open(f"{work}/log", "wb")
machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
until = time.time() + args.t


def text():
    return open(f"{work}/log", errors="replace").read()


def get(path):
    with urllib.request.urlopen(f"http://{target}/{path}", timeout=args.t) as r:
        return r.read()


try:
    while "GUEST-READY" not in text() and machine.poll() is None and time.time() < until:
        time.sleep(0.1)
    out = text()
    check("DHCP", args.T or "GUEST-ADDRESS 10.0.2.15/24 router 10.0.2.2 dns 10.0.2.3" in out)
    check("ping", "3 packets transmitted, 3 packets received" in out)
    check("from the host", f"GUEST-SUM down {hashlib.sha256(data).hexdigest()}" in out)
    check("ready", "GUEST-READY" in out)
    check("pairs of queues", f"GUEST-QUEUES {args.q}\r" in out or f"GUEST-QUEUES {args.q}\n" in out)
    if not failed:
        t = time.time()
        up = get("up")
        print(f"guest to host: {args.s / (time.time() - t):.1f} MB/s")
        took = [float(x) for x in re.search(r"GUEST-TIME down (\S+) (\S+)", out).groups()]
        print(f"host to guest: {args.s / max(took[1] - took[0], 0.01):.1f} MB/s")
        check("to the host", f"GUEST-SUM up {hashlib.sha256(up).hexdigest()}" in out)
        with concurrent.futures.ThreadPoolExecutor(min(args.c, 1000)) as pool:
            check(f"{args.c} connections", all(r == b"small\n" for r in pool.map(lambda i: get("small"), range(args.c))))
    for way, option in [("host to guest", ""), ("guest to host", "-R")] if args.i else []:
        out = subprocess.run(f"iperf3 -c {target.split(':')[0]} -p {speed} -t 5 {option}", shell=True, text=True,
                             capture_output=True).stdout
        rates = re.findall(r"([0-9.]+ .bits/sec) .*receiver", out)
        check(f"iperf3 {way}: {rates}", bool(rates))
    done.set()
    check("power-off", machine.wait(max(1, until - time.time())) == 0)
    check("status", "RINGER-STATUS 0" in text())
except (subprocess.TimeoutExpired, OSError) as e:
    check(f"no time-out ({e})", False)
finally:
    machine.kill()
    machine.wait()
with socket.socket() as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", forward))  # free again
if failed:
    print(text()[-3000:])
    sys.exit(1)
subprocess.call(["rm", "-rf", work])
