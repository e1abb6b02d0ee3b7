"""Layers of experts as exporters and programs write them: graphs of ONNX nodes
of any size, made without the products of an exporter.

A form is a function of a Build (names, sizes, random weights) that adds its
nodes and returns the result; `FORMS` holds all of them by name. They are about
spellings of products, repeats, weights and sums; whole layers with routers are in forms/.
"""
import random

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Build:
    """A graph under construction; `op` returns the name of a result."""

    def __init__(self, seed, opset=18, **sizes):
        self.rng = np.random.default_rng(seed)
        self.pick = random.Random(seed)
        self.opset = opset
        self.nodes, self.initializers, self.inputs = [], [], []
        self.batch = 3
        self.seq = 5
        self.h, self.i, self.e, self.k = 24, 20, 6, 2
        self.__dict__.update(sizes)
        self.elements = TensorProto.FLOAT
        self.numpy = np.float32
        self.count = 0

    def name(self):
        self.count += 1
        return f"t{self.count}"

    def op(self, kind, *operands, outputs=1, **attributes):
        names = [self.name() for _ in range(outputs)]
        operands = [self.const(o) if isinstance(o, (list, np.ndarray)) or
                    isinstance(o, (int, float)) else o for o in operands]
        attributes = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(helper.make_node(kind, operands, names,
                                           name=f"n{self.count}", **attributes))
        return names[0] if outputs == 1 else names

    def const(self, value, dtype=None):
        array = np.asarray(value)
        if dtype is None:
            dtype = self.numpy if array.dtype.kind == "f" else np.int64
        name = self.name()
        self.initializers.append(
            numpy_helper.from_array(array.astype(dtype), name))
        return name

    def weight(self, *shape):
        scale = 1 / np.sqrt(shape[-1])
        return self.const(self.rng.standard_normal(shape) * scale)

    def input(self, name, shape, dtype=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    # --- pieces that many forms share ---------------------------------------

    def unsqueeze(self, x, *axes):
        return self.op("Unsqueeze", x, list(axes))

    def squeeze(self, x, *axes):
        return self.op("Squeeze", x, list(axes))

    def reshape(self, x, *shape):
        return self.op("Reshape", x, list(shape))

    def tokens(self):
        """[batch, seq, H] as [tokens, H]."""
        return self.reshape(self.x, -1, self.h)

    def top(self, rows, k=None, norm=True):
        """A plain router: ids and weights [.., k]."""
        logits = self.op("MatMul", rows, self.weight(self.h, self.e))
        probs = self.op("Softmax", logits, axis=-1)
        weights, ids = self.op("TopK", probs, [k or self.k], outputs=2, axis=-1)
        if norm and (k or self.k) > 1:
            weights = self.op("Div", weights,
                              self.op("ReduceSum", weights, [-1], keepdims=1))
        return ids, weights

    def silu(self, g):
        return self.op("Mul", g, self.op("Sigmoid", g))

    def act(self, h, kind, axis=-1):
        """The activation of `h`, whose axis `axis` holds gates and ups."""
        if kind == "relu":
            return self.op("Relu", h)
        if kind == "gelu":
            inner = self.op("Erf", self.op("Div", h, float(np.sqrt(2))))
            return self.op("Mul", h, self.op("Mul", self.op("Add", inner, 1.0),
                                             0.5))
        if kind == "concat":
            g, u = self.op("Split", h, outputs=2, axis=axis, num_outputs=2)
            return self.op("Mul", self.silu(g), u)
        if kind == "swapped":
            u, g = self.op("Split", h, outputs=2, axis=axis, num_outputs=2)
            return self.op("Mul", u, self.silu(g))
        assert kind == "oai"
        ends = [0x7fffffffffffffff]
        g = self.op("Slice", h, [0], ends, [axis], [2])
        u = self.op("Slice", h, [1], ends, [axis], [2])
        g = self.op("Min", g, 0.7)
        u = self.op("Clip", u, self.const(-0.7), self.const(0.7))
        a = self.op("Mul", g, self.op("Sigmoid", self.op("Mul", g, 1.702)))
        return self.op("Mul", a, self.op("Add", u, 1.0))

    def width(self, kind):
        return self.i * (2 if kind in ("concat", "swapped", "oai") else 1)

    # --- the model ------------------------------------------------------------

    def model(self, form, static=False, x_shape=None):
        shape = x_shape or ((self.batch, self.seq) if static else
                            ("b", "s")) + (self.h,)
        self.x = self.input("x", shape)
        self.nodes.append(helper.make_node("Identity", [form(self)], ["y"]))
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 3)
        graph = helper.make_graph(self.nodes, "g", self.inputs, [output],
                                  self.initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=10)
        onnx.checker.check_model(model)
        return model


