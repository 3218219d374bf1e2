"""The simulated engine: a discrete-event simulation of vLLM V1 on a GPU nobody needs to have.

Figures are predictions. Until a real engine has taught it, API-server and tokenizer time are not
in them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from runners.base import Description, EngineError, FailureKind
from runners.simulated.calibration import (
    Calibration,
    Kept,
    Served,
    calibrated,
    of_another_kind,
)
from runners.simulated.calibration.store import Taught
from runners.simulated.compiled.jit import is_kept
from runners.simulated.compiled.loop import offer
from runners.simulated.compiled.steps import step_ms
from runners.simulated.drafting import kv_tokens_left, speculating, uncertainty
from runners.simulated.engine import SimulatedEngine
from runners.simulated.kv_cache import BLOCK_TOKENS
from runners.simulated.step_table import Tabled
from runners.simulated.step_times import step_time
from search_spaces import Config, Deployment
from search_spaces.vllm import fitting_sizes, kv_dtype, quantised, vllm_space

VLLM_VERSION = "0.32"
UNTAUGHT: Mapping[int, Taught] = MappingProxyType({})


def is_compiled() -> bool:
    """Whether this installation has simulated before; else it first compiles for half a minute."""
    return is_kept(offer)


class SimulatedRunner:
    """Launches simulated engines of one deployment.

    Args:
        calibrations: what real engines taught, by tensor-parallel size.
        acceptance_rate: accepted tokens over drafted ones; without it nothing speculates.
        seed: of which of them are.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        calibrations: Mapping[int, Taught] = UNTAUGHT,
        acceptance_rate: float | None = None,
        seed: int = 0,
    ) -> None:
        self._deployment = deployment
        self._acceptance_rate, self._seed = acceptance_rate, seed
        self._calibrations = calibrations
        sizes = fitting_sizes(deployment)
        taught = [size for size in sizes if size in calibrations]
        untaught = [size for size in sizes if size not in calibrations]
        if not deployment.gpu.memory_bandwidth_tb_s and taught:
            untaught = []  # of this hardware nothing is known but what was learnt
        steps = self._steps(deployment, (untaught or taught)[0], "bf16")
        told = [_told(size, *calibrations[size]) for size in taught]
        if untaught:
            where = f"at tensor_parallel_size {_listed(untaught)} " if told else ""
            told.append(f"{where}{steps.uncertainty}")
        self.description = Description(
            engine="simulated",
            version=f"vLLM {VLLM_VERSION} scheduler; {steps.source}",
            simulated=True,
            uncertainty="; ".join(told) + uncertainty(acceptance_rate),
            noiseless=True,
        )

    @contextmanager
    def launch(self, config: Config) -> Iterator[SimulatedEngine]:
        calibration = self._calibration(config)
        held = self._kv_tokens(config, calibration) // BLOCK_TOKENS * BLOCK_TOKENS
        if held < self._deployment.max_model_len:
            raise EngineError(
                FailureKind.DOES_NOT_FIT,
                f"the KV cache would hold {max(0, held)} tokens, but one request needs "
                f"{self._deployment.max_model_len}",
            )
        deployment = quantised(self._deployment, config)
        for rule in vllm_space(deployment).broken_rules(config):
            raise EngineError(FailureKind.REFUSED, f"`{rule.reads}` must hold: {rule.reason}")
        size = int(config["tensor_parallel_size"])
        self._refuse_fitted(config, size)
        steps = self._steps(deployment, size, kv_dtype(config))
        yield SimulatedEngine(
            deployment,
            config,
            speculating(
                deployment,
                config,
                steps.steps,
                acceptance_rate=self._acceptance_rate,
                seed=self._seed,
            ),
            blocks=held // BLOCK_TOKENS,
            calibration=calibration,
        )

    def decode_step_ms(self, config: Config, kv_tokens: int) -> float:
        """Of one request that decodes alone, with so many tokens in its KV cache.

        Raises:
            EngineError: nobody knows how long steps take with this config.
        """
        size = int(config["tensor_parallel_size"])
        self._refuse_fitted(config, size)
        steps = self._steps(quantised(self._deployment, config), size, kv_dtype(config)).steps
        if calibration := self._calibration(config):
            steps = calibrated(steps, calibration.parameters)
        return step_ms(steps, 0, 0, 0, 1, kv_tokens, 0)

    def _calibration(self, config: Config) -> Calibration | None:
        size = int(config["tensor_parallel_size"])
        if size not in self._calibrations:
            return None
        found = self._calibrations[size][1].calibration
        return found if _plain(config) else of_another_kind(found, size)

    def _kv_tokens(self, config: Config, calibration: Calibration | None) -> int:
        estimated = kv_tokens_left(self._deployment, config)
        return calibration.kv_tokens(estimated) if calibration else estimated

    def _refuse_fitted(self, config: Config, size: int) -> None:
        taught = self._calibrations.get(size)
        quantised = config["quantization"] != "none" or config["kv_cache_dtype"] != "auto"
        if taught and taught[1].fitted and quantised:
            raise EngineError(
                FailureKind.REFUSED,
                "its steps are fitted to an engine that quantised neither weights nor KV cache",
            )

    def _steps(self, deployment: Deployment, size: int, kv: str) -> Tabled:
        """Fitted to a real engine's log where that was all there was to go by."""
        taught = self._calibrations.get(size)
        if taught and taught[1].fitted:
            return taught[1].fitted
        if not deployment.gpu.memory_bandwidth_tb_s:
            raise EngineError(
                FailureKind.REFUSED,
                f"how long steps take here at tensor_parallel_size {size} nobody has learnt yet",
            )
        return step_time(deployment, tensor_parallel_size=size, kv_dtype=kv)


def _told(size: int, served: Served, kept: Kept) -> str:
    found = kept.calibration
    where, by = f"at tensor_parallel_size {size} calibrated on", f"vLLM {served.engine_version}"
    if not found.probes:
        return f"{where} {found.steps} steps of {by}, and on no trial"
    return (
        f"{where} {found.probes} trials and {found.steps} steps of {by}: mean TTFT within "
        f"{100 * found.ttft_sd:.0f} %, mean TPOT within {100 * found.tpot_sd:.0f} % (one standard "
        "deviation)"
    )


def _plain(config: Config) -> bool:
    """Whether it is of the kind that calibrations are learnt from."""
    return (config["quantization"], config["kv_cache_dtype"], config["speculative_config"]) == (
        "none",
        "auto",
        "none",
    )


def _listed(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))
