#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A guest's network against the host: iperf3 to it and from it, and ping one after the other; through the user-mode
# network and through a tap interface, under ringer and under QEMU TCG, in one run. All in a network namespace of its
# own, where no other traffic is. Prints Mbit/s, and the mean round trip in milliseconds.
#   tests/soak/iperf.sh [SECONDS [user|tap]]        RINGER_BUILD: build directory. Needs root, iperf3 and /dev/net/tun.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-3} build=${RINGER_BUILD:-build}
[ "${IN_NAMESPACE-}" ] || { export IN_NAMESPACE=1; exec unshare -n "$0" "$@"; }
out=$build/iperf
rm -rf "$out"
mkdir -p "$out/add"
iperf=$(command -v iperf3) || { echo "iperf.sh: install iperf3" >&2; exit 1; }
for f in $iperf $(ldd "$iperf" | grep -o '/[^ ]*'); do
	install -D "$f" "$out/add/$f"
done
cat >"$out/test.sh" <<EOF
modprobe virtio_pci; modprobe virtio_net
ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
ping -c 3 -W 5 10.0.2.2 >/dev/null
rate() { sed -n 's/.* \([0-9.]*\) Mbits.sec.*receiver.*/\1/p'; }
for i in 1 2; do
	echo "result to the host: \$($iperf -c 10.0.2.2 -f m -t $seconds | rate) Mbit/s"
	echo "result from the host: \$($iperf -c 10.0.2.2 -f m -R -t $seconds | rate) Mbit/s"
	echo "result ping: \$(ping -A -c 500 10.0.2.2 | sed -n 's|.*= [0-9.]*/\([0-9.]*\)/.*|\1|p') ms"
done
exit 0
EOF
kernel=$(tools/guest_kernel.sh cloud)
tools/guest_initramfs.sh -t "$out/test.sh" -a "$(tools/guest_modules.sh cloud)" -a "$out/add" -o "$out/init.gz"
ip link set lo up
ip tuntap add tap0 mode tap
ip addr add 10.0.2.2/24 dev tap0
ip link set tap0 up
"$iperf" -s >/dev/null 2>&1 &
server=$!
trap 'kill $server' EXIT
guest() {
	timeout -k 2 $((seconds * 8 + 60)) "$@" -m 512M -kernel "$kernel" -initrd "$out/init.gz" -append "console=ttyS0 quiet" \
		-nographic -no-reboot -device virtio-net-pci,netdev=n0 </dev/null >"$out/log" 2>&1 || { tail "$out/log"; exit 1; }
	tr -d '\r' <"$out/log" | sed -n 's/^result /  /p'
}
qemu=${QEMU-qemu-system-x86_64}
for net in user tap,ifname=tap0,script=no,downscript=no; do
	[ "${net%%,*}" = "${2-${net%%,*}}" ] || continue
	echo "${net%%,*}, ringer:" && guest "$build/ringer" -netdev "$net,id=n0"
	[ -z "$qemu" ] || { echo "${net%%,*}, QEMU TCG:" && guest "$qemu" -accel tcg -cpu max -netdev "$net,id=n0"; }
done
