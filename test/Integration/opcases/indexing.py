"""Gather, GatherElements, GatherND, Scatter*."""
import numpy as np
from ops import Case, make_model, single
from onnx import helper


def floats(*shape, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed + sum(shape))
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if np.dtype(dtype) == np.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    low = 0 if np.dtype(dtype).kind == "u" else -100
    return rng.integers(low, 100, shape).astype(dtype)


def indices(extent, *shape, seed=0, dtype=np.int64):
    """Any in [-extent, extent), with duplicates."""
    rng = np.random.default_rng(seed + 7 * sum(shape))
    return rng.integers(-extent, extent, shape).astype(dtype)


def distinct(extent, rows, columns, axis, seed=0):
    """Indices without duplicates along `axis`."""
    rng = np.random.default_rng(seed)
    out = np.zeros((rows, columns), np.int64)
    if axis == 0:
        for j in range(columns):
            out[:, j] = rng.permutation(extent)[:rows]
    else:
        for i in range(rows):
            out[i] = rng.permutation(extent)[:columns]
    return np.where(rng.integers(0, 2, out.shape) > 0, out, out - extent)


def gathers():
    for axis in (0, 1, -1):
        yield single(f"gather_axis{axis}", "Gather",
                     [[floats(5, 4, 6), indices(4, 3, 2)],
                      [floats(5, 4, 6), indices(4, 0, 2)],
                      [floats(6, 6, 6), indices(6, 1, 1)],
                      [floats(7, 9, 40), indices(7, 100, 3)]],
                     {"axis": axis})
    yield single("gather_rank0", "Gather",
                 [[floats(5, 4), np.int64(-2)], [floats(5, 4), np.int64(3)],
                  [floats(5, 0), np.int64(3)]])
    yield single("gather_rank0_constant", "Gather",
                 [[floats(5, 4)], [floats(3, 0)], [floats(30, 70)]],
                 {"axis": 0}, const={1: np.int64(-1)})
    yield single("gather_rank0_middle", "Gather",
                 [[floats(5, 4, 3)], [floats(3, 3, 0)]],
                 {"axis": 1}, const={1: np.int64(2)})
    yield single("gather_constant", "Gather",
                 [[floats(5, 4)], [floats(3, 9)]],
                 {"axis": 1}, const={1: np.array([0, -1, 0], np.int64)})
    yield single("gather_of_constant", "Gather",
                 [[indices(50, 7)], [indices(50, 0)], [indices(50, 64)]],
                 const={0: floats(50, 16)})
    yield single("gather_int32", "Gather",
                 [[floats(5), indices(5, 3, dtype=np.int32)]])
    for dtype in (np.float16, np.float64, np.int8, np.uint8, np.int64,
                  np.bool_):
        yield single(f"gather_{np.dtype(dtype)}", "Gather",
                     [[floats(5, 3, dtype=dtype), indices(5, 4)]])
    yield single("gather_beyond", "Gather",
                 [[floats(5, 4), np.array([0, 5], np.int64)],
                  [floats(5, 4), np.array([-6], np.int64)],
                  [floats(0, 4), np.array([0], np.int64)]],
                 error="index out of range")
    yield single("gather_beyond_constant", "Gather", [[floats(5, 4)]],
                 const={1: np.array([1, 5], np.int64)},
                 error="index out of range")

    for axis in (0, 1):
        yield single(f"gatherelements_axis{axis}", "GatherElements",
                     [[floats(5, 5), indices(5, 3, 4)],
                      [floats(5, 5), indices(5, 0, 4)],
                      [floats(5, 5), indices(5, 1, 1)]], {"axis": axis},
                     oracle="ort")
    yield single("gatherelements_3d", "GatherElements",
                 [[floats(3, 4, 5), indices(5, 3, 4, 9)]], {"axis": -1},
                 oracle="ort")
    yield single("gatherelements_beyond", "GatherElements",
                 [[floats(5, 5), np.array([[9]], np.int64)]],
                 error="index out of range")
    yield single("gatherelements_too_large", "GatherElements",
                 [[floats(5, 5), np.zeros((3, 6), np.int64)]],
                 error="exceeds the data's")

    for count in (1, 2, 3):
        yield single(f"gathernd_{count}", "GatherND",
                     [[floats(4, 4, 4), indices(4, 6, count)],
                      [floats(4, 4, 4), indices(4, 0, count)],
                      [floats(4, 4, 4), indices(4, 1, count)]],
                     fixed={1: (1,)})
    yield single("gathernd_batch1", "GatherND",
                 [[floats(3, 5, 4), indices(5, 3, 2, 1)],
                  [floats(0, 5, 4), indices(5, 0, 2, 1)]],
                 {"batch_dims": 1}, fixed={1: (2,)}, oracle="ort")
    yield single("gathernd_batch2", "GatherND",
                 [[floats(3, 2, 5), indices(5, 3, 2, 1)]],
                 {"batch_dims": 2}, fixed={1: (2,)})
    yield single("gathernd_beyond", "GatherND",
                 [[floats(4, 9), np.array([[0, 8], [5, 0]], np.int64)]],
                 fixed={1: (1,)}, error="index 0 out of range")


