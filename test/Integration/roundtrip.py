#!/usr/bin/env python3
"""Sends models through moe-opt and back and compares what comes out.

For every model:
  1. `moe-opt m.onnx -o -` piped into `moe-opt --verify-roundtrip -`
  2. m.onnx -> m.mlir -> m2.onnx, then: same number of nodes per operator, same
     names, attributes, metadata, doc strings, named extents, opset imports, IR
     version, and the same bytes of every initializer; the checker accepts it
  3. ONNX Runtime, with all optimisations off, gives the same bits for both (on
     the case's own inputs, where the original runs at all)

Usage: roundtrip.py --moe-opt=PATH [--filter=GLOB] [--no-run] FOLDER|FILE.onnx
FOLDER holds one folder per model, in the layout of ONNX's own tests. The last
line has the counts; exits with 1 if anything differs.
"""

import argparse
import collections
import fnmatch
import glob
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper


def call(arguments, **options):
    done = subprocess.run(arguments, capture_output=True, **options)
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip()
        raise AssertionError(
            f"{' '.join(arguments)}: exit code {done.returncode}: {text[:600]}"
        )
    return done.stdout


def props(message):
    return {entry.key: entry.value for entry in message.metadata_props}


def tensor(t):
    """What of a tensor must not change: type, extents, bytes."""
    data = (
        list(t.string_data)
        if t.data_type == onnx.TensorProto.STRING
        else numpy_helper.to_array(t).tobytes()
    )
    return t.data_type, tuple(t.dims), data


def attribute(a):
    if a.type == onnx.AttributeProto.TENSOR:
        return a.name, tensor(a.t)
    if a.type == onnx.AttributeProto.GRAPH:
        return a.name, graph(a.g)
    return a.name, onnx.helper.get_attribute_value(a)


def strip(names):
    names = list(names)
    while names and not names[-1]:
        names.pop()
    return names


def node(n):
    return (
        n.domain,
        n.op_type,
        n.name,
        strip(n.input),
        strip(n.output),
        dict(attribute(a) for a in n.attribute),
        props(n),
        n.doc_string,
    )


def dims(t):
    """Extents of a tensor, or of the tensors in a sequence or optional."""
    kind = t.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        return kind, dims(getattr(t, kind).elem_type)
    if kind != "tensor_type" or not t.tensor_type.HasField("shape"):
        return kind
    return [
        d.dim_param or (d.dim_value if d.HasField("dim_value") else "")
        for d in t.tensor_type.shape.dim
    ]


def shape(value):
    return value.name, dims(value.type), props(value), value.doc_string


def graph(g):
    # The declaration of an initializer repeats what the tensor says, others
    # are left over from values that are gone.
    made = {name for n in g.node for name in n.output}
    return dict(
        name=g.name,
        nodes=[node(n) for n in g.node],
        inputs=[shape(v) for v in g.input],
        outputs=[shape(v) for v in g.output],
        initializers={
            t.name: (tensor(t), props(t), t.doc_string) for t in g.initializer
        },
        metadata=props(g),
        doc=g.doc_string,
        declared={
            v.name: (props(v), v.doc_string)
            for v in g.value_info
            if v.name in made
        },
    )


def model(m):
    # Some exporters forget this one; it is added.
    imports = {("com.microsoft", 1)} if any(
        n.domain == "com.microsoft" for n in m.graph.node
    ) else set()
    imports |= {(o.domain, o.version) for o in m.opset_import}
    return dict(
        graph=graph(m.graph),
        ir_version=m.ir_version,
        opsets=sorted(imports),
        producer=(m.producer_name, m.producer_version),
        domain=m.domain,
        version=m.model_version,
        doc=m.doc_string,
        metadata=props(m),
    )


def differences(a, b, path=""):
    if type(a) is not type(b):
        return [f"{path}: {a!r:.80} became {b!r:.80}"]
    if isinstance(a, dict):
        found = []
        for key in sorted(a.keys() | b.keys(), key=str):
            if key not in a or key not in b:
                found.append(
                    f"{path}/{key}: {'lost' if key in a else 'appeared'}"
                )
            else:
                found += differences(a[key], b[key], f"{path}/{key}")
        return found
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return [f"{path}: {len(a)} entries became {len(b)}"]
        return [
            d
            for i, (x, y) in enumerate(zip(a, b))
            for d in differences(x, y, f"{path}[{i}]")
        ]
    if a != b and not (a != a and b != b):
        return [f"{path}: {a!r:.120} became {b!r:.120}"]
    return []


