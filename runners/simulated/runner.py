"""The simulated engine: a discrete-event simulation of vLLM V1 on a GPU nobody needs to have.

Figures are predictions. Until a real engine has taught it, API-server and tokenizer time are not
in them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from runners.base import Description, EngineError, FailureKind
from runners.simulated.calibration import Calibration, Kept, Served
from runners.simulated.compiled.jit import is_kept
from runners.simulated.compiled.loop import offer
from runners.simulated.drafting import kv_tokens_left, speculating, uncertainty
from runners.simulated.engine import SimulatedEngine
from runners.simulated.kv_cache import BLOCK_TOKENS
from runners.simulated.step_table import Tabled
from runners.simulated.step_times import step_time
from search_spaces import Config, Deployment
from search_spaces.vllm import fitting_sizes, kv_dtype, vllm_space

VLLM_VERSION = "0.32"
Taught = tuple[Served, Kept]
"""What a calibration is of, and what it says."""
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
        untaught = [size for size in sizes if size not in calibrations]
        steps = self._steps(deployment, (untaught or sizes)[0], "bf16")
        told = [_told(size, *calibrations[size]) for size in sizes if size in calibrations]
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
        quantised = _quantised(self._deployment, config)
        if quantised != self._deployment or config["kv_cache_dtype"] != "auto":
            self._refuse_fitted(config)
        for rule in vllm_space(quantised).broken_rules(config):
            raise EngineError(FailureKind.REFUSED, f"`{rule.reads}` must hold: {rule.reason}")
        steps = self._steps(quantised, int(config["tensor_parallel_size"]), kv_dtype(config))
        yield SimulatedEngine(
            quantised,
            config,
            speculating(
                quantised,
                config,
                steps.steps,
                acceptance_rate=self._acceptance_rate,
                seed=self._seed,
            ),
            blocks=held // BLOCK_TOKENS,
            calibration=calibration,
        )

    def _calibration(self, config: Config) -> Calibration | None:
        taught = self._calibrations.get(int(config["tensor_parallel_size"]))
        return taught[1].calibration if taught else None

    def _kv_tokens(self, config: Config, calibration: Calibration | None) -> int:
        estimated = kv_tokens_left(self._deployment, config)
        return calibration.kv_tokens(estimated) if calibration else estimated

    def _refuse_fitted(self, config: Config) -> None:
        taught = self._calibrations.get(int(config["tensor_parallel_size"]))
        if taught and taught[1].fitted:
            raise EngineError(
                FailureKind.REFUSED,
                "its steps are fitted to an engine that quantised neither weights nor KV cache",
            )

    def _steps(self, deployment: Deployment, size: int, kv: str) -> Tabled:
        """Fitted to a real engine's log where that was all there was to go by."""
        taught = self._calibrations.get(size)
        if taught and taught[1].fitted:
            return taught[1].fitted
        return step_time(deployment, tensor_parallel_size=size, kv_dtype=kv)


def _told(size: int, served: Served, kept: Kept) -> str:
    found = kept.calibration
    return (
        f"at tensor_parallel_size {size} calibrated on {found.probes} trials and {found.steps} "
        f"steps of vLLM {served.engine_version}: mean TTFT within {found.ttft_sd:.0%}, mean TPOT "
        f"within {found.tpot_sd:.0%} (one standard deviation)"
    ).replace("%", " %")


def _listed(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))


def _quantised(deployment: Deployment, config: Config) -> Deployment:
    if config["quantization"] == "none":
        return deployment
    return replace(
        deployment, model=replace(deployment.model, weight_dtype=str(config["quantization"]))
    )
