#!/usr/bin/env python3
"""Reductions, norms, convolutions, pools and resizing, operator by operator.

Each case is one node with attributes, types and extents of its own. Cases are
compiled together, as outputs of one model whose inputs have dynamic extents,
and compared with onnx's reference evaluator, with ONNX Runtime, or with a
formula in numpy where those are wrong or do not have the operator.

usage: ops_nn.py [PATTERN...]     runs the cases whose names contain a pattern
"""
import os
import subprocess
import sys
import tempfile

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))
MOE_RUN = os.path.join(BUILD, "bin", "moe-run")

BF16 = ml_dtypes.bfloat16
MS = "com.microsoft"
# Cases of one model: large enough to save compilations, small enough for a
# failure to be found.
BATCH = 24
# The opset of the compiled models, and one that ONNX Runtime has.
OPSET, RUNTIME_OPSET = 28, 23
TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 2e-5,
             "float64": 1e-10}


class Case:
    """One node: `inputs` are arrays, None where left out; those whose numbers
    are in `constant` are initializers. `dynamic` names the dims of the others
    that are dynamic (all by default). `outputs` is how many outputs the node
    has, or a list that tells which of them it names. `relevant` has a mask for
    each output, false where the operator leaves open what it gives."""

    def __init__(self, name, op, inputs, attributes, outputs=1, constant=(),
                 dynamic=None, oracle="reference", domain="", opset=None,
                 tolerance=None, relevant=None):
        self.name, self.op, self.inputs = name, op, inputs
        self.attributes, self.outputs = attributes, outputs
        self.constant, self.dynamic = set(constant), dynamic
        self.oracle, self.domain = oracle, domain
        self.opset = opset
        self.tolerance = tolerance
        self.relevant = relevant

    def name_outputs(self, prefix):
        """Names of the node's outputs, numbered without those left out."""
        if isinstance(self.outputs, int):
            return [f"{prefix}{k}" for k in range(self.outputs)]
        return [f"{prefix}{sum(self.outputs[:k])}" if there else ""
                for k, there in enumerate(self.outputs)]


CASES = []


def case(name, op, *inputs, outputs=1, constant=(), dynamic=None,
         oracle="reference", domain="", tolerance=None, relevant=None,
         **attributes):
    CASES.append(Case(name, op, list(inputs), attributes, outputs, constant,
                      dynamic, oracle, domain, tolerance=tolerance,
                      relevant=relevant))


def rng():
    """Numbers of a case depend on how many cases stand in front of it."""
    return np.random.default_rng(len(CASES))


def normal(*shape, dtype=np.float32):
    return rng().standard_normal(shape).astype(dtype)


def ints(*shape, dtype=np.int64, low=-9, high=10):
    return rng().integers(low, high, shape).astype(dtype)


def i64(*values):
    return np.array(values, np.int64)


def f32(*values):
    return np.array(values, np.float32)


# --- reductions ---------------------------------------------------------------


