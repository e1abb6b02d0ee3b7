#!/usr/bin/env python3
"""com.microsoft.GroupQueryAttention, attribute by attribute.

Expected values come from ONNX Runtime where its CPU provider runs the case,
and the formulae below, in float64, must agree with it; the norms of queries
and keys, which that provider does not run, are compared with the formulae
alone. What the operator leaves open (output rows of padding, rows of the cache
that hold nothing) is not compared. Cases that must be refused at run time
stand at the end.

usage: ops_attention.py [PATTERN...]   runs the cases whose names contain a
                                       pattern
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

import ops_nn
from ops_nn import MS, normal

OP = "GroupQueryAttention"
PLACES = ("query key value past_key past_value seqlens total cos sin positions "
          "bias sink k_scale v_scale q_norm k_norm query_seqlens").split()
HEADS = dict(num_heads=4, kv_num_heads=2)


# --- the formulae ---------------------------------------------------------------


def rms(x, weight, epsilon):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def rotate(x, positions, cos, sin, interleaved):
    """x: [S, heads, D], angles for the first dims of D."""
    half = cos.shape[1]
    c, s = cos[positions][:, None], sin[positions][:, None]
    first = np.s_[..., 0:2 * half:2] if interleaved else np.s_[..., :half]
    second = (np.s_[..., 1:2 * half:2] if interleaved
              else np.s_[..., half:2 * half])
    y = x.copy()
    y[first] = x[first] * c - x[second] * s
    y[second] = x[second] * c + x[first] * s
    return y


def resident(tokens, rows, window):
    """Rows that a window-sized cache holds after so many tokens."""
    room = rows - window + 1
    return tokens - room * max(0, -(-(tokens - rows) // room))


def attention(query, key=None, value=None, past_key=None, past_value=None,
              seqlens=None, total=None, cos=None, sin=None, positions=None,
              bias=None, sink=None, q_norm=None, k_norm=None,
              query_seqlens=None, *, num_heads, kv_num_heads, scale=0,
              softcap=0, local_window_size=-1, do_rotary=0,
              rotary_interleaved=0, smooth_softmax=-1,
              sliding_window_cache=0, causal=1, qk_norm_epsilon=1e-6,
              q_norm_epsilon=None, k_norm_epsilon=None):
    """Output and presents, and which of their elements the operator defines."""
    def wide(a):
        return None if a is None else a.astype(np.float64)
    kind = query.dtype
    query, cos, sin, bias, sink, q_norm, k_norm, past_key, past_value = map(
        wide, (query, cos, sin, bias, sink, q_norm, k_norm, past_key,
               past_value))
    batch, tokens, _ = query.shape
    n, kn, window = num_heads, kv_num_heads, local_window_size
    if key is None:
        width = query.shape[2] // (n + 2 * kn)
        query, key, value = np.split(
            query, [n * width, (n + kn) * width], axis=2)
    width = query.shape[2] // n
    query = query.reshape(batch, tokens, n, width)
    key = wide(key).reshape(batch, tokens, kn, width)
    value = wide(value).reshape(batch, tokens, kn, width)
    if q_norm is not None:
        query = rms(query, q_norm, q_norm_epsilon or qk_norm_epsilon)
        key = rms(key, k_norm, k_norm_epsilon or qk_norm_epsilon)
    total = int(total.reshape(-1)[0])
    past = 0 if past_key is None else past_key.shape[2]
    rows = past if sliding_window_cache else max(total, past)
    out = np.zeros((batch, tokens, n, width))
    presents = [np.zeros((batch, kn, rows, width)) for _ in range(2)]
    defined = np.zeros((batch, tokens), bool)
    held = np.zeros((batch, rows), bool)
    for b in range(batch):
        after = int(seqlens.reshape(-1)[b]) + 1
        new = (min(tokens, after) if query_seqlens is None
               else int(query_seqlens[b]))
        before = after - new
        defined[b, :new] = True
        at = before + np.arange(new)
        if positions is not None:
            first_prompt = query_seqlens is None and tokens == total
            at = (positions[0, 0] + np.arange(new) if first_prompt
                  else positions[b, :new])
        q, k, v = query[b, :new], key[b, :new], value[b, :new]
        if do_rotary:
            q = rotate(q, at, cos, sin, rotary_interleaved)
            k = rotate(k, at, cos, sin, rotary_interleaved)
        lead = (resident(before, past, window) if sliding_window_cache
                else before)
        if lead:
            k = np.concatenate([past_key[b, :, :lead].swapaxes(0, 1), k])
            v = np.concatenate([past_value[b, :, :lead].swapaxes(0, 1), v])
        where = np.arange(before - lead, after)
        me = before + np.arange(new)[:, None]
        seen = np.ones((new, len(where)), bool)
        if causal:
            seen &= where <= me
        if window >= 0:
            seen &= where > me - window
        for h in range(n):
            s = q[:, h] @ k[:, h * kn // n].T * (scale or width ** -0.5)
            if softcap:
                s = softcap * np.tanh(s / softcap)
            if bias is not None:
                s = s + bias[b % len(bias), h % bias.shape[1], :new][:, where]
            s = np.where(seen, s, -np.inf)
            extra = -np.inf
            if sink is not None:
                extra = sink[h]
            elif smooth_softmax == 1:
                extra = 0
            most = np.maximum(s.max(-1, initial=-np.inf), extra)[:, None]
            e = np.exp(s - most)
            out[b, :new, h] = e @ v[:, h * kn // n] / (
                e.sum(-1, keepdims=True) + np.exp(extra - most))
        kept = resident(after, rows, window) if sliding_window_cache else after
        for present, x in zip(presents, (k, v)):
            present[b, :, :kept] = x[len(x) - kept:].swapaxes(0, 1)
        held[b, :kept] = True
    out = out.reshape(batch, tokens, n * width)
    masks = [np.broadcast_to(defined[..., None], out.shape)] + 2 * [
        np.broadcast_to(held[:, None, :, None], presents[0].shape)]
    return [a.astype(kind) for a in (out, *presents)], masks


# --- cases ----------------------------------------------------------------------


def arrays(batch, tokens, past, seqlens, total, width=16, packed=True,
           angles=0, dtype=np.float32, **extra):
    """Inputs by name."""
    n, kn = HEADS["num_heads"], HEADS["kv_num_heads"]
    given = {}
    if packed:
        given["query"] = normal(batch, tokens, (n + 2 * kn) * width)
    else:
        given["query"] = normal(batch, tokens, n * width)
        given["key"] = normal(batch, tokens, kn * width)[:, ::-1]
        given["value"] = normal(batch, tokens, kn * width)
    if past is not None:
        given["past_key"] = normal(batch, kn, past, width)
        given["past_value"] = normal(batch, kn, past, width)[..., ::-1]
    given["seqlens"] = np.array(seqlens, np.int32)
    given["total"] = np.array(total, np.int32)
    if angles:
        given["cos"] = normal(32, angles)
        given["sin"] = normal(32, angles)[::-1]
    given.update(extra)
    return {name: np.array(a, dtype if a.dtype == np.float32 else a.dtype,
                           order="C") for name, a in given.items()}


def case(name, given, runtime=True, constant=(), dynamic=None, tolerance=None,
         **attributes):
    attributes = HEADS | attributes
    formulae, masks = attention(
        **{k: v for k, v in given.items()}, **attributes)
    inputs = [given.get(place) for place in PLACES]
    while inputs[-1] is None:
        inputs.pop()
    one = ops_nn.Case(
        f"{OP} {name}", OP, inputs, attributes, 3,
        [PLACES.index(place) for place in constant], dynamic,
        "runtime" if runtime else (lambda *_: tuple(formulae)), MS,
        tolerance=tolerance, relevant=masks)
    ops_nn.CASES.append(one)
    if runtime:
        # The formulae are what the rest of this file goes by.
        for k, (a, e) in enumerate(zip(formulae, ops_nn.get_expected(one))):
            problem = ops_nn.compare(one, k, a, e)
            if problem:
                raise ValueError(f"{name}: the formulae: {problem}")


def group_query_attention():
    case("prompt", arrays(2, 5, 0, [4, 2], 5))
    case("prompt without past", arrays(2, 5, None, [4, 2], 5))
    case("prompt, three inputs", arrays(2, 5, 0, [4, 4], 5, packed=False))
    case("prompt of one token", arrays(2, 1, 0, [0, 0], 1))
    case("prompt into a larger cache", arrays(1, 5, 10, [4], 5))
    case("step", arrays(2, 1, 6, [6, 3], 7))
    case("step in a larger cache", arrays(2, 1, 10, [6, 3], 7))
    case("several tokens behind a past", arrays(1, 3, 6, [8], 9))
    case("lengths of rank 2", arrays(2, 1, 6, [[6], [3]], 7))
    case("total of rank 1", arrays(2, 1, 6, [6, 3], [7]))
    case("static extents", arrays(2, 1, 6, [6, 3], 7, angles=8), dynamic=(),
         constant=["total", "cos", "sin"], do_rotary=1)
    case("width of 8, three inputs", arrays(1, 3, 6, [8], 9, width=8,
                                            packed=False))
    for interleaved in (0, 1):
        turn = dict(do_rotary=1, rotary_interleaved=interleaved)
        name = f"rotary {interleaved}"
        case(f"{name} prompt", arrays(2, 5, 0, [4, 2], 5, angles=8), **turn)
        case(f"{name} step", arrays(2, 1, 6, [6, 3], 7, angles=8), **turn)
        case(f"{name} of a part", arrays(1, 3, 6, [8], 9, width=32, angles=8),
             **turn)
        case(f"{name} positions of a step",
             arrays(2, 1, 6, [6, 3], 7, angles=8,
                    positions=np.array([[9], [2]])), **turn)
        case(f"{name} positions",
             arrays(1, 3, 6, [8], 9, angles=8,
                    positions=np.array([[1, 5, 3]])), **turn)
        case(f"{name} positions of a prompt",
             arrays(2, 3, 0, [2, 1], 3, angles=8,
                    positions=np.array([[9, 12, 1], [2, 7, 4]])), **turn)
    case("positions of padded chunks",
         arrays(2, 3, 3, [2, 1], 3, angles=8,
                positions=np.array([[9, 12, 1], [2, 7, 99]]),
                query_seqlens=np.array([3, 2], np.int32)), do_rotary=1)
    for window in (1, 2, 3, 9):
        case(f"window of {window}", arrays(2, 5, 0, [4, 2], 5),
             local_window_size=window)
    case("window, step", arrays(2, 1, 6, [6, 3], 7), local_window_size=3)
    case("softcap and scale", arrays(2, 5, 0, [4, 2], 5), softcap=1.5,
         scale=2.0)
    case("smooth softmax", arrays(2, 5, 0, [4, 2], 5), smooth_softmax=1)
    case("no smooth softmax", arrays(2, 5, 0, [4, 2], 5), smooth_softmax=0)
    for smooth in (-1, 0, 1):
        case(f"sink, smooth_softmax = {smooth}",
             arrays(2, 5, 0, [4, 2], 5, sink=normal(4) * 3),
             smooth_softmax=smooth)
    case("sink far above the scores",
         arrays(2, 1, 6, [6, 3], 7, sink=np.full(4, 200, np.float32)))
    for shape in ((2, 4), (1, 4), (2, 1), (1, 1)):
        case(f"bias {shape}",
             arrays(2, 5, 0, [4, 2], 5, bias=normal(*shape, 5, 5)))
    case("bias, softcap, step",
         arrays(2, 1, 6, [6, 3], 7, bias=normal(2, 4, 1, 7) * 3), softcap=1.5)
    low = np.float32(np.finfo(np.float32).min)
    case("bias that hides",
         arrays(1, 4, 0, [3], 4,
                bias=np.where(np.eye(4) > 0, 0, low).astype(
                    np.float32)[None, None]))
    case("not causal", arrays(2, 5, 0, [4, 2], 5), causal=0)
    case("not causal, step", arrays(2, 1, 8, [6, 3], 8), causal=0)
    case("padded chunks",
         arrays(2, 4, 8, [4, 3], 8, query_seqlens=np.array([3, 0], np.int32)))
    cache = dict(local_window_size=5, sliding_window_cache=1)
    for tokens, total in ((1, 4), (1, 7), (1, 8), (1, 9), (1, 10), (1, 23),
                          (3, 9), (3, 12), (9, 9), (12, 12), (12, 15)):
        case(f"window-sized cache, {tokens} of {total}",
             arrays(1, tokens, 8, [total - 1], total, angles=8), do_rotary=1,
             **cache)
    case("window-sized cache without slack", arrays(1, 3, 5, [8], 9), **cache)
    case("window-sized cache of two", arrays(2, 1, 8, [9, 3], 10, angles=8),
         do_rotary=1, **cache)
    case("window-sized cache, padded chunks",
         arrays(2, 4, 8, [6, 3], 9, query_seqlens=np.array([3, 2], np.int32)),
         **cache)
    case("window-sized cache, bias",
         arrays(1, 3, 8, [11], 12, bias=normal(1, 4, 3, 12)), **cache)
    case("window-sized cache, positions",
         arrays(1, 3, 8, [9], 10, angles=8,
                positions=np.array([[9, 12, 1]])), do_rotary=1, **cache)
    case("float16",
         arrays(2, 1, 8, [6, 3], 8, angles=8, sink=normal(4),
                dtype=np.float16), do_rotary=1)
    case("bfloat16",
         arrays(2, 1, 8, [6, 3], 8, angles=8, sink=normal(4),
                dtype=ops_nn.BF16), runtime=False, do_rotary=1)
    norms = dict(q_norm=normal(16), k_norm=normal(16)[::-1])
    case("norms", arrays(2, 5, 0, [4, 2], 5, angles=8, **norms),
         runtime=False, do_rotary=1, qk_norm_epsilon=1e-2)
    case("norms, own epsilons",
         arrays(2, 1, 6, [6, 3], 7, packed=False, **norms), runtime=False,
         q_norm_epsilon=0.5, k_norm_epsilon=0.1)
    case("no tokens", arrays(1, 0, 4, [3], 4, angles=8), runtime=False,
         do_rotary=1)
    case("nobody", arrays(0, 1, 4, np.zeros(0), 5), runtime=False)


def refusals():
    """(name, inputs, attributes, what the message must hold)"""
    three = np.array([[1, 2, 3]])
    return [
        ("length below 1", arrays(2, 1, 6, [6, -1], 7), {},
         "seqlens_k has an entry outside of 0 to total_sequence_length - 1"),
        ("length above the total", arrays(2, 1, 6, [7, 2], 7), {},
         "seqlens_k has an entry outside of 0 to total_sequence_length - 1"),
        ("total beyond the past", arrays(1, 1, 4, [4], 8), {},
         "total_sequence_length exceeds the past and the new tokens"),
        ("more than the past has",
         arrays(1, 1, 4, [7], 8, query_seqlens=np.array([1], np.int32)), {},
         "seqlens_k counts more tokens before this step than the past has"),
        ("total below the new tokens", arrays(1, 5, 6, [3], 4), {},
         "total_sequence_length is less than the number of new tokens"),
        ("several tokens of a batch", arrays(2, 3, 6, [8, 5], 9), {},
         "need a batch of 1 or query_seqlens"),
        ("chunk longer than its row",
         arrays(1, 3, 8, [4], 8, query_seqlens=np.array([4], np.int32)), {},
         "query_seqlens has an entry outside"),
        ("chunk longer than the tokens",
         arrays(1, 3, 8, [0], 8, query_seqlens=np.array([2], np.int32)), {},
         "query_seqlens has an entry outside"),
        ("cache below the window", arrays(1, 1, 4, [4], 5),
         dict(local_window_size=5, sliding_window_cache=1),
         "the cache has fewer rows than the window of 5"),
        ("position beyond the angles",
         arrays(1, 1, 40, [40], 41, angles=8), dict(do_rotary=1),
         "a position is outside of the rows of cos_cache"),
        ("negative position",
         arrays(1, 3, 6, [8], 9, angles=8, positions=-three),
         dict(do_rotary=1), "a position is outside of the rows of cos_cache"),
        ("angles wider than a head", arrays(1, 1, 6, [6], 7, angles=16),
         dict(do_rotary=1), "more angles than half the width of a head"),
        ("bias of too few columns",
         arrays(1, 1, 6, [6], 7, bias=normal(1, 4, 1, 6)), {},
         "attention_bias does not have total_sequence_length columns"),
    ]


def refuse(name, given, attributes, text, folder):
    """None, or what is wrong."""
    inputs = [given.get(place) for place in PLACES]
    one = ops_nn.Case(name, OP, inputs, HEADS | attributes, 3, domain=MS)
    one.expected = [np.zeros((1, 1, 1), np.float32)] + 2 * [
        np.zeros((1, 1, 1, 1), np.float32)]
    model, feeds = ops_nn.build_model([one])
    path = os.path.join(folder, "model.onnx")
    onnx.save(model, path)
    for i, (input_name, value) in enumerate(feeds.items()):
        tensor = numpy_helper.from_array(value, input_name)
        with open(os.path.join(folder, f"input_{i}.pb"), "wb") as file:
            file.write(tensor.SerializeToString())
    done = subprocess.run([ops_nn.MOE_RUN, path, "--data", folder],
                          capture_output=True, text=True, check=False)
    if done.returncode != 1 or text not in done.stderr:
        return (f"exit status {done.returncode}, expected 1 and '{text}': "
                f"{done.stderr.strip()}")
    return None


def main():
    # One function of many attentions takes LLVM long.
    ops_nn.BATCH = 4
    patterns = sys.argv[1:]
    chosen = [one for one in refusals()
              if not patterns or any(p in one[0] for p in patterns)]
    failed = 0
    for one in chosen:
        with tempfile.TemporaryDirectory() as folder:
            problem = refuse(*one, folder)
        if problem:
            failed += 1
            print(f"FAILED {one[0]}: {problem}")
    print(f"refused at run time: {len(chosen) - failed} passed, "
          f"{failed} failed")
    status = ops_nn.main([group_query_attention])
    return 1 if status or failed else 0


if __name__ == "__main__":
    sys.exit(main())
