#!/usr/bin/env python3
"""Raises pools of every spelling and compares them with NumPy in float64.

usage: raise_pooling.py [--bin FOLDER] [-v] [GROUP...]

Groups: graphs (GeM, norms, mixers and pooling experts as exporters write them,
compiled and in ONNX Runtime), ops (moe.pool and moe.pool_select in all kinds and
pad modes), laws (what holds of pools: gem of power 1 is the mean, of a growing
power grows to the maximum, of a constant is that constant; a pool without
padding less its input is 0 for a constant, also at the border).

Closes with the line `N passed, N failed`; exits with 1 if anything failed.
"""
import itertools
import sys

import numpy as np
import raised
from forms.graph import FLOAT, Builder
from raised import Case
from routing import Failure, Function, run_groups

# --- the oracle -------------------------------------------------------------


def windows(x, kernel, strides, pads, fill):
    """[N, C, T..., elements of a window], padding being `fill`."""
    dims = len(kernel)
    pad = [(0, 0), (0, 0)] + [(pads[i], pads[dims + i]) for i in range(dims)]
    x = np.pad(x, pad, constant_values=fill) if fill is not None else x
    view = np.lib.stride_tricks.sliding_window_view(
        x, kernel, axis=tuple(range(2, 2 + dims)))
    view = view[(slice(None), slice(None))
                + tuple(slice(None, None, s) for s in strides)]
    return view.reshape(*view.shape[:2 + dims], -1)


def pool(x, kind, kernel=None, strides=None, pads=None, mode="exclude", p=1.0,
         eps=None, alpha=1.0, beta=0.0):
    """moe.pool, from its description."""
    x = x.astype(np.float64)
    dims = x.ndim - 2
    kernel = kernel or x.shape[2:]
    strides, pads = strides or [1] * dims, pads or [0] * 2 * dims
    source = x
    if mode in ("reflect", "edge"):
        source = np.pad(x, [(0, 0), (0, 0)] + [
            (pads[i], pads[dims + i]) for i in range(dims)], mode=mode)
        pads = [0] * 2 * dims
    w = windows(source, kernel, strides, pads, np.nan)
    if kind in ("max", "min"):
        y = np.nanmax(w, -1) if kind == "max" else np.nanmin(w, -1)
    else:
        if kind == "gem":
            w = w if eps is None else np.where(np.isnan(w), w,
                                               np.maximum(w, eps))
            w = w ** p
        elif kind == "lp":
            w = np.abs(w) ** p
        total = np.nansum(w, -1)
        count = (~np.isnan(w)).sum(-1) if mode != "zero" else w.shape[-1]
        y = total if kind == "lp" else total / count
        y = y if kind == "avg" else y ** (1 / p)
    return alpha * y + (beta * x if beta else 0)


# --- graphs of exporters ------------------------------------------------------


def maps(seed, *shape, low=-1.0, high=1.5):
    rng = np.random.default_rng([seed, *shape])
    return rng.uniform(low, high, shape).astype(np.float32)


def start(writer, opset, seed, dims):
    b = Builder(writer, opset, seed)
    x = b.input(FLOAT, ["n", *dims])
    return b, x


def power(b, x, exponent, learned):
    """A power that is a weight (of one element) or a constant."""
    if learned:
        return b.op("Pow", x, b.weight(np.array([exponent], np.float32)))
    return b.op("Pow", x, b.float(exponent))


