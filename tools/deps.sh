#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Install what ringer needs and this Debian machine lacks. The one place where packages are listed.
#   tools/deps.sh [run|test]     run: build and boot; test (default): everything `make test` uses
# Asks apt only for what is missing; silent and offline when nothing is.
set -eu

RUN="gcc libc6-dev make meson ninja-build pkg-config python3 libzydis-dev liburing-dev libnbd-dev libslirp-dev libjansson-dev busybox-static cpio gzip ca-certificates"
TEST="clang gcc-multilib lz4 libcmocka-dev nasm binutils acpica-tools qemu-system-x86 qemu-utils seabios ovmf mtools mmdebstrap e2fsprogs gdb stress-ng xz-utils bzip2 bc iproute2 iperf3"

case "${1:-test}" in
run) want=$RUN ;;
test) want="$RUN $TEST" ;;
*) echo "usage: $0 [run|test]" >&2; exit 1 ;;
esac

missing=
for p in $want; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "deps.sh: needs root to install:$missing" >&2; exit 1; }
	sudo=sudo
fi
echo "deps.sh: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -qq update
$sudo apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends $missing >/dev/null
