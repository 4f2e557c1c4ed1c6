#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The Debian userland the bench runs in, the same tree for all: natively by chroot, in a guest as its initramfs.
#   bench/userland.sh        prints the tree, $RINGER_GUEST/userland (build/guest/userland)
# Debian's own packages, resolved and fetched by apt as for an empty system and unpacked; what no row needs (manuals,
# translations, the link-time optimizer) is left out to keep the initramfs small. No package script runs. Cached.
set -eu

packages="gcc-12 libc6-dev python3.11 perl-base sqlite3 openssl xz-utils zstd coreutils dash"
cache=${RINGER_GUEST:-$(cd "$(dirname "$0")/.." && pwd)/build/guest}
tree=$cache/userland
if [ "$(cat "$tree/.packages" 2>/dev/null)" = "$packages" ]; then
	echo "$tree"
	exit 0
fi

tmp=$cache/.userland.$$
mkdir -p "$tmp/debs/partial" "$tmp/tree"
trap 'rm -rf "$tmp"' EXIT INT TERM
: >"$tmp/status"
echo "userland.sh: fetching $packages and what they need" >&2
# shellcheck disable=SC2086
apt-get -qq -y -o Dir::State::status="$tmp/status" -o Dir::Cache::archives="$tmp/debs" -o APT::Sandbox::User=root \
	-o APT::Install-Recommends=false -o Debug::NoLocking=true --download-only install $packages >&2
for deb in "$tmp"/debs/*.deb; do
	case $deb in
	*/dpkg_* | */tar_* | */debconf_* | */apt_*) continue ;;
	esac
	dpkg-deb --fsys-tarfile "$deb" | tar -C "$tmp/tree" -x --keep-directory-symlink
done
cd "$tmp/tree"
rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/info usr/share/zoneinfo usr/share/i18n usr/lib/*/perl-base/unicore \
	usr/lib/*/gconv usr/lib/locale var/cache
find . \( -name lto1 -o -name '*lto-dump*' -o -name 'liblto*' -o -name '*.gold' -o -name '*gprofng*' -o -name '*-dwp*' -o -name 'lib[cm]*.a' -o -name '*gp-*' \
	-o -name 'lib?san*' -o -name 'lib??san*' \) -exec rm -rf {} +
for d in bin sbin lib lib64; do [ -e $d ] || ln -s usr/$d $d; done
ln -sf gcc-12 usr/bin/gcc
ln -sf python3.11 usr/bin/python3
mkdir -p proc sys dev tmp root
chmod 1777 tmp
echo "$packages" >.packages
rm -rf "$tree"
mv "$tmp/tree" "$tree"
echo "$tree"