# --- gathered weights (D3, D14, D15) ------------------------------------------


def repeat(b, rows, how, k):
    """Each row k times: [tokens * k, H]."""
    if how == "expand":
        return b.reshape(b.op("Expand", b.unsqueeze(rows, 1), [1, k, 1]),
                         -1, b.h)
    if how == "tile":
        return b.reshape(b.op("Tile", b.unsqueeze(rows, 1), [1, k, 1]), -1, b.h)
    if how == "concat":
        return b.reshape(b.op("Tile", rows, [1, k]), -1, b.h)
    shape = b.op("Shape", rows)
    count = b.op("Gather", shape, 0, axis=0)
    if how == "gather":
        index = b.op("Range", 0, b.op("Mul", count, k), 1)
        return b.op("Gather", rows, b.op("Div", index, k), axis=0)
    assert how == "arange"
    index = b.unsqueeze(b.op("Range", 0, count, 1), 1)
    index = b.op("Expand", index, [1, k])
    return b.op("GatherND", rows, b.unsqueeze(b.reshape(index, -1), -1))


def gather(b, bank, ids, how):
    if how == "nd":
        return b.op("GatherND", bank, b.unsqueeze(ids, -1))
    return b.op("Gather", bank, ids, axis=0)


def batched(b, how="expand", take="nd", order="wx", act="concat", bias=False,
            sum_as="reduce", choice_major=False, k=None, weigh="after"):
    """transformers' batched_mm and its relatives."""
    k = k or b.k
    rows = b.tokens()
    ids, weights = b.top(rows, k)
    if choice_major:
        x = b.reshape(b.op("Tile", b.unsqueeze(rows, 0), [k, 1, 1]), -1, b.h)
        ids = b.op("Transpose", ids, perm=[1, 0])
        weights = b.op("Transpose", weights, perm=[1, 0])
    else:
        x = repeat(b, rows, how, k)
    flat = b.reshape(ids, -1)
    width = b.width(act)
    hidden = bank_product(b, x, flat, width, b.h, order, take, bias)
    hidden = b.act(hidden, act)
    y = bank_product(b, hidden, flat, b.h, b.i, order, take, bias)
    w = b.unsqueeze(b.reshape(weights, -1), -1)
    if weigh == "after":
        y = b.op("Mul", y, w)
    if choice_major:
        return back(b, b.op("ReduceSum", b.reshape(y, k, -1, b.h), [0],
                            keepdims=0))
    y = b.reshape(y, -1, k, b.h)
    if weigh == "before":
        y = b.op("Mul", y, b.unsqueeze(weights, -1))
    if sum_as == "matmul":
        return back(b, b.op("MatMul", b.unsqueeze(weights, 1), y))
    if sum_as == "einsum":
        return back(b, b.op("Einsum", weights, y, equation="nk,nkh->nh"))
    return back(b, b.op("ReduceSum", y, [1], keepdims=0))


def back(b, y):
    shape = b.op("Shape", b.x)
    return b.op("Reshape", y, shape)


