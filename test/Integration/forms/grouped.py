"""D4 and D7: rows sorted by expert."""
import numpy as np

from . import parts
from .graph import BOOL, FLOAT, INT64, LAST


def floor_divide(b, x, by):
    """x // by of integers, as transformers' exporter writes it."""
    negative = b.op("Equal", b.op("Less", x, b.int(0)),
                    b.constant(np.array(True)))
    rest = b.cast(b.op("Mod", x, b.int(by)), BOOL)
    fix = b.cast(b.op("And", negative, rest), INT64)
    return b.op("Sub", b.op("Div", x, b.int(by)), fix)


def ends_of_groups(b, sorted_ids, experts):
    """Ends of the groups [E]: a histogram through floats, then its sum."""
    scale = np.float32((experts - 1) / experts)
    flat = b.op("Reshape", b.cast(sorted_ids, FLOAT), b.ints(-1))
    bucket = b.cast(b.op("Div", flat, b.constant(scale)), INT64)
    bucket = b.op("Clip", bucket, b.int(0), b.int(experts - 1))
    ones = b.op("Expand", b.float(1.0), b.op("Shape", bucket))
    zeros = b.weight(np.zeros(experts, np.float32))
    counts = b.op("ScatterElements", zeros, bucket, ones, axis=0,
                  reduction="add")
    ends = b.op("CumSum", b.cast(counts, 6), b.int(0))
    return b.cast(ends, INT64)


def by_ranges(b, rows, ends, matrices, experts):
    """Each group's rows times its matrix [in, out], one under the other."""
    bounds = [b.squeeze(end, 0) for end in b.split(ends, [1] * experts, 0)]
    pieces = b.split(matrices, [1] * experts, 0)
    results, begin = [], b.int(0)
    for end, piece in zip(bounds, pieces):
        index = b.op("Range", begin, end, b.int(1))
        some = b.op("Gather", rows, index, axis=0)
        results.append(b.op("MatMul", some, b.squeeze(piece, 0)))
        begin = end
    return b.op("Concat", *results, axis=0)


def as_inner(bank, field):
    """Matrices [E, in, out]."""
    matrices = getattr(bank, field)
    return matrices.transpose(0, 2, 1) if bank.layout == "oi" else matrices


def sorted_groups(b, rows, ids, weights, spec, bank):
    """D4: sort by expert, one product per group, back into order."""
    flat = b.op("Reshape", ids, b.ints(-1))
    ordered, perm = b.argsort(flat, -1)
    token = floor_divide(b, perm, spec.k)
    x = b.take_rows(rows, token)
    w = b.take_rows(b.op("Reshape", weights, b.ints(-1)), perm)
    ends = ends_of_groups(b, ordered, spec.experts)

    def product(x, field):
        y = by_ranges(b, x, ends, b.weight(as_inner(bank, field)),
                      spec.experts)
        bias = getattr(bank, field + "_bias")
        if bias is not None:
            y = b.op("Add", y, b.take_rows(b.weight(bias), ordered))
        return y

    h = product(x, "gate")
    if bank.gate_up == "separate":
        h = parts.activate(b, spec.activation, h, product(x, "up"))
    else:
        h = parts.gate_and_up(b, h, bank, spec.activation, 1)
    y = b.op("Mul", product(h, "down"), b.unsqueeze(w, -1))
    count = b.op("Shape", perm)
    arange = b.op("Range", b.int(0), b.squeeze(count, 0), b.int(1))
    inverse = b.op("ScatterND", b.op("Expand", b.int(0), count),
                   b.unsqueeze(perm, -1), arange)
    y = b.take_rows(y, inverse)
    y = b.op("Reshape", y, b.ints(-1, spec.k, spec.width))
    return b.reduce("ReduceSum", y, [1], 0)


