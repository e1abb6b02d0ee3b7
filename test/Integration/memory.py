#!/usr/bin/env python3
"""Memory of runs: how much of it there is, and that no run asks for more.

usage: memory.py CASE[:NAME=N,...]...

CASE is a folder in ONNX's own test layout. With extents the inputs are random,
else those of its first data set. For each case

  - runs after the third one of the same extents make no call that asks the C
    library or the system for memory, with one thread and with two;
  - the arena is not larger than 1.35 times the largest set of values that live
    at once, plus 2 MB (holes of it may give their pages back);
  - the anonymous memory of the process, watched from outside while the model
    runs, is not larger than 1.2 times that set plus 50 MB, and moe-run's own
    figure of it is not less than a tenth below what was seen.

Builds with sanitizers are not checked: they have a malloc of their own. Closes
with the line `N passed, N failed[, N skipped]`; exits with 1 if anything failed.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("MOE_BUILD", os.path.join(HERE, "..", "..", "build"))
COMPILER = os.path.join(BUILD, "bin", "moe-compile")
RUNNER = os.path.join(BUILD, "bin", "moe-run")
STEADY = os.path.join(BUILD, "test", "Integration", "moe-steady-state")
FACTOR = 1.2
ARENA_FACTOR = 1.35
ARENA_SLACK = 2 << 20
PROCESS_SLACK = 50 << 20


class Failure(Exception):
    """What is wrong."""


def require(condition, text):
    if not condition:
        raise Failure(text)


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True,
                          check=False)
    require(done.returncode == 0,
            f"{' '.join(command)}: exit status {done.returncode}: "
            + done.stderr.strip()[-500:])
    return done.stdout


def anonymous(process):
    """Bytes of anonymous memory of a process, 0 if it has ended."""
    try:
        with open(f"/proc/{process}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def watched(*command):
    """Output of a command, and the most anonymous memory that it had."""
    with subprocess.Popen(command, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.001)
        out, error = process.communicate()
    require(process.returncode == 0,
            f"{' '.join(command)}: exit status {process.returncode}: "
            + error.strip()[-500:])
    return out, peak


def check(case, extents, folder):
    library = os.path.join(folder, "model.so")
    call(COMPILER, os.path.join(case, "model.onnx"), "-o", library)
    if extents:
        inputs = ["--random", "1"]
        for extent in extents:
            inputs += ["--dim", extent]
    else:
        inputs = ["--data", os.path.join(case, "test_data_set_0")]
    for threads in ("1", "2"):
        calls = json.loads(call(STEADY, library, *inputs, "--threads",
                                threads))
        for kind in ("allocations", "mappings"):
            require(calls[kind] == 0,
                    f"{calls[kind]} {kind} in {calls['runs']} runs with "
                    f"{threads} threads")
    out, seen = watched(RUNNER, library, *inputs, "--bench", "3", "--json",
                        "--threads", "2")
    report = json.loads(out)
    live, arena = report["peak_live_bytes"], report["arena_bytes"]
    require(live > 0, "no value lives")
    require(live <= arena <= ARENA_FACTOR * live + ARENA_SLACK,
            f"an arena of {arena} bytes for {live} that live")
    told = report["peak_rss_anon_bytes"]
    for what, size in (("told", told), ("seen", seen)):
        require(size <= FACTOR * live + PROCESS_SLACK,
                f"anonymous memory of {size} bytes ({what}) for {live} that "
                "live")
    require(told >= 0.9 * seen, f"{told} bytes told, {seen} seen")
    return (f"{live / 1e6:.1f} MB live, arena {arena / live:.2f} of it, "
            f"{seen / 1e6:.1f} MB anonymous")


def main(arguments):
    if not arguments:
        print(__doc__.strip())
        return 1
    if not os.path.exists(STEADY):
        print("a build with sanitizers has other memory as well")
        print(f"0 passed, 0 failed, {len(arguments)} skipped")
        return 0
    failed = 0
    for argument in arguments:
        case, _, dims = argument.partition(":")
        name = os.path.basename(case) + (f" ({dims})" if dims else "")
        with tempfile.TemporaryDirectory() as folder:
            try:
                text = check(case, dims.split(",") if dims else [], folder)
                print(f"{name}: {text}")
            except (Failure, OSError, ValueError) as error:
                failed += 1
                print(f"{name}: FAILED: {error}")
    print(f"{len(arguments) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