def reductions():
    every = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum",
             "LogSumExp", "SumSquare"]
    for kind in every:
        op = "Reduce" + kind
        positive = np.abs if kind == "LogSum" else lambda x: x
        case(f"{op} last", op, positive(normal(3, 5, 37)), i64(-1),
             constant=[1])
        case(f"{op} first, no keepdims", op, positive(normal(4, 3, 18)),
             i64(0), constant=[1], keepdims=0)
        case(f"{op} two apart", op, positive(normal(2, 3, 4, 5)), i64(1, 3),
             constant=[1])
        case(f"{op} two together", op, positive(normal(2, 3, 4, 5)),
             i64(-2, 1), constant=[1], keepdims=0)
        case(f"{op} all", op, positive(normal(3, 4)))
        case(f"{op} no-op", op, positive(normal(3, 4)),
             noop_with_empty_axes=1)
        case(f"{op} f16", op, positive(normal(3, 9, dtype=np.float16)),
             i64(1), constant=[1])
        case(f"{op} f64", op, positive(normal(3, 9, dtype=np.float64)),
             i64(0), constant=[1], keepdims=0)
        if kind not in ("LogSum", "LogSumExp", "Mean"):
            case(f"{op} i64", op, ints(3, 4), i64(1), constant=[1])
            # The reference's sums of uint32 are uint64.
            case(f"{op} u32", op, ints(3, 4, dtype=np.uint32, low=0), i64(0),
                 constant=[1], oracle=lambda x, axes, op=op: np.asarray(
                     evaluate(op, x, axes)).astype(np.uint32))
        if kind not in ("LogSum", "LogSumExp"):
            case(f"{op} scalar", op, np.array(1.5, np.float32))
    case("ReduceMean i32", "ReduceMean", ints(3, 4, dtype=np.int32), i64(1),
         constant=[1], oracle="runtime")
    for op, value in (("ReduceSum", 0), ("ReduceProd", 1), ("ReduceL1", 0),
                      ("ReduceL2", 0), ("ReduceSumSquare", 0),
                      ("ReduceMax", -np.inf), ("ReduceMin", np.inf),
                      ("ReduceLogSum", -np.inf), ("ReduceLogSumExp", -np.inf),
                      ("ReduceMean", np.nan)):
        case(f"{op} of nothing", op, np.zeros((2, 0), np.float32), i64(1),
             constant=[1],
             oracle=lambda x, _, v=value: np.full((2, 1), v, np.float32))
        case(f"{op} no rows", op, np.zeros((0, 3), np.float32), i64(1),
             constant=[1],
             oracle=lambda x, _: np.zeros((0, 1), np.float32))
    for op in ("ReduceMax", "ReduceMin"):
        case(f"{op} bool", op, ints(3, 4, dtype=bool, low=0, high=2), i64(1),
             constant=[1])
        case(f"{op} i8", op, ints(3, 4, dtype=np.int8), i64(1), constant=[1])
        case(f"{op} u8", op, ints(3, 4, dtype=np.uint8, low=0, high=256),
             i64(0), constant=[1])
        nan = normal(3, 40)
        nan[1, 5] = np.nan
        case(f"{op} nan", op, nan, i64(1), constant=[1])
    case("ReduceLogSumExp large", "ReduceLogSumExp",
         f32([1e4, 1e4], [-1e4, -1e4], [-np.inf, -np.inf]), i64(1),
         constant=[1],
         oracle=lambda x, _: np.logaddexp.reduce(
             x.astype(np.float64), axis=1, keepdims=True).astype(np.float32))
    case("ReduceSum long", "ReduceSum", normal(2, 70000), i64(1),
         constant=[1], tolerance=1e-4, oracle=lambda x, _: x.astype(
             np.float64).sum(1, keepdims=True).astype(np.float32))
    case("ReduceSum bf16", "ReduceSum", normal(3, 300).astype(BF16), i64(1),
         constant=[1], oracle=lambda x, _: x.astype(np.float32).sum(
             1, keepdims=True).astype(BF16))
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        case(f"{op} last", op, normal(2, 3, 33))
        case(f"{op} middle", op, normal(2, 7, 18), axis=1)
        case(f"{op} first", op, normal(5, 3), axis=0)
        case(f"{op} f64", op, normal(3, 5, dtype=np.float64), axis=-2)
        case(f"{op} f16", op, normal(3, 5, dtype=np.float16))
        case(f"{op} large", op, f32([1000, 999, -1000], [-1e30, 1e30, 0]))
        case(f"{op} no rows", op, np.zeros((0, 4), np.float32),
             oracle=lambda x: x)
    case("Hardmax ties", "Hardmax", f32([1, 3, 3], [2, 2, 1], [0, 0, 0]))


# --- norms --------------------------------------------------------------------


def layer_norm(x, scale, bias=None, axis=-1, epsilon=1e-5):
    x64 = x.astype(np.float64)
    axes = tuple(range(axis % x.ndim, x.ndim))
    mean = x64.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(x64.var(axes, keepdims=True) + epsilon)
    y = (x64 - mean) * inverse * scale.astype(np.float64)
    if bias is not None:
        y = y + bias.astype(np.float64)
    return (y.astype(x.dtype), mean.astype(np.float32),
            inverse.astype(np.float32))


def rms_norm(x, scale, axis=-1, epsilon=1e-5):
    x64 = x.astype(np.float64)
    axes = tuple(range(axis % x.ndim, x.ndim))
    inverse = 1 / np.sqrt((x64 * x64).mean(axes, keepdims=True) + epsilon)
    return ((x64 * inverse * scale.astype(np.float64)).astype(scale.dtype),
            inverse.astype(np.float32))


def skip_rms_norm(x, skip, gamma, bias=None, epsilon=1e-12):
    total = x.astype(np.float64) + skip.astype(np.float64)
    if bias is not None:
        total = total + bias.astype(np.float64)
    y, inverse = rms_norm(total, gamma, epsilon=epsilon)
    return (y.astype(x.dtype), total.mean(-1, keepdims=True).astype(np.float32),
            inverse, total.astype(x.dtype))


