"""vLLM's search space: its knobs, what is searched of them, and its own defaults."""

from dataclasses import replace

from search_spaces.deployment import Deployment
from search_spaces.fitting import fitting_sizes
from search_spaces.space import Choice, Config, Int, Knob, SearchSpace, Value
from search_spaces.vllm_knobs import batch_defaults, vllm_knobs
from search_spaces.vllm_rules import WHOLE_PROMPTS, kv_dtype, kv_tokens, quantised, vllm_rules

__all__ = [
    "batch_defaults",
    "default_config",
    "fitting_sizes",
    "kv_dtype",
    "kv_tokens",
    "launch_caps",
    "passing_on",
    "preset_settings",
    "quantised",
    "vllm_space",
]

SEARCHED = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "tensor_parallel_size",
    "batch_wait_timeout_ms",
    "long_prefill_token_threshold",
    "gpu_memory_utilization",
)

CAPPED = ("max_num_seqs", "max_num_batched_tokens")


def vllm_space(deployment: Deployment) -> SearchSpace:
    """Every knob, those of ``SEARCHED`` free.

    Raises:
        ValueError: the model does not fit on the GPUs at any tensor-parallel size.
    """
    knobs = vllm_knobs(deployment)
    # What a CPU build may take of the machine's memory is for its owner to say.
    held = {"gpu_memory_utilization"} if deployment.gpu.is_cpu else set()
    free = set(SEARCHED) - held
    return SearchSpace(
        engine="vllm",
        knobs=knobs,
        searched={knob.name: knob.domain for knob in knobs if knob.name in free},
        fixed={knob.name: knob.default for knob in knobs if knob.name not in free},
        derive=lambda config: {
            "data_parallel_size": deployment.gpus // int(config["tensor_parallel_size"])
        },
        rules=vllm_rules(deployment),
    )


def passing_on(space: SearchSpace, name: str, value: Value) -> SearchSpace:
    """The space with an engine argument that it does not know, the same in every config."""
    about = "passed on to the engine as it is"
    knob = Knob(name=name, default=value, domain=Choice((value,)), about=about)
    return replace(space, knobs=(*space.knobs, knob), fixed={**space.fixed, name: value})


def launch_caps(space: SearchSpace, config: Config) -> dict[str, int]:
    """What a launch reserves for, so that the live batch sizes may be turned below it.

    The tops of their searched ranges; the config's own where so large an engine breaks a rule.
    """
    caps = {name: max(int(config[name]), _top(space, name)) for name in CAPPED}
    if not space.broken_rules({**config, **caps}):
        return caps
    return {name: int(config[name]) for name in CAPPED}


def _top(space: SearchSpace, name: str) -> int:
    domain = space.searched.get(name)
    if domain is None:
        return int(space.fixed[name])
    return int(max(domain.values) if isinstance(domain, Choice) else domain.high)


def default_config(space: SearchSpace) -> Config:
    """What ``vllm serve`` runs when told nothing but the fixed settings.

    As vLLM does, its defaults are fitted to each other: without chunked prefill the token budget
    is raised to a whole prompt, and ``max_num_seqs`` is lowered to the token budget.
    """
    config = space.default()
    if not config["enable_chunked_prefill"]:
        config = _whole_prompts(space, config)
    tokens = config["max_num_batched_tokens"]
    if int(config["max_num_seqs"]) <= int(tokens):
        return config
    return space.within({"max_num_seqs": tokens, "max_num_batched_tokens": tokens})


def _whole_prompts(space: SearchSpace, config: Config) -> Config:
    """The config with the least token budget in its range that keeps the rule, if one does."""
    budgets = space.searched.get("max_num_batched_tokens")
    wanted = [rule for rule in space.rules if rule.reads == WHOLE_PROMPTS]
    if not isinstance(budgets, Int):
        return config
    for tokens in range(int(config["max_num_batched_tokens"]), budgets.high + 1, budgets.step):
        raised = space.within({"max_num_batched_tokens": tokens})
        if all(rule.holds(raised) for rule in wanted):
            return raised
    return config


def preset_settings(deployment: Deployment) -> tuple[dict[str, int], ...]:
    """Two settings worth trying before any search: one for latency, one for throughput."""
    sizes = fitting_sizes(deployment)
    return (
        {"tensor_parallel_size": sizes[-1], "max_num_batched_tokens": 2048},
        # What `--performance-mode throughput` does: the defaults doubled.
        {
            "tensor_parallel_size": sizes[0],
            "max_num_seqs": min(1024, 2 * batch_defaults(deployment.gpu)[0]),
            "max_num_batched_tokens": min(16384, 2 * batch_defaults(deployment.gpu)[1]),
        },
    )
