#!/usr/bin/env python3
"""Times a layer of experts against ONNX Runtime's com.microsoft.MoE or QMoE.

usage: experts.py [--hidden H] [--inner I] [--experts E] [--slots K]
                  [--tokens T,T,...] [--rounds N] [--threads N] [--mcpu CPU]
                  [--weights f32|bf16|f16] [--bits 8|4]

Both run in this process, one after the other in every round, on inputs that
change from call to call; what is printed are medians, minima and the ratio of
ONNX Runtime's time to ours, a median over rounds. With one thread the times are
those of the CPU, which other programs on the machine disturb less. Routing is
part of both: a softmax over the K largest logits. Results are compared first.

With weights of 16 bits our code for the same numbers as f32 runs as well: the
results have to be equal, and the ratio to its time is printed too. Of bf16 there
is code with --activations=rounded as well, whose error has to be below 1e-2. ONNX
Runtime has f32 in any case, for it computes with nothing else on a CPU.

With --bits the banks are codes in blocks of 32. Ours are compiled with
--activations=exact, then close and rounded; ONNX Runtime's are QMoE, then QMoE with
accuracy_level = 4, which lets it round activations to 8 bits. Each one's error
is that of 4 tokens against float64, relative to the norm.
"""
import argparse
import ctypes
import functools
import os
import subprocess
import tempfile
import time

import ml_dtypes
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))
# Errors beside codes, by --activations.
BOUNDS = {"exact": 2e-6, "close": 1e-4, "rounded": 5e-2}
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
    x, logits = f"tensor<?x{hidden}xf32>", f"tensor<?x{experts}xf32>"
    top = f"tensor<?x{slots}x"
    text = f"""module {{
func.func @main(%x: {x} {{onnx.dims = ["t", ""]}}, %l: {logits} {{onnx.dims = ["t", ""]}}) -> {x} {{
  %k = onnx.Constant() {{value = dense<{slots}> : tensor<1xi64>}} : () -> tensor<1xi64>
  %v, %i = onnx.TopK(%l, %k) : ({logits}, tensor<1xi64>) -> ({top}f32>, {top}i64>)
  %w = onnx.Softmax(%v) : ({top}f32>) -> {top}f32>
  %ids = onnx.Cast(%i) {{to = 6 : i64}} : ({top}i64>) -> {top}i32>
  %g = onnx.Initializer "g" = #onnx.file<"{path}.bin", 0, {first.nbytes}> : {gate}
  %d = onnx.Initializer "d" = #onnx.file<"{path}.bin", {first.nbytes}, {second.nbytes}> : {down}
  %y = moe.experts %x route(%ids, %w : {top}i32>, {top}f32>) gate(%g : {gate}) down(%d : {down})
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


def make_ort(first, second, slots, threads):
    """ONNX Runtime's operator, its weights shared with ours."""
    node = helper.make_node(
        "MoE", ["x", "r", "w1", "", "w2"], ["y"], domain="com.microsoft",
        activation_type="swiglu", k=slots, normalize_routing_weights=1,
        swiglu_fusion=1, activation_alpha=1.0, activation_beta=0.0)
    hidden, experts = first.shape[2], first.shape[0]
    external = []
    for name, array in (("w1", first), ("w2", second)):
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT,
                             dims=array.shape,
                             data_location=TensorProto.EXTERNAL)
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "none.bin"
        external.append(tensor)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [value("x", TensorProto.FLOAT, ["T", hidden]),
                      value("r", TensorProto.FLOAT, ["T", experts])],
        [value("y", TensorProto.FLOAT, ["T", hidden])], external)
    model = helper.make_model(graph, opset_imports=[
        helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(a)
              for a in (first, second)]
    options.add_external_initializers(["w1", "w2"], values)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, values


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


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--inner", type=int, default=2048)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--tokens", default="1,16,64,128,256")
    parser.add_argument("--rounds", type=int, default=0,
                        help="default: about 5 s for each number of tokens")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mcpu", default="native")
    parser.add_argument("--weights", default="f32", choices=list(WEIGHTS))
    parser.add_argument("--bits", type=int, choices=(4, 8))
    options = parser.parse_args()

    print(f"H = {options.hidden}, I = {options.inner}, "
          f"E = {options.experts}, k = {options.slots}, "
          f"{options.threads} thread(s)")
    with tempfile.TemporaryDirectory() as folder:
        if options.bits:
            run_codes(options, folder)
        else:
            run_floats(options, folder)


def compile_ours(options, path, *flags):
    begin = time.perf_counter()
    subprocess.run([os.path.join(BUILD, "bin", "moe-compile"), path + ".mlir",
                    "-o", path + ".so", f"--mcpu={options.mcpu}", *flags],
                   check=True)
    print(f"{os.path.basename(path)}: compiled in "
          f"{time.perf_counter() - begin:.1f} s")


