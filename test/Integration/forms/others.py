"""Layers that are more than a router and a dispatch: D6, D10 to D16, D18 to
D20, routers R7 to R16.

Each class draws its constants, spells the layer on x [batch, seq, width] and
tells what it computes in float64, with a flag per token that says whether
float32 can tell its scores apart.
"""
import numpy as np
import onnx
from experts_oracle import ACTIVATIONS, sigmoid, softmax
from routing_oracle import (Routing, clear_ranks, order, pick_tokens,
                            sinkhorn_plan)

from . import batched, dense, loops, parts, routers
from .graph import FLOAT, INT64


def normal(random, *shape):
    scale = np.sqrt(shape[-1] if len(shape) > 1 else 1)
    return (random.standard_normal(shape) / scale).astype(np.float32)


def wide(array):
    return array.astype(np.float64)


class Layer:
    # Products that stay beside moe.experts: the router's, mostly.
    dense_products = 1
    # Without a batch of tokens: extents that the form has as constants.
    tokens = None

    def __init__(self, spec, random):
        self.spec = spec
        s = spec
        self.router = (2 * normal(random, s.experts, s.width)
                       ).astype(np.float32)
        # [E, in, out]
        columns = 2 * s.inner if s.gate_up == "concat" else s.inner
        self.up = normal(random, s.experts, s.width, columns)
        self.down = normal(random, s.experts, s.inner, s.width)

    def logits(self, b, x):
        """[batch, seq, E] of x; a product of rank 3."""
        return b.op("MatMul", x, b.weight(self.router.T))

    def expert(self, x, e):
        """f_e in float64."""
        h = x @ wide(self.up[e])
        if self.spec.gate_up == "concat":
            half = h.shape[-1] // 2
            h = ACTIVATIONS[self.spec.activation](h[..., :half], h[..., half:])
        else:
            h = ACTIVATIONS[self.spec.activation](h)
        return h @ wide(self.down[e])

    def activate(self, b, h, axis):
        if self.spec.gate_up == "concat":
            return parts.activate(b, self.spec.activation,
                                  *parts.halves(b, h, self.spec.inner, axis))
        return parts.activate(b, self.spec.activation, h)

    def all_logits(self, x):
        return x @ wide(self.router).T


class ScaledInputs(Layer):
    """D6 with R8, as Llama-4: sigmoid scores of the best k scale what goes in;
    others are 0, and experts without biases give 0 for 0."""

    def spell(self, b, x):
        s = self.spec
        rows = parts.flatten(b, x, s.width)
        logits = parts.linear(b, rows, self.router)
        values, ids = routers.top(b, logits, s.k, axis=1)
        fill = b.op("Expand", b.float(float("-inf")), b.op("Shape", logits))
        kept = b.op("ScatterElements", fill, ids, values, axis=1)
        scores = b.op("Sigmoid", kept)
        tiled = b.op("Tile", b.op("Expand", rows, b.ints(1, 1)),
                     b.ints(s.experts, 1))
        scale = b.op("Reshape", b.op("Transpose", scores, perm=[1, 0]),
                     b.ints(-1, 1))
        tiled = b.op("Reshape", b.op("Mul", tiled, scale),
                     b.ints(s.experts, -1, s.width))
        h = b.op("MatMul", tiled, b.weight(self.up))
        h = self.activate(b, h, 2)
        y = b.op("MatMul", h, b.weight(self.down))
        y = b.op("Reshape", y, b.ints(s.experts, -1, s.width))
        return parts.unflatten(b, b.reduce("ReduceSum", y, [0], 0), x, s.width)

    def reference(self, x):
        s = self.spec
        rows = x.reshape(-1, s.width)
        logits = self.all_logits(rows)
        ids = order(logits)[:, :s.k]
        clear = clear_ranks(logits, range(s.k), "lowest")[0]
        y = np.zeros_like(rows)
        for t, row in enumerate(rows):
            for e in ids[t]:
                y[t] += self.expert(sigmoid(logits[t, e]) * row, e)
        return y.reshape(x.shape), clear.reshape(x.shape[:2])