def bank_product(b, x, ids, out, inner, order, take, bias):
    """x [S, inner] times the matrices of ids [S]: [S, out]."""
    if order == "wx":
        w = gather(b, b.weight(b.e, out, inner), ids, take)
        y = b.squeeze(b.op("MatMul", w, b.unsqueeze(x, -1)), -1)
    elif order == "xw":
        w = gather(b, b.weight(b.e, inner, out), ids, take)
        y = b.squeeze(b.op("MatMul", b.unsqueeze(x, 1), w), 1)
    elif order == "xwt":
        w = gather(b, b.weight(b.e, out, inner), ids, take)
        w = b.op("Transpose", w, perm=[0, 2, 1])
        y = b.squeeze(b.op("MatMul", b.unsqueeze(x, 1), w), 1)
    elif order == "twx":
        bank = b.op("Transpose", b.weight(b.e, inner, out), perm=[0, 2, 1])
        w = gather(b, bank, ids, take)
        y = b.squeeze(b.op("MatMul", w, b.unsqueeze(x, -1)), -1)
    else:
        w = gather(b, b.weight(b.e, out, inner), ids, take)
        y = b.op("Einsum", x, w, equation="si,soi->so")
    if bias:
        y = b.op("Add", y, gather(b, b.weight(b.e, out), ids, take))
    return y


def einsum_slots(b, act="concat", bias=True):
    """W[ids] [N, k, ..] without a repeat: the product broadcasts tokens."""
    rows = b.tokens()
    ids, weights = b.top(rows)
    w1 = b.op("Gather", b.weight(b.e, b.width(act), b.h), ids, axis=0)
    h = b.op("Einsum", rows, w1, equation="nh,nkfh->nkf")
    if bias:
        h = b.op("Add", h, b.op("Gather", b.weight(b.e, b.width(act)), ids,
                                axis=0))
    w2 = b.op("Gather", b.weight(b.e, b.h, b.i), ids, axis=0)
    y = b.op("Einsum", b.act(h, act), w2, equation="nkf,nkhf->nkh")
    if bias:
        y = b.op("Add", b.op("Gather", b.weight(b.e, b.h), ids, axis=0), y)
    return back(b, b.op("Einsum", y, weights, equation="nkh,nk->nh"))


def matmul_slots(b):
    """The same on [batch, seq, k], x[:, :, None, None] @ W[ids]."""
    ids, weights = b.top(b.x)
    w1 = b.op("Gather", b.weight(b.e, b.h, b.i), ids, axis=0)
    h = b.op("Relu", b.op("MatMul", b.unsqueeze(b.x, 2, 3), w1))
    w2 = b.op("Gather", b.weight(b.e, b.i, b.h), ids, axis=0)
    y = b.squeeze(b.op("MatMul", h, w2), 3)
    y = b.op("Mul", b.unsqueeze(weights, -1), y)
    return b.op("ReduceSum", y, [2], keepdims=0)


def hashed(b):
    """k = 1, ids from a table of token ids, no weights (D14)."""
    table = b.const(b.rng.integers(0, b.e, 50))
    words = b.input("words", ["b", "s"], TensorProto.INT64)
    ids = b.op("Gather", table, words, axis=0)
    w1 = b.op("Gather", b.weight(b.e, b.h, b.i), ids, axis=0)
    h = b.act(b.op("MatMul", b.unsqueeze(b.x, 2), w1), "gelu")
    w2 = b.op("Gather", b.weight(b.e, b.i, b.h), ids, axis=0)
    y = b.squeeze(b.op("MatMul", h, w2), 2)
    return b.op("Add", b.x, y)


def signed_ids(b):
    """ids that are an input: negative ones count from the end."""
    ids = b.input("ids", ["b", "s"], TensorProto.INT64)
    w1 = b.op("Gather", b.weight(b.e, b.h, b.i), ids, axis=0)
    h = b.op("Relu", b.op("MatMul", b.unsqueeze(b.x, 2), w1))
    w2 = b.op("Gather", b.weight(b.e, b.i, b.h), ids, axis=0)
    return b.squeeze(b.op("MatMul", h, w2), 2)


def one_for_all(b, gemm=False):
    """One id for the whole batch (D15)."""
    mean = b.op("ReduceMean", b.x, [0, 1], keepdims=0)
    logits = b.op("MatMul", mean, b.weight(b.h, b.e))
    index = b.op("ArgMax", logits, axis=0, keepdims=0)
    w1 = b.op("Gather", b.weight(b.e, b.h, b.i), index, axis=0)
    w2 = b.op("Gather", b.weight(b.e, b.i, b.h), index, axis=0)
    if gemm:
        b1 = b.op("Gather", b.weight(b.e, b.i), index, axis=0)
        h = b.op("Relu", b.op("Gemm", b.tokens(), w1, b1))
        return back(b, b.op("Gemm", h, w2))
    return b.op("MatMul", b.op("Relu", b.op("MatMul", b.x, w1)), w2)


