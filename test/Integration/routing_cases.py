"""Routers that routing.py compiles: published ones and one per field.

A case names its operands; routing.py makes one input per name, so cases that
share logits share an input.
"""
import dataclasses

import numpy as np
from routing_oracle import Groups, Routing


@dataclasses.dataclass(frozen=True)
class Case:
    """A moe.route. Operands are names of inputs: logits "l16" are float32 with
    16 experts, see `make_input`; "u16" has its number of experts unknown."""
    name: str
    routing: Routing
    logits: str
    select_bias: str = ""
    expert_scale: str = ""
    mix: str = ""
    forced: str = ""
    valid: str = ""

    OPERANDS = ("select_bias", "expert_scale", "mix", "forced", "valid")

    def inputs(self):
        """(operand, name of its input) of all that are there."""
        pairs = [("logits", self.logits)]
        pairs += [(operand, getattr(self, operand))
                  for operand in self.OPERANDS]
        return [(operand, name) for operand, name in pairs if name]


# Letter of a name: NumPy type, MLIR type.
TYPES = {"l": (np.float32, "f32"), "t": (np.float32, "f32"),
         "m": (np.float32, "f32"),
         "u": (np.float32, "f32"), "h": (np.float16, "f16"),
         "d": (np.float64, "f64"), "b": (np.float32, "f32"),
         "s": (np.float32, "f32"), "f": (np.int32, "i32"),
         "v": (np.bool_, "i1")}


def experts_of(name):
    return int("".join(c for c in name[1:].split("x")[0] if c.isdigit()))


def mlir_type(name):
    element = TYPES[name[0]][1]
    if name[0] in "bs":
        return f"tensor<{experts_of(name)}x{element}>"
    if name[0] == "v":
        return f"tensor<?x{element}>"
    if name[0] == "f":
        return f"tensor<?x{name.split('x')[1]}x{element}>"
    if name[0] == "u":
        return f"tensor<?x?x{element}>"
    return f"tensor<?x{experts_of(name)}x{element}>"


def make_input(name, tokens, rng):
    """An input by its name: l, u, h, d logits; t logits with many ties; m
    mixing weights; b a bias and s a scale per expert; fExK forced ids of K
    slots, some of them -1; v which tokens are valid."""
    kind = name[0]
    dtype = TYPES[kind][0]
    if kind == "v":
        return rng.random(tokens) < 0.8
    experts = experts_of(name)
    if kind == "b":
        return (rng.standard_normal(experts) * 0.2).astype(dtype)
    if kind == "s":
        return rng.uniform(0.5, 2, experts).astype(dtype)
    if kind == "m":
        return rng.random((tokens, experts)).astype(dtype)
    if kind == "f":
        slots = int(name.split("x")[1])
        ids = rng.permuted(np.tile(np.arange(experts), (tokens, 1)),
                           axis=1)[:, :slots]
        return np.where(rng.random(ids.shape) < 0.15, -1, ids).astype(dtype)
    logits = rng.standard_normal((tokens, experts)) * 1.5
    if kind == "t":
        # Not around 0: sigmoids of x and -x add up to 1, whatever x is.
        logits = np.round(logits) + 0.3
    return logits.astype(dtype)


def make(name, logits, k, **fields):
    """Fields of the routing and operands in one list."""
    operands = {operand: fields.pop(operand) for operand in Case.OPERANDS
                if operand in fields}
    return Case(name, Routing(k, **fields), logits, **operands)


