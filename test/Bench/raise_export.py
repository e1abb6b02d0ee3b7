#!/usr/bin/env python3
"""What raising alone gives other runtimes: a layer as exported, against itself
raised and written back, both in ONNX Runtime.

usage: raise_export.py [--forms D1,D2,...] [--sizes H,I,E,K;...]
                       [--tokens T,T,...] [--rounds N] [--threads N]

Layers are those of test/Integration/forms: Mixtral's in the forms D1 to D5, as
exporters write them. Each is raised and exported with `moe-opt --moe-raise`;
then both models run in this process, one after the other in every round, on
inputs that change. Printed are medians and the ratio of the exported model's
time to the raised one's, a median over rounds. Results are compared first; a
form that ONNX Runtime cannot run on an input (an unrolled hit list, weights
gathered beyond its memory) has no ratio and says so.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))
sys.path.insert(0, os.path.join(ROOT, "test", "Integration"))
from forms import cases  # noqa: E402

# Who writes which form.
WRITERS = {"D1": (cases.TORCHSCRIPT, 17), "D2": (cases.TORCHSCRIPT, 18),
           "D3": (cases.DYNAMO, 18), "D4": (cases.TRANSFORMERS, 18),
           "D5": (cases.DYNAMO, 18)}
# A form that gathers weights for every slot must not need more than this.
MOST_BYTES = 3 << 30


def open_model(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options,
                                        providers=["CPUExecutionProvider"])


def measure(sessions, inputs, rounds):
    """Milliseconds [round, session]."""
    times = np.zeros((rounds, len(sessions)))
    for i in range(-1, rounds):
        for j, session in enumerate(sessions):
            feeds = {session.get_inputs()[0].name: inputs[i % len(inputs)]}
            begin = time.perf_counter()
            session.run(None, feeds)
            if i >= 0:
                times[i, j] = 1e3 * (time.perf_counter() - begin)
    return times


def compare(form, sizes, tokens, arguments, folder):
    width, inner, experts, slots = sizes
    writer, opset = WRITERS[form]
    gate_up = "separate" if form == "D1" else "concat"
    case = cases.make(cases.Spec(form, "R1 renormalised", writer, opset, width,
                                 inner, experts, slots, gate_up=gate_up), 7)
    source = os.path.join(folder, "exported.onnx")
    target = os.path.join(folder, "raised.onnx")
    onnx.save(case.model, source)
    begin = time.perf_counter()
    subprocess.run([os.path.join(BUILD, "bin", "moe-opt"), source,
                    "--onnx-infer-shapes", "--moe-raise", "-o", target],
                   check=True)
    seconds = time.perf_counter() - begin
    exported = open_model(source, arguments.threads)
    raised = open_model(target, arguments.threads)
    random = np.random.default_rng(1)
    for count in tokens:
        what = f"{form} {width}x{inner} E{experts} k{slots} T={count}:"
        inputs = [random.standard_normal((1, count, width)).astype(np.float32)
                  for _ in range(4)]
        gathered = 12 * count * slots * width * inner
        if form == "D3" and gathered > MOST_BYTES:
            print(what, f"gathers {gathered / 2**30:.1f} GiB of weights: not "
                        "run", flush=True)
            continue
        name = raised.get_inputs()[0].name
        got = raised.run(None, {name: inputs[0]})[0]
        try:
            expected = exported.run(
                None, {exported.get_inputs()[0].name: inputs[0]})[0]
        except onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException:
            times = measure([raised], inputs, arguments.rounds)
            print(what, "ends with an error as exported; raised",
                  f"{np.median(times):.2f} ms", flush=True)
            continue
        error = np.abs(got - expected).max() / np.abs(expected).max()
        if error > 1e-4:
            raise SystemExit(f"{what} results differ by {error:.1e}")
        times = measure([exported, raised], inputs, arguments.rounds)
        exported_ms, raised_ms = np.median(times, axis=0)
        ratio = np.median(times[:, 0] / times[:, 1])
        print(what, f"exported {exported_ms:.2f} ms, raised {raised_ms:.2f} ms,"
                    f" ratio {ratio:.2f} (raising took {seconds:.2f} s)",
              flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--forms", default=",".join(WRITERS))
    parser.add_argument("--sizes", default="1024,2048,8,2;512,256,64,8;"
                                           "256,128,16,2")
    parser.add_argument("--tokens", default="1,16,128,512")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    tokens = [int(count) for count in arguments.tokens.split(",")]
    print("ONNX Runtime", onnxruntime.__version__, "with", arguments.threads,
          "threads, medians of", arguments.rounds, "rounds")
    for sizes in arguments.sizes.split(";"):
        for form in arguments.forms.split(","):
            with tempfile.TemporaryDirectory() as folder:
                compare(form, [int(n) for n in sizes.split(",")], tokens,
                        arguments, folder)


if __name__ == "__main__":
    main()