def one_per_row(b):
    """An id for each sequence of the batch."""
    mean = b.op("ReduceMean", b.x, [1], keepdims=0)
    index = b.op("ArgMax", b.op("MatMul", mean, b.weight(b.h, b.e)), axis=-1,
                 keepdims=0)
    w1 = b.op("Gather", b.weight(b.e, b.h, b.i), index, axis=0)
    w2 = b.op("Gather", b.weight(b.e, b.i, b.h), index, axis=0)
    return b.op("MatMul", b.op("Relu", b.op("MatMul", b.x, w1)), w2)


# --- all experts on all tokens (D5, D6, R15, D18) --------------------------------


def scatter(b, ids, weights, experts, rank=2, reduction=None):
    shape = b.op("Concat", b.op("Slice", b.op("Shape", ids), [0], [rank - 1]),
                 [experts], axis=0)
    zeros = b.op("Expand", 0.0, shape)
    return b.op("ScatterElements", zeros, ids, weights, axis=-1,
                reduction=reduction)


def tiled(b, act="concat", bias=False, gates="scatter", reduction=None):
    rows = b.tokens()
    x = b.reshape(b.op("Tile", rows, [b.e, 1]), b.e, -1, b.h)
    h = b.op("MatMul", x, b.weight(b.e, b.h, b.width(act)))
    if bias:
        h = b.op("Add", h, b.weight(b.e, 1, b.width(act)))
    y = b.op("MatMul", b.act(h, act), b.weight(b.e, b.i, b.h))
    if bias:
        y = b.op("Add", y, b.weight(b.e, 1, b.h))
    dense = dense_gates(b, rows, gates, reduction)
    w = b.unsqueeze(b.op("Transpose", dense, perm=[1, 0]), 2)
    return back(b, b.op("ReduceSum", b.op("Mul", y, w), [0], keepdims=0))


def dense_gates(b, rows, kind, reduction=None):
    """Weights [.., E]."""
    logits = b.op("MatMul", rows, b.weight(b.h, b.e))
    if kind == "soft":
        return b.op("Softmax", logits, axis=-1)
    values, ids = b.op("TopK", logits, [b.k], outputs=2, axis=-1)
    if kind == "scatter":
        return scatter(b, ids, b.op("Softmax", values, axis=-1), b.e,
                       reduction=reduction)
    if kind == "masked softmax":
        low = b.op("Expand", -np.inf, b.op("Shape", logits))
        return b.op("Softmax", b.op("ScatterElements", low, ids, values,
                                    axis=-1), axis=-1)
    if kind == "mask":
        mask = scatter(b, ids, b.op("Expand", 1.0, b.op("Shape", ids)), b.e)
        gates = b.op("Mul", mask, b.op("Softmax", logits, axis=-1))
        return b.op("Div", gates, b.op("ReduceSum", gates, [-1], keepdims=1))
    if kind == "where":
        mask = scatter(b, ids, b.op("Expand", 1.0, b.op("Shape", ids)), b.e)
        return b.op("Where", b.op("Cast", mask, to=TensorProto.BOOL),
                    b.op("Sigmoid", logits), 0.0)
    assert kind == "one hot"
    hot = b.op("OneHot", ids, b.e, b.const([0.0, 1.0]), axis=-1)
    w = b.unsqueeze(b.op("Sigmoid", values), -1)
    return b.op("ReduceSum", b.op("Mul", hot, w), [-2], keepdims=0)


def llama4(b, broadcast=False):
    """Scores scale what goes in; the others are zeros."""
    rows = b.tokens()
    logits = b.op("MatMul", rows, b.weight(b.h, b.e))
    values, ids = b.op("TopK", logits, [b.k], outputs=2, axis=-1)
    low = b.op("Expand", -np.inf, b.op("Shape", logits))
    scores = b.op("Sigmoid", b.op("ScatterElements", low, ids, values, axis=1))
    turned = b.op("Transpose", scores, perm=[1, 0])
    if broadcast:
        x = b.op("Mul", b.unsqueeze(rows, 0), b.unsqueeze(turned, -1))
    else:
        x = b.op("Mul", b.op("Tile", rows, [b.e, 1]), b.reshape(turned, -1, 1))
        x = b.reshape(x, b.e, -1, b.h)
    h = b.op("MatMul", x, b.weight(b.e, b.h, 2 * b.i))
    y = b.op("MatMul", b.act(h, "concat"), b.weight(b.e, b.i, b.h))
    y = b.op("ReduceSum", b.reshape(y, b.e, -1, b.h), [0], keepdims=0)
    return back(b, y)


