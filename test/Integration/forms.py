#!/usr/bin/env python3
"""Layers of experts in every form that exporters write, raised and compared.

Each case of forms/ is a graph with names, sizes, opset and exporter's habits of
its own. It must
  - give in ONNX Runtime what its reference in float64 says: the graph is what
    it is meant to be;
  - after moe-raise, compiled and run, give the same, also where one expert, all
    or none are hit. An unrolled hit list (D2) is wrong for other hits as it was
    exported: raised it must be right, not raised it must end with an error;
  - raise as well when commutative operands change places and copies (Identity,
    casts and reshapes without effect) are put between its nodes;
  - be raised as docs/Raising.md says, in both directions: the page, written by
    --update, is compared.

A layer counts as raised if moe.experts is there and no product is left but
those of routers, shared experts and other layers.

usage: forms.py [--bin FOLDER] [-k REGEX] [-j N] [--update] [--no-run]
  --update   write docs/Raising.md from what happened
  --no-run   do not compile: only look at what was raised
  -k REGEX   only cases whose name matches; the page is not looked at
"""
import argparse
import collections
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from forms import cases
from forms.perturb import perturb

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))
PAGE = os.path.join(ROOT, "docs", "Raising.md")
TIME_LIMIT = 300
RTOL = ATOL = 2e-5
# Compiled models sum in another order.
COMPILED_RTOL = COMPILED_ATOL = 1e-4

PRODUCTS = ("MatMul", "Gemm", "Einsum", "Conv")
REMARK = re.compile(r"remark: \[Missed\] .*?Category:raise.*? \| Remark=\"?"
                    r"(.*?)\"?$")
CRASH = re.compile(r"Stack dump|PLEASE submit a bug report|Assertion .* failed"
                   r"|AddressSanitizer|runtime error:|LLVM ERROR")


class Failure(Exception):
    pass


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True,
                          check=False, timeout=TIME_LIMIT)
    text = done.stdout + done.stderr
    if done.returncode not in (0, 1, 3) or CRASH.search(text):
        raise Failure(f"{os.path.basename(command[0])}: exit status "
                      f"{done.returncode}: {text[-800:]}")
    return done.returncode, text


def different(got, data, rtol, atol):
    """What differs from the reference, or an empty string."""
    if got.shape != data.expected.shape:
        return f"shape {got.shape}, expected {data.expected.shape}"
    wrong = ~np.isclose(got, data.expected, rtol, atol)
    wrong &= data.clear[..., None]
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (f"{int(wrong.sum())} of {wrong.size} elements differ, first at "
            f"{list(at)}: {got[at]}, expected {data.expected[at]}")


# --- one case ----------------------------------------------------------------