def histogram(m):
    counts = collections.Counter()

    def walk(g):
        for n in g.node:
            counts[n.domain, n.op_type] += 1
            for a in n.attribute:
                if a.HasField("g"):
                    walk(a.g)

    walk(m.graph)
    return counts


def session(path):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = (
        ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    )
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, ["CPUExecutionProvider"])


def load_data(folder, m):
    feeds = {}
    initialized = {t.name for t in m.graph.initializer}
    inputs = [v for v in m.graph.input if v.name not in initialized]
    for i, value in enumerate(inputs):
        path = os.path.join(folder, f"input_{i}.pb")
        if os.path.exists(path):
            with open(path, "rb") as f:
                t = onnx.TensorProto.FromString(f.read())
            feeds[value.name] = numpy_helper.to_array(t)
    return feeds


def compare_runs(before, after, m, case):
    """Number of data sets compared; None if ONNX Runtime refuses the model."""
    try:
        first = session(before)
    except Exception:
        return None
    second = session(after)
    compared = 0
    for folder in sorted(glob.glob(os.path.join(case, "test_data_set_*"))):
        feeds = load_data(folder, m)
        try:
            expected = first.run(None, feeds)
            again = first.run(None, feeds)
        except Exception:
            continue
        results = zip(expected, again, second.run(None, feeds))
        for i, (x, z, y) in enumerate(results):
            x, y, z = np.asarray(x), np.asarray(y), np.asarray(z)
            if x.tobytes() != z.tobytes():
                continue  # ONNX Runtime leaves parts of some caches unset
            same = x.dtype == y.dtype and x.shape == y.shape
            assert same and x.tobytes() == y.tobytes(), (
                f"{os.path.basename(folder)}: output {i} has other bits"
            )
        compared += 1
    return compared


def check(case, tool, run, work):
    before = case
    if os.path.isdir(case):
        before = os.path.join(case, "model.onnx")
    text = call([tool, before, "-o", "-"])
    call([tool, "--verify-roundtrip", "-", "-o", os.devnull], input=text)

    middle = os.path.join(work, "m.mlir")
    after = os.path.join(work, "m2.onnx")
    call([tool, before, "-o", middle])
    call([tool, middle, "-o", after])

    old, new = onnx.load(before), onnx.load(after)
    changed = histogram(old) - histogram(new) + (histogram(new) - histogram(old))
    assert not changed, f"other nodes: {dict(changed)}"
    found = differences(model(old), model(new))
    assert not found, "; ".join(found[:5]) + (
        f" and {len(found) - 5} more" if len(found) > 5 else ""
    )
    contrib = any(domain not in ("", "ai.onnx") for domain, _ in histogram(old))
    try:
        onnx.checker.check_model(before, full_check=not contrib)
    except Exception:
        pass  # what is no valid model before need not be one after
    else:
        onnx.checker.check_model(after, full_check=not contrib)
    return compare_runs(before, after, old, case) if run else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--moe-opt", required=True)
    parser.add_argument("--filter", default="*")
    parser.add_argument("--no-run", action="store_true")
    options = parser.parse_args()

    cases = [options.folder] if os.path.isfile(options.folder) else [
        os.path.join(options.folder, name)
        for name in sorted(os.listdir(options.folder))
        if fnmatch.fnmatch(name, options.filter)
        and os.path.exists(os.path.join(options.folder, name, "model.onnx"))
    ]
    if not cases:
        sys.exit(f"no models in {options.folder}")
    passed = ran = sets = 0
    failed = []
    for case in cases:
        with tempfile.TemporaryDirectory() as work:
            try:
                compared = check(
                    case, options.moe_opt, not options.no_run, work
                )
            except Exception as error:
                failed.append(os.path.basename(case))
                print(f"FAIL {os.path.basename(case)}: {error}", flush=True)
                continue
        passed += 1
        if compared:
            ran += 1
            sets += compared
    print(
        f"{ran} models gave the same bits in ONNX Runtime, on {sets} data sets"
    )
    print(f"{passed} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
