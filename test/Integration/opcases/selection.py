"""TopK, ArgMax, ArgMin, Unique, NonZero, Compress, CumSum, OneHot, Trilu,
ReverseSequence."""
import numpy as np
from ops import single
from opcases.indexing import floats

NAN = np.float32("nan")


def ties(*shape, seed=0, dtype=np.float32):
    """Few different values, so many are equal."""
    rng = np.random.default_rng(seed + sum(shape))
    low = 0 if np.dtype(dtype).kind == "u" else -2
    return rng.integers(low, 3, shape).astype(dtype)


def topk(largest, axis, count):
    """Equal elements by their positions; NaN is the greatest."""
    def run(data, *rest):
        k = int(rest[0][0]) if rest else count
        keys = data.astype(np.float64 if data.dtype.kind == "f" else object)
        place = np.arange(data.shape[axis])
        out = []
        moved = np.moveaxis(keys, axis, -1)
        ids = np.empty(moved.shape[:-1] + (k,), np.int64)
        for row in np.ndindex(moved.shape[:-1]):
            def key(i):
                v = moved[row][i]
                nan = data.dtype.kind == "f" and v != v
                v = 0 if nan else v
                return (not nan, -v, i) if largest else (nan, v, i)
            ids[row] = sorted(place, key=key)[:k]
        ids = np.moveaxis(ids, -1, axis)
        out = [np.take_along_axis(data, ids, axis), ids]
        return out
    return run


def top_cases():
    for largest in (1, 0):
        for axis in (-1, 0, 1):
            size = 5
            yield single(f"topk_largest{largest}_axis{axis}", "TopK",
                         [[floats(7, 6, 8)], [ties(7, 6, 8)],
                          [ties(5, 5, 5)],
                          [ties(0, 9, 9) if axis else ties(5, 0, 9)]],
                         {"largest": largest, "axis": axis},
                         const={1: np.array([size], np.int64)}, outputs=2,
                         oracle=topk(largest, axis, size))
        yield single(f"topk_all_largest{largest}", "TopK",
                     [[ties(3, 1000)]], {"largest": largest},
                     const={1: np.array([1000], np.int64)}, outputs=2,
                     oracle=topk(largest, -1, 1000))
        yield single(f"topk_many_largest{largest}", "TopK",
                     [[ties(3, 200)], [floats(2, 65)], [floats(0, 65)]],
                     {"largest": largest},
                     const={1: np.array([65], np.int64)}, outputs=2,
                     oracle=topk(largest, -1, 65))
        k = [np.array([n], np.int64) for n in (0, 1, 4, 64, 90)]
        yield single(f"topk_runtime_largest{largest}", "TopK",
                     [[ties(3, 90), n] for n in k] +
                     [[floats(3, 0), k[0]], [floats(0, 4), k[1]]],
                     {"largest": largest}, outputs=2, fixed={1: (0,)},
                     oracle=topk(largest, -1, None))
        special = np.array([[1, NAN, 3, -np.inf, NAN, np.inf, -0.0, 0.0]],
                           np.float32)
        yield single(f"topk_nan_largest{largest}", "TopK", [[special]],
                     {"largest": largest},
                     const={1: np.array([6], np.int64)}, outputs=2,
                     oracle=topk(largest, -1, 6))
        yield single(f"topk_nan_sorted_all_largest{largest}", "TopK",
                     [[np.tile(special, (2, 20))]], {"largest": largest},
                     const={1: np.array([160], np.int64)}, outputs=2,
                     oracle=topk(largest, -1, 160))
    yield single("topk_none", "TopK", [[floats(3, 4)], [floats(3, 0)]],
                 const={1: np.array([0], np.int64)}, outputs=2,
                 oracle=topk(1, -1, 0))
    for dtype in (np.float16, np.float64, np.int8, np.int64, np.uint8,
                  np.uint64):
        yield single(f"topk_{np.dtype(dtype)}", "TopK",
                     [[ties(4, 9, dtype=dtype)],
                      [np.array([[0, 255, 127, 128, 1]]).astype(dtype)]],
                     const={1: np.array([4], np.int64)}, outputs=2,
                     oracle=topk(1, -1, 4), opset=24)
    yield single("topk_too_many", "TopK", [[floats(3, 4)]],
                 const={1: np.array([5], np.int64)}, outputs=2,
                 error="k exceeds the extent")
    yield single("topk_negative", "TopK",
                 [[floats(3, 4), np.array([-1], np.int64)]], outputs=2,
                 fixed={1: (0,)}, error="k is negative")