def check_in_onnxruntime(case, model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Optimised, ONNX Runtime computes some products wrongly.
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options,
        providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    for data in case.data:
        if not data.as_exported:
            continue
        got = session.run(None, dict(zip(names, data.inputs)))[0]
        problem = different(got, data, RTOL, ATOL)
        if problem:
            raise Failure(f"ONNX Runtime, {data.what}: {problem}")
        if data.clear.size > 8 and np.mean(~data.clear) > 0.5:
            raise Failure(f"{data.what}: most tokens are not clear")


class Outcome:
    """What moe-raise made of a model."""

    def __init__(self, text, remarks, dense_products):
        kinds = re.findall(r"= (onnx|moe|onnx_ms)\.(\w+)", text)
        count = collections.Counter(
            name for dialect, name in kinds if dialect == "onnx")
        self.moe = collections.Counter(
            name for dialect, name in kinds if dialect == "moe")
        self.left = sum(count[kind] for kind in PRODUCTS)
        self.more = max(0, self.left - dense_products)
        self.remarks = remarks

    @property
    def experts(self):
        return self.moe["experts"] > 0 and not self.more

    @property
    def reason(self):
        if self.remarks:
            return self.remarks[0]
        if self.moe["experts"]:
            return f"{self.more} products stay, without a remark"
        return "no remark"


def raise_model(tools, path, dense_products):
    raised = path.replace(".onnx", ".raised.mlir")
    status, text = run(
        os.path.join(tools, "moe-opt"), path, "--onnx-infer-shapes",
        "--moe-raise", "--canonicalize", "--cse",
        "--remark-format=emitRemark", "--remarks-filter-missed=raise", "-o",
        raised)
    if status:
        raise Failure(f"moe-opt --moe-raise: {text[-800:]}")
    remarks = [match.group(1) for match in map(REMARK.search,
                                               text.splitlines()) if match]
    with open(raised, encoding="utf-8") as file:
        return raised, Outcome(file.read(), remarks, dense_products)


def check_compiled(tools, raised, case, outcome, folder):
    library = os.path.join(folder, "model.so")
    status, text = run(os.path.join(tools, "moe-compile"), raised, "-o",
                       library)
    if status:
        raise Failure(f"moe-compile: {text[-800:]}")
    for number, data in enumerate(case.data):
        inputs = os.path.join(folder, f"in{number}")
        outputs = os.path.join(folder, f"out{number}")
        os.makedirs(inputs)
        for i, array in enumerate(data.inputs):
            tensor = numpy_helper.from_array(array, "")
            with open(os.path.join(inputs, f"input_{i}.pb"), "wb") as file:
                file.write(tensor.SerializeToString())
        status, text = run(os.path.join(tools, "moe-run"), library, "--data",
                           inputs, "--output", outputs, "--threads", "1")
        may_fail = not data.as_exported and not outcome.experts
        if status:
            if may_fail:
                continue
            raise Failure(f"moe-run, {data.what}: {text[-600:]}")
        tensor = onnx.load_tensor(os.path.join(outputs, "output_0.pb"))
        problem = different(numpy_helper.to_array(tensor), data,
                            COMPILED_RTOL, COMPILED_ATOL)
        if problem:
            raise Failure(f"moe-run, {data.what}: {problem}")


def check_perturbed(tools, case, outcome, folder):
    """Written differently, the layer raises as well."""
    for seed in range(2):
        model = perturb(case.model, seed)
        if seed == 0:
            check_in_onnxruntime(case, model)
        if not outcome.moe:
            continue
        path = os.path.join(folder, f"perturbed{seed}.onnx")
        onnx.save(model, path)
        _, other = raise_model(tools, path, case.dense_products)
        # A copy of what a router reads may make a second router like it.
        if (other.moe.keys() != outcome.moe.keys()
                or other.moe["experts"] != outcome.moe["experts"]
                or other.more != outcome.more):
            raise Failure(f"written differently (seed {seed}): "
                          f"{dict(other.moe)} in place of "
                          f"{dict(outcome.moe)}: {other.reason}")


def check(spec, tools, compiled):
    """Problems, number of checks, and the outcome of raising."""
    problems, checks, outcome = [], 0, None
    case = cases.make(spec, zlib.crc32(spec.name.encode()))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        onnx.save(case.model, path)
        steps = [lambda: check_in_onnxruntime(case, case.model)]

        def raised_and_run():
            nonlocal outcome
            raised, outcome = raise_model(tools, path, case.dense_products)
            if compiled:
                check_compiled(tools, raised, case, outcome, folder)

        steps.append(raised_and_run)
        steps.append(lambda: outcome and check_perturbed(tools, case, outcome,
                                                         folder))
        for step in steps:
            checks += 1
            try:
                step()
            except (Failure, subprocess.TimeoutExpired,
                    onnxruntime.capi.onnxruntime_pybind11_state.Fail) as error:
                problems.append(str(error))
    return problems, checks, outcome


# --- the page ----------------------------------------------------------------

INTRODUCTION = """# What is recognised in plain exports

Written by `test/Integration/forms.py --update` from what `moe-raise` did: do
not edit. Each line is a graph that the test makes, with random names, in the
spelling of an exporter: `torchscript` (`torch.onnx.export(dynamo=False)`),
`dynamo` (`dynamo=True`) or `transformers` (that library's own exporter). Where
a layer was raised, one `moe.experts` stands for all its experts' products; the
column of routers says which operation stands for the choice. `-` is none.

The test also compiles every one of these graphs and compares its results with
float64, where all experts are hit, one token's, or none.

Forms of dispatch:

| form | what it is |
|---|---|
| D1 | a loop over all experts, unrolled: rows of each found by `NonZero` |
| D2 | the same over the experts that had rows when the model was traced |
| D3 | matrices gathered per slot, products in a batch of slots |
| D4 | rows sorted by expert, one product per range |
| D5 | all experts on all tokens in one batched product, dense weights |
| D6 | as D5, where scores scale what goes in |
| D7 | rows sorted by expert, `Split` with computed sizes, or slices |
| D8 | all experts on all tokens one by one, times columns of dense weights |
| D9 | all experts on all tokens, stacked, the chosen ones taken out |
| D10 | one-hot products with a capacity |
| D11 | rows scattered into a buffer with a capacity |
| D12 | experts choose tokens |
| D13 | slots are mixtures of tokens |
| D14 | matrices gathered per token, one expert each |
| D15 | one expert for the whole batch |
| D16 | `com.microsoft.MoE` |
| D18 | a mixture of low-rank updates |
| D19 | experts of one neuron, found by product keys |
| D20 | a network that only the best tokens go through |

Routers:

| router | what it is |
|---|---|
| R1 | softmax, top-k |
| R2 | top-k, softmax |
| R3 | sigmoid, correction bias, best groups by their two best, top-k |
| R4 | softmax, best groups by their best, top-k |
| R5 | scores, correction bias for the choice alone |
| R6 | SparseMixer: two choices, one after the other |
| R7 | the best expert and its probability, possibly with a capacity |
| R8 | top-k, sigmoid, dense scores |
| R9 | product keys |
| R10 | top tokens of each expert |
| R11 | softmaxes over tokens and over slots |
| R12 | a table from token ids |
| R13 | Sinkhorn |
| R14 | the mean's best expert |
| R15 | a softmax over all experts, no choice |
| R16 | ids past the experts: zero, copy, constant |
"""


def describe(spec):
    words = [spec.activation if spec.gate_up == "none" else
             f"{spec.activation}, {spec.gate_up}"]
    words += ["[in, out]"] if spec.layout == "io" else []
    words += ["biases"] if spec.biases else []
    words += [f"{spec.shared} shared expert"] if spec.shared else []
    words += ["static extents"] if spec.static else []
    return ", ".join(words)


def make_page(outcomes):
    lines = [INTRODUCTION.rstrip(), "", "## Result", ""]
    done = sum(outcome.experts for _, outcome in outcomes)
    lines += [f"{done} of {len(outcomes)} layers raise completely.", "",
              "| form | router | exporter, opset | experts | E, k | raised "
              "| router becomes |", "|---|---|---|---|---|---|---|"]
    for spec, outcome in outcomes:
        form = spec.form + (f" ({spec.variant})" if spec.variant else "")
        verdict = "yes" if outcome.experts else "no: " + outcome.reason
        chosen = [f"`moe.{name}`" for name in sorted(outcome.moe)
                  if "route" in name]
        verdict = verdict.replace("|", "\\|")
        lines.append(f"| {form} | {spec.router} | {spec.writer}, "
                     f"{spec.opset} | {describe(spec)} | {spec.experts}, "
                     f"{spec.k} | {verdict} | {', '.join(chosen) or '-'} |")
    return "\n".join(lines) + "\n"


def check_page(outcomes, update):
    page = make_page(outcomes)
    if update:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(page)
        return []
    current = ""
    if os.path.exists(PAGE):
        with open(PAGE, encoding="utf-8") as file:
            current = file.read()
    if page == current:
        return []
    old, new = current.splitlines(), page.splitlines()
    lines = [f"  - {line}" for line in old if line not in new]
    lines += [f"  + {line}" for line in new if line not in old]
    return ["docs/Raising.md is not what moe-raise does now; forms.py "
            "--update writes it anew:\n" + "\n".join(lines[:40])]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(BUILD, "bin"))
    parser.add_argument("-k", dest="filter", metavar="REGEX")
    parser.add_argument("-j", dest="jobs", type=int, metavar="N",
                        default=len(os.sched_getaffinity(0)))
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--no-run", action="store_true")
    options = parser.parse_args()
    specs = [spec for spec in cases.specs()
             if not options.filter or re.search(options.filter, spec.name)]
    passed, failed, outcomes = 0, 0, []
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        results = pool.map(check, specs, [options.bin] * len(specs),
                           [not options.no_run] * len(specs))
        for spec, (problems, checks, outcome) in zip(specs, results):
            for problem in problems:
                print(f"FAILED {spec.name}: {problem}", flush=True)
            failed += len(problems)
            passed += checks - len(problems)
            if outcome:
                outcomes.append((spec, outcome))
                if options.filter:
                    print(f"{spec.name}: {dict(outcome.moe)}, "
                          f"{outcome.more} products too many; "
                          + "; ".join(outcome.remarks[:3]))
    if not options.filter and len(outcomes) == len(specs):
        problems = check_page(outcomes, options.update)
        for problem in problems:
            print(f"FAILED {problem}")
        failed += len(problems)
        passed += 1 - len(problems)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not specs else 0


if __name__ == "__main__":
    sys.exit(main())
