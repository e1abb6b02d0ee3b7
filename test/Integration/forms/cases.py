"""Which forms, routers, exporters and sizes are tested together."""
import dataclasses

import experts_oracle
import numpy as np

from . import (batched, dense, grouped, loops, others, parts, routers)
from .graph import FLOAT, INT64, Builder

# Function from rows, ids and weights to rows, and what the variant means.
DISPATCH = {
    ("D1", ""): loops.static_loop,
    ("D1", "none index"): loops.static_loop,
    ("D1", "where"): loops.where_loop,
    ("D2", ""): loops.hit_loop,
    ("D2", "frozen"): loops.hit_loop,
    ("D3", ""): batched.gather_per_slot,
    ("D3", "einsum"): batched.einsum_per_slot,
    ("D14", ""): batched.gather_per_token,
    ("D4", ""): grouped.sorted_groups,
    ("D7", "sizes"): grouped.split_by_sizes,
    ("D7", "slices"): grouped.slice_groups,
    ("D5", ""): dense.tiled,
    ("D5", "einsum"): dense.einsum_all,
    ("D8", ""): dense.masked_sum,
    ("D8", "equal"): dense.equal_sum,
    ("D9", ""): dense.stacked,
}
LAYERS = {
    "D6": others.ScaledInputs, "D10": others.Einsums, "D11": others.Buffer,
    "D8 capacity": others.SwitchLayer, "D12": others.ExpertChoice,
    "D13": others.Soft, "D14 Sinkhorn": others.Sinkhorn,
    "D14 hash": others.Hash, "D15": others.OneForAll,
    "D9 gates": others.MultiGate, "D8 gates": others.MultiGate,
    "D18": others.Lora, "D19": others.ProductKeys, "D20": others.Depths,
    "D1 trivial": others.Trivial, "D16": others.Contrib,
}


@dataclasses.dataclass
class Spec:
    form: str
    router: str
    writer: str
    opset: int
    width: int
    inner: int
    experts: int
    k: int
    activation: str = "swiglu"
    gate_up: str = "concat"
    layout: str = "oi"
    biases: bool = False
    variant: str = ""
    shared: str = ""            # "plain" or "gated": a shared expert
    static: tuple = None        # batch and seq as constants
    capacity: int = 0
    slots: int = 0
    iterations: int = 0

    @property
    def name(self):
        words = [self.form, self.variant, self.router, self.writer,
                 self.activation if self.gate_up == "none" else
                 f"{self.activation} {self.gate_up}"]
        words += ["layout io"] if self.layout == "io" else []
        words += ["biases"] if self.biases else []
        words += [f"{self.shared} shared expert"] if self.shared else []
        words += ["static extents"] if self.static else []
        words.append(f"{self.width}x{self.inner} E{self.experts} k{self.k}")
        words.append(f"opset {self.opset}")
        return ", ".join(word for word in words if word)


class Composed:
    """A router of routers.py and a dispatch of this table."""
    tokens = None

    def __init__(self, spec, random):
        self.spec = spec
        self.router = routers.make(spec.router, random, spec.width,
                                   spec.experts, spec.k)
        self.bank = experts_oracle.Bank(
            random, spec.experts, spec.width, spec.inner,
            gate_up=spec.gate_up, layout=spec.layout, biases=spec.biases)
        self.dense_products = 1
        self.shared = self.gate = None
        if spec.shared:
            size = spec.inner + 3
            self.shared = [others.normal(random, size, spec.width),
                           others.normal(random, size, spec.width),
                           others.normal(random, spec.width, size)]
            self.dense_products += 3
        if spec.shared == "gated":
            self.gate = others.normal(random, 1, spec.width)
            self.dense_products += 1

    def spell(self, b, x):
        spec = self.spec
        rows = parts.flatten(b, x, spec.width)
        ids, weights = self.router.spell(b, rows)
        dispatch = DISPATCH[spec.form, spec.variant]
        y = dispatch(b, rows, ids, weights, spec, self.bank)
        if self.shared:
            y = b.op("Add", y, parts.shared_expert(b, rows, self.shared,
                                                   self.gate))
        return parts.unflatten(b, y, x, spec.width)

    def reference(self, x):
        rows = x.reshape(-1, self.spec.width)
        ids, weights, clear = self.router.reference(rows)
        y = experts_oracle.experts(rows, ids, weights, self.bank,
                                   self.spec.activation)
        if self.shared:
            y = y + parts.shared_reference(rows, self.shared, self.gate)
        return y.reshape(x.shape), clear.reshape(x.shape[:2])


