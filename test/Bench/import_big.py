#!/usr/bin/env python3
"""Measures how moe-opt takes large models: time and memory.

Makes models of random weights in a temporary folder (which is removed again):
1.5 GB with the weights inline, 1.5 GB and 3 GB with external data. Each is
imported twice, so that the second time finds the file in the page cache, with

    moe-opt big.onnx -o big.mlirbc

A dump of the IR as text and a copy to ONNX are measured as well.

Usage: import_big.py [--moe-opt=PATH] [--folder=FOLDER]
Exits with 1 if an import takes 3 s or 200 MB of anonymous memory, or a dump
2 s, or if the copy differs in a weight.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper

SECONDS, MEGABYTES, DUMP_SECONDS = 3.0, 200, 2.0


def make_model(path, size, external):
    """A chain of matrix products whose weights have `size` bytes in all."""
    width = 2048
    each = width * width * 4
    rng = np.random.default_rng(0)
    block = rng.standard_normal((width, width), np.float32).tobytes()
    nodes, weights, offset = [], [], 0
    data = open(path + ".data", "wb") if external else None
    for i in range(size // each):
        # Names of uneven length put inline weights at odd addresses.
        name = f"layers.{i}.weight" + "x" * (i % 7)
        tensor = TensorProto(
            name=name, data_type=TensorProto.FLOAT, dims=[width, width]
        )
        if external:
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in [
                ("location", os.path.basename(path) + ".data"),
                ("offset", str(offset)),
                ("length", str(each)),
            ]:
                tensor.external_data.add(key=key, value=value)
            data.write(block)
            offset += each
        else:
            tensor.raw_data = block
        weights.append(tensor)
        nodes.append(
            helper.make_node("MatMul", [f"v{i}", name], [f"v{i + 1}"],
                             name=f"/layers/{i}/MatMul")
        )
    if data:
        data.close()
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "big",
        [value("v0", TensorProto.FLOAT, ["batch", width])],
        [value(f"v{len(nodes)}", TensorProto.FLOAT, ["batch", width])],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    )
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


def measure(command):
    """Runs a command: (seconds, peak of RssAnon in MB)."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
                for line in file:
                    if line.startswith("RssAnon:"):
                        peak = max(peak, int(line.split()[1]) // 1024)
        except OSError:
            pass
        time.sleep(0.002)
    seconds = time.perf_counter() - begin
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    return seconds, peak


def report(what, seconds, megabytes, limit):
    good = seconds < limit and megabytes < MEGABYTES
    print(f"{what:44} {seconds:6.2f} s {megabytes:5} MB anonymous"
          f"{'' if good else '   TOO MUCH'}", flush=True)
    return good


def same_weights(before, after):
    """Compares tensor by tensor, so that few are in memory."""
    old = onnx.load(before, load_external_data=False)
    new = onnx.load(after, load_external_data=False)

    def content(model, path, tensor):
        if tensor.data_location != TensorProto.EXTERNAL:
            return tensor.raw_data
        at = {entry.key: entry.value for entry in tensor.external_data}
        name = os.path.join(os.path.dirname(path), at["location"])
        with open(name, "rb") as file:
            file.seek(int(at["offset"]))
            return file.read(int(at["length"]))

    return len(old.graph.initializer) == len(new.graph.initializer) and all(
        a.name == b.name
        and content(old, before, a) == content(new, after, b)
        for a, b in zip(old.graph.initializer, new.graph.initializer)
    )


def main():
    parser = argparse.ArgumentParser()
    root = os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    parser.add_argument("--moe-opt",
                        default=os.path.join(root, "build", "bin", "moe-opt"))
    parser.add_argument("--folder", help="where to put the models")
    options = parser.parse_args()

    good = True
    for size, external in [(1.5, False), (1.5, True), (3.0, True)]:
        kind = f"{size} GB {'external' if external else 'inline'}"
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = os.path.join(folder, "big.onnx")
            make_model(path, int(size * 2**30), external)
            code = os.path.join(folder, "big.mlirbc")
            measure([options.moe_opt, path, "-o", code])
            times = measure([options.moe_opt, path, "-o", code])
            good &= report(f"{kind}: import to bytecode", *times, SECONDS)
            times = measure([options.moe_opt, path, "-o", "-"])
            good &= report(f"{kind}: import and dump as text", *times,
                           DUMP_SECONDS)
            copy = os.path.join(folder, "copy.onnx")
            seconds, megabytes = measure([options.moe_opt, path, "-o", copy])
            good &= report(f"{kind}: copy to ONNX", seconds, megabytes,
                           float("inf"))
            if not same_weights(path, copy):
                print(f"{kind}: the copy has other weights")
                good = False
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
