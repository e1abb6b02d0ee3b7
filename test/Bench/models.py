#!/usr/bin/env python3
"""Times whole models against ONNX Runtime's.

usage: models.py MODEL.onnx [--dim NAME=N]... [--seconds S] [--threads N]
                 [--mcpu CPU] [--against MODEL.so]...
       models.py --mixtral FOLDER
       models.py --bert FOLDER

The model is compiled; then it, the libraries of `--against` (other compilations
of the same model) and ONNX Runtime with all its optimisations run in this
process, one after the other in every round. Times are those of the CPU, not of
the clock, so that other programs on the machine disturb less (`--threads` above
1 uses the clock). Inputs are random; results are compared first. Dims without
`--dim` are 1.

`--mixtral` writes a model of four layers in Mixtral's shape (hidden size 1024,
8 experts of 2048, 2 per token, vocabulary 32000) with `com.microsoft.MoE`,
`--bert` two layers of the size of BERT's (768, 3072).
"""
import argparse
import ctypes
import math
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import experts


# --- a model in Mixtral's shape ---------------------------------------------


class Graph:
    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.nodes, self.constants = [], []

    def constant(self, value):
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(
            np.ascontiguousarray(value), name))
        return name

    def weight(self, *shape, inner=0):
        value = self.rng.standard_normal(shape, dtype=np.float32)
        return self.constant(value / np.float32(
            math.sqrt(inner or shape[0])))

    def node(self, kind, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def norm(self, x, hidden):
        mean = self.node("ReduceMean", self.node("Mul", x, x),
                         self.constant(np.array([-1])), keepdims=1)
        root = self.node("Sqrt", self.node("Add", mean,
                                           self.constant(np.float32(1e-5))))
        return self.node("Mul", self.node("Div", x, root),
                         self.constant(np.ones(hidden, np.float32)))

    def attention(self, x, hidden, heads):
        size = hidden // heads
        parts = []
        for i in range(3):
            y = self.node("Reshape", self.node(
                "MatMul", x, self.weight(hidden, hidden)),
                self.constant(np.array([0, 0, heads, size])))
            parts.append(self.node(
                "Transpose", y, perm=[0, 2, 3, 1] if i == 1 else [0, 2, 1, 3]))
        scores = self.node("Mul", self.node("MatMul", parts[0], parts[1]),
                           self.constant(np.float32(1 / math.sqrt(size))))
        y = self.node("MatMul", self.node("Softmax", scores, axis=-1),
                      parts[2])
        y = self.node("Reshape", self.node("Transpose", y, perm=[0, 2, 1, 3]),
                      self.constant(np.array([0, 0, hidden])))
        return self.node("MatMul", y, self.weight(hidden, hidden))

    def moe(self, x, hidden, inner, count, slots):
        flat = self.node("Reshape", x, self.constant(np.array([-1, hidden])))
        router = self.node("MatMul", flat, self.weight(hidden, count))
        first = self.weight(count, 2 * inner, hidden, inner=hidden)
        second = self.weight(count, hidden, inner, inner=inner)
        y = self.node("MoE", flat, router, first, "", second,
                      domain="com.microsoft", k=slots,
                      activation_type="swiglu", swiglu_fusion=1,
                      normalize_routing_weights=1, activation_alpha=1.0,
                      activation_beta=0.0)
        return self.node("Reshape", y, self.node("Shape", x))


def write_mixtral(folder, layers=4, hidden=1024, inner=2048, count=8, slots=2,
                  words=32000, heads=16):
    g = Graph()
    x = g.node("Gather", g.weight(words, hidden, inner=1), "ids")
    for _ in range(layers):
        x = g.node("Add", x, g.attention(g.norm(x, hidden), hidden, heads))
        x = g.node("Add", x, g.moe(g.norm(x, hidden), hidden, inner, count,
                                   slots))
    x = g.node("MatMul", g.norm(x, hidden), g.weight(hidden, words))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        g.nodes, "g", [value("ids", onnx.TensorProto.INT64, ["b", "t"])],
        [value(x, onnx.TensorProto.FLOAT, ["b", "t", words])], g.constants)
    model = helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)])
    path = os.path.join(folder, "mixtral.onnx")
    onnx.save(model, path, save_as_external_data=True,
              location="mixtral.onnx.data")
    print(path)


def write_bert(folder, layers=2, hidden=768, inner=3072, heads=12):
    g = Graph()
    x = "x"
    for _ in range(layers):
        def linear(x, rows, columns):
            return g.node("Add", g.node("MatMul", x, g.weight(rows, columns)),
                          g.weight(columns))

        def norm(x):
            return g.node("LayerNormalization", x, g.weight(hidden),
                          g.weight(hidden), axis=-1)
        x = norm(g.node("Add", x, g.attention(x, hidden, heads)))
        h = g.node("Gelu", linear(x, hidden, inner))
        x = norm(g.node("Add", x, linear(h, inner, hidden)))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        g.nodes, "g",
        [value("x", onnx.TensorProto.FLOAT, ["b", "t", hidden])],
        [value(x, onnx.TensorProto.FLOAT, ["b", "t", hidden])], g.constants)
    model = helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid("", 20)])
    path = os.path.join(folder, "bert.onnx")
    onnx.save(model, path)
    print(path)


