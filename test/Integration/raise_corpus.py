#!/usr/bin/env python3
"""Whether the layers of experts in real exports are raised completely.

Lists every case of the corpus with experts that are no operator of their own
(MoE_* and QMoE_* are), with the layers that `moe-opt --moe-raise` must find in
it and the products that may be left: those of routers, shared experts,
attention and heads. One more product is one that an expert kept, which fails;
one less means that the list is out of date, which fails as well. Each raise is
checked as it is made (--moe-raise-check), with ids that no router would give.
run_corpus.py compares the results of the same models.

usage: raise_corpus.py FOLDER [--bin FOLDER] [-k REGEX]
"""
import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))

PRODUCTS = ("onnx.MatMul", "onnx.Gemm", "onnx.Einsum", "onnx.Conv")

# case: (layers, products that are left)
CASES = {
    "batch_expert_index__dyn__native": (1, 1),
    "dbrx_block__ts__native": (1, 1),
    "deepseekv2_block__dyn__batched_mm": (1, 4),
    "deepseekv3_block__dyn__batched_mm": (1, 4),
    "deepseekv3_tf4block__ts__tf4": (1, 4),
    "densemasked_block__dyn__native": (1, 1),
    "densestack_block__dyn__native": (1, 1),
    "expertchoice__dyn__native": (1, 1),
    "expertchoice_onehot__dyn__native": (1, 1),
    "glm4moe_block__dyn__batched_mm": (1, 4),
    "glm4moe_tf4block__ts__tf4": (1, 4),
    "gptoss_block__dyn__batched_mm": (1, 1),
    "gptoss_tiny__genai__int4": (2, 0),
    "granitemoe_tf4block__dyn__tf4": (1, 1),
    "gshard_top1_cap__dyn__native": (1, 1),
    "gshard_top2_cap__dyn__native": (1, 1),
    "hashmoe__dyn__native": (1, 0),
    "llama4_block__dyn__native": (1, 4),
    "mixtral_block__dyn__batched_mm": (1, 1),
    "mixtral_block__dyn__tiled": (1, 1),
    "mixtral_block__hf__grouped_mm": (1, 1),
    "mixtral_block__hfcuda__batched_mm": (1, 1),
    "mixtral_block__ts__eager": (1, 1),
    "mixtral_block_fp16__dyn__batched_mm": (1, 1),
    "mixtral_tiny__dyn__batched_mm": (2, 11),
    "molora__dyn__native": (1, 2),
    "molora__ts__native": (1, 2),
    "oldmixtral_block__dyn__native": (1, 1),
    "oldmixtral_block_nbits4__ts__ortquant": (1, 0),
    "qwen2moe_tf4block__ts__tf4": (1, 5),
    "qwen3moe_block__dyn__batched_mm": (1, 1),
    "qwen3next_block__dyn__batched_mm": (1, 5),
    "qwen3next_tf4block__ts__tf4": (1, 5),
    "sinkhorn_top1__dyn__native": (1, 9),
    "softmoe__dyn__native": (1, 3),
    "switch_block__ts__native": (1, 1),
    "tutel_scatter__dyn__native": (1, 1),
    "vit_gshard_moe__dyn__native": (2, 16),
    "vmoe_bpr__dyn__native": (1, 1),
}
# Cases with experts that stay, and why.
UNRAISED = {
    "mmoe_block__dyn__native":
        "three gates weight the same experts: no layer has a result of its own",
}


def count(moe_opt, model, folder):
    """Layers of experts and products in the raised model."""
    path = os.path.join(folder, "raised.mlir")
    done = subprocess.run([moe_opt, model, "--moe-raise", "--moe-raise-check",
                           "-o", path], capture_output=True, text=True,
                          timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-400:])
    with open(path, encoding="utf-8") as file:
        ops = collections.Counter(re.findall(r"= ((?:onnx|moe)\.\w+)",
                                             file.read()))
    return ops["moe.experts"], sum(ops[name] for name in PRODUCTS)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--bin", default=os.path.join(BUILD, "bin"))
    parser.add_argument("-k", default="")
    arguments = parser.parse_args()
    passed = failed = raised = 0
    expected = {**CASES, **dict.fromkeys(UNRAISED, (0, None))}
    for case, (layers, products) in sorted(expected.items()):
        if not re.search(arguments.k, case):
            continue
        model = os.path.join(arguments.folder, case, "model.onnx")
        with tempfile.TemporaryDirectory() as folder:
            try:
                got = count(os.path.join(arguments.bin, "moe-opt"), model,
                            folder)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                print(f"FAILED {case}: {error}")
                failed += 1
                continue
        if got[0] != layers or products not in (None, got[1]):
            print(f"FAILED {case}: {got[0]} layers and {got[1]} products left, "
                  f"expected {layers} and {products}")
            failed += 1
            continue
        passed += 1
        raised += layers > 0
    print(f"{raised} of {len(expected)} cases with experts are raised "
          f"completely; {len(UNRAISED)} stays:")
    for case, why in UNRAISED.items():
        print(f"  {case}: {why}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
