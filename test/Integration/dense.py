#!/usr/bin/env python3
"""Compares products with constant matrices, and what follows them, with float64.

usage: dense.py [--bin FOLDER] [-k REGEX] [--mcpu CPU]... [-v]

Each case is a small model: MatMul or Gemm with a bias, an activation, residuals
and masks in the places where transformers have them, over widths that are no
multiples of a panel, in float32 and float16, with one matrix or one for each
index of the outermost dim. Results are compared with NumPy in float64, for
several numbers of rows; then neither the number of threads nor the other rows
may change a bit.

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import argparse
import math
import os
import re
import sys
import tempfile

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper

import kernels

BOUNDS = {np.float32: 1e-6, np.float16: 2e-3}


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


class Model:
    """Collects nodes and constants of a graph."""

    def __init__(self, kind, seed):
        self.kind = kind
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], []

    def weight(self, *shape, scale=None, kind=None):
        value = self.rng.standard_normal(shape) * (
            scale or 1 / np.sqrt(shape[-2] if len(shape) > 1 else 1))
        value = value.astype(kind or self.kind)
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name, value.astype(np.float64)

    def scalar(self, value):
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(
            np.array(value, self.kind), name))
        return name

    def node(self, kind, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def weight_transposed(self, *shape):
        """A constant that a node transposes."""
        name, value = self.weight(*shape, scale=0.2)
        self.transposed = value.swapaxes(-1, -2)
        return self.node("Transpose", name,
                         perm=[*range(len(shape) - 2), len(shape) - 1,
                               len(shape) - 2])

    def gelu(self, x):
        """As PyTorch's exporter writes it."""
        e = self.node("Erf", self.node("Div", x, self.scalar(np.sqrt(2))))
        e = self.node("Add", e, self.scalar(1))
        return self.node("Mul", self.node("Mul", x, e), self.scalar(0.5))


# Each case: inputs with their dims, and a function that adds nodes to a model and
# returns its outputs with functions that compute them.


def mlp(m, k=70, n=100, width=40):
    """GELU between two layers, a residual, and the sum used twice."""
    w1, a1 = m.weight(k, n)
    b1, c1 = m.weight(n)
    w2, a2 = m.weight(n, width)
    b2, c2 = m.weight(width)
    h = m.gelu(m.node("Add", m.node("MatMul", "x", w1), b1))
    y = m.node("Add", b2, m.node("MatMul", h, w2))
    s = m.node("Add", "r", y)
    t = m.node("Transpose", s, perm=[0, 2, 1])

    def want(x, r):
        z = x @ a1 + c1
        s = r + z * 0.5 * (1 + erf(z / np.sqrt(2))) @ a2 + c2
        return [s, s.transpose(0, 2, 1)]
    return [s, t], want, {"x": ("b", "t", k), "r": ("b", "t", width)}


def gated(m, k=300, n=48):
    """SiLU of one product times another, a factor for each row, a maximum."""
    w1, a1 = m.weight(k, n)
    w2, a2 = m.weight(k, n)
    g = m.node("MatMul", "x", w1)
    u = m.node("MatMul", "x", w2)
    h = m.node("Mul", m.node("Mul", g, m.node("Sigmoid", g)), u)
    y = m.node("Max", m.node("Mul", h, "f"), m.scalar(-0.1))

    def want(x, f):
        g = x @ a1
        return [np.maximum(g / (1 + np.exp(-g)) * (x @ a2) * f, -0.1)]
    return [y], want, {"x": ("b", "t", k), "f": ("b", "t", 1)}


def gemm(m, k=33, n=65):
    """Gemm in all its parts, then Relu."""
    w, a = m.weight(n, k, scale=0.2)
    b, c = m.weight(1, n, scale=1)
    y = m.node("Relu", m.node("Gemm", "x", w, b, alpha=0.5, beta=2.0,
                              transB=1))

    def want(x):
        return [np.maximum(0.5 * x @ a.T + 2 * c, 0)]
    return [y], want, {"x": ("t", k)}


def batched(m, e=5, k=40, n=24):
    """One matrix for each index of the outermost dim."""
    w, a = m.weight(e, k, n)
    b, c = m.weight(e, 1, n)
    y = m.node("Add", m.node("MatMul", "x", w), b)
    z = m.node("MatMul", "x", m.weight_transposed(e, n, k))

    def want(x):
        return [x @ a + c, x @ m.transposed]
    return [y, z], want, {"x": (e, "t", k)}


def einsum(m, k=31, n=17, deep=600):
    """A vector on the left, an Einsum, a contraction of several blocks."""
    w, a = m.weight(k, n)
    w2, a2 = m.weight(deep, n)
    y = m.node("Einsum", "x", w, equation="bk,kn->bn")
    z = m.node("Tanh", m.node("MatMul", "d", w2))

    def want(x, d):
        return [x @ a, np.tanh(d @ a2)]
    return [y, z], want, {"x": ("t", k), "d": ("t", deep)}


