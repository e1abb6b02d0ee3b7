#!/usr/bin/env python3
"""Holds what shape inference says against what really comes out.

Cases are the operator tests that the onnx package generates and, where it
exists, the corpus of models. Each operator test is imported with every extent
of every input a symbol of its own; with --all also as it is, and with one
symbol for each size, and what operators expand to. Operator tests bring their
outputs along; models of the corpus are run by ONNX Runtime with every
intermediate value as an output. Each inferred extent, a number or an expression
such as `past+seq`, has to be what the value has, and every text has to mean one
number throughout a run: that is what the compiler relies on.

usage: shapes.py [-k REGEX] [--all] [--models FOLDER] [--tool MOE_OPT]
"""
import argparse
import concurrent.futures
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


# ---------------------------------------------------------------------------
# Reading the text of a module
# ---------------------------------------------------------------------------

STRING = r'"((?:[^"\\]|\\.)*)"'


def unescape(text):
    """MLIR's escapes: backslash and two hexadecimal digits, or a character."""
    out = bytearray()
    i = 0
    data = text.encode()
    while i < len(data):
        if data[i] != ord("\\"):
            out.append(data[i])
            i += 1
        elif re.fullmatch(rb"[0-9A-Fa-f]{2}", data[i + 1:i + 3]):
            out.append(int(data[i + 1:i + 3], 16))
            i += 3
        else:
            out.append(data[i + 1])
            i += 2
    return out.decode(errors="replace")


def bracketed(text, start):
    """The list that begins at `start`, strings read as a whole."""
    depth, i = 0, start
    while True:
        if text[i] == '"':
            i = re.compile(STRING).match(text, i).end()
            continue
        depth += text[i] == "["
        depth -= text[i] == "]"
        i += 1
        if depth == 0:
            return text[start:i]


def list_attribute(text, name):
    at = re.search(rf"(?<![\w.]){re.escape(name)} = (?=\[)", text)
    if not at:
        return None
    body = bracketed(text, at.end())
    body = re.sub(r"\bunit\b", "null", body)
    body = re.sub(STRING, lambda m: json.dumps(unescape(m.group(1))), body)
    return json.loads(body)


def tensor_dims(text):
    """Dimensions of the first type in text: numbers or None; None: unranked."""
    match = re.match(r"tensor<(\*|(?:(?:\d+|\?)x)*)", text)
    if not match or match.group(1) == "*":
        return None
    return [None if d == "?" else int(d) for d in match.group(1).split("x")[:-1]]


def split_types(text):
    """`(a, b)` or `a` as a list of types."""
    types, depth, begin = [], 0, 0
    text = text.strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    for i, c in enumerate(text):
        depth += c in "<("
        depth -= c in ">)"
        if c == "," and depth == 0:
            types.append(text[begin:i].strip())
            begin = i + 1
    return types + [text[begin:].strip()]


class Inferred:
    """Arguments and results of a function's top level by ONNX name."""

    def __init__(self, text):
        self.values = {}
        header = next(l for l in text.splitlines() if "func.func" in l)
        for match in re.finditer(r"%[\w.$-]+: (tensor<[^ ]*>)( \{)?", header):
            if not match.group(2):
                continue
            depth, end = 1, match.end()
            while depth:
                if header[end] == '"':
                    end = re.compile(STRING).match(header, end).end()
                    continue
                depth += {"{": 1, "}": -1}.get(header[end], 0)
                end += 1
            attrs = header[match.end():end]
            name = re.search(rf"onnx\.name = {STRING}", attrs)
            dims = tensor_dims(match.group(1))
            names = list_attribute(attrs, "onnx.dims") or [""] * len(dims or [])
            if name and dims is not None:
                number = len(self.values)
                self.values[unescape(name.group(1))] = [
                    d if d is not None else quote(n) or f"?arg{number}.{i}"
                    for i, (d, n) in enumerate(zip(dims, names))
                ]
        for line in text.splitlines():
            # Ops of nested regions are indented further.
            if not re.match(r"    %[^ ]", line):
                continue
            outputs = list_attribute(line, "onnx.outputs")
            arrow = line.rfind(") -> ")
            if not outputs or arrow < 0:
                continue
            types = re.sub(r" \{$| loc\(.*$", "", line[arrow + 5:])
            texts = list_attribute(line, "onnx.dims")
            for i, (name, type_) in enumerate(zip(outputs, split_types(types))):
                dims = tensor_dims(type_)
                if dims is None:
                    continue
                own = texts[i] if texts else [""] * len(dims)
                self.values[name] = [
                    d if d is not None else t for d, t in zip(dims, own)
                ]


