"""lit's configuration: which files are tests and what their RUN lines may use.

Run by test/run, or alone:  build/venv/bin/lit build/test

Tools      moe-opt, moe-compile and moe-run of the build; LLVM's FileCheck, not,
           count, mlir-translate, llvm-readobj and so on.
%onnx-text  writes an .onnx file from ONNX's own text syntax:
           %onnx-text %s -o %t.onnx   (lines that begin with '#' are comments)
%python    the Python of the build's environment: onnx, onnxruntime, numpy
%models    the folder of the corpus (only with REQUIRES: corpus)
Features   corpus, avx2, avx512

MOE_VERIFY_ROUNDTRIP=1 in the environment adds --verify-roundtrip to every
moe-opt of a RUN line.
"""
import os
import re
import sys

import lit.formats

config.name = "moe-opt"
# lit's own shell: no external one is needed, and '|' fails if any part fails.
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".onnxtxt", ".test"]
config.excludes = ["Integration", "Unit", "Bench", "Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.moe_binary_dir, "test")

tools = [os.path.join(config.moe_binary_dir, "bin"), config.llvm_tools_dir]
config.environment["PATH"] = os.pathsep.join(
    tools + [config.environment.get("PATH", "")])
config.environment["PYTHONDONTWRITEBYTECODE"] = "1"

python = config.moe_python
if not os.path.exists(python):
    # A build that was configured without tools/setup.
    python = sys.executable
text_tool = os.path.join(config.test_source_root, "Inputs", "onnx_text.py")
models = os.path.join(os.path.dirname(config.moe_source_dir), "shared",
                      "models")
config.substitutions += [
    ("%onnx-text", f"{python} {text_tool}"),
    ("%python", python),
    ("%models", models),
]

# The whole word only: not a part of a path or of another name. The option goes
# to calls that do not have it yet, not to paths that scripts are given.
for tool in ("moe-opt", "moe-compile", "moe-run"):
    command = os.path.join(config.moe_binary_dir, "bin", tool)
    name = rf"(?<![-\w./%]){tool}(?![-\w./])"
    if tool == "moe-opt" and os.environ.get("MOE_VERIFY_ROUNDTRIP", "0") != "0":
        config.substitutions.append(
            (rf"(?<![-\w./%=]){tool}(?![-\w./])(?![^|]*--verify-roundtrip)",
             command + " --verify-roundtrip"))
    config.substitutions.append((name, command))

if os.path.isdir(models):
    config.available_features.add("corpus")
with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
    flags = re.search(r"^flags\s*:(.*)$", file.read(), re.MULTILINE)
flags = set(flags.group(1).split()) if flags else set()
if {"avx2", "fma"} <= flags:
    config.available_features.add("avx2")
if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
    config.available_features.add("avx512")
