#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A busybox initramfs. /init mounts proc, sys and dev, prints the marker line RINGER-INIT, then
#   interactive (-i): gives a shell with job control on the serial console, and powers off when it ends;
#   root (-r): mounts what root=, rootfstype= and rootflags= of the command line say, and becomes its /sbin/init;
#   otherwise: runs /test.sh if there is one, prints RINGER-STATUS and its exit status, powers off.
#   tools/guest_initramfs.sh [-i] [-r] [-t test.sh] [-a dir]... -o out.gz
# -a copies a directory's contents over the root. BUSYBOX: another busybox than the host's. Needs no privileges: the
# kernel brings its own /dev/console.
set -eu

interactive= become= script= add= out=
while getopts irt:a:o: opt; do
	case $opt in
	i) interactive=1 ;;
	r) become=1 ;;
	t) script=$OPTARG ;;
	a) add="$add $OPTARG" ;;
	o) out=$OPTARG ;;
	*) exit 1 ;;
	esac
done
[ -n "$out" ] || { echo "usage: $0 [-i] [-r] [-t test.sh] [-a dir]... -o out.gz" >&2; exit 1; }
busybox=${BUSYBOX:-/bin/busybox}
[ -x $busybox ] || busybox=/usr/bin/busybox
[ -x $busybox ] || { echo "guest_initramfs.sh: no busybox: run tools/deps.sh" >&2; exit 1; }

mkdir -p "$(dirname "$out")"
root=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$root"' EXIT INT TERM
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/etc" "$root/root"
ln -s bin "$root/sbin"
cp $busybox "$root/bin/busybox"
for applet in $($busybox --list); do
	[ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
for d in $add; do cp -a "$d/." "$root/"; done
[ -z "$script" ] || install -m 755 "$script" "$root/test.sh"

cat >"$root/init" <<'INIT'
#!/bin/sh
export PATH=/bin HOME=/root TERM=${TERM:-vt100}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
echo RINGER-INIT
INIT
if [ -n "$interactive" ]; then
	cat >>"$root/init" <<'INIT'
echo "A shell on Linux $(uname -r). 'exit' powers off."
cd /root
setsid cttyhack sh
poweroff -f
INIT
elif [ -n "$become" ]; then
	cat >>"$root/init" <<'INIT'
for word in $(cat /proc/cmdline); do
	case $word in root=*|rootfstype=*|rootflags=*) eval "${word%%=*}='${word#*=}'" ;; esac
done
modprobe virtio_pci; modprobe 9pnet_virtio; modprobe "$rootfstype"
mkdir /new
mount -t "$rootfstype" -o "${rootflags:-rw}" "$root" /new || poweroff -f
mount --move /proc /new/proc; mount --move /sys /new/sys; mount --move /dev /new/dev
exec switch_root /new /sbin/init
INIT
else
	cat >>"$root/init" <<'INIT'
if [ -f /test.sh ]; then
	sh /test.sh
	echo "RINGER-STATUS $?"
fi
poweroff -f
INIT
fi
chmod 755 "$root/init"
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -o -H newc) | gzip -6n >"$out.tmp"
mv "$out.tmp" "$out"
