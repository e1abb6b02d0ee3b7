#!/usr/bin/env python3
"""com.microsoft.MoE and QMoE, attribute by attribute.

Expected values are the schemas' formulae in float64, on weights that are
dequantised first; where ONNX Runtime's CPU provider runs a case as the schema
says, the formulae must agree with it (they are then what the other cases go
by: fc3, relu2, geglu, swiglu_fusion 0 and 2, the sparse mixer, 8 bits in
blocks, 2 bits in large blocks).

Each case is compiled and run, and, in a second model, raised to moe ops,
written back as MoE or QMoE and compared as ONNX: the same operator with the
same meaning, and in ONNX Runtime, where that runs it, the same results.

usage: contrib_experts.py [--only compile|export] [PATTERN...]
"""
import argparse
import itertools
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

import ops_nn
from ops_nn import MS

MOE_OPT = os.path.join(ops_nn.BUILD, "bin", "moe-opt")
PLACES = {
    "MoE": "input logits fc1 fc1_bias fc2 fc2_bias fc3 fc3_bias".split(),
    "QMoE": ("input logits fc1 fc1_scales fc1_bias fc2 fc2_scales fc2_bias fc3 "
             "fc3_scales fc3_bias fc1_zeros fc2_zeros fc3_zeros mix").split(),
}
HIDDEN, INNER, EXPERTS = 32, 64, 6


# --- the formulae ---------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


def activate(kind, g, u, alpha=1, beta=0, limit=None, after=False):
    if kind == "swiglu":
        if limit is not None:
            u = np.clip(u, -limit, limit)
        if limit is not None and not after:
            g = np.minimum(g, limit)
        h = g * sigmoid(alpha * g)
        if limit is not None and after:
            h = np.minimum(h, limit)
        return h * (u + beta)
    h = {"relu": lambda: np.maximum(g, 0), "relu2": lambda: np.maximum(g, 0) ** 2,
         "gelu": lambda: gelu(g), "geglu": lambda: gelu(g),
         "silu": lambda: g * sigmoid(g), "identity": lambda: g}[kind]()
    return h if u is None else h * u


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def sparse_mixer(logits, jitter=0.01):
    """PhiMoE's routing at inference: two experts and their weights."""
    chosen, weights, left = [], [], logits.copy()
    for _ in range(2):
        most = left.max()
        best = int(left.argmax())
        far = (most - logits) / np.maximum(np.abs(logits), most) > 2 * jitter
        chosen.append(best)
        weights.append(softmax(np.where(far, -np.inf, left))[best])
        left[best] = -np.inf
    return chosen, weights


def route(logits, mix, k, normalise, always, sparse):
    """Experts and weights of one token. Of equal logits the last is first."""
    if sparse:
        return sparse_mixer(logits)
    order = sorted(range(len(logits)), key=lambda e: (-logits[e], -e))[:k]
    if mix is not None:
        weights = mix[order]
        total = weights.sum()
        if normalise and total:
            weights = weights / total
        return order, weights
    weights = softmax(logits)[order]
    return order, weights / weights.sum() if normalise or always else weights


def unpack(codes, bits, count):
    """[..., bytes] as [..., count] numbers, the lowest bits first."""
    each = 8 // bits
    out = np.stack([(codes >> (bits * i)) & ((1 << bits) - 1)
                    for i in range(each)], -1)
    return out.reshape(*codes.shape[:-1], -1)[..., :count].astype(np.float64)


def dequantise(codes, scales, zeros, bits, block):
    experts, rows, size = codes.shape
    columns = size * 8 // bits
    numbers = unpack(codes, bits, columns)
    scales = scales.astype(np.float64)
    if block:
        blocks = columns // block
        zero = (np.full((experts, rows, blocks), 2.0 ** (bits - 1))
                if zeros is None else unpack(zeros, bits, blocks))
        zero, scales = (np.repeat(a, block, -1) for a in (zero, scales))
    else:
        zero = (np.full((experts, rows), 2.0 ** (bits - 1))
                if zeros is None else unpack(zeros, bits, rows))[..., None]
        scales = scales[..., None]
    return (numbers - zero) * scales


