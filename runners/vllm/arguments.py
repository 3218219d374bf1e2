"""A config as the arguments of ``vllm serve`` and as settings of the running engine."""

from runners.vllm.flags import Flags, to_arguments
from search_spaces import Config, SearchSpace, Value


def launch_arguments(
    config: Config, space: SearchSpace, *, model: str, max_model_len: int, flags: Flags
) -> tuple[str, ...]:
    """What follows ``vllm serve``; our own knobs are not vLLM's and are told it once it runs."""
    ours = {knob.name for knob in space.knobs if knob.owner == "ours"}
    settings: dict[str, Value] = {"model": model, "max_model_len": max_model_len}
    settings |= {name: value for name, value in config.items() if name not in ours}
    return (*to_arguments(settings, flags), "--stream-interval=1")


def live_settings(config: Config, space: SearchSpace) -> dict[str, Value]:
    """What may be turned while the engine runs."""
    return {knob.name: config[knob.name] for knob in space.knobs if knob.turn == "live"}
