#!/usr/bin/env python3
"""Compares models of several alike layers, which share code, with ONNX Runtime.

usage: share.py [--bin FOLDER] [-k REGEX] [-v]

Each case says how many functions its layers become and how often they are
called; the compiled model has to give what ONNX Runtime gives, for several
extents. An error in a layer has to say that the layer is one of several.

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import argparse
import os
import re
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import kernels

HIDDEN = 32


class Model:
    def __init__(self):
        self.rng = np.random.default_rng(5)
        self.nodes, self.constants, self.layer = [], [], 0
        self.inputs = {"x": (TensorProto.FLOAT, ["b", "t", HIDDEN])}

    def constant(self, value):
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape):
        value = self.rng.standard_normal(shape, dtype=np.float32)
        return self.constant(value / np.float32(np.sqrt(shape[0])))

    def node(self, kind, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(
            kind, inputs, names, **attributes,
            name=f"/layer.{self.layer}/{kind}_{len(self.nodes)}"))
        return names[0] if outputs == 1 else names

    def norm(self, x):
        return self.node("LayerNormalization", x, self.weight(HIDDEN),
                         self.weight(HIDDEN))

    def attention(self, x, mask, heads=4):
        def split(perm):
            y = self.node("MatMul", x, self.weight(HIDDEN, HIDDEN))
            y = self.node("Reshape", y, self.constant(
                np.array([0, 0, heads, HIDDEN // heads])))
            return self.node("Transpose", y, perm=perm)
        scores = self.node("MatMul", split([0, 2, 1, 3]), split([0, 2, 3, 1]))
        scores = self.node("Add", self.node(
            "Mul", scores, self.constant(np.float32(0.35))), mask)
        y = self.node("MatMul", self.node("Softmax", scores),
                      split([0, 2, 1, 3]))
        y = self.node("Reshape", self.node("Transpose", y, perm=[0, 2, 1, 3]),
                      self.constant(np.array([0, 0, HIDDEN])))
        return self.node("MatMul", y, self.weight(HIDDEN, HIDDEN))

    def mlp(self, x, act="Relu", inner=48):
        y = self.node("Add", self.node("MatMul", x, self.weight(
            HIDDEN, inner)), self.weight(inner))
        return self.node("MatMul", self.node(act, y),
                         self.weight(inner, HIDDEN))

    def add(self, x, y):
        return self.node("Add", x, y)


# Each case adds nodes and returns (outputs, functions, calls).


def encoder(m):
    """Attention and MLP, norms in front; a mask that all layers read."""
    m.inputs["mask"] = (TensorProto.FLOAT, ["b", 1, 1, "t"])
    x = "x"
    for m.layer in range(4):
        x = m.add(x, m.attention(m.norm(x), "mask"))
        x = m.add(x, m.mlp(m.norm(x)))
    return [m.norm(x)], 1, 4


def alternating(m):
    """Two kinds of layers in turns: a layer is one of each."""
    x = "x"
    for m.layer in range(6):
        x = m.add(x, m.mlp(m.norm(x), act="Tanh" if m.layer % 2 else "Relu"))
    return [x], 1, 3


def two_kinds(m):
    """Three layers of one kind, then three of another."""
    x = "x"
    for m.layer in range(6):
        y = m.mlp(m.norm(x), inner=48 if m.layer < 3 else 80)
        x = m.add(x, y)
    return [x], 2, 6


def odd_one(m):
    """The layers in the middle have another width: those around share."""
    x = "x"
    for m.layer in range(5):
        x = m.add(x, m.mlp(m.norm(x), inner=80 if m.layer == 4 else 48))
    return [x], 1, 4


def hidden_states(m):
    """Every layer hands on what it computes inside; they are outputs."""
    x, outputs = "x", []
    for m.layer in range(3):
        y = m.norm(x)
        x = m.add(x, m.mlp(y))
        outputs += [y, x]
    return outputs, 1, 3


def experts(m, bits=0):
    """MoE, or QMoE with codes, whose scales and zero points are parameters."""
    count, inner = 4, 32
    x = m.node("Reshape", "x", m.constant(np.array([-1, HIDDEN])))
    for m.layer in range(3):
        y = m.norm(x)
        router = m.node("MatMul", y, m.weight(HIDDEN, count))
        banks = []
        for rows, cols in ((inner, HIDDEN), (HIDDEN, inner)):
            if not bits:
                banks.append(m.constant(m.rng.standard_normal(
                    (count, rows, cols), dtype=np.float32) * np.float32(0.2)))
                continue
            banks.append(m.constant(m.rng.integers(
                0, 256, (count, rows, cols * bits // 8)).astype(np.uint8)))
            banks.append(m.constant(m.rng.random(
                (count, rows), dtype=np.float32) * np.float32(0.02)))
        if bits:
            y = m.node("QMoE", y, router, banks[0], banks[1], "", banks[2],
                       banks[3], domain="com.microsoft", k=2,
                       activation_type="gelu", expert_weight_bits=bits)
        else:
            y = m.node("MoE", y, router, banks[0], "", banks[1],
                       domain="com.microsoft", k=2, activation_type="gelu")
        x = m.add(x, y)
    return [x], 1, 3


def quantised(m):
    return experts(m, bits=4)


def control(m):
    """A branch in each layer, which reads weights of its own and a condition
    from outside."""
    m.inputs["c"] = (TensorProto.BOOL, [1])
    x = "x"
    for m.layer in range(3):
        w, v = m.weight(HIDDEN, HIDDEN), m.weight(HIDDEN, HIDDEN)
        y = m.node("Tanh", m.norm(x))
        branch = lambda name, body: helper.make_graph(
            body, name, [], [helper.make_tensor_value_info(
                f"{name}_y{m.layer}", TensorProto.FLOAT, None)])
        x = m.add(x, m.node(
            "If", "c", then_branch=branch("then", [helper.make_node(
                "MatMul", [y, w], [f"then_y{m.layer}"])]),
            else_branch=branch("else", [
                helper.make_node("MatMul", [y, v], [f"else_t{m.layer}"]),
                helper.make_node("Relu", [f"else_t{m.layer}"],
                                 [f"else_y{m.layer}"])])))
    return [x], 1, 3


def convolutions(m):
    """Residual blocks of a network for images."""
    m.inputs = {"x": (TensorProto.FLOAT, ["b", 16, "h", "w"])}
    x = "x"
    for m.layer in range(4):
        y = m.node("Relu", m.node("Conv", x, m.weight(16, 16, 3, 3),
                                  m.weight(16), pads=[1, 1, 1, 1]))
        x = m.add(x, m.node("Conv", y, m.weight(16, 16, 3, 3), m.weight(16),
                            pads=[1, 1, 1, 1]))
    return [x], 1, 4


def same_weights(m):
    """Layers with the same weights (as in ALBERT): no parameters."""
    x = "x"
    state = m.rng.bit_generator.state
    for m.layer in range(3):
        m.rng.bit_generator.state = state
        x = m.add(x, m.mlp(m.norm(x)))
    return [x], 1, 3


def single(m):
    """Nothing to share."""
    return [m.add("x", m.mlp(m.norm("x")))], 0, 0


CASES = (encoder, alternating, two_kinds, odd_one, hidden_states, experts,
         quantised, control, convolutions, same_weights, single)
SIZES = ({"b": 1, "t": 1, "h": 4, "w": 4}, {"b": 2, "t": 7, "h": 9, "w": 5},
         {"b": 1, "t": 0, "h": 5, "w": 6}, {"b": 3, "t": 40, "h": 16, "w": 16})


def build(case, path):
    m = Model()
    outputs, functions, calls = case(m)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        m.nodes, "g", [value(name, *what) for name, what in m.inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        m.constants)
    model = helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)])
    for output in model.graph.output:
        output.type.tensor_type.elem_type = TensorProto.FLOAT
    onnx.save(model, path)
    return m.inputs, functions, calls


def draw(rng, inputs, sizes):
    feeds = {}
    for name, (kind, dims) in inputs.items():
        shape = [sizes.get(d, d) for d in dims]
        feeds[name] = (np.array(rng.integers(0, 2, shape) > 0)
                       if kind == TensorProto.BOOL else
                       rng.standard_normal(shape).astype(np.float32))
    return feeds


def check(suite, case):
    path = os.path.join(suite.folder, case.__name__)
    inputs, functions, calls = build(case, path + ".onnx")
    code, text = suite.tool("moe-compile", path + ".onnx", "-o",
                            path + ".mlir", "--compile-to=schedule")
    if code:
        return suite.say(case.__name__, text[:800])
    with open(path + ".mlir", encoding="utf-8") as file:
        text = file.read()
    found = (text.count("func.func private @main"),
             len(re.findall(r"\bcall @main", text)))
    if found != (functions, calls):
        return suite.say(case.__name__, f"{found} functions and calls, not "
                         f"{(functions, calls)}")
    code, text = suite.tool("moe-compile", path + ".onnx", "-o", path + ".so")
    if code:
        return suite.say(case.__name__, text[:800])
    session = onnxruntime.InferenceSession(
        path + ".onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    for sizes in SIZES:
        feeds = draw(rng, inputs, sizes)
        code, results = suite.run(path + ".so", list(feeds.items()))
        if code:
            return suite.say(case.__name__, f"{sizes}: {results}")
        for i, (got, want) in enumerate(zip(results,
                                            session.run(None, feeds))):
            error = np.linalg.norm(got - want) / (np.linalg.norm(want) or 1)
            if got.shape != want.shape or not error < 1e-4:
                return suite.say(case.__name__, f"{sizes}: output {i} is off "
                                 f"by {error:.1e}, 1e-4 is accepted")
    return suite.say(case.__name__, "")


def check_message(suite):
    """An error in a shared layer names the node, and that it is one of many."""
    m = Model()
    m.inputs["i"] = (TensorProto.INT64, ["n"])
    x = "x"
    for m.layer in range(3):
        picked = m.node("Gather", m.mlp(m.norm(x)), "i", axis=1)
        x = m.add(x, m.node("ReduceSum", picked, m.constant(np.array([1]))))
    path = os.path.join(suite.folder, "message")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        m.nodes, "g", [value(name, *what) for name, what in m.inputs.items()],
        [value(x, TensorProto.FLOAT, ["b", "t", HIDDEN])], m.constants)
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid("", 18)]), path + ".onnx")
    code, text = suite.tool("moe-compile", path + ".onnx", "-o", path + ".so")
    if not code:
        code, text = suite.run(path + ".so", [
            ("x", np.zeros((1, 2, HIDDEN), np.float32)),
            ("i", np.array([0, 9]))])
        good = code == 1 and re.search(
            r"/layer\.\d/Gather_\d+ \(1 of 3 alike\)", text)
        return suite.say("message", "" if good else f"{code}: {text}")
    return suite.say("message", text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(
        os.environ.get("MOE_BUILD", os.path.join(kernels.ROOT, "build")),
        "bin"), help="where moe-compile and moe-run are")
    parser.add_argument("-k", default="", metavar="REGEX",
                        help="only cases whose name matches")
    parser.add_argument("-v", action="store_true", help="list all tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        suite = kernels.Suite(options, folder)
        for case in CASES:
            if re.search(options.k, case.__name__):
                check(suite, case)
        if re.search(options.k, "message"):
            check_message(suite)
    print(f"{suite.passed} passed, {suite.failed} failed")
    return 1 if suite.failed or not suite.passed else 0


if __name__ == "__main__":
    sys.exit(main())