@dataclasses.dataclass
class Data:
    """One set of inputs and what should come out of it."""
    what: str               # which experts are hit
    inputs: list
    expected: np.ndarray
    clear: np.ndarray       # [batch, seq]
    # Whether the graph as it stands is right for it too.
    as_exported: bool


@dataclasses.dataclass
class Case:
    spec: Spec
    model: object
    data: list
    dense_products: int
    experts: int = 1

    @property
    def name(self):
        return self.spec.name


def draw(spec, layer, random):
    """(what, batch, seq, rows alike) of every set of inputs."""
    if spec.static:
        return [("random", *spec.static, False), ("random", *spec.static,
                                                  False)]
    if layer.tokens:
        return [("random", 3, layer.tokens, False),
                ("one token like another", 2, layer.tokens, True),
                ("random", 1, layer.tokens, False)]
    if spec.form == "D14 Sinkhorn":
        # Of few tokens all plans are alike.
        return [("random", 3, 8, False), ("random", 1, 21, False)]
    sets = [("all experts", 4, 3 * spec.experts, False),
            ("one token", 1, 1, False),
            ("all tokens alike", 2, 5, True),
            ("random", 1, 7, False)]
    # In torchscript's reshapes an extent of 0 means another one; ONNX Runtime's
    # Einsum ends the process on empty operands.
    if (spec.form not in ("D15", "D13", "D18", "D19")
            and spec.variant != "einsum" and spec.writer != "torchscript"):
        sets.append(("no token", 1, 0, False))
    return sets


def make(spec, seed):
    random = np.random.default_rng(seed)
    layer = LAYERS.get(spec.form, Composed)(spec, random)
    b = Builder(spec.writer, spec.opset, seed)
    dims = list(spec.static) if spec.static else [b.name(), b.name()]
    if layer.tokens:
        dims[1] = layer.tokens
    x = b.input(FLOAT, [*dims, spec.width])
    operands = [x]
    if spec.form == "D14 hash":
        operands.append(b.input(INT64, dims))
    b.output(layer.spell(b, *operands), FLOAT, [*dims, spec.width])
    data = []
    for what, batch, seq, alike in draw(spec, layer, random):
        rows = random.standard_normal((batch, seq, spec.width))
        if alike:
            rows[:] = rows[:1, :1]
        arrays = [rows.astype(np.float32)]
        if spec.form == "D14 hash":
            arrays.append(random.integers(0, layer.vocabulary, (batch, seq)))
        expected, clear = layer.reference(arrays[0].astype(np.float64),
                                          *arrays[1:])
        hit_list = spec.form == "D2"
        data.append(Data(what, arrays, expected, clear,
                         not hit_list or what == "all experts"
                         or bool(spec.static)))
    return Case(spec, b.model(), data, layer.dense_products)


TORCHSCRIPT, DYNAMO, TRANSFORMERS = "torchscript", "dynamo", "transformers"


def five_forms():
    """Mixtral's and Qwen3's layers in D1 to D5."""
    for router, width, inner, experts, k in (
            ("R1 renormalised", 44, 56, 6, 2),
            ("R1 renormalised", 60, 20, 12, 4)):
        sizes = (width, inner, experts, k)
        yield Spec("D1", router, TORCHSCRIPT, 17, *sizes, gate_up="separate",
                   layout="oi")
        yield Spec("D1", router, DYNAMO, 18, *sizes, gate_up="separate",
                   variant="none index")
        yield Spec("D2", router, TORCHSCRIPT, 18, *sizes)
        yield Spec("D2", router, TORCHSCRIPT, 17, *sizes, gate_up="separate",
                   variant="frozen")
        yield Spec("D3", router, DYNAMO, 20, *sizes)
        yield Spec("D3", router, TRANSFORMERS, 21, *sizes)
        yield Spec("D3", router, TORCHSCRIPT, 16, *sizes)
        yield Spec("D4", router, TRANSFORMERS, 18, *sizes)
        yield Spec("D5", router, DYNAMO, 19, *sizes)
        yield Spec("D5", router, TORCHSCRIPT, 17, *sizes)