def published():
    """The 46 routers of released models, most of them with their sizes."""
    yield make("mixtral", "l8", 2, norm="sum")
    for name, logits, k in (("qwen2_moe", "l60", 4), ("qwen3_moe", "l128", 8),
                            ("olmoe", "l64", 8), ("qwen3_next", "l512", 10)):
        yield make(name, logits, k, norm="sum")
        yield make(name + "_plain", logits, k)
    yield make("deepseek_v2_greedy", "l64", 6, scale=16.0)
    yield make("deepseek_v2_group", "l160", 6, scale=16.0,
               groups=Groups(8, 3, fill="zero"))
    for name, experts, k, n, keep, scale in (
            ("deepseek_v3", 256, 8, 8, 4, 2.5), ("glm4_moe", 128, 8, 1, 1, 1.0),
            ("dots1", 128, 6, 4, 2, 2.5), ("exaone_moe", 128, 8, 8, 4, 2.5),
            ("kimi_linear", 256, 8, 1, 1, 2.446),
            ("nemotron_h", 128, 6, 4, 2, 2.5),
            ("solar_open", 128, 8, 2, 1, 1.5), ("hy_v4", 16, 4, 4, 2, 2.5)):
        yield make(name, f"l{experts}", k, select_bias=f"b{experts}",
                   score="sigmoid", groups=Groups(n, keep, "top2sum"),
                   norm="sum", eps=1e-20, scale=scale)
    yield make("mistral4", "l128", 4, groups=Groups(4, 2, "top2sum", "zero"),
               norm="sum", eps=1e-20, scale=1.5)
    yield make("gpt_oss", "l128", 4, score_on="selected")
    yield make("phimoe", "l16", 2, score="sparsemixer", jitter=0.01)
    yield make("granitemoe", "l32", 8, score_on="selected")
    yield make("aria", "l64", 6, score_on="selected")
    yield make("hunyuan_v1", "l64", 8, norm="sum")
    yield make("jamba", "l16", 2)
    yield make("minimax", "l32", 2, norm="sum")
    yield make("minimax_m2", "l256", 8, select_bias="b256", score="sigmoid",
               norm="sum")
    yield make("ernie4_5", "l64", 6, select_bias="b64", norm="sum_clamp",
               eps=1e-12)
    yield make("lfm2_moe", "l32", 4, select_bias="b32", score="sigmoid",
               norm="sum", eps=1e-6, scale=1.3)
    # Its selection bias is as small as the probabilities.
    yield make("longcat", "l768", 12, select_bias="b768", scale=6.0)
    yield make("longcat_plain", "l768", 12, scale=6.0)
    dsv4 = dict(score="sqrtsoftplus", norm="sum", eps=1e-20, scale=2.5)
    yield make("deepseek_v4", "l256", 6, select_bias="b256", **dsv4)
    yield make("deepseek_v4_hash", "l256", 6, forced="f256x6", **dsv4)
    yield make("cohere2_softmax", "l128", 8, score_on="selected")
    yield make("cohere2_sigmoid_sum", "l128", 8, score="sigmoid",
               score_on="selected", norm="sum")
    yield make("cohere2_sigmoid", "l128", 8, score="sigmoid",
               score_on="selected")
    yield make("kolibri1", "l64", 6, select_bias="b64", score="sigmoid",
               select="logit", norm="sum")
    yield make("laguna", "l256", 8, select_bias="b256", score="sigmoid",
               softcap=5.0, norm="sum")
    yield make("flint", "l64", 4, score="sigmoid", norm="sum")
    yield make("privacy_filter", "l128", 4, score_on="selected", k_div=True)
    yield make("afmoe", "l128", 8, select_bias="b128", score="sigmoid",
               norm="sum", eps=1e-20, scale=2.0)
    yield make("gemma4", "l128", 8, expert_scale="s128", norm="sum")
    yield make("jetmoe", "l8", 2, score_on="selected")
    yield make("dbrx", "l16", 4, norm="lp", p=2.0)
    yield make("llama4", "l16", 1, score="sigmoid", score_on="selected")


