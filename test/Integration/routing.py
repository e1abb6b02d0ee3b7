#!/usr/bin/env python3
"""Compares compiled routers with the NumPy oracle, and checks their properties.

usage: routing.py [--bin FOLDER] [-v] [GROUP...]

Groups: published (46 routers of released models), golden (the same against
values that a reference program computed, make_routing_golden.py), fields (one router per field
of #moe.routing, which fails if that field is ignored), forms (types, extents,
sizes), mixtures (random settings), balanced (experts that choose tokens,
statistics, soft routing), errors (what must end with an error).

The routers of a group are the results of ONE function, compiled once and run
with several sets of inputs: many tokens, one, none, all equal, with -inf and
NaN. Selections are compared as sets of experts, weights as matrices [T, E]. Of
many tokens, those for which float32 cannot tell scores apart
(routing_oracle.py) are left out and counted; more than 1 % of them is a
failure. The same function is written as a graph of ONNX operators
(moe-decompose) and run by ONNX Runtime.

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import argparse
import contextlib
import dataclasses
import os
import re
import subprocess
import sys
import tempfile

import make_routing_golden
import numpy as np
import onnx
import routing_cases
import routing_oracle as oracle
from onnx import TensorProto, numpy_helper
from routing_cases import Case, experts_of, mlir_type

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
TOLERANCE = 1e-5
TOKENS = 400
OPSET = 18


class Failure(Exception):
    """What a check found."""


# --- compiling and running ---------------------------------------------------


def write_tensor(path, array, name):
    with open(path, "wb") as file:
        file.write(numpy_helper.from_array(array, name).SerializeToString())


def read_tensor(path):
    tensor = TensorProto()
    with open(path, "rb") as file:
        tensor.ParseFromString(file.read())
    return numpy_helper.to_array(tensor)


class Function:
    """A function of moe ops: its text, its compiled form, its ONNX graph.

    inputs   {name: MLIR type}
    lines    ops that define `%NAME` for every name in outputs
    outputs  {name: MLIR type}
    """

    def __init__(self, tools, name, inputs, lines, outputs):
        self.tools, self.name = tools, name
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.folder = os.path.join(tools.folder, name)
        self.runs = 0
        os.makedirs(self.folder)
        arguments = ", ".join(
            f'%{i}: {text} {{onnx.name = "{i}", onnx.dims = '
            f'{self.dims(text)}}}' for i, text in inputs.items())
        results = ", ".join(f'{text} {{onnx.name = "{o}"}}'
                            for o, text in outputs.items())
        values = ", ".join("%" + o for o in outputs)
        types = ", ".join(outputs.values())
        text = (f'module attributes {{onnx.opset_import = {{"ai.onnx" = '
                f'{OPSET} : i64}}, onnx.model = {{ir_version = 10 : i64}}}} '
                '{\n'
                f"func.func @main({arguments}) -> ({results}) {{\n"
                + "\n".join(lines)
                + f"\nreturn {values} : {types}\n}}\n}}\n")
        self.source = os.path.join(self.folder, "source.mlir")
        with open(self.source, "w", encoding="ascii") as file:
            file.write(text)

    @staticmethod
    def dims(text):
        """All first extents are the number of tokens."""
        extents = re.match(r"tensor<((?:[?\d]+x)*)", text).group(1)
        names = ["tokens" if not i and e == "?" else
                 f"experts{i}" if e == "?" else ""
                 for i, e in enumerate(extents.split("x")[:-1])]
        return "[" + ", ".join(f'"{name}"' for name in names) + "]"

    def compile(self):
        self.library = os.path.join(self.folder, "model.so")
        self.tools.check("moe-compile", self.source, "-o", self.library)

    def start(self, arrays, *flags):
        """Runs with {name: array}; (exit status, text, folder of results)."""
        self.runs += 1
        data = os.path.join(self.folder, f"in{self.runs}")
        out = os.path.join(self.folder, f"out{self.runs}")
        os.makedirs(data)
        for i, name in enumerate(self.inputs):
            write_tensor(os.path.join(data, f"input_{i}.pb"), arrays[name],
                         name)
        code, text = self.tools.run("moe-run", self.library, "--data", data,
                                    "--output", out, *flags)
        return code, text, out

    def run(self, arrays, *flags):
        code, text, out = self.start(arrays, *flags)
        if code:
            raise Failure(f"moe-run: exit status {code}: {text[:500]}")
        return {name: read_tensor(os.path.join(out, f"output_{i}.pb"))
                for i, name in enumerate(self.outputs)}

    def export(self):
        """Writes the ONNX graph; returns a function that runs it."""
        import onnxruntime
        path = os.path.join(self.folder, "model.onnx")
        self.tools.check("moe-opt", self.source, "--moe-decompose", "-o", path)
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        others = {node.domain for node in model.graph.node} - {""}
        if others:
            raise Failure(f"the graph has operators of {sorted(others)}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"])

        def run(arrays):
            feeds = {name: arrays[name] for name in self.inputs}
            return dict(zip(self.outputs, session.run(self.outputs, feeds)))
        return run


class Tools:
    def __init__(self, folder_of_tools, folder):
        self.bin, self.folder = folder_of_tools, folder

    def run(self, name, *arguments):
        done = subprocess.run([os.path.join(self.bin, name), *arguments],
                              capture_output=True, text=True, timeout=900,
                              check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    def check(self, name, *arguments):
        code, text = self.run(name, *arguments)
        if code:
            raise Failure(f"{name}: exit status {code}: {text[:2000]}")


class Report:
    """Counts checks. `with report.check(name): ...` is one of them."""

    def __init__(self, verbose):
        self.verbose = verbose
        self.passed = self.failed = self.excluded = self.tokens = 0

    @contextlib.contextmanager
    def check(self, name):
        try:
            yield
        except Exception as error:
            # Tools and ONNX Runtime fail in many ways; mistakes in this file
            # are failures too.
            self.failed += 1
            print(f"  FAILED: {name}: {type(error).__name__}: "
                  f"{str(error)[:2000]}")
            return
        self.passed += 1
        if self.verbose:
            print(f"  passed: {name}")


# --- moe.route --------------------------------------------------------------


def route_lines(case):
    weights = "f64" if case.logits[0] == "d" else "f32"
    k = case.routing.k
    results = (f"tensor<?x{k}xi32>", f"tensor<?x{k}x{weights}>")
    operands = " ".join(f"{operand}(%{name} : {mlir_type(name)})"
                        for operand, name in case.inputs()[1:])
    line = (f"%{case.name}_ids, %{case.name}_weights = moe.route "
            f"%{case.logits} {operands} {{routing = {case.routing.mlir()}}} : "
            f"{mlir_type(case.logits)} -> {results[0]}, {results[1]}")
    return line, {f"{case.name}_ids": results[0],
                  f"{case.name}_weights": results[1]}


def function_of(tools, name, cases):
    inputs, lines, outputs = {}, [], {}
    for case in cases:
        inputs.update({i: mlir_type(i) for _, i in case.inputs()})
        line, results = route_lines(case)
        lines.append(line)
        outputs.update(results)
    return Function(tools, name, inputs, lines, outputs)


def results_of(case, results):
    return results[f"{case.name}_ids"], results[f"{case.name}_weights"]


def expect_route(case, arrays):
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return oracle.route(case.routing, **{operand: arrays[name] for
                                             operand, name in case.inputs()})


def compare_route(case, arrays, results, report=None, golden=None):
    """Against the oracle, or against `golden` values (ids, weights); counts
    what is left out into the report."""
    ids, weights = results_of(case, results)
    want_ids, want, clear, ordered = expect_route(case, arrays)
    if golden:
        want_ids, want = golden
    experts = arrays[case.logits].shape[1]
    if ids.shape != want_ids.shape or weights.shape != want.shape:
        raise Failure(f"shapes {ids.shape} and {weights.shape}, expected "
                      f"{want_ids.shape}")
    if ids.dtype != np.int32 or ((ids < -1) | (ids >= experts)).any():
        raise Failure("ids are no experts")
    # 0 / 0 is beyond comparison, but no matter of ties.
    defined = np.isfinite(want).all(1)
    tokens, left_out = len(ids), int((~clear & defined).sum())
    if report is not None:
        report.tokens += tokens
        report.excluded += left_out
    if tokens >= 100 and left_out > 0.01 * tokens:
        raise Failure(f"{left_out} of {tokens} tokens are too close to a tie "
                      "to be compared")
    wrong = clear & (oracle.selected(ids, experts)
                     != oracle.selected(want_ids, experts)).any(1)
    wrong |= ordered & (ids != want_ids).any(1)
    if wrong.any():
        t = int(np.nonzero(wrong)[0][0])
        raise Failure(f"{wrong.sum()} of {tokens} tokens have other experts; "
                      f"token {t}: {ids[t]}, expected {want_ids[t]}")
    got = oracle.scatter(ids, weights, experts)[clear]
    want = oracle.scatter(want_ids, want, experts)[clear]
    finite = np.isfinite(want)
    got, want = got[finite], want[finite]
    error = np.abs(got - want) / np.maximum(1, np.abs(want))
    if error.size and not error.max() <= TOLERANCE:
        raise Failure(f"weights differ by {error.max():.1e}")


def check_values(report, name, cases, runner, arrays, what):
    """One check per case."""
    results = None
    with report.check(f"{name} {what}: runs"):
        results = runner(arrays)
    for case in cases if results else ():
        with report.check(f"{name} {case.name} {what}"):
            compare_route(case, arrays, results, report)
    return results


def inputs_of(cases, tokens, seed):
    names = {name for case in cases for _, name in case.inputs()}
    # Inputs do not depend on which other cases there are.
    return {name: routing_cases.make_input(
        name, tokens, np.random.default_rng([seed, *name.encode()]))
        for name in sorted(names)}


def is_per_token(name):
    return name[0] not in "bs"


def rows(arrays, chosen):
    return {name: array[chosen] if is_per_token(name) else array
            for name, array in arrays.items()}


def is_logits(name):
    return name[0] in "ltuhd"


def same_bits(cases, got, want, chosen):
    """Results `got` are rows `chosen` of `want`."""
    for case in cases:
        for x, y in zip(results_of(case, got), results_of(case, want)):
            if x.tobytes() != np.ascontiguousarray(y[chosen]).tobytes():
                raise Failure(f"{case.name}: other bits")


def check_properties(report, name, cases, function, arrays, results):
    """What holds for every router of the group. `results` are those of
    `arrays`."""
    tokens = TOKENS
    with report.check(f"{name}: bits do not depend on the batch (I-19)"):
        for begin, end in ((0, 1), (1, 64), (64, tokens)):
            part = np.arange(begin, end)
            same_bits(cases, function.run(rows(arrays, part)), results, part)
    with report.check(f"{name}: bits do not depend on the threads"):
        for threads in ("1", "3"):
            same_bits(cases, function.run(arrays, "--threads", threads),
                      results, np.arange(tokens))
    rng = np.random.default_rng(11)
    with report.check(f"{name}: tokens in another order, some twice"):
        chosen = rng.integers(0, tokens, tokens)
        same_bits(cases, function.run(rows(arrays, chosen)), results, chosen)

    with report.check(f"{name}: NaN disturbs no other token"):
        spoilt = dict(arrays)
        bad = rng.permutation(tokens)[:tokens // 4]
        for key in filter(is_logits, arrays):
            spoilt[key] = arrays[key].copy()
            for t in bad:
                count = int(rng.integers(1, arrays[key].shape[1] + 1))
                spoilt[key][t, :count] = np.nan
        got = function.run(spoilt)
        good = np.setdiff1d(np.arange(tokens), bad)
        for case in cases:
            experts = arrays[case.logits].shape[1]
            ids = results_of(case, got)[0]
            if ((ids < -1) | (ids >= experts)).any():
                raise Failure(f"{case.name}: ids are no experts")
            for x, y in zip(results_of(case, got), results_of(case, results)):
                if x[good].tobytes() != y[good].tobytes():
                    raise Failure(f"{case.name}: other bits")

    with report.check(f"{name}: experts in another order"):
        permutations, permuted = with_other_experts(cases, arrays, rng)
        got = function.run(permuted)
        for case in cases:
            if (case.routing.groups or case.routing.null_before_norm
                    or case.logits[0] == "t"):
                continue  # Their experts differ by their index.
            experts = arrays[case.logits].shape[1]
            perm = permutations[experts]
            ids, weights = results_of(case, got)
            _, _, clear, _ = expect_route(case, arrays)
            ids = np.where(ids < 0, -1, perm[ids])
            want_ids, want = results_of(case, results)
            if (oracle.selected(ids, experts)
                    != oracle.selected(want_ids, experts))[clear].any():
                raise Failure(f"{case.name}: other experts")
            error = np.abs(oracle.scatter(ids, weights, experts) -
                           oracle.scatter(want_ids, want, experts))[clear]
            if error.max() > TOLERANCE * max(1, np.abs(want).max()):
                raise Failure(f"{case.name}: weights differ by "
                              f"{error.max():.1e}")


def with_other_experts(cases, arrays, rng):
    """A permutation per number of experts, {E: permutation}, and inputs that
    follow them."""
    counts = sorted({arrays[case.logits].shape[1] for case in cases})
    permutations = {count: rng.permutation(count) for count in counts}
    permuted = {}
    for key, array in arrays.items():
        if key[0] == "v":
            permuted[key] = array
        elif key[0] == "f":
            inverse = np.argsort(permutations[experts_of(key)])
            permuted[key] = np.where(array < 0, -1,
                                     inverse[array]).astype(array.dtype)
        else:
            permuted[key] = array[..., permutations[array.shape[-1]]]
    return permutations, permuted


def check_group(tools, report, name, cases, properties=True):
    function = function_of(tools, name, cases)
    many = inputs_of(cases, TOKENS, seed=1)
    # Logits that are all equal deviate by what rounding left, infinite ones and
    # weights are beyond comparison.
    steady = [case for case in cases if not case.routing.logit_std]
    finite = [case for case in steady if case.routing.score != "identity"]
    equal = inputs_of(cases, 3, seed=4)
    masked = inputs_of(cases, TOKENS, seed=5)
    rng = np.random.default_rng(6)
    for key in filter(is_logits, masked):
        equal[key] = np.full_like(equal[key], 0.5)
        # At least half of the experts are left.
        out = rng.random(masked[key].shape) < 0.3
        out[:, : (out.shape[1] + 1) // 2] = False
        masked[key] = np.where(rng.permuted(out, axis=1), -np.inf,
                               masked[key]).astype(masked[key].dtype)
    sets = [("many tokens", cases, many),
            ("one token", cases, inputs_of(cases, 1, seed=2)),
            ("no token", cases, inputs_of(cases, 0, seed=3)),
            ("equal logits", steady, equal), ("-inf", finite, masked)]

    compiled = None
    with report.check(f"{name}: compiles"):
        function.compile()
        compiled = function.run
    results = None
    if compiled:
        for what, chosen, arrays in sets:
            found = check_values(report, name, chosen, compiled, arrays, what)
            results = found if what == "many tokens" else results
    if results and properties:
        check_properties(report, name, cases, function, many, results)
    graph = None
    with report.check(f"{name}: is written as ONNX"):
        graph = function.export()
    if graph:
        for what, chosen, arrays in sets:
            check_values(report, name, chosen, graph, arrays,
                         what + " in ONNX Runtime")


def check_fields(report, pairs):
    """Each field matters: without it, the oracle says something else."""
    fields = {field.split(".")[0] for field, _, _ in pairs}
    known = {f.name for f in dataclasses.fields(oracle.Routing)}
    with report.check("every field and operand has a case"):
        missing = (known | set(Case.OPERANDS)) - fields
        if missing:
            raise Failure(f"no case for {sorted(missing)}")
    for field, case, without in pairs:
        with report.check(f"ignoring {field} would show"):
            arrays = inputs_of([case, without], TOKENS, seed=1)
            experts = arrays[case.logits].shape[1]
            a, b = (expect_route(c, arrays) for c in (case, without))
            differ = np.abs(oracle.scatter(a[0], a[1], experts) -
                            oracle.scatter(b[0], b[1], experts)).max(1)
            if (differ > 100 * TOLERANCE).mean() < 0.05:
                raise Failure("the results are the same without it")


# --- the other ops ----------------------------------------------------------

BALANCED = {
    # name: (method, E, capacity, gamma, iterations)
    "choice": ("expert_choice", 8, 16, 1.0, 1),
    "choice_many": ("expert_choice", 8, 100, 1.0, 1),
    "sinkhorn": ("sinkhorn", 8, 16, 1.0, 16),
    "sinkhorn_once": ("sinkhorn", 16, 5, 1.0, 1),
    "transport": ("sparse_ot", 8, 30, 1.0, 16),
    "transport_tight": ("sparse_ot", 8, 10, 0.5, 8),
    "transport_wide": ("sparse_ot", 4, 120, 4.0, 12),
}


def balanced_function(tools):
    inputs, lines, outputs = {}, [], {}

    def results(name, *types):
        outputs.update({f"{name}_{i}": text for i, text in enumerate(types)})
        return ", ".join(f"%{name}_{i}" for i in range(len(types)))

    for name, (method, experts, capacity, gamma, steps) in BALANCED.items():
        inputs[f"l{experts}"] = f"tensor<?x{experts}xf32>"
        types = (f"tensor<{experts}x{capacity}xi32>",
                 f"tensor<{experts}x{capacity}xf32>")
        lines.append(
            f"{results(name, *types)} = moe.route_balanced %l{experts} "
            f"{{method = #moe.method<{method}>, capacity = {capacity}, gamma = "
            f"{gamma}, iterations = {steps}}} : tensor<?x{experts}xf32> -> "
            f"{types[0]}, {types[1]}")
    inputs["x"] = "tensor<?x6x8xf32>"
    inputs["y"] = "tensor<?x6xf16>"
    for name, text in inputs.items():
        if name in "xy":
            lines.append(f"{results('soft_' + name, text, text)} = "
                         f"moe.soft_route %{name} : {text}")
    inputs["f8x2"] = "tensor<?x2xi32>"
    inputs["w"] = "tensor<?x2xf32>"
    for name, probs in (("stats", " probs(%l8 : tensor<?x8xf32>)"),
                        ("counts", "")):
        types = ("tensor<8xi64>", "tensor<8xf64>", "tensor<8xf64>")
        lines.append(f"{results(name, *types)} = moe.load_stats %f8x2, %w"
                     f"{probs} : tensor<?x2xi32>, tensor<?x2xf32> -> "
                     f"{', '.join(types)}")
    return Function(tools, "balanced", inputs, lines, outputs)


def balanced_inputs(function, tokens, seed):
    rng = np.random.default_rng(seed)
    arrays = {}
    for name in function.inputs:
        if name in ("x", "y", "w"):
            shape = {"x": (tokens, 6, 8), "y": (tokens, 6),
                     "w": (tokens, 2)}[name]
            arrays[name] = rng.standard_normal(shape).astype(
                np.float16 if name == "y" else np.float32)
        else:
            arrays[name] = routing_cases.make_input(name, tokens, rng)
    return arrays


def near(got, want, tolerance=TOLERANCE, what="values"):
    error = np.abs(got.astype(np.float64) - want)
    if got.shape != want.shape:
        raise Failure(f"{what} have shape {got.shape}, not {want.shape}")
    if error.size and not error.max() <= tolerance:
        raise Failure(f"{what} differ by {error.max():.1e}")


def compare_balanced(name, logits, ids, weights):
    method, experts, capacity, gamma, steps = BALANCED[name]
    tokens = len(logits)
    if method == "sparse_ot":
        plan = oracle.transport_plan(logits, capacity, gamma, steps)
        near(oracle.scatter(ids, weights, tokens), plan.T, 1e-4, "the plan")
        if ((ids < 0) != (weights == 0)).any():
            raise Failure("places without a token have weights")
        sizes = (ids >= 0).sum(1)
        if tokens and (np.abs(weights.sum(1) - 1) > 1e-5).any():
            raise Failure("columns of the plan do not add up (I-55)")
        if (sizes > capacity).any():
            raise Failure("more tokens than places (I-55)")
        return
    scores = (oracle.softmax(logits.astype(np.float64)) if
              method == "expert_choice" else
              oracle.sinkhorn_plan(logits, steps))
    want_ids, want, clear = oracle.pick_tokens(scores, capacity)
    if (~clear).sum() > 1:
        raise Failure("too many experts too close to a tie")
    same = (oracle.selected(ids, tokens) == oracle.selected(want_ids, tokens))
    if not same[clear].all():
        raise Failure("other tokens")
    near(oracle.scatter(ids, weights, tokens)[clear],
         oracle.scatter(want_ids, want, tokens)[clear], what="weights")
    found = min(tokens, capacity)
    if ((ids[:, :found] < 0).any() or (ids[:, found:] != -1).any()
            or weights[:, found:].any()):
        raise Failure(f"an expert has no exactly {found} tokens (I-20)")
    if (np.diff(weights[:, :found], axis=1) > 0).any():
        raise Failure("tokens are not in descending order")


def check_balanced_values(report, runner, arrays, what):
    results = runner(arrays)
    tokens = len(arrays["w"])
    for name in BALANCED:
        with report.check(f"balanced {name} {what}"):
            compare_balanced(name, arrays[f"l{BALANCED[name][1]}"],
                             results[f"{name}_0"], results[f"{name}_1"])
    for name, tolerance in (("x", 1e-6), ("y", 1e-3)):
        with report.check(f"balanced soft_{name} {what} (I-21)"):
            logits = arrays[name].astype(np.float64)
            if not logits.size:
                continue
            dispatch, combine = (results[f"soft_{name}_{i}"] for i in (0, 1))
            near(dispatch, oracle.softmax(logits, -2), tolerance, "dispatch")
            near(combine, oracle.softmax(logits, -1), tolerance, "combine")
            near(dispatch.astype(float).sum(-2),
                 np.ones_like(logits[..., 0, :]), 10 * tolerance, "sums over tokens")
            near(combine.astype(float).sum(-1), np.ones_like(logits[..., 0]),
                 10 * tolerance, "sums over slots")
    for name, probs in (("stats", arrays["l8"]), ("counts", None)):
        with report.check(f"balanced {name} {what} (I-16)"):
            counts, gates, sums = oracle.load_stats(arrays["f8x2"],
                                                    arrays["w"], 8, probs)
            if (results[f"{name}_0"] != counts).any():
                raise Failure("counts differ")
            near(results[f"{name}_1"], gates, 1e-9, "sums of gates")
            near(results[f"{name}_2"], sums, 1e-9, "sums of probabilities")
            left_out = (arrays["f8x2"] < 0).sum()
            if counts.sum() != 2 * tokens - left_out:
                raise Failure("counts do not add up")


def check_balanced(tools, report):
    function = balanced_function(tools)
    sets = [(f"{tokens} tokens", balanced_inputs(function, tokens, tokens))
            for tokens in (120, 7, 1, 0)]
    with report.check("balanced: compiles"):
        function.compile()
    for what, arrays in sets:
        check_balanced_values(report, function.run, arrays, what)
    with report.check("balanced: bits do not depend on the threads"):
        one, many = (function.run(sets[0][1], "--threads", n)
                     for n in ("1", "3"))
        for name in function.outputs:
            if one[name].tobytes() != many[name].tobytes():
                raise Failure(f"{name}: other bits")
    with report.check("balanced: statistics of an expert that is not there"):
        bad = dict(sets[0][1])
        bad["f8x2"] = bad["f8x2"].copy()
        bad["f8x2"][5, 0] = 8
        code, text, _ = function.start(bad)
        if code != 1 or "an expert is not there" not in text:
            raise Failure(f"exit status {code}: {text[:300]}")
    with report.check("balanced: statistics of parts add up"):
        arrays = sets[0][1]
        whole = function.run(arrays)
        parts = [function.run({name: array[part] for name, array in
                               arrays.items()})
                 for part in (slice(0, 50), slice(50, None))]
        for name in ("stats_0", "stats_1", "stats_2"):
            near(parts[0][name] + parts[1][name], whole[name], 1e-9, name)
    with report.check("balanced: is written as ONNX"):
        graph = function.export()
    for what, arrays in sets:
        check_balanced_values(report, graph, arrays, what + " in ONNX Runtime")


# --- laws between settings ---------------------------------------------------


def check_laws(tools, report):
    """Settings that must give what simpler arithmetic gives."""
    make = routing_cases.make
    cases = [make("dense", "l16", 16),
             make("full_softmax", "l16", 4, norm="sum"),
             make("selected_softmax", "l16", 4, score_on="selected"),
             make("single", "l16", 4, mix="m16", norm="sum"),
             make("all_groups", "l16", 4, groups=routing_cases.Groups(4, 4)),
             make("no_groups", "l16", 4),
             make("skip_all", "l16", 4, top_p=0.0)]
    function = function_of(tools, "laws", cases)
    arrays = inputs_of(cases, TOKENS, seed=8)
    best = arrays["l16"].argmax(1)
    arrays["m16"] = np.zeros_like(arrays["m16"])
    arrays["m16"][np.arange(TOKENS), best] = 1
    with report.check("laws: compiles"):
        function.compile()
    results = function.run(arrays)
    dense = {case.name: oracle.scatter(*results_of(case, results), 16)
             for case in cases}
    probabilities = oracle.softmax(arrays["l16"].astype(np.float64))
    with report.check("k = E is the dense mixture"):
        near(dense["dense"], probabilities)
    with report.check("softmax of all, normalised, is softmax of the selected"):
        near(dense["full_softmax"], dense["selected_softmax"])
    with report.check("one-hot mix with norm = sum is one expert (I-50)"):
        near(dense["single"], arrays["m16"].astype(np.float64), 0)
    with report.check("groups that are all kept are none"):
        near(dense["all_groups"], dense["no_groups"], 0)
    with report.check("nothing is left of top_p = 0 but the first"):
        want = np.where(arrays["m16"] > 0, probabilities, 0)
        near(dense["skip_all"], want)


def check_errors(tools, report):
    """Inputs that must end the run with a message, and nothing else."""
    make = routing_cases.make
    cases = [make("forced", "l16", 2, forced="f16x2"),
             make("unknown", "u16", 4, groups=routing_cases.Groups(4, 2)),
             make("biased", "u16", 4, select_bias="b16")]
    for case in cases:
        function = function_of(tools, "error_" + case.name, [case])
        with report.check(f"error {case.name}: compiles"):
            function.compile()
        good = inputs_of([case], 5, seed=9)
        variants = []
        if case.forced:
            for value in (16, -2, 2 ** 31 - 1, -2 ** 31):
                ids = good["f16x2"].copy()
                ids[3, 1] = value
                variants.append(({"f16x2": ids}, "forced names an expert that "
                                                 "is not there"))
        elif case.select_bias:
            variants.append(({"u16": np.zeros((5, 15), np.float32)},
                             "select_bias is not one per expert"))
        else:
            variants += [({"u16": np.zeros((5, 3), np.float32)},
                          "fewer experts than a token picks"),
                         ({"u16": np.zeros((5, 18), np.float32)},
                          "groups of equal size")]
        for number, (changed, message) in enumerate(variants):
            with report.check(f"error {case.name} #{number}"):
                code, text, _ = function.start({**good, **changed})
                if code != 1 or message not in text:
                    raise Failure(f"exit status {code}, expected 1 and "
                                  f"'{message}': {text[:300]}")


def check_golden(tools, report):
    """The published routers against values that no code of ours computed."""
    cases = list(routing_cases.published())
    arrays = make_routing_golden.inputs()
    with np.load(make_routing_golden.PATH) as file:
        golden = dict(file)
    if golden["checksum"] != make_routing_golden.checksum(arrays):
        raise Failure("the inputs are not those of the golden values")
    function = function_of(tools, "golden", cases)
    function.compile()
    results = function.run(arrays)
    for case in cases:
        with report.check(f"golden {case.name}"):
            compare_route(case, arrays, results, report,
                          (golden[case.name + "_ids"].astype(np.int32),
                           golden[case.name + "_weights"]))


def run_groups(description, groups):
    """The main of a script of checks: runs the groups that the command line
    names, all by default, and prints the counts. A group is a function of the
    tools and a report. The exit status."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(
        os.environ.get("MOE_BUILD", os.path.join(ROOT, "build")), "bin"))
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("groups", nargs="*", metavar="GROUP",
                        help="all by default: " + ", ".join(groups))
    options = parser.parse_args()
    unknown = sorted(set(options.groups) - set(groups))
    if unknown:
        parser.error(f"unknown groups {unknown}")
    report = Report(options.verbose)
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(options.bin, folder)
        for name in options.groups or groups:
            with report.check(name):
                groups[name](tools, report)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not report.passed else 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP")
    parser.add_argument("--bin", default=os.path.join(
        os.environ.get("MOE_BUILD", os.path.join(ROOT, "build")), "bin"),
        help="where moe-compile, moe-opt and moe-run are")
    parser.add_argument("-v", action="store_true", help="list all checks")
    options = parser.parse_args()

    report = Report(options.v)
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(options.bin, folder)
        pairs = list(routing_cases.by_field())

        def fields():
            check_fields(report, pairs)
            check_group(tools, report, "fields",
                        [case for _, case, _ in pairs])

        groups = {
            "published": lambda: check_group(
                tools, report, "published", list(routing_cases.published())),
            "golden": lambda: check_golden(tools, report),
            "fields": fields,
            "forms": lambda: check_group(tools, report, "forms",
                                         list(routing_cases.forms())),
            "mixtures": lambda: check_group(
                tools, report, "mixtures",
                list(routing_cases.mixtures(60, seed=1))),
            "balanced": lambda: check_balanced(tools, report),
            "laws": lambda: check_laws(tools, report),
            "errors": lambda: check_errors(tools, report),
        }
        unknown = [g for g in options.groups if g not in groups]
        if unknown:
            parser.error(f"no group '{unknown[0]}'; there are: "
                         f"{', '.join(groups)}")
        for group in options.groups or groups:
            with report.check(f"{group}: runs to its end"):
                groups[group]()
    print(f"  {report.excluded} of {report.tokens} routed tokens were too "
          "close to a tie to be compared")
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
