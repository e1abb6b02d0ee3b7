#!/usr/bin/env python3
"""Recognises routers that are spelled as exporters spell them, and compares what
becomes of them with a NumPy oracle and with ONNX Runtime.

usage: raise_routers.py [--bin FOLDER] [-v] [GROUP...]

Groups:
  back      what moe-decompose writes becomes the routing that it was
  spelled   46 published routers and more, in four manners of exporters and all
            opsets from 13 to 23: each becomes the one moe.route that it is
  disguised the same with operands swapped and copies in between
  values    compiled, and as plain ONNX again in ONNX Runtime, some manners and
            opsets; float16 as well
  balanced  experts that choose tokens, soft routers

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import argparse
import dataclasses
import os
import re
import sys
import tempfile

import numpy as np
import onnx
import router_graphs
import routing
import routing_cases
import routing_oracle as oracle
from onnx import TensorProto, helper
from routing import Failure, Report, Tools

ROOT = routing.ROOT
SEED = 5
WORDS = 50

# Fields of moe.route that moe-decompose writes in a form that no exporter has:
# they stay plain, or are read in part.
NOT_READ_BACK = {
    "deepseek_v4_hash": "ids of -1 are masked out around all else",
    "field_score_identity": "TopK of logits is no router without experts",
    "field_min_ratio": "skipped slots", "field_top_p": "skipped slots",
    "field_min_prob": "skipped slots",
    "field_tie": "reversed scores",
    "field_forced": "ids of -1 are masked out around all else",
    "field_valid": "tokens that are masked out",
}


def texts_of(tools, cases):
    """What moe-opt prints for the routings of cases."""
    fields = ",".join(f"example.a{i} = {case.routing.mlir()}"
                      for i, case in enumerate(cases))
    path = os.path.join(tools.folder, "attributes.mlir")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"module attributes {{{fields}}} {{}}")
    code, text = tools.run("moe-opt", path, "-o", "-")
    if code:
        raise Failure(text)
    found = dict(re.findall(r"example\.(a\d+) = (#moe\.routing<.*?>)"
                            r"(?=, example|\} \{)", text))
    return [found[f"a{i}"] for i in range(len(cases))]


def routings_in(text):
    """Of the routers of a printed function, in order."""
    return re.findall(r"moe\.route .*?routing = (#moe\.routing<.*>)\} :", text)


def raised(tools, path, *flags):
    code, text = tools.run("moe-opt", path, *flags, "--moe-raise-routers",
                           "-o", "-")
    if code:
        raise Failure(f"moe-opt: exit status {code}: {text[:1000]}")
    return text


# --- back ------------------------------------------------------------------------


def check_back(tools, report):
    cases = list(routing_cases.published())
    cases += [case for _, case, _ in routing_cases.by_field()]
    for case, want in zip(cases, texts_of(tools, cases)):
        with report.check(f"back {case.name}"):
            inputs = {i: routing_cases.mlir_type(i) for _, i in case.inputs()}
            line, outputs = routing.route_lines(case)
            function = routing.Function(tools, "back_" + case.name, inputs,
                                        [line], outputs)
            text = raised(tools, function.source, "--moe-decompose")
            got = routings_in(text)
            lost = [operand for operand, _ in case.inputs()[1:]
                    if operand + "(" not in text]
            if case.name in NOT_READ_BACK:
                if got == [want] and not lost:
                    raise Failure("is read back; take it off the list of those "
                                  "that are not")
                continue
            if got != [want]:
                raise Failure(f"became {got}, was {want}")
            if "onnx.TopK" in text or "onnx.Softmax" in text:
                raise Failure("nodes of the router are left")
            if lost:
                raise Failure(f"lost its {lost}")


# --- spelled -----------------------------------------------------------------------


def spelled_cases():
    """Cases with the function that adds them to a graph."""
    skipped = {"llama4", "deepseek_v4_hash"}
    for case in routing_cases.published():
        if case.name not in skipped:
            yield case
    for name in ("ranks", "norm_lp", "norm_sum_clamp", "p", "k_div", "softcap",
                 "logit_mult", "logit_std", "null_before_norm",
                 "expert_scale", "eps"):
        for field, case, _ in routing_cases.by_field():
            if field.replace(".", "_") == name:
                # Scores of both signs as weights are no router's.
                if case.routing.score == "identity":
                    case = dataclasses.replace(case, routing=dataclasses.replace(
                        case.routing, score="sigmoid"))
                yield case
    make = routing_cases.make
    # Tiny ones: one group, all kept, k = E.
    yield make("one_group", "l8", 3, score="sigmoid", select_bias="b8",
               groups=oracle.Groups(1, 1, "top2sum"), norm="sum")
    yield make("pairs", "l8", 2, groups=oracle.Groups(4, 2), norm="none")
    yield make("all_of_them", "l8", 8, norm="sum")


SPECIAL = (
    routing_cases.make("switch", "l8", 1),
    routing_cases.make("switch_sigmoid", "l12", 1, score="sigmoid"),
    routing_cases.make("llama4", "l16", 1, score="sigmoid",
                       score_on="selected"),
    routing_cases.make("dense_softmax", "l12", 3, score_on="selected"),
    routing_cases.make("hash", "l16", 2, score="sqrtsoftplus", norm="sum",
                       eps=1e-20, scale=1.5),
)


def arrays_of(cases, tokens):
    return routing.inputs_of(cases, tokens, SEED)


def table_of(case):
    experts = routing_cases.experts_of(case.logits)
    rng = np.random.default_rng(9)
    return np.stack([rng.permutation(experts)[:case.routing.k]
                     for _ in range(WORDS)]).astype(np.int64)


class Model:
    """A graph of all routers, in one manner."""

    def __init__(self, tools, style, opset, rank, dtype=np.float32):
        self.tools = tools
        self.name = f"{style}{opset}r{rank}{np.dtype(dtype).char}"
        self.cases = list(spelled_cases()) + list(SPECIAL)
        if dtype == np.float16:
            # float16 has no 1e-20, and its ops add up few numbers well.
            self.cases = [c for c in self.cases
                          if routing_cases.experts_of(c.logits) <= 64 and
                          c.routing.eps in (0.0, 0.25, 0.5) and
                          c.routing.score != "sparsemixer" and
                          not c.routing.logit_std and
                          c.routing.p in (1.0, 2.0) and c.name != "hash"]
        g = router_graphs.Graph(style, opset, rank, dtype)
        self.graph = g
        fixed = arrays_of(self.cases, 1)
        self.wanted = []
        for case in self.cases:
            if case.name.startswith("switch"):
                want = router_graphs.add_switch(g, case)
            elif case.name in ("llama4", "dense_softmax"):
                want = router_graphs.add_dense(g, case)
            elif case.name == "hash":
                want = router_graphs.add_hash(g, case, table_of(case))
            else:
                want = router_graphs.add_router(g, case, fixed)
            self.wanted.append(dataclasses.replace(case, routing=want))
        self.fixed = fixed
        self.proto = g.model()
        self.path = os.path.join(tools.folder, self.name + ".onnx")
        onnx.save(self.proto, self.path)

    def check_attributes(self, report, path=None, what=""):
        text = ""
        with report.check(f"{self.name}{what}: moe-opt"):
            text = raised(self.tools, path or self.path)
            left = re.findall(r"onnx\.(TopK|ArgMax|ReduceMax)\b", text)
            if left:
                raise Failure(f"{len(left)} of {set(left)} are left")
        # Routers stand in the order of their choices.
        got = routings_in(text)
        wants = texts_of(self.tools, self.wanted)
        if len(got) != len(wants):
            with report.check(f"{self.name}{what}: number of routers"):
                raise Failure(f"{len(got)} of {len(wants)} were raised; "
                              f"missing {sorted(set(wants) - set(got))}")
            return
        for case, have, want in zip(self.cases, got, wants):
            with report.check(f"{self.name}{what} {case.name}"):
                if have != want:
                    raise Failure(f"became {have}, not {want}")

    # --- values ------------------------------------------------------------------

    def feeds(self, tokens):
        shape = (tokens,) if self.graph.rank == 2 else (tokens // 4, 4)
        arrays = arrays_of(self.cases, tokens)
        feeds = {}
        for name in self.graph.inputs:
            if name == "words":
                rng = np.random.default_rng(3)
                feeds[name] = rng.integers(0, WORDS, shape).astype(np.int64)
            else:
                array = arrays[name].astype(self.graph.dtype)
                feeds[name] = array.reshape(shape + array.shape[1:])
        return feeds

    def compare(self, report, results, feeds, what):
        for case in self.wanted:
            with report.check(f"{self.name} {case.name} {what}"):
                self.compare_case(report, case, results, feeds, what)

    @staticmethod
    def in_order(case, arrays, ids, weights):
        """Slots of an unsorted TopK in the order of a sorted one, where the
        experts are the same."""
        want = routing.expect_route(case, arrays)[0]
        order = np.argsort(np.argsort(want, 1), 1)
        sorted_ids = np.argsort(ids, 1)
        place = np.take_along_axis(sorted_ids, order, 1)
        moved = np.take_along_axis(ids, place, 1)
        same = (moved == want).all(1, keepdims=True)
        return (np.where(same, moved, ids),
                np.where(same, np.take_along_axis(weights, place, 1), weights))

    def compare_case(self, report, case, results, feeds, what):
        k = case.routing.k
        experts = routing_cases.experts_of(case.logits)
        logits = feeds[case.logits].reshape(-1, experts).astype(np.float32)
        arrays = dict(self.fixed, **{case.logits: logits})
        ids = results[case.name + "_ids"].reshape(-1, k).astype(np.int32)
        if case.name == "hash":
            table = table_of(case)[feeds["words"].reshape(-1)]
            if (ids != table).any():
                raise Failure("ids are not those of the table")
            case = dataclasses.replace(case, forced="forced")
            arrays["forced"] = table.astype(np.int32)
        if case.name + "_dense" in results:
            dense = results[case.name + "_dense"].reshape(-1, experts)
            if (dense[~oracle.selected(ids, experts).astype(bool)] != 0).any():
                raise Failure("weights stand beside the ids")
            weights = np.take_along_axis(dense, ids.astype(np.int64), 1)
        else:
            weights = results[case.name + "_weights"].reshape(-1, k)
        weights = weights.astype(np.float32)
        if what == "as it was":
            ids, weights = self.in_order(case, arrays, ids, weights)
        if self.graph.dtype == np.float16:
            self.compare_half(report, case, arrays, ids, weights)
            return
        routing.compare_route(case, arrays,
                              {case.name + "_ids": ids,
                               case.name + "_weights": weights}, report)

    def compare_half(self, report, case, arrays, ids, weights):
        """Only the last rounding is float16's: better than what the graph says,
        whose ties are others."""
        old = routing.TOLERANCE
        routing.TOLERANCE = 2 ** -10 * max(1.0, case.routing.scale)
        try:
            routing.compare_route(case, arrays,
                                  {case.name + "_ids": ids,
                                   case.name + "_weights": weights}, report)
        finally:
            routing.TOLERANCE = old

    def run_native(self, feeds):
        library = os.path.join(self.tools.folder, self.name + ".so")
        if not os.path.exists(library):
            self.tools.check("moe-compile", self.path, "-o", library)
        data = tempfile.mkdtemp(dir=self.tools.folder)
        for i, name in enumerate(self.graph.inputs):
            routing.write_tensor(os.path.join(data, f"input_{i}.pb"),
                                 feeds[name], name)
        out = os.path.join(data, "out")
        self.tools.check("moe-run", library, "--data", data, "--output", out)
        return {value.name: routing.read_tensor(
            os.path.join(out, f"output_{i}.pb"))
            for i, value in enumerate(self.graph.outputs)}

    def run_onnxruntime(self, path, feeds):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"])
        names = [value.name for value in self.graph.outputs]
        return dict(zip(names, session.run(names, feeds)))

    def check_values(self, report):
        feeds = self.feeds(400)
        results = None
        with report.check(f"{self.name}: compiles and runs"):
            results = self.run_native(feeds)
        if results:
            self.compare(report, results, feeds, "compiled")
        with report.check(f"{self.name}: one token and none"):
            one = self.feeds(4 if self.graph.rank == 3 else 1)
            self.run_native(one)
            none = {name: array[:0] for name, array in one.items()}
            for name, array in self.run_native(none).items():
                if array.shape[0] != 0:
                    raise Failure(f"{name} has shape {array.shape}")
        if self.graph.dtype == np.float16:
            return
        with report.check(f"{self.name}: as it was, in ONNX Runtime"):
            plain = self.run_onnxruntime(self.path, feeds)
            self.compare(report, plain, feeds, "as it was")
        with report.check(f"{self.name}: plain again, in ONNX Runtime"):
            path = os.path.join(self.tools.folder, self.name + "_plain.onnx")
            self.tools.check("moe-opt", self.path, "--moe-raise-routers",
                             "--moe-decompose", "-o", path)
            plain = self.run_onnxruntime(path, feeds)
            self.compare(report, plain, feeds, "plain again")


def check_spelled(tools, report):
    for opset in router_graphs.OPSETS:
        for i, style in enumerate(router_graphs.STYLES):
            Model(tools, style, opset, 2 + (opset + i) % 2) \
                .check_attributes(report)


def check_disguised(tools, report):
    rng = np.random.default_rng(17)
    for number, (style, opset) in enumerate(
            (("dyn", 18), ("ts", 13), ("tf4", 17), ("hf", 21), ("dyn", 23),
             ("ts", 20))):
        for rank in (2, 3):
            model = Model(tools, style, opset, rank)
            path = os.path.join(tools.folder, f"disguised{number}{rank}.onnx")
            onnx.save(router_graphs.disguise(model.proto, rng), path)
            model.check_attributes(report, path, " disguised")


def check_values(tools, report):
    for style, opset, rank in (("dyn", 18, 2), ("ts", 13, 3), ("tf4", 17, 2),
                               ("hf", 21, 3)):
        Model(tools, style, opset, rank).check_values(report)
    Model(tools, "dyn", 20, 2, np.float16).check_values(report)


# --- experts that choose, soft routers ------------------------------------------


def balanced_model(tools, opset):
    """Each expert's 5 best tokens, and a soft router."""
    g = router_graphs.Graph("dyn", opset, 2)
    x = g.logits("l6")
    scores = g.node("Softmax", [x], axis=-1)
    by_expert = g.node("Transpose", [scores], perm=[1, 0])
    values, tokens = g.top_k(by_expert, 5)
    soft = g.input("soft", np.float32, ["batch", "seq", 12])
    y = g.input("y", np.float32, ["batch", "seq", 8])
    dispatch = g.node("Softmax", [soft], axis=1)
    combine = g.node("Softmax", [soft], axis=2)
    slots = g.node("MatMul", [g.node("Transpose", [dispatch], perm=[0, 2, 1]),
                              y])
    mixed = g.node("MatMul", [combine, slots])
    for value, name, kind, shape in (
            (tokens, "tokens", TensorProto.INT64, [6, 5]),
            (values, "weights", TensorProto.FLOAT, [6, 5]),
            (mixed, "mixed", TensorProto.FLOAT, ["batch", "seq", 8])):
        g.nodes.append(helper.make_node("Identity", [value], [name]))
        g.outputs.append(helper.make_tensor_value_info(name, kind, shape))
    path = os.path.join(tools.folder, f"balanced{opset}.onnx")
    onnx.save(g.model(), path)
    return g, path


