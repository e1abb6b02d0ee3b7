#!/usr/bin/env python3
"""Any router in front of com.microsoft.MoE: the log-weight form.

Each router of routing_cases.py (46 of released models, one per field of
#moe.routing) stands in front of a small bank of experts. moe-export-contrib
writes the experts as MoE, with log-weights where the operator does not have the
routing, moe-decompose the router as plain operators; ONNX Runtime's results are
compared with the oracles in float64, except for tokens for which float32 cannot
tell scores apart. Routers whose weights may be negative must stay moe ops.

usage: contrib_routers.py [--bin FOLDER] [PATTERN...]
"""
import argparse
import os
import subprocess
import sys
import tempfile

import experts_oracle
import numpy as np
import onnx
import onnxruntime
import routing_cases
import routing_oracle
from experts_graph import Graph, Value

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
TOKENS, WIDTH, INNER = 60, 8, 4
# How gates and ups are stored, and the activation; all become what ONNX
# Runtime's CPU provider runs.
BANKS = [("none", "relu"), ("interleave", "swiglu"), ("concat", "swiglu"),
         ("separate", "swiglu")]
OPTIONS = "log-weights=true interleave=true any-tie=true"


def negative(case):
    """Whether weights may be negative for all that the routing says."""
    r = case.routing
    return bool(r.score == "identity" or case.mix or case.expert_scale or
                r.scale < 0)


def build(case, number):
    """The graph, and what it should give for which tokens."""
    random = np.random.default_rng(number)
    experts = routing_cases.experts_of(case.logits)
    gate_up, activation = BANKS[number % len(BANKS)]
    bank = experts_oracle.Bank(random, experts, WIDTH, INNER, gate_up=gate_up)
    graph = Graph()
    values, operands = {}, ""
    for operand, name in case.inputs():
        array = routing_cases.make_input(name, TOKENS, random)
        free = () if name[0] in "bs" else ("tokens",)
        values[operand] = array
        value = graph.input([array], *free)
        if operand == "logits":
            logits = value
        else:
            operands += f" {operand}({value.name} : {value.type})"
    rows = random.standard_normal((TOKENS, WIDTH)).astype(np.float32)
    x = graph.input([rows], "tokens")
    k = case.routing.k
    kind = np.float64 if logits.dtype == np.float64 else np.float32
    ids = Value("%ids", np.int32, [None, k])
    weights = Value("%weights", kind, [None, k])
    graph.lines.append(
        f"%ids, %weights = moe.route {logits.name}{operands} {{routing = "
        f"{case.routing.mlir()}}} : {logits.type} -> {ids.type}, "
        f"{weights.type}")
    y = graph.experts(x, ids, weights, bank, activation)
    graph.output(y, None)
    wide = {name: value.astype(np.float64) if value.dtype.kind == "f" else value
            for name, value in values.items()}
    picked, w, clear, _ = routing_oracle.route(case.routing, **wide)
    return graph, experts_oracle.experts(rows, picked, w, bank,
                                         activation), clear


def check(case, number, tools, folder):
    """What is wrong, or an empty string."""
    graph, expected, clear = build(case, number)
    source = os.path.join(folder, f"{number}.mlir")
    target = os.path.join(folder, f"{number}.onnx")
    with open(source, "w", encoding="ascii") as file:
        file.write(graph.module())
    done = subprocess.run(
        [os.path.join(tools, "moe-opt"), source,
         f"--moe-export-contrib={OPTIONS}", "--moe-decompose", "-o", target],
        capture_output=True, text=True, check=False)
    if done.returncode:
        return f"moe-opt: {done.stderr[:600]}"
    model = onnx.load(target)
    found = any(node.op_type == "MoE" for node in model.graph.node)
    if found == negative(case):
        return ("became MoE in spite of weights that may be negative"
                if found else "did not become MoE")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(target, options,
                                           providers=["CPUExecutionProvider"])
    got = session.run(None, {value.name[1:]: arrays[0]
                             for value, arrays, _ in graph.inputs})[0]
    if np.mean(~clear) > 0.05 and case.logits[0] != "t":
        return f"{np.sum(~clear)} of {TOKENS} tokens are not clear"
    wrong = ~np.isclose(got, expected, 1e-5, 1e-5) & clear[:, None]
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        return (f"{int(wrong.sum())} elements differ, first at {list(at)}: "
                f"{got[at]}, expected {expected[at]}")
    return ""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bin"))
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    options = parser.parse_args()
    cases = [case for case in (*routing_cases.published(),
                               *(case for _, case, _ in routing_cases.by_field()))
             if not options.patterns or any(p in case.name
                                            for p in options.patterns)]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases):
            problem = check(case, number, options.bin, folder)
            if problem:
                failed += 1
                print(f"FAILED {case.name}: {problem}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