# What a case turns into if a field is ignored: the field's default, and what
# stands with it only.
def by_field():
    """(field or operand, case, the case without it), all fields in turn."""
    def pair(field, logits="l16", k=4, without=None, **fields):
        case = make("field_" + field.replace(".", "_"), logits, k, **fields)
        changes = {}
        if field in Case.OPERANDS:
            return field, case, dataclasses.replace(case, **{field: ""})
        if without is None:
            name = field.split(".")[0]
            default = next(f.default for f in dataclasses.fields(Routing)
                           if f.name == name)
            without = {name: default}
        changes.update(without)
        return field, case, dataclasses.replace(
            case, routing=dataclasses.replace(case.routing, **changes))

    sigmoid = dict(score="sigmoid")
    yield pair("k", k=3, without={"k": 4})
    yield pair("ranks", k=2, ranks=(2, 0), norm="sum")
    yield pair("score", norm="none", **sigmoid)
    yield pair("score.sqrtsoftplus", score="sqrtsoftplus",
               without={"score": "sigmoid"})
    yield pair("score.identity", score="identity",
               without={"score": "sigmoid"})
    yield pair("score.sparsemixer", k=2, score="sparsemixer", jitter=0.01,
               without={"score": "softmax", "jitter": 0.0})
    yield pair("score_on", score_on="selected")
    yield pair("select", select_bias="b16", select="logit", **sigmoid)
    yield pair("groups", groups=Groups(4, 2), **sigmoid)
    yield pair("groups.n", groups=Groups(8, 2),
               without={"groups": Groups(4, 2)})
    yield pair("groups.keep", groups=Groups(4, 2),
               without={"groups": Groups(4, 3)})
    yield pair("groups.reduce", groups=Groups(4, 2, "top2sum"),
               without={"groups": Groups(4, 2)}, **sigmoid)
    # Scores below 0 lose against the zeros of dropped groups.
    yield pair("groups.fill", groups=Groups(4, 2, fill="zero"),
               score="identity", without={"groups": Groups(4, 2)})
    yield pair("norm", norm="sum")
    yield pair("norm.lp", norm="lp", p=1.0, score="identity",
               without={"norm": "none"})
    yield pair("norm.sum_clamp", norm="sum_clamp", eps=0.5,
               without={"norm": "sum"})
    yield pair("eps", norm="sum", eps=0.25)
    yield pair("p", norm="lp", p=3.0)
    yield pair("p.2", norm="lp", p=2.0, without={"p": 1.0})
    yield pair("scale", scale=2.5)
    yield pair("k_div", k_div=True)
    yield pair("softcap", softcap=1.5)
    yield pair("logit_mult", logit_mult=0.5)
    yield pair("logit_std", logit_std=2.5)
    yield pair("jitter", k=2, score="sparsemixer", jitter=0.2)
    yield pair("min_ratio", min_ratio=0.5)
    yield pair("top_p", top_p=0.6)
    yield pair("min_prob", min_prob=0.15)
    yield pair("null_before_norm", norm="sum", null_before_norm=(3, 4, 9, 15))
    yield pair("tie", logits="t16", tie="highest")
    yield pair("select_bias", select_bias="b16", **sigmoid)
    yield pair("expert_scale", expert_scale="s16")
    yield pair("mix", mix="m16", norm="sum")
    yield pair("forced", forced="f16x4", norm="sum")
    yield pair("valid", valid="v")


def forms():
    """Types, unknown extents and sizes that have code of their own."""
    yield make("half", "h16", 4, norm="sum")
    yield make("half_sigmoid", "h16", 4, score="sigmoid", select_bias="b16")
    yield make("double", "d16", 4, norm="sum", softcap=3.0)
    yield make("double_groups", "d16", 3, groups=Groups(4, 2, "top2sum"))
    yield make("unknown_experts", "u16", 4, norm="sum", select_bias="b16",
               score="sigmoid", groups=Groups(4, 2, "top2sum"), tie="highest")
    yield make("unknown_experts_forced", "u16", 4, forced="f16x4",
               expert_scale="s16", score_on="selected")
    yield make("unknown_experts_std", "u16", 4, logit_std=1.5)
    yield make("many", "l160", 100, norm="sum")
    yield make("many_highest", "t160", 100, tie="highest")
    yield make("all", "l16", 16)
    yield make("all_sorted", "l160", 160)
    yield make("one_expert", "l1", 1, score="sigmoid")
    yield make("late_ranks", "l160", 2, ranks=(99, 70))
    yield make("groups_highest", "t16", 3, groups=Groups(4, 2, "top2sum"),
               tie="highest", score="sigmoid")
    yield make("ties", "t16", 4, groups=Groups(4, 2))
    yield make("forced_selected", "l16", 4, forced="f16x4",
               score_on="selected", norm="sum", score="sigmoid")
    yield make("forced_mix", "l16", 4, forced="f16x4", mix="m16",
               norm="sum_clamp", eps=1e-3, valid="v", min_ratio=0.3)
    yield make("mixed_std", "l16", 4, logit_std=1.3, null_before_norm=(15,),
               norm="sum")


