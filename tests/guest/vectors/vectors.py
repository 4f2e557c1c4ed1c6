#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Recorded vectors of single instructions, for the guest vectors.c.

    vectors.py moo OUT FILE.MOO.gz...    from the SingleStepTests suites for real mode (80286): see run.sh
    vectors.py text OUT recorded.txt     from the project's own recording (record16.c)

--limit N: so many of each file. Left out: what the guest cannot hold (memory above 636 KiB or in its way), what depends
on devices, and what processors since have changed; each reason is counted.
"""
import argparse
import collections
import gzip
import json
import os
import struct
import sys

REGS = ["ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags"]
CS, IP, FLAGS = 4, 12, 13
TOP = 0x9f000
PREFIXES = {0x26, 0x2e, 0x36, 0x3e, 0xf0, 0xf2, 0xf3}
# By opcode: devices, the 286's own, what this processor has more of.
DEVICES = {0x6c, 0x6d, 0x6e, 0x6f, 0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef}
FPU = set(range(0xd8, 0xe0))


def chunks(data, at, end):
    while at < end:
        length = struct.unpack_from("<I", data, at + 4)[0]
        yield bytes(data[at:at + 4]), at + 8, at + 8 + length
        at += 8 + length


def state(data, at, end):
    """Registers that are given, and (address, byte) pairs."""
    regs, ram = {}, []
    for tag, begin, _ in chunks(data, at, end):
        if tag == b"REGS":
            mask = struct.unpack_from("<H", data, begin)[0]
            begin += 2
            for i in range(len(REGS)):
                if mask >> i & 1:
                    regs[i] = struct.unpack_from("<H", data, begin)[0]
                    begin += 2
        elif tag == b"RAM ":
            count = struct.unpack_from("<I", data, begin)[0]
            ram = [struct.unpack_from("<IB", data, begin + 4 + 5 * i) for i in range(count)]
    return regs, ram


def opcode_of(code):
    for i, byte in enumerate(code):
        if byte not in PREFIXES:
            return code[i:]
    return b""


def shifts_often(code, regs):
    """A shift or rotate by another count than 1: OF is not defined (SDM, "RCL/RCR/ROL/ROR", "SAL/SAR/SHL/SHR")."""
    op = opcode_of(code)
    count = 1
    if op and op[0] in (0xc0, 0xc1):
        count = code[-2]
    elif op and op[0] in (0xd2, 0xd3):
        count = regs[2]
    return count & 31 != 1


def unfit(test, revoked):
    """Why the test is left out, or None."""
    code = test["bytes"]
    op = opcode_of(code)
    lock = 0xf0 in code[:len(code) - len(op)]
    if test["hash"] in revoked:
        return "revoked"
    if not op or op[0] == 0xf4 or IP not in test["after"]:
        return "HLT"
    if op[0] in DEVICES:
        return "device"
    if op[0] in FPU or op[0] == 0xf1:
        return "no such processor"
    if lock:
        return "LOCK, which later processors refuse"
    if op[0] == 0x0f and op[1] in (1, 4, 5):
        return "tables and machine status"
    if op[0] in (0x8c, 0x8e) and op[1] >> 3 & 7 in (4, 5):
        return "FS, GS"
    if len(code) - 1 > 10:
        return "longer than a 286's instructions"
    stop = (test["all"][CS] << 4) + test["all"][IP] - 1
    if test["all"][IP] - 1 + 5 > 0x10000 or not test["all"][IP]:
        return "at a segment's end"
    used = {a for a, _ in test["ram"]} | {a for a, _ in test["ram_after"]}
    if max(used) >= TOP or stop + 5 > TOP or stop < 0x400:
        return "memory"
    data = used - set(test["fetched"])
    if any(stop <= a < stop + 5 for a in data | {a for a, _ in test["ram_after"]}):
        return "in the way"
    return None


def read_moo(path, masks, revoked, limit, why):
    with gzip.open(path) as f:
        data = f.read()
    stem = os.path.basename(path).split(".MOO")[0]
    found = 0
    for tag, at, end in chunks(data, 0, len(data)):
        if tag != b"TEST" or found == limit:
            continue
        test = {"flags_at": 0, "hash": ""}
        for sub, begin, stop in chunks(data, at + 4, end):
            if sub == b"BYTS":
                n = struct.unpack_from("<I", data, begin)[0]
                test["bytes"] = data[begin + 4:begin + 4 + n]
            elif sub == b"NAME":
                n = struct.unpack_from("<I", data, begin)[0]
                test["name"] = f"{stem}: {data[begin + 4:begin + 4 + n].decode()}"
            elif sub == b"INIT":
                test["before"], test["ram"] = state(data, begin, stop)
            elif sub == b"FINA":
                test["after"], test["ram_after"] = state(data, begin, stop)
            elif sub == b"EXCP":
                test["flags_at"] = struct.unpack_from("<I", data, begin + 1)[0]
            elif sub == b"HASH":
                test["hash"] = bytes(data[begin:stop]).hex()
        test["all"] = dict(test["before"])
        test["all"].update(test["after"])
        start = (test["before"][CS] << 4) + test["before"][IP]
        test["fetched"] = range(start, start + len(test["bytes"]) + 16)
        reason = unfit(test, revoked)
        why[reason or "used"] += 1
        if reason:
            continue
        found += 1
        test["all"][IP] -= 1
        test["mask"] = masks.get(stem, 0xffff)
        if shifts_often(test["bytes"], test["before"]):
            test["mask"] &= ~0x0800
        yield test


def is_amd():
    with open("/proc/cpuinfo") as f:
        return "AuthenticAMD" in f.read()


def shifts_beyond(test):
    """SHLD or SHRD of more bits than there are: undefined, and each maker's processors have a result of their own."""
    code = bytes(b for _, b in test["ram"])
    if len(code) < 4 or code[0] != 0x0f or code[1] not in (0xa4, 0xa5, 0xac, 0xad):
        return False
    return (test["before"][2] if code[1] & 1 else code[-2]) & 31 > 15