def widened(m, k=300, n=56):
    """Weights of 16 bits that nodes cast, one of them transposed as well."""
    w1, a1 = m.weight(k, n, kind=np.float16)
    w2, a2 = m.weight(n, k, kind=ml_dtypes.bfloat16, scale=0.05)
    to = helper.np_dtype_to_tensor_dtype(np.dtype(m.kind))
    y = m.node("Relu", m.node("MatMul", "x", m.node("Cast", w1, to=to)))
    z = m.node("Transpose", m.node("Cast", w2, to=to), perm=[1, 0])
    z = m.node("MatMul", "x", z)

    def want(x):
        return [np.maximum(x @ a1, 0), x @ a2.T]
    return [y, z], want, {"x": ("t", k)}


CASES = (mlp, gated, gemm, batched, einsum, widened)


def compile_case(suite, case, kind, cpu):
    model = Model(kind, len(case.__name__))
    outputs, want, inputs = case(model)
    data_type = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    graph = helper.make_graph(
        model.nodes, "g",
        [helper.make_tensor_value_info(name, data_type, list(dims))
         for name, dims in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        model.constants)
    proto = helper.make_model(graph, opset_imports=[
        helper.make_opsetid("", 18)])
    proto.ir_version = 9
    proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    path = os.path.join(suite.folder, f"{case.__name__}{cpu}{kind.__name__}")
    onnx.save(proto, path + ".onnx")
    code, text = suite.tool("moe-compile", path + ".onnx", "-o", path + ".so",
                            f"--mcpu={cpu}")
    return path + ".so", want, inputs, "" if not code else text[:800]


def check(suite, case, kind, cpu):
    so, want, inputs, problem = compile_case(suite, case, kind, cpu)
    rng = np.random.default_rng(3)
    for t in (0, 1, 3, 9, 50, 200):
        if problem:
            break
        extents = {"t": t, "b": 2}
        drawn = {name: rng.standard_normal(
            [extents.get(d, d) for d in dims]).astype(kind)
            for name, dims in inputs.items()}
        code, results = suite.run(so, list(drawn.items()), "--threads", "1")
        if code:
            problem = f"t = {t}: exit status {code}: {results}"
            break
        expected = want(*[value.astype(np.float64)
                          for value in drawn.values()])
        for i, (got, exact) in enumerate(zip(results, expected)):
            error = np.linalg.norm(got - exact) / (np.linalg.norm(exact) or 1)
            if got.shape != exact.shape or not error <= BOUNDS[kind]:
                problem = (f"t = {t}: output {i}: shape {got.shape}, relative "
                           f"error {error:.2e}, {BOUNDS[kind]} is accepted")
        if t == 50 and not problem:
            problem = check_bits(suite, so, inputs, drawn, results)
    suite.say(f"{case.__name__} on {cpu}, {kind.__name__}", problem)


def check_bits(suite, so, inputs, drawn, results):
    """Other threads, and the last row of each batch alone."""
    for threads in ("2", "5"):
        _, other = suite.run(so, list(drawn.items()), "--threads", threads)
        if any(a.tobytes() != b.tobytes() for a, b in zip(results, other)):
            return f"other bits with {threads} threads"
    alone = [(name, drawn[name].take([-1], axis=dims.index("t")))
             for name, dims in inputs.items()]
    code, single = suite.run(so, alone)
    for many, one in zip(results, single):
        # The dim that shrank.
        axis = [i for i in range(many.ndim)
                if code or many.shape[i] != one.shape[i]]
        if code or many.take([-1], axis=axis[0]).tobytes() != one.tobytes():
            return "a row alone has other bits than among 50"
    return ""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(
        os.environ.get("MOE_BUILD", os.path.join(kernels.ROOT, "build")),
        "bin"), help="where moe-compile and moe-run are")
    parser.add_argument("-k", default="", metavar="REGEX",
                        help="only cases whose name matches")
    parser.add_argument("--mcpu", action="append",
                        help="CPUs to compile for (default: native and "
                             "x86-64-v3)")
    parser.add_argument("-v", action="store_true", help="list all tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        suite = kernels.Suite(options, folder)
        for cpu in options.mcpu or ("native", "x86-64-v3"):
            for case in CASES:
                for kind in (np.float32, np.float16):
                    if re.search(options.k, case.__name__):
                        check(suite, case, kind, cpu)
    print(f"{suite.passed} passed, {suite.failed} failed")
    return 1 if suite.failed or not suite.passed else 0


if __name__ == "__main__":
    sys.exit(main())
