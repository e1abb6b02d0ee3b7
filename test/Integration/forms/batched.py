"""D3, D14 and D15: weights of experts gathered per slot, token or model."""
from . import parts


def stack(b, bank, fields=("gate", "up", "down")):
    values = {}
    for field in fields:
        for name in (field, field + "_bias"):
            if getattr(bank, name) is not None:
                values[name] = b.weight(getattr(bank, name))
    return values


def repeat_rows(b, rows, k, width):
    """Each row k times, as repeat_interleave is exported."""
    wide = b.unsqueeze(rows, 1)
    if b.writer == "dynamo":
        return b.op("Reshape", b.op("Expand", wide, b.ints(1, k, 1)),
                    b.ints(-1, width))
    if b.writer == "transformers":
        return b.op("Reshape", b.op("Tile", wide, b.ints(1, k, 1)),
                    b.ints(-1, width))
    # torchscript computes the repeats as a one-hot vector.
    pair = b.op("Concat", b.ints(1), b.op("Reshape", b.int(k), b.ints(1)),
                axis=0)
    hot = b.op("OneHot", b.ints(1), b.int(3), pair)
    repeats = b.op("Reshape", hot, b.ints(-1))
    return b.op("Flatten", b.op("Tile", wide, repeats), axis=2)


def slot_product(b, banks, field, ids, x, layout):
    """x [slots, in] by the matrix of each slot's expert."""
    matrices = b.take_rows(banks[field], ids)
    if layout == "oi":
        y = b.squeeze(b.op("MatMul", matrices, b.unsqueeze(x, -1)),
                      2 if b.torchscript else -1)
    else:
        y = b.squeeze(b.op("MatMul", b.unsqueeze(x, 1), matrices), 1)
    if field + "_bias" in banks:
        y = b.op("Add", y, b.take_rows(banks[field + "_bias"], ids))
    return y


def slot_network(b, x, ids, bank, activation):
    banks = stack(b, bank)
    h = slot_product(b, banks, "gate", ids, x, bank.layout)
    if bank.gate_up == "separate":
        u = slot_product(b, banks, "up", ids, x, bank.layout)
        h = parts.activate(b, activation, h, u)
    else:
        h = parts.gate_and_up(b, h, bank, activation, 1)
    return slot_product(b, banks, "down", ids, h, bank.layout)


def gather_per_slot(b, rows, ids, weights, spec, bank):
    """D3: each token k times, each with its own matrices."""
    x = repeat_rows(b, rows, spec.k, spec.width)
    w = b.op("Reshape", weights, b.ints(-1))
    flat = b.op("Reshape", ids, b.ints(-1))
    y = slot_network(b, x, flat, bank, spec.activation)
    y = b.op("Mul", y, b.unsqueeze(w, -1))
    y = b.op("Reshape", y, b.ints(-1, spec.k, spec.width))
    return b.reduce("ReduceSum", y, [1], 0)


def einsum_per_slot(b, rows, ids, weights, spec, bank):
    """D3 by Einsum: matrices [tokens, k, in, out] gathered by the ids."""
    banks = stack(b, bank)
    index = b.unsqueeze(ids, -1)

    def gathered(field):
        if b.torchscript:
            return b.op("Gather", banks[field], ids, axis=0)
        return b.op("GatherND", banks[field], index)

    order = "oi" if bank.layout == "oi" else "io"
    h = b.op("Einsum", rows, gathered("gate"), equation="ti,tk"
             + order + "->tko")
    h = parts.gate_and_up(b, h, bank, spec.activation, 2)
    y = b.op("Einsum", h, gathered("down"), equation="tki,tk" + order
             + "->tko")
    return b.op("Einsum", y, weights, equation="tko,tk->to")


def gather_per_token(b, rows, ids, weights, spec, bank):
    """D14: one expert per token, nothing to repeat and nothing to add up."""
    flat = b.op("Reshape", ids, b.ints(-1))
    y = slot_network(b, rows, flat, bank, spec.activation)
    return b.op("Mul", y, weights)
