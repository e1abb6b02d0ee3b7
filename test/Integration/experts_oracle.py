"""What the ops of dialect `moe` compute, in numpy's float64.

Written from their descriptions (dialects/MoE), by loops over tokens and slots,
and shares nothing with the compiler. All take and return arrays; weights of
experts are plain numpy arrays in the layout that the op names.
"""
import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


# Activations by name: functions of h, or of gate and up.
ACTIVATIONS = {
    "identity": lambda h: h,
    "relu": lambda h: np.maximum(h, 0.0),
    "relu2": lambda h: np.maximum(h, 0.0) ** 2,
    "gelu": lambda h: 0.5 * h * (1.0 + erf(h / math.sqrt(2.0))),
    "half": lambda h: np.full_like(h, 0.5),
    "swiglu": lambda g, u: g * sigmoid(g) * u,
    "geglu": lambda g, u: 0.5 * g * (1.0 + erf(g / math.sqrt(2.0))) * u,
    "oai": lambda g, u: (np.minimum(g, 1.0)
                         * sigmoid(1.702 * np.minimum(g, 1.0))
                         * (np.clip(u, -1.0, 1.0) + 1.0)),
    "bounded": lambda g, u: np.minimum(np.maximum(u, -np.abs(g)), np.abs(g)),
}


class Bank:
    """Experts as arrays: gate, up, down, gate_bias, up_bias, down_bias."""

    def __init__(self, random, experts, width, inner, out=None, gate_up="none",
                 layout="oi", biases=True, dtype=np.float32):
        self.gate_up, self.layout = gate_up, layout
        out = width if out is None else out
        rows = 2 * inner if gate_up in ("concat", "interleave") else inner

        def matrices(outputs, inputs):
            shape = ((experts, outputs, inputs) if layout == "oi" else
                     (experts, inputs, outputs))
            values = random.standard_normal(shape) / math.sqrt(inputs)
            return values.astype(dtype)

        def vectors(size):
            if not biases:
                return None
            return (0.3 * random.standard_normal((experts, size))).astype(dtype)

        separate = gate_up == "separate"
        self.gate = matrices(rows, width)
        self.up = matrices(inner, width) if separate else None
        self.down = matrices(out, inner)
        self.gate_bias = vectors(rows)
        self.up_bias = vectors(inner) if separate else None
        self.down_bias = vectors(out)

    FIELDS = ("gate", "up", "down", "gate_bias", "up_bias", "down_bias")

    def map(self, function):
        """A bank with every array replaced."""
        other = object.__new__(Bank)
        other.gate_up, other.layout = self.gate_up, self.layout
        for field in self.FIELDS:
            value = getattr(self, field)
            setattr(other, field, None if value is None else function(value))
        return other

    def pick(self, experts):
        return self.map(lambda array: array[np.asarray(experts, int)])

    def __len__(self):
        return len(self.gate)


def run_expert(bank, e, row, activation):
    """f_e of one row."""
    def project(matrix, bias):
        matrix = matrix[e].astype(np.float64)
        y = matrix @ row if bank.layout == "oi" else row @ matrix
        return y if bias is None else y + bias[e].astype(np.float64)

    h = project(bank.gate, bank.gate_bias)
    half = len(h) // 2
    if bank.gate_up == "none":
        row = activation(h)
    elif bank.gate_up == "separate":
        row = activation(h, project(bank.up, bank.up_bias))
    elif bank.gate_up == "concat":
        row = activation(h[:half], h[half:])
    else:
        row = activation(h[0::2], h[1::2])
    return project(bank.down, bank.down_bias)


def experts(x, ids, weights, bank, activation, in_scale=1.0,
            scale_at="output"):
    """moe.experts; `ids` None: the one expert of the bank on every token."""
    activation = ACTIVATIONS[activation]
    x = x.astype(np.float64) * in_scale
    out = bank.down.shape[1 if bank.layout == "oi" else 2]
    y = np.zeros((len(x), out))
    for t, row in enumerate(x):
        if ids is None:
            y[t] = run_expert(bank, 0, row, activation)
            continue
        for e, w in zip(ids[t], weights[t].astype(np.float64)):
            if not 0 <= e < len(bank):
                continue
            if scale_at == "input":
                y[t] += run_expert(bank, e, w * row, activation)
            else:
                y[t] += w * run_expert(bank, e, row, activation)
    return y


def trivial_experts(x, ids, weights, first, kinds, constants=None, mixers=None,
                    in_scale=1.0):
    y = np.zeros(x.shape)
    for t, row in enumerate(x.astype(np.float64) * in_scale):
        for e, w in zip(ids[t], weights[t].astype(np.float64)):
            i = e - first
            if not 0 <= i < len(kinds) or kinds[i] == "zero":
                continue
            if kinds[i] == "copy":
                y[t] += w * row
                continue
            c = kinds[:i].count("constant")
            a = softmax(mixers[c].astype(np.float64) @ row)
            y[t] += w * (a[0] * row + a[1] * constants[c].astype(np.float64))
    return y


def codes(packed, bits, count):
    """Codes of the last axis, the lowest bits first."""
    parts = [(packed >> shift) & ((1 << bits) - 1)
             for shift in range(0, 8, bits)]
    spread = np.stack(parts, -1).reshape(*packed.shape[:-1], -1)
    return spread[..., :count].astype(np.float64)


def dequantize(packed, scales, zero_points, bits, block, columns):
    q = codes(packed, bits, columns)
    if block is None:
        rows = packed.shape[1]
        zero = (float(1 << bits - 1) if zero_points is None else
                codes(zero_points, bits, rows)[..., None])
        return (q - zero) * scales.astype(np.float64)[..., None]
    of = np.arange(columns) // block
    zero = (float(1 << bits - 1) if zero_points is None else
            codes(zero_points, bits, scales.shape[2])[..., of])
    return (q - zero) * scales.astype(np.float64)[..., of]


def mix(coefficients, bank):
    if coefficients.dtype.kind == "i":
        return bank[coefficients].astype(np.float64)
    return np.tensordot(coefficients.astype(np.float64),
                        bank.astype(np.float64), 1)


def moepp_route(logits, k, zero_expert, mixtral, logit_std):
    """Router of MoE++ (Jin et al. 2024) from its final logits: ids, weights."""
    if logit_std:
        deviation = logits.std(1, ddof=1, keepdims=True)
        logits = logits / (deviation / logit_std)
    order = np.argsort(-logits, 1, kind="stable")[:, :k]
    if mixtral:
        return order, softmax(np.take_along_axis(logits, order, 1))
    weights = np.take_along_axis(softmax(logits), order, 1)
    weights = np.where(order == zero_expert, 0.0, weights)
    return order, weights / weights.sum(1, keepdims=True)
