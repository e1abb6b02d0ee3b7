"""Prints the MLIR examples of documentation as input of moe-opt.

usage: examples.py FILE...

Takes every ```mlir block of .td and .md files. A block is a fragment of a
module: functions, or attributes `#dialect.name<...>`, which become attributes of
a module. Blocks are separated by `// -----`. Fails if a file has no block, or a
block neither a function nor an attribute.
"""
import re
import sys
import textwrap


def blocks_of(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = re.findall(r"^[ \t]*```mlir\n(.*?)^[ \t]*```", text,
                       re.DOTALL | re.MULTILINE)
    if not found:
        sys.exit(f"examples: {path} has no ```mlir block")
    return [textwrap.dedent(block) for block in found]


def as_module(path, block):
    if re.search(r"^(func\.func|module)\b", block, re.MULTILINE):
        return block
    code = "\n".join(re.sub(r"//.*", "", line) for line in block.splitlines())
    attributes = re.findall(r"^#.*?>\s*$(?=\s*(?:^#|\Z))", code,
                            re.DOTALL | re.MULTILINE)
    if not attributes or "".join(attributes).split() != code.split():
        sys.exit(f"examples: {path}: neither functions nor attributes:\n{block}")
    fields = ",\n".join(f"  example.a{i} = {attribute.strip()}"
                        for i, attribute in enumerate(attributes))
    return f"module attributes {{\n{fields}\n}} {{}}\n"


def main():
    print("// -----\n".join(as_module(path, block) for path in sys.argv[1:]
                           for block in blocks_of(path)))


if __name__ == "__main__":
    main()
