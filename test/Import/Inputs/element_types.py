"""Writes a model with sequences, optionals and strings, all forms of constants
and results that are left out.

usage: element_types.py OUTPUT.onnx
"""

import sys

from onnx import TensorProto as T
from onnx import checker, helper, save

node, info = helper.make_node, helper.make_tensor_value_info
tensor = helper.make_tensor_type_proto(T.FLOAT, ["n", 4])
optional = helper.make_optional_type_proto(tensor)
body = helper.make_graph(
    [node("Neg", ["in"], ["out"])],
    "each",
    [info("in", T.FLOAT, ["n", 4])],
    [info("out", T.FLOAT, ["n", 4])],
)
nodes = [
    node("SequenceConstruct", ["x", "x"], ["s"]),
    node("Constant", [], ["i"], value_int=1),
    node("SequenceAt", ["s", "i"], ["a"]),
    node("SequenceLength", ["s"], ["l"]),
    node("Optional", ["a"], ["o"]),
    node("OptionalGetElement", ["o"], ["g"]),
    node("OptionalHasElement", ["o"], ["has"]),
    node("SequenceEmpty", [], ["e"], dtype=T.FLOAT),
    node("SequenceInsert", ["e", "x"], ["e2"]),
    node("ConcatFromSequence", ["e2"], ["c"], axis=0),
    node("Constant", [], ["strings"], value_strings=["a", b"b\xff"]),
    node("Constant", [], ["floats"], value_floats=[1.0, float("nan")]),
    node("Optional", [], ["none"], type=tensor),
    node("SplitToSequence", ["x"], ["sp"], axis=1),
    node("SequenceMap", ["s"], ["mapped"], body=body),
    node("LSTM", ["lx", "w", "r"], ["", "hh"], hidden_size=3),
    node("Dropout", ["x"], ["d"]),
]
graph = helper.make_graph(
    nodes,
    "g",
    [
        info("x", T.FLOAT, ["n", 4]),
        info("lx", T.FLOAT, ["t", "b", 5]),
        info("w", T.FLOAT, [1, 12, 5]),
        info("r", T.FLOAT, [1, 12, 3]),
    ],
    [
        info("c", T.FLOAT, ["k", 4]),
        info("l", T.INT64, []),
        info("has", T.BOOL, []),
        info("g", T.FLOAT, ["n", 4]),
        info("strings", T.STRING, [2]),
        info("floats", T.FLOAT, [2]),
        helper.make_tensor_sequence_value_info("mapped", T.FLOAT, ["n", 4]),
        info("hh", T.FLOAT, [1, "b", 3]),
        info("d", T.FLOAT, ["n", 4]),
        helper.make_value_info("o", optional),
        helper.make_value_info("none", optional),
        helper.make_tensor_sequence_value_info("sp", T.FLOAT, ["n", 1]),
    ],
)
model = helper.make_model(
    graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
)
checker.check_model(model, full_check=True)
save(model, sys.argv[1])
