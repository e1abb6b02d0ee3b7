"""Operators of domain com.microsoft (opset 1) that models with experts carry.

The facts (names, order, optionality, defaults) are those of the schemas that
ONNX Runtime 1.32 registers; test/Integration/contrib_schemas.py compares the
two. A formal is "name:types", with "?" behind the name when it is optional. An
attribute is (kind, default); a default of ... means that it must be given, and
None that the operator tells its absence from any value.
"""

FLOAT = "float float16 bfloat16"
PACKED = "uint8 uint16"  # several narrow values in one element
INT32 = "int32"

OPERATORS = {
    "MoE": dict(
        summary="experts with top-k routing",
        inputs="input router_probs fc1_experts_weights fc1_experts_bias? "
        "fc2_experts_weights fc2_experts_bias? fc3_experts_weights? "
        "fc3_experts_bias?",
        outputs="output",
        types={},
        attributes=dict(
            activation_alpha=("FLOAT", 1.0),
            activation_beta=("FLOAT", 0.0),
            activation_type=("STRING", "relu"),
            k=("INT", 1),
            normalize_routing_weights=("INT", 0),
            swiglu_fusion=("INT", 0),
            swiglu_limit=("FLOAT", None),
            swiglu_limit_after_activation=("INT", 0),
            use_sparse_mixer=("INT", 0),
        ),
    ),
    "QMoE": dict(
        summary="experts with quantised weights and top-k routing",
        inputs="input router_probs fc1_experts_weights fc1_scales? "
        "fc1_experts_bias? fc2_experts_weights fc2_scales? fc2_experts_bias? "
        "fc3_experts_weights? fc3_scales? fc3_experts_bias? fc1_zero_points? "
        "fc2_zero_points? fc3_zero_points? router_weights? fc1_global_scale? "
        "fc2_global_scale? fc1_act_scale? fc2_act_scale? fc1_act_block_scale? "
        "fc2_act_block_scale?",
        outputs="output",
        types={
            name: "uint8 float4e2m1 float8e4m3fn float8e8m0"
            for name in (
                "fc1_experts_weights fc2_experts_weights fc3_experts_weights "
                "fc1_zero_points fc2_zero_points fc3_zero_points"
            ).split()
        }
        | {
            name: FLOAT + " float8e4m3fn float8e8m0 uint8"
            for name in (
                "fc1_scales fc2_scales fc3_scales fc1_act_block_scale "
                "fc2_act_block_scale"
            ).split()
        }
        | {
            name: "float"
            for name in (
                "fc1_global_scale fc2_global_scale fc1_act_scale fc2_act_scale"
            ).split()
        },
        attributes=dict(
            accuracy_level=("INT", 0),
            activation_alpha=("FLOAT", 1.0),
            activation_beta=("FLOAT", 0.0),
            activation_type=("STRING", "relu"),
            block_size=("INT", None),
            expert_weight_bits=("INT", 4),
            fc1_expert_weight_bits=("INT", None),
            fc2_expert_weight_bits=("INT", None),
            fc3_expert_weight_bits=("INT", None),
            k=("INT", 1),
            normalize_routing_weights=("INT", 0),
            quant_type=("STRING", "int"),
            swiglu_fusion=("INT", 0),
            swiglu_limit=("FLOAT", None),
            swiglu_limit_after_activation=("INT", 0),
            use_sparse_mixer=("INT", 0),
            weights_prepacked=("INT", -1),
        ),
    ),
    "MatMulNBits": dict(
        summary="product with a matrix of 2 to 8 bits per element",
        inputs="A B scales zero_points? g_idx? bias?",
        outputs="Y",
        types={
            "B": "uint8 int32",
            "zero_points": FLOAT + " uint8 int32",
            "g_idx": INT32,
        },
        attributes=dict(
            K=("INT", ...),
            N=("INT", ...),
            accuracy_level=("INT", 0),
            bits=("INT", 4),
            block_size=("INT", ...),
            weight_prepacked=("INT", 0),
        ),
    ),
    "GroupQueryAttention": dict(
        summary="attention with a cache and fewer heads for key and value",
        inputs="query key? value? past_key? past_value? seqlens_k "
        "total_sequence_length cos_cache? sin_cache? position_ids? "
        "attention_bias? head_sink? k_scale? v_scale? q_norm_weight? "
        "k_norm_weight? query_seqlens?",
        outputs="output present_key? present_value? output_qk?",
        types={
            "past_key": FLOAT + " uint8 int8 float8e4m3fn",
            "past_value": FLOAT + " uint8 int8 float8e4m3fn",
            "present_key": FLOAT + " uint8 int8 float8e4m3fn",
            "present_value": FLOAT + " uint8 int8 float8e4m3fn",
            "seqlens_k": INT32,
            "total_sequence_length": INT32,
            "query_seqlens": INT32,
            "position_ids": "int64",
            "k_scale": "float",
            "v_scale": "float",
        },
        attributes=dict(
            causal=("INT", 1),
            do_rotary=("INT", None),
            k_norm_epsilon=("FLOAT", None),
            k_quant_type=("STRING", "NONE"),
            kv_cache_bit_width=("INT", None),
            kv_num_heads=("INT", ...),
            local_window_size=("INT", -1),
            num_heads=("INT", ...),
            q_norm_epsilon=("FLOAT", None),
            qk_norm_epsilon=("FLOAT", 1e-6),
            qk_output=("INT", 0),
            rotary_interleaved=("INT", None),
            scale=("FLOAT", None),
            sliding_window_cache=("INT", 0),
            smooth_softmax=("INT", -1),
            softcap=("FLOAT", None),
            v_quant_type=("STRING", "NONE"),
        ),
    ),
    "SimplifiedLayerNormalization": dict(
        summary="division by the root of the mean square, then scaling",
        inputs="X scale",
        outputs="Y inv_std_var?",
        types={"X": FLOAT + " double", "scale": FLOAT + " double",
               "Y": FLOAT + " double", "inv_std_var": "float double"},
        attributes=dict(
            axis=("INT", -1),
            epsilon=("FLOAT", 1e-5),
            stash_type=("INT", 1),
        ),
    ),
    "SkipSimplifiedLayerNormalization": dict(
        summary="sum with a residual, then SimplifiedLayerNormalization",
        inputs="input skip gamma bias?",
        outputs="output mean? inv_std_var? input_skip_bias_sum?",
        types={"mean": "float", "inv_std_var": "float"},
        attributes=dict(epsilon=("FLOAT", 1e-12)),
    ),
}