class Einsums(Layer):
    """D10 as V-MoE: top-k, positions in the order of slots then tokens, all
    that is past the capacity is dropped."""
    tokens = 16

    def spell(self, b, x):
        s, t, c = self.spec, self.tokens, self.spec.capacity
        scores = b.op("Softmax", self.logits(b, x), axis=-1)
        values, ids = routers.top(b, scores, s.k)
        arange = b.constant(np.arange(s.experts, dtype=np.int64))
        flat = b.op("Reshape", b.op("Transpose", ids, perm=[0, 2, 1]),
                    b.ints(-1, s.k * t))
        hot = b.cast(b.op("Equal", b.unsqueeze(flat, -1), arange), INT64)
        position = b.op("Sub", b.op("CumSum", hot, b.int(1)), b.int(1))

        def by_token(value):
            value = b.op("Reshape", value, b.ints(-1, s.k, t, s.experts))
            return b.op("Transpose", value, perm=[0, 2, 1, 3])

        position, hot = by_token(position), by_token(hot)
        keep = b.op("And", b.op("Greater", hot, b.int(0)),
                    b.op("Less", position, b.int(c)))
        full = b.op("Expand", b.int(c), b.op("Shape", position))
        slot = b.op("Where", keep, position, full)
        slots = b.constant(np.arange(c + 1, dtype=np.int64))
        place = b.cast(b.op("Equal", b.unsqueeze(slot, -1), slots), INT64)
        place = b.cast(b.slice(place, 0, c, 4), FLOAT)
        place = b.op("Mul", place, b.cast(b.unsqueeze(keep, -1), FLOAT))
        scale = b.unsqueeze(values, 3, 4)
        combine = b.reduce("ReduceSum", b.op("Mul", place, scale), [2], 0)
        dispatch = b.reduce("ReduceSum", place, [2], 0)
        h = b.op("Einsum", dispatch, x, equation="btec,btd->becd")
        h = b.op("Einsum", h, b.weight(self.up), equation="becd,edf->becf")
        h = self.activate(b, h, 3)
        y = b.op("Einsum", h, b.weight(self.down), equation="becf,efd->becd")
        return b.op("Einsum", combine, y, equation="btec,becd->btd")

    def reference(self, x):
        s = self.spec
        y, clear = np.zeros_like(x), np.ones(x.shape[:2], bool)
        for group, rows in enumerate(x):
            scores = softmax(self.all_logits(rows))
            ids = order(scores)[:, :s.k]
            # One unclear choice moves all that come after it.
            clear[group] = clear_ranks(scores, range(s.k), "lowest")[1].all()
            count = np.zeros(s.experts, int)
            for slot in range(s.k):
                for t, row in enumerate(rows):
                    e = ids[t, slot]
                    if count[e] < s.capacity:
                        y[group, t] += scores[t, e] * self.expert(row, e)
                    count[e] += 1
        return y, clear


