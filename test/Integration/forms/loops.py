"""D1 and D2: a loop over experts, unrolled by the exporter."""
import numpy as np

from . import parts
from .graph import BOOL, FLOAT, INT64, LAST


def expert_mask(b, ids, experts):
    """One-hot ids as [E, k, tokens]."""
    if b.torchscript:
        hot = b.op("OneHot", ids, b.int(experts),
                   b.constant(np.array([0, 1], np.int64)), axis=-1)
    else:
        arange = b.constant(np.arange(experts, dtype=np.int64))
        hot = b.cast(b.op("Equal", b.unsqueeze(ids, -1), arange), INT64)
    return b.op("Transpose", hot, perm=[2, 1, 0])


def pairs(b, selected):
    """Rows and columns at which a matrix is not 0: two vectors."""
    if b.torchscript:
        selected = b.cast(selected, BOOL)
    both = b.op("Transpose", b.op("NonZero", selected), perm=[1, 0])
    if b.torchscript:
        columns = b.split(both, [1, 1], 1)
    else:
        columns = [b.slice(both, 0, 1, 1), b.slice(both, 1, 2, 1)]
    return [b.squeeze(column, 1) for column in columns]


def rows_of(b, rows, token, width, with_none):
    """x[token], or x[None, token] of rank 3 and reshaped back."""
    if not with_none:
        return b.take_rows(rows, token)
    wide = b.op("Transpose", b.unsqueeze(rows, 0), perm=[1, 0, 2])
    some = b.op("Transpose", b.take_rows(wide, token), perm=[1, 0, 2])
    return b.op("Reshape", some, b.ints(-1, width))


def weight_of(b, weights, token, slot):
    """weights[token, slot, None], [pairs, 1]."""
    wide = b.unsqueeze(weights, 2)
    if not b.torchscript:
        index = b.op("Concat", b.unsqueeze(token, -1), b.unsqueeze(slot, -1),
                     axis=-1)
        return b.op("GatherND", wide, index)
    shape = b.op("Shape", wide)
    slots = b.op("Gather", shape, b.ints(1), axis=0)
    one = b.op("Gather", shape, b.ints(2), axis=0)
    flat = b.op("Flatten", wide, axis=2)
    index = b.op("Add", slot, b.op("Mul", token, slots))
    taken = b.op("Gather", flat, index, axis=0)
    taken = b.op("Reshape", taken, b.op("Concat", b.ints(-1), one, axis=0))
    whole = b.op("Concat", b.op("Shape", index), one, axis=0)
    return b.op("Reshape", taken, whole)


def index_add(b, total, zeros, token, rows, width):
    """total.index_add(0, token, rows)."""
    if not b.torchscript:
        return b.op("ScatterND", total, b.unsqueeze(token, -1), rows,
                    reduction="add")
    shape = b.op("Shape", total)
    tail = b.op("Slice", shape, b.ints(1), b.ints(LAST), b.ints(0))
    whole = b.op("Concat", b.ints(1), tail, axis=0)
    rows = b.op("Expand", rows, whole)
    index = b.op("Expand", b.unsqueeze(token, 1), b.op("Shape", rows))
    added = b.op("ScatterElements", zeros, index, rows, axis=0)
    return b.op("Add", total, added)


def start(b, rows):
    zeros = b.zeros_like(rows)
    if b.torchscript:
        zeros = b.filled(b.op("Shape", rows), 0.0)
    return zeros


def add_expert(b, total, zeros, rows, weights, selected, spec, network):
    """One turn of the loop: `network` maps the expert's rows to its results."""
    slot, token = pairs(b, selected)
    some = rows_of(b, rows, token, spec.width, spec.variant == "none index")
    y = network(some)
    y = b.op("Mul", y, weight_of(b, weights, token, slot))
    if b.torchscript:
        y = b.cast(y, FLOAT)
    return index_add(b, total, zeros, token, y, spec.width)


def static_loop(b, rows, ids, weights, spec, bank):
    """D1: every expert has its turn, also without rows."""
    mask = expert_mask(b, ids, spec.experts)
    zeros = start(b, rows)
    total = zeros
    for e in range(spec.experts):
        selected = b.op("Gather", mask, b.int(e), axis=0)
        total = add_expert(
            b, total, zeros, rows, weights, selected, spec,
            lambda some, e=e: parts.expert(b, some, bank, e, spec.activation))
    return total


def where_loop(b, rows, ids, weights, spec, bank):
    """D1 without a mask: token, slot = where(ids == e)."""
    zeros = start(b, rows)
    total = zeros
    for e in range(spec.experts):
        selected = b.op("Equal", ids, b.int(e))
        token, slot = pairs(b, selected)
        some = b.take_rows(rows, token)
        y = parts.expert(b, some, bank, e, spec.activation)
        y = b.op("Mul", y, weight_of(b, weights, token, slot))
        total = index_add(b, total, zeros, token, y, spec.width)
    return total


def hit_list(b, mask, count):
    """Ids of experts with rows, one [1] each, split into a fixed number."""
    hits = b.op("Greater", b.reduce("ReduceSum", mask, [-1, -2], 0), b.int(0))
    found = b.op("Transpose", b.op("NonZero", hits), perm=[1, 0])
    split = b.split(found, [1] * count, 0)
    split = [split] if count == 1 else split
    return [b.squeeze(part, 0) for part in split]


def stacked_expert(b, some, bank, chosen, banks, spec):
    """An expert whose matrices are taken from stacked ones by a computed id."""
    def product(x, field):
        matrix = b.op("Gather", banks[field], chosen, axis=0)
        if bank.layout == "oi":
            matrix = b.op("Transpose", matrix, perm=[1, 0])
        y = b.op("MatMul", x, matrix)
        if field + "_bias" in banks:
            y = b.op("Add", y, b.op("Gather", banks[field + "_bias"], chosen,
                                    axis=0))
        return y

    h = product(some, "gate")
    if bank.gate_up == "separate":
        h = parts.activate(b, spec.activation, h, product(some, "up"))
    else:
        h = parts.gate_and_up(b, h, bank, spec.activation, 1)
    return product(h, "down")


def hit_loop(b, rows, ids, weights, spec, bank):
    """D2: only experts that had rows when the model was traced: all of them
    here. Weights are stacked and taken by the id, or with `frozen` constants
    in the order of the traced list."""
    classes = spec.experts + (0 if spec.variant == "frozen" else 1)
    mask = expert_mask(b, ids, classes)
    zeros = start(b, rows)
    total = zeros
    banks = {}
    if spec.variant != "frozen":
        banks = {field: b.weight(getattr(bank, field)) for field in bank.FIELDS
                 if getattr(bank, field) is not None}
    for e, found in enumerate(hit_list(b, mask, spec.experts)):
        chosen = b.op("Gather", found, b.int(0), axis=0)
        selected = b.op("Gather", mask, chosen, axis=0)
        if spec.variant == "frozen":
            def network(some, e=e):
                return parts.expert(b, some, bank, e, spec.activation)
        else:
            def network(some, chosen=chosen):
                return stacked_expert(b, some, bank, chosen, banks, spec)
        total = add_expert(b, total, zeros, rows, weights, selected, spec,
                           network)
    return total