def argument_cases():
    for kind in ("ArgMax", "ArgMin"):
        for axis in (0, 1, -1):
            for keep in (0, 1):
                yield single(f"{kind}_axis{axis}_keep{keep}", kind,
                             [[floats(4, 5, 6)], [ties(4, 5, 6)],
                              [ties(1, 1, 1)], [ties(4, 5, 40)]],
                             {"axis": axis, "keepdims": keep})
        yield single(f"{kind}_last", kind, [[ties(4, 50)], [ties(1, 1)],
                                            [ties(0, 3)]],
                     {"axis": 1, "select_last_index": 1})
        yield single(f"{kind}_vector", kind, [[ties(9)]], {"keepdims": 0})
        for dtype in (np.float16, np.float64, np.int8, np.uint8, np.int64):
            yield single(f"{kind}_{np.dtype(dtype)}", kind,
                         [[floats(40, 3, dtype=dtype)],
                          [np.array([[0], [255], [127], [128]]).astype(dtype)]
                          ])
        nan = np.array([1, NAN, 3, NAN, -np.inf, np.inf], np.float32)
        yield single(f"{kind}_nan", kind, [[nan]])
        yield single(f"{kind}_infinite", kind,
                     [[np.full(3, -np.inf, np.float32)],
                      [np.full(3, np.inf, np.float32)]])
        yield single(f"{kind}_of_none", kind, [[floats(0, 3)]],
                     error="there is no element to choose")


def unique_cases():
    every = [True] * 4
    for is_sorted in (0, 1):
        attrs = {"sorted": is_sorted}
        yield single(f"unique_flat_sorted{is_sorted}", "Unique",
                     [[ties(4, 9)], [floats(50)[None]], [ties(1, 1)]],
                     attrs, outputs=every, oracle="ort")
        for axis in (0, 1, -1):
            yield single(f"unique_axis{axis}_sorted{is_sorted}", "Unique",
                         [[ties(30, 3, 2)], [ties(2, 40, 2)],
                          [ties(1, 1, 30)]], {**attrs, "axis": axis},
                         outputs=every, oracle="ort")
    yield single("unique_values", "Unique", [[ties(3, 8)], [ties(0, 8)]],
                 oracle=lambda x: [np.unique(x)])
    yield single("unique_counts", "Unique",
                 [[ties(30, dtype=np.int64)]],
                 outputs=[True, False, False, True])
    yield single("unique_int8", "Unique", [[ties(30, dtype=np.int8)]],
                 outputs=every)


def nonzero(x):
    if x.ndim == 0:
        return [np.zeros((0, int(x != 0)), np.int64)]
    return [np.array(np.nonzero(x)).astype(np.int64).reshape(x.ndim, -1)]


