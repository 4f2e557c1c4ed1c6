#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The display: boot sectors under SeaBIOS set a mode, by its number or by VESA's, and fill the screen by the BIOS's
windows and by the linear frame buffer; QMP's screendump must show what that gives, which is computed here; the PNG is the
same picture.
  tests/boot/screen.py [RINGER]"""
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RINGER = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, os.environ.get("RINGER_BUILD", "build"), "ringer")
SOURCE = os.path.join(ROOT, "tests/boot/screen/mode.S")
sys.path.insert(0, os.path.join(ROOT, "tests/cli"))
from tiny_kernel import make_kernel  # noqa: E402

TMP = tempfile.mkdtemp(prefix="ringer-screen-")
failures = 0


def check(name, ok, detail=""):
    global failures
    print(f"{'ok' if ok else 'FAILED'} {name} {detail}")
    failures += not ok


def sector(mode):
    image = os.path.join(TMP, f"{mode:x}.img")
    subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-Wl,-Ttext=0x7c00,--oformat=binary,--build-id=none,-e,_start",
                    f"-DMODE={mode}", "-o", image, SOURCE], check=True)
    os.truncate(image, 1440 << 10)
    return image


class Machine:
    def __init__(self, program, *args):
        path = os.path.join(TMP, "qmp")
        self.p = subprocess.Popen([program, "-m", "32", "-display", "none", "-qmp", f"unix:{path},server=on,wait=off", *args],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        s = socket.socket(socket.AF_UNIX)
        for _ in range(200):
            try:
                s.connect(path)
                break
            except OSError:
                time.sleep(0.02)
        self.f = s.makefile("rwb", 0)
        self.f.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **args):
        self.f.write(json.dumps({"execute": command, "arguments": args}).encode() + b"\n")
        while True:
            answer = json.loads(self.f.readline())
            if "event" not in answer:
                return answer

    def shot(self):
        path = os.path.join(TMP, "shot.ppm")
        answer = self.ask("screendump", filename=path)
        assert "return" in answer, answer
        with open(path, "rb") as f:
            head, size, top, pixels = f.read().split(b"\n", 3)
        width, height = map(int, size.split())
        assert head == b"P6" and top == b"255" and len(pixels) == width * height * 3
        return width, height, pixels

    def end(self):
        self.p.kill()
        self.p.wait()


def read_png(path):
    data = open(path, "rb").read()
    at, chunks = 8, {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0] == zlib.crc32(kind + body), "PNG: CRC"
        chunks[kind] = body
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    raw, line = zlib.decompress(chunks[b"IDAT"]), 3 * width + 1
    return width, height, b"".join(raw[y * line + 1:(y + 1) * line] for y in range(height))


GREY = bytes(v for i in range(256) for v in [((i & 63) << 2 | (i & 1) * 3)] * 3)
SIXTEEN = [(2 * (i >> 2 & 1) + (i >> 3), 2 * (i >> 1 & 1) + (i >> 3), 2 * (i & 1) + (i >> 3)) for i in range(16)]


def pattern(n):
    return (n ^ n >> 8) & 0xff


# What a mode's sector draws, as mode.S says.
def mode_13():
    return 640, 400, b"".join(b"".join(GREY[3 * pattern(y // 2 * 320 + x):][:3] * 2 for x in range(320)) for y in range(400))


def direct(width, height):
    frame = bytearray(3 * width * height)
    frame[:65536] = bytes(pattern(n) for n in range(65536))
    frame[0::3], frame[2::3] = frame[2::3], frame[0::3]
    return width, height, bytes(frame)


def mode_12():
    # planes by the map mask: a byte's eight pixels get the colour that is the byte's number
    palette = []
    for i in range(16):
        r, g, b = SIXTEEN[i]
        if i == 6:
            g = 1
        palette.append(bytes((v * 0x15 << 2 | (v & 1) * 3) for v in (r, g, b)))
    return 640, 480, b"".join(palette[n & 15] * 8 for n in range(80 * 480))


def text(shot):
    """Coloured cells of blanks from the second line on; the font is the video BIOS's."""
    width, height, pixels = shot
    if (width, height) != (720, 400):
        return False
    for n in range(80):
        colour = pixels[3 * (720 * 16 + 9 * n):][:3]
        r, g, b = SIXTEEN[n & 15]
        want = bytes((v * 0x15 << 2 | (v & 1) * 3) for v in (r, 1 if n & 15 == 6 else g, b))
        if colour != want:
            return False
    return any(pixels[3 * 720 * y + 3 * x] for y in range(16) for x in range(9))


def main():
    modes = [(3, None), (0x12, mode_12), (0x13, mode_13), (0x118 | 0x4000, lambda: direct(1024, 768))]
    for mode, want in modes:
        m = Machine(RINGER, "-drive", f"file={sector(mode)},if=floppy,format=raw", "-boot", "a", "-debugcon", "stdio")
        got = m.p.stdout.read(1)
        shot = m.shot()
        if want:
            expected = want()
            check(f"mode {mode:x}", got == b"D" and shot == expected, shot[:2])
        else:
            check(f"mode {mode:x}", got == b"D" and text(shot), shot[:2])
        m.ask("screendump", filename=os.path.join(TMP, "shot.png"), format="png")
        check(f"mode {mode:x} as PNG", read_png(os.path.join(TMP, "shot.png")) == shot)
        if mode == modes[0][0]:
            m.ask("human-monitor-command", **{"command-line": f"screendump {TMP}/line.png -f png"})
            check("by a line", read_png(os.path.join(TMP, "line.png")) == shot)
        m.end()
    # a kernel that is started without firmware writes a letter: video memory, attribute, 'D' to port e9, halt
    make_kernel(os.path.join(TMP, "kernel"), bytes.fromhex("c60500800b0041 c60501800b0007 b044 e6e9 f4 ebfd"))
    m = Machine(RINGER, "-kernel", os.path.join(TMP, "kernel"), "-debugcon", "stdio")
    m.p.stdout.read(1)
    width, height, pixels = m.shot()
    letter = "".join(f"{sum((pixels[3 * (width * y + x)] == 0xa8) << 7 - x for x in range(8)):02x}" for y in range(13))
    check("a letter without firmware", (width, height, letter) == (720, 400, "000010386cc6c6fec6c6c6c600"), letter)
    m.end()
    m = Machine(RINGER, "-drive", f"file={sector(3)},if=floppy,format=raw", "-boot", "a", "-vga", "none")
    check("no display", "error" in m.ask("screendump", filename="x"))
    m.end()
    print(f"screen: {failures} failures")
    sys.exit(failures != 0)


main()