def scatters():
    for axis in (0, 1):
        yield single(f"scatterelements_axis{axis}", "ScatterElements",
                     [[floats(6, 6), distinct(6, 4, 3, axis), floats(4, 3)],
                      [floats(6, 6), np.zeros((0, 3), np.int64),
                       floats(0, 3)],
                      [floats(1, 1), np.zeros((1, 1), np.int64),
                       floats(1, 1)]], {"axis": axis})
    for reduction in ("add", "mul", "min", "max"):
        yield single(f"scatterelements_{reduction}", "ScatterElements",
                     [[floats(5, 4), indices(4, 5, 7), floats(5, 7)],
                      [floats(5, 4), indices(4, 1, 9), floats(1, 9)]],
                     {"axis": 1, "reduction": reduction})
        for dtype in (np.int32, np.uint8, np.float16, np.float64):
            yield single(
                f"scatterelements_{reduction}_{np.dtype(dtype)}",
                "ScatterElements",
                [[floats(5, dtype=dtype), distinct(5, 1, 4, 1)[0],
                  floats(4, dtype=dtype)]],
                {"reduction": reduction}, rtol=1e-3)

    def last_wins(data, index, updates):
        out = data.copy()
        for i, u in zip(index, updates):
            out[i] = u
        return [out]

    yield single("scatterelements_duplicates", "ScatterElements",
                 [[floats(5), np.array([1, -4, 1, 2], np.int64), floats(4)]],
                 oracle=last_wins)
    yield single("scatterelements_beyond", "ScatterElements",
                 [[floats(5), np.array([5], np.int64), floats(1)]],
                 error="index out of range")

    def nd(reduction):
        def run(data, index, updates):
            out = data.copy()
            for at in np.ndindex(index.shape[:-1]):
                to = tuple(int(i) for i in index[at])
                if reduction == "add":
                    out[to] = out[to] + updates[at]
                elif reduction == "mul":
                    out[to] = out[to] * updates[at]
                elif reduction == "min":
                    out[to] = np.minimum(out[to], updates[at])
                elif reduction == "max":
                    out[to] = np.maximum(out[to], updates[at])
                else:
                    out[to] = updates[at]
            return [out]
        return run

    for reduction in ("none", "add", "mul", "min", "max"):
        for count in (1, 2, 3):
            inner = (4, 4, 4)[count:]
            yield single(
                f"scatternd_{reduction}_{count}", "ScatterND",
                [[floats(4, 4, 4), indices(4, 9, count),
                  floats(9, *inner)],
                 [floats(4, 4, 4), indices(4, 0, count), floats(0, *inner)],
                 [floats(4, 4, 4), indices(4, 1, count), floats(1, *inner)]],
                {"reduction": reduction}, fixed={1: (1,)},
                oracle=nd(reduction))
    yield single("scatternd_rank3_index", "ScatterND",
                 [[floats(7, 5), indices(7, 2, 3, 1), floats(2, 3, 5)]],
                 {"reduction": "add"}, fixed={1: (2,)}, oracle=nd("add"))
    for dtype in (np.int64, np.uint8, np.float16, np.bool_):
        yield single(f"scatternd_{np.dtype(dtype)}", "ScatterND",
                     [[floats(7, 5, dtype=dtype), indices(7, 3, 1),
                       floats(3, 5, dtype=dtype)]],
                     fixed={1: (1,)}, oracle=nd("none"))
    yield single("scatternd_beyond", "ScatterND",
                 [[floats(7, 5), np.array([[7]], np.int64), floats(1, 5)],
                  [floats(7, 5), np.array([[-8]], np.int64), floats(1, 5)]],
                 fixed={1: (1,)}, error="index out of range")


