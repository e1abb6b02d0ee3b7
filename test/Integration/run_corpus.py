#!/usr/bin/env python3
"""Compiles and runs whole models and compares with their reference outputs.

usage: run_corpus.py LIST FOLDER [options]

FOLDER holds one folder per model in ONNX's own test layout: model.onnx,
test_data_set_<i>/ (and extra_data_set_<i>/) with input_<j>.pb and
output_<j>.pb, and meta.json with the tolerance. LIST, a file beside this
script, says for each model what is expected:

  [mixtral_tiny__dyn__batched_mm]
  expect = "pass"           every data set within the tolerance
  fallbacks = 3             operators that take a slow path, at most

  [mixtral_block__ts__eager]
  expect = "pass"           as above, but extra_data_set_<i> end the run
  extra = "do not add up"   with exit status 1 and this message: inputs for
                            which the graph as it was exported is wrong

  [gptoss_tiny__genai__int4]
  expect = "diagnostic"     moe-compile refuses it: exit status 1 and
  message = "QMoE"          a message that holds this, not a crash

A model that passes must
  - compile to a library that gives the expected outputs on every data set;
  - give the same through `moe-run model.onnx`;
  - give the same bits with 1, 2, 3 and 7 threads.

LIST is checked both ways: a model that does better than expected fails as one
that does worse, and so does one that only LIST or only FOLDER has. --update
writes LIST anew from what happened.

  -j N         N models at a time (default: one per CPU)
  -k REGEX     only models whose name matches
  --update     write LIST from the results (other models keep their entries)
  -v           tell the times of each model
"""
import argparse
import concurrent.futures
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("MOE_BUILD", os.path.join(HERE, "..", "..", "build"))

# Seconds for one call of a tool.
TIME_LIMIT = 600
THREADS = (1, 2, 3, 7)
DEFAULT_TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}

# Signs of a crash that a program may print although it exits with 1.
CRASH = re.compile(r"Stack dump|PLEASE submit a bug report|Assertion .* failed"
                   r"|AddressSanitizer|runtime error:|LLVM ERROR")


class Failure(Exception):
    """What is wrong with a model."""


class Stopped(Failure):
    """A run ended with exit status 1 and this message."""


class Refused(Exception):
    """moe-compile does not accept the model; holds its message."""


def call(tool, *arguments):
    """Runs a tool of ours: (exit status, standard output, error output)."""
    command = [os.path.join(BUILD, "bin", tool), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True,
                              errors="replace", timeout=TIME_LIMIT,
                              check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"{tool} takes longer than {TIME_LIMIT} s") from None
    if done.returncode < 0:
        raise Failure(f"{tool} ended by signal {-done.returncode}: "
                      + tail(done.stderr))
    if CRASH.search(done.stderr):
        raise Failure(f"{tool} crashed: " + tail(done.stderr))
    return done.returncode, done.stdout, done.stderr


def tail(text, count=600):
    text = text.strip()
    return text if len(text) <= count else "... " + text[-count:]


def first_error(text):
    """The first message of a diagnostic, without the place."""
    match = re.search(r"error: (.*)", text)
    return match.group(1) if match else text.strip().split("\n")[0]


def compile_model(model, library, report):
    """Compiles; returns the number of fallbacks that the report tells."""
    status, _, errors = call("moe-compile", model, "-o", library,
                             f"--report={report}")
    if status == 1:
        if "error:" not in errors:
            raise Failure("moe-compile refuses the model without a message")
        raise Refused(errors)
    if status != 0:
        raise Failure(f"moe-compile: exit status {status}: " + tail(errors))
    with open(report, encoding="utf-8") as file:
        return json.load(file)["fallbacks"]


