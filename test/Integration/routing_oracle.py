"""What routers compute, in NumPy and float64: the oracle of routing.py.

Written from the definitions of `#moe.routing` and of the ops around it, with
whole sorts and no regard for speed; shares nothing with the compiler.

Selections are discontinuous: where two scores are so close that rounding in
float32 decides between them, an implementation may choose either. `route`
therefore also tells for which tokens the choice is clear: all scores between
which it decided were more than 64 ulp of float32 apart, or equal (then the tie
rule holds, as equal logits give equal scores in any precision).
"""
import dataclasses

import numpy as np

ULP = 2.0 ** -23
MARGIN = 64


@dataclasses.dataclass(frozen=True)
class Groups:
    n: int
    keep: int
    reduce: str = "max"
    fill: str = "minus_inf"

    def mlir(self):
        return (f"#moe.groups<n = {self.n}, keep = {self.keep}, "
                f"reduce = {self.reduce}, fill = {self.fill}>")


@dataclasses.dataclass(frozen=True)
class Routing:
    """The fields of `#moe.routing`, with the same defaults."""
    k: int
    ranks: tuple = ()
    score: str = "softmax"
    score_on: str = "all"
    select: str = "score"
    groups: Groups = None
    norm: str = "none"
    eps: float = 0.0
    p: float = 1.0
    scale: float = 1.0
    k_div: bool = False
    softcap: float = 0.0
    logit_mult: float = 1.0
    logit_std: float = 0.0
    jitter: float = 0.0
    min_ratio: float = 0.0
    top_p: float = 1.0
    min_prob: float = 0.0
    null_before_norm: tuple = ()
    tie: str = "lowest"

    def mlir(self):
        fields = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if isinstance(value, Groups):
                text = value.mlir()
            elif isinstance(value, bool):
                text = "true" if value else "false"
            elif isinstance(value, tuple):
                text = "[" + ", ".join(str(v) for v in value) + "]"
            elif isinstance(value, float):
                text = repr(value)
                if "." not in text:
                    text = text.replace("e", ".0e")
            else:
                text = str(value)
            fields.append(f"{field.name} = {text}")
        return f"#moe.routing<{', '.join(fields)}>"