def run_floats(options, folder):
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
    first = draw(options.experts, 2 * options.inner, options.hidden)
    first /= np.float32(np.sqrt(options.hidden))
    second = draw(options.experts, options.hidden, options.inner)
    second /= np.float32(np.sqrt(options.inner))
    first, second = (bank.astype(WEIGHTS[options.weights]).astype(np.float32)
                     for bank in (first, second))
    runtime = load_runtime(folder)
    kinds = list(dict.fromkeys([options.weights, "f32"]))
    if options.weights == "bf16":
        kinds.append("bf16-rounded")
    ours = []
    for name in kinds:
        path = os.path.join(folder, name)
        kind, *rounded = name.split("-")
        write_ours(path, first, second, options.slots, kind)
        compile_ours(options, path, *[f"--activations={r}" for r in rounded])
        ours.append(Ours(runtime, path + ".so", options.threads))
    session, _keep = make_ort(first, second, options.slots, options.threads)
    for tokens in map(int, options.tokens.split(",")):
        inputs = []
        for _ in range(7):
            x = draw(tokens, options.hidden)
            logits = draw(tokens, options.experts)
            inputs.append([own.prepare(x, logits) for own in ours]
                          + [prepare_ort(session, x, logits)])
        compare(tokens, kinds, *(run(True) for run in inputs[0]))
        times = measure(options, inputs)
        report(options, tokens, kinds + ["ONNX Runtime"], times)


def run_codes(options, folder):
    import codes
    import layers
    layer = layers.Layer(options.hidden, options.inner, options.experts,
                         options.slots)
    *first, layer.first = codes.quantise(layer.first, options.bits)
    *second, layer.second = codes.quantise(layer.second, options.bits)
    runtime = load_runtime(folder)
    names, bounds, prepare, keep = [], [], [], []
    for activations, bound in BOUNDS.items():
        path = os.path.join(folder, activations)
        codes.write_ours(path, first, second, options.slots, options.bits)
        compile_ours(options, path, f"--activations={activations}")
        names.append(activations)
        bounds.append(bound)
        prepare.append(Ours(runtime, path + ".so", options.threads).prepare)
    for level in (0, 4):
        session, values = codes.make_ort(first, second, options.slots,
                                         options.bits, level, options.threads)
        keep.append(values)
        names.append("QMoE" + (" level 4" if level else ""))
        bounds.append(5e-2)
        prepare.append(functools.partial(prepare_ort, session))
    for tokens in map(int, options.tokens.split(",")):
        pairs = layer.inputs(tokens)
        inputs = [[make(*pair) for make in prepare] for pair in pairs]
        want = layer.exact(*(array[:4] for array in pairs[0]))
        for name, bound, run in zip(names, bounds, inputs[0]):
            error = np.linalg.norm(run(True)[:4] - want) / np.linalg.norm(want)
            print(f"T = {tokens:4}: {name}: error {error:.1e}")
            if not error < bound:
                raise SystemExit(f"T = {tokens}: {name} differs")
        report(options, tokens, names, measure(options, inputs))


def compare(tokens, kinds, *results):
    """Ours have to be equal to each other, or near if they round, and near ONNX
    Runtime's."""
    def check(other, name, bound):
        error = np.linalg.norm(results[0] - other) / np.linalg.norm(other)
        if not error <= bound:
            raise SystemExit(f"T = {tokens}: {kinds[0]} and {name} differ by "
                             f"{error}")
    for kind, other in zip(kinds[1:], results[1:]):
        check(other, kind, 1e-2 if kind.endswith("rounded") else 0)
    check(results[-1], "ONNX Runtime", 1e-5)


def measure(options, inputs):
    """Times in ms [who, round]."""
    times = [[] for _ in inputs[0]]
    clock = time.process_time if options.threads == 1 else time.perf_counter
    end = time.perf_counter() + 5
    while (len(times[0]) < options.rounds if options.rounds else
           time.perf_counter() < end or len(times[0]) < 5):
        # Each takes another input, so none finds the weights that the one
        # before has just fetched.
        turn = len(times[0])
        for who, taken in enumerate(times):
            run = inputs[(turn + 3 * who) % len(inputs)][who]
            begin = clock()
            run()
            taken.append(clock() - begin)
    return np.array(times) * 1e3


def report(options, tokens, names, times):
    work = 6 * tokens * options.slots * options.hidden * options.inner
    own = times[0]
    text = (f"T = {tokens:4}: ours {np.median(own):8.3f} ms (min "
            f"{own.min():8.3f}, {work / own.min() / 1e6:6.1f} GFLOP/s)")
    for name, other in zip(names[1:], times[1:]):
        text += (f", {name} {np.median(other):8.3f} ms (min "
                 f"{other.min():8.3f}), ratio {np.median(other / own):5.2f}, "
                 f"of minima {other.min() / own.min():5.2f}")
    print(f"{text}, {times.shape[1]} rounds", flush=True)


if __name__ == "__main__":
    main()
