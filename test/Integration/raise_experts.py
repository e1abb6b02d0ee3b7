#!/usr/bin/env python3
"""Raises layers of experts in all forms and compares what they compute.

usage: raise_experts.py [--bin FOLDER] [-v] [-k REGEX] [--seed N] [GROUP...]

Groups:
  forms      each form of raise_forms.py, in several sizes: it becomes one
             moe.experts, no product with weights of experts is left, and the
             layer, written as plain operators again (moe-decompose), gives what
             ONNX Runtime gives for the model as it was
  disguises  the same with operands of commutative operators exchanged and nodes
             that change nothing put in between: they raise all the same

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import argparse
import os
import random
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import raise_forms
from onnx import TensorProto, helper, numpy_helper
from routing import ROOT, Failure, Report

SIZES = [dict(batch=3, seq=5, h=24, i=20, e=6, k=2),
         dict(batch=2, seq=1, h=40, i=12, e=5, k=3, opset=21)]
RAISE = ["--onnx-infer-shapes", "--moe-raise-experts", "--onnx-infer-shapes"]


def call(tool, *arguments):
    done = subprocess.run([tool, *arguments], capture_output=True, text=True,
                          timeout=300)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, arguments))}: exit status "
                      f"{done.returncode}: {done.stderr[:1500]}")
    return done


class Tools:
    def __init__(self, folder, scratch):
        self.opt = os.path.join(folder, "moe-opt")
        self.scratch = scratch

    def path(self, name):
        return os.path.join(self.scratch, name)

    def raise_model(self, model, *more):
        """The module after the pass, and its remarks."""
        path = self.path("model.onnx")
        onnx.save(model, path)
        out = self.path("raised.mlir")
        done = call(self.opt, path, *RAISE, *more, "-o", out,
                    "--remark-format=emitRemark",
                    "--remarks-filter-missed=raise")
        with open(out, encoding="utf-8") as file:
            return file.read(), done.stderr

    def as_plain(self):
        """What raise_model wrote, as operators of ONNX."""
        path = self.path("plain.onnx")
        call(self.opt, self.path("raised.mlir"), "--moe-decompose",
             "--onnx-infer-shapes", "-o", path)
        return onnx.load(path)


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Its optimiser has errors of its own.
    options.graph_optimization_level = \
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def make_feeds(build, rng, batch, seq):
    shape = (batch, seq)
    feeds = {"x": rng.standard_normal(shape + (build.h,)).astype(np.float32)}
    for value in build.inputs:
        if value.name == "words":
            feeds["words"] = rng.integers(0, 50, shape)
        elif value.name == "ids":
            feeds["ids"] = rng.integers(-build.e, build.e, shape)
    return feeds


def count(text, name):
    return len(re.findall(rf"= {re.escape(name)}\b", text))


def products_with_banks(text):
    """Contractions that are left, by the extents of their operands: those with
    a tensor of rank 3 or more with an extent of experts."""
    return [line for line in text.splitlines()
            if re.search(r"onnx\.(MatMul|Einsum|Gemm)\(", line)]


def check_raised(tools, build, model, expected_layers=1):
    text, remarks = tools.raise_model(model)
    layers = count(text, "moe.experts")
    if layers != expected_layers:
        raise Failure(f"{layers} layers, not {expected_layers}: "
                      f"{remarks[-800:]}")
    before = count_products(model)
    left = len(products_with_banks(text))
    if left >= before - 1:
        raise Failure(f"{left} of {before} products are left")
    plain = tools.as_plain()
    rng = np.random.default_rng(7)
    for batch, seq in ((build.batch, build.seq), (1, 1), (4, 7)):
        feeds = make_feeds(build, rng, batch, seq)
        expected, got = run(model, feeds), run(plain, feeds)
        if expected.shape != got.shape:
            raise Failure(f"shape {got.shape}, not {expected.shape}")
        worst = np.abs(expected - got).max() if got.size else 0
        if not np.allclose(expected, got, rtol=1e-4, atol=2e-5):
            raise Failure(f"differs by {worst} for batch {batch}, seq {seq}")


def count_products(model):
    return sum(node.op_type in ("MatMul", "Einsum", "Gemm")
               for node in model.graph.node)


def make(name, size, seed, forms=raise_forms.FORMS):
    build = raise_forms.Build(seed, **size)
    return build, build.model(forms[name])


def forms(report, tools, names, seed):
    for name in names:
        for i, size in enumerate(SIZES):
            with report.check(f"{name}, size {i}"):
                check_raised(tools, *make(name, size, seed + i))


# --- disguises ----------------------------------------------------------------

COMMUTATIVE = ("Add", "Mul", "Max", "Min")
# Operands that hold data and not a shape.
FLOATS = {"Add", "Mul", "MatMul", "Sigmoid", "Relu", "ReduceSum", "Softmax",
          "Expand", "Reshape", "Unsqueeze", "Squeeze", "Tile", "Transpose",
          "Split", "Einsum", "Concat"}


def disguise(model, seed):
    """Exchanges operands and puts nodes that change nothing in between."""
    rng = random.Random(seed)
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {value.name: value.type.tensor_type
             for value in inferred.graph.value_info}
    nodes = []
    counter = 0
    for node in model.graph.node:
        if node.op_type in COMMUTATIVE and rng.random() < 0.5:
            operands = list(node.input)[::-1]
            del node.input[:]
            node.input.extend(operands)
        for i, operand in enumerate(list(node.input)):
            kind = known.get(operand)
            is_data = node.op_type in FLOATS and \
                (i == 0 or node.op_type in COMMUTATIVE + ("MatMul", "Einsum"))
            if not is_data or kind is None or rng.random() > 0.25 or \
                    kind.elem_type != TensorProto.FLOAT or \
                    not kind.HasField("shape") or not kind.shape.dim:
                continue
            counter += 1
            made = f"same{counter}"
            choice = rng.choice(["Identity", "Cast", "units", "Transpose"])
            rank = len(kind.shape.dim)
            if choice == "Identity":
                nodes.append(helper.make_node("Identity", [operand], [made]))
            elif choice == "Cast":
                nodes.append(helper.make_node("Cast", [operand], [made],
                                              to=TensorProto.FLOAT))
            elif choice == "Transpose":
                nodes.append(helper.make_node("Transpose", [operand], [made],
                                              perm=list(range(rank))))
            else:
                axis = made + "_axis"
                model.graph.initializer.append(numpy_helper.from_array(
                    np.array([rng.randrange(rank + 1)]), axis))
                nodes.append(helper.make_node("Unsqueeze", [operand, axis],
                                              [made + "_1"]))
                nodes.append(helper.make_node("Squeeze", [made + "_1", axis],
                                              [made]))
            node.input[i] = made
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def disguises(report, tools, names, seed):
    for i, name in enumerate(names):
        with report.check(f"{name}, disguised"):
            build, model = make(name, SIZES[i % len(SIZES)], seed)
            check_raised(tools, build, disguise(model, seed + 100 * i))


GROUPS = {"forms": (forms, lambda: raise_forms.FORMS),
          "disguises": (disguises, lambda: raise_forms.FORMS)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(
        os.environ.get("MOE_BUILD", os.path.join(ROOT, "build")), "bin"))
    parser.add_argument("-v", action="store_true", dest="verbose")
    parser.add_argument("-k", default="", metavar="REGEX")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("groups", nargs="*", metavar="GROUP")
    options = parser.parse_args()
    for group in options.groups:
        if group not in GROUPS:
            parser.error(f"no group '{group}': {', '.join(GROUPS)}")
    report = Report(options.verbose)
    with tempfile.TemporaryDirectory() as scratch:
        tools = Tools(options.bin, scratch)
        for group in options.groups or GROUPS:
            function, all_names = GROUPS[group]
            names = [n for n in all_names() if re.search(options.k, n)]
            if not names:
                continue
            print(f"{group}: {len(names)}", flush=True)
            function(report, tools, names, options.seed)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
