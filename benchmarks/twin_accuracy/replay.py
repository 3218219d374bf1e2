"""One published run done again on the twin, by InferenceMAX's protocol.

A closed loop of ten prompts per client, lengths uniform in [0.8 L, L], no prefix cache,
``max_num_batched_tokens`` 8192, ``max_num_seqs`` the concurrency, 0.9 of the memory: what its
scripts of October 2025 say. Groups from elsewhere are run so too, where it is an assumption.
"""

from dataclasses import dataclass, replace
from functools import cache

from benchmarks.twin_accuracy.measured import LENGTH_SPREAD, MEAN_LENGTH, Row, Setup
from objectives import Load, Workload
from objectives.arrivals import ClosedLoop, Synthetic, Uniform
from runners import EngineError
from runners.simulated import SimulatedRunner
from runners.simulated.calibration import Probe
from runners.simulated.calibration.probes import twin
from runners.simulated.catalogue import gpu, model
from runners.simulated.kv_cache import BLOCK_TOKENS
from runners.simulated.step_times import step_time
from search_spaces import Config, Deployment
from search_spaces.vllm import kv_tokens, vllm_space

PROMPTS_PER_CLIENT = 10
MAX_MODEL_LEN = 16_384
"""Above every traffic's own: the same for all, so that step times are tabled once."""
KV_DTYPES = ("bf16", "fp8")
FIXED: Config = {
    "max_num_batched_tokens": 8192,
    "gpu_memory_utilization": 0.9,
    "enable_prefix_caching": False,
}
SERVED = {
    ("meta-llama/Llama-3.1-70B", "fp8"): "nvidia/Llama-3.3-70B-Instruct-FP8",
    ("MiniMaxAI/MiniMax-M2.5", "fp4"): "nvidia/MiniMax-M2.5-NVFP4",
}
"""The checkpoint that was served, where the label says another."""
FP4 = ("nvfp4", "mxfp4")


class NotSimulated(ValueError):
    """Why a run is not done again, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What the twin measured."""

    ttft_ms: float
    tpot_ms: float
    saturated: bool
    """Whether the requests in flight want more KV cache than there is, half of each answered."""
    preemptions: int
    source: str
    """Of the step times."""


@cache
def replay(setup: Setup, kv_dtype: str, prompts_per_client: int = PROMPTS_PER_CLIENT) -> Replay:
    """The run on the twin; deterministic.

    Raises:
        NotSimulated: the twin does not know the model, the GPU or the kind of parallelism.
    """
    try:
        deployment = _deployment(setup)
        _refuse_other_parallelism(setup)
        config = _config(deployment, setup, kv_dtype)
        steps = step_time(
            deployment, tensor_parallel_size=setup.tensor_parallel_size, kv_dtype=kv_dtype
        )
        with SimulatedRunner(deployment).launch(config) as engine:
            run = engine.measure(Load(workload=_workload(setup, prompts_per_client)))
    except (EngineError, ValueError) as error:
        # Of an unknown name the first half; the second tells a user what to write instead.
        raise NotSimulated(str(error).partition(";")[0]) from error
    return Replay(
        ttft_ms=run.metrics["mean_ttft_ms"] or 0.0,
        tpot_ms=run.metrics["mean_tpot_ms"] or 0.0,
        saturated=_saturated(setup, deployment, config),
        preemptions=int(run.engine["preemptions"]),
        source=steps.source,
    )


def probe(row: Row, kv_dtype: str, prompts_per_client: int) -> Probe:
    """The run as calibration takes it, whatever it measured among what may be compared."""
    deployment = _deployment(row.setup)
    config = _config(deployment, row.setup, kv_dtype)
    steps = step_time(
        deployment, tensor_parallel_size=row.setup.tensor_parallel_size, kv_dtype=kv_dtype
    )
    run = twin(
        config,
        Load(workload=_workload(row.setup, prompts_per_client)),
        steps.steps,
        blocks=kv_tokens(deployment, config) // BLOCK_TOKENS,
    )
    return Probe(run, {"mean_ttft_ms": row.ttft_ms, "mean_tpot_ms": row.tpot_ms})


def _saturated(setup: Setup, deployment: Deployment, config: Config) -> bool:
    tokens = MEAN_LENGTH * (setup.input_tokens + setup.output_tokens / 2)
    return setup.concurrency * tokens > kv_tokens(deployment, config)


def _refuse_other_parallelism(setup: Setup) -> None:
    if setup.attention_dp_size > 1:
        raise NotSimulated("data-parallel attention is not simulated")
    if setup.moe_ep_size > 1:
        raise NotSimulated("expert parallelism is not simulated")
    if setup.batch_size != setup.concurrency:
        raise NotSimulated("several instances behind one client, how many is not said")


def _deployment(setup: Setup) -> Deployment:
    group = setup.group
    shape = model(SERVED.get((group.model, group.precision), group.model))
    weights = group.precision
    if weights == "fp4":
        weights = shape.weight_dtype if shape.weight_dtype in FP4 else FP4[0]
    return Deployment(
        model=replace(shape, weight_dtype=weights),
        gpu=gpu(group.gpu),
        gpus=setup.tensor_parallel_size,
        max_model_len=MAX_MODEL_LEN,
    )


def _config(deployment: Deployment, setup: Setup, kv_dtype: str) -> Config:
    settings = {
        **FIXED,
        "tensor_parallel_size": setup.tensor_parallel_size,
        "max_num_seqs": setup.concurrency,
        "kv_cache_dtype": "fp8" if kv_dtype == "fp8" else "auto",
    }
    space = vllm_space(deployment)
    for name, value in settings.items():
        space = space.fix(name, value)
    return space.default()


def _workload(setup: Setup, prompts_per_client: int) -> Workload:
    prompts, answers = (Uniform(tokens, LENGTH_SPREAD) for tokens in setup.traffic)
    recipe = Synthetic(lengths=(prompts, answers), arrivals=ClosedLoop(setup.concurrency))
    return recipe.workload("replay", requests=prompts_per_client * setup.concurrency, seed=0)
