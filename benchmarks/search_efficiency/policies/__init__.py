"""The policies that are compared, one file each."""

from collections.abc import Mapping

from benchmarks.search_efficiency.policies.auto_tune_sh import AUTO_TUNE_SH
from benchmarks.search_efficiency.policies.policy import Policy
from benchmarks.search_efficiency.policies.random_search import RANDOM
from benchmarks.search_efficiency.policies.scoot import SCOOT
from benchmarks.search_efficiency.policies.studies import (
    PARETUNE,
    PARETUNE_RESTARTING,
    PARETUNE_WHOLE,
)
from benchmarks.search_efficiency.policies.sweep import SWEEP
from benchmarks.search_efficiency.policies.tpe import AUTO_TUNING_VLLM, VLLM_TUNER

POLICIES: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        PARETUNE,
        PARETUNE_RESTARTING,
        PARETUNE_WHOLE,
        RANDOM,
        AUTO_TUNING_VLLM,
        VLLM_TUNER,
        SWEEP,
        AUTO_TUNE_SH,
        SCOOT,
    )
}

__all__ = ["POLICIES", "Policy"]
