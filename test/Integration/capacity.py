#!/usr/bin/env python3
"""Compares compiled experts with a capacity with NumPy, and checks their laws.

usage: capacity.py [--bin FOLDER] [-v] [GROUP...]

Groups: cases (all settings of moe.capacity), sequences (the same with queues of
their own for each sequence), laws (the invariants I-13, I-14, I-15 and I-18 of
the results themselves), nllb (the routing of NLLB-MoE in its 12 modes, I-17),
errors (what must end with an error).

Results are compared bit by bit, also those of the same function as a graph of
ONNX operators (moe-decompose) in ONNX Runtime.

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import dataclasses
import math
import sys

import numpy as np
from routing import Failure, Function, run_groups

EXPERTS = 8


# --- the oracle -------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Setting:
    name: str
    mode: str
    value: float
    order: str = "choice"
    priority: str = "none"
    scored: bool = False
    element: str = "f32"

    def mlir(self):
        return (f"{{num_experts = {EXPERTS}, mode = #moe.capacity_mode<"
                f"{self.mode}>, value = {float(self.value):.17e}, order = "
                f"#moe.queue<{self.order}>, priority = #moe.priority<"
                f"{self.priority}>}}")

    def places(self, tokens, k):
        if self.mode == "absolute":
            return int(self.value)
        if self.mode == "factor":
            return k * int(self.value * math.ceil(tokens / EXPERTS))
        return math.ceil(self.value * tokens)


def drop(setting, ids, weights, scores):
    """Lets slots queue up expert by expert, sequence by sequence."""
    if ids.ndim == 3:
        parts = [drop(setting, *arrays) for arrays in zip(ids, weights, scores)]
        return tuple(np.stack([part[i] for part in parts]) if parts else empty
                     for i, empty in enumerate((ids, weights)))
    tokens, k = ids.shape
    line = np.arange(tokens)
    if setting.priority == "prob":
        key = scores if setting.scored else weights[:, 0]
        line = np.argsort(-np.where(np.isnan(key), np.inf, key), kind="stable")
    slots = [(t, j) for t in line for j in range(k)]
    if setting.order == "choice":
        slots.sort(key=lambda slot: slot[1])
    kept_ids = np.full_like(ids, -1)
    kept_weights = np.zeros_like(weights)
    for expert in range(EXPERTS):
        queue = [slot for slot in slots if ids[slot] == expert]
        for slot in queue[:setting.places(tokens, k)]:
            kept_ids[slot] = expert
            kept_weights[slot] = weights[slot]
    return kept_ids, kept_weights


def nllb(logits, before, prioritised, places):
    """The top-2 router of NLLB-MoE: masks [T, E] and their running sums.
    Returns dense weights [T, E] and the priorities of tokens."""
    logits = logits.astype(np.float64)
    tokens, experts = logits.shape
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    first = np.eye(experts)[logits.argmax(1)] if tokens else np.zeros((0, experts))
    rest = np.where(first > 0, -np.inf, logits)
    second = np.eye(experts)[rest.argmax(1)] if tokens else np.zeros((0, experts))
    priorities = probs.max(1)
    line = np.argsort(-priorities, kind="stable")
    if not prioritised:
        line = np.arange(tokens)
    back = np.argsort(line)

    def normalised(one, two):
        p, q = (probs * one).sum(1), (probs * two).sum(1)
        total = np.maximum(p + q, np.finfo(np.float32).eps)
        return p / total, q / total

    if before:
        p, q = normalised(first, second)
    place1 = ((np.cumsum(first[line], 0) - 1) * first[line])[back]
    place2 = ((np.cumsum(second[line], 0) - 1) * second[line])[back]
    place2 = place2 + first.sum(0)
    first = first * (place1 < places)
    second = second * (place2 < places)
    if not before:
        p, q = normalised(first, second)
    return p[:, None] * first + q[:, None] * second, priorities


# --- functions of moe.capacity ----------------------------------------------

SETTINGS = [Setting("none", "absolute", 0), Setting("one", "absolute", 1),
            Setting("few", "absolute", 5), Setting("huge", "absolute", 2 ** 53),
            Setting("factor", "factor", 1.0), Setting("tight", "factor", 0.3),
            Setting("wide", "factor", 1.25), Setting("endless", "factor", 1e300),
            Setting("dropless", "factor", EXPERTS),
            Setting("tenth", "fraction", 0.1), Setting("all", "fraction", 1.0),
            Setting("more", "fraction", 1e300), Setting("zero", "fraction", 0)]
SETTINGS += [dataclasses.replace(s, name=f"{s.name}_token", order="token")
             for s in SETTINGS if s.name in ("one", "few", "wide", "tenth")]
SETTINGS += [dataclasses.replace(s, name=s.name + "_prob", priority="prob")
             for s in SETTINGS if s.name.split("_")[0] in ("one", "few", "wide",
                                                           "tenth", "all")]
SETTINGS += [dataclasses.replace(s, name=s.name + "_scored", scored=True)
             for s in SETTINGS if s.name.startswith("few")
             and s.priority == "prob"]
SETTINGS += [dataclasses.replace(s, name=s.name + "_double", element="f64")
             for s in SETTINGS if s.name == "few_prob"]
# A monotone sequence.
GROWING = [Setting(f"c{c}_{priority}_{order}", "absolute", c, order, priority)
           for priority in ("none", "prob") for order in ("choice", "token")
           for c in range(0, 12, 2)]


def function_of(tools, name, settings, k, extent=None, tokens="?"):
    """`extent` is that of the slots in the types, `k` by default; `tokens` what
    is in front of it ("?x?": sequences and tokens)."""
    extent = k if extent is None else extent
    inputs = {"ids": f"tensor<{tokens}x{extent}xi32>",
              "f32": f"tensor<{tokens}x{extent}xf32>",
              "f64": f"tensor<{tokens}x{extent}xf64>",
              "scores": f"tensor<{tokens}xf32>"}
    lines, outputs = [], {}
    for s in settings:
        weights = inputs[s.element]
        scores = f" scores(%scores : {inputs['scores']})" if s.scored else ""
        lines.append(f"%{s.name}_ids, %{s.name}_weights = moe.capacity %ids, "
                     f"%{s.element}{scores} {s.mlir()} : {inputs['ids']}, "
                     f"{weights} -> {inputs['ids']}, {weights}")
        outputs[s.name + "_ids"] = inputs["ids"]
        outputs[s.name + "_weights"] = weights
    return Function(tools, name, inputs, lines, outputs)


def inputs_of(tokens, k, seed, one=False, gaps=False, ties=False):
    """Different experts per token, weights in descending order. `one`: the
    first choice is always expert 3; `gaps`: some slots are empty; `ties`: few
    different weights and scores."""
    rng = np.random.default_rng([seed, tokens, k])
    logits = rng.standard_normal((tokens, EXPERTS)) + np.linspace(0, 1, EXPERTS)
    if one:
        logits[:, 3] = 10
    ids = np.argsort(-logits, 1)[:, :k].astype(np.int32)
    weights = -np.sort(-rng.random((tokens, k)), 1)
    scores = rng.standard_normal(tokens)
    if ties:
        weights, scores = np.round(weights * 3) / 3, np.round(scores)
    if gaps:
        ids[rng.random(ids.shape) < 0.3] = -1
    return {"ids": ids, "f32": weights.astype(np.float32), "f64": weights,
            "scores": scores.astype(np.float32)}


def results_of(setting, results):
    return results[setting.name + "_ids"], results[setting.name + "_weights"]


def sets_of(k):
    return {"many tokens": inputs_of(150, k, 1), "one token": inputs_of(1, k, 2),
            "no token": inputs_of(0, k, 3),
            "as many tokens as experts": inputs_of(EXPERTS, k, 4),
            "all tokens to one expert": inputs_of(61, k, 5, one=True),
            "empty slots": inputs_of(75, k, 6, gaps=True),
            "equal weights": inputs_of(120, k, 7, gaps=True, ties=True)}


def check_values(report, runner, settings, arrays, what):
    results = None
    with report.check(f"{what}: runs"):
        results = runner(arrays)
    for s in settings if results else ():
        with report.check(f"{what}: {s.name}"):
            want = drop(s, arrays["ids"], arrays[s.element], arrays["scores"])
            for got, expected in zip(results_of(s, results), want):
                if got.dtype != expected.dtype or got.shape != expected.shape:
                    raise Failure(f"{got.dtype} {got.shape}, expected "
                                  f"{expected.dtype} {expected.shape}")
                if got.tobytes() != expected.tobytes():
                    raise Failure(f"{(got != expected).sum()} of {got.size} "
                                  "slots differ")


def check_cases(tools, report):
    with report.check("every setting matters"):
        arrays = inputs_of(150, 2, 1)
        few = {s.name: drop(s, arrays["ids"], arrays["f32"], arrays["scores"])
               for s in SETTINGS if s.name.startswith("few") and s.element == "f32"}
        distinct = {ids.tobytes() for ids, _ in few.values()}
        if len(few) != 6 or len(distinct) != 6:
            raise Failure(f"{len(distinct)} selections of {len(few)} settings")
    for k in (1, 2, 3):
        function = function_of(tools, f"cases{k}", SETTINGS, k)
        with report.check(f"k = {k}: compiles"):
            function.compile()
        for what, arrays in sets_of(k).items():
            check_values(report, function.run, SETTINGS, arrays,
                         f"k = {k}, {what}")
        spoilt = inputs_of(90, k, 8)
        for name in ("f32", "f64", "scores"):
            spoilt[name][::7] = np.nan
        check_values(report, function.run, SETTINGS, spoilt, f"k = {k}, NaN")
        graph = None
        with report.check(f"k = {k}: is written as ONNX"):
            graph = function.export()
        for what, arrays in sets_of(k).items() if graph else ():
            check_values(report, graph, SETTINGS, arrays,
                         f"k = {k}, {what} in ONNX Runtime")


def check_sequences(tools, report):
    def split(arrays, count):
        return {name: array.reshape((count, len(array) // max(count, 1))
                                    + array.shape[1:])
                for name, array in arrays.items()}

    for k in (1, 2):
        function = function_of(tools, f"sequences{k}", SETTINGS, k,
                               tokens="?x?")
        graph = None
        with report.check(f"sequences, k = {k}: compiles"):
            function.compile()
        with report.check(f"sequences, k = {k}: is written as ONNX"):
            graph = function.export()
        sets = {"seven": split(inputs_of(133, k, 41), 7),
                "one": split(inputs_of(40, k, 42), 1),
                "none": {name: array.reshape((0, 5) + array.shape[1:])
                         for name, array in inputs_of(0, k, 43).items()},
                "without tokens": {
                    name: array.reshape((3, 0) + array.shape[1:])
                    for name, array in inputs_of(0, k, 43).items()},
                "one token each": split(inputs_of(9, k, 44), 9),
                "gaps and ties": split(inputs_of(90, k, 45, gaps=True,
                                                 ties=True), 3)}
        for what, arrays in sets.items():
            what = f"sequences, k = {k}, {what}"
            check_values(report, function.run, SETTINGS, arrays, what)
            if graph:
                check_values(report, graph, SETTINGS, arrays,
                             what + " in ONNX Runtime")
        with report.check(f"sequences, k = {k}: they matter"):
            arrays = sets["seven"]
            flat = {name: array.reshape((-1,) + array.shape[2:])
                    for name, array in arrays.items()}
            s = next(s for s in SETTINGS if s.name == "few")
            apart = drop(s, arrays["ids"], arrays["f32"], arrays["scores"])[0]
            both = drop(s, flat["ids"], flat["f32"], flat["scores"])[0]
            if (apart.ravel() == both.ravel()).all():
                raise Failure("the same is dropped in one queue")


# --- laws -------------------------------------------------------------------


def check_laws(tools, report):
    """Of the compiled results alone."""
    for k in (1, 2, 3):
        wide = [Setting(f"wide_{mode}_{priority}_{order}", mode, value, order,
                        priority)
                for mode, value in (("absolute", 61), ("fraction", 1.0),
                                    ("factor", EXPERTS / k + 1))
                for priority in ("none", "prob")
                for order in ("choice", "token")]
        function = function_of(tools, f"laws{k}", GROWING + wide, k)
        with report.check(f"laws, k = {k}: compiles"):
            function.compile()
        for what, arrays in (("", inputs_of(61, k, 11)),
                             (", one expert", inputs_of(61, k, 12, one=True)),
                             (", ties", inputs_of(61, k, 13, ties=True))):
            what = f"k = {k}{what}"
            check_laws_of(report, what, k, function.run(arrays), arrays, wide)


def check_laws_of(report, what, k, results, arrays, wide):
    ids, weights = arrays["ids"], arrays["f32"]
    load = np.bincount(ids.ravel(), minlength=EXPERTS)
    for s in wide:
        law = "I-13" if s.mode == "factor" else "I-14"
        with report.check(f"{what}: {s.name} drops nothing ({law})"):
            if s.places(len(ids), k) < load.max():
                raise Failure("the capacity is too small for this test")
            kept = results_of(s, results)
            if (kept[0] != ids).any() or (kept[1] != weights).any():
                raise Failure("something is dropped")
    for s in GROWING:
        kept_ids, kept_weights = results_of(s, results)
        kept = kept_ids >= 0
        with report.check(f"{what}: {s.name} fills its places"):
            counts = np.bincount(kept_ids[kept], minlength=EXPERTS)
            if (counts != np.minimum(load, int(s.value))).any():
                raise Failure(f"{counts} of {load} for C = {s.value}")
            if ((kept_ids != np.where(kept, ids, -1)).any()
                    or (kept_weights != np.where(kept, weights, 0)).any()):
                raise Failure("what is kept is not what came")
        larger = [o for o in GROWING if (o.order, o.priority) ==
                  (s.order, s.priority) and o.value == s.value + 2]
        for other in larger:
            with report.check(f"{what}: {s.name} within {other.name} (I-15)"):
                more = results_of(other, results)[0] >= 0
                if (kept & ~more).any():
                    raise Failure("a larger capacity drops more")
        if s.priority != "prob" or s.order != "choice":
            continue
        with report.check(f"{what}: {s.name} keeps the first (I-18)"):
            for j in range(k):
                for e in range(EXPERTS):
                    mine = ids[:, j] == e
                    in_, out = weights[mine & kept[:, j], 0], weights[
                        mine & ~kept[:, j], 0]
                    if in_.size and out.size and out.max() > in_.min():
                        raise Failure(f"expert {e}, choice {j}: drops "
                                      f"{out.max()}, keeps {in_.min()}")


# --- NLLB-MoE ---------------------------------------------------------------

EPS = 1.1920929e-07
NLLB = [(before, prioritised, mode, value)
        for before in (False, True) for prioritised in (False, True)
        # 2 * ceil(T / E); expert_capacity; moe_eval_capacity_token_fraction.
        for mode, value in (("factor", 1.0), ("absolute", 11),
                            ("fraction", 0.2))]


def nllb_function(tools):
    pairs = "tensor<?x2xi32>", "tensor<?x2xf32>"
    lines = [
        "%axis = onnx.Constant() {value = dense<1> : tensor<1xi64>} : "
        "() -> tensor<1xi64>",
        f"%eps = onnx.Constant() {{value = dense<{EPS}> : tensor<f32>}} : "
        "() -> tensor<f32>",
        "%best, %p = moe.route %logits {routing = #moe.routing<k = 1>} : "
        "tensor<?x8xf32> -> tensor<?x1xi32>, tensor<?x1xf32>",
        "%scores = onnx.Squeeze(%p, %axis) : (tensor<?x1xf32>, tensor<1xi64>) "
        "-> tensor<?xf32>"]
    for name, norm in (("after", ""), ("before", f", norm = sum_clamp, eps = "
                                                 f"{EPS}")):
        lines.append(f"%{name}_ids, %{name}_w = moe.route %logits {{routing = "
                     f"#moe.routing<k = 2{norm}>}} : tensor<?x8xf32> -> "
                     f"{pairs[0]}, {pairs[1]}")
    outputs = {}
    for number, (before, prioritised, mode, value) in enumerate(NLLB):
        s = Setting("", mode, value, "choice",
                    "prob" if prioritised else "none")
        source = "before" if before else "after"
        scores = " scores(%scores : tensor<?xf32>)" if prioritised else ""
        kept = f"weights{number}" if before else f"raw{number}"
        lines.append(f"%ids{number}, %{kept} = moe.capacity %{source}_ids, "
                     f"%{source}_w{scores} {s.mlir()} : {pairs[0]}, {pairs[1]} "
                     f"-> {pairs[0]}, {pairs[1]}")
        outputs[f"ids{number}"], outputs[f"weights{number}"] = pairs
        if before:
            continue
        sums = "tensor<?x1xf32>"
        lines += [f"%sum{number} = onnx.ReduceSum(%{kept}, %axis) : "
                  f"({pairs[1]}, tensor<1xi64>) -> {sums}",
                  f"%total{number} = onnx.Max(%sum{number}, %eps) : ({sums}, "
                  f"tensor<f32>) -> {sums}",
                  f"%weights{number} = onnx.Div(%{kept}, %total{number}) : "
                  f"({pairs[1]}, {sums}) -> {pairs[1]}"]
    return Function(tools, "nllb", {"logits": "tensor<?x8xf32>"}, lines, outputs)


def check_nllb_values(report, runner, logits, what):
    results = runner({"logits": logits})
    tokens = len(logits)
    for number, (before, prioritised, mode, value) in enumerate(NLLB):
        name = (f"nllb {what}: normalised {'before' if before else 'after'}, "
                f"{'prioritised, ' if prioritised else ''}{mode} (I-17)")
        with report.check(name):
            places = Setting("", mode, value).places(tokens, 2)
            want, priorities = nllb(logits, before, prioritised, places)
            best = -np.sort(-logits.astype(float), 1)
            gaps = np.append(np.diff(np.sort(priorities)),
                             (best[:, :2] - best[:, 1:3]).ravel())
            if gaps.size and gaps.min() < 1e-6:
                raise Failure("these inputs are too close to a tie")
            ids, weights = results[f"ids{number}"], results[f"weights{number}"]
            dense = np.zeros_like(want)
            for t, j in zip(*np.nonzero(ids >= 0)):
                dense[t, ids[t, j]] += weights[t, j]
            if weights[ids < 0].any() or (ids < -1).any():
                raise Failure("dropped slots have weights")
            if ((dense > 0) != (want > 0)).any():
                raise Failure("other slots are kept")
            if want.size and np.abs(dense - want).max() > 1e-5:
                raise Failure(f"weights differ by {np.abs(dense - want).max()}")
            if tokens > 50 and not 0 < (ids < 0).sum() < ids.size / 2:
                raise Failure("the capacity is no test of anything")


def check_nllb(tools, report):
    function = nllb_function(tools)
    with report.check("nllb: compiles"):
        function.compile()
    graph = None
    with report.check("nllb: is written as ONNX"):
        graph = function.export()
    for tokens in (60, 17, 1, 0):
        rng = np.random.default_rng([21, tokens])
        logits = (rng.standard_normal((tokens, EXPERTS))
                  + np.linspace(0, 0.7, EXPERTS)).astype(np.float32)
        check_nllb_values(report, function.run, logits, f"{tokens} tokens")
        if graph:
            check_nllb_values(report, graph, logits,
                              f"{tokens} tokens in ONNX Runtime")


# --- errors -----------------------------------------------------------------


def check_errors(tools, report):
    setting = Setting("few", "absolute", 5, priority="prob", scored=True)
    function = function_of(tools, "errors", [setting], 2, extent="?")
    with report.check("errors: compiles"):
        function.compile()
    graph = None
    with report.check("errors: is written as ONNX"):
        graph = function.export()
    good = inputs_of(9, 2, 31)
    check_values(report, function.run, [setting], good, "unknown extents")
    check_values(report, graph, [setting], good,
                 "unknown extents in ONNX Runtime")
    variants = []
    for value in (EXPERTS, -2, 2 ** 31 - 1, -2 ** 31):
        ids = good["ids"].copy()
        ids[4, 1] = value
        variants.append(("ids", ids, "an id is out of range; [-1, 8) is accepted"))
    variants += [
        ("f32", good["f32"][:8], "weights have another number of tokens"),
        ("f32", good["f32"][:, :1], "weights have another number of slots"),
        ("scores", good["scores"][:8], "scores have another number of tokens")]
    for number, (name, array, message) in enumerate(variants):
        with report.check(f"error #{number}: {message}"):
            code, text, _ = function.start({**good, name: array})
            # Extents of one name are compared before the program starts.
            if code != 1 or (message not in text and name == "ids"):
                raise Failure(f"exit status {code}: {text[:300]}")
    for number, (name, array, _) in enumerate(variants):
        if name != "ids":
            continue
        with report.check(f"error #{number} in ONNX Runtime"):
            try:
                graph({**good, name: array})
            except Exception as error:  # Of no documented type.
                if "indices element out of data bounds" not in str(error):
                    raise
            else:
                raise Failure("ids of no expert are accepted")


GROUPS = {"cases": check_cases,
          "sequences": check_sequences,
          "laws": check_laws,
          "nllb": check_nllb,
          "errors": check_errors}


if __name__ == "__main__":
    sys.exit(run_groups(__doc__, GROUPS))