def activations():
    """Activations, layouts and biases in the forms that have them."""
    yield Spec("D1", "R2 biased", DYNAMO, 19, 40, 52, 5, 2, "gelu", "none",
               biases=True, variant="where")
    yield Spec("D1", "R1", TORCHSCRIPT, 18, 36, 48, 5, 3, "relu", "none",
               biases=True)
    yield Spec("D1", "R1", DYNAMO, 21, 36, 48, 4, 1, "geglu", "separate")
    yield Spec("D2", "R2 biased", TORCHSCRIPT, 17, 48, 40, 5, 2, "oai",
               "interleave", "io", biases=True)
    yield Spec("D2", "R1", TORCHSCRIPT, 18, 48, 40, 6, 1, "relu2", "none")
    yield Spec("D3", "R2 biased", DYNAMO, 18, 48, 44, 5, 2, "oai",
               "interleave", "io", biases=True)
    yield Spec("D3", "R1", DYNAMO, 18, 40, 36, 6, 3, "relu2", "none")
    yield Spec("D3", "R1", TRANSFORMERS, 20, 40, 36, 6, 3, "gelu", "none",
               biases=True)
    yield Spec("D3", "R1 renormalised", DYNAMO, 22, 52, 28, 7, 3, "geglu",
               layout="io")
    yield Spec("D3", "R1 renormalised", DYNAMO, 18, 44, 36, 5, 2, "swiglu",
               "separate")
    yield Spec("D3", "R1 renormalised", DYNAMO, 19, 44, 36, 5, 2,
               variant="einsum")
    yield Spec("D3", "R1 renormalised", TORCHSCRIPT, 17, 40, 24, 6, 2,
               "gelu", "none", variant="einsum", layout="io")
    yield Spec("D4", "R2 biased", TRANSFORMERS, 18, 48, 44, 5, 2, "oai",
               "interleave", "io", biases=True)
    yield Spec("D4", "R1", TRANSFORMERS, 20, 40, 36, 6, 3, "relu2", "none")
    yield Spec("D5", "R2 biased", DYNAMO, 18, 48, 44, 5, 2, "oai",
               "interleave", "io", biases=True)
    yield Spec("D5", "R1", DYNAMO, 18, 48, 44, 4, 2, "gelu", "none",
               biases=True, variant="einsum", layout="io")
    yield Spec("D5", "R1", DYNAMO, 20, 48, 44, 4, 2, "relu", "none")


