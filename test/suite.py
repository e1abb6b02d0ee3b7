"""Runs the tests of a finished build; started by test/run.

Three parts, each of which counts its tests and shows what failed:

  unit         CTest: GoogleTest's tests, each in a process of its own
  lit          lit over build/test
  integration  the scripts listed in INTEGRATION below

A script of `integration` prints what it likes and closes with the line
`N passed, N failed[, N skipped]`; one that ends in another way, or whose exit
status does not fit its counts, counts as a failed test. A part without any
test is a failure as well: nothing is green because nothing was run.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
BUILD = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))
CORPUS = os.path.join(os.path.dirname(ROOT), "shared", "models")
SMALL = os.path.join(BUILD, "test", "models")

CLOSING = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")

# lit, or one script, may take this long, in seconds. All together take minutes.
TIME_LIMIT = 45 * 60


class Counts:
    """Passed, failed and skipped tests."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")

    @property
    def total(self):
        return self.passed + self.failed + self.skipped


def say(text):
    print(text, flush=True)


def indent(text):
    return "\n".join("    " + line for line in text.rstrip().splitlines())


# --- unit -------------------------------------------------------------------


def run_unit(options):
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.xml")
        command = ["ctest", "--test-dir", BUILD, "--quiet", "-j",
                   str(options.jobs), "--timeout", "300", "--output-junit",
                   report]
        if options.filter:
            command += ["-R", options.filter]
        done = subprocess.run(command, capture_output=True, text=True,
                              check=False)
        if not os.path.exists(report):
            say(indent(done.stdout + done.stderr))
            return Counts(failed=1)
        cases = xml.etree.ElementTree.parse(report).getroot().iter("testcase")
    counts = Counts()
    for case in cases:
        status = case.get("status")
        if status == "run":
            counts.passed += 1
        elif status in ("notrun", "disabled"):
            counts.skipped += 1
            say(f"  skipped: {case.get('name')}")
        else:
            counts.failed += 1
            say(f"  FAILED: {case.get('name')}")
            say(indent(case.findtext("system-out") or ""))
    return counts


# --- lit --------------------------------------------------------------------


def run_lit(options):
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        command = [sys.executable, "-c", "from lit.main import main; main()",
                   "-q", "-v", "-j", str(options.jobs), "--output", report]
        if options.filter:
            command += ["--filter", options.filter]
        command.append(os.path.join(BUILD, "test"))
        done = subprocess.run(command, capture_output=True, text=True,
                              timeout=TIME_LIMIT, check=False)
        text = done.stdout + done.stderr
        if not os.path.exists(report):
            if options.filter and "filter did not match" in text:
                return Counts()
            say(indent(text))
            return Counts(failed=1)
        with open(report, encoding="utf-8") as file:
            tests = json.load(file)["tests"]
    counts = Counts()
    for test in tests:
        code = test["code"]
        if code in ("PASS", "XFAIL", "FLAKYPASS"):
            counts.passed += 1
        elif code in ("UNSUPPORTED", "SKIPPED", "EXCLUDED"):
            counts.skipped += 1
            say(f"  skipped: {test['name']} ({code.lower()})")
        else:
            counts.failed += 1
            say(f"  FAILED: {test['name']} ({code})")
            say(indent(test.get("output", "")))
    return counts


# --- integration ------------------------------------------------------------


