#!/usr/bin/env python3
"""Holds exp, tanh, erf and what is made of them to their error bounds.

usage: elementary.py [--bin FOLDER] [--mcpu CPU]... [-v]

The compiler replaces these functions by polynomials on vectors
(`moe-expand-math`). Each is computed on a million float32 values, spread over
all magnitudes and densely where the function bends, both in a loop of its own
and in the epilogue of a product (with the unit matrix), and compared with
float64. The bounds are those of docs/Rationale/HostKernels.md.

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import argparse
import math
import os
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import kernels

WIDTH = 64


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


# Name: the function, its range, the largest error of a result y, relative to
# |y| and absolute: |error| <= relative * |y| + absolute.
FUNCTIONS = {
    "Exp": (np.exp, (-87, 88), 1.5e-7, 0),
    "Tanh": (np.tanh, (-20, 20), 4e-7, 0),
    "Erf": (erf, (-6, 6), 3e-7, 5e-8),
    "Sigmoid": (sigmoid, (-80, 80), 2.5e-7, 0),
    "Log": (np.log, (1e-30, 1e30), 1.5e-7, 3e-8),
}


def draw(low, high):
    """Float32 values in [low, high], a multiple of WIDTH of them."""
    rng = np.random.default_rng(0)
    count = 1 << 19
    spread = 10.0 ** rng.uniform(-30, 30, count) * rng.choice([-1, 1], count)
    dense = np.concatenate([rng.uniform(-limit, limit, count // 4)
                            for limit in (0.5, 2, 10, 100)])
    x = np.concatenate([spread, dense]).astype(np.float32)
    x = x[(x >= low) & (x <= high)]
    return x[:x.size // WIDTH * WIDTH].reshape(-1, WIDTH)


def build(name, path):
    """y = f(x), z = f(x * 1)."""
    nodes = [helper.make_node(name, ["x"], ["y"]),
             helper.make_node("MatMul", ["x", "unit"], ["p"]),
             helper.make_node(name, ["p"], ["z"])]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT,
                                           ["t", WIDTH]) for n in "xyz"]
    graph = helper.make_graph(
        nodes, "g", value[:1], value[1:],
        [numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "unit")])
    model = helper.make_model(graph, opset_imports=[
        helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, path)


def check(suite, name, cpu):
    function, (low, high), relative, absolute = FUNCTIONS[name]
    path = os.path.join(suite.folder, f"{name}{cpu}")
    build(name, path + ".onnx")
    code, text = suite.tool("moe-compile", path + ".onnx", "-o", path + ".so",
                            f"--mcpu={cpu}")
    x = draw(low, high)
    if not code:
        code, text = suite.run(path + ".so", [("x", x)])
    if code:
        suite.say(f"{name} on {cpu}", f"exit status {code}: {text}")
        return
    want = function(x.astype(np.float64))
    for where, got in zip(("in a loop", "in an epilogue"), text):
        excess = np.abs(got - want) / (relative * np.abs(want) + absolute
                                       + 1e-38)
        worst = np.unravel_index(np.argmax(excess), excess.shape)
        problem = ""
        if not np.isfinite(excess).all() or excess[worst] > 1:
            problem = (f"{name}({x[worst]!r}) is {got[worst]!r}, "
                       f"{want[worst]!r} in float64")
        suite.say(f"{name} {where} on {cpu}: {excess[worst]:.2f} of its bound",
                  problem)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(
        os.environ.get("MOE_BUILD", os.path.join(kernels.ROOT, "build")),
        "bin"), help="where moe-compile and moe-run are")
    parser.add_argument("--mcpu", action="append",
                        help="CPUs to compile for (default: native and "
                             "x86-64-v3)")
    parser.add_argument("-v", action="store_true", help="list all tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        suite = kernels.Suite(options, folder)
        for cpu in options.mcpu or ("native", "x86-64-v3"):
            for name in FUNCTIONS:
                check(suite, name, cpu)
    print(f"{suite.passed} passed, {suite.failed} failed")
    return 1 if suite.failed or not suite.passed else 0


if __name__ == "__main__":
    sys.exit(main())