def masks_of(path):
    """The flags that an opcode defines, by the name of its file."""
    with open(path) as f:
        opcodes = json.load(f)["opcodes"]
    masks = {}
    for name, row in opcodes.items():
        masks[name] = row.get("flags-mask", 0xffff)
        for reg, sub in row.get("reg", {}).items():
            masks[f"{name}.{reg}"] = sub.get("flags-mask", 0xffff)
    return masks


def read_text(path):
    """Lines of name | mask | before: 14 registers, address=byte... | after: the same."""
    with open(path) as f:
        for line in f:
            if line.startswith("#") or not line.strip():
                continue
            name, mask, before, after = (part.split() for part in line.split("|"))
            yield {"name": " ".join(name), "mask": int(mask[0], 16), "flags_at": 0,
                   "before": dict(enumerate(int(x, 16) for x in before[:14])),
                   "all": dict(enumerate(int(x, 16) for x in after[:14])),
                   "ram": [tuple(int(y, 16) for y in x.split("=")) for x in before[14:]],
                   "ram_after": [tuple(int(y, 16) for y in x.split("=")) for x in after[14:]]}


def write(out, tests, pattern):
    records, names, places = [], b"", {}
    for test in tests:
        if test["name"] not in places:
            places[test["name"]] = len(names)
            names += test["name"].encode()[:60] + b"\0"
        memory = [a << 8 | b for a, b in test["ram"] + test["ram_after"]]
        body = struct.pack("<I28H3HI", places[test["name"]], *(test["before"][i] for i in range(14)),
                           *(test["all"][i] for i in range(14)), test["mask"], len(test["ram"]),
                           len(test["ram_after"]), test["flags_at"]) + struct.pack(f"<{len(memory)}I", *memory)
        records.append(struct.pack("<H", len(body) + 2) + body)
    blob = b"".join(records)
    with open(out, "wb") as f:
        f.write(b"VC16" + struct.pack("<III", len(records), 16 + len(blob), pattern) + blob + names)
    return len(records)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["moo", "text"])
    parser.add_argument("out")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--limit", type=int, default=100)
    args = parser.parse_args()
    why = collections.Counter()
    tests = []
    if args.kind == "text":
        for path in args.files:
            tests += [t for t in read_text(path) if not (is_amd() and shifts_beyond(t))]  # Intel's have recorded it
    else:
        folder = os.path.dirname(args.files[0])
        masks = masks_of(os.path.join(folder, "metadata.json"))
        with open(os.path.join(folder, "..", "revocation_list.txt")) as f:
            revoked = {line.strip().lower() for line in f}
        forms, covered, missing = 0, 0, []
        for path in args.files:
            some = list(read_moo(path, masks, revoked, args.limit, why))
            tests += some
            forms += 1
            covered += bool(some)
            if not some:
                missing.append(os.path.basename(path).split(".MOO")[0])
        print(f"coverage {100 * covered / forms:.1f}%: {covered} of {forms} forms; none of", *missing, file=sys.stderr)
    count = write(args.out, tests, args.kind == "text")
    print(f"{count} vectors;", ", ".join(f"{n} {reason}" for reason, n in sorted(why.items())), file=sys.stderr)


main()