def integration_scripts(options):
    """(name, script and arguments) of every script, in order."""
    jobs = ["-j", str(options.jobs)]
    moe_opt = "--moe-opt=" + os.path.join(BUILD, "bin", "moe-opt")
    scripts = [
        ("small models", ["run_corpus.py", "small.toml", SMALL, *jobs]),
        ("small models there and back", ["roundtrip.py", moe_opt, SMALL]),
        ("operators", ["ops.py"]),
        ("operators of networks", ["ops_nn.py"]),
        ("attention with a cache", ["ops_attention.py"]),
        ("experts of com.microsoft", ["contrib_experts.py"]),
        ("routers in front of com.microsoft.MoE", ["contrib_routers.py"]),
        ("inferred extents", ["shapes.py"]),
        ("ONNX's backend suite", ["../Conformance/backend.py", *jobs]),
        ("experts", ["experts.py"]),
        ("kernels of experts", ["kernels.py"]),
        ("dense layers", ["dense.py"]),
        ("error bounds of elementary functions", ["elementary.py"]),
        ("code for several CPUs", ["cpus.py"]),
        ("profiles",
         ["profile.py", *(os.path.join(SMALL, name) for name in
                          ("mixtral", "expert_loop", "encoder"))]),
        ("layers that share code", ["share.py"]),
        ("concurrent callers",
         ["concurrency.py",
          os.path.join(SMALL, "mixtral") + "=1,5,24",
          os.path.join(SMALL, "expert_loop") + "=0,3,64,1000",
          os.path.join(SMALL, "encoder") + "=7"]),
        ("memory of runs",
         ["memory.py", *(os.path.join(SMALL, name) for name in
                         ("mixtral", "mixtral:batch=8,seq=500", "encoder",
                          "convolutions", "expert_loop"))]),
        ("schemas of com.microsoft", ["contrib_schemas.py"]),
        ("list of operators",
         ["../../docs/generate_supported_ops.py", "--check"]),
        ("routers", ["routing.py"]),
        ("routers in plain nodes", ["raise_routers.py"]),
        ("experts with a capacity", ["capacity.py"]),
        ("forms of experts", ["raise_experts.py"]),
        ("pools in plain nodes", ["raise_pooling.py"]),
        ("tokens in plain nodes", ["raise_tokens.py"]),
        ("attention and norms in plain nodes", ["raise_attention.py"]),
        ("forms of experts", ["forms.py", *jobs]),
        ("graphs that are no experts", ["forms_negative.py", *jobs]),
        ("layers with a capacity, raised", ["raise_capacity.py"]),
        ("isolation", ["isolation.py", os.path.join(SMALL, "mixtral")]),
    ]
    if os.path.isdir(CORPUS):
        scripts += [
            ("corpus", ["run_corpus.py", "corpus.toml", CORPUS, *jobs]),
            ("experts in the corpus", ["raise_corpus.py", CORPUS]),
            ("memory of runs of the corpus",
             ["memory.py", *(os.path.join(CORPUS, name) for name in
                             ("gpt2_tiny__dyn__native",
                              "mixtral_tiny__dyn__batched_mm",
                              "unet_own__dyn__native",
                              "vit_timm__dyn__native"))]),
            ("corpus there and back", ["roundtrip.py", moe_opt, CORPUS]),
        ]
    else:
        say("  the corpus of real exports (../shared/models) is not here: "
            "only the generated small models are tested")
    return scripts


def make_small_models():
    """Generates the small models if the generator is newer."""
    generator = os.path.join(TESTS, "Integration", "small_models.py")
    stamp = os.path.join(SMALL, ".made")
    if (os.path.exists(stamp)
            and os.path.getmtime(stamp) > os.path.getmtime(generator)):
        return
    say("  generating the small models")
    subprocess.run([sys.executable, generator, SMALL], check=True,
                   stdout=subprocess.DEVNULL)
    with open(stamp, "w", encoding="ascii"):
        pass


def run_script(name, command):
    """Runs one script, passing its output on, and reads its closing line."""
    path = os.path.join(TESTS, "Integration", command[0])
    environment = dict(os.environ, MOE_BUILD=BUILD,
                       PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1")
    process = subprocess.Popen(
        ["timeout", "--kill-after=10", str(TIME_LIMIT), sys.executable, path,
         *command[1:]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment, errors="replace")
    last = ""
    for line in process.stdout:
        if last:
            say("    " + last)
        last = line.rstrip()
    status = process.wait()
    closing = CLOSING.match(last)
    if not closing:
        say("    " + last)
        say(f"  FAILED: {name}: ended with exit status {status} and without "
            "its counts")
        return Counts(failed=1)
    counts = Counts(*(int(n or 0) for n in closing.groups()))
    if counts.total == 0 or (status == 0) != (counts.failed == 0):
        say(f"  FAILED: {name}: exit status {status} with '{last}'")
        counts.failed += 1
    return counts


def run_integration(options):
    make_small_models()
    counts = Counts()
    for name, command in integration_scripts(options):
        if options.filter and not re.search(options.filter, name):
            continue
        say(f"  {name}")
        begin = time.monotonic()
        part = run_script(name, command)
        say(f"  {name}: {part} ({time.monotonic() - begin:.0f} s)")
        counts.add(part)
    return counts


# --- all --------------------------------------------------------------------

PARTS = {"unit": run_unit, "lit": run_lit, "integration": run_integration}


def main():
    parser = argparse.ArgumentParser(prog="test/run")
    parser.add_argument("parts", nargs="*", metavar="PART",
                        help="unit, lit, integration")
    parser.add_argument("-k", dest="filter", metavar="REGEX")
    parser.add_argument("-j", dest="jobs", type=int, metavar="N",
                        default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part '{unknown[0]}', there are: "
                     + ", ".join(PARTS))
    if options.jobs < 1:
        parser.error("-j takes a number from 1")
    total = Counts()
    for part, run in PARTS.items():
        if options.parts and part not in options.parts:
            continue
        say(f"run: {part}")
        begin = time.monotonic()
        try:
            counts = run(options)
        except (OSError, ValueError, KeyError, subprocess.SubprocessError,
                xml.etree.ElementTree.ParseError) as error:
            say(f"  FAILED: {part}: {error}")
            counts = Counts(failed=1)
        if counts.total == 0 and not options.filter:
            say(f"  FAILED: {part} has no tests")
            counts.failed += 1
        say(f"run: {part}: {counts} ({time.monotonic() - begin:.0f} s)")
        total.add(counts)
    if total.total == 0:
        say("run: no test matches")
        total.failed = 1
    say(str(total))
    return 0 if total.failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