def gem_case(writer, opset, p, dims, mean, eps, learned):
    channels, *space = dims
    b, x = start(writer, opset, int(p * 10), dims)
    v = x
    if eps == "clip":
        v = b.op("Clip", x, b.float(1e-3))
    elif eps == "max":
        v = b.op("Max", b.float(1e-3), x)
    v = power(b, v, p, learned)
    axes = list(range(2, 2 + len(space)))
    if mean == "pool":
        v = b.op("AveragePool", v, kernel_shape=space, strides=space)
    elif mean == "global":
        v = b.op("GlobalAveragePool", v)
    elif mean == "windows":
        v = b.op("AveragePool", v, kernel_shape=[2] * len(space),
                 strides=[2] * len(space))
    elif mean == "padded":
        v = b.op("AveragePool", v, kernel_shape=[3] * len(space),
                 pads=[1] * 2 * len(space), count_include_pad=1)
    else:
        v = b.reduce("ReduceMean", v, axes, 1 if mean == "mean" else 0)
    if learned and b.torchscript:
        one = b.op("Reciprocal", b.weight(np.array([p], np.float32)))
        y = b.op("Pow", v, b.op("Mul", one, b.float(1.0)))
    else:
        y = power(b, v, np.float32(1) / np.float32(p), learned)
    rank = 2 if mean == "flat" else 2 + len(space)
    b.output(y, FLOAT, ["n", channels] + [None] * (rank - 2))
    low = -1.0 if eps else 0.1
    data = []
    for n in (1, 3):
        value = maps(n, n, *dims, low=low)
        options = {"kind": "gem", "p": float(np.float32(p)),
                   "eps": 1e-3 if eps else None}
        if mean == "windows":
            options |= {"kernel": [2] * len(space), "strides": [2] * len(space)}
        if mean == "padded":
            options |= {"kernel": [3] * len(space), "mode": "zero",
                        "pads": [1] * 2 * len(space)}
        want = pool(value, **options)
        data.append(([value], [want.reshape(n, channels) if mean == "flat"
                               else want]))
    name = (f"gem p {p} {mean} {eps or 'no limit'} {writer} opset {opset}"
            + (" learned" if learned else ""))
    return Case(name, b.model(), {"pool": 1}, ["Pow", "AveragePool",
                                               "ReduceMean", "Clip", "Max",
                                               "GlobalAveragePool"], data)


def norm_case(writer, opset, p, dims, kernel, strides, relu):
    """torch.nn.LPPool."""
    channels, *space = dims
    b, x = start(writer, opset, p, dims)
    v = b.op("Relu", x) if relu else x
    a = b.op("AveragePool", power(b, v, float(p), False), kernel_shape=kernel,
             strides=strides)
    v = b.op("Mul", b.op("Sign", a), b.op("Relu", b.op("Abs", a)))
    v = b.op("Mul", v, b.float(float(np.prod(kernel))))
    y = power(b, v, 1 / p, False)
    b.output(y, FLOAT, ["n", channels] + [None] * len(space))
    data = []
    for n in (1, 4):
        value = maps(n, n, *dims)
        seen = np.maximum(value, 0) if relu else value
        data.append(([value], [pool(seen, "lp", kernel, strides, p=float(p))]))
    return Case(f"norm p {p} {writer} opset {opset}", b.model(), {"pool": 1},
                ["Pow", "AveragePool", "Sign"], data)


def mixer_case(writer, opset, dims, kernel, turned, free):
    channels, *space = dims
    b = Builder(writer, opset, kernel)
    extents = ["h", "w"] if free else space
    x = b.input(FLOAT, ["n", channels, *extents])
    half = kernel // 2
    a = b.op("AveragePool", x, kernel_shape=[kernel] * 2, strides=[1, 1],
             pads=[half] * 4, count_include_pad=0)
    y = b.op("Sub", x, a) if turned else b.op("Sub", a, x)
    b.output(y, FLOAT, ["n", channels, *extents])
    data = []
    for n, grow in ((1, 0), (2, 3)):
        shape = [e + grow for e in space] if free else space
        value = maps(n, n, channels, *shape)
        want = pool(value, "avg", [kernel] * 2, pads=[half] * 4,
                    alpha=-1.0 if turned else 1.0, beta=1.0 if turned else -1.0)
        data.append(([value], [want]))
    return Case(f"mixer {kernel} {writer} opset {opset}"
                + (" turned" if turned else "") + (" free" if free else ""),
                b.model(), {"pool": 1}, ["AveragePool", "Sub"], data)


