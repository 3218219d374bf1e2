"""vLLM V0's policy: prompts first."""

from dataclasses import dataclass

from runners.simulated.policies.first_come import (
    FirstCome,
    admit_head,
    grant_decodes,
    head,
    not_stuck,
    watermark_tokens,
)
from runners.simulated.scheduler import Plan, Scheduler

LEAST_BUDGET_TOKENS = 2048
"""Of ``max_num_batched_tokens``, when it is not given: vLLM V0's ``SchedulerConfig``."""


@dataclass(frozen=True, slots=True)
class VllmV0(FirstCome):
    """vLLM V0 (Kwon et al., SOSP'23), ``Scheduler._schedule_default``, without swapping.

    As many whole waiting prompts as tokens, slots and KV blocks allow make a step of prompts
    alone; with none admitted, everybody decodes. A prompt's blocks are taken at admission, 1 % of
    all left free; a decode that finds none preempts the last admitted, who is recomputed.
    """

    max_model_len: int
    """Tokens of the longest request; a step's prompts are max(this, 2048) tokens at most."""

    def plan(self, scheduler: Scheduler, now_s: float) -> Plan:
        plan = Plan(max(self.max_model_len, LEAST_BUDGET_TOKENS))
        spare = watermark_tokens(scheduler)
        while (sequence := head(scheduler)) and sequence.target <= plan.budget:
            tokens = sequence.target
            if not admit_head(scheduler, tokens, plan, reserved=tokens, spare=spare):
                break
        if not plan.tokens:
            grant_decodes(scheduler, plan)
        return not_stuck(scheduler, plan)
