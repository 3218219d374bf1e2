"""Reading a checkpoint's ``config.json`` into a ``Model``."""

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path

from search_spaces.deployment import Model

GATED_MLP = ("llama", "mistral", "phi3", "qwen2", "qwen3")
"""``model_type`` of the dense decoders whose layers are known, all with a gated MLP."""
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
LARGEST_COUNT = 2**31
INTEGERS = {4: "int4", 8: "int8"}
_Object = Mapping[str, object]


def read_model(folder: Path, name: str) -> Model:
    """The shape of the checkpoint in a folder.

    Raises:
        ValueError: no readable ``config.json``, a field missing or impossible, or a model that
            is not a dense decoder of a known kind.
    """
    path = folder / "config.json"
    config = _object(path)
    _refuse_unknown_layers(config, path)
    hidden_size = _count(config, "hidden_size", path)
    heads = _count(config, "num_attention_heads", path)
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
        weight_dtype=_weight_dtype(config, path),
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
    experts = [config.get(field) for field in EXPERTS]
    if any(isinstance(number, int) and number > 1 for number in experts):
        raise ValueError(f"{path}: mixture-of-experts models are not modelled yet.")
    kind = config.get("model_type")
    if kind is None:
        raise ValueError(f"{path}: the field `model_type` is missing.")
    if not isinstance(kind, str) or kind not in GATED_MLP:
        known = ", ".join(GATED_MLP)
        raise ValueError(f"{path}: `model_type` must be {known}, but is {reprlib.repr(kind)}.")


def _count(config: _Object, field: str, path: Path, default: int | None = None) -> int:
    """A whole number from 1 on; ``null`` means left out."""
    value = config.get(field)
    value = default if value is None else value
    if value is None:
        raise ValueError(f"{path}: the field `{field}` is missing.")
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < LARGEST_COUNT:
        raise ValueError(f"{path}: `{field} >= 1` must hold, but it is {reprlib.repr(value)}.")
    return value


def _weight_dtype(config: _Object, path: Path) -> str:
    """A quantisation not recognised is refused: taken for bf16 it would count double or more."""
    quantisation = config.get("quantization_config")
    beside = path.with_name("hf_quant_config.json")
    if quantisation is None and beside.is_file():  # where NVIDIA's ModelOpt writes it
        quantisation = _object(beside).get("quantization")
    if quantisation is None:
        return "bf16"
    stored = _stored_as(quantisation) if isinstance(quantisation, dict) else None
    if stored is None:
        raise ValueError(f"{path}: its quantisation must be fp8, int8 or int4, but is another.")
    return stored


def _stored_as(quantisation: _Object) -> str | None:
    """What weights are stored in, by the words of the quantiser that wrote it."""
    algorithm = str(quantisation.get("quant_algo", "")).upper()
    method = str(quantisation.get("quant_method", "")).lower()
    if method in ("fp8", "fbgemm_fp8") or algorithm == "FP8":
        return "fp8"
    if method in ("awq", "gptq"):
        return _integer(quantisation.get("bits", 4))
    if method == "bitsandbytes":
        return "int8" if quantisation.get("load_in_8bit") is True else "int4"
    if algorithm.startswith(("W4A16", "W8A16")):
        return _integer(int(algorithm[1]))
    groups = quantisation.get("config_groups")
    if not isinstance(groups, dict):
        return None
    stored = {_group_stored_as(group) for group in groups.values()}
    return stored.pop() if len(stored) == 1 else None


def _group_stored_as(group: object) -> str | None:
    """One group of compressed-tensors' ``config_groups``."""
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict):
        return None
    if weights.get("type") == "float":
        return "fp8" if weights.get("num_bits") == 8 else None
    return _integer(weights.get("num_bits"))


def _integer(bits: object) -> str | None:
    return INTEGERS.get(bits) if isinstance(bits, int) else None
