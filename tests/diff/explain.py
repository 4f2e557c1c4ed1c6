#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# What differed in a guest: takes the log of a run with --show, replays each case on this processor, prints the code and
# the lines of the outcome that are not the same (- here, + in the guest).
#   explain.py DIFFTEST LOG [difftest options that shape cases: --bits 32, --state 7]
import subprocess
import sys


def blocks(path):
    name, lines = None, []
    for line in open(path, errors="replace"):
        line = line.rstrip("\r\n")
        if line.startswith("SHOWN "):
            name, lines = line[6:], []
        elif line == "END" and name:
            yield name, lines
            name = None
        elif name:
            lines.append(line)


def outcome(lines):
    at = next((i for i, line in enumerate(lines) if line.startswith("after:")), 0)
    return lines[:at], lines[at:]


def main():
    difftest, log, options = sys.argv[1], sys.argv[2], sys.argv[3:]
    for name, guest in blocks(log):
        row, _, case = name.partition(" case ")
        run = [difftest, "--cases", "96", "--row", row, "--case", case, "-v", *options]
        here = subprocess.run(run, capture_output=True, text=True).stdout.splitlines()[1:]
        before, after = outcome(guest)
        _, expected = outcome(here)
        expected = [line for line in expected if not line.startswith("difftest")]
        print(f"== {name}")
        for line in before:
            if line.startswith(("->", "   ", "operand", "code")):
                print(line)
        for line in expected:
            if line not in after:
                print("-", line)
        for line in after:
            if line not in expected:
                print("+", line)


main()
