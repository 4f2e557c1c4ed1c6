# SPDX-License-Identifier: MIT
"""A kernel for tests of the command line, whose monitor is a stub."""
import struct


def make_kernel(path, code=b"\xf4" * 16):
    """The smallest ELF with a PVH entry: code at 1 MiB, one HLT."""
    image = bytearray(0x1010)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x100000, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    header += struct.pack("<IIQQQQQQ", 1, 5, 0x1000, 0x100000, 0x100000, len(code), len(code), 0x1000)
    header += struct.pack("<IIQQQQQQ", 4, 4, 0x200, 0, 0, 20, 20, 4)
    image[0:len(header)] = header
    image[0x200:0x214] = struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", 0x100000)
    image[0x1000:] = code
    open(path, "wb").write(image)
