"""One simulated engine: a config under loads, as its step times say and real engines taught it."""

from collections.abc import Iterable
from dataclasses import replace

from objectives import Load, Measurement
from runners.simulated.calibration import (
    Calibration,
    Interval,
    Parameters,
    calibrated,
    intervals,
    prior,
)
from runners.simulated.calibration.probes import seen
from runners.simulated.compiled.serve import Totals, limits_of, serve
from runners.simulated.compiled.speculation import Model
from runners.simulated.drafting import drafts_of
from runners.simulated.prefixes import in_kv_blocks
from runners.simulated.settings import SchedulerSettings
from runners.simulated.utilisation import mbu, mfu
from search_spaces import Config, Deployment
from search_spaces.vllm import kv_dtype


class SimulatedEngine:
    """A launched deployment; every measurement starts with empty queues and caches."""

    fresh = True

    def __init__(
        self,
        deployment: Deployment,
        config: Config,
        model: Model,
        *,
        blocks: int,
        calibration: Calibration | None = None,
    ) -> None:
        self.age_s = launch_s(deployment, config)
        self._deployment, self._config = deployment, config
        self._model, self._blocks = model, blocks
        self._calibration = calibration
        self._settings = SchedulerSettings.of(config)
        self._tensor_parallel_size = int(config["tensor_parallel_size"])

    def measure(self, load: Load) -> Measurement:
        measurement = self._with(self._parameters, load)
        self.age_s += measurement.duration_s
        return measurement

    def intervals(self, load: Load, *, also: Iterable[str] = ()) -> dict[str, Interval]:
        """Where 90 % of real engines would be, by metric; 17 runs.

        Uncalibrated, what other engines' steps exceeded the sums of their kernels by is doubt.

        Args:
            also: metrics beside the usual ones, such as ``p92_ttft_ms``.
        """
        belief = self._calibration or prior(self._tensor_parallel_size)

        def metrics(parameters: Parameters) -> dict[str, float | None]:
            found = self._with(parameters, load)
            return found.metrics | {name: found.metric(name) for name in also}

        return intervals(belief, metrics, at=self._parameters)

    @property
    def _parameters(self) -> Parameters:
        return self._calibration.parameters if self._calibration else Parameters()

    def _with(self, parameters: Parameters, load: Load) -> Measurement:
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
                drafted=self._model.speculation.tokens,
            ),
            self._taught(parameters),
            replicas=int(self._config["data_parallel_size"]),
            blocks=self._blocks,
        )
        measurement = Measurement(
            results=run.results,
            duration_s=run.duration_s,
            gpus=self._deployment.gpus,
            engine=self._account(totals),
        )
        return seen(measurement, parameters.api_ms) if parameters.api_ms else measurement

    def _taught(self, parameters: Parameters) -> Model:
        """The draft model's steps are slower alike, but the host waits once for both."""
        if parameters == Parameters():
            return self._model
        speculation = self._model.speculation
        draft = calibrated(speculation.draft, replace(parameters, host_ms=0.0))
        return Model(calibrated(self._model.steps, parameters), speculation._replace(draft=draft))

    def _account(self, totals: Totals) -> dict[str, float]:
        busy_s = max(totals.busy_s, 1e-12)
        account = {
            "mean_running": totals.running_s / busy_s,
            "preemptions": totals.preemptions,
            "engine_steps": totals.steps,
            "prefix_cached_tokens": totals.cached_tokens,
            "communication_share": totals.communication_s / busy_s,
            **drafts_of(self._model.speculation, totals),
        }
        deployment, size = self._deployment, self._tensor_parallel_size
        if not deployment.gpu.memory_bandwidth_tb_s:
            return account
        pairs, kv = totals.prefill_pairs, kv_dtype(self._config)
        return account | {
            "mfu": mfu(deployment, totals, tensor_parallel_size=size, prefill_pairs=pairs),
            "mbu": mbu(deployment, totals, tensor_parallel_size=size, kv_dtype=kv),
        }


def launch_s(deployment: Deployment, config: Config) -> float:
    """Seconds from start to ready, warm compile cache.

    Through one published point, a 3B model of 28 layers in 59 s (vLLM issue 20264), and 8 % under
    another: a 70B model at TP 8 in about 215 s, 60 s of it the peer-to-peer check and 70 s a cold
    compilation (vLLM issue 19824).
    """
    peer_check_s = 60.0 if int(config["tensor_parallel_size"]) > 1 else 0.0
    return 17.0 + 1.5 * deployment.model.num_hidden_layers + peer_check_s
