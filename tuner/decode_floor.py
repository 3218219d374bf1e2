"""Promises that no config can keep because one decode step alone takes too long.

An answer of n tokens comes in at least n - 1 steps after its first, and no step is shorter than
that of one request alone with the shortest prompt of the traffic behind it. So TPOT and ITL are at
least one such step, E2EL at least n - 1. A simulated engine is asked for the step, as it was
taught. A real one at least reads its weights once per step: their bytes over the memory bandwidth
of its GPUs, each of which holds 1 / tensor_parallel_size of them. Of hardware whose bandwidth
nobody knows nothing is said, nor where speculation makes several tokens a step.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from operator import itemgetter

from objectives import Bound, Measurement, Profile, RequestResult, Workload
from objectives.sla import holds
from runners import EngineError
from runners.simulated import SimulatedRunner
from runners.simulated.utilisation import weight_bytes_read
from search_spaces import Choice, Config, Deployment, SearchSpace, Value
from search_spaces.vllm import quantised
from tuner.asked import speculating
from tuner.errors import BadInput
from tuner.target import Target
from tuner.taught import taught

READ = ("tensor_parallel_size", "quantization", "kv_cache_dtype")
"""Knobs that the step of one request depends on."""
StepMs = Callable[[Config, int], float]
"""Of one decoding request, by config and tokens of KV cache."""


def refuse_below_decode_floor(
    promises: Iterable[tuple[Profile, Workload]],
    space: SearchSpace,
    deployment: Deployment,
    on: Target,
) -> None:
    """
    Raises:
        BadInput: a bound that one decode step breaks with every config of the space.
    """
    if speculating(space) or not (step_ms := _step_ms(deployment, on)):
        return
    for profile, workload in promises:
        context_tokens = min(request.input_tokens for request in workload.requests)
        steps = partial(_steps, space, step_ms, context_tokens)
        for bound in filter(_is_of_decoding, profile.sla):
            if any(holds((bound,), _alone(workload, took_ms)) for took_ms, _ in steps()):
                continue
            if fastest := min(steps(), key=itemgetter(0), default=None):
                raise BadInput(_sentence(bound, deployment, *fastest))


def read_ms(deployment: Deployment, config: Config) -> float:
    """What reading the weights for one token takes each GPU at the bandwidth of its data sheet."""
    read_bytes = weight_bytes_read(quantised(deployment, config).model, 1)
    bytes_per_ms = deployment.gpu.memory_bandwidth_tb_s * 1e9
    return read_bytes / int(config["tensor_parallel_size"]) / bytes_per_ms


def _step_ms(deployment: Deployment, on: Target) -> StepMs | None:
    if on.engine == "simulated":
        calibrations = taught(on.calibrations or {})
        return SimulatedRunner(deployment, calibrations=calibrations).decode_step_ms
    if not deployment.gpu.memory_bandwidth_tb_s:
        return None
    return lambda config, context_tokens: read_ms(deployment, config)


def _is_of_decoding(bound: Bound) -> bool:
    ends = ("_tpot_ms", "_itl_ms", "_e2el_ms")
    return bound.sense == "<=" and bound.metric.endswith(ends)


def _steps(
    space: SearchSpace, step_ms: StepMs, context_tokens: int
) -> Iterator[tuple[float, Config]]:
    """What the step takes in each way that the space has to time it, the engine's own first."""
    for values in product(*(_values(space, name) for name in READ)):
        config = {**space.default(), **dict(zip(READ, values, strict=True))}
        with suppress(EngineError):  # a simulated engine that knows no such steps serves none
            yield step_ms(config, context_tokens), config


def _values(space: SearchSpace, name: str) -> Sequence[Value]:
    domain = space.searched.get(name)
    return domain.values if isinstance(domain, Choice) else (space.fixed[name],)


def _alone(workload: Workload, step_ms: float) -> Measurement:
    """Every request answered at once and decoded as if there were no other."""
    results = [
        RequestResult(
            request.arrival_s,
            request.input_tokens,
            request.output_tokens,
            ttft_ms=0.0,
            e2el_ms=(request.output_tokens - 1) * step_ms,
        )
        for request in workload.requests
    ]
    return Measurement(results=tuple(results), duration_s=1.0, gpus=1)


def _sentence(bound: Bound, deployment: Deployment, step_ms: float, config: Config) -> str:
    lossy = {"quantization": "none", "kv_cache_dtype": "auto"}
    said = ", ".join(f"{name} {config[name]}" for name in READ if config[name] != lossy.get(name))
    model, gpu = deployment.model.name, deployment.gpu.name
    step = f"one decode step of {model} on {gpu} takes at least {step_ms:.3g} ms ({said})"
    ways = ["raise the bound", "take a faster GPU or a smaller model"]
    if bound.metric.endswith("_e2el_ms"):
        tokens = 1 + int(bound.limit / step_ms)
        step += f", so that no answer of more than {tokens} tokens ends in {bound.limit:g} ms"
        ways.insert(1, "ask for shorter answers")
    return f"`{bound.name}` cannot be kept: {step}; {', '.join(ways)}."
