#!/usr/bin/env python3
"""Graphs that look like layers of experts and are none, by one rule each.

Each is a graph of forms/ with one thing changed, so that the rule which it
breaks is the only one. The pass named with it must leave the module as it is,
to the last character; where the change shows in the results, ONNX Runtime must
give others than the reference, so that the graph is what it is meant to be.

Some changed graphs are layers of experts all the same, other ones: a top-k of
scores that come from elsewhere is a choice, weights of 1 for all experts are
dense weights, and one expert beside a loop leaves the loop. Where that is so
("partly"), what was raised is compiled and must give what ONNX Runtime gives
for the changed graph.

A graph says nothing as long as the one it was made from does not raise either:
it counts as skipped then. moe-raise-check is not used: the rules alone must
refuse.

usage: forms_negative.py [--bin FOLDER] [-k REGEX] [--list]
"""
import argparse
import collections
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from forms import cases
from forms.cases import DYNAMO, TORCHSCRIPT, TRANSFORMERS, Spec

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))
EXPERTS = "moe-raise-experts"
ROUTERS = "moe-raise-routers"


class Edit:
    """Changes to the nodes of a model."""

    def __init__(self, model):
        self.graph = model.graph
        self.count = 0

    def all(self, kind):
        return [n for n in self.graph.node if n.op_type == kind]

    def one(self, kind, index=0):
        return self.all(kind)[index]

    def behind(self, value, kind=None):
        """The nodes that take a value."""
        return [n for n in self.graph.node if value in n.input
                and (kind is None or n.op_type == kind)]

    def made(self, value):
        """The node that gives a value."""
        return next(n for n in self.graph.node if value in n.output)

    def name(self):
        self.count += 1
        return f"changed.{self.count}"

    def constant(self, array):
        name = self.name()
        self.graph.initializer.append(
            numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def array(self, name):
        """A constant's value."""
        for tensor in self.graph.initializer:
            if tensor.name == name:
                return numpy_helper.to_array(tensor)
        return helper.get_attribute_value(self.made(name).attribute[0])

    def array_or_none(self, name):
        """The same of an initializer, or nothing."""
        return next((numpy_helper.to_array(tensor)
                     for tensor in self.graph.initializer
                     if tensor.name == name), None)

    def made_or_none(self, value, kind):
        """The node that gives a value, if it is of a kind."""
        return next((n for n in self.graph.node
                     if value in n.output and n.op_type == kind), None)

    def before(self, node, kind, *inputs, **attributes):
        """A new node in front of another; its result."""
        name = self.name()
        at = list(self.graph.node).index(node)
        self.graph.node.insert(at, helper.make_node(kind, list(inputs), [name],
                                                    **attributes))
        return name

    def wrap(self, node, operand, kind, *more, **attributes):
        """kind(operand, more...) in place of one operand."""
        node.input[operand] = self.before(node, kind, node.input[operand],
                                          *more, **attributes)

    def attribute(self, node, name, value):
        for attribute in list(node.attribute):
            if attribute.name == name:
                node.attribute.remove(attribute)
        if value is not None:
            node.attribute.append(helper.make_attribute(name, value))

    def output(self, value, kind, dims):
        self.graph.output.append(helper.make_tensor_value_info(value, kind,
                                                               dims))

    def swap_kind(self, node, kind):
        node.op_type = kind

    def sort(self):
        """Puts nodes behind what they take."""
        made = {name for n in self.graph.node for name in n.output}
        done, left, order = set(), list(self.graph.node), []
        while left:
            ready = [n for n in left
                     if all(name not in made or name in done
                            for name in n.input)]
            order += ready
            done |= {name for n in ready for name in n.output}
            left = [n for n in left if n not in ready]
        del self.graph.node[:]
        self.graph.node.extend(order)

    def clean(self):
        """Drops nodes that nothing needs."""
        while True:
            needed = {name for n in self.graph.node for name in n.input}
            needed |= {value.name for value in self.graph.output}
            dead = [n for n in self.graph.node
                    if not needed & set(n.output)]
            if not dead:
                break
            for node in dead:
                self.graph.node.remove(node)
        for tensor in list(self.graph.initializer):
            if tensor.name not in needed:
                self.graph.initializer.remove(tensor)


# --- the graphs that are changed ---------------------------------------------

SIZES = (40, 28, 6, 2)
RENORM = "R1 renormalised"
BASES = {
    "D1 dynamo": Spec("D1", RENORM, DYNAMO, 18, *SIZES, gate_up="separate"),
    "D1 torchscript": Spec("D1", RENORM, TORCHSCRIPT, 17, *SIZES,
                           gate_up="separate"),
    "D1 where": Spec("D1", RENORM, DYNAMO, 18, *SIZES, gate_up="separate",
                     variant="where"),
    "D2": Spec("D2", RENORM, TORCHSCRIPT, 17, *SIZES),
    "D3": Spec("D3", RENORM, DYNAMO, 18, *SIZES),
    "D3 none": Spec("D3", RENORM, DYNAMO, 18, *SIZES, "relu", "none"),
    "D4": Spec("D4", RENORM, TRANSFORMERS, 18, *SIZES),
    "D5": Spec("D5", RENORM, DYNAMO, 18, *SIZES),
    "D6": Spec("D6", "R8", DYNAMO, 18, *SIZES, layout="io"),
    "D7 sizes": Spec("D7", RENORM, DYNAMO, 18, *SIZES, variant="sizes"),
    "D7 slices": Spec("D7", RENORM, TORCHSCRIPT, 17, *SIZES,
                      gate_up="separate", variant="slices"),
    "D8": Spec("D8", RENORM, DYNAMO, 18, *SIZES, gate_up="separate"),
    "D9": Spec("D9", RENORM, DYNAMO, 18, *SIZES, gate_up="separate"),
    "D10": Spec("D10", "R1", DYNAMO, 18, *SIZES, "gelu", "none", "io",
                capacity=4),
    "D11": Spec("D11", RENORM, DYNAMO, 18, *SIZES, "gelu", "none", "io",
                capacity=4),
    "D12": Spec("D12", "R10", DYNAMO, 18, *SIZES, "gelu", "none", "io",
                capacity=3),
    "R1": Spec("D3", RENORM, DYNAMO, 18, *SIZES),
    "R2": Spec("D3", "R2", DYNAMO, 18, *SIZES),
    "R3": Spec("D3", "R3", DYNAMO, 18, 40, 28, 8, 3),
    "R4": Spec("D3", "R4", DYNAMO, 18, 40, 28, 8, 3),
    "R5": Spec("D3", "R5 sigmoid", DYNAMO, 18, *SIZES),
    "R6": Spec("D3", "R6", DYNAMO, 18, *SIZES),
}
NEGATIVES = []
Negative = collections.namedtuple(
    "Negative", "base rule what same partly change")


def negative(base, rule, of=EXPERTS, same=False, partly=False):
    """Registers a change. `same`: results do not change; `partly`: a part may
    be raised."""
    def add(change):
        NEGATIVES.append(Negative(base, rule, of, same, partly, change))
        return change
    return add


# --- slots: D3 ----------------------------------------------------------------


@negative("D3", "slots are averaged, not summed")
def _(e):
    e.swap_kind(e.all("ReduceSum")[-1], "ReduceMean")


@negative("D3", "the largest slot is taken, not their sum")
def _(e):
    e.swap_kind(e.all("ReduceSum")[-1], "ReduceMax")


@negative("D3", "slots are multiplied with each other")
def _(e):
    e.swap_kind(e.all("ReduceSum")[-1], "ReduceProd")


@negative("D3", "the activation is no elementwise function: a softmax")
def _(e):
    down = e.all("MatMul")[-1]
    e.wrap(e.made(down.input[1]), 0, "Softmax", axis=-1)


@negative("D3", "the activation mixes neurons: a running sum")
def _(e):
    down = e.all("MatMul")[-1]
    e.wrap(e.made(down.input[1]), 0, "CumSum",
           e.constant(np.array(1, np.int64)))


@negative("D3", "gates meet ups of other neurons")
def _(e):
    up = e.one("Split").output[1]
    node = e.behind(up)[0]
    e.wrap(node, list(node.input).index(up), "Slice", e.ints(27),
           e.ints(-2 ** 62), e.ints(1), e.ints(-1))


@negative("D3", "gates meet ups of the slot before")
def _(e):
    up = e.one("Split").output[1]
    node = e.behind(up)[0]
    first = e.before(node, "Slice", up, e.ints(0), e.ints(1), e.ints(0))
    rest = e.before(node, "Slice", up, e.ints(1), e.ints(2 ** 62), e.ints(0))
    both = e.before(node, "Concat", rest, first, axis=0)
    node.input[list(node.input).index(up)] = both


@negative("D3", "the second product has other ids than the first")
def _(e):
    ids = e.one("TopK").output[1]
    node = e.all("GatherND")[-1]
    other = e.before(node, "Slice", ids, e.ints(1), e.ints(-2 ** 62),
                     e.ints(1), e.ints(-1))
    flat = e.before(node, "Reshape", other, e.ints(-1))
    node.input[1] = e.before(node, "Unsqueeze", flat, e.ints(-1))


@negative("D3", "matrices are an input of the model", same=True)
def _(e):
    name = e.one("GatherND").input[0]
    array = e.array(name)
    for tensor in list(e.graph.initializer):
        if tensor.name == name:
            e.graph.initializer.remove(tensor)
    e.graph.input.append(helper.make_tensor_value_info(name, 1, array.shape))


@negative("D3", "matrices depend on the hidden states")
def _(e):
    node = e.one("GatherND")
    mean = e.before(node, "ReduceMean", e.graph.input[0].name, keepdims=0)
    e.wrap(node, 0, "Mul", mean)


@negative("D3", "rows are repeated as a whole, ids row by row")
def _(e):
    node = e.one("Expand")
    rows = e.made(node.input[0]).input[0]
    tiled = e.before(node, "Tile", rows, e.ints(2, 1))
    user = e.behind(node.output[0])[0]
    e.behind(user.output[0])[0].input[0] = tiled


@negative("D3", "results are cut into slots the other way round")
def _(e):
    node = e.all("ReduceSum")[-1]
    cut = e.made(node.input[0])
    cut.input[1] = e.ints(2, -1, 40)
    node.input[1] = e.ints(0)


@negative("D3", "weights belong to other slots than ids", partly=True)
def _(e):
    weights = e.one("Div").output[0]
    flat = e.behind(weights, "Reshape")[0]
    e.wrap(flat, 0, "Transpose", perm=[1, 0])


@negative("D3", "each result is scaled by a vector, neuron by neuron")
def _(e):
    node = e.all("Mul")[-1]
    e.wrap(node, 1, "Mul", e.constant(np.linspace(
        0.5, 1.5, 40, dtype=np.float32)[None]))


@negative("D3", "rows of the second product are sorted")
def _(e):
    squeeze = e.all("Squeeze")[-1]
    data = squeeze.output[0]
    node = e.behind(data)[0]
    flipped = e.before(node, "Slice", data, e.ints(-1), e.ints(-2 ** 62),
                       e.ints(0), e.ints(-1))
    node.input[list(node.input).index(data)] = flipped


@negative("D3 none", "products have different batches: a transposed operand")
def _(e):
    node = e.one("GatherND")
    matrices = e.array(node.input[0])
    square = np.ascontiguousarray(matrices[:, :, :28])
    node.input[0] = e.constant(square)
    rows = e.one("MatMul")
    cut = e.before(rows, "Slice", rows.input[1], e.ints(0), e.ints(28),
                   e.ints(1))
    rows.input[1] = cut
    e.wrap(rows, 0, "Slice", e.ints(27), e.ints(-2 ** 62), e.ints(2),
           e.ints(-1))


# --- loops: D1 and D2 ---------------------------------------------------------


@negative("D1 dynamo", "one expert has its turn twice, another none")
def _(e):
    mask = e.one("Transpose").output[0]
    turns = e.behind(mask, "Gather")
    turns[2].input[1] = turns[1].input[1]


@negative("D1 dynamo", "one expert has another activation")
def _(e):
    node = e.all("Sigmoid")[3]
    e.swap_kind(node, "Tanh")


@negative("D1 dynamo", "results are written, not added")
def _(e):
    for node in e.all("ScatterND"):
        e.attribute(node, "reduction", None)


@negative("D1 dynamo", "results are multiplied")
def _(e):
    for node in e.all("ScatterND"):
        e.attribute(node, "reduction", "mul")
    start = e.all("ScatterND")[0].input[0]
    ones = e.constant(np.array(1.0, np.float32))
    e.made(start).input[0] = ones


@negative("D1 dynamo", "of several results the largest stays")
def _(e):
    for node in e.all("ScatterND"):
        e.attribute(node, "reduction", "max")


@negative("D1 dynamo", "one expert's weight is that of another slot")
def _(e):
    # token, slot: the slot is always the first.
    concat = e.all("Concat")[1]
    zero = e.before(concat, "Mul", concat.input[1], e.ints(0))
    concat.input[1] = zero


@negative("D1 dynamo", "one expert gets the rows of another")
def _(e):
    loads = [n for n in e.all("GatherND")
             if e.array_or_none(n.input[0]) is None]
    rows = [n for n in loads if len(e.behind(n.output[0], "Gemm"))]
    rows[2].input[1] = rows[1].input[1]
    # Their number must fit the weights, so everything of it moves...
    scale = loads[loads.index(rows[2]) + 1]
    scale.input[1] = loads[loads.index(rows[1]) + 1].input[1]


@negative("D1 dynamo", "one expert gets rows of another tensor")
def _(e):
    loads = [n for n in e.all("GatherND")
             if len(e.behind(n.output[0], "Gemm"))]
    e.wrap(loads[3], 0, "Tanh")


@negative("D1 dynamo", "slots are found in reverse order, weights are not")
def _(e):
    mask = e.one("Transpose")
    turns = e.behind(mask.output[0], "Gather")
    turned = e.before(turns[0], "Slice", mask.output[0], e.ints(-1),
                      e.ints(-2 ** 62), e.ints(1), e.ints(-1))
    for turn in turns:
        turn.input[0] = turned


@negative("D1 dynamo", "the sum of two experts is used elsewhere", same=True)
def _(e):
    part = e.all("ScatterND")[1].output[0]
    final = e.graph.node[-1]
    name = e.name()
    e.graph.node.append(helper.make_node("Tanh", [part], [name]))
    e.output(name, 1, [None, 40])
    assert final.output[0] == e.graph.output[0].name


@negative("D1 torchscript", "zeros that results are scattered into are ones")
def _(e):
    for node in e.all("ConstantOfShape"):
        e.attribute(node, "value", numpy_helper.from_array(
            np.array([1.0], np.float32)))


@negative("D1 torchscript", "a running sum is overwritten")
def _(e):
    node = e.all("ScatterElements")[2]
    before = e.made(e.behind(node.output[0])[0].input[0])
    node.input[0] = before.output[0]
    add = e.behind(node.output[0])[0]
    user = e.behind(add.output[0])
    for n in user:
        for i, name in enumerate(n.input):
            if name == add.output[0]:
                n.input[i] = node.output[0]


@negative("D1 where", "turns ask for smaller ids, not for equal ones")
def _(e):
    for node in e.all("Equal"):
        e.swap_kind(node, "Less")


@negative("D1 where", "one turn asks for the ids' neighbour twice")
def _(e):
    equal = e.all("Equal")
    equal[4].input[1] = equal[3].input[1]


# All experts have more than one row in what ONNX Runtime is given.
@negative("D2", "only experts with more than one row are in the list",
          same=True)
def _(e):
    node = e.one("Greater")
    node.input[1] = e.constant(np.array(1, np.int64))


@negative("D2", "an id of the list has its turn twice")
def _(e):
    split = [n for n in e.all("Split") if len(n.output) == 6][0]
    users = [e.behind(name)[0] for name in split.output]
    users[3].input[0] = split.output[2]


@negative("D2", "the second product has another id than the first")
def _(e):
    loads = [n for n in e.all("Gather")
             if e.array_or_none(n.input[0]) is not None
             and e.array_or_none(n.input[0]).ndim == 3]
    loads[3].input[1], loads[5].input[1] = (loads[5].input[1],
                                            loads[3].input[1])


# --- sorted rows: D4 and D7 ---------------------------------------------------


@negative("D4", "groups are counted from other ids")
def _(e):
    ids = e.one("TopK").output[1]
    cast = [n for n in e.all("Cast") if e.behind(n.output[0], "Reshape")][0]
    first = e.before(cast, "Slice", ids, e.ints(0), e.ints(1), e.ints(1))
    wide = e.before(cast, "Concat", first, first, axis=1)
    cast.input[0] = e.before(cast, "Reshape", wide, e.ints(-1))


@negative("D4", "results stay in the order of experts")
def _(e):
    inverse = e.all("GatherND")[-1]
    cut = e.behind(inverse.output[0])[0]
    cut.input[0] = inverse.input[0]


@negative("D4", "ends of groups are sums from the back")
def _(e):
    e.attribute(e.one("CumSum"), "reverse", 1)


@negative("D4", "two experts get each other's range of rows")
def _(e):
    loads = [n for n in e.all("Gather")
             if e.made_or_none(n.input[1], "Range")]
    loads[1].input[1], loads[2].input[1] = (loads[2].input[1],
                                            loads[1].input[1])


@negative("D4", "rows are sorted downwards, matrices are not")
def _(e):
    e.attribute(e.all("TopK")[1], "largest", 1)


@negative("D7 sizes", "two experts get each other's rows at first")
def _(e):
    gemms = e.all("Gemm")
    gemms[2].input[0], gemms[3].input[0] = (gemms[3].input[0],
                                            gemms[2].input[0])


@negative("D7 sizes", "sizes are those of other ids")
def _(e):
    ids = e.one("TopK").output[1]
    node = e.one("ScatterElements")
    first = e.before(node, "Slice", ids, e.ints(0), e.ints(1), e.ints(1))
    more = e.before(node, "Mod", e.before(
        node, "Add", first, e.ints(1)), e.ints(6))
    node.input[1] = e.before(node, "Concat", first, more, axis=1)


@negative("D7 slices", "two experts get each other's slice")
def _(e):
    slices = [n for n in e.all("Slice")
              if e.behind(n.output[0], "MatMul")]
    for i in (1, 2):
        slices[2].input[i], slices[3].input[i] = (slices[3].input[i],
                                                  slices[2].input[i])


# --- all tokens: D5, D6, D8, D9 -----------------------------------------------


@negative("D5", "of all experts the largest result stays")
def _(e):
    e.swap_kind(e.all("ReduceSum")[-1], "ReduceMax")


@negative("D5", "experts that were not chosen have weight 1", partly=True)
def _(e):
    zeros = e.made(e.one("ScatterElements").input[0])
    zeros.input[0] = e.constant(np.array(1.0, np.float32))


@negative("D5", "results are compared between experts: a softmax")
def _(e):
    node = e.all("MatMul")[-1]
    e.wrap(e.behind(node.output[0])[0], 0, "Softmax", axis=0)


@negative("D5", "weights belong to tokens in reverse order", partly=True)
def _(e):
    turn = next(n for n in e.all("Transpose")
                if e.made_or_none(n.input[0], "ScatterElements"))
    e.wrap(turn, 0, "Slice", e.ints(-1), e.ints(-2 ** 62), e.ints(0),
           e.ints(-1))


@negative("D6", "experts that were not chosen have the score 1/2", partly=True)
def _(e):
    fill = e.made(e.one("ScatterElements").input[0])
    fill.input[0] = e.constant(np.array(0.0, np.float32))


@negative("D6", "an expert has a bias: it gives something for nothing")
def _(e):
    node = e.all("MatMul")[0]
    user = e.behind(node.output[0])[0]
    e.wrap(user, 0, "Add", e.constant(np.full((6, 1, 56), 0.5, np.float32)))


@negative("D8", "one expert's column is another's")
def _(e):
    columns = [n for n in e.all("Slice")
               if e.made(n.input[0]).op_type == "ScatterElements"]
    columns[2].input[1] = columns[1].input[1]
    columns[2].input[2] = columns[1].input[2]


@negative("D8", "one result is taken away, not added", partly=True)
def _(e):
    e.swap_kind(e.all("Add")[2], "Sub")


@negative("D9", "the stack has the experts in reverse order per run")
def _(e):
    node = e.one("GatherElements")
    sign = e.before(node, "ReduceSum", e.graph.input[0].name, keepdims=1)
    turned = e.before(node, "Slice", node.input[0], e.ints(-1),
                      e.ints(-2 ** 62), e.ints(1), e.ints(-1))
    positive = e.before(node, "Greater", sign,
                        e.constant(np.array(1e9, np.float32)))
    node.input[0] = e.before(node, "Where", positive, node.input[0], turned)


@negative("D9", "slots are weighed by a maximum")
def _(e):
    e.swap_kind(e.all("ReduceSum")[-1], "ReduceMax")


# --- capacity: D10 to D12 -----------------------------------------------------


@negative("D10", "places are counted from the last token")
def _(e):
    e.attribute(e.one("CumSum"), "reverse", 1)


@negative("D10", "the capacity is another value for some experts")
def _(e):
    node = e.one("Less")
    node.input[1] = e.constant(np.array([4, 4, 4, 4, 1, 1], np.int64))


@negative("D11", "places are counted per slot, not over all slots")
def _(e):
    node = e.one("CumSum")
    cut = e.before(node, "Reshape", node.input[0], e.ints(2, -1, 6))
    sums = e.before(node, "CumSum", cut, e.constant(np.array(1, np.int64)))
    flat = e.before(node, "Reshape", sums, e.ints(-1, 6))
    for user in e.behind(node.output[0]):
        user.input[list(user.input).index(node.output[0])] = flat


@negative("D11", "the row for what is dropped is not 0")
def _(e):
    concat = [n for n in e.all("Concat")
              if e.array_or_none(n.input[-1]) is not None
              and e.array_or_none(n.input[-1]).shape == (1, 40)][0]
    concat.input[1] = e.constant(np.full((1, 40), 0.25, np.float32))


@negative("D12", "of tokens that two experts took the last result stays")
def _(e):
    e.attribute(e.one("ScatterElements"), "reduction", None)


# --- routers ------------------------------------------------------------------


@negative("R1", "the softmax is over tokens", ROUTERS,
          partly=True)
def _(e):
    e.attribute(e.one("Softmax"), "axis", 0)


@negative("R1", "weights are divided by the largest, not by the sum", ROUTERS,
          partly=True)
def _(e):
    e.swap_kind(e.one("ReduceSum"), "ReduceMax")


@negative("R1", "the worst experts are chosen", ROUTERS)
def _(e):
    e.attribute(e.one("TopK"), "largest", 0)


@negative("R1", "ids are used in arithmetic", ROUTERS)
def _(e):
    node = e.one("TopK")
    user = e.behind(node.output[1])[0]
    more = e.before(user, "Add", node.output[1], e.ints(1))
    user.input[0] = e.before(user, "Mod", more, e.ints(6))


@negative("R1", "weights are divided by the sum over tokens", ROUTERS,
          partly=True)
def _(e):
    e.one("ReduceSum").input[1] = e.ints(0)


@negative("R2", "the softmax is over tokens", ROUTERS,
          partly=True)
def _(e):
    e.attribute(e.one("Softmax"), "axis", 0)


@negative("R3", "the best groups are excluded", ROUTERS)
def _(e):
    where = e.one("Where")
    where.input[0] = e.made(where.input[0]).input[0]


@negative("R3", "groups are chosen by other scores", ROUTERS)
def _(e):
    node = e.one("TopK")
    e.wrap(node, 0, "Neg")


@negative("R3", "scores of groups are products", ROUTERS)
def _(e):
    e.swap_kind(e.one("ReduceSum"), "ReduceProd")


@negative("R4", "scores of groups are means of all tokens", ROUTERS)
def _(e):
    node = e.one("ReduceMax")
    mean = e.before(node, "ReduceMean", node.input[0], e.ints(0), keepdims=1)
    node.input[0] = e.before(node, "Add", mean, e.before(
        node, "Mul", node.input[0], e.constant(np.array(0.0, np.float32))))


@negative("R5", "weights are those of other tokens", ROUTERS,
          partly=True)
def _(e):
    node = e.one("GatherElements")
    e.wrap(node, 0, "Slice", e.ints(-1), e.ints(-2 ** 62), e.ints(0),
           e.ints(-1))


@negative("R6", "the second choice masks near scores, not far ones", ROUTERS,
          partly=True)
def _(e):
    e.swap_kind(e.all("Greater")[1], "Less")


@negative("R6", "the first choice stays in for the second", ROUTERS,
          partly=True)
def _(e):
    scatter = e.one("ScatterElements")
    for node in list(e.graph.node):
        for i, name in enumerate(node.input):
            if name == scatter.output[0]:
                node.input[i] = scatter.input[0]


# --- running ------------------------------------------------------------------


class Failure(Exception):
    pass


def outputs(model, data):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options,
        providers=["CPUExecutionProvider"])
    feeds = dict(zip([v.name for v in session.get_inputs()], data.inputs))
    return session.run(None, feeds)[0]


