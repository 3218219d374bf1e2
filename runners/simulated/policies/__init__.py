"""Scheduling policies over one engine core; each names its paper or product."""

from collections.abc import Callable

from runners.simulated.policies.adaptive import Adaptive
from runners.simulated.policies.base import Policy
from runners.simulated.policies.orca import Orca
from runners.simulated.policies.sarathi import Sarathi
from runners.simulated.policies.static_batching import StaticBatching
from runners.simulated.policies.tgi import TGI
from runners.simulated.policies.two_class import TwoClass
from runners.simulated.policies.vllm_v0 import VllmV0
from runners.simulated.policies.vllm_v1 import DecodeFirst, PrefillFirst, Static, VllmV1
from runners.simulated.settings import BatchPolicy

BATCH_POLICIES: dict[BatchPolicy, Policy] = {
    "continuous": VllmV1(),
    "prefill_first": PrefillFirst(),
    "decode_first": DecodeFirst(),
    "static": Static(),
}
"""Those of the knob ``batch_policy``, which vLLM runs too."""

LITERATURE: dict[str, Callable[..., Policy]] = {
    "vllm_v0": VllmV0,
    "orca": Orca,
    "sarathi": Sarathi,
    "static_batching": StaticBatching,
    "tgi": TGI,
    "two_class": TwoClass,
    "adaptive": Adaptive,
}
"""Those of other systems and papers; some keep state, so each replica is given its own."""

__all__ = [
    "Adaptive",
    "BATCH_POLICIES",
    "DecodeFirst",
    "LITERATURE",
    "Orca",
    "Policy",
    "PrefillFirst",
    "Sarathi",
    "Static",
    "StaticBatching",
    "TGI",
    "TwoClass",
    "VllmV0",
    "VllmV1",
]
