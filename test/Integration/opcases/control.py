"""If, Loop, Scan."""
import numpy as np
from ops import Case, make_model
from opcases.indexing import floats
from onnx import TensorProto, helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node


def value(name, kind, *dims):
    return helper.make_tensor_value_info(name, kind, list(dims))


def body(name, nodes, inputs, outputs):
    return helper.make_graph(nodes, name, inputs, outputs)


def case(name, nodes, inputs, outputs, variants, initializers=(), **options):
    model = make_model(name, nodes, inputs, outputs, initializers)
    return Case(name, model, [[np.asarray(a) for a in v] for v in variants],
                **options)


def conditionals():
    double = body("then", [node("Add", ["x", "x"], ["t"])], [],
                  [value("t", FLOAT, "n", 3)])
    negate = body("else", [node("Neg", ["x"], ["e"])], [],
                  [value("e", FLOAT, "n", 3)])
    branch = node("If", ["c"], ["y"], then_branch=double, else_branch=negate)
    yield case("if", [branch], [("c", BOOL, []), ("x", FLOAT, ["n", 3])],
               ["y"], [[np.bool_(c), floats(n, 3)]
                       for c in (True, False) for n in (2, 0)])
    for flag in (True, False):
        yield case(f"if_known_{flag}", [branch], [("x", FLOAT, ["n", 3])],
                   ["y"], [[floats(4, 3)]], [("c", np.bool_(flag))])
    # The branches give different extents, which depend on the data.
    some = body("then", [node("NonZero", ["x"], ["t"])], [],
                [value("t", INT64, 1, "a")])
    none = body("else", [node("Constant", [], ["e"], value_ints=[7]),
                         node("Unsqueeze", ["e", "zero"], ["f"])], [],
                [value("f", INT64, 1, 1)])
    yield case("if_extents",
               [node("If", ["c"], ["y"], then_branch=some, else_branch=none)],
               [("c", BOOL, []), ("x", FLOAT, ["n"])],
               [("y", INT64, [1, "m"])],
               [[np.bool_(True), np.array([0, 1, 2, 0], np.float32)],
                [np.bool_(True), np.zeros(3, np.float32)],
                [np.bool_(False), np.zeros(3, np.float32)]],
               [("zero", np.array([0], np.int64))])