def run_experts(op, given, attributes):
    """What the operator gives, by its schema."""
    def wide(name):
        return None if name not in given else given[name].astype(np.float64)
    a = dict(attributes)
    banks = {}
    for fc in ("fc1", "fc2", "fc3"):
        if fc not in given:
            banks[fc] = None
        elif op == "QMoE":
            bits = a.get(f"{fc}_expert_weight_bits",
                         a.get("expert_weight_bits", 4))
            banks[fc] = dequantise(given[fc], given[f"{fc}_scales"],
                                   given.get(f"{fc}_zeros"), bits,
                                   a.get("block_size", 0))
        else:
            banks[fc] = wide(fc)
    shape = given["input"].shape
    x = wide("input").reshape(-1, shape[-1])
    y = np.zeros_like(x)
    kind, fusion = a.get("activation_type", "relu"), a.get("swiglu_fusion", 0)
    logits, mix = wide("logits"), wide("mix")

    def affine(fc, e, v):
        out = banks[fc][e] @ v
        bias = wide(f"{fc}_bias")
        return out if bias is None else out + bias[e]

    for t, v in enumerate(x):
        chosen, weights = route(
            logits[t], None if mix is None else mix[t], a.get("k", 1),
            a.get("normalize_routing_weights", 0), op == "QMoE",
            a.get("use_sparse_mixer", 0))
        for e, w in zip(chosen, weights):
            g, u = affine("fc1", e, v), None
            if banks["fc3"] is not None:
                u = affine("fc3", e, v)
            elif kind in ("swiglu", "geglu"):
                g, u = ((g[0::2], g[1::2]) if fusion == 1
                        else np.split(g, 2))
            h = activate(kind, g, u, np.float64(np.float32(
                a.get("activation_alpha", 1))), a.get("activation_beta", 0),
                         a.get("swiglu_limit"),
                         a.get("swiglu_limit_after_activation", 0))
            y[t] += w * affine("fc2", e, h)
    return y.reshape(shape).astype(given["input"].dtype)


# --- cases ----------------------------------------------------------------------


