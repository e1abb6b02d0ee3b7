#!/usr/bin/env python3
"""Experts as whole programs: properties, and agreement of all ways to run them.

usage: experts.py [--bin FOLDER] [-k REGEX] [-v] [FAMILY...]

Each family below is one module of `moe` ops with many small cases in it. It is
run in seven ways: compiled as it is, and for each form of moe-decompose
(gather, loop, grouped) written as ONNX and run by ONNX Runtime, and compiled.
Every run is compared with numpy's float64 (experts_oracle.py), for no token,
one token and more. Cases named I-... are the invariants of the design.

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import argparse
import os
import re
import sys
import tempfile

import ml_dtypes
import numpy as np

import experts_oracle as oracle
from experts_graph import Failure, Graph, Runner, judge
from experts_oracle import Bank

FOLDER = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(FOLDER))

# Tokens of each variant.
TOKENS = (0, 1, 7, 33)
FORMS = ("gather", "loop", "grouped")


class Maker:
    """Random inputs of a case, one array per variant."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def tokens(self, width, dtype=np.float32):
        return [self.random.standard_normal((t, width)).astype(dtype)
                for t in TOKENS]

    def ids(self, experts, k, least=0):
        """Different experts in the slots of a token; below 0: left out."""
        choices = np.arange(least, experts)
        return [np.array([np.maximum(self.random.permutation(choices)[:k], -1)
                          for _ in range(t)], np.int32).reshape(t, k)
                for t in TOKENS]

    def weights(self, k, dtype=np.float32):
        return [self.random.uniform(0.1, 1.0, (t, k)).astype(dtype)
                for t in TOKENS]


def each(function, *lists):
    return [function(*arrays) for arrays in zip(*lists)]


def sealed(name):
    """A number of a name, the same in every run."""
    return sum(ord(c) * 31 ** i for i, c in enumerate(name)) % (1 << 31)


def case(graph, name):
    graph.case = name
    return Maker(sealed(name))


def run_experts(graph, make, bank, activation, k=2, least=0, ids=None,
                dtype=np.float32, tolerance=2e-5, **options):
    """Adds moe.experts on random inputs and checks it. Returns what it used."""
    width = bank.gate.shape[2 if bank.layout == "oi" else 1]
    name = f"{len(graph.inputs)}T"
    arrays = make.tokens(width)
    narrow = dtype in (np.float16, ml_dtypes.bfloat16)
    arrays = [array.astype(dtype) for array in arrays]
    if ids is None:
        ids = make.ids(options.get("logical") or len(bank), k, least)
    weights = make.weights(ids[0].shape[1],
                           np.float64 if dtype == np.float64 else np.float32)
    x = (graph.cast(graph.input([a.astype(np.float32) for a in arrays], name),
                    dtype) if narrow else graph.input(arrays, name))
    i, w = graph.input(ids, name), graph.input(weights, name)
    y = graph.experts(x, i, w, bank, activation, **options)
    options.pop("logical", None)
    options.pop("values", None)
    want = each(lambda x, i, w: oracle.experts(x, i, w, bank, activation,
                                               **options),
                arrays, ids, weights)
    if narrow:
        y = graph.cast(y, np.float32)
        tolerance = 2e-3 if dtype == np.float16 else 1.6e-2
    graph.output(y, want, tolerance, tolerance)
    return x, i, w, y, (arrays, ids, weights)


# --- families ----------------------------------------------------------------


