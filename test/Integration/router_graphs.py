"""Routers as graphs of ONNX operators, spelled as exporters spell them.

`Graph` writes one model with any number of routers, in the manner of one of the
exporters (`STYLES`) and for one opset. The manners differ in where constants
are, how tensors of one number are made, which casts and reshapes that change
nothing stand in between, and in how dropped groups are filled.
"""
import dataclasses

import numpy as np
import onnx
import routing_cases
from onnx import TensorProto, helper, numpy_helper

# torch.onnx.export with and without dynamo, transformers' own exporter, and the
# old one with transformers 4's routers.
STYLES = ("dyn", "ts", "hf", "tf4")
OPSETS = range(13, 24)

_TYPES = {np.dtype(np.float32): TensorProto.FLOAT,
          np.dtype(np.float16): TensorProto.FLOAT16,
          np.dtype(np.float64): TensorProto.DOUBLE}


class Graph:
    """A model under construction. Values are names."""

    def __init__(self, style, opset, rank, dtype=np.float32):
        self.style, self.opset, self.rank = style, opset, rank
        self.dtype = np.dtype(dtype)
        self.nodes, self.initializers = [], []
        self.inputs, self.outputs, self.constants = {}, [], {}
        self.count = 0

    @property
    def is_ts(self):
        return self.style in ("ts", "tf4")

    # --- nodes ---------------------------------------------------------------

    def fresh(self, stem):
        self.count += 1
        return f"{stem}_{self.count}"

    def node(self, kind, inputs, outputs=1, **attributes):
        names = [self.fresh(kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(
            kind, inputs, names, name=self.fresh("node"), **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array):
        array = np.asarray(array)
        if self.is_ts and array.size < 8:
            return self.node("Constant", [],
                             value=numpy_helper.from_array(array))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            name = self.fresh("const")
            self.initializers.append(numpy_helper.from_array(array, name))
            self.constants[key] = name
        return self.constants[key]

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def integer(self, value):
        return self.constant(np.array(value, np.int64))

    def real(self, value):
        return self.constant(np.array(value, self.dtype))

    def unchanged(self, x):
        """What the old exporter leaves of `x.float()`."""
        if self.is_ts:
            return self.node("Cast", [x], to=_TYPES[self.dtype])
        return x

    def reduce(self, kind, x, keepdims):
        axis = -1
        if kind != "ReduceSum" and self.opset < 18:
            return self.node(kind, [x], axes=[axis], keepdims=keepdims)
        return self.node(kind, [x, self.ints(axis)], keepdims=keepdims)

    def filled(self, like, value):
        """A tensor of one number with the shape of another one."""
        shape = self.node("Shape", [like])
        array = np.array([value], self.dtype)
        if self.is_ts == (value == 0):
            return self.node("ConstantOfShape", [shape],
                             value=numpy_helper.from_array(array))
        return self.node("Expand", [self.real(value), shape])

    def top_k(self, x, k, is_sorted=True):
        # Only plain dynamo exports leave the order open.
        return self.node("TopK", [x, self.ints(k)], 2, axis=-1, largest=1,
                         sorted=int(is_sorted or self.style == "hf"))

    def expand_to(self, x, *shape):
        """To a constant shape; -1 keeps an extent."""
        if not self.is_ts:
            return self.node("Expand", [x, self.ints(*[max(1, s)
                                                       for s in shape])])
        wanted = self.ints(*shape)
        ones = self.node("ConstantOfShape", [self.ints(len(shape))],
                         value=numpy_helper.from_array(
                             np.array([1], np.int64)))
        minus = self.node("Mul", [ones, self.integer(-1)])
        keeps = self.node("Equal", [wanted, minus])
        return self.node("Expand", [x, self.node("Where",
                                                 [keeps, ones, wanted])])

    # --- model ---------------------------------------------------------------

    def input(self, name, dtype, shape):
        self.inputs[name] = helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        return name

    def logits(self, name):
        experts = routing_cases.experts_of(name)
        leading = ["tokens"] if self.rank == 2 else ["batch", "seq"]
        return self.input(name, self.dtype, leading + [experts])

    def output(self, value, name, dtype, columns=None):
        """Names a value; [.., columns], or without an axis of slots."""
        leading = ["tokens"] if self.rank == 2 else ["batch", "seq"]
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(
            name, dtype, leading + ([columns] if columns else [])))

    def model(self):
        graph = helper.make_graph(self.nodes, "routers",
                                  list(self.inputs.values()), self.outputs,
                                  self.initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model


# --- parts of routers ----------------------------------------------------------


def transform(g, r, x, experts):
    if r.logit_mult != 1:
        x = g.node("Mul", [x, g.real(r.logit_mult)])
    if r.softcap:
        x = g.node("Div", [x, g.real(r.softcap)])
        x = g.node("Mul", [g.node("Tanh", [x]), g.real(r.softcap)])
    if r.logit_std:
        centred = g.node("Sub", [x, g.reduce("ReduceMean", x, 1)])
        squares = g.node("Mul", [centred, centred])
        if g.is_ts:
            mean = g.reduce("ReduceMean", squares, 1)
            total = g.node("Mul", [mean, g.real(experts)])
        else:
            total = g.reduce("ReduceSum", squares, 1)
        variance = g.node("Div", [total, g.real(experts - 1)])
        deviation = g.node("Sqrt", [variance])
        x = g.node("Div", [x, g.node("Div", [deviation,
                                             g.real(r.logit_std)])])
    return x


def score(g, kind, x):
    if kind == "softmax":
        axis = g.rank - 1 if g.style == "hf" else -1
        return g.unchanged(g.node("Softmax", [x], axis=axis))
    if kind == "sigmoid":
        return g.node("Sigmoid", [x])
    if kind == "sqrtsoftplus":
        return g.node("Sqrt", [g.node("Softplus", [x])])
    return x


def limit(g, groups, x, experts):
    """x with all but the best groups replaced."""
    n, size = groups.n, experts // groups.n
    grouped = g.node("Reshape", [x, g.ints(-1, n, size)])
    flat = g.node("Reshape", [x, g.ints(-1, experts)])
    if groups.reduce == "max":
        of_group = g.reduce("ReduceMax", grouped, 0)
    else:
        of_group = g.reduce("ReduceSum", g.top_k(grouped, 2)[0], 0)
    kept = g.top_k(of_group, groups.keep, is_sorted=False)[1]
    mask = g.node("ScatterElements",
                  [g.filled(of_group, 0), kept, g.filled(kept, 1)], axis=1)
    mask = g.node("Unsqueeze", [mask, g.ints(-1)])
    mask = g.node("Reshape", [g.expand_to(mask, -1, n, size),
                              g.ints(-1, experts)])
    dropped = g.node("Not", [g.node("Cast", [mask], to=TensorProto.BOOL)])
    fill = 0.0 if groups.fill == "zero" else -np.inf
    limited = g.node("Where", [dropped, g.real(fill), flat])
    if g.rank == 3:
        limited = g.node("Reshape", [limited, g.node("Shape", [x])])
    return limited


def normalise(g, r, w):
    if r.norm == "none":
        return w
    if r.norm == "lp":
        kinds = {1.0: "ReduceL1", 2.0: "ReduceL2"}
        if r.p in kinds:
            return g.node("Div", [w, g.reduce(kinds[r.p], w, 1)])
        size = g.node("Pow", [g.node("Abs", [w]), g.real(r.p)])
        total = g.reduce("ReduceSum", size, 1)
        return g.node("Div", [w, g.node("Pow", [total, g.real(1 / r.p)])])
    divisor = g.reduce("ReduceSum", w, 1)
    if r.norm == "sum_clamp":
        kind = "Clip" if g.style != "tf4" else "Max"
        divisor = g.node(kind, [divisor, g.real(r.eps)])
    elif keeps_eps(g, r):
        divisor = g.node("Add", [divisor, g.real(r.eps)])
    return g.node("Div", [w, divisor])


def keeps_eps(g, r):
    """Numbers that f32 sums do not notice are folded away by dynamo."""
    return r.eps and (g.is_ts or r.eps > 1e-10)


def mix_sparsely(g, r, x):
    """PhiMoE's two rounds."""
    ids, weights = [], []
    masked = x
    for _ in range(2):
        if g.is_ts:
            most = g.reduce("ReduceMax", masked, 1)
            best = g.node("ArgMax", [masked], axis=-1, keepdims=1)
        else:
            most, best = g.top_k(masked, 1)
        scale = g.node("Max", [g.node("Abs", [x]), most])
        distance = g.node("Div", [g.node("Sub", [most, x]), scale])
        far = g.node("Greater", [distance, g.real(2 * r.jitter)])
        shares = g.node("Softmax", [g.node(
            "Where", [far, g.real(-np.inf), masked])], axis=-1)
        weights.append(g.node("GatherElements", [shares, best], axis=-1))
        ids.append(best)
        masked = g.node("ScatterElements", [x, best, g.filled(best, -np.inf)],
                        axis=-1)
    return (g.node("Concat", ids, axis=-1), g.node("Concat", weights, axis=-1))


# --- routers -------------------------------------------------------------------


def add_router(g, case, arrays):
    """Adds the router of a case, with outputs NAME_ids and NAME_weights, and
    returns what raising must make of it. `arrays` has its biases and scales."""
    r = case.routing
    experts = routing_cases.experts_of(case.logits)
    x = transform(g, r, g.logits(case.logits), experts)
    want = r
    if r.score == "sparsemixer":
        ids, w = mix_sparsely(g, r, x)
        return finish(g, case, ids, w, want)

    late = r.score_on == "selected"
    scores = None if late else score(g, r.score, x)
    choice = x if late or r.select == "logit" else scores
    if case.select_bias:
        bias = arrays[case.select_bias].astype(g.dtype)
        if g.style == "tf4":
            bias = bias[None]
        choice = g.node("Add", [choice, g.constant(bias)])
    groups = r.groups
    if groups:
        if g.style == "tf4":
            groups = dataclasses.replace(groups, fill="zero")
        choice = limit(g, groups, choice, experts)
    sorted_ = not case.select_bias
    values, ids = g.top_k(choice, max(r.ranks or range(r.k)) + 1, sorted_)
    if r.ranks:
        ids = g.node("Gather", [ids, g.ints(*r.ranks)], axis=-1)
        values = g.node("Gather", [values, g.ints(*r.ranks)], axis=-1)
    if case.select_bias or r.select == "logit":
        w = g.node("GatherElements", [x if late else scores, ids],
                   axis=g.rank - 1)
    else:
        w = values
        if groups:
            # Weights of dropped groups are 0 in any case.
            groups = dataclasses.replace(groups, fill="minus_inf")
    want = dataclasses.replace(
        want, groups=groups, eps=r.eps if keeps_eps(g, r) or
        r.norm == "sum_clamp" else 0.0)
    if late:
        w = score(g, r.score, w)
    if r.null_before_norm:
        null = None
        for e in r.null_before_norm:
            is_e = g.node("Equal", [ids, g.integer(e)])
            null = g.node("Or", [null, is_e]) if null else is_e
        w = g.node("Where", [null, g.real(0.0), w])
    w = normalise(g, r, w)
    if r.scale != 1:
        w = g.node("Mul", [w, g.real(r.scale)])
    if r.k_div:
        w = g.node("Div", [w, g.real(r.k)])
    if case.expert_scale:
        table = g.constant(arrays[case.expert_scale].astype(g.dtype))
        if g.is_ts:
            factor = g.node("Gather", [table, ids], axis=0)
        else:
            at = g.node("Unsqueeze", [ids, g.ints(-1)])
            factor = g.node("GatherND", [table, at])
        w = g.node("Mul", [w, factor])
    return finish(g, case, ids, w, want)


def finish(g, case, ids, w, want):
    g.output(ids, f"{case.name}_ids", TensorProto.INT64, case.routing.k)
    g.output(w, f"{case.name}_weights", _TYPES[g.dtype], case.routing.k)
    return want


def add_switch(g, case):
    """One expert by ArgMax and ReduceMax, without an axis of slots."""
    scores = score(g, case.routing.score, g.logits(case.logits))
    ids = g.node("ArgMax", [scores], axis=-1, keepdims=0)
    w = g.reduce("ReduceMax", scores, 0)
    g.output(ids, f"{case.name}_ids", TensorProto.INT64)
    g.output(w, f"{case.name}_weights", _TYPES[g.dtype])
    return case.routing


def add_dense(g, case):
    """Scores of selected logits in a matrix of all experts (Llama-4); the ids
    are an output as well."""
    r = case.routing
    x = g.logits(case.logits)
    values, ids = g.top_k(x, r.k)
    all_ = g.node("ScatterElements", [g.filled(x, -np.inf), ids, values],
                  axis=g.rank - 1)
    dense = score(g, r.score, all_)
    g.output(ids, f"{case.name}_ids", TensorProto.INT64, r.k)
    g.output(dense, f"{case.name}_dense", _TYPES[g.dtype],
             routing_cases.experts_of(case.logits))
    return r


def add_hash(g, case, table):
    """Experts from a table by the token's id, weights by the scores."""
    r = case.routing
    x = g.logits(case.logits)
    leading = ["tokens"] if g.rank == 2 else ["batch", "seq"]
    words = g.input("words", np.int64, leading)
    ids = g.node("Gather", [g.constant(table), words], axis=0)
    scores = score(g, r.score, x)
    w = g.node("GatherElements", [scores, ids], axis=g.rank - 1)
    w = normalise(g, r, w)
    if r.scale != 1:
        w = g.node("Mul", [w, g.real(r.scale)])
    want = dataclasses.replace(r, eps=r.eps if keeps_eps(g, r) else 0.0)
    return finish(g, case, ids, w, want)


# --- the same in other words -----------------------------------------------------

_COMMUTATIVE = {"Add", "Mul", "Max", "Min", "Equal", "And", "Or"}


def disguise(model, rng):
    """A model that computes the same: operands of commutative operators swapped,
    and copies of every kind in between."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {v.name: v.type.tensor_type for part in
             (inferred.graph.value_info, inferred.graph.input,
              inferred.graph.output) for v in part}
    nodes, count = [], 0
    for node in model.graph.node:
        if node.op_type in _COMMUTATIVE and rng.random() < 0.5:
            a, b = node.input
            node.input[:] = [b, a]
        for place, name in enumerate(node.input):
            if name not in types or rng.random() > 0.25:
                continue
            kind = types[name]
            count += 1
            copy = f"copy_{count}"
            way = int(rng.integers(0, 4))
            rank = len(kind.shape.dim)
            if way == 0:
                nodes.append(helper.make_node("Identity", [name], [copy]))
            elif way == 1:
                nodes.append(helper.make_node("Cast", [name], [copy],
                                              to=kind.elem_type))
            elif way == 2:
                nodes.append(helper.make_node("Shape", [name],
                                              [copy + "_shape"]))
                nodes.append(helper.make_node(
                    "Reshape", [name, copy + "_shape"], [copy]))
            elif rank:
                nodes.append(helper.make_node("Transpose", [name], [copy],
                                              perm=list(range(rank))))
            else:
                continue
            node.input[place] = copy
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    return model
