"""Feed-forward networks, and what surrounds a layer of experts."""
import math

import numpy as np

ONE_SIDED = ("relu", "gelu", "relu2")


def flatten(b, x, width):
    """[batch, seq, width] to [tokens, width]."""
    if b.torchscript:
        last = b.op("Gather", b.op("Shape", x), b.int(2), axis=0)
        shape = b.op("Concat", b.ints(-1), b.unsqueeze(last, 0), axis=0)
        return b.op("Reshape", x, shape)
    return b.op("Reshape", x, b.ints(-1, width))


def unflatten(b, rows, x, width):
    """[tokens, width] to the extents of x [batch, seq, ...]."""
    shape = b.op("Concat", b.size(x, 0), b.size(x, 1), b.ints(width), axis=0)
    return b.op("Reshape", rows, shape)


def linear(b, x, matrix, bias=None, rank=2):
    """x matrix^T + bias; `matrix` [out, in] is an array or a value."""
    if b.torchscript or rank != 2:
        if isinstance(matrix, str):
            y = b.op("MatMul", x, b.op("Transpose", matrix, perm=[1, 0]))
        else:
            y = b.op("MatMul", x, b.weight(matrix.T))
        if bias is None:
            return y
        bias = bias if isinstance(bias, str) else b.weight(bias)
        return b.op("Add", bias, y) if b.torchscript else b.op("Add", y, bias)
    operands = [x, matrix if isinstance(matrix, str) else b.weight(matrix)]
    if bias is not None:
        operands.append(bias if isinstance(bias, str) else b.weight(bias))
    return b.op("Gemm", *operands, transB=1, alpha=1.0, beta=1.0)


def gelu(b, x):
    if not b.torchscript and b.opset >= 20:
        return b.op("Gelu", x)
    erf = b.op("Erf", b.op("Div", x, b.float(math.sqrt(2.0))))
    grown = b.op("Add", erf, b.float(1.0))
    if b.torchscript:
        return b.op("Mul", b.op("Mul", x, grown), b.float(0.5))
    return b.op("Mul", x, b.op("Mul", b.float(0.5), grown))


def silu(b, x):
    return b.op("Mul", x, b.op("Sigmoid", x))


def halves(b, h, size, axis):
    """Both halves of an axis of 2 * size, as torch.chunk is exported."""
    if not b.torchscript:
        return b.split(h, [size, size], axis)
    extent = b.op("Gather", b.op("Shape", h), b.ints(-1), axis=0)
    half = b.op("Div", b.op("Add", extent, b.ints(1)), b.ints(2))
    first = b.op("Mul", half, b.ints(1))
    last = b.op("Mul", half, b.ints(2))
    axis = b.ints(-1)
    return (b.op("Slice", h, b.ints(0), first, axis),
            b.op("Slice", h, first, last, axis))


def alternate(b, h, axis):
    return (b.slice(h, 0, 2 ** 63 - 1, axis, 2),
            b.slice(h, 1, 2 ** 63 - 1, axis, 2))


def activate(b, name, *h):
    """Activations of experts_oracle.ACTIVATIONS."""
    if name == "relu":
        return b.op("Relu", *h)
    if name == "relu2":
        r = b.op("Relu", *h)
        return b.op("Mul", r, r)
    if name == "gelu":
        return gelu(b, *h)
    g, u = h
    if name == "swiglu":
        return b.op("Mul", silu(b, g), u)
    if name == "geglu":
        return b.op("Mul", gelu(b, g), u)
    assert name == "oai", name
    if b.torchscript:
        g = b.op("Clip", g, "", b.float(1.0))
    else:
        g = b.op("Min", g, b.float(1.0))
    u = b.op("Clip", u, b.float(-1.0), b.float(1.0))
    glu = b.op("Mul", g, b.op("Sigmoid", b.op("Mul", g, b.float(1.702))))
    return b.op("Mul", b.op("Add", u, b.float(1.0)), glu)


def inner_size(bank):
    return bank.down.shape[2 if bank.layout == "oi" else 1]


def gate_and_up(b, h, bank, name, axis):
    """The activation of products with gates and ups in one matrix."""
    if bank.gate_up == "none":
        return activate(b, name, h)
    pair = (halves(b, h, inner_size(bank), axis)
            if bank.gate_up == "concat" else alternate(b, h, axis))
    return activate(b, name, *pair)


def matrix_of(bank, field, e):
    """Expert e's matrix as [out, in]."""
    matrix = getattr(bank, field)[e]
    return matrix if bank.layout == "oi" else matrix.T


def bias_of(bank, field, e):
    bias = getattr(bank, field)
    return None if bias is None else bias[e]


def expert(b, x, bank, e, name, rank=2):
    """Expert e as a module of its own: its weights are constants."""
    h = linear(b, x, matrix_of(bank, "gate", e), bias_of(bank, "gate_bias", e),
               rank)
    if bank.gate_up == "separate":
        if name == "swiglu":
            h = silu(b, h)
            u = linear(b, x, matrix_of(bank, "up", e),
                       bias_of(bank, "up_bias", e), rank)
            h = b.op("Mul", h, u)
        else:
            u = linear(b, x, matrix_of(bank, "up", e),
                       bias_of(bank, "up_bias", e), rank)
            h = activate(b, name, h, u)
    else:
        h = gate_and_up(b, h, bank, name, rank - 1)
    return linear(b, h, matrix_of(bank, "down", e),
                  bias_of(bank, "down_bias", e), rank)


def shared_expert(b, rows, weights, gate):
    """A plain SwiGLU network on every token, scaled by a sigmoid if `gate`."""
    up, side, down = weights
    y = b.op("Mul", silu(b, linear(b, rows, up)), linear(b, rows, side))
    y = linear(b, y, down)
    if gate is not None:
        y = b.op("Mul", b.op("Sigmoid", linear(b, rows, gate)), y)
    return y


def shared_reference(rows, weights, gate):
    up, side, down = (w.astype(np.float64) for w in weights)
    h = rows @ up.T
    y = (h / (1 + np.exp(-h)) * (rows @ side.T)) @ down.T
    if gate is not None:
        y /= 1 + np.exp(-(rows @ gate.astype(np.float64).T))
    return y