def norms():
    for dtype in (np.float32, np.float16, np.float64, BF16):
        name = np.dtype(dtype).name
        x = normal(2, 3, 20).astype(dtype)
        scale, bias = normal(20).astype(dtype), normal(20).astype(dtype)
        case(f"LayerNormalization {name}", "LayerNormalization", x, scale,
             bias, outputs=3, constant=[1, 2], oracle=layer_norm)
        case(f"RMSNormalization {name}", "RMSNormalization", x, scale,
             constant=[1], oracle=lambda x, s: rms_norm(x, s)[0])
    case("LayerNormalization axis 1", "LayerNormalization", normal(2, 3, 20),
         normal(3, 20), axis=1, epsilon=1e-3, oracle=lambda x, s: layer_norm(
             x, s, axis=1, epsilon=1e-3)[0])
    case("LayerNormalization dynamic scale", "LayerNormalization",
         normal(2, 3, 20), normal(20), normal(20))
    case("LayerNormalization far from 0", "LayerNormalization",
         (normal(4, 300) + 1000).astype(np.float32), normal(300),
         oracle=lambda x, s: layer_norm(x, s)[0], tolerance=1e-3)
    case("LayerNormalization no rows", "LayerNormalization",
         np.zeros((0, 8), np.float32), normal(8),
         oracle=lambda x, s: x)
    case("RMSNormalization axis 1", "RMSNormalization",
         normal(2, 3, 20), normal(3, 20), axis=1,
         oracle=lambda x, s: rms_norm(x, s, axis=1)[0])
    case("SimplifiedLayerNormalization", "SimplifiedLayerNormalization",
         normal(2, 3, 20), normal(20), outputs=2, domain=MS, constant=[1],
         axis=-1, epsilon=1e-6,
         oracle=lambda x, s: rms_norm(x, s, epsilon=1e-6))
    gamma, bias = normal(20), normal(20)
    case("SkipSimplifiedLayerNormalization",
         "SkipSimplifiedLayerNormalization", normal(2, 3, 20),
         normal(2, 3, 20) * 2, gamma, bias, outputs=4, domain=MS,
         constant=[2, 3], epsilon=1e-6,
         oracle=lambda *a: skip_rms_norm(*a, epsilon=1e-6))
    # Exporters write both into the default domain as well; the sum is all that
    # decoders need besides the norm.
    for domain in ("", MS):
        case(f"SkipSimplifiedLayerNormalization of '{domain}'",
             "SkipSimplifiedLayerNormalization", normal(2, 3, 20),
             normal(2, 3, 20), gamma, domain=domain, epsilon=1e-6,
             outputs=[True, False, False, True],
             oracle=lambda *a: skip_rms_norm(*a, epsilon=1e-6)[::3])
        case(f"SimplifiedLayerNormalization of '{domain}'",
             "SimplifiedLayerNormalization", normal(2, 3, 20), gamma,
             domain=domain, epsilon=1e-6,
             oracle=lambda x, s: rms_norm(x, s, epsilon=1e-6)[0])
    case("SkipSimplifiedLayerNormalization as ONNX Runtime has it",
         "SkipSimplifiedLayerNormalization", normal(2, 3, 20),
         normal(2, 3, 20), gamma, bias, domain=MS, epsilon=1e-6,
         outputs=[True, False, False, True], oracle="runtime")
    case("SkipSimplifiedLayerNormalization of rank 2",
         "SkipSimplifiedLayerNormalization", normal(3, 20), normal(3, 20),
         gamma, domain=MS, epsilon=1e-6, oracle="runtime")
    case("SkipSimplifiedLayerNormalization f16",
         "SkipSimplifiedLayerNormalization",
         normal(2, 3, 20, dtype=np.float16),
         normal(2, 3, 20, dtype=np.float16), gamma.astype(np.float16),
         outputs=4, domain=MS, constant=[2], oracle=skip_rms_norm)
    case("SkipSimplifiedLayerNormalization broadcast",
         "SkipSimplifiedLayerNormalization", normal(2, 3, 20),
         normal(3, 20), gamma, domain=MS,
         oracle=lambda *a: skip_rms_norm(*a)[0])
    for rank in (3, 4):
        x = normal(2, 6, 5, 4)[..., 0] if rank == 3 else normal(2, 6, 5, 4)
        scale, bias = normal(6), normal(6)
        case(f"InstanceNormalization {rank}", "InstanceNormalization", x,
             scale, bias, constant=[1, 2])
        case(f"GroupNormalization {rank}", "GroupNormalization", x, scale,
             bias, constant=[1, 2], num_groups=3, dynamic=(0, 2, 3))
        case(f"GroupNormalization {rank}, dynamic channels",
             "GroupNormalization", x, scale, bias, num_groups=2)
        case(f"BatchNormalization {rank}", "BatchNormalization", x, scale,
             bias, normal(6), np.abs(normal(6)), constant=[1, 2, 3, 4])
        case(f"BatchNormalization {rank} f16", "BatchNormalization",
             x.astype(np.float16), *[v.astype(np.float16) for v in (
                 scale, bias, normal(6), np.abs(normal(6)))])
        case(f"MeanVarianceNormalization {rank}", "MeanVarianceNormalization",
             x, axes=[0, 2] if rank == 3 else [0, 2, 3])
    case("BatchNormalization 2", "BatchNormalization", normal(5, 6),
         normal(6), normal(6), normal(6), np.abs(normal(6)))
    for p in (1, 2):
        case(f"LpNormalization {p}", "LpNormalization", normal(2, 3, 5), p=p,
             axis=1, oracle=lambda x, p=p: x / np.linalg.norm(
                 x, p, axis=1, keepdims=True))
    case("LpNormalization 0", "LpNormalization", f32([0, 0], [3, 4]))


