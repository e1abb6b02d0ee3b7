#!/usr/bin/env python3
"""Writes routing_golden.npz: what the published routers choose.

usage: make_routing_golden.py ROUTERS.PY

ROUTERS.PY is the reference program of the project's design papers whose
function `route` was checked against the models' own code; only that function
and what stands before it is run. Inputs are those of routing_cases.make_input
with the seed below, in float64; the file holds a checksum of them, ids and
weights of every case of routing_cases.published(). Neither the compiler nor
routing_oracle.py has a part in the values.
"""
import os
import sys
import zlib

import numpy as np
import routing_cases

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = os.path.join(HERE, "routing_golden.npz")
TOKENS, SEED = 48, 46


def inputs():
    """{name: array} of all inputs of the published routers."""
    names = {name for case in routing_cases.published()
             for _, name in case.inputs()}
    arrays = {name: routing_cases.make_input(
        name, TOKENS, np.random.default_rng([SEED, *name.encode()]))
        for name in sorted(names)}
    # The reference program has no empty slots.
    return {name: np.where(array < 0, 0, array) if name[0] == "f" else array
            for name, array in arrays.items()}


def checksum(arrays):
    return zlib.crc32(b"".join(arrays[name].tobytes()
                               for name in sorted(arrays)))


def load_reference(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = text[text.index("sig="):text.index("def cmp(")]
    scope = {"np": np}
    exec(compile(text, path, "exec"), scope)  # pylint: disable=exec-used
    return scope["route"]


def run(route, case, arrays):
    r = case.routing
    logits = arrays[case.logits].astype(np.float64)
    options = dict(score="none" if r.score == "identity" else r.score,
                   score_on=r.score_on, select=r.select, norm=r.norm,
                   norm_eps=r.eps, norm_p=r.p, scale=r.scale,
                   softcap=r.softcap, logit_mult=r.logit_mult, k_div=r.k_div,
                   jitter=r.jitter)
    if r.groups:
        options.update(n_group=r.groups.n, topk_group=r.groups.keep,
                       group_score=r.groups.reduce,
                       mask=0.0 if r.groups.fill == "zero" else -np.inf)
    if case.select_bias:
        options["bias"] = arrays[case.select_bias].astype(np.float64)
    if case.expert_scale:
        options["per_expert_scale"] = arrays[case.expert_scale]
    if case.forced:
        options.update(table=arrays[case.forced], tok=np.arange(TOKENS))
    return route(logits, r.k, **options)


def main(arguments):
    if len(arguments) != 1:
        print(__doc__.strip())
        return 1
    route, arrays = load_reference(arguments[0]), inputs()
    golden = {"checksum": np.uint32(checksum(arrays))}
    for case in routing_cases.published():
        ids, weights = run(route, case, arrays)
        golden[case.name + "_ids"] = ids.astype(np.int16)
        golden[case.name + "_weights"] = weights.astype(np.float32)
    np.savez_compressed(PATH, **golden)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