def check_balanced(tools, report):
    for opset in (13, 18, 23):
        graph, path = balanced_model(tools, opset)
        with report.check(f"balanced {opset}: ops"):
            text = raised(tools, path)
            for op, count in (("moe.route_balanced", 1), ("moe.soft_route", 1),
                              ("onnx.TopK", 0), ("onnx.Softmax", 0)):
                if text.count(f"{op} ") + text.count(f"{op}(") != count:
                    raise Failure(f"not {count} of {op}")
        rng = np.random.default_rng(opset)
        feeds = {"l6": rng.standard_normal((60, 6)).astype(np.float32),
                 "soft": rng.standard_normal((2, 7, 12)).astype(np.float32),
                 "y": rng.standard_normal((2, 7, 8)).astype(np.float32)}
        model = Model.__new__(Model)
        model.tools, model.graph, model.path = tools, graph, path
        model.name = f"balanced{opset}"
        with report.check(f"balanced {opset}: values"):
            want = model.run_onnxruntime(path, feeds)
            got = model.run_native(feeds)
            if (got["tokens"] != want["tokens"]).any():
                raise Failure("other tokens")
            for name in ("weights", "mixed"):
                if np.abs(got[name] - want[name]).max() > 1e-5:
                    raise Failure(f"{name} differ")


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
    groups = {"back": check_back, "spelled": check_spelled,
              "disguised": check_disguised, "values": check_values,
              "balanced": check_balanced}
    unknown = [g for g in options.groups if g not in groups]
    if unknown:
        parser.error(f"no group '{unknown[0]}'; there are: "
                     f"{', '.join(groups)}")
    report = Report(options.v)
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(options.bin, folder)
        for group in options.groups or groups:
            with report.check(f"{group}: runs to its end"):
                groups[group](tools, report)
    print(f"  {report.excluded} of {report.tokens} routed tokens were too "
          "close to a tie to be compared")
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