# --- convolutions -------------------------------------------------------------


def conv(name, x, w, bias=False, op="Conv", dynamic=None, oracle="runtime",
         **attributes):
    rank = x.ndim
    if dynamic is None:
        dynamic = (0,) + tuple(range(2, rank))
    inputs = [x, w]
    if bias:
        group = attributes.get("group", 1)
        count = w.shape[0] if op == "Conv" else w.shape[1] * group
        inputs.append(normal(count).astype(x.dtype))
    case(f"{op} {name}", op, *inputs, constant=range(1, len(inputs)),
         dynamic=dynamic, oracle=oracle, tolerance=attributes.pop(
             "tolerance", None), **attributes)


def convolutions():
    conv("1-D", normal(2, 3, 40), normal(5, 3, 3), bias=True, pads=[1, 1])
    conv("1-D no batch", np.zeros((0, 3, 40), np.float32), normal(5, 3, 3),
         oracle=lambda x, w: np.zeros((0, 5, 38), np.float32))
    conv("1-D static", normal(2, 3, 40), normal(5, 3, 3), bias=True,
         pads=[1, 1], dynamic=())
    conv("1-D strided", normal(2, 3, 41), normal(5, 3, 4), bias=True,
         pads=[2, 1], strides=[2])
    conv("1-D causal depthwise", normal(2, 6, 37), normal(6, 1, 4), bias=True,
         pads=[3, 0], group=6)
    conv("1-D depthwise, 2 each", normal(2, 3, 17), normal(6, 1, 3),
         bias=True, group=3, dilations=[2])
    conv("1-D groups", normal(2, 6, 17), normal(4, 3, 3), bias=True, group=2)
    conv("2-D", normal(2, 3, 9, 11), normal(4, 3, 3, 3), pads=[1, 1, 1, 1])
    conv("2-D bias, uneven", normal(2, 3, 9, 11), normal(4, 3, 3, 2),
         bias=True, pads=[0, 1, 2, 0], strides=[2, 3], dilations=[1, 2])
    conv("2-D long rows", normal(1, 3, 6, 70), normal(4, 3, 3, 3), bias=True,
         pads=[1, 1, 1, 1], dynamic=(0,))
    conv("2-D long rows, groups", normal(1, 4, 6, 70), normal(6, 2, 3, 3),
         bias=True, group=2, pads=[1, 1, 1, 1], dynamic=(0,))
    conv("2-D patches", normal(2, 3, 16, 16), normal(8, 3, 4, 4), bias=True,
         strides=[4, 4])
    conv("2-D one pixel", normal(2, 6, 5, 7), normal(8, 6, 1, 1), bias=True)
    conv("2-D one pixel, groups", normal(2, 6, 5, 7), normal(8, 3, 1, 1),
         group=2)
    conv("2-D groups", normal(2, 6, 9, 9), normal(4, 3, 3, 3), bias=True,
         group=2, strides=[2, 2])
    conv("2-D depthwise", normal(2, 5, 9, 20), normal(5, 1, 3, 3), bias=True,
         group=5, pads=[1, 1, 1, 1])
    conv("2-D depthwise strided, 2 each", normal(2, 5, 9, 9),
         normal(10, 1, 3, 3), group=5, strides=[2, 2])
    for pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        conv("2-D " + pad, normal(1, 2, 7, 8), normal(3, 2, 3, 4),
             auto_pad=pad, strides=[2, 3], kernel_shape=[3, 4])
    conv("3-D", normal(1, 2, 5, 6, 7), normal(3, 2, 2, 3, 3), bias=True,
         pads=[0, 1, 1, 1, 1, 0], strides=[1, 2, 1])
    conv("dynamic weights", normal(2, 3, 9, 11), normal(4, 3, 3, 3))
    CASES[-1].constant, CASES[-1].dynamic = set(), None
    conv("f16", normal(1, 3, 12, dtype=np.float16),
         normal(4, 3, 3, dtype=np.float16), bias=True, oracle="reference")
    conv("2-D f16", normal(1, 3, 7, 8, dtype=np.float16),
         normal(4, 3, 3, 3, dtype=np.float16), bias=True, oracle="reference")
    conv("f64", normal(1, 3, 12, dtype=np.float64),
         normal(4, 3, 3, dtype=np.float64), oracle="reference")
    op = "ConvTranspose"
    conv("1-D", normal(2, 3, 10), normal(3, 4, 3), op=op, bias=True,
         strides=[2], pads=[1, 0], output_padding=[1])
    conv("2-D", normal(2, 3, 5, 6), normal(3, 4, 3, 3), op=op, bias=True)
    conv("2-D all", normal(2, 3, 5, 6), normal(3, 4, 3, 2), op=op,
         strides=[2, 3], pads=[1, 0, 0, 1], dilations=[2, 1],
         output_padding=[1, 2])
    conv("2-D groups", normal(2, 4, 5, 6), normal(4, 3, 2, 2), op=op,
         bias=True, group=2, strides=[2, 2])
    conv("2-D shape", normal(1, 2, 3, 3), normal(2, 2, 3, 3), op=op,
         strides=[3, 2], output_shape=[10, 8], dynamic=(0,))
    for pad in ("SAME_UPPER", "SAME_LOWER"):
        conv("2-D " + pad, normal(1, 2, 3, 4), normal(2, 2, 3, 3), op=op,
             strides=[2, 2], auto_pad=pad, dynamic=(0, 2, 3))
    conv("3-D", normal(1, 2, 3, 2, 3), normal(2, 2, 2, 2, 2), op=op,
         strides=[2, 1, 2])
    conv("f16", normal(1, 3, 5, dtype=np.float16),
         normal(3, 2, 3, dtype=np.float16), op=op, bias=True,
         oracle="reference", tolerance=1e-2)


