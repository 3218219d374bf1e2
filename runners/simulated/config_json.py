"""Reading a checkpoint's ``config.json`` into a ``Model``."""

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from runners.simulated.quantisation import stored_as, without_attention
from search_spaces.deployment import Model

DENSE = ("llama", "mistral", "phi3", "qwen2", "qwen3")
EXPERTS = ("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "minimax_m2")
"""``model_type`` of the decoders whose layers are known, all with gated MLPs."""
NEEDED = (
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
)
NUMBER_OF_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
EXPERT_WIDTH = ("moe_intermediate_size", "intermediate_size")
SHARED_WIDTH = ("shared_expert_intermediate_size", "shared_intermediate_size")
WINDOWED, FULL = "sliding_attention", "full_attention"
NOT_MODELLED = {
    "kv_lora_rank": "multi-head latent attention, whose cache is compressed",
    "index_topk": "sparse attention by an index",
    "hybrid_override_pattern": "state-space layers",
    "mamba_d_state": "state-space layers",
    "mamba_num_heads": "state-space layers",
    "ssm_cfg": "state-space layers",
    "linear_num_value_heads": "linear attention",
    "text_config": "models of more than text",
}
"""Fields of layers that the twin has no time for, and what they are."""
LARGEST_COUNT = 2**31
_Object = Mapping[str, object]


class _Experts(NamedTuple):
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    shared_expert_intermediate_size: int = 0


class _Window(NamedTuple):
    sliding_window: int = 0
    sliding_window_layers: int = 0


def read_model(folder: Path, name: str) -> Model:
    """The shape of the checkpoint in a folder.

    Raises:
        ValueError: no readable ``config.json``, a field missing or impossible, or a model with
            layers of a kind that is not modelled.
    """
    path = folder / "config.json"
    config = _object(path)
    _refuse_unknown_layers(config, path)
    _refuse_missing(config, path)
    hidden_size = _count(config, "hidden_size", path)
    heads = _count(config, "num_attention_heads", path)
    weight_dtype, attention_dtype = _dtypes(config, path)
    return Model(
        name=name,
        num_hidden_layers=_count(config, "num_hidden_layers", path),
        hidden_size=hidden_size,
        num_attention_heads=heads,
        num_key_value_heads=_count(config, "num_key_value_heads", path, default=heads),
        head_dim=_count(config, "head_dim", path, default=hidden_size // heads),
        intermediate_size=_count(config, "intermediate_size", path),
        vocab_size=_count(config, "vocab_size", path),
        max_position_embeddings=_count(config, "max_position_embeddings", path),
        tie_word_embeddings=config.get("tie_word_embeddings") is True,
        weight_dtype=weight_dtype,
        attention_dtype=attention_dtype,
        **_experts(config, path)._asdict(),
        **_window(config, path)._asdict(),
    )


def _object(path: Path) -> _Object:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path.parent}: a model's folder needs a `{path.name}`.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: must be JSON, but: {' '.join(str(error).split())}.") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: must be a JSON object, but is a {type(value).__name__}.")
    return value


def _refuse_unknown_layers(config: _Object, path: Path) -> None:
    for field, what in NOT_MODELLED.items():
        if config.get(field) is not None:
            raise ValueError(f"{path}: `{field}` says {what}; that is not modelled.")
    layers = config.get("layer_types")
    others = (
        [it for it in layers if it not in (WINDOWED, FULL)] if isinstance(layers, list) else []
    )
    if others:
        raise ValueError(
            f"{path}: `layer_types` must be {FULL} or {WINDOWED}, but one is "
            f"{reprlib.repr(others[0])}; other layers are not modelled."
        )
    kind = config.get("model_type")
    if kind is None:
        raise ValueError(f"{path}: the field `model_type` is missing.")
    if not isinstance(kind, str) or kind not in DENSE + EXPERTS:
        known = ", ".join(DENSE + EXPERTS)
        raise ValueError(f"{path}: `model_type` must be {known}, but is {reprlib.repr(kind)}.")


def _refuse_missing(config: _Object, path: Path) -> None:
    missing = [f"`{field}`" for field in NEEDED if config.get(field) is None]
    if missing:
        fields = "the fields" if len(missing) > 1 else "the field"
        there = "are" if len(missing) > 1 else "is"
        raise ValueError(
            f"{path}: {fields} {', '.join(missing)} {there} missing; copy the whole "
            f"{path.name} of the checkpoint there."
        )


def _experts(config: _Object, path: Path) -> _Experts:
    named = [field for field in NUMBER_OF_EXPERTS if config.get(field) is not None]
    if config["model_type"] in DENSE:
        if any(config[field] != 1 for field in named):
            raise ValueError(
                f"{path}: `{named[0]}` says a mixture of experts, but `model_type` is "
                f"{config['model_type']}; it must be one of {', '.join(EXPERTS)}."
            )
        return _Experts()
    if config.get("decoder_sparse_step", 1) != 1 or config.get("mlp_only_layers"):
        raise ValueError(
            f"{path}: `decoder_sparse_step` must be 1 and `mlp_only_layers` empty: dense layers "
            "among those with experts are not modelled."
        )
    widths = [field for field in EXPERT_WIDTH if config.get(field) is not None]
    shared = [field for field in SHARED_WIDTH if config.get(field)]
    number = _count(config, (named or ["num_experts"])[0], path)
    each = _count(config, "num_experts_per_tok", path)
    if each > number:
        raise ValueError(
            f"{path}: `num_experts_per_tok <= {named[0]}` must hold, but got {each} > {number}."
        )
    return _Experts(
        num_experts=number,
        num_experts_per_tok=each,
        moe_intermediate_size=_count(config, (widths or EXPERT_WIDTH)[0], path),
        shared_expert_intermediate_size=_count(config, shared[0], path) if shared else 0,
    )


def _window(config: _Object, path: Path) -> _Window:
    """None where it is switched off, or as long as the longest context."""
    off = config.get("use_sliding_window") is False
    if off or config.get("sliding_window") is None:
        return _Window()
    window = _count(config, "sliding_window", path)
    layers = _windowed_layers(config, path)
    if not layers or window >= _count(config, "max_position_embeddings", path):
        return _Window()
    return _Window(window, layers)


def _windowed_layers(config: _Object, path: Path) -> int:
    """As transformers reads it, model by model."""
    number = _count(config, "num_hidden_layers", path)
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return min(number, kinds.count(WINDOWED))
    if config["model_type"] == "gpt_oss":  # every other one, from the first on
        return -(-number // 2)
    if str(config["model_type"]).startswith("qwen"):
        if config.get("use_sliding_window") is not True:
            return 0
        return max(0, number - _count(config, "max_window_layers", path, default=number))
    return number


def _count(config: _Object, field: str, path: Path, default: int | None = None) -> int:
    """A whole number from 1 on; ``null`` means left out."""
    value = config.get(field)
    value = default if value is None else value
    if value is None:
        raise ValueError(f"{path}: the field `{field}` is missing.")
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < LARGEST_COUNT:
        raise ValueError(f"{path}: `{field} >= 1` must hold, but it is {reprlib.repr(value)}.")
    return value


def _dtypes(config: _Object, path: Path) -> tuple[str, str | None]:
    """Of the weights, and of attention's where they differ.

    A quantisation not recognised is refused: taken for bf16 it would count double or more.
    """
    quantisation = config.get("quantization_config")
    beside = path.with_name("hf_quant_config.json")
    if quantisation is None and beside.is_file():  # where NVIDIA's ModelOpt writes it
        quantisation = _object(beside).get("quantization")
    if quantisation is None:
        return "bf16", None
    if not isinstance(quantisation, dict) or (stored := stored_as(quantisation)) is None:
        raise ValueError(
            f"{path}: its quantisation must be fp8, int8, int4, nvfp4 or mxfp4, but is another."
        )
    layers = _count(config, "num_hidden_layers", path)
    return stored, "bf16" if without_attention(quantisation, layers) else None