def run_model(model, data, tolerance, what):
    """Runs a model on one data set and has moe-run compare the outputs."""
    status, output, errors = call(
        "moe-run", model, "--data", data, "--expect", data,
        "--rtol", repr(tolerance["rtol"]), "--atol", repr(tolerance["atol"]),
        "--json")
    name = os.path.basename(data)
    if status == 3:
        texts = [entry["text"] for entry in json.loads(output)["outputs"]
                 if not entry.get("matches", True)]
        raise Failure(f"{name} {what}: " + "; ".join(texts))
    if status == 1:
        raise Stopped(f"{name} {what}: " + tail(errors))
    if status != 0:
        raise Failure(f"{name} {what}: moe-run: exit status {status}: "
                      + tail(errors))
    # A data set without outputs would pass whatever comes out.
    if not any("matches" in entry for entry in json.loads(output)["outputs"]):
        raise Failure(f"{name}: no output was compared")


def compare_threads(library, data, folder):
    """All numbers of threads must give the same bits."""
    reference = {}
    for threads in THREADS:
        target = os.path.join(folder, f"threads{threads}")
        status, _, errors = call("moe-run", library, "--data", data,
                                 "--output", target, "--threads",
                                 str(threads))
        if status != 0:
            raise Failure(f"with {threads} threads: moe-run: exit status "
                          f"{status}: " + tail(errors))
        for path in sorted(glob.glob(os.path.join(target, "output_*.pb"))):
            with open(path, "rb") as file:
                content = file.read()
            name = os.path.basename(path)
            if reference.setdefault(name, content) != content:
                raise Failure(f"{os.path.basename(data)}: {name} has other "
                              f"bits with {threads} threads than with "
                              f"{THREADS[0]}")


def load_tolerance(case):
    with open(os.path.join(case, "meta.json"), encoding="utf-8") as file:
        return json.load(file).get("tolerance") or DEFAULT_TOLERANCE


def check_model(case):
    """Everything a model that passes has to do: (fallbacks, why the extra data
    sets do not run or None, times)."""
    model = os.path.join(case, "model.onnx")
    tolerance = load_tolerance(case)
    with tempfile.TemporaryDirectory() as folder:
        library = os.path.join(folder, "model.so")
        begin = time.monotonic()
        fallbacks = compile_model(model, library,
                                  os.path.join(folder, "report.json"))
        compiled = time.monotonic()
        sets = sorted(glob.glob(os.path.join(case, "*_data_set_*")))
        if not sets:
            raise Failure("there are no data sets")
        stopped = None
        for data in sets:
            try:
                run_model(library, data, tolerance, "through .so")
            except Stopped as error:
                if not os.path.basename(data).startswith("extra_"):
                    raise
                stopped = first_error(str(error))
        sets = [data for data in sets
                if not os.path.basename(data).startswith("extra_")]
        if not sets:
            raise Failure("there are only extra data sets")
        compare_threads(library, sets[0], folder)
        ran = time.monotonic()
        run_model(model, sets[0], tolerance, "through .onnx")
        end = time.monotonic()
    return fallbacks, stopped, (f"compile {compiled - begin:.1f} s, run "
                       f"{ran - compiled:.1f} s, from .onnx {end - ran:.1f} s")


def observe(case):
    """What a model does, as an entry of LIST, and the times as text."""
    try:
        fallbacks, stopped, times = check_model(case)
        seen = {"expect": "pass", "fallbacks": fallbacks}
        if stopped:
            seen["extra"] = stopped
        return seen, times
    except Refused as refused:
        return {"expect": "diagnostic",
                "message": first_error(str(refused)),
                "text": str(refused)}, ""
    except Failure as failure:
        return {"expect": "failure", "text": str(failure)}, ""
    except (OSError, ValueError, KeyError) as error:
        return {"expect": "failure", "text": repr(error)}, ""