def regional_case(writer, opset):
    """rGeM of SuperGlobal, with zeros for its reflection: half a gem of
    neighbours, half the place itself."""
    b, x = start(writer, opset, 5, [6, 9, 11])
    x = b.op("Relu", x)
    v = power(b, x, 2.5, False)
    v = b.op("AveragePool", v, kernel_shape=[5, 5], pads=[2] * 4,
             count_include_pad=0)
    v = b.op("Mul", power(b, v, 0.4, False), b.float(0.5))
    y = b.op("Add", b.op("Mul", b.float(0.5), x), v)
    b.output(y, FLOAT, ["n", 6, 9, 11])
    value = maps(7, 2, 6, 9, 11)
    seen = np.maximum(value, 0)
    want = pool(seen, "gem", [5, 5], pads=[2] * 4, p=2.5, alpha=0.5) + seen / 2
    return Case(f"regional gem {writer} opset {opset}", b.model(), {"pool": 1},
                ["Pow", "AveragePool"], [([value], [want])])


def choice_case(writer, opset, axis):
    b, x = start(writer, opset, 9 + axis, [5, 8, 6])
    gate = np.random.default_rng(3).standard_normal((5, 3)).astype(np.float32)
    pools = [b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]),
             b.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]),
             b.op("AveragePool", x, kernel_shape=[4, 4], strides=[2, 2],
                  pads=[1] * 4)]
    stack = b.op("Concat", *[b.unsqueeze(p, axis) for p in pools], axis=axis)
    means = b.reduce("ReduceMean", x, [2, 3], 0)
    best = b.op("ArgMax", b.op("MatMul", means, b.weight(gate)), axis=-1,
                keepdims=0)
    count = b.op("Squeeze", b.size(x, 0))
    numbers = b.op("Range", b.int(0), count, b.int(1))
    at = [b.unsqueeze(numbers, -1), b.unsqueeze(best, -1)]
    if axis == 0:
        at.reverse()
    y = b.op("GatherND", stack, b.op("Concat", *at, axis=-1))
    b.output(y, FLOAT, ["n", 5, 4, 3])
    data = []
    for n in (1, 6):
        value = maps(n, n, 5, 8, 6)
        want = [pool(value, "max", [2, 2], [2, 2]),
                pool(value, "avg", [2, 2], [2, 2]),
                pool(value, "avg", [4, 4], [2, 2], [1] * 4)]
        scores = value.astype(float).mean((2, 3)) @ gate
        if np.diff(np.sort(scores, 1))[:, -1].min() < 1e-4:
            raise Failure("these inputs are too close to a tie")
        e = scores.argmax(1)
        data.append(([value], [np.stack(want)[e, np.arange(n)]]))
    return Case(f"choice of pools, axis {axis} {writer} opset {opset}",
                b.model(), {"pool_select": 1},
                ["MaxPool", "AveragePool", "GatherND"], data)


def graph_cases():
    two = ["torchscript", "dynamo"]
    for writer, (mean, eps, p) in itertools.product(two, [
            ("pool", "clip", 3.0), ("global", "clip", 4.6), ("mean", "max", 2.5),
            ("flat", None, 0.37), ("windows", "clip", -1.5),
            ("padded", "clip", 3.0)]):
        opset = 13 if writer == "torchscript" else 20
        dims = [7, 6, 4] if mean != "mean" else [5, 9]
        yield gem_case(writer, opset, p, dims, mean, eps, p != 4.6)
    for writer in two:
        opset = 17 if writer == "torchscript" else 18
        yield norm_case(writer, opset, 2, [3, 8, 9], [3, 2], [2, 2], False)
        yield norm_case(writer, opset, 3, [3, 11], [4], [3], True)
        yield mixer_case(writer, opset, [6, 7, 5], 3, False, False)
        yield mixer_case(writer, opset, [6, 7, 9], 5, False, True)
        yield mixer_case(writer, opset, [2, 4, 4], 3, True, False)
        yield choice_case(writer, opset, 0)
        yield choice_case(writer, opset, 1)
    yield regional_case("dynamo", 18)


