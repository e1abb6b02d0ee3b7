#!/usr/bin/env python3
"""Eight callers of one loaded model get the bits that each gets alone.

usage: concurrency.py CASE=EXTENT[,EXTENT...]...

CASE is a folder with a model.onnx; EXTENT is what its open extents become.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("MOE_BUILD", os.path.join(HERE, "..", "..", "build"))


def main(arguments):
    if not arguments or any("=" not in argument for argument in arguments):
        print(__doc__.strip())
        return 1
    failed = 0
    for argument in arguments:
        case, extents = argument.rsplit("=", 1)
        with tempfile.TemporaryDirectory() as folder:
            library = os.path.join(folder, "model.so")
            for command in (
                    [os.path.join(BUILD, "bin", "moe-compile"),
                     os.path.join(case, "model.onnx"), "-o", library],
                    [os.path.join(BUILD, "test", "Integration",
                                  "moe-concurrent-callers"), library,
                     *extents.split(",")]):
                done = subprocess.run(command, capture_output=True, text=True,
                                      check=False)
                if done.returncode:
                    failed += 1
                    print(f"FAILED {os.path.basename(case)}: "
                          f"{os.path.basename(command[0])}: exit status "
                          f"{done.returncode}: {done.stderr.strip()[-600:]}")
                    break
    print(f"{len(arguments) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