class Maker:
    """Random inputs; each case has a generator of its own."""

    def __init__(self, dtype=np.float32):
        self.random = np.random.default_rng(len(ops_nn.CASES))
        self.dtype = dtype

    def normal(self, *shape, scale=1.0):
        return (scale * self.random.standard_normal(shape)).astype(self.dtype)

    def codes(self, given, fc, rows, columns, bits, block, zeros):
        given[fc] = self.random.integers(
            0, 256, (EXPERTS, rows, columns * bits // 8)).astype(np.uint8)
        shape = (EXPERTS, rows) + ((columns // block,) if block else ())
        size = 1 / (2 ** (bits - 1) * columns ** 0.5)
        given[f"{fc}_scales"] = (size * (0.5 + self.random.random(
            shape))).astype(self.dtype)
        if zeros:
            packed = (EXPERTS, rows, -(-columns // block * bits // 8)) \
                if block else (EXPERTS, -(-rows * bits // 8))
            given[f"{fc}_zeros"] = self.random.integers(
                0, 256, packed).astype(np.uint8)


def add(op, name, tokens=(7,), bias=False, fc3=False, mix=False, zeros=False,
        runtime=True, logits=None, dtype=np.float32, tolerance=None,
        **attributes):
    """A case. `runtime`: ONNX Runtime's CPU provider must agree."""
    make = Maker(dtype)
    count = int(np.prod(tokens))
    given = {"input": make.normal(*tokens, HIDDEN),
             "logits": make.normal(count, EXPERTS) if logits is None
             else logits.astype(dtype)}
    kind = attributes.get("activation_type", "relu")
    parts = 2 if kind in ("swiglu", "geglu") and attributes.get(
        "swiglu_fusion", 0) else 1
    sizes = {"fc1": (parts * INNER, HIDDEN), "fc2": (HIDDEN, INNER)}
    if fc3:
        sizes["fc3"] = (INNER, HIDDEN)
    common = attributes.get("expert_weight_bits", 4)
    for fc, (rows, columns) in sizes.items():
        if op == "QMoE":
            make.codes(given, fc, rows, columns,
                       attributes.get(f"{fc}_expert_weight_bits", common),
                       attributes.get("block_size", 0), zeros)
        else:
            given[fc] = make.normal(EXPERTS, rows, columns,
                                    scale=columns ** -0.5)
        if bias:
            given[f"{fc}_bias"] = make.normal(EXPERTS, rows, scale=0.3)
    if mix:
        given["mix"] = np.abs(make.normal(count, EXPERTS))
    inputs = [given.get(place) for place in PLACES[op]]
    while inputs[-1] is None:
        inputs.pop()
    constant = [i for i, place in enumerate(PLACES[op])
                if place.startswith("fc")]
    one = ops_nn.Case(f"{op} {name}", op, inputs, attributes, 1, constant,
                      None, lambda *_: run_experts(op, given, attributes), MS,
                      tolerance=tolerance)
    one.runtime = runtime
    ops_nn.CASES.append(one)


ACTIVATIONS = ("relu", "gelu", "silu", "identity")


def moe():
    def case(name, **options):
        add("MoE", name, **options)

    for kind in ACTIVATIONS:
        for k, normalise in ((1, 0), (1, 1), (2, 0), (3, 1), (EXPERTS, 0)):
            case(f"{kind} k {k} normalise {normalise}", activation_type=kind,
                 k=k, normalize_routing_weights=normalise, bias=k == 2)
    case("defaults")
    case("rank 3", tokens=(2, 3), activation_type="silu", k=2)
    case("no tokens", tokens=(0,), activation_type="silu", k=2)
    case("rank 3, no tokens", tokens=(2, 0), activation_type="silu", k=2,
         runtime=False)
    case("fusion without a gate", activation_type="silu", swiglu_fusion=1, k=2)
    case("equal logits", logits=np.array([[1, 2, 2, 2, 0, 2]] * 3),
         tokens=(3,), k=2)
    case("all equal", logits=np.zeros((3, EXPERTS)), tokens=(3,), k=3,
         normalize_routing_weights=1)
    for limit in (None, 0.5, 7.0):
        more = {} if limit is None else {"swiglu_limit": limit}
        for alpha, beta in ((1.0, 0.0), (1.702, 1.0)):
            case(f"swiglu 1, limit {limit}, alpha {alpha}", k=2, bias=True,
                 activation_type="swiglu", swiglu_fusion=1,
                 activation_alpha=alpha, activation_beta=beta, **more)
            for fusion in (0, 2):
                case(f"swiglu {fusion}, limit {limit}, alpha {alpha}", k=2,
                     activation_type="swiglu", swiglu_fusion=fusion,
                     activation_alpha=alpha, activation_beta=beta, bias=True,
                     fc3=fusion == 0, runtime=False, **more)
    for fusion in (0, 1, 2):
        case(f"swiglu {fusion}, limit after", k=2, activation_type="swiglu",
             swiglu_fusion=fusion, swiglu_limit=0.25,
             swiglu_limit_after_activation=1, activation_beta=0.5,
             fc3=fusion == 0, runtime=False)
    for fusion in (1, 2):
        case(f"geglu {fusion}", k=2, activation_type="geglu", bias=True,
             swiglu_fusion=fusion, runtime=False)
    case("geglu takes no parameters", k=2, activation_type="geglu",
         swiglu_fusion=1, swiglu_limit=0.1, activation_alpha=3.0,
         activation_beta=2.0, runtime=False)
    case("relu2", k=2, activation_type="relu2", bias=True, runtime=False)
    for kind in ACTIVATIONS + ("relu2",):
        case(f"{kind} with fc3", k=2, activation_type=kind, fc3=True,
             bias=kind == "silu", runtime=False)
    case("sparse mixer", tokens=(40,), k=2, activation_type="silu",
         use_sparse_mixer=1, runtime=False)
    near = np.random.default_rng(1).standard_normal((40, EXPERTS)) * 0.02 + 3
    case("sparse mixer, near logits", tokens=(40,), k=2, logits=near,
         activation_type="silu", use_sparse_mixer=1,
         normalize_routing_weights=1, runtime=False)
    case("float16", dtype=np.float16, k=2, activation_type="silu", bias=True,
         runtime=False)
    case("bfloat16", dtype=ops_nn.BF16, k=2, activation_type="swiglu",
         swiglu_fusion=1, runtime=False, tolerance=6e-2)


def grid():
    """Every activation in every form of its projections, with each k,
    normalisation and presence of biases."""
    forms = [(kind, fc3, {}) for kind in ACTIVATIONS + ("relu2",)
             for fc3 in (False, True)]
    forms += [("geglu", False, {"swiglu_fusion": f}) for f in (1, 2)]
    for fusion, limit in itertools.product((0, 1, 2), (None, 0.5, 7.0)):
        more = {"swiglu_fusion": fusion}
        if limit is not None:
            more["swiglu_limit"] = limit
        forms.append(("swiglu", fusion == 0, more))
    for i, ((kind, fc3, more), k, normalise, bias) in enumerate(
            itertools.product(forms, (1, 2, 4), (0, 1), (False, True))):
        text = "".join(f" {name} {value}" for name, value in more.items())
        runs = not fc3 and (kind in ACTIVATIONS
                            or more.get("swiglu_fusion") == 1
                            and kind == "swiglu")
        add("MoE", f"grid {kind} fc3 {fc3} k {k} normalise {normalise} bias "
            f"{bias}{text}", tokens=(2, 3) if i % 3 == 0 else (5,), bias=bias,
            fc3=fc3, activation_type=kind, k=k,
            normalize_routing_weights=normalise, runtime=runs, **more)


def qmoe():
    def case(name, **options):
        add("QMoE", name, **options)

    for bits in (2, 4, 8):
        for block in (0, 16, 32):
            # ONNX Runtime rounds activations to 8 bits for some of them.
            exact = not (bits == 8 and block) and not (bits == 2 and block > 16)
            more = {"block_size": block} if block else {}
            for zeros in (False, True):
                case(f"bits {bits} block {block} zeros {zeros}", k=2,
                     activation_type="silu", expert_weight_bits=bits,
                     zeros=zeros, bias=zeros, runtime=exact, **more)
    for kind in ACTIVATIONS:
        for normalise in (0, 1):
            case(f"{kind} normalise {normalise}", k=2, activation_type=kind,
                 normalize_routing_weights=normalise)
            case(f"{kind} normalise {normalise} router weights", k=2,
                 activation_type=kind, normalize_routing_weights=normalise,
                 mix=True, block_size=32)
    case("defaults")
    case("rank 3", tokens=(2, 3), activation_type="silu", k=2, block_size=32)
    case("rank 3, router weights", tokens=(2, 3), activation_type="silu", k=2,
         mix=True, normalize_routing_weights=1)
    case("no tokens", tokens=(0,), k=2, runtime=False)
    case("equal logits", logits=np.array([[1, 2, 2, 2, 0, 2]] * 3),
         tokens=(3,), k=2)
    case("not prepacked", k=2, weights_prepacked=0, accuracy_level=1)
    for limit in (None, 0.5):
        more = {} if limit is None else {"swiglu_limit": limit}
        case(f"swiglu 1, limit {limit}", k=2, bias=True, block_size=32,
             activation_type="swiglu", swiglu_fusion=1, activation_alpha=1.702,
             activation_beta=1.0, **more)
        for fusion in (0, 2):
            case(f"swiglu {fusion}, limit {limit}", k=2, bias=True, zeros=True,
                 activation_type="swiglu", swiglu_fusion=fusion,
                 activation_alpha=1.702, activation_beta=1.0,
                 block_size=32, fc3=fusion == 0, runtime=False, **more)
    case("geglu", k=2, activation_type="geglu", swiglu_fusion=2, runtime=False)
    case("relu2", k=2, activation_type="relu2", runtime=False)
    case("silu with fc3", k=2, activation_type="silu", fc3=True, bias=True,
         zeros=True, runtime=False)
    case("bits of each projection", k=2, activation_type="silu", fc3=True,
         expert_weight_bits=4, fc1_expert_weight_bits=8,
         fc2_expert_weight_bits=2, block_size=16, zeros=True, runtime=False)
    case("bits of two projections", k=2, activation_type="silu",
         fc1_expert_weight_bits=2, fc2_expert_weight_bits=8, runtime=False)
    case("sparse mixer", tokens=(20,), k=2, use_sparse_mixer=1, runtime=False)
    case("float16", dtype=np.float16, k=2, activation_type="silu",
         block_size=32, runtime=False)
    empty = np.abs(np.random.default_rng(2).standard_normal((4, EXPERTS)))
    case("token without router weights", tokens=(4,), k=2,
         normalize_routing_weights=1, mix=True, logits=empty)
    # The weights of the token that picks experts 0 and 1.
    one = ops_nn.CASES[-1]
    one.inputs[14][1] = 0


# --- checks ---------------------------------------------------------------------


def run_model(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def attributes_of(node):
    """What a node says, defaults left out."""
    defaults = {"activation_type": b"relu", "k": 1, "swiglu_fusion": 0,
                "normalize_routing_weights": 0, "activation_alpha": 1.0,
                "activation_beta": 0.0, "use_sparse_mixer": 0,
                "swiglu_limit_after_activation": 0, "expert_weight_bits": 4}
    found = {a.name: onnx.helper.get_attribute_value(a)
             for a in node.attribute}
    return {k: v for k, v in found.items() if defaults.get(k) != v
            and k not in ("weights_prepacked", "accuracy_level")}


def wanted_attributes(one, node):
    """What the exported node of a case should say."""
    said = attributes_of(node)
    kind = said.get("activation_type", b"relu")
    gated = kind in (b"swiglu", b"geglu")
    if not gated:
        said.pop("swiglu_fusion", None)
    if kind != b"swiglu":
        for name in ("activation_alpha", "activation_beta", "swiglu_limit",
                     "swiglu_limit_after_activation"):
            said.pop(name, None)
    if "use_sparse_mixer" in said:
        said.pop("normalize_routing_weights", None)
    elif one.op == "QMoE" and len(one.inputs) <= 14:
        said["normalize_routing_weights"] = 1
    # silu(g) * u has two names; the exporter takes the one without limits.
    if kind == b"silu" and any(
            i < len(one.inputs) and one.inputs[i] is not None
            for i in ([6] if one.op == "MoE" else [8])):
        said["activation_type"] = b"swiglu"
    if one.op == "QMoE":
        common = said.get("expert_weight_bits", 4)
        bits = [said.pop(f"fc{i}_expert_weight_bits", common)
                for i in (1, 2, 3)]
        said["bits"] = bits[:2] + ([bits[2]] if len(one.inputs) > 8 and
                                   one.inputs[8] is not None else [])
        said.pop("expert_weight_bits", None)
    return said


def check_export(cases, folder):
    """(case, problem) of those whose way to moe ops and back changes them."""
    model, feeds = ops_nn.build_model(cases)
    path = os.path.join(folder, "model.onnx")
    back = os.path.join(folder, "back.onnx")
    onnx.save(model, path)
    done = subprocess.run(
        [MOE_OPT, path, "--moe-raise-contrib", "--moe-export-contrib", "-o",
         back], capture_output=True, text=True, check=False)
    if done.returncode:
        return [(cases[0], f"and others: moe-opt: {done.stderr.strip()}")]
    again = onnx.load(back)
    failures = []
    nodes = {node.output[0]: node for node in again.graph.node}
    for c, (one, node) in enumerate(zip(cases, model.graph.node)):
        after = nodes.get(f"c{c}_o0")
        # Tokens of rank 3 get their shape back behind the operator.
        if after is not None and after.op_type == "Reshape":
            after = nodes[after.input[0]]
        if after is None or after.op_type != one.op:
            failures.append((one, "came back as "
                             f"{'nothing' if after is None else after.op_type}"))
            continue
        want = wanted_attributes(one, node)
        got = wanted_attributes(one, after)
        if want != got:
            failures.append((one, f"came back with {got}, expected {want}"))
    outputs = dict(zip((o.name for o in again.graph.output),
                       run_parts(again, feeds, cases)))
    for c, one in enumerate(cases):
        if one.runtime and f"c{c}_o0" in outputs:
            problem = ops_nn.compare(one, 0, outputs[f"c{c}_o0"],
                                     one.expected[0])
            if problem:
                failures.append((one, f"exported: {problem}"))
    return failures


def run_parts(model, feeds, cases):
    """Outputs of those cases that ONNX Runtime runs, in the model's order."""
    parts = onnx.ModelProto()
    parts.CopyFrom(model)
    wanted = {f"c{c}_o0" for c, one in enumerate(cases) if one.runtime}
    needed, nodes = set(wanted), []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.insert(0, node)
    graph = parts.graph
    for field, keep in (("node", nodes),
                        ("output", [o for o in model.graph.output
                                    if o.name in wanted]),
                        ("input", [i for i in model.graph.input
                                   if i.name in needed])):
        kept = [type(v)() for v in keep]
        for new, old in zip(kept, keep):
            new.CopyFrom(old)
        graph.ClearField(field)
        getattr(graph, field).extend(kept)
    del model.graph.output[:]
    model.graph.output.extend(graph.output)
    if not wanted:
        return []
    return run_model(parts, {k: v for k, v in feeds.items() if k in needed})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["compile", "export"])
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    options = parser.parse_args()
    moe()
    grid()
    qmoe()
    cases = [one for one in ops_nn.CASES
             if not options.patterns or any(p in one.name
                                            for p in options.patterns)]
    failures, count = [], 0
    for one in cases:
        one.expected = [np.asarray(v) for v in ops_nn.get_expected(one)]
        if one.runtime:
            got = run_model(ops_nn.single_model(one), {
                f"i{k}": v for k, v in enumerate(one.inputs)
                if v is not None})[0]
            problem = ops_nn.compare(one, 0, got, one.expected[0])
            if problem:
                failures.append((one, f"ONNX Runtime: {problem}"))
    if options.only != "compile":
        count += len(cases)
        for begin in range(0, len(cases), ops_nn.BATCH):
            with tempfile.TemporaryDirectory() as folder:
                failures += check_export(cases[begin:begin + ops_nn.BATCH],
                                         folder)
    if options.only != "export":
        count += len(cases)
        # One function of many layers takes LLVM long.
        ops_nn.BATCH = 6
        for begin in range(0, len(cases), ops_nn.BATCH):
            failures += ops_nn.run(cases[begin:begin + ops_nn.BATCH])
    for one, problem in failures:
        print(f"FAILED {one.name}: {problem}")
    print(f"{count - len(failures)} passed, {len(failures)} failed")
    return 1 if failures or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
