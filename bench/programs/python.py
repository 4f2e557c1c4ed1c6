# SPDX-License-Identifier: MIT
"""Python's interpreter at work: objects, dictionaries, strings, numbers, sorting, JSON and regular expressions."""
import json
import re
import sys


class Vector:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y)

    def norm(self):
        return abs(self.x) + abs(self.y)


def objects(n):
    total = Vector(0, 0)
    for i in range(n):
        total = total + Vector(i & 7, -(i & 3))
    return total.norm()


def queens(size, row=0, columns=0, left=0, right=0):
    if row == size:
        return 1
    found = 0
    free = ~(columns | left | right) & ((1 << size) - 1)
    while free:
        bit = free & -free
        free ^= bit
        found += queens(size, row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1)
    return found


def words(n):
    count = {}
    for i in range(n):
        word = f"w{i * 7919 % 1009}"
        count[word] = count.get(word, 0) + 1
    return sum(v * v for v in sorted(count.values())[:100])


def floats(n):
    x, total = 0.5, 0.0
    for _ in range(n):
        x = 3.75 * x * (1.0 - x)
        total += x
    return f"{total:.12g}"


def documents(n):
    text = json.dumps([{"id": i, "name": f"item {i}", "tags": ["a", "b", str(i)], "price": i / 8} for i in range(n)])
    found = re.findall(r'"name": "item (\d*7)"', text)
    return sum(d["id"] for d in json.loads(text)) + len(found)


n = int(sys.argv[1])
print(objects(n * 1000), queens(7 + (n > 20)), words(n * 1000), floats(n * 2000), documents(n * 40))
