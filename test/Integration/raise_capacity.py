#!/usr/bin/env python3
"""Layers with a capacity, written in ways of their own, raised and compared.

usage: raise_capacity.py [--bin FOLDER] [-v] [-k REGEX]

Beside the cases of forms.py, which are as exporters write them: other numbers
of experts, places and slots, queues by token, priorities, choices that are kept
apart, rows that are clamped, experts as modules, float64, experts that choose
among all tokens or along another axis. Each graph must give in ONNX Runtime what
the reference in float64 says, must be raised (moe.experts, and no product left
but the router's), and must then give the same three times: compiled, written as
ONNX operators again (moe-decompose), and compiled without raising (-O0).

Some inputs send all tokens to the same experts, so most are dropped.

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
from routing import ROOT, Failure, Report, Tools, read_tensor, write_tensor

OPSET = 18
INT64, FLOAT, DOUBLE, BOOL = (TensorProto.INT64, TensorProto.FLOAT,
                              TensorProto.DOUBLE, TensorProto.BOOL)


class Graph:
    """Nodes under construction; all methods return names of values."""

    def __init__(self, dtype=np.float32):
        self.nodes, self.weights, self.dtype = [], [], dtype
        self.kind = FLOAT if dtype == np.float32 else DOUBLE

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array):
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def real(self, value):
        return self.constant(np.array(value, self.dtype))

    def reals(self, array):
        return self.constant(np.asarray(array, self.dtype))

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def int(self, value):
        return self.constant(np.array(value, np.int64))

    def unsqueeze(self, value, *axes):
        return self.op("Unsqueeze", value, self.ints(*axes))

    def cast(self, value, kind):
        return self.op("Cast", value, to=kind)

    def one_hot(self, value, depth, kind=None):
        numbers = self.constant(np.arange(depth, dtype=np.int64))
        return self.cast(self.op("Equal", self.unsqueeze(value, -1), numbers),
                         kind or self.kind)

    def sum(self, value, axis, keep=0):
        return self.op("ReduceSum", value, self.ints(axis), keepdims=keep)

    def save(self, result, shape, path):
        last = onnx.helper.make_node("Identity", [result], ["y"])
        graph = helper.make_graph(
            self.nodes + [last], "g",
            [helper.make_tensor_value_info("x", self.kind, shape)],
            [helper.make_tensor_value_info("y", self.kind, None)],
            self.weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=10)
        onnx.save(model, path)


# --- layers -----------------------------------------------------------------


def softmax(array, axis=-1):
    e = np.exp(array - array.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


class Layer:
    """Experts relu(x W1 + b1) W2 + b2 with a router, on x [b, t, h] or, without
    `batch`, [t, h]. `modules`: each expert has nodes of its own."""
    products = 1
    expect = "moe.capacity"

    def __init__(self, name, experts, places, k=1, tokens=10, batch=True,
                 modules=False, dtype=np.float32, **spelling):
        self.name, self.e, self.c, self.k = name, experts, places, k
        self.t, self.batch = tokens, batch
        self.modules, self.dtype = modules, dtype
        self.spelling = spelling
        self.h, self.i = 12, 20
        rng = np.random.default_rng([experts, places, k, tokens, len(name)])
        self.router = rng.standard_normal((self.h, experts)).astype(dtype)
        self.w1 = (rng.standard_normal((experts, self.h, self.i)) / 4).astype(dtype)
        self.w2 = (rng.standard_normal((experts, self.i, self.h)) / 4).astype(dtype)
        self.b1 = rng.standard_normal((experts, 1, self.i)).astype(dtype)
        self.b2 = rng.standard_normal((experts, 1, self.h)).astype(dtype)

    def option(self, name, otherwise=False):
        return self.spelling.get(name, otherwise)

    # Graph.

    def experts(self, g, rows, axis, equations=None):
        """On rows [.., experts, places, features], experts along `axis`."""
        if self.modules:
            parts = g.op("Split", rows, outputs=self.e, axis=axis,
                         num_outputs=self.e)
            results = []
            for e, part in enumerate(parts):
                h = g.op("Add", g.op("MatMul", part, g.reals(self.w1[e])),
                         g.reals(self.b1[e, 0]))
                results.append(g.op("Add", g.op(
                    "MatMul", g.op("Relu", h), g.reals(self.w2[e])),
                    g.reals(self.b2[e, 0])))
            return g.op("Concat", *results, axis=axis)
        if equations:
            product = [lambda a, b, eq=eq: g.op("Einsum", a, b, equation=eq)
                       for eq in equations]
        else:
            product = [lambda a, b: g.op("MatMul", a, b)] * 2
        b1, b2 = self.b1, self.b2
        if equations:
            b1, b2 = b1[:, None], b2[:, None]
        h = g.op("Add", product[0](rows, g.reals(self.w1)), g.reals(b1))
        return g.op("Add", product[1](g.op("Relu", h), g.reals(self.w2)),
                    g.reals(b2))

    def scores(self, g):
        return g.op("Softmax", g.op("MatMul", "x", g.reals(self.router)),
                    axis=-1)

    # Reference.

    def expert(self, row, e):
        h = np.maximum(row @ self.w1[e].astype(float) + self.b1[e, 0], 0)
        return h @ self.w2[e].astype(float) + self.b2[e, 0]

    def probs(self, rows):
        return softmax(rows @ self.router.astype(float))

    def best(self, probs):
        """Ids in descending order; equal ones by index."""
        return np.argsort(-probs, -1, kind="stable")

    def reference(self, x):
        groups = x.reshape((-1,) + x.shape[-2:])
        return np.stack([self.group(rows) for rows in groups]
                        ).reshape(x.shape) if len(groups) else np.zeros(x.shape)

    def queue(self, probs):
        """Slots in the order of their queue: (token, choice)."""
        order = np.arange(len(probs))
        if self.option("bpr"):
            order = np.argsort(-probs.max(-1), kind="stable")
        slots = [(t, j) for t in order for j in range(self.k)]
        if self.option("order", "choice") == "choice":
            slots.sort(key=lambda slot: slot[1])
        return slots

    def weight(self, probs, ids, t, j):
        return probs[t, ids[t, j]]

    def group(self, rows):
        probs = self.probs(rows)
        ids = self.best(probs)[:, :self.k]
        y, seen = np.zeros_like(rows), np.zeros(self.e, int)
        for t, j in self.queue(probs):
            e = ids[t, j]
            if seen[e] < self.c:
                y[t] += self.weight(probs, ids, t, j) * self.expert(rows[t], e)
            seen[e] += 1
        return y

    def inputs(self):
        rng = np.random.default_rng(5)
        shapes = ([(3, self.t), (1, self.t), (0, self.t)] if self.batch
                  else [(self.t,), (4 * self.t,), (self.c,)])
        for shape in shapes:
            yield "random", rng.standard_normal(shape + (self.h,))
        yield "the same token again and again", np.broadcast_to(
            rng.standard_normal(self.h), shapes[0] + (self.h,)).copy()

    def shape(self):
        return (["b", self.t, self.h] if self.batch else ["t", self.h])


class Masks(Layer):
    """Masks [b, t, e, c], as GShard and V-MoE."""

    def spell(self, g):
        v, i = g.op("TopK", self.scores(g), g.ints(self.k), outputs=2, axis=-1)
        hot, w, t, k = g.one_hot(i, self.e), v, self.t, self.k
        if self.option("bpr"):
            largest = g.op("Gather", v, g.int(0), axis=2)
            order = g.op("TopK", largest, g.ints(t), outputs=2, axis=1)[1]
            hot = g.op("GatherElements", hot, g.op(
                "Expand", g.unsqueeze(order, 2, 3), g.ints(1, 1, k, self.e)),
                axis=1)
            w = g.op("GatherElements", v, g.op(
                "Expand", g.unsqueeze(order, 2), g.ints(1, 1, k)), axis=1)
        by_choice = self.option("order", "choice") == "choice"
        queue = g.op("Transpose", hot, perm=[0, 2, 1, 3]) if by_choice else hot
        queue = g.op("Reshape", queue, g.ints(-1, t * k, self.e))
        if self.option("exclusive"):
            place = g.op("CumSum", queue, g.int(1), exclusive=1)
        else:
            place = g.op("Sub", g.op("CumSum", queue, g.int(-2)), g.real(1))
        keep = g.op("Mul", queue, g.cast(g.op("Less", place, g.real(self.c)),
                                         g.kind))
        # Other places than those of kept slots say nothing.
        at = g.one_hot(g.cast(g.op("Mul", place, keep), INT64), self.c)
        mask = g.op("Mul", at, g.unsqueeze(keep, -1))
        middle = [k, t] if by_choice else [t, k]
        mask = g.op("Reshape", mask, g.ints(-1, *middle, self.e, self.c))
        axis = 1 if by_choice else 2
        if by_choice:
            w = g.op("Transpose", w, perm=[0, 2, 1])
        combine = g.sum(g.op("Mul", g.unsqueeze(w, 3, 4), mask), axis)
        dispatch = g.sum(mask, axis)
        if self.option("bpr"):
            back = g.op("TopK", order, g.ints(t), outputs=2, axis=1, largest=0)[1]
            back = g.op("Expand", g.unsqueeze(back, 2, 3),
                        g.ints(1, 1, self.e, self.c))
            combine = g.op("GatherElements", combine, back, axis=1)
            dispatch = g.op("GatherElements", dispatch, back, axis=1)
        if self.option("first"):
            rows = g.op("Einsum", dispatch, "x", equation="gsec,gsm->egcm")
            y = self.experts(g, rows, 0, ("egcm,emh->egch", "egch,ehm->egcm"))
            return g.op("Einsum", combine, y, equation="gsec,egcm->gsm")
        if self.option("matmul"):
            flat = g.op("Reshape", dispatch, g.ints(-1, t, self.e * self.c))
            rows = g.op("MatMul", g.op("Transpose", flat, perm=[0, 2, 1]), "x")
            rows = g.op("Reshape", rows, g.ints(-1, self.e, self.c, self.h))
            y = self.experts(g, rows, 1)
            y = g.op("Reshape", y, g.ints(-1, self.e * self.c, self.h))
            return g.op("MatMul", g.op("Reshape", combine, g.ints(
                -1, t, self.e * self.c)), y)
        rows = g.op("Einsum", dispatch, "x", equation="btec,btd->becd")
        y = self.experts(g, rows, 1)
        return g.op("Einsum", combine, y, equation="btec,becd->btd")


class Apart(Layer):
    """Two choices with masks of their own (GShard's top-2 gating); weights are
    normalised over what is kept, or scores of all experts."""

    def spell(self, g):
        probs = self.scores(g)
        first = g.one_hot(g.op("ArgMax", probs, axis=-1, keepdims=0), self.e)
        rest = g.op("Mul", probs, g.op("Sub", g.real(1), first))
        second = g.one_hot(g.op("ArgMax", rest, axis=-1, keepdims=0), self.e)
        places = g.op("Sub", g.op("CumSum", first, g.int(1)), first)
        later = g.op("Sub", g.op("CumSum", second, g.int(1)), second)

        def keep(mask, place):
            fits = g.op("Less", place, g.real(self.c))
            return g.op("Mul", mask, g.cast(fits, g.kind))

        kept = keep(first, places)
        counted = kept if self.option("kept") else first
        later = g.op("Add", later, g.sum(counted, 1, keep=1))
        kept2 = keep(second, later)
        weights = [g.sum(g.op("Mul", probs, m), -1) for m in (kept, kept2)]
        total = g.op("Clip", g.op("Add", *weights), g.real(1e-9))
        masks = []
        for mask, place, weight in ((kept, places, weights[0]),
                                    (kept2, later, weights[1])):
            at = g.sum(g.op("Mul", place, mask), -1)
            at = g.one_hot(g.cast(at, INT64), self.c)
            weight = g.unsqueeze(g.op("Div", weight, total), -1)
            masks.append(g.op("Mul", g.unsqueeze(g.op("Mul", weight, mask), -1),
                              g.unsqueeze(at, 2)))
        combine = g.op("Add", *masks)
        dispatch = g.cast(g.cast(combine, BOOL), g.kind)
        rows = g.op("Einsum", dispatch, "x", equation="btec,btd->becd")
        y = self.experts(g, rows, 1)
        return g.op("Einsum", combine, y, equation="btec,becd->btd")

    def group(self, rows):
        probs = self.probs(rows)
        first = probs.argmax(-1)
        rest = probs.copy()
        rest[np.arange(len(rows)), first] = 0
        ids = np.stack([first, rest.argmax(-1)], -1)
        kept, seen = np.zeros(ids.shape, bool), np.zeros(self.e, int)
        for j in range(2):
            for t in range(len(rows)):
                kept[t, j] = seen[ids[t, j]] < self.c
                seen[ids[t, j]] += 1
        w = np.take_along_axis(probs, ids, -1) * kept
        w = w / np.maximum(w.sum(-1, keepdims=True), 1e-9)
        return np.stack([sum((w[t, j] * self.expert(row, ids[t, j])
                              for j in range(2)), np.zeros(self.h))
                         for t, row in enumerate(rows)])


class Rows(Layer):
    """Numbers of rows in a buffer, as Tutel."""

    def spell(self, g):
        v, i = g.op("TopK", self.scores(g), g.ints(self.k), outputs=2, axis=-1)
        flat = g.op("Reshape", g.op("Transpose", i, perm=[1, 0]), g.ints(-1))
        hot = g.one_hot(flat, self.e, INT64)
        place = g.op("CumSum", hot, g.int(0))
        if self.option("largest"):
            place = g.op("ReduceMax", g.op("Mul", place, hot), g.ints(1),
                         keepdims=0)
        else:
            place = g.sum(g.op("Mul", place, hot), 1)
        place = g.op("Sub", place, g.int(1))
        fits = g.op("LessOrEqual", place, g.int(self.c - 1))
        number = g.op("Add", g.op("Mul", flat, g.int(self.c)), place)
        rows = self.e * self.c
        number = g.op("Where", fits, number, g.int(rows))
        many = g.op("Tile", "x", g.ints(self.k, 1))
        zeros = g.reals(np.zeros((rows + 1, self.h)))
        if self.option("nd"):
            held = g.op("ScatterND", zeros, g.unsqueeze(number, -1), many,
                        reduction="add")
        else:
            index = g.op("Expand", g.unsqueeze(number, 1), g.ints(1, self.h))
            held = g.op("ScatterElements", zeros, index, many, axis=0)
        held = g.op("Slice", held, g.ints(0), g.ints(rows), g.ints(0))
        held = g.op("Reshape", held, g.ints(self.e, self.c, self.h))
        y = g.op("Reshape", self.experts(g, held, 0), g.ints(rows, self.h))
        w = g.op("Reshape", g.op("Transpose", v, perm=[1, 0]), g.ints(-1, 1))
        if self.option("clamped"):
            # Dropped slots read any row; their weight is 0.
            near = g.op("Clip", place, g.int(0), g.int(self.c - 1))
            number = g.op("Add", g.op("Mul", flat, g.int(self.c)), near)
            w = g.op("Mul", w, g.unsqueeze(g.cast(fits, g.kind), 1))
        else:
            y = g.op("Concat", y, g.reals(np.zeros((1, self.h))), axis=0)
        y = g.op("Mul", g.op("Gather", y, number, axis=0), w)
        if self.k == 1:
            return y
        return g.sum(g.op("Reshape", y, g.ints(self.k, -1, self.h)), 0)


class Choice(Layer):
    """Experts that choose tokens."""
    expect = "onnx.ScatterElements"

    def spell(self, g):
        scores = self.scores(g)
        if self.option("along"):
            # [b, places, experts], no transposition.
            v, i = g.op("TopK", scores, g.ints(self.c), outputs=2, axis=1)
            many = g.op("Expand", g.unsqueeze("x", 2),
                        g.ints(1, 1, self.e, 1))
            index = g.op("Expand", g.unsqueeze(i, -1),
                         g.ints(1, 1, 1, self.h))
            rows = g.op("GatherElements", many, index, axis=1)
            h = g.op("Einsum", rows, g.reals(self.w1), equation="bceh,ehi->bcei")
            h = g.op("Relu", g.op("Add", h, g.reals(self.b1[:, 0])))
            y = g.op("Einsum", h, g.reals(self.w2), equation="bcei,eih->bceh")
            y = g.op("Add", y, g.reals(self.b2[:, 0]))
        elif self.batch:
            scores = g.op("Transpose", scores, perm=[0, 2, 1])
            v, i = g.op("TopK", scores, g.ints(self.c), outputs=2, axis=-1)
            flat = g.op("Reshape", i, g.ints(-1, self.e * self.c, 1))
            rows = g.op("GatherND", "x", flat, batch_dims=1)
            rows = g.op("Reshape", rows, g.ints(-1, self.e, self.c, self.h))
            y = self.experts(g, rows, 1)
        else:
            scores = g.op("Transpose", scores, perm=[1, 0])
            v, i = g.op("TopK", scores, g.ints(self.c), outputs=2, axis=-1)
            y = self.experts(g, g.op("Gather", "x", i, axis=0), 0)
        y = g.op("Mul", y, g.unsqueeze(v, -1))
        count = self.e * self.c
        base = ("x" if self.option("residual") else
                g.op("Mul", "x", g.real(0)) if self.option("unknown zeros") else
                g.op("Expand", g.real(0), g.op("Shape", "x")))
        if not self.batch:
            return g.op("ScatterND", base, g.op("Reshape", i, g.ints(-1, 1)),
                        g.op("Reshape", y, g.ints(count, self.h)),
                        reduction="add")
        index = g.op("Expand", g.op("Reshape", i, g.ints(-1, count, 1)),
                     g.ints(1, 1, self.h))
        return g.op("ScatterElements", base, index,
                    g.op("Reshape", y, g.ints(-1, count, self.h)), axis=1,
                    reduction="add")

    def group(self, rows):
        probs = self.probs(rows)
        y = rows.copy() if self.option("residual") else np.zeros_like(rows)
        for e in range(self.e):
            for t in np.argsort(-probs[:, e], kind="stable")[:self.c]:
                y[t] += probs[t, e] * self.expert(rows[t], e)
        return y


class Soft(Layer):
    """SoftMoE, logits [b, t, experts, places]."""
    products, expect = 3, "moe.experts"

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        rng = np.random.default_rng(77)
        self.phi = rng.standard_normal((self.h, self.e, self.c)).astype(self.dtype)

    def spell(self, g):
        logits = g.op("Einsum", "x", g.reals(self.phi), equation="btd,dec->btec")
        into = g.op("Softmax", logits, axis=1)
        flat = g.op("Reshape", logits, g.ints(-1, self.t, self.e * self.c))
        back = g.op("Softmax", flat, axis=-1)
        rows = g.op("Einsum", into, "x", equation="btec,btd->becd")
        y = g.op("Reshape", self.experts(g, rows, 1),
                 g.ints(-1, self.e * self.c, self.h))
        return g.op("MatMul", back, y)

    def group(self, rows):
        logits = rows @ self.phi.reshape(self.h, -1).astype(float)
        places = softmax(logits, 0).T @ rows
        y = np.stack([self.expert(row, n // self.c)
                      for n, row in enumerate(places)])
        return softmax(logits, -1) @ y


CASES = [
    Masks("masks", 4, 3, k=2), Masks("masks_top1", 5, 2, tokens=9),
    Masks("masks_top3", 6, 4, k=3, tokens=7),
    Masks("masks_one_place", 3, 1, k=2),
    Masks("masks_by_token", 6, 2, k=3, tokens=8, order="token"),
    Masks("masks_exclusive", 4, 3, k=2, exclusive=True),
    Masks("masks_prioritised", 5, 3, k=2, tokens=12, bpr=True),
    Masks("masks_prioritised_top1", 3, 4, tokens=11, bpr=True),
    Masks("masks_prioritised_by_token", 4, 2, k=2, bpr=True, order="token"),
    Masks("masks_experts_first", 4, 3, k=2, first=True),
    Masks("masks_matmul", 4, 3, k=2, matmul=True),
    Masks("masks_modules", 4, 3, k=2, modules=True),
    Masks("masks_double", 4, 3, k=2, dtype=np.float64),
    Apart("apart", 5, 4, k=2, tokens=14),
    Apart("apart_kept", 4, 3, k=2, tokens=11, kept=True),
    Apart("apart_modules", 3, 5, k=2, modules=True),
    Rows("rows", 4, 3, k=2, batch=False), Rows("rows_top1", 7, 2, batch=False),
    Rows("rows_nd", 3, 4, k=3, batch=False, nd=True),
    Rows("rows_clamped", 5, 3, k=2, batch=False, clamped=True),
    Rows("rows_largest", 5, 3, k=2, batch=False, largest=True),
    Rows("rows_modules", 4, 3, k=2, batch=False, modules=True),
    Choice("choice", 4, 3), Choice("choice_along", 5, 2, along=True),
    Choice("choice_all_tokens", 3, 6, batch=False),
    Choice("choice_residual", 4, 3, residual=True),
    Choice("choice_modules", 4, 3, modules=True),
    Soft("soft", 4, 3), Soft("soft_modules", 3, 2, modules=True),
]


# --- checks -----------------------------------------------------------------


def compare(got, expected, what):
    if got.shape != expected.shape:
        raise Failure(f"{what}: shape {got.shape}, expected {expected.shape}")
    wrong = ~np.isclose(got, expected, 1e-4, 1e-4)
    if wrong.any():
        raise Failure(f"{what}: {wrong.sum()} of {wrong.size} elements differ, "
                      f"by {np.abs(got - expected)[wrong].max()} at most")


def run_compiled(tools, library, folder, x):
    data = os.path.join(folder, "in")
    os.makedirs(data, exist_ok=True)
    write_tensor(os.path.join(data, "input_0.pb"), x, "x")
    tools.check("moe-run", library, "--data", data, "--output", folder)
    return read_tensor(os.path.join(folder, "output_0.pb"))


def check_raised(tools, layer, path, folder):
    raised = os.path.join(folder, "raised.mlir")
    tools.check("moe-opt", path, "--onnx-infer-shapes", "--moe-raise", "-o",
                raised)
    with open(raised, encoding="utf-8") as file:
        text = file.read()
    products = len(re.findall(r"= onnx\.(?:MatMul|Einsum|Gemm)\(", text))
    if text.count("= moe.experts") != 1 or products != layer.products:
        raise Failure(f"{text.count('= moe.experts')} layers and {products} "
                      "products after raising")
    if layer.expect not in text:
        raise Failure(f"no {layer.expect}")
    plain = os.path.join(folder, "plain.onnx")
    tools.check("moe-opt", raised, "--moe-decompose", "-o", plain)
    return plain


def check(tools, layer):
    folder = os.path.join(tools.folder, layer.name)
    os.makedirs(folder)
    g = Graph(layer.dtype)
    path = os.path.join(folder, "model.onnx")
    g.save(layer.spell(g), layer.shape(), path)
    plain = check_raised(tools, layer, path, folder)
    library, other = (os.path.join(folder, n) for n in ("raised.so", "plain.so"))
    tools.check("moe-compile", path, "-o", library)
    tools.check("moe-compile", "-O0", path, "-o", other)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    sessions = {what: onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"])
        for what, model in (("the graph in ONNX Runtime", path),
                            ("written back in ONNX Runtime", plain))}
    for what, x in layer.inputs():
        x = x.astype(layer.dtype)
        expected = layer.reference(x.astype(float))
        # ONNX Runtime divides by an extent of 0 in Einsum.
        for name, session in sessions.items() if x.size else ():
            compare(session.run(None, {"x": x})[0], expected,
                    f"{what} {x.shape}, {name}")
        for name, built in (("raised", library), ("not raised", other)):
            compare(run_compiled(tools, built, folder, x), expected,
                    f"{what} {x.shape}, compiled, {name}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(
        os.environ.get("MOE_BUILD", os.path.join(ROOT, "build")), "bin"))
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("-k", metavar="REGEX", default="")
    options = parser.parse_args()
    report = Report(options.verbose)
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(options.bin, folder)
        for layer in CASES:
            if re.search(options.k, layer.name):
                with report.check(layer.name):
                    check(tools, layer)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