# --- pools --------------------------------------------------------------------


def pools():
    x1, x2, x3 = normal(2, 3, 20), normal(2, 3, 9, 11), normal(1, 2, 5, 6, 7)
    for op in ("MaxPool", "AveragePool", "LpPool"):
        def pool(name, x, op=op, oracle="runtime", **attributes):
            case(f"{op} {name}", op, x, oracle=oracle, **attributes)
        pool("1-D", x1, kernel_shape=[3])
        pool("1-D strided", x1, kernel_shape=[4], strides=[3], pads=[1, 2])
        pool("2-D", x2, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        pool("2-D uneven", x2, kernel_shape=[3, 2], strides=[2, 3],
             pads=[1, 0, 2, 1])
        pool("2-D dilated", x2, kernel_shape=[3, 2], dilations=[2, 3],
             oracle="runtime")
        pool("2-D ceil", x2, kernel_shape=[3, 3], strides=[2, 4],
             ceil_mode=1)
        pool("2-D ceil, padded", x2, kernel_shape=[3, 3], strides=[4, 3],
             ceil_mode=1, pads=[1, 1, 1, 1])
        for pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
            pool("2-D " + pad, x2, kernel_shape=[3, 4], strides=[2, 2],
                 auto_pad=pad)
        pool("3-D", x3, kernel_shape=[2, 3, 2], strides=[1, 2, 2],
             pads=[1, 1, 0, 0, 1, 1])
        pool("no batch", np.zeros((0, 2, 9), np.float32), kernel_shape=[2],
             oracle=lambda x: np.zeros((0, 2, 8), np.float32))
        pool("f16", x2.astype(np.float16), kernel_shape=[3, 3],
             oracle="reference")
    case("LpPool 3", "LpPool", x2, kernel_shape=[2, 2], p=3, oracle="runtime")
    case("LpPool 1", "LpPool", x2, kernel_shape=[2, 2], p=1, oracle="runtime")
    for dtype in (np.int8, np.uint8):
        case(f"MaxPool {np.dtype(dtype).name}", "MaxPool",
             ints(1, 2, 6, 6, dtype=dtype, low=0 if dtype == np.uint8 else -99,
                  high=100), kernel_shape=[3, 3], pads=[1, 1, 1, 1],
             oracle="runtime")
    for order in (0, 1):
        case(f"MaxPool indices {order}", "MaxPool", x2, kernel_shape=[3, 2],
             outputs=2, storage_order=order, strides=[2, 1],
             pads=[1, 0, 1, 1], oracle="runtime")
        case(f"MaxPool ties {order}", "MaxPool",
             ints(1, 2, 6, 7, low=0, high=3).astype(np.float32),
             kernel_shape=[3, 3], outputs=2, storage_order=order,
             oracle="runtime")
    case("MaxPool indices 1-D", "MaxPool", x1, kernel_shape=[3], outputs=2,
         pads=[1, 1], oracle="runtime")
    case("MaxPool indices 3-D", "MaxPool", x3, kernel_shape=[2, 2, 2],
         outputs=2, strides=[2, 2, 2], dilations=[1, 2, 1], oracle="runtime")
    case("AveragePool with padding", "AveragePool", x2, kernel_shape=[3, 2],
         pads=[1, 0, 2, 1], strides=[2, 2], count_include_pad=1,
         oracle="runtime")
    case("AveragePool with padding, ceil", "AveragePool", x2,
         kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[4, 3], ceil_mode=1,
         count_include_pad=1, oracle="runtime")
    def global_lp(x, p=2):
        axes = tuple(range(2, x.ndim))
        total = (np.abs(x.astype(np.float64)) ** p).sum(axes, keepdims=True)
        return (total ** (1 / p)).astype(x.dtype)

    for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        for x in (x1, x2, x3):
            case(f"{op} {x.ndim}", op, x,
                 oracle=global_lp if op == "GlobalLpPool" else "runtime")
        case(f"{op} f16", op, x2.astype(np.float16), oracle={
            "GlobalAveragePool": lambda x: x.astype(np.float32).mean(
                (2, 3), keepdims=True).astype(np.float16),
            "GlobalMaxPool": lambda x: x.max((2, 3), keepdims=True),
            "GlobalLpPool": global_lp}[op])
    case("GlobalLpPool p = 3", "GlobalLpPool", x2, p=3,
         oracle=lambda x: global_lp(x, 3))
    for mode in ("DCR", "CRD"):
        case(f"DepthToSpace {mode}", "DepthToSpace", normal(2, 12, 3, 4),
             blocksize=2, mode=mode)
        case(f"DepthToSpace {mode} u8", "DepthToSpace",
             ints(2, 9, 3, 2, dtype=np.uint8, low=0), blocksize=3, mode=mode,
             dynamic=())
        case(f"SpaceToDepth {mode}", "SpaceToDepth", normal(2, 3, 4, 6),
             blocksize=2, mode=mode)


# --- resizing -----------------------------------------------------------------


def resizing():
    x = normal(1, 2, 5, 6)
    none = None
    modes = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
             "align_corners", "asymmetric")
    for mode in ("nearest", "linear", "cubic"):
        for transform in modes:
            name = f"Resize {mode} {transform}"
            case(f"{name} up", "Resize", x, none, f32(1, 1, 1.7, 2),
                 constant=[2], mode=mode, dynamic=(0, 2, 3),
                 coordinate_transformation_mode=transform)
            case(f"{name} down", "Resize", x, none, none, i64(1, 2, 3, 4),
                 constant=[3], mode=mode,
                 coordinate_transformation_mode=transform)
        case(f"Resize {mode} crop", "Resize", x,
             f32(0, 0, 0.2, -0.25, 1, 1, 0.9, 1.2), none, i64(1, 2, 4, 7),
             constant=[1, 3], mode=mode, extrapolation_value=7.0,
             coordinate_transformation_mode="tf_crop_and_resize",
             dynamic=(0, 2, 3))
        case(f"Resize {mode} axes", "Resize", x, none, f32(0.6, 1.5),
             constant=[2], mode=mode, axes=[3, 2], dynamic=(0, 1, 2, 3),
             oracle=resize_axes)
        case(f"Resize {mode} static", "Resize", x, none, f32(1, 1, 2, 0.5),
             constant=[2], mode=mode, dynamic=())
        case(f"Resize {mode} sizes at run time", "Resize", x, none, none,
             i64(1, 2, 7, 3), mode=mode, dynamic=())
        case(f"Resize {mode} scales at run time", "Resize", x, none,
             f32(1, 1, 1.5, 2.5), mode=mode, dynamic=())
        for policy in ("not_larger", "not_smaller"):
            case(f"Resize {mode} {policy}", "Resize", x, none, none,
                 i64(7, 9), constant=[3], mode=mode, axes=[2, 3],
                 keep_aspect_ratio_policy=policy, dynamic=(0, 2, 3))
        case(f"Resize {mode} f16", "Resize", x.astype(np.float16), none,
             f32(1, 1, 2, 2), constant=[2], mode=mode)
        case(f"Resize {mode} u8", "Resize",
             ints(1, 1, 4, 5, dtype=np.uint8, low=0, high=256), none,
             f32(1, 1, 1.5, 2), constant=[2], mode=mode)
        case(f"Resize {mode} 1-D", "Resize", normal(2, 3, 7), none,
             f32(1, 1, 2.5), constant=[2], mode=mode)
    for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        case(f"Resize nearest {mode}", "Resize", x, none, f32(1, 1, 2, 1.6),
             constant=[2], nearest_mode=mode, dynamic=(2, 3),
             coordinate_transformation_mode="asymmetric")
    case("Resize cubic outside", "Resize", x, none, f32(1, 1, 2, 2),
         constant=[2], mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)
    case("Resize linear outside", "Resize", x, none, f32(1, 1, 2, 0.7),
         constant=[2], mode="linear", exclude_outside=1)
    for mode in ("linear", "cubic"):
        case(f"Resize {mode} antialias", "Resize", x, none,
             f32(1, 1, 0.6, 0.6), constant=[2], mode=mode, antialias=1)
        case(f"Resize {mode} antialias, outside", "Resize", x, none, none,
             i64(1, 2, 2, 3), constant=[3], mode=mode, antialias=1,
             exclude_outside=1)


