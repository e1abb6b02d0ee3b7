#!/usr/bin/env python3
"""What a compiled model and moe-run need of the machine: nearly nothing.

usage: isolation.py CASE     (a folder in ONNX's own test layout)

Compiles CASE/model.onnx and checks
  - which libraries moe-run and the model ask for;
  - that the model exports one symbol and takes all others from libc and libm;
  - that both work in a root folder that holds them, the C library, the C++
    library and nothing else (no /proc, no /dev, no /tmp);
  - that the same model compiles to the same bytes again.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("MOE_BUILD", os.path.join(HERE, "..", "..", "build"))
COMPILER = os.path.join(BUILD, "bin", "moe-compile")
RUNNER = os.path.join(BUILD, "bin", "moe-run")

# The packages libc6, libgcc-s1 and libstdc++6; the kernel brings the vdso.
RUNNER_LIBRARIES = {"linux-vdso.so.1", "ld-linux-x86-64.so.2", "libc.so.6",
                    "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6"}
MODEL_LIBRARIES = {"libc.so.6", "libm.so.6"}
MODEL_SYMBOL = "moe_model_query"


class Failure(Exception):
    """What is wrong."""


class Skipped(Exception):
    """Why a check cannot be made here."""


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise Failure(f"{' '.join(command)}: exit status {done.returncode}: "
                      + done.stderr.strip()[-600:])
    return done.stdout


def libraries(path):
    """The libraries that are loaded with a file: {name: path or None}."""
    found = {}
    for line in call("ldd", path).splitlines():
        words = line.split()
        if not words or "statically" in line:
            continue
        place = words[2] if len(words) > 2 and words[1] == "=>" else words[0]
        found[os.path.basename(words[0])] = (place if place.startswith("/")
                                             else None)
    return found


def needed(path):
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]",
                          call("readelf", "-d", "-W", path)))


def symbols(path, *options):
    """Names of dynamic symbols, without their versions."""
    lines = call("nm", "-D", *options, path).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if line.split()}


class Checks:
    """The checks; each is a test."""

    def __init__(self, case, folder):
        self.case = case
        self.folder = folder
        self.source = os.path.join(case, "model.onnx")
        self.model = os.path.join(folder, "model.so")
        self.data = os.path.join(case, "test_data_set_0")
        with open(os.path.join(case, "meta.json"), encoding="utf-8") as file:
            tolerance = json.load(file)["tolerance"]
        self.options = ["--rtol", repr(tolerance["rtol"]),
                        "--atol", repr(tolerance["atol"])]
        call(COMPILER, self.source, "-o", self.model)

    def check_runner_libraries(self):
        extra = set(libraries(RUNNER)) - RUNNER_LIBRARIES
        if extra:
            raise Failure(f"moe-run loads {', '.join(sorted(extra))}")

    def check_model_libraries(self):
        extra = needed(self.model) - MODEL_LIBRARIES
        if extra:
            raise Failure(f"the model needs {', '.join(sorted(extra))}")

    def check_model_imports(self):
        found = libraries(RUNNER)
        offered = set()
        for name in MODEL_LIBRARIES:
            # moe-run itself may do without libm.
            path = found.get(name) or libraries(self.model)[name]
            offered |= symbols(path, "--defined-only")
        extra = symbols(self.model, "--undefined-only") - offered
        if extra:
            raise Failure("neither libc.so.6 nor libm.so.6 has "
                          + ", ".join(sorted(extra)))

    def check_model_exports(self):
        exported = symbols(self.model, "--defined-only")
        if exported != {MODEL_SYMBOL}:
            raise Failure(f"the model exports {sorted(exported)}, "
                          f"['{MODEL_SYMBOL}'] is expected")

    def run_isolated(self, *files):
        """Runs moe-run and files in a root folder with nothing else."""
        root = os.path.join(self.folder, "root")
        shutil.rmtree(root, ignore_errors=True)
        os.makedirs(root)
        wanted = {**libraries(RUNNER), **libraries(self.model)}
        for path in filter(None, wanted.values()):
            target = os.path.join(root, path.lstrip("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(path, target)
        for path in (RUNNER, *files):
            shutil.copy(path, root)
        shutil.copytree(self.data, os.path.join(root, "data"))
        enter = ["chroot", root]
        if os.geteuid() != 0:
            enter = ["unshare", "--map-root-user", *enter]
        # Is it allowed here at all? The loader alone answers that.
        probe = subprocess.run([*enter, "/moe-run", "--version"],
                               capture_output=True, text=True, check=False)
        if probe.returncode and re.search(
                r"not permitted|Permission denied|unshare failed",
                probe.stderr):
            raise Skipped("this machine does not let us change the root "
                          "folder: " + probe.stderr.strip())
        call(*enter, "/moe-run", "/model.so", "--data", "/data", "--expect",
             "/data", *self.options)

    def check_alone(self):
        self.run_isolated(self.model)

    def check_alone_with_weight_file(self):
        weights = os.path.join(self.folder, "weights.safetensors")
        kept = self.model + ".embedded"
        os.rename(self.model, kept)
        try:
            call(COMPILER, self.source, "-o", self.model,
                 f"--weights={weights}")
            self.run_isolated(self.model, weights)
        finally:
            os.replace(kept, self.model)

    def check_same_bytes(self):
        # The same name: it may be recorded.
        other = os.path.join(self.folder, "again")
        os.makedirs(other)
        again = os.path.join(other, "model.so")
        call(COMPILER, self.source, "-o", again)
        with open(self.model, "rb") as a, open(again, "rb") as b:
            if a.read() != b.read():
                raise Failure("compiling twice gives different bytes")


def main(arguments):
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__.strip())
        return 1
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            checks = Checks(arguments[0], folder)
        except (Failure, OSError) as failure:
            print(f"FAILED: {failure}\n0 passed, 1 failed")
            return 1
        for name in dir(checks):
            if not name.startswith("check_"):
                continue
            title = name[len("check_"):].replace("_", " ")
            try:
                getattr(checks, name)()
                passed += 1
            except Skipped as reason:
                skipped += 1
                print(f"skipped: {title}: {reason}")
            except (Failure, OSError) as failure:
                failed += 1
                print(f"FAILED: {title}: {failure}")
    print(f"{passed} passed, {failed} failed"
          + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
