"""LSTM, GRU, RNN."""
import numpy as np
from ops import single
from opcases.indexing import floats

INPUTS, UNITS = 5, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer(name, kind, attrs=None, bias=True, lengths=False, initial=False,
          peephole=False, outputs=None, shapes=((6, 3), (1, 1), (4, 2)),
          **options):
    """Compared with ONNX Runtime, which has more of it than the reference."""
    attrs = dict(attrs or {})
    both = attrs.get("direction") == "bidirectional"
    directions = 2 if both else 1
    layout = attrs.get("layout", 0)
    gates = GATES[kind]

    def states(batch, seed):
        shape = (batch, directions) if layout else (directions, batch)
        return floats(*shape, UNITS, seed=seed)

    weights = [floats(directions, gates * UNITS, INPUTS, seed=1) / 2,
               floats(directions, gates * UNITS, UNITS, seed=2) / 2]
    variants = []
    for steps, batch in shapes:
        x = floats(*((batch, steps) if layout else (steps, batch)), INPUTS)
        extra = [floats(directions, 2 * gates * UNITS, seed=3) if bias
                 else None,
                 (np.arange(batch) * 2 % steps + 1).astype(np.int32)
                 if lengths else None,
                 states(batch, 4) if initial else None]
        if kind == "LSTM":
            extra += [states(batch, 5) if initial else None,
                      floats(directions, 3 * UNITS, seed=6) if peephole
                      else None]
        variants.append([x, *weights, *extra])
    attrs["hidden_size"] = UNITS
    outputs = outputs or [True] * (3 if kind == "LSTM" else 2)
    # What a model knows when it is compiled: everything but time and batch.
    fixed = {0: (2,), 1: (0, 1, 2), 2: (0, 1, 2), 3: (0, 1), 7: (0, 1)}
    options.setdefault("oracle", "ort")
    return single(name, kind, variants, attrs, outputs=outputs, fixed=fixed,
                  rtol=1e-4, atol=1e-5, **options)


def cases():
    for kind in GATES:
        for direction in ("forward", "reverse", "bidirectional"):
            yield layer(f"{kind}_{direction}", kind,
                        {"direction": direction})
            yield layer(f"{kind}_{direction}_lengths", kind,
                        {"direction": direction}, lengths=True, initial=True)
        yield layer(f"{kind}_bare", kind, bias=False)
        yield layer(f"{kind}_clip", kind, {"clip": 0.3})
        yield layer(f"{kind}_only_last", kind, outputs=[False, True])
        yield layer(f"{kind}_only_all", kind, outputs=[True])
        # ONNX Runtime has no layout 1; the reference has it going forward.
        yield layer(f"{kind}_batch_first", kind, {"layout": 1},
                    oracle="reference", initial=True)
    yield layer("LSTM_peephole", "LSTM", peephole=True, initial=True)
    yield layer("LSTM_peephole_bidirectional", "LSTM",
                {"direction": "bidirectional"}, peephole=True, lengths=True)
    yield layer("LSTM_input_forget", "LSTM", {"input_forget": 1},
                peephole=True)
    yield layer("GRU_reset_late", "GRU", {"linear_before_reset": 1},
                initial=True)
    yield layer("GRU_reset_late_bidirectional", "GRU",
                {"linear_before_reset": 1, "direction": "bidirectional"},
                lengths=True)
    yield layer("GRU_reset_late_bare", "GRU", {"linear_before_reset": 1},
                bias=False)
    for name, attrs in {
            "Relu": {}, "Tanh": {}, "Sigmoid": {}, "Softsign": {},
            "Softplus": {},
            "Affine": {"activation_alpha": [0.5], "activation_beta": [0.1]},
            "LeakyRelu": {"activation_alpha": [0.2]},
            "ThresholdedRelu": {"activation_alpha": [0.3]},
            "ScaledTanh": {"activation_alpha": [0.7],
                           "activation_beta": [0.9]},
            "HardSigmoid": {"activation_alpha": [0.3],
                            "activation_beta": [0.4]},
            "Elu": {"activation_alpha": [0.8]}}.items():
        yield layer(f"RNN_{name}", "RNN", {"activations": [name], **attrs},
                    shapes=((5, 2),))
    yield layer("LSTM_activations", "LSTM",
                {"direction": "bidirectional",
                 "activations": ["HardSigmoid", "Tanh", "Softsign",
                                 "Sigmoid", "LeakyRelu", "Tanh"],
                 "activation_alpha": [0.3, 0.1], "activation_beta": [0.4]})
