#!/usr/bin/env python3
"""Runs the node tests of ONNX's own backend suite through moe-compile.

usage: backend.py [-k REGEX] [-j N] [--update] [-v]

The suite comes with the onnx package: one small model per case, with inputs
and the outputs that are expected. Cases that hold only operators of our table
must give these outputs. Cases with other operators must be refused, with exit
status 1 and a message. `expected.toml` lists what is neither: cases that are
refused although each of their operators compiles, with a part of the message.
It is checked both ways: a case that does better than listed fails as well.

To save time cases are compiled side by side in one model; those of a batch
that fails are compiled one by one.

Closes with the line `N passed, N failed`.
"""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import warnings

import numpy as np
import onnx
from onnx import numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "Integration"))
import ops  # noqa: E402

LIST = os.path.join(HERE, "expected.toml")
BATCH = 32

# What the suite itself takes for equal; results in few bits may differ in the
# last one.
RTOL, ATOL = 1e-3, 1e-5
NARROW = {"float16": 2e-3, "bfloat16": 1.6e-2}

# Opsets and element types that moe-compile takes.
OPSETS = range(13, 29)
TYPES = {onnx.TensorProto.DataType.Value(name) for name in
         "BOOL INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 FLOAT16 "
         "BFLOAT16 FLOAT DOUBLE".split()}


def collect():
    """All node tests as (name, model, data sets)."""
    from onnx.backend.test.case.node import collect_testcases
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.random.seed(0)
        cases = collect_testcases(None)
    found = {}
    for case in cases:
        if case.model is not None and case.data_sets:
            found[case.name] = case
    return [found[name] for name in sorted(found)]


def operators(graph):
    for node in graph.node:
        yield node.domain, node.op_type
        for attribute in node.attribute:
            for sub in [attribute.g, *attribute.graphs]:
                yield from operators(sub)


def is_tensor(value):
    return isinstance(value, (np.ndarray, np.generic, int, float, bool))


