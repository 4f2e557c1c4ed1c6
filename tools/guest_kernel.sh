#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Debian's own kernel, unmodified: resolve the metapackage of a flavour to the real package, fetch it through apt, and
# unpack its /boot into build/guest/FLAVOUR/ as vmlinuz and config. Prints the path of vmlinuz.
#   tools/guest_kernel.sh cloud|amd64|rt|686-pae
# Cached: with a vmlinuz in place nothing is fetched. RINGER_GUEST names another cache. 686-pae is i386's: apt is asked
# with lists of its own, and a 32-bit busybox is put beside the kernel.
set -eu

flavour=${1:?usage: $0 cloud|amd64|rt}
case "$flavour" in
cloud) meta=linux-image-cloud-amd64 ;;
amd64) meta=linux-image-amd64 ;;
rt) meta=linux-image-rt-amd64 ;;
686-pae) meta=linux-image-686-pae ;;
*) echo "guest_kernel.sh: no flavour '$flavour': cloud, amd64, rt or 686-pae" >&2; exit 1 ;;
esac

cache=${RINGER_GUEST:-$(cd "$(dirname "$0")/.." && pwd)/build/guest}
dir=$cache/$flavour
if [ -s "$dir/vmlinuz" ]; then
	echo "$dir/vmlinuz"
	exit 0
fi

other=
if [ "$flavour" = 686-pae ]; then
	apt=$cache/.apt-i386
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	touch "$apt/status"
	other="-o APT::Architecture=i386 -o APT::Architectures::=i386 -o Dir::State=$apt -o Dir::State::lists=$apt/lists
		-o Dir::State::status=$apt/status -o Dir::Cache=$apt/cache -o APT::Sandbox::User=root"
fi

depends() { # the real package that the metapackage depends on now
	apt-cache $other --no-all-versions show "$meta" 2>/dev/null | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -1
}
package=$(depends)
if [ -z "$package" ]; then
	if [ "$(id -u)" = 0 ] || [ -n "$other" ]; then apt-get $other -qq update || true; else sudo apt-get -qq update; fi >&2
	package=$(depends)
fi
[ -n "$package" ] || { echo "guest_kernel.sh: apt does not know $meta: check /etc/apt/sources.list" >&2; exit 1; }

tmp=$cache/.$flavour.$$
mkdir -p "$tmp"
trap 'rm -rf "$tmp"' EXIT INT TERM
echo "guest_kernel.sh: fetching $package" >&2
(cd "$tmp" && apt-get $other -qq -o APT::Sandbox::User=root download "$package") >&2
dpkg-deb --fsys-tarfile "$tmp"/*.deb | tar -C "$tmp" -x ./boot
if [ -n "$other" ]; then
	mkdir "$tmp/busybox"
	(cd "$tmp/busybox" && apt-get $other -qq download busybox-static) >&2
	dpkg-deb --fsys-tarfile "$tmp"/busybox/*.deb | tar -C "$tmp/busybox" -x ./bin/busybox
	cp "$tmp/busybox/bin/busybox" "$tmp/boot/busybox"
	rm -rf "$apt"
fi
mv "$tmp"/boot/vmlinuz-* "$tmp/boot/vmlinuz"
mv "$tmp"/boot/config-* "$tmp/boot/config"
echo "$package" >"$tmp/boot/package"
rm -rf "$dir"
mv "$tmp/boot" "$dir"
echo "$dir/vmlinuz"