def position_cases():
    for rank, shapes in ((1, [(9,), (0,), (1,), (1000,)]),
                         (2, [(4, 5), (0, 3), (3, 0), (64, 100)]),
                         (3, [(2, 3, 4), (1, 1, 1)])):
        yield single(f"nonzero_{rank}d", "NonZero",
                     [[ties(*shape)] for shape in shapes] +
                     [[np.zeros((3,) * rank, np.float32)]], oracle=nonzero)
    for dtype in (np.bool_, np.int64, np.uint8, np.float16):
        yield single(f"nonzero_{np.dtype(dtype)}", "NonZero",
                     [[ties(5, 6, dtype=dtype)]], oracle=nonzero)
    yield single("nonzero_special", "NonZero",
                 [[np.array([NAN, -0.0, 0, np.inf, 1e-45], np.float32)]],
                 oracle=nonzero)

    flags = [np.array([1, 0, 1, 1, 0], bool), np.zeros(5, bool),
             np.ones(3, bool), np.zeros(0, bool),
             np.array([0, 1, 0, 0, 1, 0, 0], bool)]
    for axis in (0, 1, -1):
        yield single(f"compress_axis{axis}", "Compress",
                     [[floats(5, 5, 5), f] for f in flags[:4]] +
                     [[floats(5, 5, 5), flags[4]]], {"axis": axis})
    yield single("compress_flat", "Compress",
                 [[floats(2, 4), f] for f in flags] +
                 [[floats(0, 4), flags[3]]])

    def sums(exclusive, reverse):
        def run(x, axis):
            axis = int(np.asarray(axis).reshape(-1)[0])
            y = np.flip(x, axis) if reverse else x
            out = np.cumsum(y, axis, dtype=x.dtype)
            if exclusive:
                out = out - y
            return [np.flip(out, axis) if reverse else out]
        return run

    for exclusive in (0, 1):
        for reverse in (0, 1):
            for axis in (0, 1, -1):
                yield single(
                    f"cumsum_{exclusive}{reverse}_axis{axis}", "CumSum",
                    [[floats(4, 5, 6)], [floats(0, 3, 2)], [floats(1, 1, 9)]],
                    {"exclusive": exclusive, "reverse": reverse},
                    const={1: np.int64(axis)}, atol=1e-5,
                    oracle=lambda x, f=sums(exclusive, reverse), a=axis:
                        f(x, a))
            yield single(f"cumsum_{exclusive}{reverse}_runtime", "CumSum",
                         [[floats(4, 5, 6), np.int64(a)]
                          for a in (0, 1, 2, -1, -3)],
                         {"exclusive": exclusive, "reverse": reverse},
                         oracle=sums(exclusive, reverse), atol=1e-5)
    for dtype in (np.int32, np.int64, np.float64, np.float16):
        yield single(f"cumsum_{np.dtype(dtype)}", "CumSum",
                     [[floats(9, dtype=dtype)]], const={1: np.int64(0)},
                     oracle=lambda x: [np.cumsum(x, dtype=x.dtype)],
                     rtol=1e-2, atol=1e-2)
    yield single("cumsum_axis_beyond", "CumSum", [[floats(4), np.int64(1)]],
                 error="axis out of range")

    def onehot(axis, count=None):
        def run(indices, *rest):
            depth = count if count else int(np.asarray(rest[0]).reshape(-1)[0])
            off, on = rest[-1]
            axis_ = axis % (indices.ndim + 1)
            place = np.arange(depth).reshape(
                (-1,) + (1,) * (indices.ndim - axis_))
            index = np.expand_dims(indices.astype(np.float64), axis_)
            hot = (index == place) | (index + depth == place)
            return [np.where(hot, on, off).astype(rest[-1].dtype)]
        return run

    values = np.array([2, 5], np.float32)
    wanted = [np.array([[0, 3, -1], [4, 9, -9]], np.int64),
              np.zeros((0, 2), np.int64)]
    for axis in (-1, 0, 1):
        yield single(f"onehot_axis{axis}", "OneHot",
                     [[i, values] for i in wanted], {"axis": axis},
                     const={1: np.array([4], np.int64)},
                     oracle=onehot(axis, 4))
        yield single(f"onehot_runtime_axis{axis}", "OneHot",
                     [[wanted[0], np.int64(n), values] for n in (0, 1, 6)],
                     {"axis": axis}, oracle=onehot(axis))
    for index in (np.int32, np.uint8, np.float32, np.float64):
        for kind in (np.int64, np.bool_):
            yield single(
                f"onehot_{np.dtype(index)}_{np.dtype(kind)}", "OneHot",
                [[np.array([1, 0, 3, 9, 250]).astype(index), np.float32(5),
                  np.array([0, 1]).astype(kind)]], oracle=onehot(-1))
    yield single("onehot_negative_depth", "OneHot",
                 [[wanted[0], np.int64(-2), values]],
                 error="depth is negative")

    for upper in (0, 1):
        yield single(f"trilu_{upper}", "Trilu",
                     [[floats(4, 5)], [floats(5, 4)], [floats(0, 3)]],
                     {"upper": upper})
        yield single(f"trilu_k_{upper}", "Trilu",
                     [[floats(2, 4, 5), np.int64(n)]
                      for n in (0, 1, -1, 3, -9, 9, 2**63 - 1, -2**63)],
                     {"upper": upper},
                     oracle=lambda x, n, f=(np.triu if upper else np.tril):
                         [f(x, max(-99, min(99, int(n))))])
    yield single("trilu_bool", "Trilu", [[np.ones((3, 3), bool)]],
                 const={1: np.int64(1)}, oracle=lambda x: [np.triu(x, 1)])

    lengths = np.array([3, 1, 5, 0], np.int64)
    yield single("reversesequence_time0", "ReverseSequence",
                 [[floats(5, 4, 3), lengths], [floats(5, 0), lengths[:0]]][:1],
                 {"time_axis": 0, "batch_axis": 1},
                 oracle=reverse_sequences(0))
    yield single("reversesequence_time1", "ReverseSequence",
                 [[floats(4, 5), lengths], [floats(0, 5), lengths[:0]]],
                 {"time_axis": 1, "batch_axis": 0},
                 oracle=reverse_sequences(1))
    yield single("reversesequence_too_long", "ReverseSequence",
                 [[floats(5, 2), np.array([1, 6], np.int64)]],
                 error="a sequence is longer")


def reverse_sequences(time):
    def run(x, lengths):
        out = x.copy()
        for b, n in enumerate(lengths):
            if time == 0:
                out[:n, b] = x[:n, b][::-1]
            else:
                out[b, :n] = x[b, :n][::-1]
        return [out]
    return run


def cases():
    yield from top_cases()
    yield from argument_cases()
    yield from unique_cases()
    yield from position_cases()