def loops():
    # y = y + x, with each y and i shown.
    add = body("add", [node("Identity", ["c"], ["d"]),
                       node("Add", ["s", "x"], ["u"]),
                       node("Identity", ["u"], ["show"]),
                       node("Mul", ["i", "i"], ["square"])],
               [value("i", INT64), value("c", BOOL), value("s", FLOAT, "n")],
               [value("d", BOOL), value("u", FLOAT, "n"),
                value("show", FLOAT, "n"), value("square", INT64)])
    outputs = [("y", FLOAT, ["n"]), ("all", FLOAT, ["m", "n"]),
               ("squares", INT64, ["m"])]
    names = [name for name, _, _ in outputs]
    inputs = [("m", INT64, []), ("x", FLOAT, ["n"])]
    variants = [[np.int64(m), floats(n)] for m, n in
                ((3, 4), (1, 2), (9, 5))]

    def sums(m, x):
        y, rows = x.copy(), []
        for _ in range(int(m)):
            y = y + x
            rows.append(y)
        return [y, np.array(rows, np.float32).reshape(int(m), -1),
                np.arange(int(m), dtype=np.int64) ** 2]

    yield case("loop_count", [node("Loop", ["m", "", "x"], names, body=add)],
               inputs, outputs, variants, oracle=sums)
    yield case("loop_count_condition",
               [node("Loop", ["m", "yes", "x"], names, body=add)], inputs,
               outputs, variants, [("yes", np.bool_(True))], oracle=sums)

    # Doubles while the sum stays below a limit.
    grow = body("grow", [node("Add", ["s", "s"], ["u"]),
                         node("ReduceSum", ["u"], ["total"], keepdims=0),
                         node("Less", ["total", "limit"], ["go"]),
                         node("Identity", ["u"], ["show"])],
                [value("i", INT64), value("c", BOOL), value("s", FLOAT, "n")],
                [value("go", BOOL), value("u", FLOAT, "n"),
                 value("show", FLOAT, "n")])

    def doubling(limit, x, most=None):
        y, rows = x.copy(), []
        while most is None or len(rows) < most:
            y = y + y
            rows.append(y)
            if not y.sum() < limit:
                break
        return [y, np.array(rows, np.float32).reshape(len(rows), -1)]

    inputs = [("limit", FLOAT, []), ("x", FLOAT, ["n"])]
    outputs = [("y", FLOAT, ["n"]), ("all", FLOAT, ["m", "n"])]
    variants = [[np.float32(limit), np.ones(n, np.float32)]
                for limit, n in ((100, 3), (1, 2), (1e6, 1))]
    yield case("loop_while",
               [node("Loop", ["", "yes", "x"], ["y", "all"], body=grow)],
               inputs, outputs, variants, [("yes", np.bool_(True))],
               oracle=doubling)
    yield case("loop_both",
               [node("Loop", ["four", "yes", "x"], ["y", "all"], body=grow)],
               inputs, outputs, variants,
               [("yes", np.bool_(True)), ("four", np.int64(4))],
               oracle=lambda limit, x: doubling(limit, x, 4))
    # A carried value that becomes longer.
    longer = body("longer", [node("Identity", ["c"], ["d"]),
                             node("Concat", ["s", "x"], ["u"], axis=0)],
                  [value("i", INT64), value("c", BOOL),
                   value("s", FLOAT, "k")],
                  [value("d", BOOL), value("u", FLOAT, "l")])
    yield case("loop_longer",
               [node("Loop", ["m", "", "x"], ["y"], body=longer)],
               [("m", INT64, []), ("x", FLOAT, ["n"])],
               [("y", FLOAT, ["p"])],
               [[np.int64(m), floats(n)] for m, n in ((3, 2), (0, 4))],
               oracle=lambda m, x: [np.tile(x, int(m) + 1)])


def scans():
    add = body("add", [node("Add", ["s", "e"], ["u"]),
                       node("Mul", ["u", "e"], ["show"])],
               [value("s", FLOAT, "n"), value("e", FLOAT, "n")],
               [value("u", FLOAT, "n"), value("show", FLOAT, "n")])
    inputs = [("s", FLOAT, ["n"]), ("x", FLOAT, ["t", "n"])]
    outputs = [("y", FLOAT, ["n"]), ("all", FLOAT, ["t", "n"])]
    variants = [[floats(n), floats(t, n)] for t, n in ((5, 3), (1, 1))]
    yield case("scan", [node("Scan", ["s", "x"], ["y", "all"], body=add,
                             num_scan_inputs=1)], inputs, outputs, variants)

    def back(s, x):
        u, rows = s.copy(), []
        for e in x[::-1]:
            u = u + e
            rows.append(u * e)
        return [u, np.stack(rows[::-1], 1)]

    yield case("scan_backward",
               [node("Scan", ["s", "x"], ["y", "all"], body=add,
                     num_scan_inputs=1, scan_input_directions=[1],
                     scan_output_directions=[1], scan_output_axes=[1])],
               inputs, [outputs[0], ("all", FLOAT, ["n", "t"])], variants,
               oracle=back)
    yield case("scan_columns",
               [node("Transpose", ["x"], ["xt"]),
                node("Scan", ["s", "xt"], ["y", "all"], body=add,
                     num_scan_inputs=1, scan_input_axes=[1])],
               inputs, outputs, variants,
               oracle=lambda s, x: [
                   s + x.sum(0), (s + np.cumsum(x, 0)) * x])


def cases():
    yield from conditionals()
    yield from loops()
    yield from scans()
