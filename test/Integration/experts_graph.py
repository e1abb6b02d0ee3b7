"""Modules of `moe` and `onnx` ops for tests: built from numpy, run in several
ways, compared with what the oracle says.

A Graph is one function. Its inputs hold one array per variant (a run of the
function); its outputs are checked against one expected array per variant. All
tests of a family share a module, so that it is compiled once.
"""
import os
import subprocess

import numpy as np
import onnx
from onnx import helper, numpy_helper

NAMES = {"float32": "f32", "float64": "f64", "float16": "f16",
         "bfloat16": "bf16", "int32": "i32", "int64": "i64", "uint8": "ui8",
         "bool": "i1"}
# Region and numpy name of an activation; arguments are %h, or %g and %u.
BODIES = {
    "identity": ("h", []),
    "relu": ("a", ["a = Relu h"]),
    "relu2": ("b", ["a = Relu h", "b = Mul a a"]),
    "gelu": ("a", ["a = Gelu h"]),
    "half": ("a", ["a = 0.5"]),
    "swiglu": ("b", ["s = Sigmoid g", "a = Mul g s", "b = Mul a u"]),
    "geglu": ("b", ["a = Gelu g", "b = Mul a u"]),
    "oai": ("y", ["lim = 1.0", "low = -1.0", "alpha = 1.702", "one = 1.0",
                  "a = Min g lim", "v = Clip u low lim", "b = Mul a alpha",
                  "s = Sigmoid b", "c = Mul a s", "w = Add v one",
                  "y = Mul c w"]),
    "bounded": ("y", ["m = Abs g", "n = Neg m", "y = Clip u n m"]),
}


def activation_region(name):
    """MLIR's text of the region of moe.experts."""
    result, lines = BODIES[name]
    gated = result != "h" and not any(" h" in line for line in lines) \
        and name != "half"
    arguments = "%g: tensor<f32>, %u: tensor<f32>" if gated \
        else "%h: tensor<f32>"
    text = [f"^bb0({arguments}):"]
    for line in lines:
        target, _, rest = line.partition(" = ")
        kind, *operands = rest.split()
        if not operands:
            text.append(f"%{target} = onnx.Constant() {{value = "
                        f"dense<{kind}> : tensor<f32>}} : () -> tensor<f32>")
            continue
        types = ", ".join(["tensor<f32>"] * len(operands))
        text.append(f"%{target} = onnx.{kind}("
                    + ", ".join("%" + operand for operand in operands)
                    + f") : ({types}) -> tensor<f32>")
    text.append(f"moe.yield %{result} : tensor<f32>")
    return "{\n      " + "\n      ".join(text) + "\n    }"


class Value:
    def __init__(self, name, dtype, shape):
        self.name, self.dtype, self.shape = name, np.dtype(dtype), shape

    @property
    def type(self):
        dims = "".join(f"{'?' if d is None else d}x" for d in self.shape)
        return f"tensor<{dims}{NAMES[self.dtype.name]}>"


class Check:
    def __init__(self, case, value, expected, rtol, atol):
        self.case, self.value, self.expected = case, value, expected
        self.rtol, self.atol = rtol, atol


