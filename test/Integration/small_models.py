#!/usr/bin/env python3
"""Small models of our own, in the layout of the corpus.

They stand in for the corpus of real exports where that is not at hand, and
hold what it does not: an empty batch, many tokens, a model that has to be
refused. Weights and inputs are random with fixed seeds; expected outputs come
from ONNX Runtime.

usage: small_models.py FOLDER [NAME...]
"""
import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Builder:
    """Builds one graph, naming values and nodes as it goes."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes = []
        self.initializers = []
        self.inputs = []
        self.outputs = []
        self.integers = {}

    def input(self, name, dtype, dims):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def output(self, value, name, dtype, dims):
        self.op("Identity", value, outputs=[name])
        self.outputs.append(helper.make_tensor_value_info(name, dtype, dims))

    def constant(self, name, array):
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name, *shape):
        """Normal, scaled such that products keep the size of their input."""
        fan_in = shape[-2] if len(shape) > 1 else 1
        array = self.random.standard_normal(shape) / np.sqrt(fan_in)
        return self.constant(name, array.astype(np.float32))

    def ones(self, name, *shape):
        """Around one: the scale of a norm."""
        array = 1 + 0.1 * self.random.standard_normal(shape)
        return self.constant(name, array.astype(np.float32))

    def ints(self, *values):
        """An int64 tensor of rank 1, shared by all who ask for the same."""
        if values not in self.integers:
            name = "ints_" + "_".join(str(v) for v in values)
            self.integers[values] = self.constant(
                name, np.array(values, np.int64))
        return self.integers[values]

    def scalar(self, name, value, dtype=np.float32):
        return self.constant(name, np.array(value, dtype))

    def op(self, kind, *inputs, outputs=1, **attributes):
        """Adds a node; returns its output's name, or a list of several."""
        index = len(self.nodes)
        if isinstance(outputs, int):
            names = [f"v{index}_{i}" for i in range(outputs)]
        else:
            names = outputs
        self.nodes.append(
            helper.make_node(kind, list(inputs), names,
                             name=f"{kind}_{index}", **attributes))
        return names[0] if len(names) == 1 else names

    def model(self, name, opset=18, domains=()):
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs,
                                  self.initializers)
        imports = [helper.make_opsetid("", opset)]
        imports += [helper.make_opsetid(domain, 1) for domain in domains]
        return helper.make_model(graph, opset_imports=imports, ir_version=10,
                                 producer_name="moe-opt tests")


# --- parts ------------------------------------------------------------------


def rms_norm(b, x, prefix, width):
    """x / sqrt(mean(x * x) + epsilon) * scale, as exporters write it."""
    square = b.op("Pow", x, b.scalar(prefix + ".two", 2.0))
    mean = b.op("ReduceMean", square, b.ints(-1), keepdims=1)
    shifted = b.op("Add", mean, b.scalar(prefix + ".epsilon", 1e-5))
    scale = b.op("Reciprocal", b.op("Sqrt", shifted))
    return b.op("Mul", b.op("Mul", x, scale),
                b.ones(prefix + ".weight", width))


