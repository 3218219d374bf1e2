"""A model as aiconfigurator reads it: its ``config.json``, and the kernels its weights take."""

from collections.abc import Mapping
from typing import Any

from search_spaces.deployment import Model

WEIGHTS = {
    "bf16": "bfloat16",
    "fp8": "fp8_static",
    "nvfp4": "nvfp4",
    "int8": "int8",
    "int4": "int4",
}
"""``fp8_static`` is what the wheel reads from NVIDIA's own fp8 checkpoints."""
EXPERTS = {"bf16": "bfloat16", "nvfp4": "nvfp4", "mxfp4": "w4a16_mxfp4"}
"""Mixtures in fp8 are published with block-wise scales, and the wheel's GEMMs for those are no
standard: 55 us at least on H100, 151 us on B200, whatever the size, so the CPU's."""
GPT_OSS_WINDOW, GPT_OSS_HEAD = 128, 64
"""Every second layer looks back on so many tokens: the one pattern of windows it knows."""


def config_json(model: Model) -> Mapping[str, Any]:
    """
    Raises:
        ValueError: it knows no model of this kind.
    """
    if not model.gated_mlp:
        raise ValueError("only models with a gated MLP are written down for it.")
    if model.num_experts:
        return {**_mixture(model), **_decoder(model)}
    if model.sliding_window or model.attention_dtype:
        raise ValueError("only dense models of full attention are written down for it.")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "intermediate_size": model.intermediate_size,
        **_decoder(model),
    }


def _mixture(model: Model) -> Mapping[str, Any]:
    if model.shared_expert_intermediate_size:
        raise ValueError("only mixtures without a shared expert are written down for it.")
    experts = {
        "num_local_experts": model.num_experts,
        "num_experts_per_tok": model.num_experts_per_tok,
        "intermediate_size": model.moe_intermediate_size,
    }
    if not model.sliding_window:
        return {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", **experts}
    windows = (model.sliding_window, 2 * model.sliding_window_layers, model.head_dim)
    if windows != (GPT_OSS_WINDOW, model.num_hidden_layers, GPT_OSS_HEAD):
        raise ValueError("of windowed attention only gpt-oss's is written down for it.")
    return {"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", **experts}


def _decoder(model: Model) -> Mapping[str, Any]:
    return {
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
        "num_hidden_layers": model.num_hidden_layers,
        "hidden_size": model.hidden_size,
        "num_attention_heads": model.num_attention_heads,
        "num_key_value_heads": model.num_key_value_heads,
        "head_dim": model.head_dim,
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.max_position_embeddings,
        "tie_word_embeddings": model.tie_word_embeddings,
    }


def gemm_kernels(model: Model) -> str:
    """
    Raises:
        KeyError: there are none for weights of this type.
    """
    return WEIGHTS[model.attention_dtype or model.weight_dtype]


def expert_kernels(model: Model) -> str | None:
    """``None``: a dense model.

    Raises:
        KeyError: as ``gemm_kernels``.
    """
    return EXPERTS[model.weight_dtype] if model.num_experts else None
