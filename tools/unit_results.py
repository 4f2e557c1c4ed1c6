#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Meson's test log (one JSON object a line) as "name status seconds" lines; each test's output goes to LOGS/name.log.
A skipped test (status 77) is listed as passed only when Meson says so: it is printed with status 0."""
import json
import sys

GOOD = ("OK", "EXPECTEDFAIL", "SKIP")

for line in open(sys.argv[1]):
    test = json.loads(line)
    name = "unit-" + test["name"].split(" / ")[-1].split(":")[-1].replace(" ", "-").replace("/", "-")
    with open(f"{sys.argv[2]}/{name}.log", "w") as log:
        log.write(test.get("stdout") or "")
        log.write(test.get("stderr") or "")
        log.write(f"result: {test['result']}, status {test.get('returncode')}\n")
    print(name, 0 if test["result"] in GOOD else 1, round(test.get("duration") or 0))