def as_tensor(value):
    """An array, also from a TensorProto of a type that numpy lacks."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value)


# Axes and the like as inputs of the graph: models have constants there.
RUN_TIME = re.compile("run time|only the run knows|whose rank is known")


def freeze(case):
    """The case with short lists of integers as initializers; None if it has
    none, or several data sets."""
    names = [value.name for value in case.model.graph.input]
    if len(case.data_sets) != 1:
        return None
    inputs, outputs = case.data_sets[0]
    constant = {
        name: as_tensor(array) for name, array in zip(names, inputs)
        if is_tensor(array) and as_tensor(array).dtype == np.int64
        and as_tensor(array).ndim <= 1 and as_tensor(array).size <= 8}
    if not constant:
        return None
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    kept = [v for v in model.graph.input if v.name not in constant]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name)
        for name, array in constant.items())
    rest = [array for name, array in zip(names, inputs)
            if name not in constant]
    return dataclasses.replace(case, model=model,
                               data_sets=[(rest, outputs)])


class Suite:
    def __init__(self, options, folder):
        tool = os.path.join(ops.ROOT, "build", "bin")
        options.bin = os.path.join(os.environ["MOE_BUILD"], "bin") \
            if "MOE_BUILD" in os.environ else tool
        options.each = False
        self.options = options
        self.runner = ops.Runner(options, folder)
        known = subprocess.run(
            [os.path.join(options.bin, "moe-compile"), "--list-ops"],
            capture_output=True, text=True, check=True).stdout.split()
        self.known = set(known)

    def compilable(self, model):
        """Whether the opset, the types of the signature and all operators are
        among those that compile."""
        if model.functions or any(
                entry.version not in OPSETS for entry in model.opset_import
                if entry.domain in ("", "ai.onnx")):
            return False
        for value in [*model.graph.input, *model.graph.output]:
            if (not value.type.HasField("tensor_type")
                    or value.type.tensor_type.elem_type not in TYPES):
                return False
        for domain, name in operators(model.graph):
            dialect = {"": "onnx", "ai.onnx": "onnx",
                       "com.microsoft": "onnx_ms"}.get(domain)
            if dialect is None or f"{dialect}.{name}" not in self.known:
                return False
        return True

    def as_case(self, case):
        variants, wants = [], []
        for inputs, outputs in case.data_sets:
            variants.append([as_tensor(v) for v in inputs])
            wants.append([as_tensor(v) for v in outputs])

        def oracle(*arrays):
            for variant, want in zip(variants, wants):
                if all(a is b for a, b in zip(arrays, variant)):
                    return want
            raise KeyError(case.name)

        kinds = {array.dtype.name for want in wants for array in want}
        narrow = max((NARROW.get(kind, 0) for kind in kinds), default=0)
        return ops.Case(case.name, case.model, variants, oracle,
                        max(RTOL, narrow, case.rtol or 0),
                        max(ATOL, narrow / 10, case.atol or 0))

    def alone(self, case):
        """("pass" | "refused" | "failed", text) of one case."""
        found = self.try_alone(case)
        if found[0] == "refused" and RUN_TIME.search(found[1]):
            frozen = freeze(case)
            if frozen is not None:
                again = self.try_alone(frozen)
                return found if again[0] == "refused" else again
        return found

    def try_alone(self, case):
        folder = self.runner.new_folder()
        code, text = self.runner.compile(case.model, folder)
        if code == 1 and "error:" in text:
            return "refused", re.search(r"error: (.*)", text).group(1)
        if code:
            return "failed", f"moe-compile: exit status {code}: {text[:400]}"
        try:
            one = self.as_case(case)
        except (TypeError, ValueError, AttributeError) as error:
            return "failed", f"its data are no tensors: {error}"
        problems = self.runner.run_cases([one])[0]
        if problems:
            return "failed", problems[0]
        return "pass", ""

    def batch(self, cases):
        """Results of cases that are expected to pass: {name: (kind, text)}."""
        if len(cases) == 1:
            return {cases[0].name: self.alone(cases[0])}
        try:
            problems = self.runner.run_cases([self.as_case(c) for c in cases])
        except (TypeError, ValueError, AttributeError, KeyError):
            problems = None
        if problems is None:
            half = len(cases) // 2
            return self.batch(cases[:half]) | self.batch(cases[half:])
        return {case.name: ("failed", wrong[0]) if wrong else ("pass", "")
                for case, wrong in zip(cases, problems)}

    def run(self, cases, listed):
        together, apart = {}, []
        for case in cases:
            tensors = all(
                is_tensor(v) or isinstance(v, onnx.TensorProto)
                for inputs, outputs in case.data_sets
                for v in [*inputs, *outputs])
            if (case.name in listed or not tensors
                    or not self.compilable(case.model)):
                apart.append(case)
            else:
                key = case.model.opset_import[0].version
                together.setdefault(key, []).append(case)
        batches = [group[i:i + BATCH] for group in together.values()
                   for i in range(0, len(group), BATCH)]
        results = {}
        with concurrent.futures.ThreadPoolExecutor(self.options.j) as pool:
            for found in pool.map(self.batch, batches):
                results |= found
            for case, found in zip(apart, pool.map(self.alone, apart)):
                results[case.name] = found
        return results


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", default="", metavar="REGEX")
    parser.add_argument("-j", type=int,
                        default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--update", action="store_true",
                        help="write expected.toml from what happened")
    parser.add_argument("-v", action="store_true", help="list all cases")
    options = parser.parse_args()

    header, listed = "", {}
    if os.path.exists(LIST):
        with open(LIST, encoding="utf-8") as file:
            text = file.read()
        header = re.match(r"(?:#.*\n)*", text).group(0)
        listed = tomllib.loads(text)
    cases = [case for case in collect() if re.search(options.k, case.name)]
    with tempfile.TemporaryDirectory() as folder:
        suite = Suite(options, folder)
        results = suite.run(cases, listed)
        expected_refusal = {case.name for case in cases
                            if not suite.compilable(case.model)}
    failed = 0
    for name, (kind, text) in sorted(results.items()):
        problem = ""
        if kind == "failed":
            problem = text
        elif kind == "refused" and name not in expected_refusal:
            if name not in listed:
                problem = f"is refused: {text}"
            elif listed[name] not in text:
                problem = f"is refused, but not with '{listed[name]}': {text}"
        elif kind == "pass" and name in listed:
            problem = "passes: take it off expected.toml (--update)"
        if options.update and kind != "failed":
            problem = ""
        if problem:
            failed += 1
            print(f"  FAILED {name}: {problem}", flush=True)
        elif options.v:
            print(f"  {kind} {name} {text}")
    if options.update:
        kept = {name: text for name, text in listed.items()
                if name not in results}
        kept |= {name: text for name, (kind, text) in results.items()
                 if kind == "refused" and name not in expected_refusal}
        with open(LIST, "w", encoding="utf-8") as file:
            file.write(header)
            for name in sorted(kept):
                file.write(f"{name} = {json.dumps(kept[name])}\n")
    count = sum(kind == "pass" for kind, _ in results.values())
    refused = sum(kind == "refused" for kind, _ in results.values())
    print(f"{count} of {len(results)} node tests of ONNX give the expected "
          f"outputs, {refused} end in a diagnostic")
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.modules.setdefault("ops", ops)
    sys.exit(main())
