#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The modules of Debian's kernel that a guest with virtio devices or an e1000 needs (and what they depend on), as a directory with
# lib/modules/VERSION in it, for guest_initramfs.sh -a; the guest then loads them with modprobe. Prints its path.
#   tools/guest_modules.sh cloud|amd64
# Cached beside the kernel (guest_kernel.sh).
set -eu

flavour=${1:?usage: $0 cloud|amd64}
kernel=$("$(dirname "$0")/guest_kernel.sh" "$flavour")
dir=$(dirname "$kernel")
out=$dir/modules
[ ! -s "$out/complete-4" ] || { echo "$out"; exit 0; }

package=$(cat "$dir/package")
version=${package#linux-image-}
tmp=$dir/.modules.$$
mkdir -p "$tmp/package" "$tmp/modules"
trap 'rm -rf "$tmp"' EXIT INT TERM
echo "guest_modules.sh: fetching $package" >&2
(cd "$tmp/package" && apt-get -qq -o APT::Sandbox::User=root download "$package") >&2
k=./lib/modules/$version/kernel
dpkg-deb --fsys-tarfile "$tmp"/package/*.deb | tar -C "$tmp/modules" -x --wildcards "$k/drivers/virtio/*" \
	"$k/drivers/block/virtio_blk.ko" "$k/drivers/net/*fail*" "$k/drivers/net/virtio_net.ko" "$k/drivers/net/ethernet/intel/e1000/e1000.ko" "$k/net/core/fail*" \
	"$k/drivers/char/hw_random/virtio-rng.ko" "$k/drivers/char/virtio_console.ko" "$k/drivers/scsi/s[dcr]*" \
	"$k/drivers/scsi/virtio_scsi.ko" "$k/drivers/ata/libata.ko" "$k/drivers/ata/ata_piix.ko" \
	"$k/drivers/ata/*ahci.ko" "$k/drivers/cdrom/*" "$k/lib/crc*" "$k/crypto/crc*" "$k/block/t10*" \
	"./lib/modules/$version/modules.order" "./lib/modules/$version/modules.builtin*" 2>"$tmp/tar.err" || true
# What one flavour has built in, or lacks, is missing in the archive.
[ -z "$(grep -v -e 'Not found in archive' -e 'previous errors' "$tmp/tar.err")" ] || { cat "$tmp/tar.err" >&2; exit 1; }
for extra in net/9p fs/9p fs/netfs fs/fscache; do
	dpkg-deb --fsys-tarfile "$tmp"/package/*.deb | tar -C "$tmp/modules" -x "$k/$extra" 2>/dev/null || true
done
busybox depmod -b "$tmp/modules" "$version" 2>/dev/null || depmod -b "$tmp/modules" "$version"
for mark in complete complete-2 complete-3 complete-4; do echo "$version" >"$tmp/modules/$mark"; done
rm -rf "$out"
mv "$tmp/modules" "$out"
echo "$out"
