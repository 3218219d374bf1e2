"""Loads that warm an engine up; nothing of them is counted."""

import math
from dataclasses import replace

from objectives import Load, Request, Workload

AT_ONCE = 64
STEP_TOKENS = 256


def at_once(workload: Workload) -> Load:
    """A few of the workload's requests: batches of every size up to theirs are met."""
    few = replace(workload, requests=workload.requests[:AT_ONCE])
    return Load(workload=few.at_rate(math.inf))


def every_step(workload: Workload, max_model_len: int) -> Load:
    """Prompts of 1, 2, 3 ... tokens, each a step of its own, as far as the workload's own go.

    A CPU build's matrix library (oneDNN) compiles its kernels anew for every number of tokens in
    a step, which takes about as long as the step itself; under a load it would go on for minutes.
    """
    own = sum(request.input_tokens for request in workload.requests[:AT_ONCE])
    most = min(STEP_TOKENS, own, max_model_len - 1)
    prompts = tuple(Request(0.0, tokens, 1) for tokens in range(1, most + 1))
    return Load(workload=Workload(name="every step", requests=prompts, concurrency=1))
