"""Orca's policy: iteration-level scheduling over memory reserved to the last token."""

from dataclasses import dataclass

from runners.simulated.policies.first_come import UNBOUNDED, FirstCome, admit_head, head, not_stuck
from runners.simulated.scheduler import Plan, Scheduler


@dataclass(frozen=True, slots=True)
class Orca(FirstCome):
    """Orca (Yu et al., OSDI'22), Algorithm 1.

    Every step takes a token from all that decode and, first come, first served, whole new prompts
    up to ``max_num_seqs`` requests: a hybrid batch without a token budget. A request's KV cache is
    reserved to its maximum length at admission, so nobody is ever preempted, and few run.
    """

    max_model_len: int = 0
    """Tokens reserved for every request; 0: its own input and output (vLLM's SOSP'23 paper calls
    the two Orca (Max) and Orca (Oracle))."""

    def plan(self, scheduler: Scheduler, now_s: float) -> Plan:
        plan = Plan(UNBOUNDED)
        for sequence in scheduler.running:
            plan.grant(sequence, 1)
        while new := head(scheduler):
            own_tokens = new.request.input_tokens + new.request.output_tokens
            reserved = max(own_tokens, self.max_model_len)
            if not admit_head(scheduler, new.target, plan, reserved=reserved):
                break
        return not_stuck(scheduler, plan)
