"""Speculative decoding of a config: who drafts, how often it is right, what it costs in memory."""

from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np

from runners.base import EngineError, FailureKind
from runners.simulated import catalogue
from runners.simulated.compiled.serve import Totals
from runners.simulated.compiled.speculation import Model, Speculation
from runners.simulated.compiled.steps import Steps
from runners.simulated.step_table import NO_SPECULATION, NO_STEPS
from runners.simulated.step_times import step_time
from search_spaces import Config, Deployment
from search_spaces import Model as Shape
from search_spaces.fitting import splits
from search_spaces.vllm import kv_dtype, kv_tokens
from search_spaces.vllm_speculation import DRAFT_TOKENS, speculation

BISECTIONS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafter:
    """What drafts tokens, ``tokens`` of them per request and step."""

    tokens: int
    model: Shape | None
    """``None``: n-grams of the request's own text, looked up on the host."""


def drafter(speculative_config: str, target: Shape) -> Drafter | None:
    """What drafts for a model; ``None``: nothing does.

    Raises:
        ValueError: there is no such draft model, or vLLM would refuse it.
    """
    told = speculation(speculative_config)
    if told is None:
        return None
    tokens = int(told["num_speculative_tokens"])
    if "model" not in told:
        return Drafter(tokens=tokens, model=None)
    name = str(told["model"])
    draft = catalogue.model(name)
    if "/" not in name and name != draft.name:  # the config is for vLLM to read, too
        raise ValueError(
            f"vLLM knows the draft model {name!r} by another name; write draft:{draft.name}."
        )
    # vllm/config/speculative.py, verify_equal_vocab_size_if_draft_model
    if draft.vocab_size != target.vocab_size:
        raise ValueError(
            f"A draft model must have the vocabulary of {target.name} ({target.vocab_size} "
            f"tokens), but {draft.name} has {draft.vocab_size}; name another after `draft:`."
        )
    return Drafter(tokens=tokens, model=draft)


def chance_of(acceptance_rate: float) -> float:
    """That a drafted token is accepted if those before it were (Leviathan et al., 2211.17192).

    Args:
        acceptance_rate: accepted tokens over drafted ones, as vLLM tells it.
    """
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if accepted_share(middle) < acceptance_rate else (low, middle)
    return high


def accepted_share(chance: float) -> float:
    """Of all drafted tokens."""
    return sum(chance**place for place in range(1, DRAFT_TOKENS + 1)) / DRAFT_TOKENS


def uncertainty(acceptance_rate: float | None) -> str:
    """What an engine that speculates says of itself beside its steps' uncertainty."""
    if acceptance_rate is None:
        return ""
    share = f"{100 * acceptance_rate:.0f} %"
    return f"; {share} of drafted tokens are taken to be accepted, whatever the text"


def speculating(
    deployment: Deployment,
    config: Config,
    steps: Steps,
    *,
    acceptance_rate: float | None,
    seed: int,
) -> Model:
    """The steps of a config with what is drafted for them.

    Args:
        steps: of the deployment's own model.
        acceptance_rate: accepted tokens over drafted ones.

    Raises:
        EngineError: it speculates in a way that vLLM would refuse, or that is not known.
    """
    drafts = _drafter(deployment, config)
    if drafts is None:
        return Model(steps, NO_SPECULATION)
    if acceptance_rate is None:
        raise EngineError(FailureKind.REFUSED, "how many drafted tokens are accepted was not said")
    if drafts.model is None:
        steps, draft = _in_turn(steps), NO_STEPS
    else:
        draft = _draft_steps(replace(deployment, model=drafts.model), config)
    return Model(
        steps,
        Speculation(
            tokens=drafts.tokens,
            acceptance=chance_of(acceptance_rate),
            seed=seed,
            draft=draft,
            drafts=drafts.model is not None,
        ),
    )


def kv_tokens_left(deployment: Deployment, config: Config) -> int:
    """Tokens of KV cache that each replica holds beside a draft model and that one's own cache.

    vLLM 0.32 loads the draft model before it measures what memory is left, sharded like the
    target (``DraftModelProposer``), and each KV block has room for the layers of both.

    Raises:
        EngineError: vLLM would refuse the draft model.
    """
    drafts = _drafter(deployment, config)
    draft = drafts.model if drafts else None
    if draft is None:
        return kv_tokens(deployment, config)
    size = int(config["tensor_parallel_size"])
    weight_bytes = draft.weight_bytes / size
    kv_bytes = replace(deployment, model=draft).kv_bytes_per_token(size, kv_dtype(config))

    def held(drafted_for: int) -> int:
        """By the target's cache, where the draft's holds so many tokens."""
        taken_gb = (weight_bytes + drafted_for * kv_bytes) / 1e9
        gpu = replace(deployment.gpu, reserved_gb=deployment.gpu.reserved_gb + taken_gb)
        return kv_tokens(replace(deployment, gpu=gpu), config)

    most = max(0, held(0))
    return bisect_left(range(most), True, key=lambda tokens: held(tokens + 1) <= tokens)


def drafts_of(drafted: Speculation, totals: Totals) -> dict[str, float]:
    """What was drafted and kept, under the names of ``runners/telemetry.py``."""
    if not drafted.tokens:
        return {}
    told: dict[str, float] = {
        "draft_tokens": totals.draft_tokens,
        "accepted_draft_tokens": totals.accepted_draft_tokens,
    }
    if totals.draft_tokens:
        told["acceptance_rate"] = totals.accepted_draft_tokens / totals.draft_tokens
    return told


def _drafter(deployment: Deployment, config: Config) -> Drafter | None:
    """
    Raises:
        EngineError: vLLM would refuse it.
    """
    try:
        found = drafter(str(config["speculative_config"]), deployment.model)
    except ValueError as error:
        raise EngineError(FailureKind.REFUSED, str(error)) from error
    size = int(config["tensor_parallel_size"])
    if found and found.model and not splits(replace(deployment, model=found.model), size):
        raise EngineError(
            FailureKind.REFUSED,
            f"the heads of {found.model.name} cannot be split over {size} GPUs, but a draft model "
            "has the tensor_parallel_size of its target",
        )
    return found


def _draft_steps(drafting: Deployment, config: Config) -> Steps:
    if not drafting.gpu.memory_bandwidth_tb_s:
        raise EngineError(
            FailureKind.REFUSED,
            f"how long {drafting.model.name} takes on this hardware is not known",
        )
    size = int(config["tensor_parallel_size"])
    return step_time(drafting, tensor_parallel_size=size, kv_dtype=kv_dtype(config)).steps


def _in_turn(steps: Steps) -> Steps:
    """With what the host does before and after the GPU's part.

    It does so at the same time by async scheduling, which vLLM 0.32 turns off with n-grams
    (``VllmConfig.__post_init__``).
    """
    rows = np.arange(len(steps.rows_ms))
    return steps._replace(
        tokens_ms=steps.tokens_ms + steps.host_ms,
        decode_tokens_ms=steps.decode_tokens_ms + steps.host_ms,
        rows_ms=steps.rows_ms + steps.host_row_ms * rows,
    )