def forms(graph):
    """Every attribute and operand of moe.experts."""
    for gate_up, activation in (("none", "relu2"), ("separate", "swiglu"),
                                ("concat", "geglu"), ("interleave", "oai")):
        for layout in ("oi", "io"):
            for scale_at, in_scale, biases in (("output", 1.0, True),
                                               ("input", 2.0, False)):
                make = case(graph, f"{gate_up}, {layout}, {scale_at}")
                bank = Bank(make.random, 3, 8, 6, 5, gate_up, layout, biases)
                run_experts(graph, make, bank, activation, scale_at=scale_at,
                            in_scale=in_scale)
            make = case(graph, f"{gate_up}, {layout}, dense")
            bank = Bank(make.random, 1, 8, 6, 5, gate_up, layout)
            arrays = make.tokens(8)
            x = graph.input(arrays, f"{len(graph.inputs)}T")
            y = graph.experts(x, None, None, bank, activation, in_scale=0.5)
            graph.output(y, each(lambda x: oracle.experts(
                x, None, None, bank, activation, 0.5), arrays))
    for activation in ("identity", "gelu", "half"):
        make = case(graph, "activation " + activation)
        run_experts(graph, make, Bank(make.random, 3, 8, 6), activation)
    make = case(graph, "bounds of Clip that depend on the gate")
    run_experts(graph, make, Bank(make.random, 3, 8, 6, gate_up="concat"),
                "bounded")
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float64):
        make = case(graph, f"tokens and banks of {np.dtype(dtype).name}")
        bank = Bank(make.random, 3, 8, 6, gate_up="concat", dtype=dtype)
        run_experts(graph, make, bank, "swiglu", dtype=dtype)
    make = case(graph, "bank of f16 on tokens of f32")
    bank = Bank(make.random, 3, 8, 6, gate_up="separate", dtype=np.float16)
    run_experts(graph, make, bank, "swiglu")
    for k in (1, 3):
        make = case(graph, f"{k} of 3 experts")
        run_experts(graph, make, Bank(make.random, 3, 8, 6), "relu", k)
    make = case(graph, "slots that are left out")
    bank = Bank(make.random, 4, 8, 6, gate_up="concat")
    run_experts(graph, make, bank, "swiglu", 3, least=-3)
    make = case(graph, "no slot at all is used")
    nothing = [np.full((t, 2), -1, np.int32) for t in TOKENS]
    run_experts(graph, make, Bank(make.random, 2, 8, 6), "relu", ids=nothing)
    make = case(graph, "logical experts behind the bank")
    bank = Bank(make.random, 4, 8, 6, gate_up="concat")
    run_experts(graph, make, bank, "swiglu", 3, least=-1, logical=7)
    make = case(graph, "all tokens to one expert, others never picked")
    one = [np.full((t, 1), 2, np.int32) for t in TOKENS]
    run_experts(graph, make, Bank(make.random, 4, 8, 6), "relu", ids=one)
    make = case(graph, "an expert twice in a token")
    twice = [np.full((t, 2), 1, np.int32) for t in TOKENS]
    run_experts(graph, make, Bank(make.random, 2, 8, 6), "relu", ids=twice)

    # A slot that is left out must not be multiplied by 0: infinity and NaN
    # would come through.
    make = case(graph, "weights of slots that are left out do not count")
    bank = Bank(make.random, 2, 8, 6)
    bank.gate[0, 0, 0] = np.inf
    arrays, weights = make.tokens(8), make.weights(2)
    ids = [np.tile(np.array([1, -1], np.int32), (t, 1)) for t in TOKENS]
    for w in weights:
        w[:, 1] = np.nan
    name = f"{len(graph.inputs)}T"
    y = graph.experts(graph.input(arrays, name), graph.input(ids, name),
                      graph.input(weights, name), bank, "relu")
    graph.output(y, each(lambda x, i, w: oracle.experts(x, i, w, bank, "relu"),
                         arrays, ids, weights))

    # As many slots per token as the run says: 3, then none at all.
    make = case(graph, "a number of slots that only the run knows")
    name, slots = f"{len(graph.inputs)}T", (3, 3, 0, 3)
    bank = Bank(make.random, 4, 8, 6, gate_up="concat")
    arrays = make.tokens(8)
    ids = each(lambda a, k: a[:, :k], make.ids(4, 3, -1), slots)
    weights = each(lambda a, k: a[:, :k], make.weights(3), slots)
    y = graph.experts(graph.input(arrays, name),
                      graph.input(ids, name, name + "k"),
                      graph.input(weights, name, name + "k"), bank, "swiglu")
    graph.output(y, each(lambda x, i, w: oracle.experts(x, i, w, bank,
                                                        "swiglu"),
                         arrays, ids, weights))

    make = case(graph, "banks that only the run knows")
    bank = Bank(make.random, 3, 8, 6, gate_up="separate")
    values = {field: graph.input([getattr(bank, field)] * len(TOKENS))
              for field in bank.FIELDS}
    run_experts(graph, make, bank, "swiglu", values=values)


