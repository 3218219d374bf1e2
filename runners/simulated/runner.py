"""The simulated engine: a discrete-event simulation of vLLM V1 on a GPU nobody needs to have.

Figures are predictions. API-server and tokenizer time are not in them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from objectives import Load, Measurement
from runners.base import Description, EngineError, FailureKind
from runners.simulated.compiled.jit import is_kept
from runners.simulated.compiled.loop import offer
from runners.simulated.compiled.serve import limits_of, serve
from runners.simulated.compiled.speculation import Model
from runners.simulated.kv_cache import BLOCK_TOKENS
from runners.simulated.prefixes import in_kv_blocks
from runners.simulated.settings import SchedulerSettings
from runners.simulated.step_table import NO_SPECULATION, Tabled
from runners.simulated.step_times import step_time
from search_spaces import Config, Deployment
from search_spaces.vllm import fitting_sizes, kv_dtype, kv_tokens, vllm_space

VLLM_VERSION = "0.32"


def is_compiled() -> bool:
    """Whether this installation has simulated before; else it first compiles for half a minute."""
    return is_kept(offer)


class SimulatedEngine:
    """A launched deployment; every measurement starts with empty queues and caches."""

    fresh = True

    def __init__(self, deployment: Deployment, config: Config, steps: Tabled) -> None:
        self.age_s = launch_s(deployment, config)
        self._deployment = deployment
        self._config = config
        self._steps = steps.steps
        self._settings = SchedulerSettings.of(config)
        self._blocks = kv_tokens(deployment, config) // BLOCK_TOKENS

    def measure(self, load: Load) -> Measurement:
        longest, limit = load.workload.longest_tokens, self._deployment.max_model_len
        if longest > limit:
            raise ValueError(
                "`input_tokens + output_tokens <= max_model_len` must hold for every request, but "
                f"got {longest} > {limit}."
            )
        workload = in_kv_blocks(load.workload)
        run, totals = serve(
            replace(load, workload=workload),
            limits_of(
                self._settings,
                group_tokens=workload.block_tokens,
                prefix_caching=bool(self._config["enable_prefix_caching"]),
            ),
            Model(self._steps, NO_SPECULATION),
            replicas=int(self._config["data_parallel_size"]),
            blocks=self._blocks,
        )
        self.age_s += run.duration_s
        return Measurement(
            results=run.results,
            duration_s=run.duration_s,
            gpus=self._deployment.gpus,
            engine={
                "mean_running": totals.running_s / max(totals.busy_s, 1e-12),
                "preemptions": totals.preemptions,
                "engine_steps": totals.steps,
                "prefix_cached_tokens": totals.cached_tokens,
            },
        )


class SimulatedRunner:
    """Launches simulated engines of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        probe = step_time(deployment, tensor_parallel_size=fitting_sizes(deployment)[0])
        self.description = Description(
            engine="simulated",
            version=f"vLLM {VLLM_VERSION} scheduler; {probe.source}",
            simulated=True,
            uncertainty=probe.uncertainty,
            noiseless=True,
        )

    @contextmanager
    def launch(self, config: Config) -> Iterator[SimulatedEngine]:
        if config["speculative_config"] != "none":
            raise EngineError(FailureKind.REFUSED, "speculative decoding is not simulated yet")
        held = kv_tokens(self._deployment, config) // BLOCK_TOKENS * BLOCK_TOKENS
        if held < self._deployment.max_model_len:
            raise EngineError(
                FailureKind.DOES_NOT_FIT,
                f"the KV cache would hold {max(0, held)} tokens, but one request needs "
                f"{self._deployment.max_model_len}",
            )
        quantised = _quantised(self._deployment, config)
        for rule in vllm_space(quantised).broken_rules(config):
            raise EngineError(FailureKind.REFUSED, f"`{rule.reads}` must hold: {rule.reason}")
        steps = step_time(
            quantised,
            tensor_parallel_size=int(config["tensor_parallel_size"]),
            kv_dtype=kv_dtype(config),
        )
        yield SimulatedEngine(self._deployment, config, steps)


def _quantised(deployment: Deployment, config: Config) -> Deployment:
    if config["quantization"] == "none":
        return deployment
    return replace(
        deployment, model=replace(deployment.model, weight_dtype=str(config["quantization"]))
    )


def launch_s(deployment: Deployment, config: Config) -> float:
    """Seconds from start to ready, warm compile cache.

    Through one published point, a 3B model of 28 layers in 59 s (vLLM issue 20264), and 8 % under
    another: a 70B model at TP 8 in about 215 s, 60 s of it the peer-to-peer check and 70 s a cold
    compilation (vLLM issue 19824).
    """
    peer_check_s = 60.0 if int(config["tensor_parallel_size"]) > 1 else 0.0
    return 17.0 + 1.5 * deployment.model.num_hidden_layers + peer_check_s