def check_graphs(tools, report):
    for case in graph_cases():
        raised.check(tools, report, case, "--moe-raise-pooling")


# --- ops ----------------------------------------------------------------------

SHAPE = [3, 4, 9, 7]


def text_of(kind, kernel=None, strides=None, pads=None, mode="exclude", p=1.0,
            eps=None):
    fields = [f"kind = {kind}"]
    for name, value in (("kernel", kernel), ("strides", strides),
                        ("pads", pads)):
        fields += [f"{name} = {list(value)}"] if value else []
    fields += [f"pad_mode = {mode}"] if mode != "exclude" else []
    fields += [f"p = {p:.17e}"] if kind in ("gem", "lp") else []
    fields += [f"eps = {eps:.17e}"] if eps is not None else []
    return f"#moe.pooling<{', '.join(fields)}>"


def settings():
    for kind in ("avg", "max", "min", "gem", "lp"):
        p = {"gem": 3.0, "lp": 2.0}.get(kind, 1.0)
        yield {"kind": kind, "p": p}
        yield {"kind": kind, "p": p, "kernel": [3, 2], "strides": [2, 3]}
        for mode in ("exclude", "zero", "reflect", "edge"):
            if mode != "zero" or kind not in ("max", "min"):
                yield {"kind": kind, "p": p, "kernel": [3, 3],
                       "pads": [1, 0, 1, 2], "mode": mode}
    yield {"kind": "lp", "p": 1.7, "kernel": [2, 2]}
    yield {"kind": "lp", "p": 2.3}
    yield {"kind": "gem", "p": -2.0, "eps": 0.25}
    yield {"kind": "gem", "p": 6.5, "eps": 0.5, "kernel": [2, 4]}


def result_type(options, element, first="?"):
    dims = len(SHAPE) - 2
    kernel = options.get("kernel") or SHAPE[2:]
    strides = options.get("strides") or [1] * dims
    pads = options.get("pads") or [0] * 2 * dims
    out = [(SHAPE[2 + i] + pads[i] + pads[dims + i] - kernel[i]) // strides[i]
           + 1 for i in range(dims)]
    return "tensor<" + "x".join(map(str, [first, SHAPE[1], *out, element])) + ">"


def check_ops(tools, report):
    for element, tolerance in (("f32", 3e-5), ("f64", 1e-12), ("f16", 4e-3),
                               ("bf16", 3e-2)):
        x = f"tensor<?x{'x'.join(map(str, SHAPE[1:]))}x{element}>"
        lines, outputs, wanted = [], {}, []
        for i, options in enumerate(settings()):
            mixed = i % 5 == 2 and result_type(options, element) == x
            scale = ", alpha = 0.5, beta = 2.0" if mixed else ""
            kind = result_type(options, element)
            lines.append(f"%y{i} = moe.pool %x {{pooling = {text_of(**options)}"
                         f"{scale}}} : {x} -> {kind}")
            outputs[f"y{i}"] = kind
            wanted.append(dict(options, **({"alpha": 0.5, "beta": 2.0}
                                           if mixed else {})))
        if element == "bf16":
            # NumPy has no such numbers: through f32 on both sides.
            wide = x.replace("bf16", "f32")
            lines = [f"%x = onnx.Cast(%given) {{to = 16 : i64}} : ({wide}) -> "
                     f"{x}"] + lines + [
                f"%w{i} = onnx.Cast(%y{i}) {{to = 1 : i64}} : ({t}) -> "
                f"{t.replace('bf16', 'f32')}"
                for i, t in enumerate(outputs.values())]
            outputs = {f"w{i}": t.replace("bf16", "f32")
                       for i, t in enumerate(outputs.values())}
            inputs = {"given": wide}
        else:
            inputs = {"x": x}
        function = Function(tools, f"ops_{element}", inputs, lines, outputs)
        value = maps(1, *SHAPE, low=0.1)
        value = value.astype({"f64": np.float64, "f16": np.float16}.get(
            element, np.float32))
        runners = []
        with report.check(f"ops {element}: compile"):
            function.compile()
            runners.append(("compiled", function.run))
        if element == "f32":
            # ONNX Runtime lacks pools of other floats.
            with report.check(f"ops {element}: are written as ONNX"):
                runners.append(("in ONNX Runtime", function.export()))
        for what, runner in runners:
            results = None
            with report.check(f"ops {element} {what}: run"):
                results = list(runner({next(iter(inputs)): value}).values())
            for options, got in zip(wanted, results or []):
                with report.check(f"ops {element} {what}: {options}"):
                    want = pool(value, **options)
                    if not np.allclose(got.astype(float), want, tolerance,
                                       tolerance):
                        worst = np.abs(got - want).max()
                        raise Failure(f"differs by {worst}")


