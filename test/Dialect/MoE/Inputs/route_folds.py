"""Routings before and after canonicalisation against the oracle of routers.

usage: route_folds.py MOE_OPT WORK_FILE.mlir

Draws routings at random, lets moe-opt canonicalise them, and evaluates what it
prints and what it was given with the same oracle, in float64 and for random
logits. Tokens whose selection rounding may decide are left out; more than 1% of
them, or folds that never fire, fail the test.
"""
import dataclasses
import os
import random
import re
import subprocess
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "..",
                                "Integration"))
from routing_oracle import Groups, Routing, route  # noqa: E402

EXPERTS, TOKENS, COUNT = 16, 300, 1000
TYPES = {"select_bias": "tensor<16xf32>", "expert_scale": "tensor<16xf32>",
         "mix": "tensor<?x16xf32>", "valid": "tensor<?xi1>"}


def draw(rng):
    """A routing and the operands that it comes with."""
    def maybe(share, **fields):
        return fields if rng.random() < share else {}

    k = rng.choice([1, 2, 4])
    norm = rng.choice(["none", "sum", "sum", "sum_clamp", "lp"])
    fields = dict(
        k=k, norm=norm,
        score=rng.choice(["softmax", "softmax", "softmax", "sigmoid",
                          "identity", "sqrtsoftplus"]),
        score_on=rng.choice(["all", "all", "all", "selected"]),
        select=rng.choice(["score", "logit"]),
        tie=rng.choice(["lowest", "highest"]))
    fields |= maybe(0.5, groups=Groups(4, rng.choice([2, 4]),
                                       rng.choice(["max", "top2sum"]),
                                       rng.choice(["minus_inf", "zero"])))
    if norm in ("sum", "sum_clamp"):
        fields |= maybe(0.2, eps=rng.choice([1e-20, 0.1]))
    if norm == "lp":
        fields |= dict(p=rng.choice([1.0, 2.0]))
    if k > 1:
        fields |= maybe(0.3, null_before_norm=(0, 3, 7))
    if k == 2:
        fields |= maybe(0.3, ranks=rng.choice([(0, 2), (1, 2), (2, 0)]))
    for more in (dict(scale=2.5), dict(k_div=True), dict(softcap=2.0),
                 dict(logit_std=1.5), dict(min_ratio=0.5), dict(top_p=0.7),
                 dict(min_prob=0.2)):
        fields |= maybe(0.2, **more)
    operands = [name for name in TYPES if rng.random() < 0.25]
    if fields["score_on"] == "selected" and "mix" in operands:
        operands.remove("mix")
    return Routing(**fields), operands


def function(number, routing, operands):
    arguments = "".join(f", %{name}: {TYPES[name]}" for name in operands)
    given = " ".join(f"{name}(%{name} : {TYPES[name]})" for name in operands)
    results = f"tensor<?x{routing.k}xi32>, tensor<?x{routing.k}xf32>"
    return (f"func.func @f{number}(%l: tensor<?x{EXPERTS}xf32>{arguments}) -> "
            f"({results}) {{\n"
            f"  %i, %w = moe.route %l {given} {{routing = {routing.mlir()}}} : "
            f"tensor<?x{EXPERTS}xf32> -> {results}\n"
            f"  return %i, %w : {results}\n}}\n")


def parse(text):
    """The routing that moe-opt prints between its angle brackets."""
    fields = {}

    def groups(match):
        parts = dict(part.split(" = ") for part in match[1].split(", "))
        fields["groups"] = Groups(int(parts["n"]), int(parts["keep"]),
                                  parts.get("reduce", "max"),
                                  parts.get("fill", "minus_inf"))
        return ""

    def indices(match):
        fields[match[1]] = tuple(int(i) for i in match[2].split(", "))
        return ""

    text = re.sub(r"groups = <([^>]*)>", groups, text)
    text = re.sub(r"(\w+) = \[([^\]]*)\]", indices, text)
    types = {field.name: field.type for field in dataclasses.fields(Routing)}
    for part in filter(None, text.split(", ")):
        name, value = part.split(" = ")
        read = {int: int, float: float, bool: lambda v: v == "true", str: str}
        fields[name] = read[types[name]](value)
    return Routing(**fields)


def main(moe_opt, file):
    rng = random.Random(1)
    cases = [draw(rng) for _ in range(COUNT)]
    with open(file, "w", encoding="ascii") as out:
        for number, (routing, operands) in enumerate(cases):
            out.write(function(number, routing, operands))
    printed = subprocess.run([moe_opt, file, "--canonicalize"], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
    texts = re.findall(r"routing = #moe\.routing<(.*)>\} :", printed)
    assert len(texts) == COUNT, f"{len(texts)} of {COUNT} routers came back"

    values = np.random.default_rng(0)
    inputs = {"select_bias": values.standard_normal(EXPERTS) * 0.3,
              "expert_scale": values.uniform(0.5, 2, EXPERTS),
              "mix": values.standard_normal((TOKENS, EXPERTS)),
              "valid": values.random(TOKENS) < 0.8}
    changed = unclear = 0
    for (before, operands), text in zip(cases, texts):
        after = parse(text)
        if after == before:
            continue
        changed += 1
        logits = values.standard_normal((TOKENS, EXPERTS)) * 1.5
        given = {name: inputs[name] for name in operands}
        with np.errstate(all="ignore"):
            a, b = (route(r, logits, **given) for r in (before, after))
        clear = a[2] & b[2]
        unclear += np.count_nonzero(~clear)
        same = np.array_equal(a[0][clear], b[0][clear]) and np.allclose(
            a[1][clear], b[1][clear], 1e-9, 1e-12, equal_nan=True)
        assert same, (f"{before.mlir()} with {operands} became "
                      f"{after.mlir()}, which gives something else")
    print(f"{changed} routings changed, {unclear} tokens left out")
    assert changed > COUNT // 5
    assert unclear < changed * TOKENS // 100


if __name__ == "__main__":
    main(sys.argv[1].removeprefix("--moe-opt="), *sys.argv[2:])
