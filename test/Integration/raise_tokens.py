#!/usr/bin/env python3
"""Raises steps that drop, merge and restore tokens; compares with NumPy.

usage: raise_tokens.py [--bin FOLDER] [-v] [GROUP...]

Groups: graphs (T1 to T6 and T8 as exporters write them: EViT with and without a
fused token, DynamicViT at inference, ToMe in two layers, a threshold, constant
tokens, FastV, mixture of depths; compiled and in ONNX Runtime, with other sizes
of the batch and, where the model has it, of the sequence), ops (all settings of
the ops), laws (sizes are conserved, kept tokens are what they were, merged and
unmerged tokens go where `assign` says, a batch is its sequences).

Inputs whose scores are too close to a tie for float32 are refused: which token
stays would depend on rounding.

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import os
import sys

import numpy as np
import onnx
import raised
from forms.graph import FLOAT, LAST, Builder
from raised import Case
from routing import Failure, Function, run_groups

MARGIN = 1e-6
# Added to all seeds: another one is tried where scores are too close.
SHIFT = 0


class Tie(Failure):
    """Which token stays would depend on rounding."""


def without_ties(make, *arguments):
    """A case whose inputs are clear."""
    global SHIFT
    for SHIFT in range(20):
        try:
            return make(*arguments)
        except Tie:
            continue
        finally:
            SHIFT = 0
    raise Failure("no inputs are clear")


# --- the oracle -------------------------------------------------------------


def best(scores, k, ordered):
    """Numbers of the k largest of each row; ascending if `ordered`."""
    order = np.argsort(-scores, 1, kind="stable")
    sorted_ = np.take_along_axis(scores, order, 1)
    gaps = -np.diff(sorted_, axis=1)
    gaps = gaps[:, k - 1:k] if ordered else gaps[:, :k]
    if gaps.size and gaps.min() < MARGIN:
        raise Tie("these inputs are too close to a tie")
    return np.sort(order[:, :k], 1) if ordered else order[:, :k]


def take(x, idx):
    return np.stack([row[i] for row, i in zip(x, idx)])


def fuse(x, idx, weights, normalize):
    rows = []
    for row, i, w in zip(x, idx, weights):
        others = np.setdiff1d(np.arange(len(row)), i)
        token = (row[others] * w[others, None]).sum(0, keepdims=True)
        rows.append(token / w[others].sum() if normalize else token)
    return np.stack(rows)


def merge(x, size, metric, r, protect):
    """Bipartite soft matching; y, sizes, assign."""
    ys, sizes, assigns = [], [], []
    for row, n, m in zip(x, size, metric):
        scores = m[::2] @ m[1::2].T
        if protect:
            scores[0] = -np.inf
        top = scores.max(1)
        finite = np.sort(scores[np.isfinite(top)], 1)
        if finite.shape[1] > 1 and np.diff(finite)[:, -1].min() < MARGIN:
            raise Tie("these inputs are too close to a tie")
        if np.abs(np.diff(np.sort(top[np.isfinite(top)]))).min() < MARGIN:
            raise Tie("these inputs are too close to a tie")
        order = np.argsort(-top, kind="stable")
        left, moved = order[r:], order[:r]
        if protect:
            left = np.sort(left)
        target = scores.argmax(1)
        sums, counts = (row * n)[1::2].copy(), n[1::2].copy()
        for a in moved:
            sums[target[a]] += (row * n)[2 * a]
            counts[target[a]] += n[2 * a]
        counts = np.concatenate([n[::2][left], counts])
        ys.append(np.concatenate([(row * n)[::2][left], sums]) / counts)
        sizes.append(counts)
        assign = np.zeros(len(row), int)
        for place, a in enumerate(left):
            assign[2 * a] = place
        for a in moved:
            assign[2 * a] = len(left) + target[a]
        assign[1::2] = len(left) + np.arange(len(row) // 2)
        assigns.append(assign)
    return np.stack(ys), np.stack(sizes), np.stack(assigns)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def drawn(seed, *shape):
    rng = np.random.default_rng([seed, SHIFT, *shape])
    return rng.standard_normal(shape).astype(np.float32)


# --- graphs of exporters ------------------------------------------------------


def widen(b, idx, width, rank=2):
    """[B, K] repeated for each element of a token, as exporters do."""
    v = b.unsqueeze(idx, -1) if rank == 2 else idx
    if b.torchscript:
        # Expand by a shape that is put together: -1 is what there is.
        parts = b.op("Concat", b.ints(-1), b.ints(-1), b.ints(width), axis=0)
        ones = b.filled(b.op("Shape", parts), 1, np.int64)
        keep = b.op("Equal", parts, b.op("Mul", ones, b.int(-1)))
        return b.op("Expand", v, b.op("Where", keep, ones, parts))
    return b.op("Expand", v, b.ints(1, 1, width))


def gather(b, x, idx, width):
    return b.op("GatherElements", x, widen(b, idx, width), axis=1)


def top(b, scores, k, axis=1, **attributes):
    return b.op("TopK", scores, b.ints(k), axis=axis, outputs=2, **attributes)


def attention(b, x, weight, heads, width):
    """Softmax of x Wq (x Wk)^T: [B, H, N, N]."""
    def split(part):
        v = b.op("MatMul", x, b.weight(weight[part]))
        v = b.op("Reshape", v, b.ints(0, -1, heads, width // heads)
                 if b.torchscript else b.ints(-1, weight[2], heads,
                                              width // heads))
        return b.op("Transpose", v, perm=[0, 2, 1, 3])
    k = b.op("Transpose", split(1), perm=[0, 1, 3, 2])
    return b.op("Softmax", b.op("MatMul", split(0), k), axis=-1)


def attention_of(x, weight, heads):
    x = x.astype(float)
    q, k = (np.moveaxis((x @ w).reshape(*x.shape[:2], heads, -1), 2, 1)
            for w in weight[:2])
    return softmax(q @ np.swapaxes(k, 2, 3))


def evit(writer, opset, tokens, width, heads, k, fused, ordered):
    """T1: the class token, the k patches it attends to, what is fused of the
    others."""
    b = Builder(writer, opset, tokens)
    x = b.input(FLOAT, ["n", tokens, width])
    weight = [drawn(1, width, width) / 2, drawn(2, width, width) / 2, tokens]
    a = attention(b, x, weight, heads, width)
    row = b.slice(b.op("Gather", a, b.int(0), axis=2), 1, LAST, 2)
    scores = b.reduce("ReduceMean", row, [1], 0)
    patches = b.slice(x, 1, LAST, 1)
    idx = top(b, scores, k, largest=1, sorted=1)[1]
    if ordered:
        idx = b.op("TopK", idx, b.ints(k), axis=1, largest=0, outputs=2)[0]
    parts = [b.slice(x, 0, 1, 1), gather(b, patches, idx, width)]
    if fused:
        ones = b.op("Expand", b.float(1.0), b.op("Shape", scores))
        zeros = b.op("Expand", b.float(0.0), b.op("Shape", idx))
        mask = b.op("ScatterElements", ones, idx, zeros, axis=1)
        w = b.op("Mul", scores, mask)
        token = b.reduce("ReduceSum", b.op("Mul", patches, b.unsqueeze(w, -1)),
                         [1], 1)
        if fused == "mean":
            total = b.reduce("ReduceSum", w, [1], 0)
            token = b.op("Div", token, b.unsqueeze(total, 1, 2))
        parts.append(token)
    y = b.op("Concat", *parts, axis=1)
    b.output(y, FLOAT, ["n", 1 + k + bool(fused), width])
    data = []
    for n in (1, 3):
        value = drawn(n + 5, n, tokens, width)
        s = attention_of(value, weight, heads)[:, :, 0, 1:].mean(1)
        rest = value[:, 1:].astype(float)
        i = best(s, k, ordered)
        want = [value[:, :1], take(rest, i)]
        if fused:
            want.append(fuse(rest, i, s, fused == "mean"))
        data.append(([value], [np.concatenate(want, 1)]))
    return Case(f"T1 EViT {fused or 'plain'} {tokens}x{width} {writer} "
                f"opset {opset}" + (" ordered" if ordered else ""), b.model(),
                {"token_score": 1, "token_keep": 1, "token_drop": 1},
                ["TopK", "GatherElements", "ScatterElements"], data)


def dynamic_vit(writer, opset, tokens, width, k):
    """DynamicViT at inference: all scores sorted, the first ones taken from a
    list of the tokens of all sequences."""
    b = Builder(writer, opset, k)
    x = b.input(FLOAT, ["n", tokens, width])
    weight = drawn(3, width, 2)
    logits = b.op("MatMul", b.slice(x, 1, LAST, 1), b.weight(weight))
    scores = b.op("Gather", b.op("LogSoftmax", logits, axis=-1), b.int(0),
                  axis=2)
    idx = b.slice(b.argsort(scores, 1, descending=True)[1], 0, k, 1)
    zeros = b.op("Expand", b.int(0), b.op("Concat", b.size(x, 0), b.ints(1),
                                          axis=0))
    idx = b.op("Concat", zeros, b.op("Add", idx, b.int(1)), axis=1)
    count = b.op("Squeeze", b.size(x, 0))
    rows = b.op("Reshape", b.op("Range", b.int(0), count, b.int(1)),
                b.ints(-1, 1))
    flat = b.op("Reshape", b.op("Add", idx, b.op("Mul", rows, b.int(tokens))),
                b.ints(-1))
    y = b.take_rows(b.op("Reshape", x, b.ints(-1, width)), flat)
    y = b.op("Reshape", y, b.ints(-1, k + 1, width))
    b.output(y, FLOAT, ["n", k + 1, width])
    data = []
    for n in (1, 4):
        value = drawn(n + 6, n, tokens, width)
        s = value[:, 1:].astype(float) @ weight
        s = s[..., 0] - np.logaddexp(s[..., 0], s[..., 1])
        i = np.concatenate([np.zeros((n, 1), int), best(s, k, False) + 1], 1)
        data.append(([value], [take(value.astype(float), i)]))
    return Case(f"T1 DynamicViT {tokens}x{width} {writer} opset {opset}",
                b.model(), {"token_keep": 1, "token_drop": 1},
                ["TopK", "GatherND", "Range"], data)


def tome(writer, opset, tokens, width, heads, rs, protect):
    """T3: two merges; the second knows how many tokens each stands for."""
    b = Builder(writer, opset, sum(rs))
    x = b.input(FLOAT, ["n", tokens, width])
    matrix = drawn(4, width, width // heads)
    size = b.op("Expand", b.float(1.0), b.op("Shape", b.slice(x, 0, 1, 2)))
    if b.torchscript:
        size = b.filled(b.op("Shape", b.slice(x, 0, 1, 2)), 1.0)
    v = x
    for r in rs:
        v, size = tome_layer(b, v, size, matrix, width, r, protect)
    b.output(v, FLOAT, ["n", tokens - sum(rs), width])
    b.output(size, FLOAT, ["n", tokens - sum(rs), 1])
    data = []
    for n in (1, 3):
        value = drawn(n + 7, n, tokens, width)
        y, sizes = value.astype(float), np.ones((n, tokens, 1))
        for r in rs:
            metric = y @ matrix
            metric /= np.linalg.norm(metric, axis=-1, keepdims=True)
            y, sizes, _ = merge(y, sizes, metric, r, protect)
        data.append(([value], [y, sizes]))
    return Case(f"T3 ToMe {tokens}x{width} r {rs} {writer} opset {opset}"
                + (" class token" if protect else ""), b.model(),
                {"token_merge": len(rs)},
                ["TopK", "ArgMax", "ScatterElements", "GatherElements"], data)


def tome_layer(b, x, size, matrix, width, r, protect):
    metric = b.op("MatMul", x, b.weight(matrix))
    metric = b.op("Div", metric, b.reduce("ReduceL2", metric, [-1], 1))
    odd = b.slice(metric, 1, LAST, 1, 2)
    scores = b.op("MatMul", b.slice(metric, 0, LAST, 1, 2),
                  b.op("Transpose", odd, perm=[0, 2, 1]))
    if protect:
        shape = b.op("Shape", b.slice(scores, 0, 1, 1))
        none = (b.filled(shape, -np.inf) if b.torchscript else
                b.op("Sub", b.op("Expand", b.float(0.0), shape),
                     b.float(np.inf)))
        scores = b.op("Concat", none, b.slice(scores, 1, LAST, 1), axis=1)
    top_ = b.reduce("ReduceMax", scores, [-1], 0)
    partner = b.op("ArgMax", scores, axis=-1, keepdims=0)
    order = b.unsqueeze(b.argsort(top_, -1 if b.torchscript else 1,
                                  descending=True)[1], 2)
    left, moved = b.slice(order, r, LAST, 1), b.slice(order, 0, r, 1)
    target = b.op("GatherElements", b.unsqueeze(partner, 2), moved, axis=-2)
    if protect:
        left = b.argsort(left, 1)[0]

    def merged(v, w):
        def wide(idx):
            return widen(b, idx, w, 3)
        even, odd = b.slice(v, 0, LAST, 1, 2), b.slice(v, 1, LAST, 1, 2)
        some = b.op("GatherElements", even, wide(moved), axis=-2)
        sums = b.op("ScatterElements", odd, wide(target), some, axis=-2,
                    reduction="add")
        rest = b.op("GatherElements", even, wide(left), axis=-2)
        return b.op("Concat", rest, sums, axis=1)

    tokens = merged(b.op("Mul", x, size), width)
    size = merged(size, 1)
    return b.op("Div", tokens, size), size


def threshold(writer, opset, tokens, width):
    """T4: as many patches of one image as have more than the mean score."""
    b = Builder(writer, opset, width)
    x = b.input(FLOAT, [1, tokens, width])
    matrix = drawn(8, width, 1)
    scores = b.squeeze(b.op("MatMul", x, b.weight(matrix)), 0, 2)
    patches = b.slice(scores, 1, LAST, 0)
    mean = b.reduce("ReduceMean", patches, [0], 1)
    hit = b.op("Greater", patches, mean)
    idx = b.squeeze(b.op("Transpose", b.op("NonZero", hit), perm=[1, 0]), 1)
    rest = b.slice(x, 1, LAST, 1)
    if b.torchscript:
        kept = b.op("Gather", rest, idx, axis=1)
    else:
        kept = b.op("GatherND", b.op("Transpose", rest, perm=[1, 0, 2]),
                    b.unsqueeze(idx, -1))
        kept = b.op("Transpose", kept, perm=[1, 0, 2])
    y = b.op("Concat", b.slice(x, 0, 1, 1), kept, axis=1)
    b.output(y, FLOAT, [1, None, width])
    data = []
    for seed in (1, 2):
        value = drawn(seed + 9, 1, tokens, width)
        s = (value[0].astype(float) @ matrix)[1:, 0]
        if np.abs(s - s.mean()).min() < MARGIN:
            raise Tie("these inputs are too close to a tie")
        i = np.concatenate([[0], 1 + np.nonzero(s > s.mean())[0]])
        data.append(([value], [value[:, i]]))
    return Case(f"T4 threshold {tokens}x{width} {writer} opset {opset}",
                b.model(), {"token_keep": 1, "token_drop": 1},
                ["NonZero", "GatherND", "Gather"], data)


def constant(writer, opset):
    """T5."""
    numbers = [0, 2, 3, 11, -2]
    b = Builder(writer, opset, 55)
    x = b.input(FLOAT, ["n", 14, 6])
    y = b.op("Gather", x, b.ints(*numbers), axis=1)
    b.output(y, FLOAT, ["n", 5, 6])
    value = drawn(5, 3, 14, 6)
    return Case(f"T5 constant tokens {writer}", b.model(), {"token_drop": 1},
                ["Gather"], [([value], [value[:, numbers]])])


def fastv(writer, opset, first, count, behind, k, width, order, free):
    """T6: hidden states and positions of the image tokens that the last query
    attends to. `order`: what is sorted."""
    heads, tokens = 4, first + count + behind
    b = Builder(writer, opset, k)
    if free:
        # What stands behind the image is of any length.
        tokens = first + count
        parts = [[b.input(FLOAT, ["n", extent, *more])
                  for extent in (tokens, "s")] for more in ([width], [])]
        x, positions = (b.op("Concat", *part, axis=1) for part in parts)
    else:
        x = b.input(FLOAT, ["n", tokens, width])
        positions = b.input(FLOAT, ["n", tokens])
    weight = [drawn(1, width, width) / 3, drawn(2, width, width) / 3, tokens]
    if free:
        weight[2] = -1
    def split(part):
        v = b.op("MatMul", x, b.weight(weight[part]))
        v = b.op("Reshape", v, b.op("Concat", b.size(x, 0), b.size(x, 1),
                                    b.ints(heads, width // heads), axis=0))
        return b.op("Transpose", v, perm=[0, 2, 1, 3])
    keys = b.op("Transpose", split(1), perm=[0, 1, 3, 2])
    a = b.op("Softmax", b.op("MatMul", split(0), keys), axis=-1)
    row = b.op("Gather", b.reduce("ReduceMean", a, [1], 0), b.int(-1), axis=1)
    scores = b.slice(row, first, first + count, 1)
    idx = top(b, scores, k, axis=-1, sorted=1)[1]
    if order == "chosen":
        idx = b.argsort(idx, 1)[0]
    idx = b.op("Add", idx, b.int(first))

    def rows(values):
        return b.op("Expand", values, b.op("Concat", b.size(x, 0), b.ints(1),
                                           axis=0))
    head = rows(b.constant(np.arange(first)[None]))
    if free:
        end = b.op("Squeeze", b.size(x, 1))
        tail = rows(b.unsqueeze(b.op("Range", b.int(first + count), end,
                                     b.int(1)), 0))
    else:
        tail = rows(b.constant(np.arange(first + count, tokens)[None]))
    idx = b.op("Concat", head, idx, tail, axis=1)
    if order == "all":
        idx = b.argsort(idx, 1)[0]
    kept = gather(b, x, idx, width)
    b.output(kept, FLOAT, ["n", None, width])
    b.output(b.op("GatherElements", positions, idx, axis=1), FLOAT,
             ["n", None])
    data = []
    for n, more in ((1, 0), (2, 5 if free else 0)):
        value = drawn(n + 11, n, tokens + more, width)
        at = drawn(n + 12, n, tokens + more)
        s = attention_of(value, weight, heads)[:, :, -1].mean(1)
        i = best(s[:, first:first + count], k, order != "none") + first
        i = np.concatenate([np.tile(np.arange(first), (n, 1)), i, np.tile(
            np.arange(first + count, tokens + more), (n, 1))], 1)
        inputs = [value, at]
        if free:
            inputs = [value[:, :tokens], value[:, tokens:], at[:, :tokens],
                      at[:, tokens:]]
        data.append((inputs, [take(value, i), take(at, i)]))
    return Case(f"T6 FastV {order} {tokens}x{width} {writer} opset {opset}"
                + (" free" if free else ""), b.model(),
                {"token_score": 1, "token_keep": 1, "token_drop": 2},
                ["TopK", "GatherElements"], data)


def depths(writer, opset, tokens, width, k, form):
    """T8: tokens that go through a block, and back to their places."""
    b = Builder(writer, opset, k)
    x = b.input(FLOAT, ["n", "s", width])
    router, block = drawn(13, width, 1), drawn(14, width, width) / 3
    scores = b.squeeze(b.op("MatMul", x, b.weight(router)), -1)
    values, idx = top(b, scores, k, sorted=0 if form != "scores" else 1)
    if form != "scores":
        idx, at = b.argsort(idx, 1)
        values = b.op("GatherElements", values, at, axis=1)
    index = widen(b, idx, width)
    some = b.op("GatherElements", x, index, axis=1)
    y = b.op("Tanh", b.op("MatMul", some, b.weight(block)))
    y = b.op("Mul", y, b.unsqueeze(b.op("Sigmoid", values), -1))
    if form == "write":
        y = b.op("Add", y, some)
        y = b.op("ScatterElements", x, index, y, axis=1)
    else:
        y = b.op("ScatterElements", x, index, y, axis=1, reduction="add")
    b.output(y, FLOAT, ["n", "s", width])
    data = []
    for n, more in ((1, 0), (3, 4)):
        value = drawn(n + 15, n, tokens + more, width)
        s = (value.astype(float) @ router)[..., 0]
        i = best(s, k, form != "scores")
        want = value.astype(float)
        for row in range(n):
            some = value[row, i[row]].astype(float)
            w = 1 / (1 + np.exp(-s[row, i[row]]))
            want[row, i[row]] += np.tanh(some @ block) * w[:, None]
        data.append(([value], [want]))
    return Case(f"T8 depths {form} {tokens}x{width} {writer} opset {opset}",
                b.model(), {"token_keep": 1, "token_drop": 2,
                            "token_restore": 1},
                ["TopK", "GatherElements", "ScatterElements"], data)


def graph_cases():
    for writer, opset in (("torchscript", 16), ("dynamo", 20)):
        yield without_ties(evit, writer, opset, 26, 12, 3, 9, "", False)
        yield without_ties(evit, writer, opset, 37, 20, 4, 20, "mean", False)
        yield without_ties(evit, writer, opset, 18, 8, 2, 5, "sum", True)
        yield without_ties(dynamic_vit, writer, opset, 19, 10, 7)
        yield without_ties(tome, writer, opset, 21, 12, 3, [4, 3], True)
        yield without_ties(tome, writer, opset, 16, 8, 2, [5], False)
        yield without_ties(threshold, writer, opset, 23, 7)
        yield without_ties(constant, writer, opset)
        yield without_ties(fastv, writer, opset, 3, 14, 6, 5, 12, "chosen", False)
        yield without_ties(fastv, writer, opset, 4, 16, 5, 6, 8, "all", True)
        yield without_ties(fastv, writer, opset, 2, 9, 4, 3, 16, "none", False)
        for form in ("sorted", "scores", "write"):
            yield without_ties(depths, writer, opset, 15, 6, 4, form)


def check_graphs(tools, report):
    for case in graph_cases():
        raised.check(tools, report, case, "--moe-raise-tokens")


def export_old(tools, function):
    """As Function.export, with operators of opset 15, whose scatters do not
    add."""
    path = os.path.join(function.folder, "old.onnx")
    tools.check("moe-opt", function.source, "--moe-decompose=opset=15",
                "--export-opset=15", "-o", path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    run = raised.run_onnx(model)
    return lambda arrays: dict(zip(function.outputs, run(
        [arrays[name] for name in function.inputs])))


# --- ops ----------------------------------------------------------------------


def check_ops(tools, report):
    x, s, six = "tensor<?x11x4xf32>", "tensor<?x11xf32>", "tensor<?x6xi32>"
    lines = [
        f"%keep = moe.token_keep %s {{k = 6}} : {s} -> {six}",
        f"%score = moe.token_keep %s {{k = 6, order = #moe.keep_order<score>}} "
        f": {s} -> {six}",
        f"%part = moe.token_keep %s {{k = 2, first = 1, count = 7}} : {s} -> "
        f"{six}",
        f"%rest = moe.token_keep %s {{k = 4, first = 2, order = "
        f"#moe.keep_order<score>}} : {s} -> {six}",
        f"%drop = moe.token_drop %x, %part : {x}, {six} -> tensor<?x6x4xf32>",
        f"%row = moe.token_drop %s, %keep : {s}, {six} -> tensor<?x6xf32>",
        f"%ids = moe.token_drop %n, %score : tensor<?x11x2x3xi64>, {six} -> "
        "tensor<?x6x2x3xi64>",
        f"%mean = moe.token_drop %x, %keep fuse(%s : {s}) : {x}, {six} -> "
        "tensor<?x7x4xf32>",
        f"%sum = moe.token_drop %x, %keep fuse(%s : {s}) {{normalize = false}} "
        f": {x}, {six} -> tensor<?x7x4xf32>",
        f"%zero = moe.token_restore %drop, %part base(%x : {x}) {{fill = "
        f"#moe.fill<zero>}} : tensor<?x6x4xf32>, {six} -> {x}",
        f"%base = moe.token_restore %drop, %score base(%x : {x}) {{fill = "
        f"#moe.fill<base>}} : tensor<?x6x4xf32>, {six} -> {x}",
        f"%add = moe.token_restore %drop, %rest base(%x : {x}) {{fill = "
        f"#moe.fill<add>}} : tensor<?x6x4xf32>, {six} -> {x}",
        "%inner = onnx.Constant() {value = dense<[[5, 0, -2]]> : "
        "tensor<1x3xi32>} : () -> tensor<1x3xi32>",
        f"%both = moe.keep_compose %score, %inner : {six}, tensor<1x3xi32> -> "
        "tensor<?x3xi32>",
        "%class = moe.token_score %a {query = 0} : tensor<?x3x5x11xf32> -> "
        f"{s}",
        "%last = moe.token_score %a {query = -1, head_reduce = "
        f"#moe.head_reduce<max>}} : tensor<?x3x5x11xf32> -> {s}"]
    outputs = {"keep": six, "score": six, "part": six, "rest": six,
               "drop": "tensor<?x6x4xf32>", "row": "tensor<?x6xf32>",
               "ids": "tensor<?x6x2x3xi64>", "mean": "tensor<?x7x4xf32>",
               "sum": "tensor<?x7x4xf32>", "zero": x, "base": x, "add": x,
               "both": "tensor<?x3xi32>", "class": s, "last": s}
    inputs = {"x": x, "s": s, "n": "tensor<?x11x2x3xi64>",
              "a": "tensor<?x3x5x11xf32>"}
    function = Function(tools, "ops", inputs, lines, outputs)
    runners = []
    with report.check("ops: compile"):
        function.compile()
        runners.append(("compiled", function.run))
    with report.check("ops: are written as ONNX"):
        runners.append(("in ONNX Runtime", function.export()))
        runners.append(("in opset 15", export_old(tools, function)))
    for what, runner in runners:
        for n in (1, 4):
            arrays = {"x": drawn(n, n, 11, 4), "s": np.abs(drawn(n, n, 11)),
                      "n": np.arange(n * 66).reshape(n, 11, 2, 3),
                      "a": drawn(n, n, 3, 5, 11)}
            results = {}
            with report.check(f"ops {what}, {n} sequences: run"):
                results = runner(arrays)
            for name, want in wanted_ops(arrays, n).items():
                with report.check(f"ops {what}, {n} sequences: {name}"):
                    got = results[name]
                    if got.shape != want.shape or not np.allclose(
                            got, want, 1e-5, 1e-6):
                        raise Failure(f"{got} of shape {got.shape}, expected "
                                      f"{want}")


def wanted_ops(arrays, n):
    x, s = arrays["x"].astype(float), arrays["s"].astype(float)
    keep, score = best(s, 6, True), best(s, 6, False)
    part = np.concatenate([np.zeros((n, 1), int), best(s[:, 1:8], 2, True) + 1,
                           np.tile([8, 9, 10], (n, 1))], 1)
    rest = np.concatenate([np.tile([0, 1], (n, 1)),
                           best(s[:, 2:], 4, False) + 2], 1)
    drop = take(x, part)
    zero, base, add = np.zeros_like(x), x.copy(), x.copy()
    for row in range(n):
        zero[row, part[row]] = drop[row]
        base[row, score[row]] = drop[row]
        add[row, rest[row]] += drop[row]
    return {"keep": keep, "score": score, "part": part, "rest": rest,
            "drop": drop, "row": take(s, keep),
            "ids": take(arrays["n"], score),
            "mean": np.concatenate([take(x, keep), fuse(x, keep, s, True)], 1),
            "sum": np.concatenate([take(x, keep), fuse(x, keep, s, False)], 1),
            "zero": zero, "base": base, "add": add, "both": score[:, [5, 0, 4]],
            "class": arrays["a"][:, :, 0].astype(float).mean(1),
            "last": arrays["a"][:, :, -1].max(1)}


# --- laws ---------------------------------------------------------------------

MERGES = [(0, True), (1, True), (4, True), (9, True), (0, False), (6, False),
          (10, False)]


def law_function(tools):
    x, m = "tensor<?x20x6xf32>", "tensor<?x20x5xf32>"
    n = "tensor<?x20x1xf32>"
    lines, outputs = [], {}
    for i, (r, protect) in enumerate(MERGES):
        y, size = f"tensor<?x{20 - r}x6xf32>", f"tensor<?x{20 - r}x1xf32>"
        lines += [
            f"%y{i}, %size{i}, %assign{i} = moe.token_merge %x, %n, %m {{r = "
            f"{r}, protect = {str(protect).lower()}}} : {x}, {n}, {m} -> {y}, "
            f"{size}, tensor<?x20xi32>",
            f"%back{i} = moe.token_restore %y{i}, %assign{i} {{fill = "
            f"#moe.fill<unmerge>}} : {y}, tensor<?x20xi32> -> {x}"]
        outputs |= {f"y{i}": y, f"size{i}": size,
                    f"assign{i}": "tensor<?x20xi32>", f"back{i}": x}
    return Function(tools, "laws", {"x": x, "n": n, "m": m}, lines, outputs)


def check_laws(tools, report):
    function = law_function(tools)
    runners = []
    with report.check("laws: compile"):
        function.compile()
        runners.append(("compiled", function.run))
    with report.check("laws: are written as ONNX"):
        runners.append(("in ONNX Runtime", function.export()))
        runners.append(("in opset 15", export_old(tools, function)))
    arrays = {"x": drawn(21, 3, 20, 6), "m": drawn(22, 3, 20, 5),
              "n": 1 + np.abs(drawn(23, 3, 20, 1))}
    for what, runner in runners:
        results = runner(arrays)
        for i, (r, protect) in enumerate(MERGES):
            name = f"merge {r}{' class' if protect else ''} {what}"
            with report.check(name):
                check_merge(arrays, results, i, r, protect)
        alone = [runner({k: v[j:j + 1] for k, v in arrays.items()})
                 for j in range(3)]
        with report.check(f"{what}: a batch is its sequences"):
            for key, value in results.items():
                parts = np.concatenate([one[key] for one in alone])
                if parts.tobytes() != value.tobytes():
                    raise Failure(f"{key} differs")


def check_merge(arrays, results, i, r, protect):
    x, n, m = (arrays[k].astype(float) for k in "xnm")
    y, size = results[f"y{i}"], results[f"size{i}"]
    assign, back = results[f"assign{i}"], results[f"back{i}"]
    want = merge(x, n, m, r, protect)
    for got, expected in zip((y, size, assign), want):
        if got.shape != expected.shape or not np.allclose(got, expected, 1e-5,
                                                          1e-6):
            raise Failure(f"{got}, expected {expected}")
    if not np.allclose(size.sum(1), n.sum(1), 1e-5):
        raise Failure("sizes are not conserved")
    if not np.allclose((size * y).sum(1), (n * x).sum(1), 1e-4, 1e-5):
        raise Failure("weighted tokens are not conserved")
    if not np.array_equal(back, take(y, assign)):
        raise Failure("tokens do not come back")
    # Those that nothing was merged into are what they were.
    counts = np.stack([np.bincount(row, minlength=y.shape[1])
                       for row in assign])
    for row in range(len(x)):
        single = counts[row][assign[row]] == 1
        if not np.allclose(back[row][single], x[row][single], 1e-6):
            raise Failure("tokens that were not merged changed")


GROUPS = {"graphs": check_graphs,
          "ops": check_ops,
          "laws": check_laws}


if __name__ == "__main__":
    sys.exit(run_groups(__doc__, GROUPS))