class Graph:
    def __init__(self, opset=21):
        self.opset = opset
        self.lines, self.inputs, self.outputs = [], [], []
        self.checks, self.same = [], []
        self.count = 0
        self.case = ""

    def fresh(self):
        self.count += 1
        return f"%v{self.count}"

    # --- values ----------------------------------------------------------

    def input(self, arrays, *dims):
        """One array per variant; `dims` name the extents that differ, None
        for static ones."""
        arrays = [np.asarray(array) for array in arrays]
        dims = list(dims) + [None] * (arrays[0].ndim - len(dims))
        shape = [None if name else extent
                 for name, extent in zip(dims, arrays[0].shape)]
        value = Value(f"%x{len(self.inputs)}", arrays[0].dtype, shape)
        self.inputs.append((value, arrays, dims))
        return value

    def constant(self, array):
        array = np.ascontiguousarray(array)
        value = Value(self.fresh(), array.dtype, list(array.shape))
        if array.dtype == bool or not array.size:
            raise ValueError("a constant that is not written as bytes")
        self.lines.append(
            f'{value.name} = onnx.Initializer "w{self.count}" = '
            f'dense<"0x{array.tobytes().hex().upper()}"> : {value.type}')
        return value

    def onnx(self, kind, operands, dtype, shape, attributes=""):
        value = Value(self.fresh(), dtype, list(shape))
        types = ", ".join(operand.type for operand in operands)
        names = ", ".join(operand.name for operand in operands)
        self.lines.append(f"{value.name} = onnx.{kind}({names}) "
                          f"{{{attributes}}} : ({types}) -> {value.type}")
        return value

    def cast(self, value, dtype):
        number = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx("Cast", [value], dtype, value.shape,
                         f"to = {number} : i64")

    def text(self, text, dtype, shape):
        """An op whose text is given, without its result."""
        value = Value(self.fresh(), dtype, list(shape))
        self.lines.append(f"{value.name} = {text}")
        return value

    def texts(self, text, *types):
        """As `text`, with one (element type, shape) per result."""
        name = self.fresh()
        self.lines.append(f"{name}:{len(types)} = {text}")
        return [Value(f"{name}#{i}", dtype, list(shape))
                for i, (dtype, shape) in enumerate(types)]

    # --- ops of moe ------------------------------------------------------

    def route(self, logits, k, routing):
        """ids and weights of moe.route; `routing` is what follows k."""
        tokens = logits.shape[0]
        ids = Value("", np.int32, [tokens, k])
        weights = Value("", np.float32, [tokens, k])
        return self.texts(
            f"moe.route {logits.name} {{routing = #moe.routing<k = {k}"
            f"{routing}>}} : {logits.type} -> {ids.type}, {weights.type}",
            (np.int32, ids.shape), (np.float32, weights.shape))

    def experts(self, x, ids, weights, bank, activation, in_scale=1.0,
                scale_at="output", logical=None, values=None):
        """`bank` an experts_oracle.Bank; `values` replaces constants of it."""
        values = dict(values or {})
        for field in bank.FIELDS:
            array = getattr(bank, field)
            if array is not None and field not in values:
                values[field] = self.constant(array)
        text = f"moe.experts {x.name}"
        if ids is not None:
            text += (f" route({ids.name}, {weights.name} : {ids.type}, "
                     f"{weights.type})")
        for field in bank.FIELDS:
            if field in values:
                value = values[field]
                text += f" {field}({value.name} : {value.type})"
        attributes = [f"gate_up = #moe.gate_up<{bank.gate_up}>",
                      f"layout = #moe.layout<{bank.layout}>",
                      f"scale_at = #moe.scale_at<{scale_at}>",
                      f"in_scale = {in_scale:.6e} : f64"]
        if logical is not None:
            attributes.append(f"logical = {logical} : i64")
        shape = [x.shape[0],
                 bank.down.shape[1 if bank.layout == "oi" else 2]]
        result = Value("", x.dtype, shape)
        text += (f" {{{', '.join(attributes)}}} : {x.type} -> {result.type} "
                 + activation_region(activation))
        return self.text(text, x.dtype, shape)

    # --- what is checked -------------------------------------------------

    def output(self, value, expected, rtol=2e-5, atol=2e-5):
        """Expects one array per variant, up to the tolerance."""
        self.outputs.append(value)
        self.checks.append(Check(self.case, value, expected, rtol, atol))

    def equal(self, first, second, rtol=0.0, atol=0.0):
        """Two values that must be the same (bits, by default)."""
        for value in (first, second):
            if value not in self.outputs:
                self.outputs.append(value)
        self.same.append((self.case, first, second, rtol, atol))

    # --- text ------------------------------------------------------------

    def module(self):
        def argument(value, dims):
            names = ", ".join(f'"{name or ""}"' for name in dims)
            return (f'{value.name}: {value.type} {{onnx.name = '
                    f'"{value.name[1:]}", onnx.dims = [{names}]}}')

        arguments = ",\n    ".join(argument(value, dims)
                                   for value, _, dims in self.inputs)
        results = ", ".join(f'{value.type} {{onnx.name = "y{i}"}}'
                            for i, value in enumerate(self.outputs))
        body = "\n    ".join(self.lines)
        names = ", ".join(value.name for value in self.outputs)
        types = ", ".join(value.type for value in self.outputs)
        return (f"module attributes {{onnx.opset_import = {{ai.onnx = "
                f"{self.opset} : i64}}}} {{\n"
                f"  func.func @main({arguments})\n      -> ({results}) {{\n"
                f"    {body}\n    return {names} : {types}\n  }}\n}}\n")


