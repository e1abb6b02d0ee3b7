"""Nodes of one graph, spelled as an exporter spells them.

`writer` is the exporter whose habits are followed:

  torchscript   constants are nodes of their own, each use has a new one; sizes
                come from Shape and Gather; products are MatMul with transposed
                weights, biases are added by Add
  dynamo        constants are initializers that all uses share; sizes come from
                Shape with start and end; products of matrices are Gemm
  transformers  as dynamo, in front of it transformers' own translations

Names are drawn at random: nothing may depend on them.
"""
import random
import string

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
LAST = 2 ** 63 - 1


class Builder:
    def __init__(self, writer, opset, seed):
        self.writer, self.opset = writer, opset
        self.names = random.Random(seed)
        self.nodes, self.initializers = [], []
        self.inputs, self.outputs = [], []
        self.shared = {}
        self.count = 0
        self.domains = set()

    @property
    def torchscript(self):
        return self.writer == "torchscript"

    # --- values ----------------------------------------------------------

    def name(self):
        self.count += 1
        letters = "".join(self.names.choices(string.ascii_lowercase, k=4))
        return f"{letters}.{self.count}"

    def input(self, kind, dims):
        name = self.name()
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def output(self, value, kind, dims):
        self.outputs.append(helper.make_tensor_value_info(value, kind, dims))

    def weight(self, array):
        name = self.name()
        self.initializers.append(
            numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def constant(self, array):
        array = np.array(array, order="C")
        if self.torchscript:
            return self.op("Constant", value=numpy_helper.from_array(array))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.shared:
            self.shared[key] = self.weight(array)
        return self.shared[key]

    def ints(self, *values):
        """int64 of rank 1."""
        return self.constant(np.array(values, np.int64))

    def int(self, value):
        return self.constant(np.array(value, np.int64))

    def float(self, value):
        return self.constant(np.array(value, np.float32))

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [self.name() for _ in range(outputs)]
        if kind == "Reshape" and not self.torchscript:
            attributes.setdefault("allowzero", 1)
        self.nodes.append(helper.make_node(kind, list(inputs), names,
                                           **attributes))
        return names[0] if outputs == 1 else names

    # --- ops whose form depends on opset or exporter -----------------------

    def unsqueeze(self, x, *axes):
        return self.op("Unsqueeze", x, self.ints(*axes))

    def squeeze(self, x, *axes):
        return self.op("Squeeze", x, self.ints(*axes))

    def reduce(self, kind, x, axes, keepdims):
        """ReduceSum has its axes as an input since 13, others since 18."""
        if kind == "ReduceSum" or self.opset >= 18:
            return self.op(kind, x, self.ints(*axes), keepdims=keepdims)
        return self.op(kind, x, axes=list(axes), keepdims=keepdims)

    def split(self, x, sizes, axis):
        if self.torchscript or self.opset < 18:
            return self.op("Split", x, self.ints(*sizes), axis=axis,
                           outputs=len(sizes))
        return self.op("Split", x, axis=axis, num_outputs=len(sizes),
                       outputs=len(sizes))

    def slice(self, x, start, stop, axis, step=None):
        """A slice along one axis, with constant or computed bounds."""
        bounds = [b if isinstance(b, str) else self.ints(b)
                  for b in (start, stop)]
        inputs = [x, *bounds, self.ints(axis)]
        if step is not None or not self.torchscript:
            inputs.append(self.ints(step or 1))
        return self.op("Slice", *inputs)

    def size(self, x, axis):
        """Extent of an axis as a tensor of one element."""
        if self.torchscript:
            extent = self.op("Gather", self.op("Shape", x), self.int(axis),
                             axis=0)
            return self.unsqueeze(extent, 0)
        return self.op("Shape", x, start=axis, end=axis + 1)

    def zeros_like(self, x):
        shape = self.op("Shape", x)
        if self.torchscript:
            return self.filled(shape, 0.0)
        return self.op("Expand", self.float(0.0), shape)

    def filled(self, shape, value, dtype=np.float32):
        tensor = numpy_helper.from_array(np.array([value], dtype))
        return self.op("ConstantOfShape", shape, value=tensor)

    def cast(self, x, to):
        return self.op("Cast", x, to=to)

    def argsort(self, x, axis, descending=False):
        """TopK of all, as sorts are exported; values and indices."""
        if self.torchscript:
            count = self.op("Gather", self.op("Shape", x), self.ints(axis),
                            axis=0)
        else:
            size = self.op("Gather", self.op("Shape", x), self.int(axis),
                           axis=0)
            count = self.op("Reshape", size, self.ints(1))
        return self.op("TopK", x, count, axis=axis,
                       largest=1 if descending else 0, outputs=2)

    def take_rows(self, table, index):
        """Rows of a table by a vector of indices."""
        if self.torchscript:
            return self.op("Gather", table, index, axis=0)
        return self.op("GatherND", table, self.unsqueeze(index, -1))

    def model(self):
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs,
                                  self.initializers)
        imports = [helper.make_opsetid("", self.opset)]
        imports += [helper.make_opsetid(domain, 1) for domain in self.domains]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        onnx.checker.check_model(model)
        return model
