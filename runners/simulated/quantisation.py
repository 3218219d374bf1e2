"""What a checkpoint's weights are stored in, by the words of the quantiser that wrote it."""

import re
from collections.abc import Mapping

INTEGERS = {4: "int4", 8: "int8"}
GROUP_OF_16, GROUP_OF_32 = 16, 32
"""Values that share a scale: 16 in nvfp4, 32 in mxfp4 (OCP Microscaling Formats 1.0)."""
LEFT_OUT = ("modules_to_not_convert", "exclude_modules", "ignore")
_Object = Mapping[str, object]


def stored_as(quantisation: _Object) -> str | None:
    """The type of the weights; ``None``: not recognised."""
    algorithm = str(quantisation.get("quant_algo", "")).upper()
    method = str(quantisation.get("quant_method", "")).lower()
    if method in ("fp8", "fbgemm_fp8") or algorithm == "FP8":
        return "fp8"
    if method == "mxfp4":
        return "mxfp4"
    if algorithm.endswith("NVFP4"):
        return "nvfp4"
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
    bits, size = weights.get("num_bits"), weights.get("group_size")
    if weights.get("type") != "float":
        return _integer(bits)
    if bits == 8:
        return "fp8"
    if bits != 4:
        return None
    return "nvfp4" if size == GROUP_OF_16 else "mxfp4" if size == GROUP_OF_32 else None


def _integer(bits: object) -> str | None:
    return INTEGERS.get(bits) if isinstance(bits, int) else None


def without_attention(quantisation: _Object, layers: int) -> bool:
    """Whether attention is left in bf16, in all layers: by a pattern, or by each one's name."""
    listed = next((quantisation[field] for field in LEFT_OUT if quantisation.get(field)), ())
    names = [str(name).rstrip(".*") for name in listed] if isinstance(listed, list) else []
    attention = [name for name in names if name.endswith("self_attn")]
    by_pattern = any(not re.search(r"\d", name) for name in attention)
    return by_pattern or len(attention) >= layers