def quote(name):
    """As DimContext::quote."""
    if re.fullmatch(r"[A-Za-z_.:$][\w.:$]*", name or ""):
        return name
    if not name:
        return ""
    return "{" + re.sub(r"([\\}])", r"\\\1", name) + "}"


# ---------------------------------------------------------------------------
# Evaluating expressions
# ---------------------------------------------------------------------------

SYMBOL = r"\{(?:[^\\}]|\\.)*\}|[A-Za-z_?.:$][\w.?:$]*"


def bcast(*extents):
    sizes = {e for e in extents if e != 1}
    return sizes.pop() if len(sizes) == 1 else (1 if not sizes else -1)


FUNCTIONS = {"floordiv": lambda a, b: a // b if b else 0,
             "min": min, "max": max, "bcast": bcast}


class Bindings:
    """What each symbol means in one run."""

    def __init__(self):
        self.numbers = {}

    def check(self, text, actual):
        """None, or what is wrong."""
        if isinstance(text, int):
            return None if text == actual else f"{text} instead of {actual}"
        if text == "":
            return f"nothing for a run-time extent (it is {actual})"
        if re.fullmatch(SYMBOL, text) and text not in self.numbers:
            self.numbers[text] = actual
            return None
        missing = []

        def number(match):
            name = match.group(0)
            if name in FUNCTIONS:
                return name
            if name not in self.numbers:
                missing.append(name)
                return "0"
            return f"({self.numbers[name]})"

        code = re.sub(SYMBOL, number, text)
        if missing:
            return None  # cannot be checked yet
        value = eval(code, {"__builtins__": {}}, FUNCTIONS)
        return None if value == actual else f"{text} = {value}, not {actual}"


def compare(inferred, actual, bindings):
    """Problems, and the number of extents compared."""
    problems, count = [], 0
    for name, dims in inferred.values.items():
        value = actual.get(name)
        if not isinstance(value, np.ndarray):
            continue
        if len(dims) != value.ndim:
            problems.append(f"{name}: rank {len(dims)}, not {value.ndim}")
            continue
        for i, (text, extent) in enumerate(zip(dims, value.shape)):
            wrong = bindings.check(text, extent)
            count += 1
            if wrong:
                problems.append(f"{name}[{i}]: {wrong}")
    return problems, count


def infer(tool, path):
    run = subprocess.run([tool, path, "--onnx-infer-shapes"],
                         capture_output=True, text=True, timeout=120)
    if run.returncode:
        raise RuntimeError(run.stderr.strip()[:500])
    return Inferred(run.stdout)


# ---------------------------------------------------------------------------
# Operator tests
# ---------------------------------------------------------------------------