class Buffer(Layer):
    """D11 as Tutel: rows scattered into [E * C + 1, width], the last row for
    what is dropped."""

    def spell(self, b, x):
        s, c = self.spec, self.spec.capacity
        rows = parts.flatten(b, x, s.width)
        scores = routers.softmax(b, parts.linear(b, rows, self.router))
        values, ids = routers.top(b, scores, s.k)
        values = routers.renormalise(b, values)
        arange = b.constant(np.arange(s.experts, dtype=np.int64))
        flat = b.op("Reshape", b.op("Transpose", ids, perm=[1, 0]),
                    b.ints(-1))
        hot = b.cast(b.op("Equal", b.unsqueeze(flat, -1), arange), INT64)
        before = b.op("Sub", b.op("CumSum", hot, b.int(0)), b.int(1))
        place = b.op("GatherElements", before, b.unsqueeze(flat, 1), axis=1)
        place = b.op("Gather", place, b.int(0), axis=1)
        fits = b.op("Less", place, b.int(c))
        slot = b.op("Add", b.op("Mul", flat, b.int(c)), place)
        last = b.op("Expand", b.int(s.experts * c), b.op("Shape", place))
        slot = b.op("Where", fits, slot, last)
        width = b.op("Concat", b.op("Shape", slot), b.ints(s.width), axis=0)
        index = b.op("Expand", b.unsqueeze(slot, 1), width)
        many = b.op("Tile", b.op("Expand", rows, b.ints(1, 1)),
                    b.ints(s.k, 1))
        zeros = b.weight(np.zeros((s.experts * c + 1, s.width), np.float32))
        held = b.op("ScatterElements", zeros, index, many, axis=0)
        held = b.slice(held, 0, s.experts * c, 0)
        held = b.op("Reshape", held, b.ints(s.experts, c, s.width))
        h = self.activate(b, b.op("MatMul", held, b.weight(self.up)), 2)
        y = b.op("MatMul", h, b.weight(self.down))
        y = b.op("Reshape", y, b.ints(s.experts * c, s.width))
        none = b.weight(np.zeros((1, s.width), np.float32))
        y = b.take_rows(b.op("Concat", y, none, axis=0), slot)
        y = b.op("Reshape", y, b.ints(s.k, -1, s.width))
        scale = b.unsqueeze(b.op("Transpose", values, perm=[1, 0]), -1)
        y = b.reduce("ReduceSum", b.op("Mul", y, scale), [0], 0)
        return parts.unflatten(b, y, x, s.width)

    def reference(self, x):
        s = self.spec
        rows = x.reshape(-1, s.width)
        scores = softmax(self.all_logits(rows))
        ids = order(scores)[:, :s.k]
        clear = clear_ranks(scores, range(s.k), "lowest")[1].all()
        w = np.take_along_axis(scores, ids, 1)
        w = w / w.sum(-1, keepdims=True)
        y, count = np.zeros_like(rows), np.zeros(s.experts, int)
        for slot in range(s.k):
            for t, row in enumerate(rows):
                e = ids[t, slot]
                if count[e] < s.capacity:
                    y[t] += w[t, slot] * self.expert(row, e)
                count[e] += 1
        return y.reshape(x.shape), np.full(x.shape[:2], clear)


class SwitchLayer(Layer):
    """R7 with its capacity, experts as modules, dense: Switch."""

    def spell(self, b, x):
        s = self.spec
        scores = b.op("Softmax", self.logits(b, x), axis=-1)
        ids = b.op("ArgMax", scores, axis=-1, keepdims=0,
                   select_last_index=0)
        if b.torchscript:
            hot = b.op("OneHot", ids, b.int(s.experts),
                       b.constant(np.array([0, 1], np.int64)), axis=-1)
        else:
            arange = b.constant(np.arange(s.experts, dtype=np.int64))
            hot = b.cast(b.op("Equal", b.unsqueeze(ids, -1), arange), INT64)
        fits = b.op("LessOrEqual", b.op("CumSum", hot, b.int(-2)),
                    b.int(s.capacity))
        hot = b.op("Mul", hot, b.cast(fits, INT64))
        best = b.unsqueeze(b.reduce("ReduceMax", scores, [-1], 0), -1)
        total = None
        for e in range(s.experts):
            h = self.activate(b, b.op("MatMul", x, b.weight(self.up[e])), 2)
            y = b.op("MatMul", h, b.weight(self.down[e]))
            column = b.cast(b.slice(hot, e, e + 1, 2), FLOAT)
            y = b.op("Mul", column, y)
            total = y if total is None else b.op("Add", total, y)
        return b.op("Mul", total, best)

    def reference(self, x):
        s = self.spec
        y, clear = np.zeros_like(x), np.ones(x.shape[:2], bool)
        for group, rows in enumerate(x):
            if not len(rows):
                continue
            scores = softmax(self.all_logits(rows))
            ids = order(scores)[:, 0]
            clear[group] = clear_ranks(scores, [0], "lowest")[0].all()
            count = np.zeros(s.experts, int)
            for t, row in enumerate(rows):
                e = ids[t]
                count[e] += 1
                if count[e] <= s.capacity:
                    y[group, t] = scores[t, e] * self.expert(row, e)
        return y, clear