def mixtures(count, seed):
    """Random settings of all fields."""
    rng = np.random.default_rng(seed)

    def maybe(probability, value, otherwise):
        return value if rng.random() < probability else otherwise

    for number in range(count):
        experts, n = (16, 4) if rng.random() < 0.5 else (60, 6)
        k = int(rng.integers(1, 7))
        fields = {"score": str(rng.choice(["softmax", "sigmoid",
                                           "sqrtsoftplus", "identity"]))}
        operands = {}
        fields["score_on"] = maybe(0.3, "selected", "all")
        fields["select"] = maybe(0.3, "logit", "score")
        norms = ["none", "lp"]
        # Scores of both signs may add up to next to nothing.
        if fields["score"] != "identity":
            norms += ["sum", "sum_clamp"]
        fields["norm"] = str(rng.choice(norms))
        if fields["norm"] in ("sum", "sum_clamp"):
            fields["eps"] = float(rng.choice([0.0, 1e-20, 1e-6, 0.25]))
        if fields["norm"] == "lp":
            fields["p"] = float(rng.choice([1.0, 2.0, 1.5]))
        fields["scale"] = maybe(0.3, 2.5, 1.0)
        fields["k_div"] = maybe(0.2, True, False)
        fields["softcap"] = maybe(0.2, 4.0, 0.0)
        fields["logit_mult"] = maybe(0.2, 0.7, 1.0)
        fields["logit_std"] = maybe(0.2, 1.5, 0.0)
        fields["min_ratio"] = maybe(0.2, 0.4, 0.0)
        fields["top_p"] = maybe(0.2, 0.7, 1.0)
        fields["min_prob"] = maybe(0.2, 0.1, 0.0)
        if k > 1:
            fields["null_before_norm"] = maybe(0.2, (0, 1, 2, 11), ())
        fields["tie"] = maybe(0.4, "highest", "lowest")
        if rng.random() < 0.2:
            operands["forced"] = f"f{experts}x{k}"
        else:
            if rng.random() < 0.4:
                fields["groups"] = Groups(
                    n, int(rng.integers(2, n + 1)),
                    str(rng.choice(["max", "top2sum"])),
                    str(rng.choice(["minus_inf", "zero"])))
            if rng.random() < 0.3:
                reach = (fields["groups"].keep * (experts // n)
                         if fields.get("groups") else experts)
                fields["ranks"] = tuple(
                    int(v) for v in rng.permutation(min(reach, 8))[:k])
            operands["select_bias"] = maybe(0.4, f"b{experts}", "")
        if fields["score_on"] == "all":
            operands["mix"] = maybe(0.2, f"m{experts}", "")
        operands["expert_scale"] = maybe(0.2, f"s{experts}", "")
        operands["valid"] = maybe(0.2, "v", "")
        # Sums of two logits on a grid are often equal without equal parts.
        sums = fields.get("groups") and fields["groups"].reduce == "top2sum"
        logits = maybe(0 if sums else 0.2, "t", "l") + str(experts)
        yield make(f"mixture{number}", logits, k, **fields, **operands)
