#!/usr/bin/env python3
"""Artifacts for several CPUs against artifacts for one.

usage: cpus.py [--bin FOLDER] [-v]

A model with experts, dense layers, codes of 4 bits and a table that is only
looked up is compiled for several CPUs, with its constants inside and in a file,
and for each of them alone. The code for a CPU has to give the same bits in all,
the most capable one that this machine is has to be chosen, one that it is not
has to be refused with what is missing, and each constant has to be stored once,
apart from panels, whose form depends on the CPU.

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import argparse
import json
import os
import re
import struct
import sys
import tempfile

import numpy as np

import kernels

LEVELS = {"x86-64-v3": {"avx2", "fma", "f16c", "bmi2"},
          "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq",
                        "avx512vl"}}
VOCABULARY, HIDDEN, INNER, EXPERTS = 300, 72, 88, 3


def machine_flags():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("flags"):
                return set(line.split(":")[1].split())
    raise SystemExit("no flags in /proc/cpuinfo")


def write_model(path):
    """Embedding, a dense layer of f16, experts; returns sizes of constants."""
    rng = np.random.default_rng(5)
    files = kernels.Files(path + ".bin")
    draw = lambda *dims: rng.standard_normal(dims) / np.sqrt(dims[-1])
    table = files.constant("%table", draw(VOCABULARY, HIDDEN).astype(
        np.float32), "f32")
    dense = files.constant("%dense", draw(HIDDEN, HIDDEN).astype(np.float16),
                           "f16")
    gate = files.constant("%gate", draw(EXPERTS, 2 * INNER, HIDDEN).astype(
        np.float32), "f32")
    codes = files.constant("%codes", kernels.pack(rng.integers(
        0, 16, (EXPERTS, HIDDEN, INNER)), 4), "ui8")
    scales = files.constant("%scales", rng.uniform(
        0.01, 0.02, (EXPERTS, HIDDEN, 3)).astype(np.float32), "f32")
    x, w, ids = (f"tensor<?x{HIDDEN}xf32>", "tensor<?x2xf32>",
                 "tensor<?x2xi32>")
    bank = f"tensor<{EXPERTS}x{HIDDEN}x{INNER}xf32>"
    first = f"tensor<{EXPERTS}x{2 * INNER}x{HIDDEN}xf32>"
    lookup = f"tensor<{VOCABULARY}x{HIDDEN}xf32>"
    half = f"tensor<{HIDDEN}x{HIDDEN}xf16>"
    text = f"""module {{
func.func @main(%i: tensor<?xi64> {{onnx.dims = ["t"]}}, %e: {ids} {{onnx.dims = ["t", ""]}},
                %w: {w} {{onnx.dims = ["t", ""]}}) -> {x} {{
{table}
{dense}
{gate}
{codes}
{scales}
%x = onnx.Gather(%table, %i) {{axis = 0 : i64}} : ({lookup}, tensor<?xi64>) -> {x}
%wide = onnx.Cast(%dense) {{to = 1 : i64}} : ({half}) -> tensor<{HIDDEN}x{HIDDEN}xf32>
%h = onnx.MatMul(%x, %wide) : ({x}, tensor<{HIDDEN}x{HIDDEN}xf32>) -> {x}
%down = moe.dequantize %codes, %scales {{bits = 4 : i64, block = 32 : i64}}
    : tensor<{EXPERTS}x{HIDDEN}x{INNER // 2}xui8>, tensor<{EXPERTS}x{HIDDEN}x3xf32> -> {bank}
%y = moe.experts %h route(%e, %w : {ids}, {w}) gate(%gate : {first}) down(%down : {bank})
    {{gate_up = #moe.gate_up<concat>}} : {x} -> {x} {{
^bb0(%a: tensor<f32>, %b: tensor<f32>):
  %s = onnx.Sigmoid(%a) : (tensor<f32>) -> tensor<f32>
  %t = onnx.Mul(%s, %b) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  moe.yield %t : tensor<f32>
}}
return %y : {x}
}}
}}
"""
    with open(path + ".mlir", "w", encoding="ascii") as file:
        file.write(text)
    with open(path + ".bin", "wb") as file:
        file.write(files.data)


def draw_inputs(tokens):
    rng = np.random.default_rng(tokens)
    return [("i", rng.integers(0, VOCABULARY, tokens)),
            ("e", rng.integers(0, EXPERTS, (tokens, 2)).astype(np.int32)),
            ("w", rng.uniform(0.1, 1, (tokens, 2)).astype(np.float32))]


class Checks:
    def __init__(self, suite, folder):
        self.suite, self.folder = suite, folder
        self.path = os.path.join(folder, "model")
        write_model(self.path)

    def compile(self, name, cpus, *flags):
        """The path of an artifact; ends the script if there is none."""
        path = os.path.join(self.folder, name + ".so")
        code, text = self.suite.tool("moe-compile", self.path + ".mlir", "-o",
                                     path, f"--mcpu={cpus}", *flags)
        if code:
            raise SystemExit(f"{name}: exit status {code}: {text}")
        return path

    def bits(self, path, *flags):
        """Results for some numbers of tokens, or the text of an error."""
        results = []
        for tokens in (1, 7, 40):
            code, found = self.suite.run(path, draw_inputs(tokens), *flags)
            if code:
                return found
            results.append(found[0].tobytes())
        return results

    def chosen(self, path):
        """The CPU whose code runs when nothing is said."""
        code, text = self.suite.tool("moe-run", path, "--random", "1",
                                     "--dim", "t=0", "--json")
        return json.loads(text)["cpu"] if code == 0 else text

    def same_bits(self, levels, several):
        for level in levels:
            alone = self.bits(self.compile("only-" + level, level))
            for name, path in several.items():
                got = self.bits(path, f"--cpu={level}")
                problem = ""
                if isinstance(alone, str) or got != alone:
                    problem = f"{str(got)[:300]}, alone {str(alone)[:300]}"
                self.suite.say(f"{level}, constants {name}: the bits that it "
                               "has alone", problem)

    def choices(self, levels, several):
        best = levels[-1]
        for name, path in several.items():
            got = self.chosen(path)
            self.suite.say(f"constants {name}: the best is chosen",
                           "" if got == best else f"{got}, not {best}")
            got, want = self.bits(path), self.bits(path, f"--cpu={best}")
            self.suite.say(f"constants {name}: its bits",
                           "" if got == want else f"{str(got)[:300]}")

    def refusals(self, levels, several, flags):
        for level in set(LEVELS) - set(levels):
            got = self.bits(several["inside"], f"--cpu={level}")
            lacks = "this machine lacks avx512" in str(got)
            self.suite.say(f"{level}: refused", "" if lacks else str(got)[:300])
        got = self.bits(several["inside"], "--cpu=znver9")
        wanted = ("MOE_CPU is 'znver9', but the model was compiled for the "
                  "CPUs 'x86-64-v4', 'x86-64-v3'")
        self.suite.say("a CPU without code",
                       "" if wanted in str(got) else str(got)[:300])
        if "avx512_fp16" in flags:
            return
        path = self.compile("none", "sapphirerapids,diamondrapids")
        got = str(self.bits(path))
        fits = re.search("compiled for the CPUs 'diamondrapids', "
                         "'sapphirerapids'; for 'diamondrapids' this machine "
                         "lacks .*avx512fp16.*; for 'sapphirerapids' this "
                         "machine lacks .*avx512fp16.*; compile it with", got)
        self.suite.say("no code fits: an error says what is missing",
                       "" if fits else got[:500])

    def storage(self, file):
        """Sections: what is looked up is shared, panels are not."""
        with open(file, "rb") as data:
            length, = struct.unpack("<Q", data.read(8))
            header = json.loads(data.read(length))
        size = {name: entry["shape"][0] for name, entry in header.items()
                if name != "__metadata__"}
        table = VOCABULARY * HIDDEN * 4
        problem = ""
        if set(size) != {"weights", "weights.x86-64-v3", "weights.x86-64-v4"}:
            problem = f"sections {sorted(size)}"
        elif not table <= size["weights"] < 2 * table:
            problem = f"{size['weights']} bytes are shared, table has {table}"
        elif any(size[name] < EXPERTS * 2 * INNER * HIDDEN * 4
                 for name in size if name != "weights"):
            problem = f"panels are missing: {size}"
        self.suite.say("each constant once, panels for each CPU", problem)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(
        os.environ.get("MOE_BUILD", os.path.join(kernels.ROOT, "build")),
        "bin"), help="where moe-compile and moe-run are")
    parser.add_argument("-v", action="store_true", help="list all tests")
    options = parser.parse_args()
    flags = machine_flags()
    levels = [name for name, needs in LEVELS.items() if needs <= flags]
    if not levels:
        raise SystemExit("this machine is below x86-64-v3")
    with tempfile.TemporaryDirectory() as folder:
        suite = kernels.Suite(options, folder)
        checks = Checks(suite, folder)
        both = ",".join(LEVELS)
        several = {
            "inside": checks.compile("inside", both),
            "in a file": checks.compile("beside", both,
                                        "--weights=beside.safetensors")}
        checks.same_bits(levels, several)
        checks.choices(levels, several)
        checks.refusals(levels, several, flags)
        checks.storage(os.path.join(folder, "beside.safetensors"))
    print(f"{suite.passed} passed, {suite.failed} failed")
    return 1 if suite.failed or not suite.passed else 0


if __name__ == "__main__":
    sys.exit(main())
