#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Debian's own kernel, unmodified: resolve the metapackage of a flavour to the real package, fetch it through apt, and
# unpack its /boot into build/guest/FLAVOUR/ as vmlinuz and config. Prints the path of vmlinuz.
#   tools/guest_kernel.sh cloud|amd64|rt
# Cached: with a vmlinuz in place nothing is fetched. RINGER_GUEST names another cache.
set -eu

flavour=${1:?usage: $0 cloud|amd64|rt}
case "$flavour" in
cloud) meta=linux-image-cloud-amd64 ;;
amd64) meta=linux-image-amd64 ;;
rt) meta=linux-image-rt-amd64 ;;
*) echo "guest_kernel.sh: no flavour '$flavour': cloud, amd64 or rt" >&2; exit 1 ;;
esac

cache=${RINGER_GUEST:-$(cd "$(dirname "$0")/.." && pwd)/build/guest}
dir=$cache/$flavour
if [ -s "$dir/vmlinuz" ]; then
	echo "$dir/vmlinuz"
	exit 0
fi

depends() { # the real package that the metapackage depends on now
	apt-cache --no-all-versions show "$meta" 2>/dev/null | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -1
}
package=$(depends)
if [ -z "$package" ]; then
	if [ "$(id -u)" = 0 ]; then apt-get -qq update; else sudo apt-get -qq update; fi >&2
	package=$(depends)
fi
[ -n "$package" ] || { echo "guest_kernel.sh: apt does not know $meta: check /etc/apt/sources.list" >&2; exit 1; }

tmp=$cache/.$flavour.$$
mkdir -p "$tmp"
trap 'rm -rf "$tmp"' EXIT INT TERM
echo "guest_kernel.sh: fetching $package" >&2
(cd "$tmp" && apt-get -qq -o APT::Sandbox::User=root download "$package") >&2
dpkg-deb --fsys-tarfile "$tmp"/*.deb | tar -C "$tmp" -x ./boot
mv "$tmp"/boot/vmlinuz-* "$tmp/boot/vmlinuz"
mv "$tmp"/boot/config-* "$tmp/boot/config"
echo "$package" >"$tmp/boot/package"
rm -rf "$dir"
mv "$tmp/boot" "$dir"
echo "$dir/vmlinuz"
