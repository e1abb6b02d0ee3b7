"""The same graph, written differently.

Operands of commutative operators change places, and copies are put between
nodes: Identity, a cast to the type that is there, a reshape to the extents that
are there. None of it changes what the graph computes.
"""
import random

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COMMUTATIVE = {"Add", "Mul", "Equal", "And", "Or", "Max", "Min"}
CASTS = {TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL}


class Perturbed:
    def __init__(self, model, seed):
        self.random = random.Random(seed)
        self.graph = model.graph
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        self.types = {value.name: value.type.tensor_type
                      for value in inferred.graph.value_info}
        self.nodes, self.count = [], 0
        self.constants = {}

    def name(self):
        self.count += 1
        return f"p.{self.count}"

    def ints(self, *values):
        if values not in self.constants:
            name = self.constants[values] = self.name()
            self.graph.initializer.append(numpy_helper.from_array(
                np.array(values, np.int64), name))
        return self.constants[values]

    def op(self, kind, *inputs, **attributes):
        name = self.name()
        self.nodes.append(helper.make_node(kind, list(inputs), [name],
                                           **attributes))
        return name

    def copy(self, value):
        kind = self.types.get(value)
        ways = ["identity"]
        if kind is not None and kind.elem_type in CASTS:
            ways.append("cast")
        if kind is not None and kind.HasField("shape") and kind.shape.dim:
            ways.append("reshape")
        way = self.random.choice(ways)
        if way == "identity":
            return self.op("Identity", value)
        if way == "cast":
            return self.op("Cast", value, to=kind.elem_type)
        return self.op("Reshape", value,
                       self.ints(*[0] * len(kind.shape.dim)))

    def run(self, share):
        made = set()
        for node in list(self.graph.node):
            if node.op_type in COMMUTATIVE and self.random.random() < 0.5:
                node.input[0], node.input[1] = node.input[1], node.input[0]
            for i, value in enumerate(node.input):
                if value in made and self.random.random() < share:
                    node.input[i] = self.copy(value)
            self.nodes.append(node)
            if node.op_type != "Constant":
                made.update(node.output)
        nodes = list(self.nodes)
        del self.graph.node[:]
        self.graph.node.extend(nodes)


def perturb(model, seed, share=0.2):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    Perturbed(copy, seed).run(share)
    onnx.checker.check_model(copy)
    return copy