class ExpertChoice(Layer):
    """D12 with R10: each expert takes its best C tokens of each group."""
    tokens = 16

    def spell(self, b, x):
        s, c = self.spec, self.spec.capacity
        scores = b.op("Softmax", self.logits(b, x), axis=-1)
        scores = b.op("Transpose", scores, perm=[0, 2, 1])
        values, ids = routers.top(b, scores, c)
        if s.variant == "one-hot":
            arange = b.constant(np.arange(self.tokens, dtype=np.int64))
            hot = b.cast(b.op("Equal", b.unsqueeze(ids, -1), arange), FLOAT)
            some = b.op("Einsum", hot, x, equation="ijkl,ild->ijkd")
        else:
            many = b.op("Expand", b.unsqueeze(x, 1),
                        b.ints(1, s.experts, 1, 1))
            index = b.op("Expand", b.unsqueeze(ids, -1),
                         b.ints(1, 1, 1, s.width))
            some = b.op("GatherElements", many, index, axis=2)
        h = b.op("Einsum", some, b.weight(self.up), equation="becd,edf->becf")
        h = self.activate(b, h, 3)
        y = b.op("Einsum", h, b.weight(self.down), equation="becf,efd->becd")
        if s.variant == "one-hot":
            return b.op("Einsum", hot, values, y,
                        equation="ijkl,ijk,ijkd->ild")
        y = b.op("Mul", y, b.unsqueeze(values, -1))
        index = b.op("Expand", b.op("Reshape", ids,
                                    b.ints(-1, s.experts * c, 1)),
                     b.ints(1, 1, s.width))
        y = b.op("Reshape", y, b.ints(-1, s.experts * c, s.width))
        return b.op("ScatterElements", b.zeros_like(x), index, y, axis=1,
                    reduction="add")

    def reference(self, x):
        s = self.spec
        y, clear = np.zeros_like(x), np.ones(x.shape[:2], bool)
        for group, rows in enumerate(x):
            scores = softmax(self.all_logits(rows))
            ids, w, sure = pick_tokens(scores, s.capacity)
            clear[group] = sure.all()
            for e in range(s.experts):
                for t, weight in zip(ids[e], w[e]):
                    y[group, t] += weight * self.expert(rows[t], e)
        return y, clear


