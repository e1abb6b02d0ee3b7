#!/usr/bin/env python3
"""Compares compiled experts and MatMulNBits with float64 arithmetic.

usage: kernels.py [--bin FOLDER] [-k REGEX] [--mcpu CPU]... [-v]

Layers of experts are drawn over all forms that `moe.experts` has: numbers of
experts and slots, layouts, biases, element types, activations, banks that are
constants, inputs of the model or codes of 2, 4 and 8 bits. Each is compiled
and compared with NumPy in float64 for 0, 1, 3, 17 and 64 tokens, with tokens
spread over experts, all sent to one, and slots left out; then held to its
promise that neither the number of threads nor the other tokens of a batch
change a bit. MatMulNBits is compared with ONNX Runtime as well. What has codes
or weights of bf16 is compiled for each value of --activations.

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import argparse
import dataclasses
import math
import os
import re
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
DTYPES = {"f32": np.float32, "f16": np.float16, "f64": np.float64,
          "bf16": ml_dtypes.bfloat16, "ui8": np.uint8, "i32": np.int32}
TOKENS = (0, 1, 3, 17, 64)
# CPUs without instructions for integer products.
PLAIN = ("x86-64-v3", "x86-64-v4")
# Error of a result relative to its norm, by the type that it is stored in.
BOUNDS = {"f32": 1e-6, "f64": 1e-6, "f16": 4e-4, "bf16": 3e-3}
# The same beside codes, by what becomes of activations.
CODES = {"f32": 0, "exact": 0, "close": 1e-4, "rounded": 3e-2}
# Rows of bf16 beside weights of bf16.
PAIRS = 1e-2


def mlir_type(array_or_dims, kind):
    dims = getattr(array_or_dims, "shape", array_or_dims)
    return "tensor<" + "".join(f"{d}x" for d in dims) + kind + ">"


# --- activations: MLIR text and float64 -------------------------------------

def unary(op, attrs=""):
    return f"%h = onnx.{op}(%g) {attrs}: (tensor<f32>) -> tensor<f32>\n"


def scalar(name, value):
    return (f"%{name} = onnx.Constant() {{value = dense<{value:e}> : "
            f"tensor<f32>}} : () -> tensor<f32>\n")


def binary(result, op, *args):
    kinds = ", ".join(["tensor<f32>"] * len(args))
    return (f"%{result} = onnx.{op}({', '.join('%' + a for a in args)}) : "
            f"({kinds}) -> tensor<f32>\n")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


UNGATED = {
    "relu": (unary("Relu"), lambda g: np.maximum(g, 0)),
    "gelu": (unary("Gelu"), lambda g: g * 0.5 * (1 + erf(g / np.sqrt(2)))),
    "gelu_tanh": (unary("Gelu", '{approximate = "tanh"} '),
                  lambda g: 0.5 * g * (1 + np.tanh(
                      np.sqrt(2 / np.pi) * (g + 0.044715 * g ** 3)))),
    "tanh": (unary("Tanh"), np.tanh),
    "identity": (unary("Identity"), lambda g: g),
    "relu2": (binary("r", "Relu", "g") + binary("h", "Mul", "r", "r"),
              lambda g: np.maximum(g, 0) ** 2),
    # Nothing that vectors have: integer powers loop.
    "power": (
        "%i = onnx.Cast(%g) {to = 6 : i64} : (tensor<f32>) -> tensor<i32>\n"
        "%c = onnx.Constant() {value = dense<3> : tensor<i32>} : () -> tensor<i32>\n"
        "%p = onnx.Pow(%i, %c) : (tensor<i32>, tensor<i32>) -> tensor<i32>\n"
        "%h = onnx.Cast(%p) {to = 1 : i64} : (tensor<i32>) -> tensor<f32>\n",
        lambda g: np.trunc(g) ** 3),
}
GATED = {
    "swiglu": (binary("s", "Sigmoid", "g") + binary("a", "Mul", "g", "s")
               + binary("h", "Mul", "a", "u"),
               lambda g, u: g * sigmoid(g) * u),
    "geglu": (binary("a", "Gelu", "g") + binary("h", "Mul", "a", "u"),
              lambda g, u: g * 0.5 * (1 + erf(g / np.sqrt(2))) * u),
    "limited": (
        scalar("l", 0.7) + scalar("n", -0.7) + scalar("al", 1.702)
        + scalar("one", 1) + binary("gc", "Min", "g", "l")
        + binary("uc", "Clip", "u", "n", "l") + binary("sg", "Mul", "al", "gc")
        + binary("s", "Sigmoid", "sg") + binary("a", "Mul", "gc", "s")
        + binary("b", "Add", "uc", "one") + binary("h", "Mul", "a", "b"),
        lambda g, u: np.minimum(g, 0.7) * sigmoid(1.702 * np.minimum(g, 0.7))
        * (np.clip(u, -0.7, 0.7) + 1)),
}


@dataclasses.dataclass
class Layer:
    """One moe.experts op and what it is given."""
    name: str
    experts: int = 4
    slots: int = 2           # 0: dense
    hidden: int = 40
    inner: int = 72
    width: int = 48
    form: str = "none"
    layout: str = "oi"
    act: str = "relu"
    bias: str = ""           # any of g, u, d
    x_type: str = "f32"
    w_type: str = "f32"
    scale_at: str = "output"
    in_scale: float = 1.0
    logical: int = 0
    bits: int = 0
    block: int = 0
    zeros: bool = False
    given: str = ""          # banks that are inputs: any of g, u, d
    rounded: str = ""        # type that weights of type w_type fit as well
    cast: bool = False       # banks are cast to f32 by nodes
    seed: int = 0

    def as_weights(self, values):
        """Weights in the layer's type."""
        if self.rounded:
            values = values.astype(DTYPES[self.rounded])
        return values.astype(DTYPES[self.w_type])

    def build(self, files):
        """Draws the weights; returns arguments and body of the function."""
        rng = np.random.default_rng(self.seed)
        gated = self.form != "none"
        joined = self.form in ("concat", "interleave")
        rows = {"g": self.inner * (2 if joined else 1), "d": self.width}
        depth = {"g": self.hidden, "d": self.inner}
        if self.form == "separate":
            rows["u"], depth["u"] = self.inner, self.hidden
        self.matrices, self.biases, self.extra = {}, {}, {}
        body, arguments = [], []
        for part in rows:
            n, k = rows[part], depth[part]
            text, kind = self.bank(part, n, k, rng, files, body, arguments)
            setattr(self, "op_" + part, f"{text} : {kind}")
            if part in self.bias:
                values = self.as_weights(0.5 * rng.standard_normal(
                    (self.experts, n)))
                self.biases[part] = values.astype(np.float64)
                name = f"%b{part}{self.name}"
                kind = mlir_type(values, self.w_type)
                if part in self.given:
                    arguments.append((name, kind, values))
                else:
                    body.append(files.constant(name, values, self.w_type))
                setattr(self, "bias_" + part, f"{name} : {kind}")
        t = f'"t{self.name}"'
        x = f"%x{self.name}"
        x_type = f"tensor<?x{self.hidden}x{self.x_type}>"
        y_type = f"tensor<?x{self.width}x{self.x_type}>"
        front = [(x, x_type + f' {{onnx.dims = [{t}, ""]}}', "x")]
        route = ""
        if self.slots:
            i_type = f"tensor<?x{self.slots}xi32>"
            w_type = f"tensor<?x{self.slots}xf32>"
            dims = f' {{onnx.dims = [{t}, ""]}}'
            front += [(f"%ids{self.name}", i_type + dims, "ids"),
                      (f"%w{self.name}", w_type + dims, "weights")]
            route = (f" route(%ids{self.name}, %w{self.name} : {i_type}, "
                     f"{w_type})")
        attrs = [f"gate_up = #moe.gate_up<{self.form}>",
                 f"layout = #moe.layout<{self.layout}>"]
        if self.scale_at != "output":
            attrs.append(f"scale_at = #moe.scale_at<{self.scale_at}>")
        if self.in_scale != 1.0:
            attrs.append(f"in_scale = {self.in_scale:e} : f64")
        if self.logical:
            attrs.append(f"logical = {self.logical} : i64")
        operands = f" gate({self.op_g})"
        if self.form == "separate":
            operands += f" up({self.op_u})"
        operands += f" down({self.op_d})"
        for part, name in (("g", "gate"), ("u", "up"), ("d", "down")):
            if part in self.biases:
                operands += f" {name}_bias({getattr(self, 'bias_' + part)})"
        text, _ = (GATED if gated else UNGATED)[self.act]
        block = "%g: tensor<f32>" + (", %u: tensor<f32>" if gated else "")
        body.append(
            f"%y{self.name} = moe.experts {x}{route}{operands} "
            f"{{{', '.join(attrs)}}} : {x_type} -> {y_type} {{\n^bb0({block}):\n"
            f"{text}moe.yield %h : tensor<f32>\n}}")
        return front + arguments, body, (f"%y{self.name}", y_type)

    def bank(self, part, n, k, rng, files, body, arguments):
        """Adds one bank; returns its name and type."""
        name = f"%{part}{self.name}"
        shape = (self.experts, n, k)
        if not self.bits:
            values = self.as_weights(rng.standard_normal(shape) / np.sqrt(k))
            self.matrices[part] = values.astype(np.float64)
            if self.layout == "io":
                values = np.ascontiguousarray(values.transpose(0, 2, 1))
            kind = mlir_type(values, self.w_type)
            if part in self.given:
                arguments.append((name, kind, values))
            else:
                body.append(files.constant(name, values, self.w_type))
            if self.cast:
                wide = mlir_type(values, "f32")
                body.append(f"{name}c = onnx.Cast({name}) {{to = 1 : i64}} : "
                            f"({kind}) -> {wide}")
                name, kind = name + "c", wide
            return name, kind
        codes = rng.integers(0, 1 << self.bits, shape)
        blocks = -(-k // self.block) if self.block else 1
        scales = (rng.uniform(0.5, 1.5, (self.experts, n, blocks))
                  / np.sqrt(k) / (1 << (self.bits - 1))).astype(np.float32)
        zeros = np.full((self.experts, n, blocks), 1 << (self.bits - 1))
        if self.zeros:
            zeros = rng.integers(0, 1 << self.bits, zeros.shape)
        size = self.block or k
        spread = np.repeat(zeros, size, 2)[..., :k]
        self.matrices[part] = (codes - spread) * np.repeat(
            scales.astype(np.float64), size, 2)[..., :k]
        parts = [("q", pack(codes, self.bits), "ui8"),
                 ("s", scales if self.block else scales[..., 0], "f32")]
        if self.zeros:
            parts.append(("z", pack(zeros, self.bits) if self.block else
                          pack(zeros[..., 0], self.bits), "ui8"))
        for mark, values, kind in parts:
            if part in self.given:
                arguments.append((name + mark, mlir_type(values, kind),
                                  values))
            else:
                body.append(files.constant(name + mark, values, kind))
        types = [mlir_type(values, kind) for _, values, kind in parts]
        result = mlir_type(shape, self.w_type)
        zero = (f" zero_points({name}z : {types[2]})" if self.zeros else "")
        attrs = f"bits = {self.bits} : i64" + (
            f", block = {self.block} : i64" if self.block else "")
        body.append(f"{name} = moe.dequantize {name}q, {name}s{zero} "
                    f"{{{attrs}}} : {types[0]}, {types[1]} -> {result}")
        return name, result

    def draw(self, tokens, seed):
        """Inputs for so many tokens."""
        rng = np.random.default_rng(1000 * self.seed + seed)
        x = rng.standard_normal((tokens, self.hidden)).astype(
            DTYPES[self.x_type])
        if not self.slots:
            return {"x": x}
        known = max(self.experts, self.logical)
        ids = rng.integers(0, known, (tokens, self.slots))
        if seed % 3 == 1:    # all to one, experts that nobody picks
            ids[:] = self.experts - 1
        if seed % 3 == 2 and tokens > 1:    # slots left out
            ids[rng.random(ids.shape) < 0.3] = -1
            ids[1] = -1
        weights = rng.uniform(0.1, 1, ids.shape).astype(np.float32)
        return {"x": x, "ids": ids.astype(np.int32), "weights": weights}

    def expect(self, x, ids=None, weights=None):
        x = x.astype(np.float64)
        act = (GATED if self.form != "none" else UNGATED)[self.act][1]
        zero = np.zeros((self.experts, 1))
        bias = lambda part: self.biases.get(part, zero)

        def run(e, rows):
            rows = rows * self.in_scale
            g = rows @ self.matrices["g"][e].T + bias("g")[e]
            if self.form == "none":
                h = act(g)
            elif self.form == "separate":
                h = act(g, rows @ self.matrices["u"][e].T + bias("u")[e])
            elif self.form == "concat":
                h = act(g[:, :self.inner], g[:, self.inner:])
            else:
                h = act(g[:, 0::2], g[:, 1::2])
            return h @ self.matrices["d"][e].T + bias("d")[e]

        if ids is None:
            return run(0, x)
        y = np.zeros((len(x), self.width))
        for slot in range(self.slots):
            for e in range(self.experts):
                chosen = np.flatnonzero(ids[:, slot] == e)
                w = weights[chosen, slot, None].astype(np.float64)
                if self.scale_at == "input":
                    y[chosen] += run(e, x[chosen] * w)
                else:
                    y[chosen] += run(e, x[chosen]) * w
        return y


def pack(codes, bits):
    """Codes along the last axis into bytes, the lowest bits first."""
    per = 8 // bits
    short = -codes.shape[-1] % per
    codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, short)])
    out = np.zeros(codes.shape[:-1] + (codes.shape[-1] // per,), np.uint8)
    for i in range(per):
        out |= (codes[..., i::per] << (i * bits)).astype(np.uint8)
    return out


class Files:
    """Constants of a module: in the text, or in a file beside it."""

    def __init__(self, path):
        self.path, self.data, self.turn = path, bytearray(), 0

    def constant(self, name, values, kind):
        shape = mlir_type(values, kind)
        raw = np.ascontiguousarray(values).tobytes()
        self.turn += 1
        if self.turn % 3 == 0 and values.size > 1:
            value = f'dense<"0x{raw.hex().upper()}"> : {shape}'
        else:
            value = (f'#onnx.file<"{self.path}", {len(self.data)}, '
                     f"{len(raw)}> : {shape}")
            self.data += raw
        return f'{name} = onnx.Initializer "{name[1:]}" = {value}'


def layers():
    """What is drawn: every form by itself, then mixtures."""
    all_forms = ("none", "separate", "concat", "interleave")
    out = []

    def add(**fields):
        fields.setdefault("name", f"l{len(out)}")
        fields["seed"] = len(out) + 1
        if "act" not in fields:
            pool = GATED if fields.get("form", "none") != "none" else UNGATED
            # It has steps: no bound on its errors follows from its input's.
            pool = [act for act in pool if act != "power" or not (
                "bits" in fields or fields.get("w_type") == "bf16")]
            fields["act"] = pool[len(out) % len(pool)]
        out.append(Layer(**fields))

    for form in all_forms:
        for layout in ("oi", "io"):
            add(form=form, layout=layout)
            add(form=form, layout=layout, bias="gud" if form == "separate"
                else "gd", experts=5, slots=3, inner=33, width=65, hidden=17)
    for act in UNGATED:
        add(act=act, experts=2, slots=1)
    for act in GATED:
        add(form="interleave", act=act, bias="d")
    for w_type in ("f16", "bf16", "f64"):
        add(form="concat", w_type=w_type, bias="gd")
        add(form="separate", layout="io", w_type=w_type, x_type=w_type,
            bias="u")
    # Pairs of an odd number of elements, and many rows for an expert.
    for layout in ("oi", "io"):
        add(w_type="bf16", layout=layout, hidden=37, inner=301, width=65,
            form="separate", bias="ud")
        add(w_type="bf16", layout=layout, hidden=256, inner=129, experts=2,
            form="interleave")
    # The same numbers as f32 behind them: they have to give the same bits.
    for w_type in ("f16", "bf16"):
        for fields in ({"bias": "d"}, {"form": "separate"},
                       {"form": "interleave", "layout": "io", "bias": "g"},
                       {"experts": 1, "slots": 0, "form": "concat"},
                       {"form": "concat", "cast": True},
                       {"hidden": 520, "inner": 33, "width": 31, "experts": 2}):
            add(w_type=w_type, **fields)
            twin = dataclasses.replace(out[-1], name=out[-1].name + "f",
                                       w_type="f32", rounded=w_type,
                                       cast=False)
            out.append(twin)
    add(x_type="f16"), add(x_type="bf16"), add(x_type="f64")
    add(form="concat", scale_at="input", bias="gd"), add(in_scale=0.25)
    add(form="interleave", scale_at="input", in_scale=2.0)
    add(experts=3, logical=7, form="concat"), add(experts=1, slots=1)
    add(experts=16, slots=4, form="interleave")
    add(experts=1, slots=0, form="concat", bias="gd")
    add(experts=1, slots=0, x_type="f16"), add(experts=1, slots=0,
                                               form="separate", given="gud")
    add(hidden=1000, inner=1000, width=1000, experts=2, form="concat")
    add(hidden=72, inner=1000, width=72, experts=2, slots=1, bias="g")
    # Weights that come with a run.
    for form in all_forms:
        add(form=form, given="gud", bias="gud" if form == "separate" else "gd")
        add(form=form, given="g", layout="io", w_type="f16")
    add(given="d", hidden=600, form="separate", bias="ud")
    # Codes.
    for bits in (2, 4, 8):
        for block in (0, 16, 32, 64):
            for zeros in (False, True):
                add(form=all_forms[len(out) % 4], bits=bits, block=block,
                    zeros=zeros, hidden=96, inner=352, width=40,
                    bias="d" if zeros else "")
    add(bits=4, block=32, hidden=80, inner=88, zeros=True, form="concat")
    add(bits=4, block=32, given="gud", form="separate", hidden=96, inner=64,
        zeros=True)
    add(bits=2, given="gd", form="concat", zeros=True, hidden=96, inner=64)
    add(bits=8, block=64, given="d", hidden=96, inner=300, w_type="f16")
    add(bits=4, block=6, hidden=96, inner=60), add(bits=4, block=3, hidden=96,
                                                   inner=60, zeros=True)
    add(bits=4, block=512, hidden=1024, inner=520, experts=2)
    add(bits=4, block=16, slots=0, experts=1, hidden=64, inner=64)
    # Many rows for an expert: several blocks, which fetch ahead.
    for bits in (2, 4, 8):
        add(bits=bits, block=32, experts=2, slots=2, hidden=256, inner=128,
            width=100, form="interleave", zeros=bits == 4, bias="gd")
    add(bits=8, block=128, hidden=328, inner=200, zeros=True, form="separate")
    return out


class Suite:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.passed = self.failed = self.number = 0

    def say(self, name, problem):
        if problem:
            self.failed += 1
            print(f"  FAILED: {name}: {problem}")
        else:
            self.passed += 1
            if self.options.v:
                print(f"  {name}: passed")

    def tool(self, name, *arguments):
        done = subprocess.run(
            [os.path.join(self.options.bin, name), *arguments],
            capture_output=True, text=True, timeout=600, check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    def run(self, model, arrays, *flags):
        """Outputs of a model, or the text of an error."""
        self.number += 1
        data = os.path.join(self.folder, f"in{self.number}")
        out = os.path.join(self.folder, f"out{self.number}")
        os.makedirs(data)
        for i, (name, array) in enumerate(arrays):
            with open(os.path.join(data, f"input_{i}.pb"), "wb") as file:
                file.write(numpy_helper.from_array(
                    np.ascontiguousarray(array), name).SerializeToString())
        code, text = self.tool("moe-run", model, "--data", data, "--output",
                               out, *flags)
        if code:
            return code, text
        results = []
        while True:
            path = os.path.join(out, f"output_{len(results)}.pb")
            if not os.path.exists(path):
                return 0, results
            tensor = TensorProto()
            with open(path, "rb") as file:
                tensor.ParseFromString(file.read())
            results.append(numpy_helper.to_array(tensor))

    # --- experts ------------------------------------------------------------

    def module(self, group, path):
        """Writes one module with all layers of a group."""
        files = Files(path + ".bin")
        arguments, body, results = [], [], []
        for layer in group:
            more, lines, result = layer.build(files)
            arguments += [(name, kind, what, layer)
                          for name, kind, what in more]
            body += lines
            results.append(result)
        signature = ", ".join(f"{name}: {kind}"
                              for name, kind, _, _ in arguments)
        types = ", ".join(kind for _, kind in results)
        text = (f"module {{\nfunc.func @main({signature}) -> ({types}) {{\n"
                + "\n".join(body) + "\nreturn "
                + ", ".join(name for name, _ in results)
                + f" : {types}\n}}\n}}\n")
        with open(path + ".mlir", "w", encoding="ascii") as file:
            file.write(text)
        with open(path + ".bin", "wb") as file:
            file.write(files.data)
        return arguments

    @staticmethod
    def feeds(arguments, drawn):
        return [(name[1:], drawn[id(layer)][what] if isinstance(what, str)
                 else what) for name, _, what, layer in arguments]

    def check_group(self, number, group, cpu, activations="exact"):
        path = os.path.join(self.folder, f"{cpu}{activations}{number}")
        arguments = self.module(group, path)
        so = path + ".so"
        code, text = self.tool("moe-compile", path + ".mlir", "-o", so,
                               f"--mcpu={cpu}", f"--activations={activations}")
        names = [f"{layer.name} on {cpu} activations={activations} "
                 f"{describe(layer)}" for layer in group]
        if code:
            if len(group) > 1:
                for i, layer in enumerate(group):
                    self.check_group(f"{number}.{i}", [layer], cpu, activations)
                return
            self.say(names[0], f"moe-compile: exit status {code}: {text[:800]}")
            return
        problems = [""] * len(group)

        def note(i, problem):
            problems[i] = problems[i] or problem

        for seed, tokens in enumerate(TOKENS):
            drawn = {id(layer): layer.draw(tokens, seed) for layer in group}
            code, results = self.run(so, self.feeds(arguments, drawn),
                                     "--threads", "1")
            if code:
                for i in range(len(group)):
                    note(i, f"T = {tokens}: exit status {code}: {results}")
                break
            for i, layer in enumerate(group):
                want = layer.expect(**drawn[id(layer)])
                got = results[i].astype(np.float64)
                if got.shape != want.shape:
                    note(i, f"T = {tokens}: shape {got.shape}, expected "
                            f"{want.shape}")
                    continue
                norm = np.linalg.norm(want)
                error = np.linalg.norm(got - want) / (norm or 1)
                bound = BOUNDS[layer.x_type]
                if layer.bits and cpu not in PLAIN:
                    bound = max(bound, CODES[activations])
                elif layer.w_type == "bf16" and activations == "rounded":
                    bound = max(bound, PAIRS)
                if not error <= bound:
                    note(i, f"T = {tokens}: relative error {error:.2e}, "
                            f"{bound:.0e} is accepted")
            for threads in (2, 3, 7):
                code, others = self.run(so, self.feeds(arguments, drawn),
                                        "--threads", str(threads))
                for i in range(len(group)):
                    if code or others[i].tobytes() != results[i].tobytes():
                        note(i, f"T = {tokens}: {threads} threads give other "
                                "bits than 1")
            if tokens == 17:
                for token in (0, 9):
                    alone = {key: {what: array[token:token + 1]
                                   for what, array in inputs.items()}
                             for key, inputs in drawn.items()}
                    code, single = self.run(so, self.feeds(arguments, alone))
                    for i in range(len(group)):
                        if code or (single[i].tobytes()
                                    != results[i][token:token + 1].tobytes()):
                            note(i, f"token {token} alone has other bits than "
                                    "among 17")
            for i in range(1, len(group)):
                if (group[i].name == group[i - 1].name + "f"
                        and results[i].tobytes() != results[i - 1].tobytes()):
                    note(i, f"T = {tokens}: other bits than with weights of "
                            f"type {group[i].rounded}")
        # An id that is no expert ends the run.
        for i, layer in enumerate(group):
            if problems[i] or not layer.slots:
                continue
            for bad in (max(layer.experts, layer.logical), -2, 2 ** 31 - 1):
                drawn = {id(other): other.draw(3, 0) for other in group}
                drawn[id(layer)]["ids"][1, 0] = bad
                code, text = self.run(so, self.feeds(arguments, drawn))
                if code != 1 or "an id is out of range; [-1, " not in text:
                    note(i, f"id {bad}: exit status {code}, expected 1 and a "
                            f"message about ids: {str(text)[:200]}")
            break
        for name, problem in zip(names, problems):
            self.say(name, problem)

    # --- MatMulNBits ----------------------------------------------------------

    def check_matmul(self, number, cpu, k, n, bits, block, zeros, bias,
                     dims, kind=np.float32, groups=None, level=0,
                     activations="exact"):
        name = (f"MatMulNBits on {cpu} K={k} N={n} bits={bits} block={block} "
                f"zeros={zeros or 'none'} bias={bias} {np.dtype(kind).name}"
                + (" g_idx" if groups is not None else "")
                + (f" accuracy_level={level}" if level else "")
                + f" activations={activations}")
        rng = np.random.default_rng(number)
        blocks = -(-k // block)
        codes = rng.integers(0, 1 << bits, (n, blocks * block))
        scales = (rng.uniform(0.5, 1.5, (n, blocks)) / np.sqrt(k)
                  / (1 << (bits - 1))).astype(kind)
        points = np.full((n, blocks), float(1 << (bits - 1)))
        inputs = ["A", "B", "scales"]
        constants = [("B", pack(codes, bits).reshape(n, blocks, -1)),
                     ("scales", scales)]
        if zeros == "codes":
            points = rng.integers(0, 1 << bits, points.shape)
            constants.append(("zeros", pack(points, bits)))
        elif zeros == "floats":
            points = rng.uniform(0, 1 << bits, points.shape).astype(kind)
            constants.append(("zeros", points))
        inputs.append("zeros" if zeros else "")
        inputs.append("groups" if groups is not None else "")
        if groups is not None:
            constants.append(("groups", groups.astype(np.int32)))
        if bias:
            inputs.append("bias")
            constants.append(("bias", rng.standard_normal(n).astype(kind)))
        while not inputs[-1]:
            inputs.pop()
        node = helper.make_node("MatMulNBits", inputs, ["Y"], K=k, N=n,
                                bits=bits, block_size=block,
                                accuracy_level=level, domain="com.microsoft")
        data_type = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        outer = [f"d{i}" for i in range(dims)]
        graph = helper.make_graph(
            [node], "g",
            [helper.make_tensor_value_info("A", data_type, [*outer, k])],
            [helper.make_tensor_value_info("Y", data_type, [*outer, n])],
            [numpy_helper.from_array(np.asarray(v), c) for c, v in constants])
        model = helper.make_model(graph, opset_imports=[
            helper.make_opsetid("", 20),
            helper.make_opsetid("com.microsoft", 1)])
        model.ir_version = 10
        path = os.path.join(self.folder, f"{cpu}{activations}m{number}")
        onnx.save(model, path + ".onnx")
        code, text = self.tool("moe-compile", path + ".onnx", "-o",
                               path + ".so", f"--mcpu={cpu}",
                               f"--activations={activations}")
        plain = groups is None or np.array_equal(groups, np.arange(k) // block)
        if not plain:
            wrong = code != 1 or "g_idx" not in text
            self.say(name, f"exit status {code}: {text}" if wrong else "")
            return
        if code:
            self.say(name, f"moe-compile: exit status {code}: {text[:800]}")
            return
        matrix = ((codes.reshape(n, blocks, block)
                   - points.astype(np.float64)[..., None])
                  * scales.astype(np.float64)[..., None]).reshape(n, -1)[:, :k]
        problem = ""
        for m in (0, 1, 5, 33):
            shape = [2] * (dims - 1) + [m, k]
            a = rng.standard_normal(shape).astype(kind)
            rounded = to_eight_bits(a, block) if level == 4 else a
            want = rounded.astype(np.float64) @ matrix.T
            if level == 4 and m:
                # The case says nothing if rounding does not show.
                exact = a.astype(np.float64) @ matrix.T
                assert np.linalg.norm(want - exact) > 1e-4 * np.linalg.norm(
                    exact), name
            if bias:
                want = want + constants[-1][1].astype(np.float64)
            code, results = self.run(path + ".so", [("A", a)])
            if code:
                problem = problem or f"exit status {code}: {results}"
                break
            got = results[0].astype(np.float64)
            if got.shape != want.shape:
                problem = problem or f"shape {got.shape}"
                break
            bound = BOUNDS["f32" if kind == np.float32 else "f16"]
            # What is rounded in any case is exact from there on.
            digits = cpu not in PLAIN and level != 4
            if digits:
                bound = max(bound, CODES[activations])
            error = np.linalg.norm(got - want) / (np.linalg.norm(want) or 1)
            if not error <= bound:
                problem = problem or f"M = {m}: relative error {error:.2e}"
            if kind == np.float32 and zeros != "floats" and m:
                problem = problem or self.compare_ort(
                    model, a, got, 2e-3 if level == 4 else max(
                        1e-5, CODES[activations] if digits else 0))
        self.say(name, problem)

    def check_strange(self, block, cpu, activations):
        """Rows of zeros, of tiny and of huge numbers; a NaN or an infinity
        makes all of its row no numbers, and no other."""
        name = (f"strange rows, block={block} on {cpu} "
                f"activations={activations}")
        k, n, bits = 256, 40, 4
        rng = np.random.default_rng(block)
        codes = rng.integers(0, 1 << bits, (n, k))
        scales = rng.uniform(0.5, 1.5, (n, k // block)).astype(np.float32)
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            [helper.make_node("MatMulNBits", ["A", "B", "scales"], ["Y"], K=k,
                              N=n, bits=bits, block_size=block,
                              domain="com.microsoft")],
            "g", [value("A", TensorProto.FLOAT, ["t", k])],
            [value("Y", TensorProto.FLOAT, ["t", n])],
            [numpy_helper.from_array(pack(codes, bits).reshape(
                n, k // block, -1), "B"),
             numpy_helper.from_array(scales, "scales")])
        model = helper.make_model(graph, opset_imports=[
            helper.make_opsetid("", 20),
            helper.make_opsetid("com.microsoft", 1)])
        model.ir_version = 10
        path = os.path.join(self.folder, f"{cpu}{activations}s{block}")
        onnx.save(model, path + ".onnx")
        code, text = self.tool("moe-compile", path + ".onnx", "-o",
                               path + ".so", f"--mcpu={cpu}",
                               f"--activations={activations}")
        if code:
            self.say(name, f"moe-compile: exit status {code}: {text[:800]}")
            return
        matrix = (codes - 8.0) * np.repeat(scales.astype(np.float64), block, 1)
        a = rng.standard_normal((9, k)).astype(np.float32)
        a[1] = 0
        a[2] *= np.float32(1e-42)
        a[3] *= np.float32(1e30)
        a[4, 5], a[6, 250], a[7, 100] = np.nan, np.inf, -np.inf
        a[8, 17] = 3e5    # beside it the others of its block are small
        code, results = self.run(path + ".so", [("A", a)])
        if code:
            self.say(name, f"exit status {code}: {results}")
            return
        got, problem = results[0].astype(np.float64), ""
        for row in (4, 6, 7):
            if np.isfinite(got[row]).any():
                problem = f"row {row} with {a[row].max()} has finite results"
        for row in (0, 1, 2, 3, 5, 8):
            # By the norms of the factors: a block has one scale.
            limit = (np.linalg.norm(a[row].astype(np.float64))
                     * np.linalg.norm(matrix, axis=1).max() + 1e-28)
            bound = max(1e-6, CODES[activations] if cpu not in PLAIN else 0)
            worst = np.abs(got[row] - a[row].astype(np.float64) @ matrix.T)
            if not (worst <= bound * limit).all():
                problem = problem or (f"row {row}: error {worst.max():.2e}, "
                                      f"{bound * limit:.2e} is accepted")
        self.say(name, problem)

    @staticmethod
    def compare_ort(model, a, got, bound):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options,
                providers=["CPUExecutionProvider"])
        except Exception:  # pylint: disable=broad-except
            return ""  # fewer forms run there
        want = session.run(None, {"A": a})[0].astype(np.float64)
        error = np.linalg.norm(got - want) / np.linalg.norm(want)
        return "" if error < bound else f"differs from ONNX Runtime: {error:.2e}"


def to_eight_bits(a, block):
    """Rows in 8 bits, a scale of largest magnitude / 127 for each block."""
    k = a.shape[-1]
    blocks = -(-k // block)
    x = np.zeros((*a.shape[:-1], blocks * block), np.float32)
    x[..., :k] = a
    x = x.reshape(*a.shape[:-1], blocks, block)
    most = np.abs(x).max(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        inverse = np.where(most == 0, np.float32(0), np.float32(127) / most)
    return (np.rint(x * inverse) * (most / np.float32(127))).reshape(*a.shape[:-1], blocks * block)[..., :k]


def describe(layer):
    default = Layer("")
    fields = [f"{field.name}={getattr(layer, field.name)}"
              for field in dataclasses.fields(Layer)
              if field.name not in ("name", "seed")
              and getattr(layer, field.name) != getattr(default, field.name)]
    return "(" + ", ".join(fields) + ")"


def check_all(suite, cpu, activations, drawn):
    pattern = suite.options.k
    chosen = [layer for layer in drawn
              if re.search(pattern, layer.name + describe(layer))]
    number = 0
    while chosen:
        size = 12
        while size < len(chosen) and chosen[size].rounded:
            size += 1    # beside the layer that it is compared with
        suite.check_group(number, chosen[:size], cpu, activations)
        number, chosen = number + 1, chosen[size:]
    if not re.search(pattern, "MatMulNBits"):
        return

    def matmul(*arguments, **keywords):
        suite.check_matmul(*arguments[:1], cpu, *arguments[1:], **keywords,
                           activations=activations)

    number = 0
    for bits in (2, 4, 8):
        for block, k, n in ((16, 64, 40), (32, 72, 33), (128, 300, 64)):
            for zeros in ("", "codes", "floats"):
                number += 1
                matmul(number, k, n, bits, block, zeros, number % 2 == 0,
                       1 + number % 3)
    matmul(101, 64, 32, 4, 32, "codes", True, 2, np.float16)
    matmul(102, 64, 32, 4, 32, "", False, 2, groups=np.arange(64) // 32)
    matmul(103, 64, 32, 4, 32, "", False, 2, groups=np.arange(64)[::-1] // 32)
    matmul(104, 128, 48, 4, 32, "", True, 2, level=4)
    matmul(105, 100, 40, 8, 32, "codes", False, 3, level=4)
    matmul(106, 300, 40, 4, 128, "", False, 1, level=4)
    for block in (16, 128):
        suite.check_strange(block, cpu, activations)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(
        os.environ.get("MOE_BUILD", os.path.join(ROOT, "build")), "bin"),
        help="where moe-compile and moe-run are")
    parser.add_argument("-k", default="", metavar="REGEX",
                        help="only layers whose description matches")
    parser.add_argument("--mcpu", action="append",
                        help="CPUs to compile for (default: native and "
                             "x86-64-v3)")
    parser.add_argument("-v", action="store_true", help="list all tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        suite = Suite(options, folder)
        for cpu in options.mcpu or ("native", "x86-64-v3"):
            check_all(suite, cpu, "exact", layers())
            if cpu not in PLAIN:
                for activations in ("f32", "close", "rounded"):
                    check_all(suite, cpu, activations,
                              [layer for layer in layers() if layer.bits
                               or (layer.w_type == "bf16"
                                   and activations == "rounded")])
    print(f"{suite.passed} passed, {suite.failed} failed")
    return 1 if suite.failed or not suite.passed else 0


if __name__ == "__main__":
    sys.exit(main())