def einsum_dense(b, gates="soft", last="three"):
    """btd,edf->btef and so on."""
    logits = b.op("MatMul", b.x, b.weight(b.h, b.e))
    if gates == "soft":
        g = b.op("Softmax", logits, axis=-1)
    else:
        values, ids = b.op("TopK", logits, [b.k], outputs=2, axis=-1)
        g = scatter(b, ids, b.op("Softmax", values, axis=-1), b.e, rank=3)
    h = b.op("Einsum", b.x, b.weight(b.e, b.h, b.i), equation="btd,edf->btef")
    h = b.op("Relu", b.op("Add", h, b.weight(b.e, b.i)))
    w2 = b.weight(b.e, b.i, b.h)
    if last == "three":
        return b.op("Einsum", h, w2, g, equation="btef,efd,bte->btd")
    y = b.op("Einsum", h, w2, equation="btef,efd->bted")
    if last == "two":
        return b.op("Einsum", g, y, equation="bte,bted->btd")
    y = b.op("Mul", y, b.unsqueeze(g, -1))
    return b.op("ReduceSum", y, [2], keepdims=0)


def lora(b):
    """A mixture of low-rank additions: no activation between (D18)."""
    logits = b.op("MatMul", b.x, b.weight(b.h, b.e))
    values, ids = b.op("TopK", b.op("Softmax", logits, axis=-1), [b.k],
                       outputs=2, axis=-1)
    g = scatter(b, ids, values, b.e, rank=3)
    a = b.op("Einsum", b.x, b.weight(b.e, b.h, 4), equation="btd,edr->bter")
    y = b.op("Einsum", a, b.weight(b.e, 4, b.h), g,
             equation="bter,ero,bte->bto")
    base = b.op("Add", b.op("MatMul", b.x, b.weight(b.h, b.h)), b.weight(b.h))
    return b.op("Add", base, y)


# --- experts with nodes of their own (D8, D9) ------------------------------------


def network(b, rows, act="concat", bias=False, gemm=False):
    width = b.width(act)
    if act == "concat" and not gemm:
        g = b.op("MatMul", rows, b.weight(b.h, b.i))
        u = b.op("MatMul", rows, b.weight(b.h, b.i))
        return b.op("MatMul", b.op("Mul", b.silu(g), u), b.weight(b.i, b.h))
    if gemm:
        h = b.op("Gemm", rows, b.weight(width, b.h), b.weight(width), transB=1)
        return b.op("Gemm", b.act(h, act), b.weight(b.h, b.i), transB=1)
    h = b.op("MatMul", rows, b.weight(b.h, width))
    if bias:
        h = b.op("Add", h, b.weight(width))
    y = b.op("MatMul", b.act(h, act), b.weight(b.i, b.h))
    return b.op("Add", b.weight(b.h), y) if bias else y


def column(b, gates, e, how, rank=3):
    if how == "slice":
        return b.op("Slice", gates, [e], [e + 1], [rank - 1])
    return b.unsqueeze(b.op("Gather", gates, e, axis=rank - 1), -1)


def masked(b, how="slice", soft=False, copies=0, shared=False, bias=False,
           shuffle=False):
    """f_0(x) * g[:, 0] + f_1(x) * g[:, 1] + .."""
    logits = b.op("MatMul", b.x, b.weight(b.h, b.e))
    if soft:
        gates = b.op("Softmax", logits, axis=-1)
    else:
        values, ids = b.op("TopK", b.op("Softmax", logits, axis=-1), [b.k],
                           outputs=2, axis=-1)
        gates = scatter(b, ids, values, b.e, rank=3)
    order = list(range(b.e))
    if shuffle:
        b.pick.shuffle(order)
    total = network(b, b.x) if shared else None
    for e in order:
        y = b.x if e >= b.e - copies else network(
            b, b.x, "gelu" if bias else "concat", bias)
        y = b.op("Mul", y, column(b, gates, e, how))
        total = b.op("Add", total, y) if total else y
    return total


