#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A Debian system on a disk: a root file system made with mmdebstrap (systemd, a login on the serial console, Debian's
# kernel with its own initramfs), packed into a raw ext4 image. root's password is "ringer". Prints the directory with
# disk.img, vmlinuz and initrd.img. With "full": gcc, Python, SQLite, OpenSSL, and an SSH server which takes the key
# that lies there too; the network is configured by DHCP.
#   tools/guest_disk.sh cloud|amd64 [full]
# Cached beside the kernels (RINGER_GUEST, or build/guest). Copy the image, or run it with snapshot=on. Needs root, or
# user namespaces.
set -eu

flavour=${1:?usage: $0 cloud|amd64 [full]} kind=${2:+-full} more= size=1500M
case "$flavour" in
cloud) kernel=linux-image-cloud-amd64 ;;
amd64) kernel=linux-image-amd64 ;;
*) echo "guest_disk.sh: no flavour '$flavour': cloud or amd64" >&2; exit 1 ;;
esac
cache=${RINGER_GUEST:-$(cd "$(dirname "$0")/.." && pwd)/build/guest}
[ -z "$kind" ] || more=,gcc,libc6-dev,python3,sqlite3,openssl,openssh-server,iproute2 size=3000M
dir=$cache/disk-$flavour$kind
[ ! -s "$dir/disk.img" ] || { echo "$dir"; exit 0; }

tmp=$cache/.disk-$flavour$kind.$$
mkdir -p "$tmp"
trap 'rm -rf "$tmp"' EXIT INT TERM
cat >"$tmp/customize.sh" <<'HOOK'
#!/bin/sh
set -eu
root=$1 tmp=$2 size=$3
echo ringer >"$root/etc/hostname"
echo '/dev/vda / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
echo 'root:ringer' | chpasswd -R "$root"
cp "$root"/boot/vmlinuz-* "$tmp/vmlinuz"
cp "$root"/boot/initrd.img-* "$tmp/initrd.img"
rm -f "$root"/var/cache/apt/archives/*.deb
if [ -e "$tmp/key.pub" ]; then
	install -D -m 600 "$tmp/key.pub" "$root/root/.ssh/authorized_keys"
	printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n' >"$root/etc/systemd/network/20-dhcp.network"
	ln -s /lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"
fi
mkdir "$tmp/root"
mount --bind "$root" "$tmp/root" # without what is mounted below it
mke2fs -q -t ext4 -F -L root -d "$tmp/root" "$tmp/disk.img" "$size"
umount "$tmp/root"
rmdir "$tmp/root"
HOOK
chmod 755 "$tmp/customize.sh" "$tmp"
[ -z "$kind" ] || ssh-keygen -q -t ed25519 -N "" -f "$tmp/key"
echo "guest_disk.sh: making a Debian system with $kernel" >&2
mmdebstrap --quiet --variant=apt --aptopt='APT::Sandbox::User "root"' \
	--include="systemd-sysv,udev,dbus,login,passwd,e2fsprogs,initramfs-tools,$kernel$more" \
	--customize-hook="$tmp/customize.sh \"\$1\" \"$tmp\" $size" bookworm /dev/null >"$cache/disk-$flavour$kind.log" 2>&1 ||
	{ echo "guest_disk.sh: mmdebstrap failed: see $cache/disk-$flavour$kind.log" >&2; exit 1; }
rm "$tmp/customize.sh"
rm -rf "$dir"
mv "$tmp" "$dir"
echo "$dir"