# --- laws ---------------------------------------------------------------------


def check_laws(tools, report):
    x = "tensor<?x4x9x7xf32>"
    powers = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    around = "kernel = [3, 3], pads = [1, 1, 1, 1]"
    one = "tensor<?x4x1x1xf32>"
    lines = [f"%g{i} = moe.pool %x {{pooling = #moe.pooling<kind = gem, p = "
             f"{p}, eps = 1.0e-6>}} : {x} -> {one}"
             for i, p in enumerate(powers)]
    lines += [f"%{kind} = moe.pool %x {{pooling = #moe.pooling<kind = {kind}>}}"
              f" : {x} -> {one}" for kind in ("avg", "max", "min")]
    lines += [f"%d{i} = moe.pool %x {{pooling = #moe.pooling<kind = {kind}, "
              f"{around}>, beta = -1.0}} : {x} -> {x}"
              for i, kind in enumerate(("avg", "max", "min", "gem"))]
    outputs = {f"g{i}": one for i in range(len(powers))}
    outputs |= {kind: one for kind in ("avg", "max", "min")}
    outputs |= {f"d{i}": x for i in range(4)}
    function = Function(tools, "laws", {"x": x}, lines, outputs)
    with report.check("laws: compile"):
        function.compile()
    results = function.run({"x": maps(1, 5, 4, 9, 7, low=0.1)})
    with report.check("gem of power 1 is the mean"):
        if not np.allclose(results["g0"], results["avg"], 1e-6):
            raise Failure("it is not")
    with report.check("gem grows with its power, up to the maximum"):
        steps = [results[f"g{i}"] for i in range(len(powers))]
        steps.append(results["max"])
        if any((after < before * (1 - 1e-5)).any()
               for before, after in itertools.pairwise(steps)):
            raise Failure("it does not")
        if not np.allclose(steps[-2], steps[-1], 0.2):
            raise Failure("it is far from the maximum")
    constant = np.full((2, 4, 9, 7), 0.75, np.float32)
    results = function.run({"x": constant})
    for name in ("g3", "avg", "max", "min"):
        with report.check(f"{name} of a constant is the constant"):
            if not np.allclose(results[name], 0.75, 1e-5):
                raise Failure("it is not")
    for i in range(4):
        with report.check(f"pool #{i} of a constant less it is 0 everywhere"):
            if np.abs(results[f"d{i}"]).max() > 1e-6:
                raise Failure(f"{np.abs(results[f'd{i}']).max()}")


GROUPS = {"graphs": check_graphs,
          "ops": check_ops,
          "laws": check_laws}


if __name__ == "__main__":
    sys.exit(run_groups(__doc__, GROUPS))
