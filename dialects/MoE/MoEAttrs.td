//===- MoEAttrs.td - how tokens are routed and experts laid out -*- tablegen -*-===//
#ifndef MOE_DIALECTS_MOE_MOEATTRS_TD
#define MOE_DIALECTS_MOE_MOEATTRS_TD

include "dialects/MoE/MoEBase.td"

class MoE_Enum<string name, string text, list<I32EnumAttrCase> cases>
    : I32EnumAttr<name, text, cases> {
  let cppNamespace = "::moe::ir";
  let genSpecializedAttr = 0;
}

def MoE_Score : MoE_Enum<"Score", "from logits to scores", [
  I32EnumAttrCase<"Softmax", 0, "softmax">,
  I32EnumAttrCase<"Sigmoid", 1, "sigmoid">,
  I32EnumAttrCase<"SqrtSoftplus", 2, "sqrtsoftplus">,
  I32EnumAttrCase<"Identity", 3, "identity">,
  I32EnumAttrCase<"SparseMixer", 4, "sparsemixer">]>;
def MoE_ScoreOn : MoE_Enum<"ScoreOn", "what is scored", [
  I32EnumAttrCase<"All", 0, "all">,
  I32EnumAttrCase<"Selected", 1, "selected">]>;
def MoE_Select : MoE_Enum<"Select", "what the selection bias is added to", [
  I32EnumAttrCase<"ByScore", 0, "score">,
  I32EnumAttrCase<"ByLogit", 1, "logit">]>;
def MoE_Norm : MoE_Enum<"Norm", "how the weights of a token are normalised", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Sum", 1, "sum">,
  I32EnumAttrCase<"SumClamp", 2, "sum_clamp">,
  I32EnumAttrCase<"Lp", 3, "lp">]>;
def MoE_Tie : MoE_Enum<"Tie", "which of equal scores comes first", [
  I32EnumAttrCase<"Lowest", 0, "lowest">,
  I32EnumAttrCase<"Highest", 1, "highest">]>;
def MoE_GroupReduce : MoE_Enum<"GroupReduce", "score of a group", [
  I32EnumAttrCase<"Max", 0, "max">,
  I32EnumAttrCase<"Top2Sum", 1, "top2sum">]>;
def MoE_GroupFill : MoE_Enum<"GroupFill", "score in dropped groups", [
  I32EnumAttrCase<"MinusInf", 0, "minus_inf">,
  I32EnumAttrCase<"Zero", 1, "zero">]>;

def MoE_GroupsAttr : MoE_Attr<"Groups", "groups"> {
  let summary = "selection limited to the best groups of experts";
  let description = [{
    The E experts form `n` groups of E/n neighbours. A group's score is the
    largest selection score in it (`max`) or the sum of the two largest
    (`top2sum`); the experts outside of the `keep` best groups get the selection
    score `fill`. DeepSeek-V2 and V3.

    ```mlir
    #moe.groups<n = 8, keep = 4, reduce = top2sum, fill = minus_inf>
    ```
  }];
  let parameters = (ins "int64_t":$n, "int64_t":$keep,
                        DefaultValuedParameter<"GroupReduce", "GroupReduce::Max">:$reduce,
                        DefaultValuedParameter<"GroupFill", "GroupFill::MinusInf">:$fill);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

/// A number that is computed with as f64; prints as the shortest decimal that
/// reads back as the same bits.
class MoE_Real<string value> : DefaultValuedParameter<"::llvm::APFloat",
    "::llvm::APFloat(" # value # ")"> {
  let printer = "::moe::ir::printReal($_printer, $_self)";
  let parser = "::moe::ir::parseReal($_parser)";
  let comparator = "$_lhs.bitwiseIsEqual($_rhs)";
}

/// A list in brackets, so that what follows it in the attribute is no part of it.
def MoE_Indices : OptionalArrayRefParameter<"int64_t"> {
  let printer = "::moe::ir::printIndices($_printer, $_self)";
  let parser = "::moe::ir::parseIndices($_parser)";
}

