"""Routers R1 to R7: nodes from hidden states to ids and weights [tokens, k].

Each takes the builder, the rows [tokens, width], a `Router` with its constants
and gives ids (int64) and weights; `Router.reference` gives the same in float64
with a flag per token that says whether float32 can tell its scores apart.
"""
import dataclasses

import numpy as np
import routing_oracle
from routing_oracle import Groups, Routing

from . import parts
from .graph import BOOL, FLOAT

MINUS_INF = float("-inf")


@dataclasses.dataclass
class Router:
    kind: str               # a key of SPELLINGS
    routing: Routing        # what it means
    matrix: np.ndarray      # [E, width]
    bias: np.ndarray = None         # of the logits
    correction: np.ndarray = None   # of the scores that select

    @property
    def experts(self):
        return len(self.matrix)

    def logits(self, b, rows):
        return parts.linear(b, rows, self.matrix, self.bias)

    def spell(self, b, rows):
        return SPELLINGS[self.kind](b, self, self.logits(b, rows))

    def reference(self, rows):
        """ids, weights, clear of rows in float64."""
        logits = rows @ self.matrix.astype(np.float64).T
        if self.bias is not None:
            logits = logits + self.bias
        correction = (None if self.correction is None
                      else self.correction.astype(np.float64))
        ids, weights, clear, _ = routing_oracle.route(
            self.routing, logits, select_bias=correction)
        return ids, weights, clear


def softmax(b, x):
    if b.torchscript:
        x = b.cast(x, FLOAT)
    return b.op("Softmax", x, axis=-1)


def top(b, x, k, sorted_=1, axis=-1):
    return b.op("TopK", x, b.ints(k), axis=axis, largest=1, sorted=sorted_,
                outputs=2)


def renormalise(b, values, eps=0.0, clamp=False, norm="ReduceSum"):
    total = b.reduce(norm, values, [-1], 1)
    if clamp:
        total = b.op("Clip", total, b.float(eps))
    elif eps:
        total = b.op("Add", total, b.float(eps))
    return b.op("Div", values, total)


def softmax_topk(b, r, logits):
    """R1: softmax, top-k, optional division by the sum."""
    values, ids = top(b, softmax(b, logits), r.routing.k)
    if r.routing.norm == "sum":
        values = renormalise(b, values)
    elif r.routing.norm == "lp":
        values = renormalise(b, values, norm="ReduceL1")
    if r.routing.scale != 1:
        values = b.op("Mul", values, b.float(r.routing.scale))
    return ids, values


def topk_softmax(b, r, logits):
    """R2: the softmax comes behind the selection."""
    values, ids = top(b, logits, r.routing.k)
    return ids, softmax(b, values)


def kept_groups(b, r, scores, of_groups):
    """A bool [tokens, E]: experts of the best groups."""
    groups = r.routing.groups
    size = r.experts // groups.n
    _, best = top(b, of_groups, groups.keep, 1 if not b.torchscript else 0)
    if b.torchscript:
        ones = b.op("Expand", b.float(1.0), b.op("Shape", best))
    else:
        ones = b.filled(b.op("Shape", best), 1.0)
    mask = b.op("ScatterElements", b.zeros_like(of_groups), best, ones, axis=1)
    wide = b.op("Expand", b.unsqueeze(mask, -1), b.ints(1, 1, size))
    flat = b.op("Reshape", wide, b.ints(-1, r.experts))
    return b.cast(flat, BOOL)


def outside(b, keep, scores, fill):
    """`scores` with `fill` for experts of other groups."""
    return b.op("Where", b.op("Not", keep), b.float(fill), scores)


