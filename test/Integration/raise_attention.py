#!/usr/bin/env python3
"""Attention and norms in plain nodes: raised, exported, compiled.

Each case is a graph as some exporter spells it. Its raised form must hold the
operations and attributes that are expected of it (or, for what must not be
raised, none), and give what the original gives in ONNX Runtime: exported as
plain operators, in ONNX Runtime as well, and compiled. Extents are dynamic and
take two sizes, rows of which a mask leaves nothing included.

usage: raise_attention.py [PATTERN...]   runs the cases whose names contain one
"""
import itertools
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))
MOE_OPT = os.path.join(BUILD, "bin", "moe-opt")
MOE_RUN = os.path.join(BUILD, "bin", "moe-run")
PIPELINE = ("builtin.module(func.func(onnx-infer-shapes),func.func("
            "moe-raise-norms),func.func(moe-raise-attention),"
            "func.func(onnx-infer-shapes))")
TOLERANCE = {"float32": (2e-5, 2e-5), "float16": (2e-2, 4e-3)}
LOWEST = {"float32": np.finfo(np.float32).min, "float16": -65504.0}


class Graph:
    """Builds a model node by node; values are names."""

    def __init__(self, dtype=np.float32, opset=18):
        self.dtype, self.opset = np.dtype(dtype), opset
        self.nodes, self.inits, self.inputs, self.outputs = [], [], [], []
        self.count = 0

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def op(self, kind, *operands, outputs=1, **attributes):
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(
            kind, [o if isinstance(o, str) else self.const(o)
                   for o in operands], names, **attributes))
        return names[0] if outputs == 1 else names

    def const(self, array):
        array = np.asarray(array)
        if array.dtype == np.float64:
            array = array.astype(self.dtype)
        name = self.name()
        self.inits.append(numpy_helper.from_array(array, name))
        return name

    def input(self, name, dims, dtype=None):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def output(self, value, rank, dtype=None):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        self.outputs.append(helper.make_tensor_value_info(
            value, kind, [None] * rank))

    # What many spellings share.
    def unsqueeze(self, value, *axes):
        return self.op("Unsqueeze", value, np.array(axes, np.int64))

    def extent(self, value, axis):
        shape = self.op("Shape", value, start=axis, end=axis + 1)
        return self.op("Squeeze", shape, np.array([0], np.int64))

    def arange(self, end, start=0):
        return self.op("Range", np.int64(start), end, np.int64(1))

    def cast(self, value, dtype):
        return self.op("Cast", value,
                       to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def model(self):
        graph = helper.make_graph(self.nodes, "graph", self.inputs,
                                  self.outputs, self.inits)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=10)
        onnx.checker.check_model(model)
        return model


class Case:
    """A graph, its inputs for each size, and patterns that the raised module
    must hold (`wants`) or must not (`refuses`)."""

    def __init__(self, name, graph, feeds, wants=(), refuses=()):
        self.name, self.graph, self.feeds = name, graph, feeds
        self.wants, self.refuses = wants, refuses


# --- attention ------------------------------------------------------------------

SIZES = [(2, 7, 7), (1, 37, 37)]


def transposed_keys(g, k, form):
    if form == "swap":
        return g.op("Transpose", k, perm=[0, 1, 3, 2])
    # torch's: flat, transposed, as it was.
    shape = g.op("Shape", k)
    part = lambda a, b: g.op("Slice", shape, np.array([a], np.int64),
                             np.array([b], np.int64))
    last, length, lead = part(-1, 2**63 - 1), part(-2, -1), part(-2**63, -2)
    minus = np.array([-1], np.int64)
    flat = g.op("Reshape", k, g.op("Concat", minus, length, last, axis=0))
    flat = g.op("Transpose", flat, perm=[0, 2, 1])
    return g.op("Reshape", flat, g.op("Concat", lead, last, length, axis=0))