def dispatch():
    """The other forms of dispatch."""
    sizes = (44, 36, 6, 2)
    yield Spec("D6", "R8", DYNAMO, 18, *sizes, layout="io")
    yield Spec("D6", "R8", TORCHSCRIPT, 17, 40, 28, 5, 1, layout="io")
    yield Spec("D7", "R2", DYNAMO, 18, *sizes, variant="sizes")
    yield Spec("D7", "R1", TORCHSCRIPT, 17, *sizes, gate_up="separate",
               variant="slices")
    yield Spec("D8", "R2", DYNAMO, 18, *sizes, "gelu", "none", biases=True)
    yield Spec("D8", "R1", TORCHSCRIPT, 17, *sizes, gate_up="separate")
    yield Spec("D8", "R1 renormalised", DYNAMO, 18, *sizes,
               gate_up="separate", variant="equal")
    yield Spec("D9", "R1", DYNAMO, 18, *sizes, gate_up="separate")
    yield Spec("D9", "R1 renormalised", TORCHSCRIPT, 17, 40, 24, 5, 3,
               "relu", "none", biases=True)
    one = {"activation": "gelu", "gate_up": "none", "layout": "io"}
    yield Spec("D10", "R1", DYNAMO, 18, 40, 48, 5, 2, capacity=6, **one)
    yield Spec("D10", "R1", TORCHSCRIPT, 17, 36, 40, 4, 1, "relu", "none",
               "io", capacity=5)
    yield Spec("D11", "R1 renormalised", DYNAMO, 18, 40, 36, 6, 2,
               capacity=9, **one)
    yield Spec("D8 capacity", "R7", DYNAMO, 18, 36, 40, 5, 1, "relu", "none",
               "io", capacity=4)
    yield Spec("D8 capacity", "R7", TORCHSCRIPT, 17, 36, 40, 4, 1, "relu",
               "none", "io", capacity=3)
    yield Spec("D12", "R10", DYNAMO, 18, 40, 36, 4, 1, capacity=5, **one)
    yield Spec("D12", "R10", DYNAMO, 18, 40, 36, 6, 1, capacity=3,
               variant="one-hot", **one)
    yield Spec("D13", "R11", DYNAMO, 18, 40, 36, 5, 1, slots=2, **one)
    yield Spec("D14", "R7", DYNAMO, 18, 40, 36, 5, 1, "gelu", "none", "io")
    yield Spec("D14 hash", "R12", DYNAMO, 18, 40, 36, 5, 1, **one)
    yield Spec("D14 hash", "R12", TORCHSCRIPT, 17, 36, 24, 7, 1, **one)
    yield Spec("D14 Sinkhorn", "R13", DYNAMO, 18, 40, 36, 5, 1,
               iterations=3, **one)
    yield Spec("D15", "R14", DYNAMO, 18, 40, 36, 6, 1, "relu", "none", "io")
    yield Spec("D9 gates", "R15", DYNAMO, 18, 40, 36, 5, 5, **one)
    yield Spec("D8 gates", "R15", TORCHSCRIPT, 17, 40, 36, 4, 4, "relu",
               "none", "io", variant="sum")
    yield Spec("D1 trivial", "R16", DYNAMO, 18, 40, 36, 5, 3, layout="io")
    yield Spec("D16", "R1 renormalised", DYNAMO, 18, 40, 36, 5, 2, "relu",
               "none", "io")
    yield Spec("D18", "R1 renormalised", DYNAMO, 18, 44, 4, 5, 2, "identity",
               "none", "io")
    yield Spec("D19", "R9", DYNAMO, 18, 40, 1, 36, 4, "swiglu", "none", "io")
    yield Spec("D20", "none", DYNAMO, 18, 40, 36, 1, 1, capacity=5, **one)


def all_routers():
    """Every router in front of D3 and of D1."""
    for number, (router, k, shared) in enumerate((
            ("R1", 4, "gated"), ("R1 renormalised", 3, "gated"),
            ("R1 by a norm", 2, ""), ("R1 scaled", 3, "plain"),
            ("R2", 3, ""), ("R2 biased", 2, ""), ("R3", 4, "plain"),
            ("R3 masked by zero", 3, "plain"), ("R3 one group", 2, "plain"),
            ("R4", 3, "plain"), ("R5 sigmoid", 3, ""),
            ("R5 sigmoid scaled", 2, "plain"), ("R5 softmax", 3, "plain"),
            ("R6", 2, ""), ("R7", 1, ""))):
        writer = (DYNAMO, TRANSFORMERS)[number % 2]
        yield Spec("D3", router, writer, 18 + number % 5, 44, 20, 8, k,
                   shared=shared)
        yield Spec("D1", router, TORCHSCRIPT, 16 + number % 4, 40, 24, 8, k,
                   gate_up="separate", shared=shared)


def static_extents():
    sizes = (40, 28, 5, 2)
    yield Spec("D1", "R1 renormalised", DYNAMO, 18, *sizes,
               gate_up="separate", static=(2, 9))
    yield Spec("D2", "R1 renormalised", TORCHSCRIPT, 17, *sizes,
               static=(3, 16))
    yield Spec("D3", "R1 renormalised", DYNAMO, 20, *sizes, static=(1, 7))
    yield Spec("D3", "R2 biased", TORCHSCRIPT, 17, *sizes, static=(2, 5))
    yield Spec("D4", "R1 renormalised", TRANSFORMERS, 18, *sizes,
               static=(2, 8))
    yield Spec("D5", "R1", DYNAMO, 18, *sizes, static=(2, 6))


def specs():
    return [*five_forms(), *activations(), *dispatch(), *all_routers(),
            *static_extents()]
