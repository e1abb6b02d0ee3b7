#!/usr/bin/env python3
"""Raises a large model in which every loop over experts was unrolled.

usage: raise_big.py [--layers N] [--experts E] [--slots K] [--hidden H]
                    [--inner I] [--keep FOLDER] [--check]

Writes a decoder of N layers, each with a router and E experts of three
matrices, in the way that torch.onnx's tracer writes a loop over experts (about
45 nodes for each expert: 48 layers of 128 experts are 280,000 nodes), and has
moe-opt read, raise and write it. Prints the time and the memory of each step.
With --check the model that was raised is run by ONNX Runtime next to the one
that was written (slow for large ones).
"""
import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))
# What 48 layers of 128 experts may take, a step.
SECONDS, MEGABYTES = 60, 2000


class Graph:
    """Collects nodes; every node has one result that is named after it."""

    def __init__(self, seed=0):
        self.nodes, self.weights = [], []
        self.random = np.random.default_rng(seed)

    def __call__(self, op, *inputs, outputs=1, **attributes):
        name = f"/{op}_{len(self.nodes)}"
        names = [f"{name}_output_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name,
                                           **attributes))
        return names[0] if outputs == 1 else names

    def ints(self, values):
        """A Constant node, as the tracer writes one for each use."""
        return self("Constant", value=numpy_helper.from_array(
            np.asarray(values, np.int64)))

    def matrix(self, rows, columns):
        name = f"onnx::MatMul_{len(self.weights)}"
        values = self.random.standard_normal((rows, columns), np.float32)
        self.weights.append(numpy_helper.from_array(
            values / np.sqrt(np.float32(rows)), name))
        return name


def expert(g, args, x, mask, weights, index, total):
    """One pass through the loop."""
    found = g("NonZero", g("Cast", g("Gather", mask, g.ints(index), axis=0),
                           to=TensorProto.BOOL))
    slot, token = g("Split", g("Transpose", found, perm=[1, 0]),
                    g.ints([1, 1]), axis=1, outputs=2)
    slot = g("Squeeze", slot, g.ints([1]))
    token = g("Squeeze", token, g.ints([1]))
    rows = g("Gather", x, token, axis=0)
    gate = g("MatMul", rows, g.matrix(args.hidden, args.inner))
    up = g("MatMul", rows, g.matrix(args.hidden, args.inner))
    hidden = g("Mul", g("Mul", gate, g("Sigmoid", gate)), up)
    out = g("MatMul", hidden, g.matrix(args.inner, args.hidden))
    # weights[token, slot, None]
    table = g("Unsqueeze", weights, g.ints([2]))
    shape = g("Shape", table)
    slots = g("Gather", shape, g.ints([1]), axis=0)
    last = g("Gather", shape, g.ints([2]), axis=0)
    number = g("Add", slot, g("Mul", token, slots))
    weight = g("Gather", g("Flatten", table, axis=2), number, axis=0)
    weight = g("Reshape", weight,
               g("Concat", g.ints([-1]), last, axis=0))
    weight = g("Reshape", weight,
               g("Concat", g("Shape", number), last, axis=0))
    update = g("Cast", g("Mul", out, weight), to=TensorProto.FLOAT)
    # total.index_add_(0, token, update)
    update = g("Expand", update, g("Shape", g(
        "Slice", total, g.ints([0, 0]), g.ints([1, 2**63 - 1]),
        g.ints([0, 1]))))
    index = g("Expand", g("Unsqueeze", token, g.ints([1])), g("Shape", update))
    zeros = g("ConstantOfShape", g("Shape", total))
    return g("Add", total, g("ScatterElements", zeros, index, update, axis=0))


def layer(g, args, x):
    logits = g("MatMul", x, g.matrix(args.hidden, args.experts))
    scores, ids = g("TopK", g("Softmax", logits, axis=-1),
                    g.ints([args.slots]), axis=-1, outputs=2)
    weights = g("Div", scores, g("ReduceSum", scores, g.ints([-1])))
    mask = g("Transpose", g("OneHot", ids, g.ints(args.experts),
                            g.ints([0, 1]), axis=-1), perm=[2, 1, 0])
    total = g("ConstantOfShape", g("Shape", x))
    for index in range(args.experts):
        total = expert(g, args, x, mask, weights, index, total)
    return g("Add", x, total)


def write_model(args, path):
    g = Graph()
    value = "x"
    for _ in range(args.layers):
        value = layer(g, args, value)
    g.nodes.append(helper.make_node("Identity", [value], ["y"], name="last"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT,
                                          ["tokens", args.hidden])
            for name in "xy"]
    graph = helper.make_graph(g.nodes, "unrolled", ends[:1], ends[1:],
                              g.weights)
    onnx.save(helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        path)
    return len(g.nodes)


def run(command):
    """Seconds, those of CPU and peak MB of a process."""
    before = time.monotonic()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}: status {status}")
    return (time.monotonic() - before, usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024)


def compare(args, first, second):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = \
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    x = np.random.default_rng(1).standard_normal((7, args.hidden), np.float32)
    results = [onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]).run(
            None, {"x": x})[0] for path in (first, second)]
    error = np.abs(results[0] - results[1]).max()
    scale = np.abs(results[0]).max()
    print(f"largest difference {error:.2e} of {scale:.2e}")
    if not error <= 1e-4 * scale:
        sys.exit("the results differ")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--experts", type=int, default=128)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--inner", type=int, default=32)
    parser.add_argument("--keep")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or temporary
        os.makedirs(folder, exist_ok=True)
        model = os.path.join(folder, "unrolled.onnx")
        raised = os.path.join(folder, "raised.onnx")
        nodes = write_model(args, model)
        print(f"{nodes} nodes, {os.path.getsize(model) >> 20} MB")
        tool = os.path.join(BUILD, "bin", "moe-opt")
        slow = False
        for what, options in (
                ("read", ["-o", os.path.join(folder, "read.mlirbc")]),
                ("read and raise",
                 ["--moe-raise", "-o", os.path.join(folder, "raised.mlirbc")]),
                ("read, raise and write", ["--moe-raise", "-o", raised])):
            seconds, cpu, memory = run([tool, model, *options])
            print(f"{what}: {seconds:.1f} s ({cpu:.1f} s of CPU), "
                  f"{memory:.0f} MB", flush=True)
            slow |= seconds > SECONDS or memory > MEGABYTES
        left = len(onnx.load(raised, load_external_data=False).graph.node)
        print(f"{left} nodes after raising")
        if args.check:
            compare(args, model, raised)
        if slow:
            sys.exit(f"a step took more than {SECONDS} s or {MEGABYTES} MB")


if __name__ == "__main__":
    main()
