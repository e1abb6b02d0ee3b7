#!/usr/bin/env python3
"""Writes docs/SupportedOps.md: which operators of ONNX can be compiled.

usage: generate_supported_ops.py [--check]

The list comes from the compiler's own table (`moe-compile --list-ops` without
a model), names and versions from the schemas of the installed onnx package.
--check only says whether the file is up to date, and closes with counts as
test/suite.py wants them.
"""
import os
import subprocess
import sys

import onnx

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("MOE_BUILD", os.path.join(HERE, "..", "build"))
PAGE = os.path.join(HERE, "SupportedOps.md")


def compilable():
    """Names of the ops that have a lowering, as in the IR."""
    tool = os.path.join(BUILD, "bin", "moe-compile")
    done = subprocess.run([tool, "--list-ops"], capture_output=True,
                          text=True, check=True)
    return done.stdout.split()


def make_page():
    names = compilable()
    schemas = {}
    for schema in onnx.defs.get_all_schemas():
        if schema.domain in ("", "ai.onnx") and not schema.deprecated:
            schemas[schema.name] = schema
    supported = sorted(name.split(".", 1)[1] for name in names
                       if name.startswith("onnx."))
    contrib = sorted(name.split(".", 1)[1] for name in names
                     if name.startswith("onnx_ms."))
    known = [name for name in supported if name in schemas]
    others = [name for name in supported if name not in schemas]
    missing = sorted(set(schemas) - set(known))
    lines = [
        "# Operators that can be compiled", "",
        "Written by `docs/generate_supported_ops.py` from the compiler's own "
        "table: do not edit.", "",
        f"{len(known)} of the {len(schemas)} operators of ONNX "
        f"{onnx.__version__}'s default domain compile for `host`. `moe-opt` "
        "reads and writes all of them; `moe-compile --list-ops model.onnx` "
        "tells what a model has.", "",
        "| operator | since opset | newest version |", "|---|---|---|",
    ]
    first = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain in ("", "ai.onnx"):
            first[schema.name] = min(first.get(schema.name, 1 << 30),
                                     schema.since_version)
    lines += [f"| {name} | {first[name]} | {schemas[name].since_version} |"
              for name in known]
    if others:
        lines += ["", "Also, in the default domain as some exporters write "
                  "them: " + ", ".join(others) + "."]
    if contrib:
        lines += ["", "## com.microsoft", "", ", ".join(contrib) + "."]
    lines += ["", "## Not yet", "", ", ".join(missing) + "."]
    return "\n".join(lines) + "\n"


def main(arguments):
    if arguments not in ([], ["--check"]):
        print(__doc__.strip())
        return 1
    page = make_page()
    if not arguments:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(page)
        return 0
    current = ""
    if os.path.exists(PAGE):
        with open(PAGE, encoding="utf-8") as file:
            current = file.read()
    if page != current:
        print("docs/SupportedOps.md is out of date: run "
              "docs/generate_supported_ops.py\n0 passed, 1 failed")
        return 1
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