class Soft(Layer):
    """D13 with R11: slots are mixtures of tokens, tokens mixtures of slots."""
    dense_products = 3

    def __init__(self, spec, random):
        super().__init__(spec, random)
        self.phi = normal(random, spec.width, spec.experts * spec.slots)

    def spell(self, b, x):
        s = self.spec
        logits = b.op("MatMul", x, b.weight(self.phi))
        into = b.op("Softmax", logits, axis=1)
        back = b.op("Softmax", logits, axis=2)
        slots = b.op("MatMul", b.op("Transpose", into, perm=[0, 2, 1]), x)
        slots = b.op("Reshape", slots,
                     b.ints(-1, s.experts, s.slots, s.width))
        h = self.activate(b, b.op("MatMul", slots, b.weight(self.up)), 3)
        y = b.op("MatMul", h, b.weight(self.down))
        y = b.op("Reshape", y, b.ints(-1, s.experts * s.slots, s.width))
        return b.op("MatMul", back, y)

    def reference(self, x):
        s = self.spec
        logits = x @ wide(self.phi)
        slots = np.swapaxes(softmax(logits, 1), 1, 2) @ x
        y = np.stack([self.expert(slots[:, i], i // s.slots)
                      for i in range(s.experts * s.slots)], 1)
        return softmax(logits, 2) @ y, np.ones(x.shape[:2], bool)


class Sinkhorn(Layer):
    """D14 with R13: the best expert by a balanced plan, weight its sigmoid."""
    dense_products = 1

    def spell(self, b, x):
        s = self.spec
        rows = parts.flatten(b, x, s.width)
        logits = parts.linear(b, rows, self.router)
        kernel = b.op("Exp", logits)
        tokens = b.cast(b.op("Mul", b.squeeze(b.size(x, 1)),
                             b.squeeze(b.size(x, 0))), FLOAT)
        share = b.op("Div", b.float(1.0), tokens)
        columns = b.weight(np.ones(s.experts, np.float32))
        for _ in range(s.iterations):
            sums = b.reduce("ReduceSum", b.op("Mul", columns, kernel), [1], 0)
            scale = b.op("Mul", b.op("Reciprocal", sums), share)
            sums = b.reduce("ReduceSum",
                            b.op("Mul", b.unsqueeze(scale, -1), kernel), [0],
                            0)
            columns = b.op("Mul", b.op("Reciprocal", sums),
                           b.float(1.0 / s.experts))
        plan = b.op("Mul", b.op("Mul", columns, kernel),
                    b.unsqueeze(scale, -1))
        ids = b.op("ArgMax", plan, axis=1, keepdims=0, select_last_index=0)
        weight = b.op("GatherElements", b.op("Sigmoid", logits),
                      b.unsqueeze(ids, -1), axis=1)
        h = b.op("MatMul", b.unsqueeze(rows, 1),
                 b.take_rows(b.weight(self.up), ids))
        h = self.activate(b, h, 2)
        y = b.op("MatMul", h, b.take_rows(b.weight(self.down), ids))
        y = b.op("Mul", b.squeeze(y, 1), weight)
        return parts.unflatten(b, y, x, s.width)

    def reference(self, x):
        s = self.spec
        rows = x.reshape(-1, s.width)
        logits = self.all_logits(rows)
        plan = sinkhorn_plan(logits, s.iterations)
        ids = order(plan)[:, 0]
        # Rounding adds up over the iterations: a wider margin.
        best = np.sort(plan, -1)[:, -2:] if len(plan) else np.ones((0, 2))
        clear = best[:, 0] < best[:, 1] * (1 - 1e-4)
        y = np.zeros_like(rows)
        for t, row in enumerate(rows):
            y[t] = sigmoid(logits[t, ids[t]]) * self.expert(row, ids[t])
        return y.reshape(x.shape), clear.reshape(x.shape[:2])


class Hash(Layer):
    """D14 with R12: a constant table from token ids to experts."""
    dense_products = 0
    vocabulary = 61

    def __init__(self, spec, random):
        super().__init__(spec, random)
        self.table = random.integers(0, spec.experts, self.vocabulary)

    def spell(self, b, x, tokens):
        s = self.spec
        rows = parts.flatten(b, x, s.width)
        flat = b.op("Reshape", tokens, b.ints(-1))
        ids = b.take_rows(b.weight(self.table), flat)
        h = b.op("MatMul", b.unsqueeze(rows, 1),
                 b.take_rows(b.weight(self.up), ids))
        h = self.activate(b, h, 2)
        y = b.op("MatMul", h, b.take_rows(b.weight(self.down), ids))
        return parts.unflatten(b, b.squeeze(y, 1), x, s.width)

    def reference(self, x, tokens):
        y = np.zeros_like(x)
        for at in np.ndindex(*tokens.shape):
            y[at] = self.expert(x[at], self.table[tokens[at]])
        return y, np.ones(x.shape[:2], bool)


class OneForAll(Layer):
    """D15 with R14: the batch has one expert, chosen by its mean."""

    def spell(self, b, x):
        mean = b.reduce("ReduceMean", x, [0, 1], 0)
        logits = b.op("MatMul", mean, b.weight(self.router.T))
        chosen = b.op("ArgMax", logits, axis=-1, keepdims=0,
                      select_last_index=0)
        h = b.op("MatMul", x, b.op("Gather", b.weight(self.up), chosen,
                                   axis=0))
        h = self.activate(b, h, 2)
        return b.op("MatMul", h, b.op("Gather", b.weight(self.down), chosen,
                                      axis=0))

    def reference(self, x):
        if not x.size:
            return x, np.ones(x.shape[:2], bool)
        logits = self.all_logits(x.mean((0, 1))[None])
        clear = clear_ranks(logits, [0], "lowest")[0][0]
        return (self.expert(x, order(logits)[0, 0]),
                np.full(x.shape[:2], clear))


class MultiGate(Layer):
    """R15, as MMoE: all experts, weights from a softmax, no choice."""

    def spell(self, b, x):
        s = self.spec
        gate = b.op("Softmax", self.logits(b, x), axis=-1)
        results = []
        for e in range(s.experts):
            h = self.activate(b, b.op("MatMul", x, b.weight(self.up[e])), 2)
            y = b.op("MatMul", h, b.weight(self.down[e]))
            results.append(y if s.variant == "sum" else b.unsqueeze(y, 2))
        if s.variant == "sum":
            total = None
            for e, y in enumerate(results):
                y = b.op("Mul", b.slice(gate, e, e + 1, 2), y)
                total = y if total is None else b.op("Add", total, y)
            return total
        stack = b.op("Concat", *results, axis=2)
        y = b.op("Mul", stack, b.unsqueeze(gate, -1))
        return b.reduce("ReduceSum", y, [2], 0)

    def reference(self, x):
        gate = softmax(self.all_logits(x))
        y = sum(gate[..., e:e + 1] * self.expert(x, e)
                for e in range(self.spec.experts))
        return y, np.ones(x.shape[:2], bool)


class Lora(Layer):
    """D18: a dense layer and a mixture of low-rank ones."""
    dense_products = 2

    def __init__(self, spec, random):
        super().__init__(spec, random)
        self.base = normal(random, spec.width, spec.width)

    def spell(self, b, x):
        s = self.spec
        scores = b.op("Softmax", self.logits(b, x), axis=-1)
        values, ids = routers.top(b, scores, s.k)
        values = routers.renormalise(b, values)
        shape = b.op("Concat", b.size(x, 0), b.size(x, 1),
                     b.ints(s.experts), axis=0)
        gate = b.op("ScatterElements", b.op("Expand", b.float(0.0), shape),
                    ids, values, axis=-1)
        base = b.op("MatMul", x, b.weight(self.base))
        low = b.op("Einsum", x, b.weight(self.up.transpose(0, 2, 1)),
                   equation="btd,erd->bter")
        high = b.op("Einsum", gate, low,
                    b.weight(self.down.transpose(0, 2, 1)),
                    equation="bte,bter,eor->bto")
        return b.op("Add", base, b.op("Mul", high, b.float(2.0)))

    def reference(self, x):
        s = self.spec
        flat = x.reshape(-1, s.width)
        scores = softmax(self.all_logits(flat))
        ids = order(scores)[:, :s.k]
        clear = clear_ranks(scores, range(s.k), "lowest")[0]
        y = flat @ wide(self.base)
        for t, row in enumerate(flat):
            total = scores[t, ids[t]].sum()
            for e in ids[t]:
                y[t] += 2 * scores[t, e] / total * self.expert(row, e)
        return y.reshape(x.shape), clear.reshape(x.shape[:2])


class ProductKeys(Layer):
    """D19 with R9, as Doge: experts of one neuron, found by the sum of a row's
    and a column's score."""

    def __init__(self, spec, random):
        super().__init__(spec, random)
        self.side = int(round(np.sqrt(spec.experts)))
        self.keys = (2 * normal(random, 2 * self.side, spec.width)
                     ).astype(np.float32)
        self.into = normal(random, spec.experts, spec.width)
        self.out = normal(random, spec.experts, spec.width)

    def spell(self, b, x):
        s, n = self.spec, self.side
        scores = b.op("MatMul", x, b.weight(self.keys.T))
        scores = b.op("Reshape", scores, b.ints(2, -1, n))
        values, index = routers.top(b, scores, n)

        def part(value, i):
            return b.squeeze(b.slice(value, i, i + 1, 0), 0)

        sums = b.op("Add", b.unsqueeze(part(values, 0), -1),
                    b.unsqueeze(part(values, 1), -2))
        ids = b.op("Add", b.op("Mul", b.unsqueeze(part(index, 0), -1),
                               b.int(n)),
                   b.unsqueeze(part(index, 1), -2))
        sums = b.op("Reshape", sums, b.ints(-1, n * n))
        ids = b.op("Reshape", ids, b.ints(-1, n * n))
        best, at = routers.top(b, sums, s.k)
        ids = b.op("GatherElements", ids, at, axis=-1)
        weights = b.op("Softmax", best, axis=-1)
        into = b.op("Gather", b.weight(self.into), ids, axis=0)
        out = b.op("Gather", b.weight(self.out), ids, axis=0)
        h = b.op("MatMul", into, b.op("Reshape", x, b.ints(-1, s.width, 1)))
        h = parts.silu(b, b.op("Reshape", h, b.ints(-1, s.k)))
        h = b.op("Reshape", b.op("Mul", h, weights), b.ints(-1, 1, s.k))
        y = b.op("MatMul", h, out)
        return b.op("Reshape", y, b.op("Concat", b.size(x, 0), b.size(x, 1),
                                       b.ints(-1), axis=0))

    def reference(self, x):
        s, n = self.spec, self.side
        rows = x.reshape(-1, s.width)
        # The exporter's reshape cuts the scores [tokens, 2 n] as they lie.
        cut = (rows @ wide(self.keys).T).reshape(2, -1, n)
        sums = (cut[0][:, :, None] + cut[1][:, None, :]).reshape(-1, n * n)
        ids = order(sums)[:, :s.k]
        size = (np.abs(cut[0])[:, :, None]
                + np.abs(cut[1])[:, None, :]).reshape(-1, n * n)
        part = np.broadcast_to(cut[0][:, :, None], (len(rows), n, n)
                               ).reshape(-1, n * n)
        clear = clear_ranks(sums, range(s.k), "lowest", size, part)[0]
        y = np.zeros_like(rows)
        for t, row in enumerate(rows):
            w = softmax(sums[t, ids[t]])
            h = wide(self.into)[ids[t]] @ row
            y[t] = (w * h * sigmoid(h)) @ wide(self.out)[ids[t]]
        return y.reshape(x.shape), clear.reshape(x.shape[:2])


class Depths(Layer):
    """D20: mixture of depths: the best C tokens go through one network."""
    tokens = 16
    dense_products = 3

    def spell(self, b, x):
        s, c = self.spec, self.spec.capacity
        scores = b.squeeze(b.op("MatMul", x, b.weight(self.router[:1].T)), -1)
        values, ids = routers.top(b, scores, c, 0, axis=1)
        ids, at = b.argsort(ids, 1)
        values = b.op("GatherElements", values, at, axis=1)
        index = b.op("Expand", b.unsqueeze(ids, -1), b.ints(1, 1, s.width))
        some = b.op("GatherElements", x, index, axis=1)
        h = self.activate(b, b.op("MatMul", some, b.weight(self.up[0])), 2)
        y = b.op("MatMul", h, b.weight(self.down[0]))
        y = b.op("Mul", y, b.unsqueeze(b.op("Sigmoid", values), -1))
        return b.op("ScatterElements", x, index, y, axis=1, reduction="add")

    def reference(self, x):
        s = self.spec
        y, clear = x.copy(), np.ones(x.shape[:2], bool)
        for group, rows in enumerate(x):
            scores = rows @ wide(self.router[0])
            ids, _, sure = pick_tokens(scores[:, None], s.capacity)
            clear[group] = sure.all()
            for t in ids[0]:
                y[group, t] += sigmoid(scores[t]) * self.expert(rows[t], 0)
        return y, clear


class Trivial(Layer):
    """R16, as MoE++: ids past the experts are zero, copy and constant."""

    def __init__(self, spec, random):
        super().__init__(spec, random)
        self.router = (2 * normal(random, spec.experts + 3, spec.width)
                       ).astype(np.float32)
        self.vector = normal(random, spec.width)
        self.mixer = normal(random, 2, spec.width)
        # The router and the gate of the constant expert.
        self.dense_products = 2

    def spell(self, b, x):
        s = self.spec
        rows = parts.flatten(b, x, s.width)
        scores = routers.softmax(b, parts.linear(b, rows, self.router))
        values, ids = routers.top(b, scores, s.k)
        values = routers.renormalise(b, values)

        def column(e):
            hit = b.cast(b.op("Equal", ids, b.int(e)), FLOAT)
            return b.reduce("ReduceSum", b.op("Mul", values, hit), [-1], 1)

        zeros = loops.start(b, rows)
        total = zeros
        for e in range(s.experts):
            token, slot = loops.pairs(b, b.op("Equal", ids, b.int(e)))
            some = b.take_rows(rows, token)
            h = self.activate(b, parts.linear(b, some, self.up[e].T), 1)
            y = b.op("Mul", parts.linear(b, h, self.down[e].T),
                     loops.weight_of(b, values, token, slot))
            total = loops.index_add(b, total, zeros, token, y, s.width)
        total = b.op("Add", total, b.op("Mul", rows, column(s.experts + 1)))
        share = b.op("Softmax", parts.linear(b, rows, self.mixer), axis=-1)
        kept = b.op("Mul", b.slice(share, 0, 1, 1), rows)
        given = b.op("Mul", b.slice(share, 1, 2, 1), b.weight(self.vector))
        mixed = b.op("Mul", b.op("Add", kept, given), column(s.experts + 2))
        return parts.unflatten(b, b.op("Add", total, mixed), x, s.width)

    def reference(self, x):
        s = self.spec
        rows = x.reshape(-1, s.width)
        scores = softmax(self.all_logits(rows))
        ids = order(scores)[:, :s.k]
        clear = clear_ranks(scores, range(s.k), "lowest")[0]
        y = np.zeros_like(rows)
        for t, row in enumerate(rows):
            w = scores[t, ids[t]] / scores[t, ids[t]].sum()
            a = softmax(wide(self.mixer) @ row)
            for e, weight in zip(ids[t], w):
                if e < s.experts:
                    y[t] += weight * self.expert(row, e)
                elif e == s.experts + 1:
                    y[t] += weight * row
                elif e == s.experts + 2:
                    y[t] += weight * (a[0] * row + a[1] * wide(self.vector))
        return y.reshape(x.shape), clear.reshape(x.shape[:2])


class Contrib(Layer):
    """D16: com.microsoft.MoE with the logits."""

    def spell(self, b, x):
        s = self.spec
        b.domains.add("com.microsoft")
        rows = parts.flatten(b, x, s.width)
        logits = parts.linear(b, rows, self.router)
        name = b.name()
        b.nodes.append(onnx.helper.make_node(
            "MoE", [rows, logits, b.weight(self.up.transpose(0, 2, 1)), "",
                    b.weight(self.down.transpose(0, 2, 1))], [name],
            domain="com.microsoft", k=s.k, activation_type=s.activation,
            normalize_routing_weights=1))
        return parts.unflatten(b, name, x, s.width)

    def reference(self, x):
        s = self.spec
        rows = x.reshape(-1, s.width)
        scores = softmax(self.all_logits(rows))
        ids = order(scores)[:, :s.k]
        clear = clear_ranks(scores, range(s.k), "lowest")[0]
        y = np.zeros_like(rows)
        for t, row in enumerate(rows):
            w = scores[t, ids[t]] / scores[t, ids[t]].sum()
            for e, weight in zip(ids[t], w):
                y[t] += weight * self.expert(row, e)
        return y.reshape(x.shape), clear.reshape(x.shape[:2])