def stack(b, axis=2, pick="elements", gemm=False):
    """Concat of all results, of which ids pick."""
    if gemm:
        rows, rank = b.tokens(), 2
    else:
        rows, rank = b.x, 3
    ys = [network(b, rows, "gelu", bias=not gemm, gemm=gemm)
          for _ in range(b.e)]
    axis = axis if axis < rank + 1 else rank
    y = b.op("Concat", *[b.unsqueeze(y, axis) for y in ys], axis=axis)
    if pick == "soft":
        gates = b.op("Softmax", b.op("MatMul", rows, b.weight(b.h, b.e)),
                     axis=-1)
        if axis == rank:
            y = b.squeeze(b.op("MatMul", y, b.unsqueeze(gates, -1)), rank)
        else:
            y = b.squeeze(b.op("MatMul", b.unsqueeze(gates, rank - 1), y),
                          rank - 1)
        return back(b, y)
    ids, weights = b.top(rows)
    index = b.op("Expand", b.unsqueeze(ids, -1), [1] * rank + [b.h])
    y = b.op("GatherElements", y, index, axis=axis)
    y = b.op("Mul", y, b.unsqueeze(weights, -1))
    return back(b, b.op("ReduceSum", y, [axis], keepdims=0))


def form(function, **settings):
    return lambda b: function(b, **settings)


FORMS = {
    "batched": form(batched),
    "batched_tile": form(batched, how="tile", take="gather"),
    "batched_concat": form(batched, how="concat"),
    "batched_gather": form(batched, how="gather", order="xw"),
    "batched_arange": form(batched, how="arange", act="gelu"),
    "batched_choices": form(batched, choice_major=True, act="relu"),
    "batched_oai": form(batched, order="xw", act="oai", bias=True),
    "batched_transposed": form(batched, order="xwt", take="gather"),
    "batched_transposed_bank": form(batched, order="twx", act="swapped"),
    "batched_einsum": form(batched, order="einsum", bias=True),
    "batched_weigh_before": form(batched, weigh="before"),
    "batched_matmul_sum": form(batched, sum_as="matmul", weigh=""),
    "batched_einsum_sum": form(batched, sum_as="einsum", weigh=""),
    "batched_top1": form(batched, k=1, act="relu"),
    "einsum_slots": form(einsum_slots),
    "matmul_slots": matmul_slots,
    "hashed": hashed,
    "signed_ids": signed_ids,
    "one_for_all": one_for_all,
    "one_for_all_gemm": form(one_for_all, gemm=True),
    "one_per_row": one_per_row,
    "tiled": form(tiled),
    "tiled_oai": form(tiled, act="oai", bias=True),
    "tiled_add": form(tiled, act="gelu", reduction="add"),
    "tiled_masked_softmax": form(tiled, gates="masked softmax"),
    "tiled_mask": form(tiled, gates="mask", act="relu"),
    "tiled_where": form(tiled, gates="where"),
    "tiled_one_hot": form(tiled, gates="one hot"),
    "tiled_soft": form(tiled, gates="soft", act="relu"),
    "llama4": llama4,
    "llama4_broadcast": form(llama4, broadcast=True),
    "einsum_soft": einsum_dense,
    "einsum_top": form(einsum_dense, gates="top", last="two"),
    "einsum_top_mul": form(einsum_dense, gates="top", last="mul"),
    "lora": lora,
    "masked": masked,
    "masked_gather": form(masked, how="gather", shuffle=True, bias=True),
    "masked_soft": form(masked, soft=True),
    "masked_copies": form(masked, copies=2),
    "masked_shared": form(masked, shared=True),
    "stack": stack,
    "stack_gemm": form(stack, axis=1, gemm=True),
    "stack_soft": form(stack, pick="soft"),
    "stack_soft_last": form(stack, axis=3, pick="soft"),
}
