#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A Debian system on a disk: a root file system made with mmdebstrap (systemd, a login on the serial console, Debian's
# kernel with its own initramfs), packed into a raw ext4 image. root's password is "ringer". Prints the directory with
# disk.img, vmlinuz and initrd.img.
#   tools/guest_disk.sh cloud|amd64
# Cached beside the kernels (RINGER_GUEST, or build/guest). Copy the image, or run it with snapshot=on. Needs root, or
# user namespaces.
set -eu

flavour=${1:?usage: $0 cloud|amd64}
case "$flavour" in
cloud) kernel=linux-image-cloud-amd64 ;;
amd64) kernel=linux-image-amd64 ;;
*) echo "guest_disk.sh: no flavour '$flavour': cloud or amd64" >&2; exit 1 ;;
esac
cache=${RINGER_GUEST:-$(cd "$(dirname "$0")/.." && pwd)/build/guest}
dir=$cache/disk-$flavour
[ ! -s "$dir/disk.img" ] || { echo "$dir"; exit 0; }

tmp=$cache/.disk-$flavour.$$
mkdir -p "$tmp"
trap 'rm -rf "$tmp"' EXIT INT TERM
cat >"$tmp/customize.sh" <<'HOOK'
#!/bin/sh
set -eu
root=$1 tmp=$2
echo ringer >"$root/etc/hostname"
echo '/dev/vda / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
echo 'root:ringer' | chpasswd -R "$root"
cp "$root"/boot/vmlinuz-* "$tmp/vmlinuz"
cp "$root"/boot/initrd.img-* "$tmp/initrd.img"
rm -f "$root"/var/cache/apt/archives/*.deb
mkdir "$tmp/root"
mount --bind "$root" "$tmp/root" # without what is mounted below it
mke2fs -q -t ext4 -F -L root -d "$tmp/root" "$tmp/disk.img" 1500M
umount "$tmp/root"
rmdir "$tmp/root"
HOOK
chmod 755 "$tmp/customize.sh" "$tmp"
echo "guest_disk.sh: making a Debian system with $kernel" >&2
mmdebstrap --quiet --variant=apt --aptopt='APT::Sandbox::User "root"' \
	--include="systemd-sysv,udev,dbus,login,passwd,e2fsprogs,initramfs-tools,$kernel" \
	--customize-hook="$tmp/customize.sh \"\$1\" \"$tmp\"" bookworm /dev/null >"$cache/disk-$flavour.log" 2>&1 ||
	{ echo "guest_disk.sh: mmdebstrap failed: see $cache/disk-$flavour.log" >&2; exit 1; }
rm "$tmp/customize.sh"
rm -rf "$dir"
mv "$tmp" "$dir"
echo "$dir"