def counts_of(b, ids, spec):
    """How many rows each expert has, [E]."""
    shape = b.op("Concat", b.size(ids, 0), b.ints(spec.experts), axis=0)
    if b.torchscript:
        zeros = b.filled(shape, 0, np.int64)
        ones = b.op("Expand", b.int(1), b.op("Shape", ids))
        hot = b.op("ScatterElements", zeros, ids, ones, axis=1)
    else:
        zeros = b.op("Expand", b.float(0.0), shape)
        ones = b.filled(b.op("Shape", ids), 1.0)
        hot = b.cast(b.op("ScatterElements", zeros, ids, ones, axis=1), INT64)
    return b.reduce("ReduceSum", hot, [0], 0)


def divide_through_float(b, x, by):
    """trunc(x / by) as dynamo writes it."""
    q = b.op("Div", b.cast(x, FLOAT), b.float(by))
    whole = b.op("Mul", b.op("Floor", b.op("Abs", q)), b.op("Sign", q))
    return b.cast(whole, INT64)


def split_by_sizes(b, rows, ids, weights, spec, bank):
    """D7: Split with sizes computed at run time."""
    counts = counts_of(b, ids, spec)
    sizes = []
    for e in range(spec.experts):
        one = b.squeeze(b.slice(counts, e, e + 1, 0), 0)
        one = b.op("Gather", b.op("Reshape", one, b.ints(-1)), b.int(0),
                   axis=0)
        sizes.append(b.op("Reshape", one, b.ints(-1)))
    sizes = b.op("Concat", *sizes, axis=0)
    flat = b.op("Reshape", ids, b.ints(-1))
    _, perm = b.argsort(flat, 0)
    token = divide_through_float(b, perm, spec.k)
    w = b.take_rows(b.op("Reshape", weights, b.ints(-1)), perm)
    x = b.take_rows(rows, token)

    def product(x, field):
        matrices = b.weight(getattr(bank, field))
        pieces = b.op("Split", x, sizes, axis=0, outputs=spec.experts)
        results = []
        for e, piece in enumerate(pieces):
            matrix = b.op("Gather", matrices, b.int(e), axis=0)
            results.append(b.op("Gemm", piece, matrix, transB=1, alpha=1.0,
                                beta=1.0))
        return b.op("Concat", *results, axis=0)

    h = parts.gate_and_up(b, product(x, "gate"), bank, spec.activation, 1)
    y = b.op("Mul", product(h, "down"), b.unsqueeze(w, 1))
    shape = b.op("Concat", b.size(rows, 0), b.ints(spec.width), axis=0)
    zeros = b.op("Expand", b.float(0.0), shape)
    return b.op("ScatterND", zeros, b.unsqueeze(token, -1), y,
                reduction="add")


def slice_groups(b, rows, ids, weights, spec, bank):
    """D7 by slices between running sums of the counts."""
    counts = counts_of(b, ids, spec)
    flat = b.op("Reshape", ids, b.ints(-1))
    _, perm = b.argsort(flat, -1)
    k = b.op("Gather", b.op("Shape", ids), b.int(1), axis=0)
    token = b.cast(b.op("Div", perm, k), INT64)
    x = b.take_rows(rows, token)
    sizes = [b.squeeze(size, 0)
             for size in b.split(counts, [1] * spec.experts, 0)]
    results, begin, end = [], None, None
    for e, size in enumerate(sizes):
        end = size if end is None else b.op("Add", end, size)
        first = b.ints(0) if begin is None else b.unsqueeze(begin, 0)
        some = b.op("Slice", x, first, b.unsqueeze(end, 0), b.ints(0),
                    b.ints(1))
        results.append(parts.expert(b, some, bank, e, spec.activation))
        begin = end
    y = b.op("Concat", *results, axis=0)
    zeros = b.filled(b.op("Shape", y), 0.0)
    tail = b.op("Slice", b.op("Shape", zeros), b.ints(1), b.ints(LAST),
                b.ints(0))
    shape = b.op("Concat", b.op("Shape", perm), tail, axis=0)
    y = b.op("ScatterND", zeros, b.unsqueeze(perm, -1),
             b.op("Reshape", y, shape))
    shape = b.op("Concat", b.size(ids, 0), b.unsqueeze(k, 0), b.ints(-1),
                 axis=0)
    y = b.op("Mul", b.op("Reshape", y, shape), b.unsqueeze(weights, -1))
    return b.reduce("ReduceSum", y, [1], 0)