def resize_axes(x, _, scales):
    """The reference evaluator turns the order of `axes` wrongly round."""
    current = CASES_BY_INPUT[id(x)]
    attributes = dict(current.attributes, axes=[2, 3])
    model = single_model(Case("", "Resize", [x, None, scales[::-1].copy()],
                              attributes))
    return ReferenceEvaluator(model).run(None, {"i0": x,
                                                "i2": scales[::-1].copy()})[0]


CASES_BY_INPUT = {}


def evaluate(op, *inputs):
    """The first result of an operator, by the reference evaluator."""
    model = single_model(Case("", op, inputs, {}))
    return ReferenceEvaluator(model).run(
        None, {f"i{k}": v for k, v in enumerate(inputs)})[0]


# --- running ------------------------------------------------------------------


def element_type(array):
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def opset_imports(domains, opset):
    imports = [helper.make_opsetid("", opset)]
    return imports + [helper.make_opsetid(d, 1) for d in sorted(domains) if d]


def single_model(one):
    """The case alone, with inputs i0, i1, ... and outputs o0, o1, ..."""
    names = ["" if v is None else f"i{k}" for k, v in enumerate(one.inputs)]
    outputs = one.name_outputs("o")
    node = helper.make_node(one.op, names, outputs, domain=one.domain,
                            **one.attributes)
    graph = helper.make_graph(
        [node], "case",
        [helper.make_tensor_value_info(n, element_type(v), v.shape)
         for n, v in zip(names, one.inputs) if v is not None],
        [onnx.ValueInfoProto(name=n) for n in outputs if n])
    opset = RUNTIME_OPSET if one.oracle == "runtime" else OPSET
    return helper.make_model(
        graph, opset_imports=opset_imports({one.domain}, opset),
        ir_version=10)