# --- running -----------------------------------------------------------------


class Failure(Exception):
    pass


class Runner:
    """Runs modules with the tools of a build."""

    def __init__(self, tools, folder):
        self.tools, self.folder = tools, folder

    def tool(self, name, *arguments, expect=0):
        done = subprocess.run([os.path.join(self.tools, name), *arguments],
                              capture_output=True, text=True, check=False,
                              timeout=1200)
        if done.returncode != expect:
            raise Failure(f"{name}: exit status {done.returncode}, expected "
                          f"{expect}: {(done.stdout + done.stderr)[:2000]}")
        return done.stdout + done.stderr

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, graph, name):
        path = self.path(name + ".mlir")
        with open(path, "w", encoding="ascii") as file:
            file.write(graph.module())
        return path

    def compile(self, source, name, *options):
        library = self.path(name + ".so")
        self.tool("moe-compile", source, "-o", library, *options)
        return library

    def run_compiled(self, graph, library, variant, expect=0):
        data = library + f".in{variant}"
        out = library + f".out{variant}"
        os.makedirs(data, exist_ok=True)
        for i, (value, arrays, _) in enumerate(graph.inputs):
            with open(os.path.join(data, f"input_{i}.pb"), "wb") as file:
                file.write(numpy_helper.from_array(
                    np.asarray(arrays[variant], order="C"),
                    value.name[1:]).SerializeToString())
        text = self.tool("moe-run", library, "--data", data, "--output", out,
                         expect=expect)
        if expect:
            return text
        results = []
        for i in range(len(graph.outputs)):
            tensor = onnx.TensorProto()
            with open(os.path.join(out, f"output_{i}.pb"), "rb") as file:
                tensor.ParseFromString(file.read())
            results.append(numpy_helper.to_array(tensor))
        return results

    def session(self, path):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        onnx.checker.check_model(path, full_check=True)
        return onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"])

    def run_session(self, graph, session, variant):
        return session.run(None, {
            value.name[1:]: np.asarray(arrays[variant], order="C")
            for value, arrays, _ in graph.inputs})


def difference(got, want, rtol, atol):
    """What is different, or an empty string."""
    if got.shape != want.shape:
        return f"shape {list(got.shape)}, expected {list(want.shape)}"
    a, b = got.astype(np.float64), np.asarray(want, np.float64)
    wrong = ~np.isclose(a, b, rtol, atol, equal_nan=True)
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (f"{int(wrong.sum())} of {want.size} elements differ, first at "
            f"{list(at)}: {a[at]}, expected {b[at]}")


def judge(graph, results, variant, bits=True):
    """{case: problem} of the outputs of one run. Without `bits`, values that
    must have the same bits may differ in their last ones."""
    place = {id(value): i for i, value in enumerate(graph.outputs)}
    problems = {}

    def note(case, text):
        if text:
            problems.setdefault(case, text)

    for check in graph.checks:
        got = results[place[id(check.value)]]
        if got.dtype != check.value.dtype:
            note(check.case, f"element type {got.dtype}")
        note(check.case, difference(got, check.expected[variant], check.rtol,
                                    check.atol))
    for case, first, second, rtol, atol in graph.same:
        a, b = results[place[id(first)]], results[place[id(second)]]
        if not bits:
            rtol, atol = max(rtol, 2e-5), max(atol, 2e-5)
        if rtol == 0 and atol == 0:
            if a.tobytes() != b.tobytes():
                note(case, "bits: " + (difference(a, b, 0, 0) or "differ"))
        else:
            note(case, difference(a, b, rtol, atol))
    return problems