def modules(tools, model, folder, what):
    """The module's text without and with a pass."""
    path = os.path.join(folder, "model.onnx")
    onnx.save(model, path)
    texts = []
    for passes in ([], ["--" + what]):
        target = os.path.join(folder, "model.mlir")
        done = subprocess.run(
            [os.path.join(tools, "moe-opt"), path, "--onnx-infer-shapes",
             *passes, "-o", target], capture_output=True, text=True,
            check=False, timeout=300)
        if done.returncode:
            raise Failure(f"moe-opt {' '.join(passes)}: exit status "
                          f"{done.returncode}: {done.stderr[-600:]}")
        with open(target, encoding="utf-8") as file:
            texts.append(file.read())
    return texts


def base_case(base):
    spec = BASES[base]
    return cases.make(spec, zlib.crc32(spec.name.encode()))


def raises(base, what, tools):
    """Whether the unchanged graph is raised by a pass."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = modules(tools, base_case(base).model, folder, what)
    return before != after


def check(number, tools):
    """An error, or an empty string."""
    case = NEGATIVES[number]
    try:
        with tempfile.TemporaryDirectory() as folder:
            check_change(base_case(case.base), case, tools, folder)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:600]}"
    return ""


def run_compiled(tools, folder, data):
    """The first output of the module that `modules` left."""
    def tool(name, *arguments):
        done = subprocess.run([os.path.join(tools, name), *arguments],
                              capture_output=True, text=True, check=False,
                              timeout=300)
        if done.returncode:
            raise Failure(f"{name}: exit status {done.returncode}: "
                          f"{done.stderr[-600:]}")

    library = os.path.join(folder, "model.so")
    tool("moe-compile", os.path.join(folder, "model.mlir"), "-o", library)
    for i, array in enumerate(data.inputs):
        with open(os.path.join(folder, f"input_{i}.pb"), "wb") as file:
            file.write(numpy_helper.from_array(array).SerializeToString())
    results = os.path.join(folder, "results")
    tool("moe-run", library, "--data", folder, "--output", results)
    return numpy_helper.to_array(onnx.load_tensor(
        os.path.join(results, "output_0.pb")))


def check_change(case, negative_case, tools, folder):
    what, same = negative_case.what, negative_case.same
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    edit = Edit(model)
    negative_case.change(edit)
    edit.clean()
    edit.sort()
    onnx.checker.check_model(model)
    data = case.data[0]
    if len(model.graph.input) == len(case.model.graph.input):
        got = outputs(model, data)
        alike = got.shape == data.expected.shape and np.allclose(
            got[data.clear], data.expected[data.clear], 1e-4, 1e-4)
        if alike != same:
            raise Failure("the change does not show in the results"
                          if alike else "results change")
    plain, raised = modules(tools, model, folder, what)
    if negative_case.partly:
        compiled = run_compiled(tools, folder, data)
        if not np.allclose(compiled, got, 1e-4, 1e-4, equal_nan=True):
            raise Failure("what was raised gives other results")
    elif plain != raised:
        lines = set(plain.splitlines())
        new = [line.strip()[:160] for line in raised.splitlines()
               if line not in lines]
        raise Failure("the module changed: " + " / ".join(new[:4]))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(BUILD, "bin"))
    parser.add_argument("-k", dest="filter", metavar="REGEX")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("-j", dest="jobs", type=int, metavar="N",
                        default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    chosen = [i for i, (base, rule, *_) in enumerate(NEGATIVES)
              if not options.filter
              or re.search(options.filter, f"{base}: {rule}")]
    if options.list:
        for i in chosen:
            case = NEGATIVES[i]
            print(f"{case.what}: {case.base}: {case.rule}")
        return 0
    pairs = sorted({(NEGATIVES[i].base, NEGATIVES[i].what) for i in chosen})
    passed = failed = skipped = 0
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        tools = [options.bin] * len(chosen)
        positive = dict(zip(pairs, pool.map(raises, *zip(*pairs), tools)))
        for i, problem in zip(chosen, pool.map(check, chosen, tools)):
            base, rule, what = NEGATIVES[i][:3]
            if problem:
                failed += 1
                print(f"FAILED {base}: {rule}: {problem}", flush=True)
            elif positive[base, what]:
                passed += 1
            else:
                skipped += 1
                print(f"skipped {base}: {rule}: {base} itself is not raised")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
