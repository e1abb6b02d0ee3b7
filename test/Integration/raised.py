"""What the tests of raising pools and tokens share.

A case is a graph in the spelling of an exporter (forms/graph.py), what it
computes in float64, and what raising must make of it. check() holds it to that:
ONNX Runtime agrees with the reference on the graph as it is, on the raised one
written as ONNX again, and so does the compiled one. Raising twice is raising
once.
"""
import collections
import os
import re

import numpy as np
import onnx
import onnxruntime
from routing import Failure, read_tensor, write_tensor

RTOL = ATOL = 3e-5


class Case:
    """name     of the case
    model    an ONNX model
    moe      {op of moe: how often it must be there}
    gone     operators of ONNX that must not be left
    data     [(inputs, outputs)], arrays in the order of the model
    """

    def __init__(self, name, model, moe, gone, data):
        self.name, self.model, self.moe, self.gone = name, model, moe, gone
        self.data = data


def ops_of(text, dialect):
    return collections.Counter(re.findall(rf"(?<![\w#!]){dialect}\.(\w+)", text))


def run_onnx(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs)))


def compare(got, want):
    if len(got) != len(want):
        raise Failure(f"{len(got)} outputs, expected {len(want)}")
    for i, (mine, expected) in enumerate(zip(got, want)):
        if mine.shape != expected.shape:
            raise Failure(f"output {i} has shape {mine.shape}, expected "
                          f"{expected.shape}")
        wrong = ~np.isclose(mine, expected, RTOL, ATOL, equal_nan=True)
        if wrong.any():
            at = tuple(int(j) for j in np.argwhere(wrong)[0])
            raise Failure(f"output {i}: {wrong.sum()} of {wrong.size} elements "
                          f"differ, first at {at}: {mine[at]}, expected "
                          f"{expected[at]}")


def run_compiled(tools, library, folder, inputs, outputs):
    data, out = os.path.join(folder, "in"), os.path.join(folder, "out")
    os.makedirs(data)
    for i, array in enumerate(inputs):
        write_tensor(os.path.join(data, f"input_{i}.pb"), array, "")
    code, text = tools.run("moe-run", library, "--data", data, "--output", out)
    if code:
        raise Failure(f"moe-run: exit status {code}: {text[:500]}")
    return [read_tensor(os.path.join(out, f"output_{i}.pb"))
            for i in range(outputs)]


def check_ops(text, case):
    moe = ops_of(text, "moe")
    for op in ("yield",):
        moe.pop(op, None)
    if dict(moe) != case.moe:
        raise Failure(f"raised to {dict(moe)}, expected {case.moe}")
    left = [op for op in case.gone if ops_of(text, "onnx")[op]]
    if left:
        raise Failure(f"{left} are left")


def check(tools, report, case, option):
    folder = os.path.join(tools.folder, f"{len(os.listdir(tools.folder))}")
    os.makedirs(folder)
    path = os.path.join(folder, "model.onnx")
    raised = os.path.join(folder, "raised.mlir")
    onnx.save(case.model, path)
    ready = False
    with report.check(f"{case.name}: the graph is what it is meant to be"):
        run = run_onnx(case.model)
        for inputs, outputs in case.data:
            compare(run(inputs), outputs)
    with report.check(f"{case.name}: is raised"):
        tools.check("moe-opt", path, option, "-o", raised)
        with open(raised, encoding="utf-8") as file:
            check_ops(file.read(), case)
        ready = True
    if not ready:
        return
    with report.check(f"{case.name}: is raised once"):
        twice = os.path.join(folder, "twice.mlir")
        tools.check("moe-opt", raised, option, "-o", twice)
        with open(raised, encoding="utf-8") as one, open(
                twice, encoding="utf-8") as two:
            if one.read() != two.read():
                raise Failure("raising again changes it")
    with report.check(f"{case.name}: written as ONNX"):
        again = os.path.join(folder, "again.onnx")
        tools.check("moe-opt", raised, "-o", again)
        model = onnx.load(again)
        onnx.checker.check_model(model, full_check=True)
        run = run_onnx(model)
        for inputs, outputs in case.data:
            compare(run(inputs), outputs)
    with report.check(f"{case.name}: compiled"):
        library = os.path.join(folder, "model.so")
        tools.check("moe-compile", raised, "-o", library)
        for i, (inputs, outputs) in enumerate(case.data):
            place = os.path.join(folder, f"run{i}")
            compare(run_compiled(tools, library, place, inputs, len(outputs)),
                    outputs)