def MoE_RoutingAttr : MoE_Attr<"Routing", "routing"> {
  let summary = "from logits to the experts of a token and their weights";
  let description = [{
    Every published router that picks experts token by token is a setting of
    these fields (docs/Rationale/Experts.md lists 46). In order, for logits l of
    one token:

    1. l := l * logit_mult; with softcap c > 0: l := c * tanh(l / c); with
       logit_std s > 0: l := l / (std(l) / s), the deviation with E - 1 degrees
       of freedom (MoE++).
    2. scores s = score(l): softmax, sigmoid, sqrt(softplus), or l itself.
       With `score_on = selected` the score function sees the logits of the
       selected experts only, after selection.
    3. selection scores c = s, or l with `select = logit` or `score_on =
       selected`; plus the operand `select_bias`; limited to `groups`.
    4. the experts of ranks `ranks` (0 to k-1 if empty) in descending order of
       c. Of equal ones the lowest or highest index comes first: `tie`.
    5. weights w = s of the selected, or those of the operand `mix`; never with
       the selection bias. w of the experts in `null_before_norm` := 0.
    6. norm: `sum` w / (sum(w) + eps); `sum_clamp` w / max(sum(w), eps); `lp`
       w / (sum |w|^p)^(1/p).
    7. w := w * scale, / k with `k_div`, times `expert_scale` of the expert.
    8. slot j > 0 is dropped (id -1, weight 0) if w_j < min_ratio * w_0, if the
       weights before it sum to at least top_p * sum(w), or if w_j < min_prob.
       The defaults 0, 1 and 0 turn each of them off, whatever the weights are.

    `score = sparsemixer` (PhiMoE, at inference) is a procedure of its own for
    k = 2: rank 0 is the largest logit; its weight is its softmax over the
    logits l_i with (m - l_i) / max(|l_i|, m) <= 2 * jitter, m being the largest
    logit; rank 1 the same without the first one. Only `logit_mult`, `softcap`,
    `logit_std` and `tie` may accompany it.

    ```mlir
    // Mixtral
    #moe.routing<k = 2, norm = sum>
    // DeepSeek-V3
    #moe.routing<k = 8, score = sigmoid,
                 groups = #moe.groups<n = 8, keep = 4, reduce = top2sum>,
                 norm = sum, eps = 1.0e-20, scale = 2.5>
    ```
  }];
  let parameters = (ins
    "int64_t":$k,
    MoE_Indices:$ranks,
    DefaultValuedParameter<"Score", "Score::Softmax">:$score,
    DefaultValuedParameter<"ScoreOn", "ScoreOn::All">:$score_on,
    DefaultValuedParameter<"Select", "Select::ByScore">:$select,
    OptionalParameter<"GroupsAttr">:$groups,
    DefaultValuedParameter<"Norm", "Norm::None">:$norm,
    MoE_Real<"0.0">:$eps,
    MoE_Real<"1.0">:$p,
    MoE_Real<"1.0">:$scale,
    DefaultValuedParameter<"bool", "false">:$k_div,
    MoE_Real<"0.0">:$softcap,
    MoE_Real<"1.0">:$logit_mult,
    MoE_Real<"0.0">:$logit_std,
    MoE_Real<"0.0">:$jitter,
    MoE_Real<"0.0">:$min_ratio,
    MoE_Real<"1.0">:$top_p,
    MoE_Real<"0.0">:$min_prob,
    MoE_Indices:$null_before_norm,
    DefaultValuedParameter<"Tie", "Tie::Lowest">:$tie);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

def MoE_GateUp : MoE_Enum<"GateUp", "where gate and up projections are", [
  I32EnumAttrCase<"None", 0, "none">,
  I32EnumAttrCase<"Separate", 1, "separate">,
  I32EnumAttrCase<"Concat", 2, "concat">,
  I32EnumAttrCase<"Interleave", 3, "interleave">]>;
def MoE_Layout : MoE_Enum<"BankLayout", "order of a matrix of weights", [
  I32EnumAttrCase<"OI", 0, "oi">,
  I32EnumAttrCase<"IO", 1, "io">]>;
def MoE_ScaleAt : MoE_Enum<"ScaleAt", "what the weight of a slot multiplies", [
  I32EnumAttrCase<"Output", 0, "output">,
  I32EnumAttrCase<"Input", 1, "input">]>;
def MoE_TrivialKind : MoE_Enum<"TrivialKind", "expert without a product", [
  I32EnumAttrCase<"Zero", 0, "zero">,
  I32EnumAttrCase<"Copy", 1, "copy">,
  I32EnumAttrCase<"Constant", 2, "constant">]>;
def MoE_BalancedMethod : MoE_Enum<"BalancedMethod", "assignment of tokens to experts", [
  I32EnumAttrCase<"ExpertChoice", 0, "expert_choice">,
  I32EnumAttrCase<"Sinkhorn", 1, "sinkhorn">,
  I32EnumAttrCase<"SparseOT", 2, "sparse_ot">]>;

class MoE_EnumOf<EnumAttrInfo info, string attrMnemonic>
    : EnumAttr<MoE_Dialect, info, attrMnemonic> {
  let assemblyFormat = "`<` $value `>`";
}
def MoE_GateUpAttr : MoE_EnumOf<MoE_GateUp, "gate_up">;
def MoE_LayoutAttr : MoE_EnumOf<MoE_Layout, "layout">;
def MoE_ScaleAtAttr : MoE_EnumOf<MoE_ScaleAt, "scale_at">;
def MoE_TrivialKindAttr : MoE_EnumOf<MoE_TrivialKind, "kind">;
def MoE_TrivialKindsAttr : TypedArrayAttrBase<MoE_TrivialKindAttr,
                                              "kinds of experts">;
def MoE_BalancedMethodAttr : MoE_EnumOf<MoE_BalancedMethod, "method">;

def MoE_CodesAttr : MoE_Attr<"Codes", "codes"> {
  let summary = "how a bank is stored in few bits";
  let description = [{
    Codes of 2, 4 or 8 bits with a scale for each `block` of them along a row,
    0: for the whole row. What they stand for is said by `moe.dequantize`.

    ```mlir
    #moe.codes<bits = 4, block = 32>
    ```
  }];
  let parameters = (ins "int64_t":$bits, DefaultValuedParameter<"int64_t", "0">:$block);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

#endif // MOE_DIALECTS_MOE_MOEATTRS_TD
