"""Writes models that ONNX's text syntax cannot express.

usage: models.py NAME OUTPUT.onnx
NAME is one of the functions below.
"""

import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

DTYPES = [
    name
    for name in TensorProto.DataType.keys()
    if name not in ("UNDEFINED", "STRING", "FLOAT6E2M3", "FLOAT6E3M2")
]
BITS = {
    "UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2, "BOOL": 1,
}


def model(initializers, nodes=(), inputs=(), outputs=None, opset=28):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Neg", ["x"], ["y"])],
        "g",
        [x, *inputs],
        [y] if outputs is None else outputs,
        initializers,
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=14,
    )


def raw_tensor(name, dtype, dims, data):
    tensor = TensorProto(name=name, data_type=dtype, raw_data=data)
    tensor.dims.extend(dims)
    return tensor


def pattern(size):
    return bytes((i * 37 + 11) % 251 for i in range(size))


def raw_bytes(name, count):
    if name == "BOOL":
        return bytes(b & 1 for b in pattern(count))
    if name.startswith("COMPLEX"):
        return pattern(count * (8 if name == "COMPLEX64" else 16))
    if name in BITS:
        data = bytearray(pattern((count * BITS[name] + 7) // 8))
        unused = len(data) * 8 - count * BITS[name]
        data[-1] &= 0xFF >> unused
        return bytes(data)
    width = np.dtype(
        helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(name))
    ).itemsize
    return pattern(count * width)


def all_types(path):
    """Every element type: small, in the file, empty, and of rank 0."""
    initializers = []
    for name in DTYPES:
        dtype = TensorProto.DataType.Value(name)
        for kind, dims in [
            ("small", [3, 5]),
            ("large", [37, 333]),
            ("empty", [4, 0]),
            ("scalar", []),
        ]:
            count = int(np.prod(dims, dtype=np.int64))
            initializers.append(
                raw_tensor(
                    f"{name.lower()}.{kind}", dtype, dims,
                    raw_bytes(name, count) if count else b"",
                )
            )
    texts = TensorProto(name="texts", data_type=TensorProto.STRING, dims=[2, 2])
    texts.string_data.extend([b"", b'a "quoted" text', b"\0\xff\x80", "ä".encode()])
    same = TensorProto(name="same", data_type=TensorProto.STRING, dims=[3])
    same.string_data.extend([b"s"] * 3)
    onnx.save(model([*initializers, texts, same]), path)


def typed_data(path):
    """Elements in typed fields instead of raw_data."""
    initializers = []
    for name in DTYPES:
        dtype = TensorProto.DataType.Value(name)
        for kind, dims in [("small", [5]), ("large", [3000])]:
            tensor = TensorProto(
                name=f"{name.lower()}.{kind}", data_type=dtype, dims=dims
            )
            count = dims[0]
            if name in ("FLOAT", "COMPLEX64"):
                values = np.arange(count * (1 if name == "FLOAT" else 2))
                tensor.float_data.extend(values / 7)
            elif name in ("DOUBLE", "COMPLEX128"):
                values = np.arange(count * (1 if name == "DOUBLE" else 2))
                tensor.double_data.extend(values / 7)
            elif name == "INT64":
                tensor.int64_data.extend(range(-3, count - 3))
            elif name in ("UINT32", "UINT64"):
                tensor.uint64_data.extend(range(count))
            else:
                data = raw_bytes(name, count)
                width = max(1, len(data) // count)
                kind = f"<u{width}" if width < 4 else "<i4"
                tensor.int32_data.extend(np.frombuffer(data, kind).tolist())
            initializers.append(tensor)
    onnx.save(model(initializers), path)


def default_inputs(path):
    """Initializers that are inputs too: first, in the middle, last."""
    def info(name, dim):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [dim])

    w = [raw_tensor(n, 1, [2], pattern(8)) for n in ("first", "last")]
    m = model(w, inputs=[info("z", "n"), info("last", "two")])
    m.graph.input.insert(0, info("first", 2))
    onnx.save(m, path)


def external(path, location="weights.bin", size=4096, length=4096, offset=0,
             write=True):
    tensor = TensorProto(
        name="w", data_type=1, dims=[size // 4],
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in [
        ("location", location), ("offset", str(offset)), ("length", str(length)),
    ]:
        tensor.external_data.add(key=key, value=value)
    folder = os.path.dirname(path)
    if write:
        with open(os.path.join(folder, "weights.bin"), "wb") as f:
            f.write(pattern(4096))
    onnx.save(model([tensor]), path)


def external_good(path):
    external(path)


def external_absolute(path):
    external(path, "/etc/passwd")


def external_parent(path):
    external(path, "down/../../weights.bin")


def external_link(path):
    link = os.path.join(os.path.dirname(path), "link.bin")
    if not os.path.islink(link):
        os.symlink("weights.bin", link)
    external(path, "link.bin")


def external_folder_link(path):
    link = os.path.join(os.path.dirname(path), "folder")
    if not os.path.islink(link):
        os.symlink(".", link)
    external(path, "folder/weights.bin")


def external_missing(path):
    external(path, "nowhere.bin")


def external_short(path):
    external(path, offset=8)


def external_length(path):
    external(path, length=4000)


def external_number(path):
    external(path, offset="18446744073709551616")


def wrong_size(path):
    onnx.save(model([raw_tensor("w", 1, [3], b"12345678")]), path)


def wrong_size_large(path):
    onnx.save(model([raw_tensor("w", 1, [3000], pattern(4096))]), path)


def negative_extent(path):
    onnx.save(model([raw_tensor("w", 1, [-1], b"")]), path)


def huge_extents(path):
    onnx.save(model([raw_tensor("w", 1, [2**62, 2**62], b"")]), path)


def wrong_bool(path):
    onnx.save(model([raw_tensor("w", 9, [2], b"\1\2")]), path)


def unknown_type(path):
    onnx.save(model([raw_tensor("w", 99, [2], b"\1\2")]), path)


def sparse(path):
    m = model([])
    sparse = m.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(raw_tensor("s", 1, [1], b"1234"))
    sparse.indices.CopyFrom(raw_tensor("i", 7, [1], b"12345678"))
    onnx.save(m, path)


def no_graph(path):
    onnx.save(onnx.ModelProto(ir_version=8), path)


def old_opset(path):
    onnx.save(model([], opset=12), path)


def new_versions(path):
    m = model([], opset=29)
    m.ir_version = 99
    onnx.save(m, path)


def recursive_function(path):
    m = model([], [helper.make_node("f", ["x"], ["y"], domain="local")])
    m.opset_import.add(domain="local", version=1)
    m.functions.append(
        helper.make_function(
            "local", "f", ["a"], ["b"],
            [helper.make_node("f", ["a"], ["b"], domain="local")],
            [helper.make_opsetid("local", 1)],
        )
    )
    onnx.save(m, path)


def truncated(path):
    external(path, write=False)
    with open(path, "rb+") as f:
        f.truncate(os.path.getsize(path) - 3)


def garbage(path):
    with open(path, "wb") as f:
        f.write(b"this is no model at all, \xff\xff\xff\xff\xff")


def empty(path):
    open(path, "wb").close()


def metadata_twice(path):
    m = model([])
    for _ in range(2):
        m.metadata_props.add(key="k", value="v")
    onnx.save(m, path)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