def judge(expected, seen):
    """What is wrong about `seen`; empty if nothing is."""
    if seen["expect"] == "failure":
        return seen["text"]
    if expected is None:
        return "is not in the list (--update adds it)"
    if expected["expect"] != seen["expect"]:
        if seen["expect"] == "diagnostic":
            return "is refused: " + tail(seen["text"])
        return ("passes, but the list expects a diagnostic: put it down as "
                "passing (--update)")
    if seen["expect"] == "diagnostic":
        if expected["message"] not in seen["text"]:
            return (f"is refused, but not with '{expected['message']}': "
                    + tail(seen["text"]))
        return ""
    if "extra" in seen and (not expected.get("extra")
                            or expected["extra"] not in seen["extra"]):
        return "extra data sets do not run: " + seen["extra"]
    if "extra" in expected and "extra" not in seen:
        return ("extra data sets pass, but the list expects an error: put it "
                "down as passing (--update)")
    if seen["fallbacks"] > expected["fallbacks"]:
        return (f"{seen['fallbacks']} operators took a fallback, the list "
                f"allows {expected['fallbacks']}")
    return ""


def quote(text):
    """A basic string of TOML."""
    return json.dumps(text, ensure_ascii=False)


def write_list(path, header, entries):
    with open(path, "w", encoding="utf-8") as file:
        file.write(header)
        for name in sorted(entries):
            file.write(f"\n[{quote(name)}]\n")
            for key in ("expect", "message", "extra", "fallbacks"):
                value = entries[name].get(key)
                if value is not None:
                    shown = quote(value) if isinstance(value, str) else value
                    file.write(f"{key} = {shown}\n")


def read_list(path):
    """The comment at the head, and the entries."""
    if not os.path.exists(path):
        return "# What run_corpus.py expects; written by its --update.\n", {}
    with open(path, encoding="utf-8") as file:
        text = file.read()
    header = re.match(r"(?:#.*\n)*", text).group(0)
    return header, tomllib.loads(text)


def update(entries, name, seen):
    """Puts down what happened, unless it is a failure."""
    if seen["expect"] == "failure":
        return
    if judge(entries.get(name), seen) or seen["expect"] == "pass":
        entries[name] = {key: seen[key]
                         for key in ("expect", "message", "extra", "fallbacks")
                         if key in seen}


def main():
    parser = argparse.ArgumentParser(
        usage="run_corpus.py LIST FOLDER [options]", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list")
    parser.add_argument("folder")
    parser.add_argument("-j", dest="jobs", type=int,
                        default=len(os.sched_getaffinity(0)))
    parser.add_argument("-k", dest="filter", default="")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("-v", dest="verbose", action="store_true")
    options = parser.parse_args()

    path = os.path.join(HERE, options.list)
    header, entries = read_list(path)
    names = sorted(os.path.basename(os.path.dirname(model)) for model in
                   glob.glob(os.path.join(options.folder, "*", "model.onnx")))
    names = [name for name in names if re.search(options.filter, name)]
    missing = [name for name in entries
               if re.search(options.filter, name) and name not in names]

    results, failed = {}, 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        waiting = {pool.submit(observe, os.path.join(options.folder, name)):
                   name for name in names}
        for future in concurrent.futures.as_completed(waiting):
            name = waiting[future]
            seen, times = results[name] = future.result()
            if options.update:
                update(entries, name, seen)
            problem = judge(entries.get(name), seen)
            if problem:
                failed += 1
                print(f"FAILED {name}: {problem}", flush=True)
            elif options.verbose:
                text = times or "refused: " + tail(seen["message"], 100)
                print(f"{name}: {text}", flush=True)
    if options.update:
        for name in missing:
            del entries[name]
        missing = []
        write_list(path, header, entries)
    for name in missing:
        failed += 1
        print(f"FAILED {name}: is in the list, but not in {options.folder}")

    passing = [seen for seen, _ in results.values()
               if seen["expect"] == "pass"]
    refused = sum(seen["expect"] == "diagnostic"
                  for seen, _ in results.values())
    fallbacks = sum(seen["fallbacks"] for seen in passing)
    allowed = sum(entries[name].get("fallbacks", 0) for name in names
                  if name in entries)
    print(f"{len(passing)} of {len(names)} models run within their "
          f"tolerance, {refused} end in a diagnostic; {fallbacks} operators "
          f"took a fallback ({allowed} are allowed)")
    if fallbacks < allowed:
        print("fewer fallbacks than the list allows: lower it with --update")
    print(f"{len(names) + len(missing) - failed} passed, {failed} failed")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main())
