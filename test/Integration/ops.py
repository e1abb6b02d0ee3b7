#!/usr/bin/env python3
"""Compares compiled operators with the ONNX reference implementation.

usage: ops.py [--bin FOLDER] [-k REGEX] [-j N] [--each] [-v] [FAMILY...]

Each module in opcases/ is a family: its function `cases()` yields Case objects
(see below), each a small graph with several sets of inputs. To save compile
time all cases of a family become ONE model, compiled once and run once per set
of inputs; what comes out of it is compared case by case with the onnx
package's reference evaluator, with ONNX Runtime where the reference is wrong,
or with arrays that the case gives. If the common model cannot be compiled or
run, its cases are compiled and run one by one (--each: always), so that one
broken operator does not hide the others.

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import argparse
import concurrent.futures
import dataclasses
import importlib
import os
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(FOLDER))
OPSET = 21
IR_VERSION = 10


@dataclasses.dataclass
class Case:
    """A graph and the inputs that it is run with.

    model     an onnx.ModelProto
    variants  a list of lists of arrays, one array per graph input
    oracle    "reference", "ort", or a function that takes the arrays of one
              variant and returns the expected outputs
    error     if set: each variant must end with exit status 1 and a message
              that holds this text
    """
    name: str
    model: onnx.ModelProto
    variants: list
    oracle: object = "reference"
    rtol: float = 1e-5
    atol: float = 1e-6
    error: str = ""


def data_type(array):
    return helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype)


def make_model(name, nodes, inputs, outputs, initializers=(), opset=OPSET):
    """inputs: (name, array or data type, dims) with names as unknown dims;
    outputs: names, whose types inference finds."""
    def info(entry):
        value, kind, dims = entry
        kind = kind if isinstance(kind, int) else data_type(kind)
        return helper.make_tensor_value_info(value, kind, dims)

    graph = helper.make_graph(
        nodes, name, [info(entry) for entry in inputs],
        [onnx.ValueInfoProto(name=output) if isinstance(output, str) else
         info(output) for output in outputs],
        [numpy_helper.from_array(np.asarray(array), value)
         for value, array in initializers])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = IR_VERSION
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    del model.graph.output[:]
    model.graph.output.extend(inferred.graph.output)
    for output in model.graph.output:
        if not output.type.tensor_type.HasField("shape"):
            raise ValueError(f"{name}: the rank of '{output.name}' is unknown")
    return model


def single(name, op_type, variants, attrs=None, const=None, outputs=1,
           fixed=None, **options):
    """A case of one node. Each variant has one array per input, None for an
    input that is left out. All extents are unknown when the model is compiled,
    but for those that `fixed` names: {input: (dim, ...)}; inputs in `const`
    ({position: array}) are initializers. `outputs` is a number, or a list of
    bools that tells which optional outputs are there."""
    const, fixed = const or {}, fixed or {}
    present = outputs if isinstance(outputs, list) else [True] * outputs
    names, inputs, initializers = [], [], []
    count = len(variants[0]) + len(const)
    arrays = iter(range(len(variants[0])))
    order = []
    for i in range(count):
        if i in const:
            names.append(f"k{i}")
            initializers.append((f"k{i}", const[i]))
            continue
        position = next(arrays)
        array = variants[0][position]
        if array is None:
            names.append("")
            continue
        order.append(position)
        array = np.asarray(array)
        dims = [array.shape[d] if d in fixed.get(i, ()) else f"d{i}_{d}"
                for d in range(array.ndim)]
        names.append(f"x{i}")
        inputs.append((f"x{i}", array, dims))
    results = [f"y{i}" if there else "" for i, there in enumerate(present)]
    while names and not names[-1]:
        names.pop()
    node = helper.make_node(op_type, names, results, name=name,
                            **(attrs or {}))
    model = make_model(name, [node], inputs, [y for y in results if y],
                       initializers, options.pop("opset", OPSET))
    return Case(name, model,
                [[np.asarray(variant[i]) for i in order]
                 for variant in variants], **options)


def expected(case, arrays):
    names = [value.name for value in case.model.graph.input]
    feeds = dict(zip(names, arrays))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if callable(case.oracle):
            return [np.asarray(out) for out in case.oracle(*arrays)]
        if case.oracle == "ort":
            import onnxruntime
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            session = onnxruntime.InferenceSession(
                case.model.SerializeToString(), options,
                providers=["CPUExecutionProvider"])
            return session.run(None, feeds)
        from onnx.reference import ReferenceEvaluator
        return [np.asarray(out)
                for out in ReferenceEvaluator(case.model).run(None, feeds)]


def difference(want, got, case):
    """What is different, or an empty string."""
    if want.shape != got.shape:
        return f"shape {list(got.shape)}, expected {list(want.shape)}"
    if want.dtype != got.dtype:
        return f"element type {got.dtype}, expected {want.dtype}"
    if want.size == 0:
        return ""
    exact = want.dtype.kind in "iub"
    a, b = (want, got) if exact else (want.astype(np.float64),
                                      got.astype(np.float64))
    wrong = a != b if exact else ~np.isclose(b, a, case.rtol, case.atol,
                                             equal_nan=True)
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (f"{int(wrong.sum())} of {want.size} elements differ, first at "
            f"{list(at)}: {got[at]}, expected {want[at]}")


def add_prefix(graph, prefix):
    """Puts `prefix` in front of the names of all values, in place; subgraphs
    too, where onnx.compose leaves some names out."""
    for value in [*graph.input, *graph.output, *graph.value_info,
                  *graph.initializer]:
        value.name = prefix + value.name
    for sparse in graph.sparse_initializer:
        sparse.values.name = prefix + sparse.values.name
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [name and prefix + name for name in names]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                add_prefix(attribute.g, prefix)
            for sub in attribute.graphs:
                add_prefix(sub, prefix)


def merge(cases):
    """All graphs side by side in one model."""
    graph = onnx.GraphProto(name="family")
    for number, case in enumerate(cases):
        part = onnx.GraphProto()
        part.CopyFrom(case.model.graph)
        add_prefix(part, f"c{number}_")
        # Dims of different cases are different ones.
        for value in part.input:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_param = f"c{number}_{dim.dim_param}"
        for field in ("node", "input", "initializer"):
            getattr(graph, field).extend(getattr(part, field))
        for value in part.output:
            # Extents are found anew, under their new names.
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.ClearField("dim_param")
            graph.output.append(value)
    model = helper.make_model(graph, opset_imports=cases[0].model.opset_import)
    model.ir_version = IR_VERSION
    return model


class Runner:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.number = 0

    def tool(self, name, *arguments, limit=600):
        path = os.path.join(self.options.bin, name)
        try:
            done = subprocess.run([path, *arguments], capture_output=True,
                                  text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return -1, f"{name} took more than {limit} s"
        text = "\n".join(line for line in (done.stdout +
                                           done.stderr).splitlines() if line)
        return done.returncode, text

    def new_folder(self):
        self.number += 1
        path = os.path.join(self.folder, str(self.number))
        os.makedirs(path)
        return path

    def compile(self, model, folder):
        source = os.path.join(folder, "model.onnx")
        onnx.save(model, source)
        return self.tool("moe-compile", source, "-o",
                         os.path.join(folder, "model.so"))

    def run(self, folder, number, arrays, names):
        data = os.path.join(folder, f"in{number}")
        out = os.path.join(folder, f"out{number}")
        os.makedirs(data)
        for i, (name, array) in enumerate(zip(names, arrays)):
            with open(os.path.join(data, f"input_{i}.pb"), "wb") as file:
                file.write(numpy_helper.from_array(
                    array, name).SerializeToString())
        code, text = self.tool("moe-run", os.path.join(folder, "model.so"),
                               "--data", data, "--output", out)
        return code, text, out

    @staticmethod
    def load(out, number):
        tensor = TensorProto()
        with open(os.path.join(out, f"output_{number}.pb"), "rb") as file:
            tensor.ParseFromString(file.read())
        return numpy_helper.to_array(tensor)

    def run_cases(self, cases):
        """What is wrong with each case (a list of texts); None if the cases
        cannot be judged together."""
        folder = self.new_folder()
        model = merge(cases)
        code, text = self.compile(model, folder)
        single_case = len(cases) == 1
        if code:
            return [[f"moe-compile: exit status {code}: {text[:1500]}"]] \
                if single_case else None
        names = [value.name for value in model.graph.input]
        problems = [[] for _ in cases]
        for number in range(max(len(case.variants) for case in cases)):
            chosen = [case.variants[min(number, len(case.variants) - 1)]
                      for case in cases]
            arrays = [array for variant in chosen for array in variant]
            code, text, out = self.run(folder, number, arrays, names)
            if single_case and cases[0].error:
                if code != 1 or cases[0].error not in text:
                    problems[0].append(
                        f"inputs #{number}: exit status {code}, expected 1 "
                        f"and '{cases[0].error}': {text[:300]}")
                continue
            if code:
                if not single_case:
                    return None
                problems[0].append(f"inputs #{number}: moe-run: exit status "
                                   f"{code}: {text[:500]}")
                continue
            position = 0
            for case, variant, wrong in zip(cases, chosen, problems):
                if number < len(case.variants):
                    wants = expected(case, variant)
                    for i, want in enumerate(wants):
                        text = difference(np.asarray(want),
                                          self.load(out, position + i), case)
                        if text:
                            wrong.append(f"inputs #{number}, output {i}: "
                                         f"{text}")
                position += len(case.model.graph.output)
        return problems

    def judge(self, cases):
        together = [case for case in cases if not case.error]
        apart = [case for case in cases if case.error]
        results = {}
        if together and not self.options.each:
            found = self.run_cases(together)
            if found is None:
                print(f"  {together[0].name} ...: not together, one by one")
                apart = together + apart
            else:
                results = dict(zip((c.name for c in together), found))
        else:
            apart = together + apart
        with concurrent.futures.ThreadPoolExecutor(self.options.j) as pool:
            for case, found in zip(apart, pool.map(
                    lambda case: self.run_cases([case]), apart)):
                results[case.name] = found[0]
        return [(case, results[case.name]) for case in cases]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bin"),
                        help="where moe-compile and moe-run are")
    parser.add_argument("-k", default="", metavar="REGEX",
                        help="only cases whose name matches")
    parser.add_argument("-j", type=int, default=2, help="cases at a time")
    parser.add_argument("--each", action="store_true",
                        help="a model for each case")
    parser.add_argument("-v", action="store_true", help="list all cases")
    options = parser.parse_args()

    sys.path.insert(0, FOLDER)
    known = sorted(name[:-3] for name in os.listdir(
        os.path.join(FOLDER, "opcases")) if name.endswith(".py"))
    for family in options.families:
        if family not in known:
            parser.error(f"no family '{family}'; there are: "
                         f"{', '.join(known)}")
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(options, folder)
        for family in options.families or known:
            module = importlib.import_module(f"opcases.{family}")
            cases = [case for case in module.cases()
                     if re.search(options.k, case.name)]
            names = [case.name for case in cases]
            assert len(set(names)) == len(names), "names of cases repeat"
            groups = {}
            for case in cases:
                opset = case.model.opset_import[0].version
                groups.setdefault(opset, []).append(case)
            bad = 0
            for group in groups.values():
                for case, problems in runner.judge(group):
                    bad += bool(problems)
                    for problem in problems[:3]:
                        print(f"  FAILED {family}/{case.name}: {problem}")
                    if options.v and not problems:
                        print(f"  passed {family}/{case.name}")
            print(f"{family}: {len(cases) - bad} of {len(cases)} passed",
                  flush=True)
            passed += len(cases) - bad
            failed += bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    # Families import this module under its name, not as __main__.
    sys.modules["ops"] = sys.modules["__main__"]
    sys.exit(main())