# --- runs --------------------------------------------------------------------


def draw_inputs(model, dims):
    """Random inputs by name; integers are below 100, masks are ones."""
    rng = np.random.default_rng(0)
    constants = {c.name for c in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value")
                 else dims.get(d.dim_param, 1) for d in tensor.shape.dim]
        kind = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if kind.kind == "f":
            feeds[value.name] = rng.standard_normal(shape).astype(kind)
        elif "mask" in value.name:
            feeds[value.name] = np.ones(shape, kind)
        else:
            feeds[value.name] = rng.integers(0, 100, shape).astype(kind)
    return feeds


def prepare_ours(ours, arrays, num_outputs):
    """A function that runs once and returns the first output if asked to."""
    count = len(arrays)
    tensors = (experts.DLManagedTensor * count)()
    keep = []
    for tensor, array in zip(tensors, arrays):
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        code = {"f": 2, "i": 0, "u": 1, "b": 6}[array.dtype.kind]
        tensor.tensor = experts.DLTensor(
            array.ctypes.data, 1, 0, array.ndim, code, array.itemsize * 8, 1,
            shape, None, 0)
        keep += [array, shape]
    pointer = ctypes.POINTER(experts.DLManagedTensor)
    inputs = (pointer * count)(*[ctypes.pointer(t) for t in tensors])
    outputs = (pointer * num_outputs)()

    def run(fetch=False):
        ours.check(ours.runtime.moe_session_run(ours.session, count, None,
                                                inputs, outputs))
        result = None
        if fetch:
            tensor = outputs[0].contents.tensor
            dims = tuple(tensor.shape[i] for i in range(tensor.ndim))
            result = np.ctypeslib.as_array(ctypes.cast(
                tensor.data, ctypes.POINTER(ctypes.c_float)), dims).copy()
        for output in outputs:
            output.contents.deleter(output)
        return result

    run.keep = keep
    return run


def compare(options, folder):
    model = onnx.load(options.model, load_external_data=False)
    dims = {name: int(n) for name, n in
            (text.split("=") for text in options.dim)}
    feeds = draw_inputs(model, dims)
    path = os.path.join(folder, "model.so")
    subprocess.run([os.path.join(experts.BUILD, "bin", "moe-compile"),
                    options.model, "-o", path, f"--mcpu={options.mcpu}"],
                   check=True)
    runtime = experts.load_runtime(folder)
    names = [output.name for output in model.graph.output]
    runs = [(so, prepare_ours(experts.Ours(runtime, so, options.threads),
                              list(feeds.values()), len(names)))
            for so in (path, *options.against)]
    session = onnxruntime.InferenceSession(
        options.model, experts.settings(options.threads), providers=["CPUExecutionProvider"])
    runs.append(("ONNX Runtime", lambda fetch=False:
                 session.run(names, feeds)[0]))
    want = runs[-1][1](True)
    for name, run in runs[:-1]:
        error = np.linalg.norm(run(True) - want) / np.linalg.norm(want)
        if not error < 1e-4:
            sys.exit(f"{name}: the first output differs by {error}")
    clock = time.process_time if options.threads == 1 else time.perf_counter
    times = [[] for _ in runs]
    end = time.perf_counter() + options.seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for series, (_, run) in zip(times, runs):
            begin = clock()
            run()
            series.append(clock() - begin)
    theirs = np.array(times[-1])
    for series, (name, _) in zip(times, runs):
        mine = np.array(series)
        print(f"{os.path.basename(name):24} {np.median(mine) * 1e3:9.3f} ms "
              f"(min {mine.min() * 1e3:9.3f}), ONNX Runtime / this "
              f"{np.median(theirs / mine):5.2f}, of minima "
              f"{theirs.min() / mine.min():5.2f}, {len(mine)} rounds")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--dim", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mcpu", default="native")
    parser.add_argument("--against", action="append", default=[])
    parser.add_argument("--mixtral", metavar="FOLDER")
    parser.add_argument("--bert", metavar="FOLDER")
    options = parser.parse_args()
    if options.mixtral:
        return write_mixtral(options.mixtral)
    if options.bert:
        return write_bert(options.bert)
    if not options.model:
        parser.error("no model")
    with tempfile.TemporaryDirectory() as folder:
        return compare(options, folder)


if __name__ == "__main__":
    sys.exit(main())
