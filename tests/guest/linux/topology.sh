#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What a Linux guest makes of -smp's topology, -numa and pmu=on: packages, cores and threads, nodes and their memory, counters.
cd "$(dirname "$0")/../../.." || exit 1
build=${RINGER_BUILD:-build}
out=$build/guest-topology
mkdir -p "$out"
cat >"$out/test.sh" <<'GUEST'
cd /sys/devices/system/cpu
for n in 0 1 2 3 4 5 6 7; do
	[ -d cpu$n/topology ] || continue
	t=cpu$n/topology
	echo "CPU $n package $(cat $t/physical_package_id) core $(cat $t/core_id) threads $(cat $t/thread_siblings_list)" \
		"node $(ls -d cpu$n/node* | sed 's/.*node//')"
done
echo "POSSIBLE $(cat possible)"
for node in /sys/devices/system/node/node?; do
	mb=$(awk '/MemTotal/ { print int($4 / 1024 / 64 + 0.9) * 64 }' $node/meminfo)
	echo "NODE ${node##*node} cpus $(cat $node/cpulist) memory $mb distance $(cat $node/distance)"
done
dmesg | grep -E 'Intel PMU driver|no PMU driver|PMU not available|generic registers|fixed-purpose events|WARNING|BUG:' |
	sed 's/^.*\] /LOG /; s/: *\([0-9]\)/ \1/; s/Perf.* \(no\|Intel\) PMU/\1 PMU/;
		s/.*PMU not available.*/LOG no PMU driver, software events only./'
GUEST
tools/guest_initramfs.sh -t "$out/test.sh" -o "$out/init.gz" || exit 1
kernel=$(tools/guest_kernel.sh cloud) || exit 1
status=0

guest() { # name of the expected output, options
	name=$1
	shift
	timeout -k 5 120 "$build/ringer" -kernel "$kernel" -initrd "$out/init.gz" -append "console=ttyS0 panic=-1" -nographic \
		-no-reboot "$@" </dev/null >"$out/$name.log" 2>&1
	tr -d '\r' <"$out/$name.log" | sed -n 's/.*\(CPU [0-9] package\|POSSIBLE \|NODE [0-9] \|LOG \)/\1/p' >"$out/$name.got"
	cat >"$out/$name.want"
	if diff "$out/$name.want" "$out/$name.got"; then
		echo "PASS $name"
	else
		status=1
		echo "FAIL $name: see $out/$name.log"
	fi
}

guest packages -smp 6,maxcpus=8,sockets=2,cores=2,threads=2 -m 1G -cpu host,pmu=on,vendor=GenuineIntel \
	-object memory-backend-ram,id=a,size=384M -object memory-backend-ram,id=b,size=640M \
	-numa node,cpus=0-3,memdev=a -numa node,cpus=4-7,memdev=b -numa dist,src=0,dst=1,val=31 <<'WANT'
CPU 0 package 0 core 0 threads 0-1 node 0
CPU 1 package 0 core 0 threads 0-1 node 0
CPU 2 package 0 core 1 threads 2-3 node 0
CPU 3 package 0 core 1 threads 2-3 node 0
CPU 4 package 1 core 0 threads 4-5 node 1
CPU 5 package 1 core 0 threads 4-5 node 1
POSSIBLE 0-7
NODE 0 cpus 0-3 memory 384 distance 10 31
NODE 1 cpus 4-5 memory 640 distance 31 10
LOG Intel PMU driver.
LOG ... generic registers 4
LOG ... fixed-purpose events 3
WANT
guest three -smp 6,sockets=2,cores=3 -m 256M <<'WANT'
CPU 0 package 0 core 0 threads 0 node 0
CPU 1 package 0 core 1 threads 1 node 0
CPU 2 package 0 core 2 threads 2 node 0
CPU 3 package 1 core 0 threads 3 node 0
CPU 4 package 1 core 1 threads 4 node 0
CPU 5 package 1 core 2 threads 5 node 0
POSSIBLE 0-5
NODE 0 cpus 0-5 memory 256 distance 10
LOG no PMU driver, software events only.
WANT
exit $status
