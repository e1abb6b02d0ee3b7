#!/usr/bin/env python3
"""Lists the inner loops of kernels in an object file.

usage: inner_loops.py OBJDUMP FILE.o

An inner loop is a jump back with no other jump back inside. For each one in a
function `moe.kernel.*` one line is printed: the function, how many products it
computes, how many of its instructions refer to the stack, how many only compute
or move addresses (a step of the loop counter is one of them).
"""
import re
import subprocess
import sys

PRODUCT = re.compile(r"vfn?m(add|sub)\d+ps|vdpbf16ps|vpdpbusds?\b")
ADDRESS = re.compile(r"(mov[qal]?|lea[ql]?|add[ql]?|sub[ql]?|imul[ql]?|shl[ql]?"
                     r"|inc[ql]?|dec[ql]?)\s")
STACK = re.compile(r"\(%rsp")
# Where %rbp points to the stack as well; elsewhere it is any register.
FRAME = re.compile(r"mov\w*\s+%rsp, %rbp|lea\w*\s+.*\(%rsp.*\), %rbp")
FRAME_STACK = re.compile(r"\(%r[sb]p")


def read_functions(objdump, path):
    """Yields (name, [(address, instruction)])."""
    text = subprocess.run([objdump, "-d", "--no-show-raw-insn", path],
                          check=True, capture_output=True, text=True).stdout
    name, body = None, []
    for line in text.splitlines():
        if match := re.match(r"[0-9a-f]+ <(.*)>:", line):
            if name:
                yield name, body
            name, body = match[1], []
        elif match := re.match(r"\s*([0-9a-f]+):\s+(.*)", line):
            body.append((int(match[1], 16), match[2]))
    if name:
        yield name, body


def inner_loops(body):
    """Yields the instructions of each inner loop."""
    places = {address: i for i, (address, _) in enumerate(body)}
    loops = []
    for i, (address, text) in enumerate(body):
        match = re.match(r"j\w+\s+0x([0-9a-f]+)", text)
        if match and int(match[1], 16) <= address:
            loops.append((places[int(match[1], 16)], i))
    for begin, end in loops:
        if not any((b, e) != (begin, end) and begin <= b and e <= end
                   for b, e in loops):
            yield [text for _, text in body[begin:end + 1]]


def main():
    objdump, path = sys.argv[1:]
    for name, body in read_functions(objdump, path):
        if not name.startswith("moe.kernel."):
            continue
        framed = any(FRAME.search(text) for _, text in body)
        refers = FRAME_STACK if framed else STACK
        for loop in inner_loops(body):
            products = sum(bool(PRODUCT.search(text)) for text in loop)
            if not products:
                continue
            stack = sum(bool(refers.search(text)) for text in loop)
            moves = sum(bool(ADDRESS.match(text)) for text in loop)
            print(f"{name}: products {products}, stack {stack}, "
                  f"moves {moves}")


if __name__ == "__main__":
    main()