def input_is_kept():
    """The data of a scatter is used again, and is an input."""
    nodes = [
        helper.make_node("ScatterND", ["x", "i", "u"], ["a"]),
        helper.make_node("ScatterND", ["a", "j", "u"], ["b"]),
        helper.make_node("Add", ["a", "x"], ["c"]),
        helper.make_node("Identity", ["b"], ["d"]),
    ]
    model = make_model("scatter_keeps_its_input", nodes,
                       [("x", 1, ["n", 4]), ("i", 7, ["m", 1]),
                        ("j", 7, ["m", 1]), ("u", 1, ["m", 4])], ["c", "d"])
    return Case("scatter_keeps_its_input", model,
                [[floats(5, 4), np.array([[0], [2]], np.int64),
                  np.array([[4], [2]], np.int64), floats(2, 4)]])


def mixture(experts):
    """Routing by Equal, NonZero, Gather, and ScatterND with addition."""
    width, hidden, k = 8, 16, 2
    rng = np.random.default_rng(experts)
    initializers = [
        ("router", rng.standard_normal((width, experts)).astype(np.float32)),
        ("k", np.array([k], np.int64)), ("one", np.array([1], np.int64)),
        ("first", np.int64(0)), ("zero", np.float32(0)),
    ]
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "router"], ["logits"]),
        node("TopK", ["logits", "k"], ["top", "ids"], axis=-1),
        node("Softmax", ["top"], ["weights"], axis=-1),
        node("Mul", ["x", "zero"], ["y0"]),
    ]
    for e in range(experts):
        for name, shape in (("up", (width, hidden)), ("down",
                                                      (hidden, width))):
            initializers.append(
                (f"{name}{e}",
                 rng.standard_normal(shape).astype(np.float32) / 4))
        initializers.append((f"e{e}", np.int64(e)))
        nodes += [
            node("Equal", ["ids", f"e{e}"], [f"hit{e}"]),
            node("NonZero", [f"hit{e}"], [f"at{e}"]),
            node("Gather", [f"at{e}", "first"], [f"tokens{e}"], axis=0),
            node("Transpose", [f"at{e}"], [f"places{e}"]),
            node("GatherND", ["weights", f"places{e}"], [f"w{e}"]),
            node("Gather", ["x", f"tokens{e}"], [f"xs{e}"], axis=0),
            node("MatMul", [f"xs{e}", f"up{e}"], [f"h{e}"]),
            node("Relu", [f"h{e}"], [f"r{e}"]),
            node("MatMul", [f"r{e}", f"down{e}"], [f"o{e}"]),
            node("Unsqueeze", [f"w{e}", "one"], [f"wc{e}"]),
            node("Mul", [f"o{e}", f"wc{e}"], [f"s{e}"]),
            node("Unsqueeze", [f"tokens{e}", "one"], [f"rows{e}"]),
            node("ScatterND", [f"y{e}", f"rows{e}", f"s{e}"], [f"y{e + 1}"],
                 reduction="add"),
        ]
    nodes.append(node("Identity", [f"y{experts}"], ["y"]))
    name = f"mixture_of_{experts}"
    model = make_model(name, nodes, [("x", 1, ["tokens", width])],
                       [("y", 1, ["tokens", width])], initializers)

    def oracle(x):
        table = dict(initializers)
        logits = x @ table["router"]
        ids = np.argsort(-logits, axis=1, kind="stable")[:, :k]
        top = np.take_along_axis(logits, ids, 1)
        weights = np.exp(top - top.max(1, keepdims=True, initial=-1e30))
        weights /= weights.sum(1, keepdims=True)
        y = np.zeros_like(x)
        for t in range(len(x)):
            for e, w in zip(ids[t], weights[t]):
                h = np.maximum(x[t] @ table[f"up{e}"], 0)
                y[t] += w * (h @ table[f"down{e}"])
        return [y]

    return Case(name, model,
                [[floats(n, width, seed=n)] for n in (0, 1, 3, 64, 1000)],
                oracle=oracle, rtol=1e-4, atol=1e-5)


def cases():
    yield from gathers()
    yield from scatters()
    yield input_is_kept()
    yield mixture(2)
    yield mixture(4)