def causal_mask(g, rows, columns, form, offset=None):
    """bool [1, 1, S, L]"""
    i = g.arange(rows)
    if offset is not None:
        i = g.op("Add", i, offset)
    j = g.arange(columns)
    i, j = g.unsqueeze(i, 0, 1, 3), g.unsqueeze(j, 0, 1, 2)
    if form == "greater":
        return g.op("Not", g.op("Greater", j, i))
    if form == "less":
        return g.op("Less", j, g.op("Add", i, np.int64(1)))
    return g.op("LessOrEqual", j, i)


def attention(name, *, dtype=np.float32, heads=4, key_heads=4, width=16,
              value_width=None, scale="scores", keys="swap", mask=None,
              mask_as="add", low=None, guard=False, softmax="plain",
              causal="lessequal", window=None, cross=False, bias=None,
              softcap=0, probs=None, rank=4, swapped=False, static=None,
              opset=18, wants=None, refuses=()):
    dtype = np.dtype(dtype)
    value_width = value_width or width
    low = LOWEST[dtype.name] if low is None else low
    g = Graph(dtype, opset)
    s, l = ("s", "l" if cross else "s")
    if static:
        s = l = static
    batch = "b"
    if rank == 3:
        q = g.input("q", [batch, s, width])
        k = g.input("k", [batch, l, width])
        v = g.input("v", [batch, l, value_width])
    else:
        # As projections come: [B, S, N * D].
        def project(name, count, columns, n):
            x = g.input(name, [batch, columns, count * n])
            shape = g.op("Concat", g.op("Shape", x, start=0, end=2),
                         np.array([count, n], np.int64), axis=0)
            return g.op("Transpose", g.op("Reshape", x, shape),
                        perm=[0, 2, 1, 3])
        q = project("q", heads, s, width)
        k = project("k", key_heads, l, width)
        v = project("v", key_heads, l, value_width)
    rows, columns = g.extent("q", 1), g.extent("k", 1)
    if key_heads != heads:
        def repeat(x, n):
            wide = g.unsqueeze(x, 2)
            extent = lambda axis: g.op("Shape", x, start=axis, end=axis + 1)
            shape = g.op("Concat", extent(0), extent(1),
                         np.array([heads // key_heads], np.int64),
                         extent(2), extent(3), axis=0)
            wide = g.op("Expand", wide, shape)
            return g.op("Reshape", wide, g.op(
                "Concat", extent(0), np.array([heads], np.int64), extent(2),
                extent(3), axis=0))
        k, v = repeat(k, width), repeat(v, value_width)

    number = 1 / np.sqrt(width)
    if rank == 3:
        kt = g.op("Transpose", k, perm=[0, 2, 1])
    elif keys == "direct":
        # [B, L, N, D] to [B, N, D, L] in one transposition.
        shape = g.op("Concat", g.op("Shape", "k", start=0, end=2),
                     np.array([key_heads, width], np.int64), axis=0)
        kt = g.op("Transpose", g.op("Reshape", "k", shape), perm=[0, 2, 3, 1])
    else:
        kt = transposed_keys(g, k, keys)
    if scale == "query":
        q = g.op("Mul", q, number)
    if scale == "both":
        q = g.op("Mul", q, np.sqrt(number))
        kt = g.op("Mul", kt, np.sqrt(number))
    scores = g.op("MatMul", q, kt)
    if scale == "scores":
        scores = g.op("Mul", scores, number)
    if scale == "divide":
        scores = g.op("Div", scores, np.sqrt(float(width)))
    if softcap:
        scores = g.op("Mul", g.op("Tanh", g.op("Div", scores, float(softcap))),
                      float(softcap))
    if softmax == "f32":
        scores = g.cast(scores, np.float32)

    score_type = np.float32 if softmax == "f32" else dtype
    if bias:
        shape = {"heads": [1, heads, s, l], "keys": [batch, 1, 1, l],
                 "all": [batch, heads, s, l]}[bias]
        if rank == 3:
            shape = [batch, s, l]
        b = g.input("bias", shape, score_type)
        scores = g.op("Add", *((b, scores) if swapped else (scores, b)))
    terms = []
    if mask and "causal" in mask:
        if causal == "constant":
            terms.append(g.const(np.tril(np.ones((static, static), bool))))
        else:
            offset = g.op("Sub", columns, rows) if "end" in mask else None
            terms.append(causal_mask(g, rows, columns, causal, offset))
    if window:
        i = g.unsqueeze(g.arange(rows), 0, 1, 3)
        j = g.unsqueeze(g.arange(columns), 0, 1, 2)
        terms.append(g.op("Greater", j, g.op("Sub", i, np.int64(window))))
    if mask and "padding" in mask:
        padding = g.input("padding", [batch, l], np.int64)
        padding = g.cast(padding, np.bool_)
        terms.append(g.unsqueeze(padding, 1) if rank == 3
                     else g.unsqueeze(padding, 1, 2))
    if terms:
        visible = terms[0]
        for term in terms[1:]:
            visible = g.op("And", term, visible) if swapped \
                else g.op("And", visible, term)
        low_value = np.array(low, score_type)
        if mask_as == "add":
            addend = g.op("Where", visible, np.array(0, score_type), low_value)
            scores = g.op("Add", *((addend, scores) if swapped
                                   else (scores, addend)))
        elif mask_as == "where":
            scores = g.op("Where", visible, scores, low_value)
        else:
            scores = g.op("Where", g.op("Not", visible), low_value, scores)
    p = g.op("Softmax", scores, axis=-1)
    if guard:
        p = g.op("Where", g.op("IsNaN", p), np.array(0, score_type), p)
    if softmax == "f32" and dtype != np.float32:
        p = g.cast(p, dtype)
    o = g.op("MatMul", p, v)
    if rank == 4:
        o = g.op("Transpose", o, perm=[0, 2, 1, 3])
        o = g.op("Reshape", o, np.array([0, 0, -1], np.int64))
    g.output(o, 3)
    if probs == "gather":
        row = g.op("Gather", p, np.int64(-1), axis=rank - 2)
        g.output(g.op("ReduceMean", row, np.array([1], np.int64), keepdims=0),
                 rank - 2)
    if probs == "slice":
        g.output(g.op("Slice", p, np.array([0], np.int64),
                      np.array([2], np.int64), np.array([2], np.int64)), 4)
    if probs == "all":
        g.output(p, rank)

    feeds = []
    for number, (count, rows, columns) in enumerate(SIZES):
        generator = np.random.default_rng(number)
        if cross:
            rows, columns = rows, columns + 9
        if static:
            rows = columns = static
        def normal(*shape, kind=dtype):
            return generator.standard_normal(shape).astype(kind)
        n, kn = (1, 1) if rank == 3 else (heads, key_heads)
        feed = {"q": normal(count, rows, n * width),
                "k": normal(count, columns, kn * width),
                "v": normal(count, columns, kn * value_width)}
        if bias:
            sizes = {"b": count, "s": rows, "l": columns}
            sizes[static] = static
            if not cross:
                sizes["s"] = rows
            feed["bias"] = normal(*[sizes.get(d, d) for d in shape],
                                  kind=score_type)
        if mask and "padding" in mask:
            padding = np.ones((count, columns), np.int64)
            # Padding in front: the first rows see nothing.
            if dtype == np.float32:
                padding[0, :3] = 0
            else:
                # What remains of a low number in f16 is not the same
                # everywhere: ONNX Runtime adds in f32.
                padding[0, -2:] = 0
            if number:
                padding[0, -4:] = 0
            feed["padding"] = padding
        feeds.append(feed)
    if wants is None:
        wants = ["moe.attention"]
    return Case(name, g, feeds, wants, refuses)


def attentions():
    yield attention("plain")
    for scale, keys in itertools.product(
            ["none", "scores", "divide", "query", "both"],
            ["swap", "flat", "direct"]):
        yield attention(f"scale {scale}, keys {keys}", scale=scale, keys=keys)
    start, end = "#moe.causal<start>", "#moe.causal<end>"
    for form in ("lessequal", "greater", "less"):
        yield attention(f"causal {form}", mask="causal", causal=form,
                        wants=["moe.attention", start], refuses=["mask("])
    yield attention("causal constant", mask="causal", causal="constant",
                    static=21, wants=["moe.attention", start],
                    refuses=["mask("])
    yield attention("causal, 512 tokens", mask="causal", static=512, heads=2,
                    key_heads=1, width=64, wants=[start])
    yield attention("causal from the end", mask="causal end", cross=True,
                    wants=[end], refuses=["mask("])
    yield attention("cross", cross=True, value_width=40)
    for how, low in itertools.product(["add", "where", "masked"],
                                      [None, -np.inf, -1e4, -1e9]):
        is_mask = how != "add" or low is None or low == -np.inf
        yield attention(f"padding {how} {low}", mask="padding", mask_as=how,
                        low=low, guard=low == -np.inf,
                        wants=["mask(" if is_mask else "bias("])
        yield attention(f"causal padding {how} {low}", mask="causal padding",
                        mask_as=how, low=low, guard=low == -np.inf,
                        wants=["mask(" if is_mask else "bias("])
    yield attention("nothing visible, NaN", mask="causal padding",
                    low=-np.inf, wants=["mask("], refuses=["zero_nan"])
    yield attention("padding swapped", mask="causal padding", swapped=True,
                    wants=[start, "mask("])
    yield attention("window", mask="causal", window=5,
                    wants=[start, "window = 5"], refuses=["mask("])
    yield attention("window alone", window=5, mask="", mask_as="where",
                    wants=["window = 5"])
    yield attention("window padding", mask="causal padding", window=9,
                    wants=["window = 9", "mask("])
    for heads, key_heads in ((4, 2), (6, 1), (8, 2)):
        yield attention(f"heads {heads} over {key_heads}", heads=heads,
                        key_heads=key_heads, mask="causal padding",
                        wants=[f"x{key_heads}x?x16xf32", "moe.attention"])
    for width in (1, 12, 40, 64, 80):
        yield attention(f"width {width}", width=width, heads=2, key_heads=2,
                        mask="causal")
    for kind in ("heads", "keys", "all"):
        yield attention(f"bias {kind}", bias=kind, wants=["bias("])
        yield attention(f"bias {kind} swapped, causal", bias=kind,
                        swapped=True, mask="causal", mask_as="where",
                        wants=["bias(", start])
    yield attention("bias and mask", bias="heads", mask="causal padding",
                    wants=["bias("], refuses=["mask("])
    yield attention("soft cap", softcap=3, mask="causal",
                    wants=["softcap = 3.0"])
    yield attention("rank 3", rank=3, heads=1, key_heads=1)
    yield attention("rank 3 padding", rank=3, heads=1, key_heads=1,
                    mask="padding", mask_as="where", wants=["mask("])
    yield attention("rank 3 bias", rank=3, heads=1, key_heads=1, bias="all",
                    wants=["bias("])
    yield attention("last row", probs="gather", wants=["probs_count = 1"])
    yield attention("last row, causal", probs="gather", mask="causal",
                    wants=["probs_count = 1", "probs_first = -1"])
    yield attention("first rows", probs="slice", static=19,
                    wants=["probs_count = 2"])
    yield attention("all rows", probs="all", wants=["onnx.Softmax"],
                    refuses=["moe.attention"])
    for softmax, mask in itertools.product(["plain", "f32"],
                                           [None, "causal", "causal padding"]):
        yield attention(f"f16 {softmax} {mask}", dtype=np.float16,
                        softmax=softmax, mask=mask, heads=4, key_heads=2)
    yield attention("f16 bias", dtype=np.float16, bias="heads")
    for opset in (15, 17, 21, 23):
        yield attention(f"opset {opset}", opset=opset, mask="causal padding",
                        wants=["moe.attention"])


# --- norms ----------------------------------------------------------------------


def norm(name, kind, *, dtype=np.float32, square="pow", root="div",
         scale="vector", bias=True, cast=None, axes=1, opset=18, epsilon=1e-5,
         wants=None, refuses=()):
    dtype = np.dtype(dtype)
    g = Graph(dtype, opset)
    shape = ["b", "s", 24] if axes == 1 else ["b", 6, 4]
    x = g.input("x", shape)
    generator = np.random.default_rng(0)
    wide = g.cast(x, np.float32) if cast else x
    inner = np.dtype(np.float32) if cast else dtype
    lit = lambda value: np.array(value, inner)
    over = np.arange(-axes, 0, dtype=np.int64)

    def mean(value):
        if opset < 18:
            return g.op("ReduceMean", value, axes=[int(a) for a in over])
        return g.op("ReduceMean", value, over)
    c = wide
    if kind == "layer":
        c = g.op("Sub", wide, mean(wide))
    v = g.op("Mul", c, c) if square == "mul" else g.op("Pow", c, lit(2))
    v = g.op("Add", mean(v), lit(epsilon))
    if root == "pow":
        y = g.op("Mul", c, g.op("Pow", v, lit(-0.5)))
    elif root == "reciprocal":
        y = g.op("Mul", g.op("Reciprocal", g.op("Sqrt", v)), c)
    elif root == "one":
        y = g.op("Mul", c, g.op("Div", lit(1), g.op("Sqrt", v)))
    else:
        y = g.op("Div", c, g.op("Sqrt", v))
    if cast == "before":
        y = g.cast(y, dtype)
    at = inner if cast == "after" else dtype
    extents = [24] if axes == 1 else [6, 4]
    values = lambda: (1 + generator.standard_normal(extents)).astype(at)
    if scale == "vector":
        y = g.op("Mul", values(), y)
    elif scale == "wide":
        y = g.op("Mul", y, values().reshape([1, 1] + extents)[0])
    if bias:
        y = g.op("Add", y, values())
    if cast == "after":
        y = g.cast(y, dtype)
    # A residual sum is no bias.
    y = g.op("Add", y, x)
    g.output(y, 3)
    feeds = [{"x": generator.standard_normal(
        (count, *([rows, 24] if axes == 1 else [6, 4]))).astype(dtype)}
        for count, rows, _ in SIZES]
    return Case(name, g, feeds, wants or ["moe.norm", f"norm_kind<{kind}>"],
                refuses)


def group_norm(name, groups, channels=12, bias=True, static=True):
    g = Graph()
    x = g.input("x", ["b", channels, 5, 7] if static
                else ["b", channels, "h", "w"])
    rows = g.op("Reshape", x, np.array([0, groups, -1], np.int64))
    y = g.op("InstanceNormalization", rows, np.ones(groups, np.float32),
             np.zeros(groups, np.float32), epsilon=1e-5)
    y = g.op("Reshape", y, g.op("Shape", x))
    generator = np.random.default_rng(0)
    y = g.op("Mul", y, generator.standard_normal((channels, 1, 1)))
    if bias:
        y = g.op("Add", y, generator.standard_normal((1, channels, 1, 1)))
    g.output(y, 4)
    feeds = [{"x": generator.standard_normal((count, channels, 5, 7))
              .astype(np.float32)} for count, _, _ in SIZES]
    return Case(name, g, feeds,
                ["moe.norm", "norm_kind<group>", f"groups = {groups}"],
                ["InstanceNormalization"])


def norms():
    for kind, square, root in itertools.product(
            ["layer", "rms"], ["pow", "mul"],
            ["div", "pow", "reciprocal", "one"]):
        yield norm(f"{kind} {square} {root}", kind, square=square, root=root,
                   bias=kind == "layer",
                   refuses=["onnx.ReduceMean", "onnx.Sqrt"])
    for cast in ("before", "after"):
        yield norm(f"rms f16 {cast}", "rms", dtype=np.float16, cast=cast,
                   bias=False, refuses=["onnx.Cast"])
    yield norm("layer f16", "layer", dtype=np.float16)
    yield norm("layer wide scale", "layer", scale="wide")
    yield norm("rms without scale", "rms", scale="none", bias=False)
    yield norm("layer over two axes", "layer", axes=2)
    for opset in (13, 17, 21, 23):
        yield norm(f"layer opset {opset}", "layer", opset=opset)
        yield norm(f"rms opset {opset}", "rms", opset=opset, bias=False)
    yield group_norm("group 1", 1)
    yield group_norm("group 4", 4, bias=False)
    yield group_norm("group dynamic", 3, static=False)


# --- running --------------------------------------------------------------------


def run_onnx(model, feed):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = \
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options,
        providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def compare(got, expected, what):
    problems = []
    for number, (a, e) in enumerate(zip(got, expected)):
        rtol, atol = TOLERANCE[e.dtype.name]
        if a.shape != e.shape:
            problems.append(f"{what}: output {number} has shape {a.shape}, "
                            f"not {e.shape}")
        elif not np.allclose(a.astype(np.float64), e.astype(np.float64),
                             rtol, atol, equal_nan=True):
            error = np.abs(a.astype(np.float64) - e.astype(np.float64))
            at = np.unravel_index(np.nanargmax(error), error.shape) \
                if np.isfinite(error).any() else ()
            problems.append(f"{what}: output {number} is {a[at]} at {at}, "
                            f"not {e[at]}")
    return problems


def write_set(folder, arrays, prefix):
    os.makedirs(folder, exist_ok=True)
    for number, array in enumerate(arrays):
        with open(os.path.join(folder, f"{prefix}_{number}.pb"), "wb") as file:
            file.write(numpy_helper.from_array(array).SerializeToString())


def check(case, folder):
    model = case.graph.model()
    expected = [run_onnx(model, feed) for feed in case.feeds]
    path = os.path.join(folder, "model.onnx")
    onnx.save(model, path)
    raised = os.path.join(folder, "raised.mlir")
    done = subprocess.run(
        [MOE_OPT, path, f"--pass-pipeline={PIPELINE}", "-o", raised],
        capture_output=True, text=True, check=False)
    if done.returncode:
        return [done.stderr.strip()]
    with open(raised, encoding="utf-8") as file:
        text = file.read()
    problems = [f"the raised module lacks '{want}'" for want in case.wants
                if want not in text]
    problems += [f"the raised module holds '{bad}'" for bad in case.refuses
                 if bad in text]
    plain = os.path.join(folder, "plain.onnx")
    done = subprocess.run([MOE_OPT, raised, "-o", plain], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        return problems + [done.stderr.strip()]
    exported = onnx.load(plain)
    for number, feed in enumerate(case.feeds):
        problems += compare(run_onnx(exported, feed), expected[number],
                            f"exported, size {number}")
    library = os.path.join(folder, "model.so")
    done = subprocess.run(
        [os.path.join(BUILD, "bin", "moe-compile"), raised, "-o", library],
        capture_output=True, text=True, check=False)
    if done.returncode:
        return problems + [done.stderr.strip()]
    names = [value.name for value in model.graph.input]
    for number, feed in enumerate(case.feeds):
        data = os.path.join(folder, f"data_{number}")
        out = os.path.join(folder, f"out_{number}")
        write_set(data, [feed[name] for name in names], "input")
        done = subprocess.run(
            [MOE_RUN, library, "--data", data, "--output", out],
            capture_output=True, text=True, check=False)
        if done.returncode:
            problems.append(done.stderr.strip())
            continue
        got = []
        for index in range(len(expected[number])):
            stem = os.path.join(out, f"output_{index}.pb")
            with open(stem, "rb") as file:
                got.append(numpy_helper.to_array(
                    TensorProto.FromString(file.read())))
        problems += compare(got, expected[number], f"compiled, size {number}")
    return problems


def main():
    patterns = sys.argv[1:]
    cases = [case for case in itertools.chain(norms(), attentions())
             if not patterns or any(p in case.name for p in patterns)]
    failed = 0
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            problems = check(case, folder)
        if problems:
            failed += 1
            print(f"FAILED: {case.name}")
            for problem in problems:
                print("  " + re.sub("\n", "\n  ", problem))
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