def get_expected(one):
    """What the outputs of a case should be."""
    if callable(one.oracle):
        CASES_BY_INPUT[id(one.inputs[0])] = one
        with np.errstate(all="ignore"):
            outputs = one.oracle(*one.inputs)
        return list(outputs) if isinstance(outputs, tuple) else [outputs]
    model = single_model(one)
    feeds = {f"i{k}": v for k, v in enumerate(one.inputs) if v is not None}
    if one.oracle == "runtime":
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options,
            providers=["CPUExecutionProvider"])
        return session.run(None, feeds)
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(model).run(None, feeds)


def build_model(cases):
    """All cases as one model; returns it with its inputs by name."""
    nodes, inputs, initializers, outputs, feeds = [], [], [], [], {}
    for c, one in enumerate(cases):
        names = []
        for k, value in enumerate(one.inputs):
            if value is None:
                names.append("")
                continue
            name = f"c{c}_i{k}"
            names.append(name)
            if k in one.constant:
                initializers.append(numpy_helper.from_array(value, name))
                continue
            # Lists of axes, sizes and scales keep their extents.
            given = one.dynamic
            if given is None:
                given = () if k and one.op == "Resize" else range(value.ndim)
            dims = [f"{name}_{d}" if d in given else extent
                    for d, extent in enumerate(value.shape)]
            inputs.append(helper.make_tensor_value_info(
                name, element_type(value), dims))
            feeds[name] = value
        results = one.name_outputs(f"c{c}_o")
        nodes.append(helper.make_node(one.op, names, results,
                                      name=one.name, domain=one.domain,
                                      **one.attributes))
        for name in filter(None, results):
            outputs.append(onnx.ValueInfoProto(name=name))
    graph = helper.make_graph(nodes, "cases", inputs, outputs, initializers)
    model = helper.make_model(
        graph, opset_imports=opset_imports({c.domain for c in cases}, OPSET),
        ir_version=10)
    # Outputs need an element type; extents are for the compiler to find.
    kinds = {}
    for one, expected in zip(cases, [c.expected for c in cases]):
        for k, value in enumerate(expected):
            kinds[f"c{cases.index(one)}_o{k}"] = value
    for output in model.graph.output:
        output.CopyFrom(helper.make_tensor_value_info(
            output.name, element_type(kinds[output.name]),
            [None] * kinds[output.name].ndim))
    return model, feeds