def properties(graph):
    """What holds of experts whatever their weights are."""
    # Permuting experts, tokens or slots.
    make = case(graph, "experts permuted")
    bank = Bank(make.random, 5, 8, 6, gate_up="concat")
    x, i, w, y, (arrays, ids, weights) = run_experts(graph, make, bank,
                                                     "swiglu", least=-1)
    order = make.random.permutation(5)
    inverse = np.append(np.argsort(order), -1).astype(np.int32)
    moved = graph.input([inverse[array] for array in ids], None)
    moved.shape[0] = None
    graph.inputs[-1] = (moved, graph.inputs[-1][1], [graph.inputs[-4][2][0],
                                                     None])
    graph.equal(y, graph.experts(x, moved, w, bank.pick(order), "swiglu"))

    graph.case = "tokens permuted"
    orders = [make.random.permutation(t) for t in TOKENS]
    name = f"{len(graph.inputs)}T"
    shuffled = graph.experts(
        graph.input(each(lambda a, o: a[o], arrays, orders), name),
        graph.input(each(lambda a, o: a[o], ids, orders), name),
        graph.input(each(lambda a, o: a[o], weights, orders), name), bank,
        "swiglu")
    back = graph.input([np.argsort(o).astype(np.int64) for o in orders], name)
    graph.equal(y, graph.onnx("Gather", [shuffled, back], np.float32,
                              [None, 8], "axis = 0 : i64"))

    graph.case = "a token twice gives its result twice"
    name = f"{len(graph.inputs)}T"
    double = graph.experts(
        *(graph.input([np.repeat(a, 2, 0) for a in values], name)
          for values in (arrays, ids, weights)), bank, "swiglu")
    every = graph.input([np.repeat(np.arange(t), 2) for t in TOKENS], name)
    graph.equal(double, graph.onnx("Gather", [y, every], np.float32,
                                   [None, 8], "axis = 0 : i64"))

    graph.case = "I-19 in chunks"
    parts = []
    for half in (lambda a: a[:len(a) // 3], lambda a: a[len(a) // 3:]):
        name = f"{len(graph.inputs)}T"
        parts.append(graph.experts(
            *(graph.input([half(a) for a in values], name)
              for values in (arrays, ids, weights)), bank, "swiglu"))
    graph.equal(y, graph.onnx("Concat", parts, np.float32, [None, 8],
                              "axis = 0 : i64"))

    make = case(graph, "weights of 0 give 0")
    name = f"{len(graph.inputs)}T"
    y = graph.experts(graph.input(make.tokens(8), name),
                      graph.input(make.ids(3, 2), name),
                      graph.input([np.zeros((t, 2), np.float32)
                                   for t in TOKENS], name),
                      Bank(make.random, 3, 8, 6), "relu")
    graph.output(y, [np.zeros((t, 8)) for t in TOKENS], 0, 0)

    # k = E: a sum of dense feed-forward layers, one after the other.
    make = case(graph, "k = E is dense")
    bank = Bank(make.random, 3, 8, 6, gate_up="separate")
    everything = [np.tile(np.arange(3, dtype=np.int32), (t, 1))
                  for t in TOKENS]
    x, _, w, y, _ = run_experts(graph, make, bank, "swiglu", ids=everything)
    total = None
    for e in range(3):
        dense = graph.experts(x, None, None, bank.pick([e]), "swiglu")
        column = graph.constant(np.array([e], np.int64))
        factor = graph.onnx("Gather", [w, column], np.float32, [None, 1],
                            "axis = 1 : i64")
        part = graph.onnx("Mul", [dense, factor], np.float32, [None, 8])
        total = part if total is None else graph.onnx(
            "Add", [total, part], np.float32, [None, 8])
    graph.equal(y, total, 2e-5, 2e-5)

    # I-1: shared experts one by one are one expert of their total width.
    make = case(graph, "I-1 shared experts joined")
    arrays = make.tokens(8)
    x = graph.input(arrays, f"{len(graph.inputs)}T")
    shared = Bank(make.random, 2, 8, 6, gate_up="separate")
    shared.down_bias = None
    joined = shared.pick([0])
    for field, axis in (("gate", 0), ("up", 0), ("gate_bias", 0),
                        ("up_bias", 0), ("down", 1)):
        parts = getattr(shared, field)
        setattr(joined, field, np.concatenate([parts[0], parts[1]], axis)[None])
    both = [graph.experts(x, None, None, shared.pick([e]), "swiglu")
            for e in (0, 1)]
    total = graph.onnx("Add", both, np.float32, [None, 8])
    one = graph.experts(x, None, None, joined, "swiglu")
    graph.equal(total, one, 2e-5, 2e-5)
    graph.output(one, each(lambda x: oracle.experts(
        x, None, None, shared.pick([0]), "swiglu") + oracle.experts(
            x, None, None, shared.pick([1]), "swiglu"), arrays))

    # I-2: a shared expert is a routed one that every token picks with weight 1.
    make = case(graph, "I-2 shared as routed")
    routed = Bank(make.random, 3, 8, 6, gate_up="concat", biases=False)
    shared = Bank(make.random, 1, 8, 6, gate_up="concat", biases=False)
    x, _, _, y, (arrays, ids, weights) = run_experts(graph, make, routed,
                                                     "swiglu")
    apart = graph.onnx("Add", [y, graph.experts(x, None, None, shared,
                                                "swiglu")],
                       np.float32, [None, 8])
    whole = routed.pick([0, 1, 2])
    whole.gate = np.concatenate([routed.gate, shared.gate])
    whole.down = np.concatenate([routed.down, shared.down])
    name = graph.inputs[-3][2][0]
    more = [np.concatenate([i, np.full((len(i), 1), 3, np.int32)], 1)
            for i in ids]
    ones = [np.concatenate([w, np.ones((len(w), 1), np.float32)], 1)
            for w in weights]
    graph.equal(apart, graph.experts(x, graph.input(more, name),
                                     graph.input(ones, name), whole, "swiglu"),
                2e-5, 2e-5)

    # I-3, I-4: an expert of width I is m experts of width I/m.
    make = case(graph, "I-3, I-4 experts split and joined")
    bank = Bank(make.random, 3, 8, 6, gate_up="separate", biases=False)
    x, _, _, y, (arrays, ids, weights) = run_experts(graph, make, bank,
                                                     "swiglu")
    split = bank.pick([0])
    split.gate = bank.gate.reshape(6, 3, 8)
    split.up = bank.up.reshape(6, 3, 8)
    split.down = np.concatenate(np.split(bank.down, 2, 2), 1).reshape(6, 8, 3)
    name = graph.inputs[-3][2][0]
    halves = [np.stack([2 * i, 2 * i + 1], 2).reshape(len(i), 4).astype(
        np.int32) for i in ids]
    repeated = [np.repeat(w, 2, 1) for w in weights]
    graph.equal(y, graph.experts(x, graph.input(halves, name),
                                 graph.input(repeated, name), split, "swiglu"),
                2e-5, 2e-5)

    # I-50: all weight on one expert leaves that expert alone.
    make = case(graph, "I-50 weight on one expert only")
    bank = Bank(make.random, 3, 8, 6, gate_up="concat")
    arrays = make.tokens(8)
    name = f"{len(graph.inputs)}T"
    x = graph.input(arrays, name)
    ids = graph.input([np.tile(np.array([2, 0], np.int32), (t, 1))
                       for t in TOKENS], name)
    weights = graph.input([np.tile(np.array([1, 0], np.float32), (t, 1))
                           for t in TOKENS], name)
    graph.equal(graph.experts(x, ids, weights, bank, "swiglu"),
                graph.experts(x, None, None, bank.pick([2]), "swiglu"),
                1e-6, 1e-6)


def add_trivial(graph, make, kinds, first, x, i, w, in_scale=1.0):
    """Adds moe.trivial_experts; the result and what it must be."""
    n = kinds.count("constant")
    constants = make.random.standard_normal((n, 8)).astype(np.float32)
    mixers = make.random.standard_normal((n, 2, 8)).astype(np.float32)
    text = (f"moe.trivial_experts {x.name} route({i.name}, {w.name} : "
            f"{i.type}, {w.type})")
    if n:
        a, b = graph.constant(constants), graph.constant(mixers)
        text += (f" constants({a.name} : {a.type}) mixers({b.name} : "
                 f"{b.type})")
    named = ", ".join(f"#moe.kind<{kind}>" for kind in kinds)
    text += (f" {{first = {first} : i64, kinds = [{named}], in_scale = "
             f"{in_scale:.6e} : f64}} : {x.type}")
    y = graph.text(text, x.dtype, x.shape)
    return y, lambda x, i, w: oracle.trivial_experts(
        x, i, w, first, kinds, constants, mixers, in_scale)


def trivial(graph):
    """moe.trivial_experts, alone and beside a bank."""
    for kinds, first in ((["copy"], 4), (["zero"], 4), (["constant"], 0),
                         (["copy", "copy", "copy"], 3),
                         (["copy", "zero", "copy", "constant"], 2),
                         (["constant", "constant", "copy", "zero"], 4)):
        for dtype in (np.float32, np.float16):
            make = case(graph, f"{', '.join(kinds)} of {np.dtype(dtype).name}")
            arrays = make.tokens(8, dtype)
            ids = make.ids(first + len(kinds) + 1, 3, -1)
            weights, name = make.weights(3), f"{len(graph.inputs)}T"
            y, want = add_trivial(
                graph, make, kinds, first, graph.input(arrays, name),
                graph.input(ids, name), graph.input(weights, name), 2.0)
            tolerance = 2e-5 if dtype == np.float32 else 2e-3
            graph.output(y, each(want, arrays, ids, weights), tolerance,
                         tolerance)

    make = case(graph, "I-6 all copies: y = 2x * w")
    arrays, weights = make.tokens(8), make.weights(1)
    name = f"{len(graph.inputs)}T"
    x, w = graph.input(arrays, name), graph.input(weights, name)
    all_copy = graph.input([np.full((t, 1), 4, np.int32) for t in TOKENS], name)
    y, _ = add_trivial(graph, make, ["copy"], 4, x, all_copy, w, 2.0)
    graph.output(y, each(lambda x, w: 2.0 * x * w, arrays, weights), 1e-6, 1e-6)
    graph.case = "I-7 zero experts only: y = 0"
    y, _ = add_trivial(graph, make, ["zero"], 4, x, all_copy, w)
    graph.output(y, [np.zeros((t, 8)) for t in TOKENS], 0, 0)

    make = case(graph, "infinite tokens without such an expert stay 0")
    arrays = [np.full((t, 8), np.inf, np.float32) for t in TOKENS]
    name = f"{len(graph.inputs)}T"
    ids = [np.zeros((t, 2), np.int32) for t in TOKENS]
    y, _ = add_trivial(
        graph, make, ["copy", "constant"], 2, graph.input(arrays, name),
        graph.input(ids, name), graph.input(make.weights(2), name))
    graph.output(y, [np.zeros((t, 8)) for t in TOKENS], 0, 0)


def margin(scores, k):
    """Scores whose best k are that clearly: a near-tie decides nothing."""
    best = np.sort(scores, 1)[:, ::-1]
    assert not (best[:, k - 1] - best[:, k] < 1e-4).any(), "near-tie"


def blocks(graph):
    """Routers and experts together, as models have them."""
    f32 = np.float32

    def linear(x, matrix):
        return graph.onnx("MatMul", [x, graph.constant(matrix.T)], f32,
                          [x.shape[0], len(matrix)])

    def matrix(make, rows, columns):
        return make.random.standard_normal((rows, columns)).astype(f32)

    # Permuting the rows of the router with the experts changes nothing.
    make = case(graph, "experts permuted with their router")
    bank = Bank(make.random, 5, 8, 6, gate_up="concat")
    router, arrays = 3 * matrix(make, 5, 8), make.tokens(8)
    x = graph.input(arrays, f"{len(graph.inputs)}T")
    order, results = make.random.permutation(5), []
    for chosen in (np.arange(5), order):
        i, w = graph.route(linear(x, router[chosen]), 2, ", norm = sum")
        results.append(graph.experts(x, i, w, bank.pick(chosen), "swiglu"))
    graph.equal(*results, 2e-5, 2e-5)

    def mixtral(x):
        logits = x @ router.T.astype(float)
        margin(logits, 2)
        ids = np.argsort(-logits, 1, kind="stable")[:, :2]
        weights = oracle.softmax(np.take_along_axis(logits, ids, 1))
        return oracle.experts(x, ids, weights, bank, "swiglu")

    graph.output(results[0], each(mixtral, arrays))

    # I-5: MoE++ in the eight settings of its gating. Two layers; the logits of
    # the second one also see those of the first, and both routers have a
    # hidden layer.
    kinds = ["constant", "constant", "copy", "zero"]
    for mode in range(8):
        mixtral_gate, normed, no_mul = mode & 1, mode & 2, mode & 4
        make = case(graph, "I-5 MoE++"
                    + (", Mixtral's gating" if mixtral_gate else "")
                    + (", normed logits" if normed else "")
                    + (", input not doubled" if no_mul else ""))
        in_scale = 1.0 if mixtral_gate or no_mul else 2.0
        routing = (", score_on = selected" if mixtral_gate else
                   ", norm = sum, null_before_norm = [7]")
        routing += ", logit_std = 1.5" if normed else ""
        arrays = make.tokens(8)
        value = x = graph.input(arrays, f"{len(graph.inputs)}T")
        wants, before, want_before = arrays, None, None
        for layer in range(2):
            hidden, out = matrix(make, 16, 8), matrix(make, 8, 16)
            logits = linear(graph.onnx("Tanh", [linear(value, hidden)], f32,
                                       [None, 16]), out)
            want_logits = [np.tanh(a @ hidden.T.astype(float)) @ out.T
                           for a in wants]
            if layer:
                residual = matrix(make, 8, 8)
                logits = graph.onnx("Add", [logits, linear(before, residual)],
                                    f32, [None, 8])
                want_logits = each(lambda l, b: l + b @ residual.T, want_logits,
                                   want_before)
            before, want_before = logits, want_logits
            i, w = graph.route(logits, 2, routing)
            bank = Bank(make.random, 4, 8, 6, gate_up="concat", biases=False)
            y = graph.experts(value, i, w, bank, "swiglu", in_scale, logical=8)
            z, want = add_trivial(graph, make, kinds, 4, value, i, w, in_scale)

            def block(x, l):
                margin(l, 2)
                ids, weights = oracle.moepp_route(l, 2, 7, mixtral_gate,
                                                  1.5 if normed else 0)
                return oracle.experts(x, ids, weights, bank, "swiglu",
                                      in_scale) + want(x, ids, weights)

            value = graph.onnx("Add", [y, z], f32, [None, 8])
            wants = each(block, wants, want_logits)
            graph.output(value, wants, 1e-4, 1e-4)

    make = case(graph, "I-8 slots of the bank are those below 4")
    ids, weights = make.ids(8, 2), make.weights(2)
    name = f"{len(graph.inputs)}T"
    i, w = graph.input(ids, name), graph.input(weights, name)
    probs = graph.input([np.ones((t, 8), f32) for t in TOKENS], name)
    counts, sums, _ = graph.texts(
        f"moe.load_stats {i.name}, {w.name} probs({probs.name} : {probs.type})"
        f" : {i.type}, {w.type} -> tensor<8xi64>, tensor<8xf64>, tensor<8xf64>",
        (np.int64, [8]), (np.float64, [8]), (np.float64, [8]))
    graph.output(counts, [np.bincount(a.ravel(), minlength=8) for a in ids],
                 0, 0)
    graph.output(sums, each(lambda a, b: np.bincount(
        a.ravel(), b.ravel().astype(float), 8), ids, weights))

    # I-9: a residual of 0 leaves the layers independent.
    make = case(graph, "I-9 residual of 0 between routers")
    bank = Bank(make.random, 4, 8, 6, gate_up="concat")
    x = graph.input(make.tokens(8), f"{len(graph.inputs)}T")
    first, second = (linear(x, matrix(make, 4, 8)) for _ in range(2))
    none = linear(first, np.zeros((4, 4), f32))
    joined = graph.onnx("Add", [second, none], f32, [None, 4])
    results = [graph.experts(x, *graph.route(logits, 2, ", norm = sum"), bank,
                             "swiglu") for logits in (second, joined)]
    graph.equal(*results)

    # I-20: experts that may take every token take every token.
    make = case(graph, "I-20 expert choice of all tokens is dense")
    bank = Bank(make.random, 3, 8, 6, gate_up="concat")
    router, arrays, places = matrix(make, 3, 8), make.tokens(8), 40
    x = graph.input(arrays, f"{len(graph.inputs)}T")
    logits = linear(x, router)
    tokens, weights = graph.texts(
        f"moe.route_balanced {logits.name} {{method = "
        f"#moe.method<expert_choice>, capacity = {places} : i64}} : "
        f"{logits.type} -> tensor<3x{places}xi32>, tensor<3x{places}xf32>",
        (np.int32, [3, places]), (f32, [3, places]))
    rows = 3 * places
    column = graph.constant(np.array([rows, 1], np.int64))
    minus = graph.constant(np.array([[-1]], np.int32))
    one = graph.constant(np.array([1], np.int32))
    tokens = graph.onnx("Reshape", [tokens, column], np.int32, [rows, 1])
    weights = graph.onnx("Reshape", [weights, column], f32, [rows, 1])
    owner = graph.constant(np.repeat(np.arange(3, dtype=np.int32),
                                     places)[:, None])
    empty = graph.onnx("Equal", [tokens, minus], bool, [rows, 1])
    i = graph.onnx("Where", [empty, minus, owner], np.int32, [rows, 1])
    # Row 0 stands for the token of an empty place.
    nobody = graph.constant(np.zeros((1, 8), f32))
    padded = graph.onnx("Concat", [nobody, x], f32, [None, 8],
                        "axis = 0 : i64")
    at = graph.cast(graph.onnx("Add", [tokens, one], np.int32, [rows, 1]),
                    np.int64)
    taken = graph.onnx("GatherND", [padded, at], f32, [rows, 8])
    given = graph.experts(taken, i, weights, bank, "swiglu")
    zeros = graph.onnx("Mul", [padded, graph.constant(
        np.zeros(1, f32))], f32, [None, 8])
    total = graph.onnx("ScatterND", [zeros, at, given], f32, [None, 8],
                       'reduction = "add"')
    bounds = [graph.constant(np.array([n], np.int64)) for n in (1, 1 << 40, 0)]
    y = graph.onnx("Slice", [total, *bounds], f32, [None, 8])
    everything = [np.tile(np.arange(3), (t, 1)) for t in TOKENS]
    graph.output(y, each(lambda x, i: oracle.experts(
        x, i, oracle.softmax(x @ router.T.astype(float)), bank, "swiglu"),
                         arrays, everything))

    # I-21: mixtures of tokens through experts; two slots for each of three.
    make = case(graph, "I-21 SoftMoE")
    bank = Bank(make.random, 3, 8, 6, gate_up="concat")
    router, arrays = matrix(make, 6, 8), make.tokens(8)
    x = graph.input(arrays, f"{len(graph.inputs)}T")
    logits = linear(x, router)
    dispatch, combine = graph.texts(
        f"moe.soft_route {logits.name} : {logits.type}",
        (f32, [None, 6]), (f32, [None, 6]))
    mixed = graph.onnx("MatMul", [graph.onnx(
        "Transpose", [dispatch], f32, [6, None], "perm = array<i64: 1, 0>"), x],
                       f32, [6, 8])
    i = graph.constant(np.repeat(np.arange(3, dtype=np.int32), 2)[:, None])
    ones = graph.constant(np.ones((6, 1), f32))
    y = graph.onnx("MatMul", [combine, graph.experts(mixed, i, ones, bank,
                                                     "swiglu")], f32, [None, 8])

    def soft(x):
        logits = x @ router.T.astype(float)
        if not len(x):
            return np.zeros((0, 8))
        slots = oracle.softmax(logits, 0).T @ x
        given = oracle.experts(slots, np.repeat(np.arange(3), 2)[:, None],
                               np.ones((6, 1)), bank, "swiglu")
        return oracle.softmax(logits) @ given

    graph.output(y, each(soft, arrays))


def parameters(graph):
    """moe.dequantize and moe.mix."""
    def pack(q, bits):
        per = 8 // bits
        padded = np.zeros((*q.shape[:-1], -(-q.shape[-1] // per) * per),
                          np.uint8)
        padded[..., :q.shape[-1]] = q
        parts = padded.reshape(*q.shape[:-1], -1, per)
        return sum((parts[..., i] << (i * bits)).astype(np.uint8)
                   for i in range(per)).astype(np.uint8)

    for bits in (2, 4, 8):
        for block, columns in ((None, 16), (8, 16), (8, 20), (12, 36)):
            for zeros in (False, True):
                for dtype in (np.float32, np.float16):
                    if dtype == np.float16 and (not zeros or block is None):
                        continue
                    make = case(graph, f"dequantize {bits} bits, block {block} "
                                f"of {columns}, {np.dtype(dtype).name}"
                                + (", zero points" if zeros else ""))
                    rows = 5
                    q = make.random.integers(0, 1 << bits, (2, rows, columns))
                    blocks = 1 if block is None else -(-columns // block)
                    shape = (2, rows) if block is None else (2, rows, blocks)
                    scales = make.random.uniform(0.1, 1, shape).astype(dtype)
                    points = make.random.integers(0, 1 << bits, shape)
                    points = pack(points, bits) if zeros else None
                    packed = pack(q, bits)
                    p, s = graph.constant(packed), graph.constant(scales)
                    text = f"moe.dequantize {p.name}, {s.name}"
                    if zeros:
                        z = graph.constant(points)
                        text += f" zero_points({z.name} : {z.type})"
                    text += f" {{bits = {bits} : i64"
                    text += f", block = {block} : i64" if block else ""
                    name = "f32" if dtype == np.float32 else "f16"
                    text += (f"}} : {p.type}, {s.type} -> "
                             f"tensor<2x{rows}x{columns}x{name}>")
                    y = graph.text(text, dtype, [2, rows, columns])
                    want = oracle.dequantize(packed, scales, points, bits,
                                             block, columns)
                    tolerance = 1e-6 if dtype == np.float32 else 1e-3
                    graph.output(y, [want] * len(TOKENS), tolerance, tolerance)

    for shape, bank_shape in (((4,), (4, 3)), ((None, 4), (4, 3, 2)),
                              ((None, 4), (4,)), ((None, 2, 4), (4, 6)),
                              ((None, 1), (1, 5))):
        make = case(graph, f"mix {list(shape)} of {list(bank_shape)}")
        bank = make.random.standard_normal(bank_shape).astype(np.float32)
        coefficients = [make.random.standard_normal(
            [t if d is None else d for d in shape]).astype(np.float32)
                        for t in TOKENS]
        names = [f"{len(graph.inputs)}T"] if shape[0] is None else []
        c, b = graph.input(coefficients, *names), graph.constant(bank)
        dims = list(c.shape[:-1]) + list(bank_shape[1:])
        text = "x".join("?" if d is None else str(d) for d in dims)
        y = graph.text(f"moe.mix {c.name}, {b.name} : {c.type}, {b.type} -> "
                       f"tensor<{text + 'x' if text else ''}f32>", np.float32,
                       dims)
        graph.output(y, [oracle.mix(c, bank) for c in coefficients])
    for dtype in (np.int32, np.int64):
        make = case(graph, f"rows picked by {np.dtype(dtype).name}")
        bank = make.random.standard_normal((5, 2, 3)).astype(np.float32)
        index = [make.random.integers(0, 5, (t, 3)).astype(dtype)
                 for t in TOKENS]
        c, b = graph.input(index, f"{len(graph.inputs)}T"), graph.constant(bank)
        y = graph.text(f"moe.mix {c.name}, {b.name} : {c.type}, {b.type} -> "
                       "tensor<?x3x2x3xf32>", np.float32, [None, 3, 2, 3])
        graph.output(y, [oracle.mix(i, bank) for i in index], 0, 0)


def switches(graph):
    """moe.switch with one to five branches, every branch taken."""
    for count in (1, 2, 3, 5):
        make = case(graph, f"{count} branches")
        arrays = make.tokens(4)
        # The last branches are taken in the variants behind the first.
        picks = [(count - 1 - n) % count for n in range(len(TOKENS))]
        name = f"{len(graph.inputs)}T"
        x = graph.input(arrays, name)
        i = graph.input([np.array(p, np.int64 if count % 2 else np.int32)
                         for p in picks])
        factors = [graph.constant(np.array([b + 1.5], np.float32))
                   for b in range(count)]
        branches = []
        for b, factor in enumerate(factors):
            branches.append(
                f"{{\n      %r{b} = onnx.Mul({x.name}, {factor.name}) : "
                f"({x.type}, {factor.type}) -> {x.type}\n      moe.yield "
                f"%r{b}, {x.name} : {x.type}, {x.type}\n    }}")
        first, second = graph.texts(
            f"moe.switch {i.name} : {i.type} -> {x.type}, {x.type} "
            + ", ".join(branches), (x.dtype, x.shape), (x.dtype, x.shape))
        graph.output(first, each(lambda x, p: x * (p + 1.5), arrays, picks),
                     1e-6, 1e-6)
        graph.output(second, arrays, 0, 0)


FAMILIES = {"forms": forms, "properties": properties, "trivial": trivial,
            "blocks": blocks, "parameters": parameters, "switches": switches}


def bad_indices():
    """(name, graph): the run must end with an error."""
    for name, ids in (("an id behind the experts", [[0, 4]]),
                      ("an id below -1", [[-2, 0]]),
                      ("an id behind the logical experts", [[6, 0]])):
        graph = Graph()
        make = case(graph, name)
        logical = 6 if "logical" in name else None
        x = graph.input([np.ones((1, 8), np.float32)], "T")
        i = graph.input([np.array(ids, np.int32)], "T")
        w = graph.input([np.ones((1, 2), np.float32)], "T")
        bank = Bank(make.random, 4, 8, 6)
        graph.output(graph.experts(x, i, w, bank, "relu", logical=logical),
                     [None])
        yield name, graph
    for name, index in (("a row below 0", -1), ("a row behind the bank", 3)):
        graph = Graph()
        make = case(graph, name)
        c = graph.input([np.array([index, 0], np.int64)])
        b = graph.constant(make.random.standard_normal((3, 2)).astype("f4"))
        y = graph.text(f"moe.mix {c.name}, {b.name} : {c.type}, {b.type} -> "
                       "tensor<2x2xf32>", np.float32, [2, 2])
        graph.output(y, [None])
        yield name, graph
    for count, index in ((1, 1), (2, 2), (3, -1)):
        graph = Graph()
        name = f"branch {index} of {count}"
        case(graph, name)
        x = graph.input([np.ones(3, np.float32)])
        i = graph.input([np.array(index, np.int64)])
        branches = ", ".join([f"{{ moe.yield {x.name} : {x.type} }}"] * count)
        y = graph.text(f"moe.switch {i.name} : {i.type} -> {x.type} "
                       + branches, np.float32, [3])
        graph.output(y, [None])
        yield name, graph


# --- running -----------------------------------------------------------------


def run_family(runner, name, graph):
    """{case: problem}; a problem of all cases is that of each."""
    problems = {check.case: "" for check in graph.checks}
    problems.update((same[0], "") for same in graph.same)
    source = runner.write(graph, name)

    def note(way, found):
        for which, text in found.items():
            problems[which] = problems[which] or f"{way}: {text}"

    def run(way, runs, bits):
        for variant, tokens in enumerate(TOKENS):
            note(f"{way}, {tokens} tokens",
                 judge(graph, runs(variant), variant, bits))

    def attempt(way, action):
        try:
            action()
        except Exception as error:  # whatever a runtime throws at us
            note(way, dict.fromkeys(problems, str(error)[:1500]))

    def compiled(way, text, library, *options):
        made = runner.compile(text, library, *options)
        run(way, lambda variant: runner.run_compiled(graph, made, variant),
            True)

    attempt("compiled", lambda: compiled("compiled", source, name))
    for form in FORMS:
        def exported():
            model = runner.path(f"{name}-{form}.onnx")
            runner.tool("moe-opt", source, f"--moe-decompose=form={form}",
                        "-o", model)
            session = runner.session(model)
            run(f"{form} in ONNX Runtime",
                lambda variant: runner.run_session(graph, session, variant),
                False)

        def lowered():
            text = runner.path(f"{name}-{form}.mlir")
            runner.tool("moe-opt", source, f"--moe-decompose=form={form}",
                        "-o", text)
            # Graphs of many nodes: what is tested is not the code generator.
            compiled(f"{form} compiled", text, f"{name}-{form}", "-O0")

        attempt(f"{form} in ONNX Runtime", exported)
        attempt(f"{form} compiled", lowered)
        if "moe.experts" not in graph.module():
            break  # the forms are those of moe.experts
    return problems


def run_bad(runner, number, graph):
    """The problem of a case that must fail at run time, or an empty string."""
    source = runner.write(graph, f"bad{number}")
    library = runner.compile(source, f"bad{number}")
    text = runner.run_compiled(graph, library, 0, expect=1)
    if "out of range" not in text:
        return f"the message is: {text}"
    for form in FORMS:
        model = runner.path(f"bad{number}-{form}.onnx")
        runner.tool("moe-opt", source, f"--moe-decompose=form={form}", "-o",
                    model)
        session = runner.session(model)
        try:
            runner.run_session(graph, session, 0)
        except Exception as error:
            if "out of" not in str(error):
                return f"{form} in ONNX Runtime: {error}"
            continue
        return f"{form} in ONNX Runtime: no error"
    return ""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    build = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))
    parser.add_argument("--bin", default=os.path.join(build, "bin"))
    parser.add_argument("-k", default="", metavar="REGEX",
                        help="show only cases whose name matches")
    parser.add_argument("-v", action="store_true", help="list all cases")
    options = parser.parse_args()
    names = [*FAMILIES, "errors"]
    for family in options.families:
        if family not in names:
            parser.error(f"no family '{family}'; there are: "
                         + ", ".join(names))
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(options.bin, folder)
        for family in options.families or names:
            if family == "errors":
                problems = {}
                for number, (name, graph) in enumerate(bad_indices()):
                    try:
                        problems[name] = run_bad(runner, number, graph)
                    except Exception as error:
                        problems[name] = str(error)
            else:
                graph = Graph()
                FAMILIES[family](graph)
                problems = run_family(runner, family, graph)
            for name, problem in problems.items():
                if not re.search(options.k, name):
                    continue
                passed += not problem
                failed += bool(problem)
                if problem:
                    print(f"  FAILED {family}/{name}: {problem}")
                elif options.v:
                    print(f"  passed {family}/{name}")
            print(f"{family}: {sum(not p for p in problems.values())} of "
                  f"{len(problems)} passed", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
