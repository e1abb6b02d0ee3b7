"""A layer of experts with SwiGLU: its numbers, and forms for ONNX Runtime."""
import numpy as np
from onnx import helper, numpy_helper

import experts


class Layer:
    """Random weights of a layer; gates and ups alternate in `first`.

    first: [E, 2 I, H], second: [E, H, I], float32.
    """

    def __init__(self, hidden, inner, count, slots, seed=0):
        self.hidden, self.inner = hidden, inner
        self.experts, self.slots = count, slots
        self.rng = np.random.default_rng(seed)
        self.first = self.draw(count, 2 * inner, hidden)
        self.first /= np.float32(np.sqrt(hidden))
        self.second = self.draw(count, hidden, inner)
        self.second /= np.float32(np.sqrt(inner))

    def draw(self, *shape):
        return self.rng.standard_normal(shape, dtype=np.float32)

    def inputs(self, tokens):
        """Pairs (x [T, H], logits [T, E]) that take different experts.

        One token reads a small part of the bank: its experts change so that the
        whole bank is gone through and nothing stays in a cache.
        """
        if tokens == 1:
            count = -(-self.experts // self.slots)
            pairs = []
            for i in range(max(count, 2)):
                logits = self.draw(1, self.experts) * np.float32(0.1)
                chosen = (np.arange(self.slots) + i * self.slots) % self.experts
                logits[0, chosen] += 4
                pairs.append((self.draw(1, self.hidden), logits))
            return pairs
        return [(self.draw(tokens, self.hidden),
                 self.draw(tokens, self.experts)) for _ in range(7)]

    def chosen(self, logits):
        """ids [T, k]: the largest logits, the first of equals."""
        return np.argsort(-logits, axis=1, kind="stable")[:, :self.slots]

    def active(self, logits):
        """How many experts get a token."""
        return len(np.unique(self.chosen(logits)))

    def exact(self, x, logits):
        """The result in float64: y = sum_j w_j down(silu(gate x) * up x)."""
        result = np.zeros((len(x), self.hidden))
        for t, ids in enumerate(self.chosen(logits)):
            raw = logits[t, ids].astype(np.float64)
            weights = np.exp(raw - raw.max())
            weights /= weights.sum()
            for expert, weight in zip(ids, weights):
                both = self.first[expert].astype(np.float64) @ x[t]
                gate, up = both[0::2], both[1::2]
                result[t] += weight * (self.second[expert].astype(np.float64) @
                                       (gate / (1 + np.exp(-gate)) * up))
        return result

    def loop_session(self, threads):
        """Plain operators, one branch for each expert, with constant matrices
        that ONNX Runtime packs when it loads them."""
        graph = _Loop(self.slots)
        total = graph.node("ConstantOfShape", graph.node("Shape", "x"))
        for expert in range(self.experts):
            first = self.first[expert]
            rows = np.concatenate([first[0::2], first[1::2]])
            total = graph.expert(total, expert, np.ascontiguousarray(rows.T),
                                 np.ascontiguousarray(self.second[expert].T))
        session = graph.session(self.hidden, self.experts, total, threads)
        return session, graph.keep


class _Loop:
    def __init__(self, slots):
        self.nodes, self.small, self.large = [], [], {}
        self.zero, self.one = self.constant(0), self.constant(1)
        self.ids = "ids"
        self.nodes.append(helper.make_node(
            "TopK", ["r", self.constant([slots])], ["values", self.ids]))
        self.weights = self.node("Softmax", "values", axis=-1)

    def constant(self, value):
        name = f"c{len(self.small)}"
        self.small.append(numpy_helper.from_array(
            np.array(value, np.int64), name))
        return name

    def matrix(self, value):
        name = f"w{len(self.large)}"
        self.large[name] = value
        return name

    def node(self, kind, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def expert(self, total, number, first, second):
        """Adds what one expert makes of its tokens to `total`."""
        places = self.node("NonZero", self.node(
            "Equal", self.ids, self.constant(number)))
        tokens = self.node("Gather", places, self.zero, axis=0)
        weights = self.node("GatherND", self.weights,
                            self.node("Transpose", places, perm=[1, 0]))
        column = self.constant([1])
        rows = self.node("Gather", "x", tokens, axis=0)
        gate, up = self.node("Split", self.node(
            "MatMul", rows, self.matrix(first)), outputs=2, axis=-1,
            num_outputs=2)
        hidden = self.node("Mul", self.node(
            "Mul", gate, self.node("Sigmoid", gate)), up)
        result = self.node("Mul", self.node(
            "MatMul", hidden, self.matrix(second)),
            self.node("Unsqueeze", weights, column))
        return self.node("ScatterND", total,
                         self.node("Unsqueeze", tokens, column), result,
                         reduction="add")

    def session(self, hidden, count, result, threads):
        self.nodes.append(helper.make_node("Identity", [result], ["y"]))
        session, self.keep = experts.open_layer(
            self.nodes, hidden, count, self.large, threads, self.small)
        return session
