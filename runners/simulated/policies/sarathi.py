"""Sarathi-Serve's policy: chunked prompts beside decodes that never stall."""

from runners.simulated.policies.first_come import (
    FirstCome,
    admit_head,
    grant_decodes,
    head,
    not_stuck,
    watermark_tokens,
)
from runners.simulated.scheduler import Plan, Scheduler


class Sarathi(FirstCome):
    """Sarathi-Serve (Agrawal et al., OSDI'24), Algorithm 3; ``max_num_batched_tokens`` is its tau.

    A step takes a token from all that decode, then chunks of the prompts that have begun, then
    new prompts, up to tau tokens. KV blocks for the whole prompt are taken at admission, 1 % of
    all left free; a decode that finds none preempts the last admitted, who is recomputed. Unlike
    vLLM V1, decodes go before chunks whatever the order of admission.
    """

    def plan(self, scheduler: Scheduler, now_s: float) -> Plan:
        plan = Plan(scheduler.settings.max_num_batched_tokens)
        spare = watermark_tokens(scheduler)
        grant_decodes(scheduler, plan)
        for sequence in scheduler.running:
            if not sequence.decoding and plan.budget > 0:
                plan.grant(sequence, min(sequence.target - sequence.computed, plan.budget))
        while plan.budget > 0 and (new := head(scheduler)):
            tokens = min(new.target, plan.budget)
            if not admit_head(scheduler, tokens, plan, reserved=new.target, spare=spare):
                break
        return not_stuck(scheduler, plan)