def compare(one, k, got, expected):
    """None, or what is wrong."""
    if got.dtype != expected.dtype:
        return f"output {k} has type {got.dtype}, expected {expected.dtype}"
    if got.shape != expected.shape:
        return f"output {k} has extents {got.shape}, expected {expected.shape}"
    if expected.dtype.name not in TOLERANCE:
        same = got == expected
    else:
        allowed = one.tolerance or TOLERANCE[expected.dtype.name]
        a, e = got.astype(np.float64), expected.astype(np.float64)
        with np.errstate(all="ignore"):
            same = (np.abs(a - e) <= allowed * (1 + np.abs(e))) | (a == e)
        same |= np.isnan(a) & np.isnan(e)
    if one.relevant is not None:
        same |= ~one.relevant[k]
    if np.all(same):
        return None
    worst = np.unravel_index(np.argmin(same), expected.shape)
    where = tuple(int(i) for i in worst)
    return (f"output {k} at {where}: {got[worst]}, expected "
            f"{expected[worst]} ({np.size(same) - np.sum(same)} of "
            f"{np.size(same)} elements differ)")


def run_batch(cases, folder):
    """Runs cases as one model; returns the reports of those that fail."""
    model, feeds = build_model(cases)
    path = os.path.join(folder, "model.onnx")
    onnx.save(model, path)
    results = os.path.join(folder, "results")
    for i, (name, value) in enumerate(feeds.items()):
        tensor = numpy_helper.from_array(value, name)
        with open(os.path.join(folder, f"input_{i}.pb"), "wb") as file:
            file.write(tensor.SerializeToString())
    done = subprocess.run(
        [MOE_RUN, path, "--data", folder, "--output", results],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if len(cases) == 1:
            return [(cases[0], done.stderr.strip() or
                     f"moe-run ended with status {done.returncode}")]
        return None
    failures = []
    number = 0
    for one in cases:
        problem = None
        for k, expected in enumerate(one.expected):
            tensor = onnx.TensorProto()
            with open(os.path.join(results, f"output_{number}.pb"),
                      "rb") as file:
                tensor.ParseFromString(file.read())
            number += 1
            problem = problem or compare(one, k, numpy_helper.to_array(tensor),
                                         np.asarray(expected))
        if problem:
            failures.append((one, problem))
    return failures


def run(cases):
    """Runs cases together; what fails as a whole is halved."""
    with tempfile.TemporaryDirectory() as folder:
        failures = run_batch(cases, folder)
    if failures is not None:
        return failures
    half = len(cases) // 2
    return run(cases[:half]) + run(cases[half:])


def main(families=(reductions, norms, convolutions, pools, resizing)):
    for family in families:
        family()
    patterns = sys.argv[1:]
    cases = [c for c in CASES
             if not patterns or any(p in c.name for p in patterns)]
    failures = []
    ready = []
    for one in cases:
        try:
            one.expected = [np.asarray(v) for v in get_expected(one)]
            ready.append(one)
        except Exception as error:  # the oracle refuses the test's own node
            failures.append((one, f"no expected values: {error}"))
    for begin in range(0, len(ready), BATCH):
        failures += run(ready[begin:begin + BATCH])
    for one, problem in failures:
        print(f"FAILED {one.name}: {problem}")
    print(f"{len(cases) - len(failures)} passed, {len(failures)} failed")
    return 1 if failures or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
