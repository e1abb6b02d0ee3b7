#!/usr/bin/env python3
"""Checks what moe-run --profile tells against what a model is.

usage: profile.py [CASE]...     (folders in ONNX's own test layout)

Models of known work are compiled with profile points: nodes have to appear by
name, FLOPs and bytes have to be exactly those of the run's extents, rows of
experts those that there are, calls the iterations of a loop, and the shares of
a run have to make one run. Each CASE then has to give the expected results and
shares that do.

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("MOE_BUILD", os.path.join(HERE, "..", "..", "build"))
COMPILER = os.path.join(BUILD, "bin", "moe-compile")
RUNNER = os.path.join(BUILD, "bin", "moe-run")
FLOAT = TensorProto.FLOAT


class Failure(Exception):
    """What is wrong."""


def require(condition, text):
    if not condition:
        raise Failure(text)


def call(*command, status=0):
    done = subprocess.run([str(word) for word in command], text=True,
                          capture_output=True, check=False)
    require(done.returncode == status,
            f"{' '.join(map(str, command))}: exit status {done.returncode}, "
            f"not {status}: {done.stderr.strip()[-500:]}")
    return done


def value(name, *shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def weight(name, *shape):
    random = np.random.default_rng(len(name) + sum(shape))
    return numpy_helper.from_array(
        random.standard_normal(shape).astype(np.float32) / 8, name)


def save(folder, nodes, inputs, outputs, weights, domains=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 17)]
    opsets += [helper.make_opsetid(domain, 1) for domain in domains]
    path = os.path.join(folder, "model.onnx")
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8),
              path)
    library = os.path.join(folder, "model.so")
    call(COMPILER, path, "-o", library, "--profile")
    return library


def profile(*arguments):
    """The report, and its rows by name and kind."""
    report = json.loads(call(RUNNER, *arguments, "--profile", "--json").stdout)
    rows = {(row["name"], row["kind"]): row for row in report["profile"]}
    require(len(rows) == len(report["profile"]), "two rows are called the same")
    shares = sum(row["share"] for row in rows.values())
    shares += report["profile_other"]["share"]
    # Medians of parts do not sum to the median of the whole.
    slack = 0.1 if "--bench" in arguments else 1e-6
    require(abs(shares - 1) <= slack, f"shares make {shares}")
    times = [row["ms"] for row in report["profile"]]
    require(times == sorted(times, reverse=True), "rows are not by time")
    require(all(time >= 0 for time in times), "a time is negative")
    return report, rows


def expect(row, **fields):
    for name, number in fields.items():
        require(row[name] == number,
                f"{name} of '{row['name']}' is {row[name]}, not {number}")


# --- models of known work ---------------------------------------------------


def dense(folder):
    """Products with what was fused into them, and a product of activations."""
    library = save(
        folder,
        [helper.make_node("MatMul", ["x", "w"], ["a"], name="/up/MatMul"),
         helper.make_node("Add", ["a", "b"], ["c"], name="/up/Add"),
         helper.make_node("Relu", ["c"], ["h"], name="/act/Relu"),
         helper.make_node("MatMul", ["h", "v"], ["y"], name="/down/MatMul"),
         helper.make_node("Transpose", ["y"], ["t"], name="/t", perm=[1, 0]),
         helper.make_node("MatMul", ["y", "t"], ["z"], name="/self/MatMul"),
         helper.make_node("Exp", ["z"], ["e"], name="/Exp"),
         helper.make_node("ReduceSum", ["e"], ["s"], name="/Sum",
                          keepdims=0)],
        [value("x", "n", 64)], [value("y", "n", 96), value("s")],
        [weight("w", 64, 128), weight("b", 128), weight("v", 128, 96)])
    for n in (1, 37, 500):
        report, rows = profile(library, "--random", 1, "--dim", f"n={n}",
                               "--bench", 5)
        up = rows["/up/MatMul + /up/Add + /act/Relu", "MatMul+Add+Relu"]
        expect(up, calls=1, flops=n * 128 * (2 * 64 + 2),
               bytes=4 * (n * 64 + 64 * 128 + 128 + n * 128))
        expect(rows["/down/MatMul", "MatMul"], flops=n * 96 * 2 * 128,
               bytes=4 * (n * 128 + 128 * 96 + n * 96))
        own = [row for key, row in rows.items() if "/self/MatMul" in key[0]]
        require(len(own) == 1 and own[0]["flops"] == 2 * n * n * 96,
                f"/self/MatMul is {own}")
        require(any("/Sum" in name for name, _ in rows), "/Sum is missing")
        if n == 500:
            require(report["profile_other"]["share"] < 0.5,
                    "most of the time is in no operation")
            require(up["ms"] > 0, "no time was measured")


def experts(folder):
    """Rows that exist count, and matrices of experts that have some."""
    experts_, hidden, inner = 6, 32, 64
    library = save(
        folder,
        [helper.make_node("MoE", ["x", "p", "u", "", "d"], ["y"],
                          name="/layer/MoE", domain="com.microsoft", k=2,
                          activation_type="relu",
                          normalize_routing_weights=1)],
        [value("x", "n", hidden), value("p", "n", experts_)],
        [value("y", "n", hidden)],
        [weight("u", experts_, inner, hidden),
         weight("d", experts_, hidden, inner)], ["com.microsoft"])
    for tokens in (1, 50):
        # All tokens choose experts 1 and 4.
        scores = np.tile(np.float32([0, 9, 1, 2, 8, 3]), (tokens, 1))
        np.save(os.path.join(folder, "p.npy"), scores)
        np.save(os.path.join(folder, "x.npy"),
                np.random.default_rng(0).standard_normal(
                    (tokens, hidden)).astype(np.float32))
        _, rows = profile(library, "--input", f"x={folder}/x.npy", "--input",
                          f"p={folder}/p.npy")
        require(all(name == "/layer/MoE" for name, _ in rows),
                f"names are {[name for name, _ in rows]}")
        products = [row for row in rows.values()
                    if "moe.experts:grouped_linear" in row["kind"]]
        require(len(products) == 1, f"products are {products}")
        count = 2 * tokens
        expect(products[0], flops=count * (inner * (2 * hidden + 1)
                                           + hidden * 2 * inner),
               bytes=4 * (2 * 2 * inner * hidden
                          + count * 2 * (hidden + inner)))
        combine = [row for row in rows.values()
                   if "moe.experts:combine" in row["kind"]]
        require(len(combine) == 1, f"sums are {combine}")
        expect(combine[0], flops=2 * count * hidden)


def loop(folder):
    """Nodes of a loop are called once an iteration."""
    body = helper.make_graph(
        [helper.make_node("MatMul", ["s", "w"], ["m"], name="/body/MatMul"),
         helper.make_node("Identity", ["c"], ["d"])],
        "body", [value("i", kind=TensorProto.INT64),
                 value("c", kind=TensorProto.BOOL), value("s", 4, 16)],
        [value("d", kind=TensorProto.BOOL), value("m", 4, 16)])
    library = save(
        folder,
        [helper.make_node("Loop", ["n", "", "x"], ["y"], name="/Loop",
                          body=body)],
        [value("n", kind=TensorProto.INT64), value("x", 4, 16)],
        [value("y", 4, 16)], [weight("w", 16, 16)])
    for count in (0, 9):
        np.save(os.path.join(folder, "n.npy"), np.int64(count))
        _, rows = profile(library, "--random", 1, "--input",
                          f"n={folder}/n.npy")
        row = rows.get(("/body/MatMul", "MatMul"))
        require((row is not None) == (count > 0),
                f"{count} iterations give {rows}")
        if row:
            expect(row, calls=count, flops=count * 2 * 4 * 16 * 16)


def recurrent(folder):
    """Steps of a recurrent layer are one operation; all of them count."""
    library = save(
        folder,
        [helper.make_node("RNN", ["x", "w", "r"], ["", "y"], name="/RNN",
                          hidden_size=24)],
        [value("x", "t", 2, 16)], [value("y", 1, 2, 24)],
        [weight("w", 1, 24, 16), weight("r", 1, 24, 24)])
    flops = {}
    for steps in (3, 6):
        _, rows = profile(library, "--random", 1, "--dim", f"t={steps}")
        row = rows["/RNN", "RNN"]
        expect(row, calls=1)
        flops[steps] = row["flops"]
    least = 3 * 2 * 24 * 2 * (16 + 24)
    require(least <= flops[3] <= 1.2 * least, f"3 steps are {flops[3]} FLOPs")
    require(flops[6] == 2 * flops[3], f"steps differ: {flops}")


def without_points(folder):
    """Code without points is refused with what to do; -onnx asks for them."""
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="/Relu")]
    library = save(folder, nodes, [value("x", "n")], [value("y", "n")], [])
    model = os.path.join(folder, "model.onnx")
    _, rows = profile(model, "--random", 1, "--dim", "n=5")
    expect(rows["/Relu", "Relu"], flops=5, bytes=40)
    table = call(RUNNER, library, "--random", 1, "--dim", "n=5", "--profile",
                 "--bench", 3).stdout
    for part in ("GFLOP/s", "/Relu", "(outside of all operations)"):
        require(part in table, f"no '{part}' in {table}")
    call(COMPILER, model, "-o", library)
    refused = call(RUNNER, library, "--random", 1, "--dim", "n=5", "--profile",
                   status=1)
    require("moe-compile --profile" in refused.stderr, refused.stderr)


def case(path):
    """Results are those expected, shares make one run."""
    sets = sorted(name for name in os.listdir(path)
                  if name.startswith("test_data_set"))
    data = os.path.join(path, sets[0])
    report, rows = profile(os.path.join(path, "model.onnx"), "--data", data,
                           "--expect", data, "--bench", 3)
    require(report["matches"], "results differ")
    require(sum(row["flops"] for row in rows.values()) > 0, "no FLOPs")


def main():
    cases = [(test.__name__, test) for test in
             (dense, experts, loop, recurrent, without_points)]
    cases += [(os.path.basename(path), lambda _, path=path: case(path))
              for path in sys.argv[1:]]
    failed = 0
    for name, test in cases:
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(folder)
            except (Failure, OSError, KeyError, ValueError) as error:
                failed += 1
                print(f"{name}: {type(error).__name__}: {error}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
