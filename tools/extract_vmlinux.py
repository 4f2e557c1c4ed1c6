#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The kernel proper, an ELF file, out of a bzImage: the setup header (Linux boot protocol 2.08 and later) says where the
compressed payload lies, and its first bytes with what it was compressed.
  extract_vmlinux.py BZIMAGE VMLINUX"""
import bz2
import lzma
import struct
import subprocess
import sys
import zlib

SETUP_SECTS, SIGNATURE, VERSION, PAYLOAD = 0x1f1, 0x202, 0x206, 0x248


def run(*command):
    return lambda data: subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


# The payload's last four bytes are its uncompressed size, which the decompressors leave alone.
METHODS = [
    ("gzip", b"\x1f\x8b\x08", lambda data: zlib.decompressobj(31).decompress(data)),
    ("xz", b"\xfd7zXZ\0", lambda data: lzma.LZMADecompressor().decompress(data)),
    ("lzma", b"\x5d\0\0", lambda data: lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(data)),
    ("bzip2", b"BZh", lambda data: bz2.BZ2Decompressor().decompress(data)),
    ("zstd", b"\x28\xb5\x2f\xfd", lambda data: run("zstd", "-dcq")(data[:-4])),
    ("lz4", b"\x02\x21\x4c\x18", lambda data: run("lz4", "-dcq")(data[:-4])),
    ("no", b"\x7fELF", lambda data: data),
]


def extract(image):
    if len(image) < 0x260 or image[SIGNATURE:SIGNATURE + 4] != b"HdrS":
        sys.exit("extract_vmlinux.py: not a bzImage")
    if struct.unpack_from("<H", image, VERSION)[0] < 0x208:
        sys.exit("extract_vmlinux.py: a boot protocol without payload fields")
    offset, length = struct.unpack_from("<II", image, PAYLOAD)
    begin = ((image[SETUP_SECTS] or 4) + 1) * 512 + offset
    payload = image[begin:begin + length]
    for name, magic, decompress in METHODS:
        if payload.startswith(magic):
            elf = decompress(payload)
            if not elf.startswith(b"\x7fELF"):
                sys.exit(f"extract_vmlinux.py: the {name} payload is not an ELF file")
            return elf
    sys.exit(f"extract_vmlinux.py: unknown compression: payload begins with {payload[:8].hex()}")


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: " + __doc__.strip().split("\n")[-1].strip())
    with open(sys.argv[1], "rb") as f:
        elf = extract(f.read())
    with open(sys.argv[2], "wb") as f:
        f.write(elf)


main()
