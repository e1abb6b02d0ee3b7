"""D5, D8 and D9: every expert on every token."""
import numpy as np

from . import batched, parts


def dense_weights(b, rows, ids, weights, spec):
    """Weights as [tokens, E]."""
    shape = b.op("Concat", b.size(rows, 0), b.ints(spec.experts), axis=0)
    if b.torchscript:
        zeros = b.filled(shape, 0.0)
    else:
        zeros = b.op("Expand", b.float(0.0), shape)
    return b.op("ScatterElements", zeros, ids, weights, axis=1)


def tiled(b, rows, ids, weights, spec, bank):
    """D5: the rows once per expert, products in a batch of experts."""
    if b.torchscript:
        ones = b.filled(b.ints(2), 1, np.int64)
    else:
        ones = b.ints(1, 1)
    x = b.op("Tile", b.op("Expand", rows, ones), b.ints(spec.experts, 1))
    x = b.op("Reshape", x, b.ints(spec.experts, -1, spec.width))

    def product(x, array, bias):
        if bank.layout == "oi":
            if b.torchscript:
                matrices = b.weight(array.transpose(0, 2, 1))
            else:
                matrices = b.op("Transpose", b.weight(array), perm=[0, 2, 1])
        else:
            matrices = b.weight(array)
        y = b.op("MatMul", x, matrices)
        return y if bias is None else b.op("Add", y,
                                           b.weight(bias[:, None, :]))

    if bank.gate_up == "concat":
        # One matrix, split before the products.
        size = parts.inner_size(bank)
        axis = 1 if bank.layout == "oi" else 2
        pick = [slice(None)] * 3
        pair = []
        for half in (slice(0, size), slice(size, 2 * size)):
            pick[axis] = half
            bias = (None if bank.gate_bias is None
                    else bank.gate_bias[:, half])
            pair.append(product(x, bank.gate[tuple(pick)], bias))
        h = parts.activate(b, spec.activation, *pair)
    elif bank.gate_up == "separate":
        h = parts.activate(b, spec.activation,
                           product(x, bank.gate, bank.gate_bias),
                           product(x, bank.up, bank.up_bias))
    else:
        h = parts.gate_and_up(b, product(x, bank.gate, bank.gate_bias), bank,
                              spec.activation, 2)
    y = product(h, bank.down, bank.down_bias)
    y = b.op("Reshape", y, b.ints(spec.experts, -1, spec.width))
    dense = dense_weights(b, rows, ids, weights, spec)
    scale = b.unsqueeze(b.op("Transpose", dense, perm=[1, 0]), 2)
    return b.reduce("ReduceSum", b.op("Mul", y, scale), [0], 0)


def einsum_all(b, rows, ids, weights, spec, bank):
    """D5 by Einsum, matrices [E, in, out]."""
    banks = batched.stack(b, bank)
    order = "eoi" if bank.layout == "oi" else "eio"
    h = b.op("Einsum", rows, banks["gate"], equation=f"ti,{order}->teo")
    if "gate_bias" in banks:
        h = b.op("Add", h, banks["gate_bias"])
    h = parts.gate_and_up(b, h, bank, spec.activation, 2)
    y = b.op("Einsum", h, banks["down"], equation=f"tei,{order}->teo")
    if "down_bias" in banks:
        y = b.op("Add", y, banks["down_bias"])
    dense = dense_weights(b, rows, ids, weights, spec)
    return b.op("Einsum", y, dense, equation="teo,te->to")


def masked_sum(b, rows, ids, weights, spec, bank):
    """D8: each expert's results times its column of the dense weights."""
    dense = dense_weights(b, rows, ids, weights, spec)
    total = None
    for e in range(spec.experts):
        y = parts.expert(b, rows, bank, e, spec.activation)
        column = b.slice(dense, e, e + 1, 1)
        y = b.op("Mul", y, column)
        total = y if total is None else b.op("Add", total, y)
    return total


def equal_sum(b, rows, ids, weights, spec, bank):
    """D8: the column is the sum of w * (ids == e) over the slots."""
    total = None
    for e in range(spec.experts):
        hit = b.cast(b.op("Equal", ids, b.int(e)), 1)
        column = b.reduce("ReduceSum", b.op("Mul", weights, hit), [-1], 1)
        y = b.op("Mul", column, parts.expert(b, rows, bank, e,
                                             spec.activation))
        total = y if total is None else b.op("Add", total, y)
    return total


def stacked(b, rows, ids, weights, spec, bank):
    """D9: all results in a stack, the best k taken out by their ids."""
    results = [b.unsqueeze(parts.expert(b, rows, bank, e, spec.activation), 1)
               for e in range(spec.experts)]
    stack = b.op("Concat", *results, axis=1)
    wide = b.op("Concat", b.size(rows, 0), b.ints(spec.k, spec.width), axis=0)
    index = b.op("Expand", b.unsqueeze(ids, -1), wide)
    picked = b.op("GatherElements", stack, index, axis=1)
    y = b.op("Mul", picked, b.unsqueeze(weights, -1))
    return b.reduce("ReduceSum", y, [1], 0)