# --- scores -----------------------------------------------------------------


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sqrt_softplus(x):
    return np.sqrt(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


SCORES = {
    "softmax": softmax,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "sqrtsoftplus": sqrt_softplus,
    "identity": lambda x: x,
}


def transform(r, logits):
    x = logits.astype(np.float64) * r.logit_mult
    if r.softcap > 0:
        x = r.softcap * np.tanh(x / r.softcap)
    if r.logit_std > 0:
        x = x / (x.std(-1, ddof=1, keepdims=True) / r.logit_std)
    return x


# --- selection --------------------------------------------------------------


def order(x, tie="lowest"):
    """Indices of each row in descending order of its elements."""
    if tie == "lowest":
        return np.argsort(-x, axis=-1, kind="stable")
    last = x.shape[-1] - 1
    return last - np.argsort(-x[..., ::-1], axis=-1, kind="stable")


def apart(x, y, size=0):
    """Whether rounding cannot decide which of x and y is greater. `size` is the
    magnitude of what they were added up from, if that is more than their own.
    """
    with np.errstate(invalid="ignore"):
        gap = np.abs(x - y)
        size = np.maximum(np.maximum(np.abs(x), np.abs(y)), size)
        return (gap > MARGIN * ULP * size) | np.isinf(size)


def clear_ranks(x, ranks, tie, size=0, part=0):
    """Rows in which the set of elements at `ranks` is clear, and rows in which
    their order is. `size` as for `apart`, of each element. Sums are surely
    equal only if their parts are: `part` is one of two."""
    best = order(x, tie)

    def in_order(y):
        return np.take_along_axis(np.broadcast_to(y, x.shape), best, -1)

    size, part, x = in_order(size), in_order(part), in_order(x)
    picked = np.zeros(x.shape[-1], bool)
    picked[list(ranks)] = True
    whole = ordered = np.ones(len(x), bool)

    def decided(i, others):
        """Whether element i has its side of all others."""
        others = slice(*others)
        equal = ((x[:, i:i + 1] == x[:, others])
                 & (part[:, i:i + 1] == part[:, others]))
        far = apart(x[:, i:i + 1], x[:, others],
                    np.maximum(size[:, i:i + 1], size[:, others]))
        return (equal | far).all(1)

    for i in np.nonzero(picked[:-1] | picked[1:])[0]:
        border = decided(i, (i + 1, None)) & decided(i + 1, (0, i + 1))
        ordered = ordered & border
        if picked[i] != picked[i + 1]:
            whole = whole & border
    return whole, ordered


def limit_to_groups(x, groups, tie):
    """x with the scores outside of the best groups replaced, and for which
    rows these groups are clear."""
    tokens, experts = x.shape
    grouped = x.reshape(tokens, groups.n, experts // groups.n)
    if groups.reduce == "max":
        scores = grouped.max(-1)
    else:
        scores = np.sort(grouped, -1)[..., -2:].sum(-1)
    best = order(scores, tie)[:, :groups.keep]
    kept = np.zeros(scores.shape, bool)
    np.put_along_axis(kept, best, True, 1)
    fill = 0.0 if groups.fill == "zero" else -np.inf
    limited = np.where(kept[:, :, None], grouped, fill).reshape(x.shape)
    return limited, clear_ranks(scores, range(groups.keep), tie,
                                part=grouped.max(-1))[0]


def mix_sparsely(x, jitter, tie):
    """ids, weights and clear rows of `score = sparsemixer`."""
    ids, weights = [], []
    clear = clear_ranks(x, range(2), tie)[1]
    masked = x.copy()
    for _ in range(2):
        most = masked.max(-1, keepdims=True)
        best = order(masked, tie)[:, :1]
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = (most - x) / np.maximum(np.abs(x), most)
        far = distance > 2 * jitter
        clear &= (apart(distance, 2 * jitter) | (x == most) |
                  np.isnan(distance)).all(-1)
        shares = softmax(np.where(far, -np.inf, masked))
        ids.append(best)
        weights.append(np.take_along_axis(shares, best, 1))
        np.put_along_axis(masked, best, -np.inf, 1)
    return np.concatenate(ids, 1), np.concatenate(weights, 1), clear


# --- moe.route --------------------------------------------------------------


def route(r, logits, select_bias=None, expert_scale=None, mix=None,
          forced=None, valid=None):
    """ids [T, k], weights [T, k], and two arrays [T] of bool: for which tokens
    the set of experts is clear, and for which their order is."""
    tokens, experts = logits.shape
    x = transform(r, logits)
    clear = ordered = np.ones(tokens, bool)
    empty = np.zeros((tokens, r.k), bool)
    if r.score == "sparsemixer":
        ids, w, clear = mix_sparsely(x, r.jitter, r.tie)
        ordered = clear
    else:
        score = SCORES[r.score]
        late = r.score_on == "selected"
        scores = None if late else score(x)
        if forced is not None:
            empty = forced < 0
            ids = np.where(empty, 0, forced)
        else:
            choice = x if late or r.select == "logit" else scores
            size = np.abs(choice)
            if select_bias is not None:
                choice = choice + select_bias
                size = size + np.abs(select_bias)
            if r.groups:
                choice, clear = limit_to_groups(choice, r.groups, r.tie)
            ranks = list(r.ranks or range(r.k))
            ids = order(choice, r.tie)[:, ranks]
            same, in_order = clear_ranks(choice, ranks, r.tie, size)
            clear, ordered = clear & same, clear & in_order
        source = mix if mix is not None else x if late else scores
        w = np.take_along_axis(source.astype(np.float64), ids, 1)
        if late:
            alone = empty.all(-1, keepdims=True)
            w = np.where(empty & ~alone, -np.inf, w) \
                if r.score == "softmax" else w
            w = score(w)
        w = np.where(empty, 0, w)

    w = np.where(np.isin(ids, r.null_before_norm) & ~empty, 0, w)
    with np.errstate(invalid="ignore", divide="ignore"):
        if r.norm == "sum":
            w = w / (w.sum(-1, keepdims=True) + r.eps)
        elif r.norm == "sum_clamp":
            w = w / np.maximum(w.sum(-1, keepdims=True), r.eps)
        elif r.norm == "lp":
            w = w / (np.abs(w) ** r.p).sum(-1, keepdims=True) ** (1 / r.p)
    w = w * r.scale
    if r.k_div:
        w = w / r.k
    if expert_scale is not None:
        w = w * expert_scale.astype(np.float64)[ids]
    w = np.where(empty, 0, w)
    ids = np.where(empty, -1, ids)

    drop = np.zeros(w.shape, bool)

    later = np.arange(r.k) > 0

    def drop_if(dropped, x, y, size=0):
        nonlocal drop, clear
        drop |= dropped
        # 0 stays 0 in any precision.
        decided = apart(x, y, size) | ((x == 0) & (y == 0)) | ~later
        clear = clear & decided.all(-1)

    if r.min_ratio:
        limit = r.min_ratio * w[:, :1]
        drop_if(w < limit, w, limit)
    if r.top_p < 1:
        limit = r.top_p * w.sum(-1, keepdims=True)
        # The sum before a slot comes of the weights in front of it alone.
        before = np.concatenate([np.zeros((tokens, 1)),
                                 np.cumsum(w, -1)[:, :-1]], -1)
        drop_if(before >= limit, before, limit,
                np.abs(w).sum(-1, keepdims=True))
    if r.min_prob:
        drop_if(w < r.min_prob, w, r.min_prob)
    if r.min_ratio or r.top_p < 1 or r.min_prob:
        clear = clear & ordered
    drop &= later
    if valid is not None:
        drop |= ~valid[:, None]
    return (np.where(drop, -1, ids).astype(np.int32), np.where(drop, 0, w),
            clear, clear & ordered)


def scatter(ids, weights, count):
    """Weights as a matrix [rows, count]; ids of -1 leave nothing."""
    dense = np.zeros((len(ids), count))
    for j in range(ids.shape[1]):
        rows = np.nonzero(ids[:, j] >= 0)[0]
        np.add.at(dense, (rows, ids[rows, j]), weights[rows, j])
    return dense


def selected(ids, count):
    """Which experts a token has, [rows, count]."""
    return scatter(ids, np.ones(ids.shape), count) > 0


# --- the other ops ----------------------------------------------------------


def pick_tokens(scores, capacity):
    """Each expert's best tokens: ids [E, C], weights [E, C], clear [E]."""
    tokens, experts = scores.shape
    found = min(tokens, capacity)
    best = order(scores.T)[:, :found]
    ids = np.full((experts, capacity), -1)
    weights = np.zeros((experts, capacity))
    ids[:, :found] = best
    weights[:, :found] = np.take_along_axis(scores.T, best, 1)
    clear = (clear_ranks(scores.T, range(found), "lowest")[0]
             if 0 < found < tokens else np.ones(experts, bool))
    return ids.astype(np.int32), weights, clear


def sinkhorn_plan(logits, iterations):
    tokens, experts = logits.shape
    if not tokens:
        return np.zeros(logits.shape)
    x = logits.astype(np.float64)
    kernel = np.exp(x - x.max(-1, keepdims=True))
    rows, columns = np.ones(tokens), np.ones(experts)
    for _ in range(iterations):
        rows = 1 / (tokens * (kernel @ columns))
        columns = 1 / (experts * (rows @ kernel))
    return rows[:, None] * kernel * columns


def nearest_in_simplex(x, capacity):
    """Of each column: the nearest point of the simplex with at most `capacity`
    entries, those of the largest elements."""
    tokens, experts = x.shape
    found = min(capacity, tokens)
    if not found:
        return np.zeros(x.shape)
    best = order(x.T)[:, :found].T
    u = np.take_along_axis(x, best, 0)
    means = (np.cumsum(u, 0) - 1) / np.arange(1, found + 1)[:, None]
    last = (u > means).sum(0) - 1
    y = np.zeros(x.shape)
    np.put_along_axis(y, best, np.maximum(u - means[last, range(experts)], 0),
                      0)
    return y


def transport_plan(logits, capacity, gamma, iterations):
    """E times the plan of regularised optimal transport, [T, E]."""
    tokens, experts = logits.shape
    if not tokens:
        return np.zeros(logits.shape)
    x = logits.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    point, to = np.zeros(tokens), np.zeros(tokens)
    for i in range(iterations):
        y = nearest_in_simplex((x + point[:, None]) * experts / gamma,
                               capacity)
        move = point + gamma / experts * (1 / tokens - y.sum(1) / experts)
        point = move + i / (i + 3) * (move - to)
        to = move
    return nearest_in_simplex((x + to[:, None]) * experts / gamma, capacity)


def load_stats(ids, weights, experts, probs=None):
    counts = np.zeros(experts, np.int64)
    gates = np.zeros(experts)
    there = ids >= 0
    np.add.at(counts, ids[there], 1)
    np.add.at(gates, ids[there], weights.astype(np.float64)[there])
    sums = (np.zeros(experts) if probs is None
            else probs.astype(np.float64).sum(0))
    return counts, gates, sums