def rotate(b, x, cos, sin, size):
    """Rotary position embedding in the half-split form."""
    first = b.op("Slice", x, b.ints(0), b.ints(size // 2), b.ints(3),
                 b.ints(1))
    second = b.op("Slice", x, b.ints(size // 2), b.ints(2**63 - 1),
                  b.ints(3), b.ints(1))
    turned = b.op("Concat", b.op("Neg", second), first, axis=-1)
    return b.op("Add", b.op("Mul", x, cos), b.op("Mul", turned, sin))


def causal_attention(b, x, prefix, shape, cos, sin, mask, width, heads,
                     groups):
    """Grouped-query attention over x [batch, seq, width]."""
    batch, seq = shape
    size = width // heads

    def split_heads(name, count):
        flat = b.op("MatMul", x, b.weight(prefix + name, width, count * size))
        dims = b.op("Concat", batch, seq, b.ints(count, size), axis=0)
        return b.op("Transpose", b.op("Reshape", flat, dims),
                    perm=[0, 2, 1, 3])

    def repeat(value):
        """[batch, groups, seq, size] to [batch, heads, seq, size]."""
        dims = b.op("Concat", batch, b.ints(groups, heads // groups), seq,
                    b.ints(size), axis=0)
        flat = b.op("Concat", batch, b.ints(heads), seq, b.ints(size), axis=0)
        wide = b.op("Expand", b.op("Unsqueeze", value, b.ints(2)), dims)
        return b.op("Reshape", wide, flat)

    query = rotate(b, split_heads(".q", heads), cos, sin, size)
    key = repeat(rotate(b, split_heads(".k", groups), cos, sin, size))
    value = repeat(split_heads(".v", groups))
    scores = b.op("MatMul", query, b.op("Transpose", key, perm=[0, 1, 3, 2]))
    scores = b.op("Mul", scores, b.scalar(prefix + ".scale", size**-0.5))
    weights = b.op("Softmax", b.op("Add", scores, mask), axis=-1)
    mixed = b.op("Transpose", b.op("MatMul", weights, value),
                 perm=[0, 2, 1, 3])
    flat = b.op("Reshape", mixed, b.op("Concat", batch, seq, b.ints(width),
                                       axis=0))
    return b.op("MatMul", flat, b.weight(prefix + ".o", width, width))


def router(b, x, prefix, width, experts, chosen):
    """Softmax, top k, renormalised: ids and weights [tokens, chosen]."""
    logits = b.op("Gemm", x, b.weight(prefix + ".gate", experts, width),
                  transB=1)
    scores = b.op("Softmax", logits, axis=-1)
    weights, ids = b.op("TopK", scores, b.ints(chosen), axis=-1, outputs=2)
    total = b.op("ReduceSum", weights, b.ints(-1), keepdims=1)
    return ids, b.op("Div", weights, total)


def gathered_experts(b, x, prefix, width, hidden, experts, chosen):
    """The form that copies the chosen experts' weights for every token."""
    ids, weights = router(b, x, prefix, width, experts, chosen)
    rows = b.op("Expand", b.op("Unsqueeze", x, b.ints(1)),
                b.ints(1, chosen, 1))
    rows = b.op("Reshape", rows, b.ints(-1, width, 1))
    flat_ids = b.op("Reshape", ids, b.ints(-1, 1))
    both = b.op("GatherND",
                b.weight(prefix + ".gate_up", experts, 2 * hidden, width),
                flat_ids)
    both = b.op("Squeeze", b.op("MatMul", both, rows), b.ints(-1))
    gate, up = b.op("Split", both, b.ints(hidden, hidden), axis=1, outputs=2)
    act = b.op("Mul", b.op("Mul", gate, b.op("Sigmoid", gate)), up)
    down = b.op("GatherND",
                b.weight(prefix + ".down", experts, width, hidden), flat_ids)
    slots = b.op("Squeeze",
                 b.op("MatMul", down, b.op("Unsqueeze", act, b.ints(-1))),
                 b.ints(-1))
    flat_weights = b.op("Reshape", weights, b.ints(-1, 1))
    slots = b.op("Reshape", b.op("Mul", slots, flat_weights),
                 b.ints(-1, chosen, width))
    return b.op("ReduceSum", slots, b.ints(1), keepdims=0)


# --- models -----------------------------------------------------------------


def mixtral():
    """Mixtral's architecture: two layers, 8 experts of which 2 are used."""
    vocabulary, width, heads, groups, hidden = 256, 64, 4, 2, 96
    size = width // heads
    b = Builder(1)
    ids = b.input("input_ids", INT64, ["batch", "seq"])
    shape = b.op("Shape", ids)
    batch = b.op("Slice", shape, b.ints(0), b.ints(1))
    seq = b.op("Slice", shape, b.ints(1), b.ints(2))
    x = b.op("Gather", b.weight("embed", vocabulary, width), ids)

    length = b.op("Squeeze", seq)
    positions = b.op("Range", b.scalar("zero", 0, np.int64), length,
                     b.scalar("one", 1, np.int64))
    frequencies = 10000.0**(-np.arange(0, size, 2) / size)
    angles = b.op("Mul",
                  b.op("Unsqueeze", b.op("Cast", positions, to=FLOAT),
                       b.ints(1)),
                  b.constant("frequencies",
                             frequencies.astype(np.float32)[None]))
    angles = b.op("Concat", angles, angles, axis=-1)
    cos, sin = b.op("Cos", angles), b.op("Sin", angles)
    rows = b.op("Unsqueeze", positions, b.ints(1))
    columns = b.op("Unsqueeze", positions, b.ints(0))
    mask = b.op("Where", b.op("LessOrEqual", columns, rows),
                b.scalar("keep", 0.0), b.scalar("drop", -np.inf))

    for layer in range(2):
        prefix = f"layers.{layer}"
        normed = rms_norm(b, x, prefix + ".norm1", width)
        x = b.op("Add", x,
                 causal_attention(b, normed, prefix + ".attention",
                                  (batch, seq), cos, sin, mask, width, heads,
                                  groups))
        normed = rms_norm(b, x, prefix + ".norm2", width)
        tokens = b.op("Reshape", normed, b.ints(-1, width))
        mixed = gathered_experts(b, tokens, prefix + ".experts", width,
                                 hidden, 8, 2)
        x = b.op("Add", x, b.op("Reshape", mixed, b.op("Shape", x)))
    x = rms_norm(b, x, "norm", width)
    logits = b.op("MatMul", x, b.weight("head", width, vocabulary))
    b.output(logits, "logits", FLOAT, ["batch", "seq", vocabulary])

    def data(random):
        for dims in ((2, 12), (1, 1), (3, 17)):
            yield [random.integers(0, vocabulary, dims, np.int64)]

    return b.model("mixtral"), data


def expert_loop():
    """One chain per expert: Equal, NonZero, Gather, FFN, ScatterND(add).

    The number of rows of each expert is known at run time only, and no two of
    them are the same extent.
    """
    width, hidden, experts, chosen = 16, 24, 4, 2
    b = Builder(2)
    x = b.input("x", FLOAT, ["tokens", width])
    ids, weights = router(b, x, "router", width, experts, chosen)
    acc = b.op("Mul", x, b.scalar("zero", 0.0))
    for expert in range(experts):
        hits = b.op("Equal", ids, b.scalar(f"e{expert}", expert, np.int64))
        places = b.op("NonZero", hits)  # [2, rows]
        pairs = b.op("Transpose", places, perm=[1, 0])
        tokens = b.op("Squeeze", b.op("Gather", places, b.ints(0), axis=0),
                      b.ints(0))
        rows = b.op("Gather", x, tokens, axis=0)
        gate = b.op("MatMul", rows, b.weight(f"w1.{expert}", width, hidden))
        up = b.op("MatMul", rows, b.weight(f"w3.{expert}", width, hidden))
        act = b.op("Mul", b.op("Mul", gate, b.op("Sigmoid", gate)), up)
        down = b.op("MatMul", act, b.weight(f"w2.{expert}", hidden, width))
        scale = b.op("Unsqueeze", b.op("GatherND", weights, pairs), b.ints(1))
        acc = b.op("ScatterND", acc, b.op("Unsqueeze", tokens, b.ints(1)),
                   b.op("Mul", down, scale), reduction="add")
    b.output(acc, "y", FLOAT, ["tokens", width])

    def data(random):
        for tokens in (64, 0, 1, 3, 1000):
            yield [random.standard_normal((tokens, width)).astype(np.float32)]

    return b.model("expert_loop"), data


def encoder():
    """One layer of a sentence encoder with masked mean pooling."""
    vocabulary, width, heads, hidden = 100, 32, 4, 64
    size = width // heads
    b = Builder(3)
    ids = b.input("input_ids", INT64, ["batch", "seq"])
    keep = b.input("attention_mask", INT64, ["batch", "seq"])
    x = b.op("Gather", b.weight("embed", vocabulary, width), ids)
    kept = b.op("Cast", keep, to=FLOAT)
    bias = b.op("Mul", b.op("Sub", b.scalar("one", 1.0), kept),
                b.scalar("low", -1e4))
    bias = b.op("Unsqueeze", bias, b.ints(1, 2))

    def linear(value, name, columns, rows):
        product = b.op("MatMul", value, b.weight(name + ".w", columns, rows))
        return b.op("Add", product, b.weight(name + ".b", rows))

    def norm(value, name):
        return b.op("LayerNormalization", value, b.ones(name + ".w", width),
                    b.weight(name + ".b", width), axis=-1, epsilon=1e-5)

    def split_heads(name):
        flat = b.op("Reshape", linear(x, name, width, width),
                    b.ints(0, 0, heads, size))
        return b.op("Transpose", flat, perm=[0, 2, 1, 3])

    key = b.op("Transpose", split_heads("k"), perm=[0, 1, 3, 2])
    scores = b.op("Mul", b.op("MatMul", split_heads("q"), key),
                  b.scalar("scale", size**-0.5))
    weights = b.op("Softmax", b.op("Add", scores, bias), axis=-1)
    mixed = b.op("Transpose", b.op("MatMul", weights, split_heads("v")),
                 perm=[0, 2, 1, 3])
    mixed = b.op("Reshape", mixed, b.ints(0, 0, width))
    x = norm(b.op("Add", x, linear(mixed, "o", width, width)), "norm1")
    inner = linear(x, "up", width, hidden)
    erf = b.op("Erf", b.op("Div", inner, b.scalar("sqrt2", 2.0**0.5)))
    gelu = b.op("Mul", b.op("Mul", inner, b.scalar("half", 0.5)),
                b.op("Add", erf, b.scalar("unit", 1.0)))
    x = norm(b.op("Add", x, linear(gelu, "down", hidden, width)), "norm2")
    wide = b.op("Unsqueeze", kept, b.ints(-1))
    total = b.op("ReduceSum", b.op("Mul", x, wide), b.ints(1), keepdims=0)
    count = b.op("Clip", b.op("ReduceSum", wide, b.ints(1), keepdims=0),
                 b.scalar("least", 1e-9))
    b.output(b.op("Div", total, count), "embedding", FLOAT, ["batch", width])

    def data(random):
        for batch, seq in ((2, 9), (1, 1), (4, 30)):
            mask = np.ones((batch, seq), np.int64)
            mask[0, seq // 2 + 1:] = 0
            yield [random.integers(0, vocabulary, (batch, seq), np.int64),
                   mask]

    return b.model("encoder", opset=18), data


def convolutions():
    """A small image classifier: convolutions, pools, batch norm."""
    b = Builder(4)
    x = b.input("image", FLOAT, ["batch", 3, 32, 32])
    channels = 3
    for layer, wider in enumerate((8, 16)):
        fan = np.sqrt(channels * 9)
        kernel = b.random.standard_normal((wider, channels, 3, 3)) / fan
        x = b.op("Conv", x,
                 b.constant(f"conv{layer}.w", kernel.astype(np.float32)),
                 b.weight(f"conv{layer}.b", wider),
                 kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        variance = b.random.uniform(0.5, 2.0, wider).astype(np.float32)
        x = b.op("BatchNormalization", x, b.ones(f"bn{layer}.w", wider),
                 b.weight(f"bn{layer}.b", wider),
                 b.weight(f"bn{layer}.mean", wider),
                 b.constant(f"bn{layer}.var", variance), epsilon=1e-5)
        x = b.op("MaxPool", b.op("Relu", x), kernel_shape=[2, 2],
                 strides=[2, 2])
        channels = wider
    x = b.op("Flatten", b.op("GlobalAveragePool", x), axis=1)
    logits = b.op("Gemm", x, b.weight("head.w", 10, channels),
                  b.weight("head.b", 10), transB=1)
    b.output(b.op("Softmax", logits, axis=-1), "probabilities", FLOAT,
             ["batch", 10])

    def data(random):
        for batch in (1, 5):
            yield [random.standard_normal((batch, 3, 32, 32))
                   .astype(np.float32)]

    return b.model("convolutions"), data


def refused():
    """An operator that nobody knows: has to be refused by name."""
    b = Builder(5)
    x = b.input("x", FLOAT, ["n", 4])
    b.nodes.append(helper.make_node("Frobnicate", [x], ["f"],
                                    name="the_unknown_one",
                                    domain="org.example"))
    b.output("f", "y", FLOAT, ["n", 4])
    return b.model("refused", domains=["org.example"]), None


MODELS = {
    "mixtral": mixtral,
    "expert_loop": expert_loop,
    "encoder": encoder,
    "convolutions": convolutions,
    "refused": refused,
}


def run_reference(path, feeds):
    """What ONNX Runtime computes, without its optimisations."""
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def write_model(folder, name):
    """Writes folder/name in the layout of the corpus."""
    target = os.path.join(folder, name)
    os.makedirs(target, exist_ok=True)
    model, data = MODELS[name]()
    path = os.path.join(target, "model.onnx")
    onnx.save(model, path)
    for index, arrays in enumerate(data(np.random.default_rng(7))
                                   if data else []):
        names = [value.name for value in model.graph.input]
        results = run_reference(path, dict(zip(names, arrays)))
        base = os.path.join(target, f"test_data_set_{index}")
        os.makedirs(base, exist_ok=True)
        for kind, infos, values in (("input", model.graph.input, arrays),
                                    ("output", model.graph.output, results)):
            for i, (info, value) in enumerate(zip(infos, values)):
                onnx.save_tensor(
                    numpy_helper.from_array(np.asarray(value), info.name),
                    os.path.join(base, f"{kind}_{i}.pb"))
    with open(os.path.join(target, "meta.json"), "w") as file:
        json.dump({"name": name,
                   "tolerance": {"rtol": 1e-4, "atol": 1e-5}}, file)
    return target


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        print("names: " + ", ".join(MODELS))
        return 0 if arguments else 1
    for name in arguments[1:] or MODELS:
        if name not in MODELS:
            print(f"small_models.py: no model '{name}', there are: "
                  + ", ".join(MODELS), file=sys.stderr)
            return 1
        print(write_model(arguments[0], name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
