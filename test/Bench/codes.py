"""Banks of experts in codes of 4 or 8 bits: for our compiler and for ONNX
Runtime's com.microsoft.QMoE, which shares them."""
import numpy as np
from onnx import helper

import experts

BLOCK = 32


def quantise(bank, bits):
    """f32 [E, N, K] -> codes ui8 [E, N, K * bits / 8] with the lowest bits
    first, scales f32 [E, N, K / BLOCK], and what both stand for, f32 [E, N, K]:
    (code - 2^(bits-1)) * scale, a scale for each block of a row."""
    count, rows, inner = bank.shape
    middle, per = 1 << (bits - 1), 8 // bits
    packed = np.empty((count, rows, inner // per), np.uint8)
    scales = np.empty((count, rows, inner // BLOCK), np.float32)
    real = np.empty_like(bank)
    for e in range(count):
        blocks = bank[e].reshape(rows, -1, BLOCK)
        scale = np.abs(blocks).max(-1, keepdims=True) / np.float32(middle - 1)
        scale[scale == 0] = 1
        codes = np.clip(np.rint(blocks / scale) + middle, 0, 2 * middle - 1)
        real[e] = ((codes - middle) * scale).reshape(rows, inner)
        scales[e] = scale[..., 0]
        codes = codes.astype(np.uint8).reshape(rows, inner)
        packed[e] = sum(codes[:, i::per] << (i * bits) for i in range(per))
    return packed, scales, real


def write_ours(path, first, second, slots, bits):
    """The layer as MLIR; `first` and `second` are codes and scales, which go
    to a file beside it."""
    (count, rows, row_bytes), (width, inner_bytes) = (
        first[0].shape, second[0].shape[1:])
    hidden, inner = row_bytes * 8 // bits, inner_bytes * 8 // bits
    body, at = "", 0
    with open(path + ".bin", "wb") as file:
        for name, (codes, scales), n, k in (("g", first, rows, hidden),
                                            ("d", second, width, inner)):
            kinds = []
            for mark, array, kind in (("q", codes, "ui8"),
                                      ("s", scales, "f32")):
                array.tofile(file)
                kinds.append("tensor<%dx%dx%dx%s>" % (*array.shape, kind))
                body += (f'  %{name}{mark} = onnx.Initializer "{name}{mark}" = '
                         f'#onnx.file<"{path}.bin", {at}, {array.nbytes}> : '
                         f"{kinds[-1]}\n")
                at += array.nbytes
            body += (f"  %{name} = moe.dequantize %{name}q, %{name}s {{bits = "
                     f"{bits}, block = {BLOCK}}} : {', '.join(kinds)} -> "
                     f"tensor<{count}x{n}x{k}xf32>\n")
    experts.write_layer(path, slots, hidden,
                        f"tensor<{count}x{rows}x{hidden}xf32>",
                        f"tensor<{count}x{width}x{inner}xf32>", body)


def make_ort(first, second, slots, bits, level, threads):
    """ONNX Runtime's operator; with `level` 4 it may round activations to 8
    bits. Returns a session and the arrays that it reads."""
    attributes = {"accuracy_level": level} if level else {}
    node = helper.make_node(
        "QMoE", ["x", "r", "w1", "s1", "", "w2", "s2", ""], ["y"],
        domain="com.microsoft", activation_type="swiglu", k=slots,
        normalize_routing_weights=1, swiglu_fusion=1, activation_alpha=1.0,
        activation_beta=0.0, expert_weight_bits=bits, block_size=BLOCK,
        **attributes)
    return experts.open_layer(
        [node], second[0].shape[1], first[0].shape[0],
        {"w1": first[0], "s1": first[1], "w2": second[0], "s2": second[1]},
        threads)