def make_symbolic(model, values, by_size):
    """Extents of inputs become symbols; small lists of integers constants."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    keep = []
    for number, info in enumerate(graph.input):
        value = values.get(info.name)
        tensor = info.type.tensor_type
        if (value is not None and value.dtype in (np.int64, np.int32)
                and value.ndim <= 1 and value.size <= 16):
            graph.initializer.append(numpy_helper.from_array(value, info.name))
            continue
        keep.append(info)
        if value is None or not tensor.HasField("shape"):
            continue
        for i, dim in enumerate(tensor.shape.dim):
            size = dim.dim_value
            dim.Clear()
            dim.dim_param = f"n{size}" if by_size else f"d{number}_{i}"
    kept = [onnx.ValueInfoProto.FromString(k.SerializeToString()) for k in keep]
    del graph.input[:]
    graph.input.extend(kept)
    del graph.value_info[:]
    for info in graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")
    return model


def operator_cases():
    """Name, model and values by name of each test that onnx generates."""
    from onnx.backend.test.case.node import collect_testcases
    with np.errstate(all="ignore"):
        cases = collect_testcases(None)
    for case in sorted(cases, key=lambda c: c.name):
        values = {}
        for infos, given in zip((case.model.graph.input,
                                 case.model.graph.output),
                                case.data_sets[0]):
            for info, value in zip(infos, given):
                if isinstance(value, onnx.TensorProto):
                    value = np.empty(tuple(value.dims), np.uint8)
                if isinstance(value, (np.ndarray, np.generic)):
                    values[info.name] = np.asarray(value)
        yield case.name, case.model, values


def run_operators(tool, pattern, everything, report):
    forms = ("static", "distinct", "by-size") if everything else ("distinct",)

    def check(case):
        name, model, values = case
        found = []
        with tempfile.TemporaryDirectory() as temp:
            for form in forms:
                variant = model
                if form != "static":
                    variant = make_symbolic(model, values, form == "by-size")
                file = os.path.join(temp, form + ".onnx")
                onnx.save(variant, file)
                try:
                    inferred = infer(tool, file)
                except RuntimeError as error:
                    found.append((f"{name} {form}", str(error)))
                    continue
                problems, _ = compare(inferred, values, Bindings())
                found.append((f"{name} {form}", "; ".join(problems)))
        return found

    def wanted(case):
        name, model, _ = case
        opsets = {o.domain: o.version for o in model.opset_import}
        return (re.search(pattern, name) and opsets.get("", 0) >= 13
                and not set(opsets) - {"", "ai.onnx"}
                and (everything or not name.endswith("_expanded")))

    cases = [case for case in operator_cases() if wanted(case)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(check, cases):
            for name, problem in found:
                report(name, problem)


# ---------------------------------------------------------------------------
# Corpus
# ---------------------------------------------------------------------------

def run_corpus(tool, pattern, folder, report):
    import onnxruntime as ort
    ort.set_default_logger_severity(4)
    for path in sorted(glob.glob(os.path.join(folder, "*", "model.onnx"))):
        name = os.path.basename(os.path.dirname(path))
        data = os.path.join(os.path.dirname(path), "test_data_set_0")
        if not re.search(pattern, name) or not os.path.isdir(data):
            continue
        try:
            inferred = infer(tool, path)
        except RuntimeError as error:
            report(name, str(error))
            continue
        model = onnx.load(path)
        declared = {o.name for o in model.graph.output}
        model.graph.output.extend(
            onnx.ValueInfoProto(name=o) for node in model.graph.node
            for o in node.output if o and o not in declared)
        feeds = {}
        for i, info in enumerate(model.graph.input):
            file = os.path.join(data, f"input_{i}.pb")
            if os.path.exists(file):
                tensor = onnx.TensorProto()
                with open(file, "rb") as f:
                    tensor.ParseFromString(f.read())
                feeds[info.name] = numpy_helper.to_array(tensor)
        options = ort.SessionOptions()
        options.graph_optimization_level = (
            ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
        try:
            session = ort.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
            outputs = session.run(None, feeds)
        except Exception as error:
            report(name, None, f"not run: {str(error)[:100]}")
            continue
        actual = dict(zip((o.name for o in session.get_outputs()), outputs))
        actual.update(feeds)
        bindings = Bindings()
        # Inputs first, then in the order of the graph: symbols get their
        # meaning where they are introduced.
        problems, count = compare(inferred, actual, bindings)
        report(name, "; ".join(problems[:6]), f"{count} extents")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-k", default="", metavar="REGEX")
    parser.add_argument("--all", action="store_true",
                        help="all forms of all operator tests (minutes)")
    parser.add_argument("--models", default=os.path.join(
        os.path.dirname(ROOT), "shared", "models"))
    parser.add_argument("--tool", default=os.path.join(
        ROOT, "build", "bin", "moe-opt"))
    args = parser.parse_args()
    counts = {"passed": 0, "failed": 0, "skipped": 0}

    def report(case, problem, note=""):
        kind = ("skipped" if problem is None
                else "failed" if problem else "passed")
        counts[kind] += 1
        if kind != "passed":
            print(f"{kind.upper()}: {case}: {problem or note}", flush=True)

    run_operators(args.tool, args.k, args.all, report)
    if os.path.isdir(args.models):
        run_corpus(args.tool, args.k, args.models, report)
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
