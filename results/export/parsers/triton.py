"""``config.pbtxt`` held against Triton's own protobuf, and two rules of its core beside it."""

from typing import Any

from results.export.target import NotInstalled


def config_check(text: str) -> list[str]:
    try:
        from google.protobuf import text_format
        from tritonclient.grpc import model_config_pb2
    except ImportError:
        raise NotInstalled("`pip install 'paretune[triton]'` brings it") from None
    try:
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        return [str(error)]
    return core_rules(config)


def core_rules(config: Any) -> list[str]:
    """triton-inference-server/core, model_config_utils.cc: what its parser lets pass."""
    batching = config.dynamic_batching
    wrong = [
        f"preferred_batch_size {size} is above max_batch_size {config.max_batch_size}"
        for size in batching.preferred_batch_size
        if size > config.max_batch_size
    ]
    levels, default = batching.priority_levels, batching.default_priority_level
    if levels and not 1 <= default <= levels:
        wrong.append(f"default_priority_level must be in 1 to {levels}, but is {default}")
    return wrong