def grouped_sigmoid(b, r, logits):
    """R3: sigmoid, correction bias, two best per group, best groups."""
    scores = b.op("Sigmoid", logits)
    choice = b.op("Add", scores, b.weight(r.correction))
    groups = r.routing.groups
    grouped = b.op("Reshape", choice,
                   b.ints(-1, groups.n, r.experts // groups.n))
    best, _ = top(b, grouped, 2)
    keep = kept_groups(b, r, choice, b.reduce("ReduceSum", best, [-1], 0))
    limited = outside(b, keep, choice,
                      0.0 if groups.fill == "zero" else MINUS_INF)
    _, ids = top(b, limited, r.routing.k, 0 if b.writer == "dynamo" else 1)
    return ids, gathered(b, r, scores, ids)


def gathered(b, r, scores, ids):
    values = b.op("GatherElements", scores, ids, axis=1)
    routing = r.routing
    if routing.norm == "sum":
        values = renormalise(b, values, routing.eps)
    elif routing.norm == "sum_clamp":
        values = renormalise(b, values, routing.eps, True)
    if routing.scale != 1:
        values = b.op("Mul", values, b.float(routing.scale))
    return values


def grouped_softmax(b, r, logits):
    """R4: softmax, best expert per group, best groups."""
    scores = softmax(b, logits)
    groups = r.routing.groups
    grouped = b.op("Reshape", scores,
                   b.ints(-1, groups.n, r.experts // groups.n))
    keep = kept_groups(b, r, scores, b.reduce("ReduceMax", grouped, [-1], 0))
    values, ids = top(b, outside(b, keep, scores, 0.0), r.routing.k, 0)
    if r.routing.scale != 1:
        values = b.op("Mul", values, b.float(r.routing.scale))
    return ids, values


def biased(b, r, logits):
    """R5: a correction bias selects, the scores themselves are weights."""
    scores = (b.op("Sigmoid", logits) if r.routing.score == "sigmoid"
              else softmax(b, logits))
    choice = b.op("Add", scores, b.weight(r.correction))
    _, ids = top(b, choice, r.routing.k)
    return ids, gathered(b, r, scores, ids)


def sparse_mixer(b, r, logits):
    """R6: two experts, one after the other, each with a softmax of its own."""
    eps = 2 * r.routing.jitter
    size = b.op("Abs", logits)
    ids, weights, masked = [], [], logits
    for step in range(2):
        most = b.reduce("ReduceMax", masked, [-1], 1)
        best = b.op("ArgMax", masked, axis=-1, keepdims=1,
                    select_last_index=0)
        factor = b.op("Max", size, most)
        far = b.op("Greater",
                   b.op("Div", b.op("Sub", most, logits), factor),
                   b.float(eps))
        shares = b.op("Softmax", b.op("Where", far, b.float(MINUS_INF),
                                      masked), axis=-1)
        ids.append(best)
        weights.append(b.op("GatherElements", shares, best, axis=-1))
        if step == 0:
            gone = b.filled(b.op("Shape", best), MINUS_INF)
            masked = b.op("ScatterElements", logits, best, gone, axis=-1)
    return (b.op("Concat", *ids, axis=-1), b.op("Concat", *weights, axis=-1))


def arg_max(b, r, logits):
    """R7 without its capacity: the best expert and its probability."""
    scores = softmax(b, logits)
    ids = b.op("ArgMax", scores, axis=-1, keepdims=1, select_last_index=0)
    return ids, b.reduce("ReduceMax", scores, [-1], 1)


SPELLINGS = {
    "R1": softmax_topk,
    "R2": topk_softmax,
    "R3": grouped_sigmoid,
    "R4": grouped_softmax,
    "R5": biased,
    "R6": sparse_mixer,
    "R7": arg_max,
}


def make(kind, random, width, experts, k):
    """A router of a kind with constants drawn at random."""
    matrix = (2.0 * random.standard_normal((experts, width))
              / np.sqrt(width)).astype(np.float32)
    correction = (0.1 * random.standard_normal(experts)).astype(np.float32)
    # A mask of zeros is only right above zero.
    positive = np.abs(correction) + np.float32(0.01)
    bias = (0.2 * random.standard_normal(experts)).astype(np.float32)
    # Exporters write -inf as such; groups of at least two experts.
    n = 4 if experts % 4 == 0 and experts >= 8 else 2
    groups = max(1, n // 2)
    sigmoid = {"k": k, "score": "sigmoid"}
    table = {
        "R1": ("R1", Routing(k=k)),
        "R1 renormalised": ("R1", Routing(k=k, norm="sum")),
        "R1 by a norm": ("R1", Routing(k=k, norm="lp", p=1.0)),
        "R1 scaled": ("R1", Routing(k=k, scale=1.75)),
        "R2": ("R2", Routing(k=k, score_on="selected")),
        "R2 biased": ("R2", Routing(k=k, score_on="selected")),
        "R3": ("R3", Routing(**sigmoid, norm="sum", eps=1e-20, scale=2.5,
                             groups=Groups(n, groups, "top2sum"))),
        "R3 masked by zero": ("R3", Routing(
            **sigmoid, norm="sum", eps=1e-20, scale=2.5,
            groups=Groups(n, groups, "top2sum", "zero"))),
        "R3 one group": ("R3", Routing(**sigmoid, norm="sum",
                                       groups=Groups(1, 1, "top2sum"))),
        "R4": ("R4", Routing(k=k, scale=1.5,
                             groups=Groups(n, groups, "max", "zero"))),
        "R5 sigmoid": ("R5", Routing(**sigmoid, norm="sum", eps=1e-6)),
        "R5 sigmoid scaled": ("R5", Routing(**sigmoid, norm="sum", scale=1.8)),
        "R5 softmax": ("R5", Routing(k=k, norm="sum_clamp", eps=1e-12)),
        "R6": ("R6", Routing(k=2, score="sparsemixer", jitter=0.01)),
        "R7": ("R7", Routing(k=1)),
    }
    spelling, routing = table[kind]
    router = Router(spelling, routing, matrix)
    if kind in ("R2 biased",):
        router.bias = bias
    if spelling in ("R3", "R5"):
        router.correction = positive if "zero" in kind else correction
    return router
