"""A layer of experts for our compiler and for ONNX Runtime's com.microsoft.MoE,
and the runtime through its C interface. `compare` times them.
"""
import ctypes
import os
import subprocess

import ml_dtypes
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))
WEIGHTS = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


# --- the runtime, through its C interface ------------------------------------


class DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32),
                ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32),
                ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)),
                ("strides", ctypes.c_void_p),
                ("byte_offset", ctypes.c_uint64)]


class DLManagedTensor(ctypes.Structure):
    pass


Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(DLManagedTensor))
DLManagedTensor._fields_ = [("tensor", DLTensor),
                            ("context", ctypes.c_void_p),
                            ("deleter", Deleter)]


class SessionOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint32),
                ("num_threads", ctypes.c_int32),
                ("rest", ctypes.c_void_p * 6)]


def load_runtime(folder):
    """The static library of the runtime as a shared one."""
    library = os.path.join(folder, "libmoe_runtime.so")
    subprocess.run(
        ["c++", "-shared", "-o", library, "-Wl,--whole-archive",
         os.path.join(BUILD, "lib", "libmoe_runtime.a"),
         "-Wl,--no-whole-archive", "-lpthread", "-ldl"], check=True)
    runtime = ctypes.CDLL(library)
    for name in ("moe_program_load", "moe_session_create", "moe_session_run"):
        getattr(runtime, name).restype = ctypes.c_void_p
    runtime.moe_error_message.restype = ctypes.c_char_p
    runtime.moe_error_message.argtypes = [ctypes.c_void_p]
    return runtime


class Ours:
    def __init__(self, runtime, path, threads):
        self.runtime = runtime
        program, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        options = SessionOptions()
        self.check(runtime.moe_program_load(path.encode(),
                                            ctypes.byref(program)))
        runtime.moe_session_options_init(ctypes.byref(options))
        options.num_threads = threads
        self.check(runtime.moe_session_create(
            program, ctypes.byref(options), ctypes.byref(self.session)))

    def check(self, error):
        if error:
            raise RuntimeError(self.runtime.moe_error_message(error).decode())

    def prepare(self, *arrays):
        """A function that runs once and returns its output when asked to."""
        count = len(arrays)
        tensors = (DLManagedTensor * count)()
        keep = []
        for tensor, array in zip(tensors, arrays):
            shape = (ctypes.c_int64 * array.ndim)(*array.shape)
            tensor.tensor = DLTensor(array.ctypes.data, 1, 0, array.ndim, 2,
                                     32, 1, shape, None, 0)
            keep += [array, shape]
        inputs = (ctypes.POINTER(DLManagedTensor) * count)(
            *[ctypes.pointer(tensor) for tensor in tensors])
        outputs = (ctypes.POINTER(DLManagedTensor) * 1)()

        def run(fetch=False):
            error = self.runtime.moe_session_run(
                self.session, count, None, inputs, outputs)
            self.check(error)
            tensor = outputs[0].contents.tensor
            result = None
            if fetch:
                dims = tuple(tensor.shape[i] for i in range(tensor.ndim))
                flat = ctypes.cast(tensor.data,
                                   ctypes.POINTER(ctypes.c_float))
                result = np.ctypeslib.as_array(flat, dims).copy()
            outputs[0].contents.deleter(outputs[0])
            return result

        run.keep = keep
        return run


# --- models --------------------------------------------------------------------


def write_ours(path, first, second, slots, kind):
    """The layer as MLIR with its weights, of type `kind`, in a file beside it."""
    first, second = first.astype(WEIGHTS[kind]), second.astype(WEIGHTS[kind])
    experts, rows, hidden = first.shape
    width, inner = second.shape[1:]
    with open(path + ".bin", "wb") as file:
        first.tofile(file)
        second.tofile(file)
    gate = f"tensor<{experts}x{rows}x{hidden}x{kind}>"
    down = f"tensor<{experts}x{width}x{inner}x{kind}>"
    write_layer(path, slots, hidden, gate, down,
                f'  %g = onnx.Initializer "g" = #onnx.file<"{path}.bin", 0, '
                f"{first.nbytes}> : {gate}\n"
                f'  %d = onnx.Initializer "d" = #onnx.file<"{path}.bin", '
                f"{first.nbytes}, {second.nbytes}> : {down}\n")


def write_layer(path, slots, hidden, gate, down, banks):
    """Routing and experts whose banks %g : gate and %d : down `banks` makes."""
    count = gate[len("tensor<"):].split("x")[0]
    x, logits = f"tensor<?x{hidden}xf32>", f"tensor<?x{count}xf32>"
    top = f"tensor<?x{slots}x"
    text = f"""module {{
func.func @main(%x: {x} {{onnx.dims = ["t", ""]}}, %l: {logits} {{onnx.dims = ["t", ""]}}) -> {x} {{
  %k = onnx.Constant() {{value = dense<{slots}> : tensor<1xi64>}} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%l, %k) : ({logits}, tensor<1xi64>) -> ({top}f32>, {top}i64>)
  %w = onnx.Softmax(%v) : ({top}f32>) -> {top}f32>
  %ids = onnx.Cast(%i) {{to = 6 : i64}} : ({top}i64>) -> {top}i32>
{banks}  %y = moe.experts %x route(%ids, %w : {top}i32>, {top}f32>) gate(%g : {gate}) down(%d : {down})
      {{gate_up = #moe.gate_up<interleave>}} : {x} -> {x} {{
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %s = onnx.Sigmoid(%a) : (tensor<f32>) -> tensor<f32>
    %t = onnx.Mul(%a, %s) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    %h = onnx.Mul(%t, %b) : (tensor<f32>, tensor<f32>) -> tensor<f32>
    moe.yield %h : tensor<f32>
  }}
  return %y : {x}
}}
}}
"""
    with open(path + ".mlir", "w", encoding="ascii") as file:
        file.write(text)


def settings(threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def open_layer(nodes, hidden, experts, large, threads, small=()):
    """A session of nodes that make y [T, H] of x [T, H] and logits r [T, E].

    large: arrays by name, which it shares with us; small: further constants.
    Returns the session and what has to live as long.
    """
    external = []
    for name, array in large.items():
        tensor = TensorProto(
            name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape, data_location=TensorProto.EXTERNAL)
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "none.bin"
        external.append(tensor)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, ["T", hidden]),
                     value("r", TensorProto.FLOAT, ["T", experts])],
        [value("y", TensorProto.FLOAT, ["T", hidden])], [*small, *external])
    model = helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)])
    options = settings(threads)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array)
              for array in large.values()]
    options.add_external_initializers(list(large), values)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, (large, values)


def make_ort(first, second, slots, threads):
    """ONNX Runtime's operator, its weights shared with ours."""
    node = helper.make_node(
        "MoE", ["x", "r", "w1", "", "w2"], ["y"], domain="com.microsoft",
        activation_type="swiglu", k=slots, normalize_routing_weights=1,
        swiglu_fusion=1, activation_alpha=1.0, activation_beta=0.0)
    return open_layer([node], first.shape[2], first.shape[0],
                      {"w1": first, "w2": second}, threads)


def prepare_ort(session, x, logits):
    binding = session.io_binding()
    make = onnxruntime.OrtValue.ortvalue_from_numpy
    values = make(x), make(logits), make(np.zeros_like(x))
    binding.bind_ortvalue_input("x", values[0])
    binding.bind_ortvalue_input("r", values[1])
    binding.bind_ortvalue_output("y", values[2])

    def run(fetch=False):
        session.run_with_iobinding(binding)
        return values[2].numpy() if fetch else None

    run.keep = values
    return run
