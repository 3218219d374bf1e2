"""Trials of real engines as the simulated one learns from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from objectives import Workload, parse_sla
from results.record import TrialRecord
from runners.simulated import catalogue
from runners.simulated.calibration import Probe, Served
from runners.simulated.calibration.probes import COMPARED, TAILS, TPOT, TTFT, twin
from runners.simulated.compiled.steps import Steps
from runners.simulated.kv_cache import BLOCK_TOKENS
from runners.step_log import step_logs
from search_spaces import Deployment
from search_spaces.vllm import kv_tokens
from tuner.folder import Folder
from tuner.probing import offered_load

PLAIN = {"speculative_config": "none", "quantization": "none", "kv_cache_dtype": "auto"}
"""Knobs of trials that are learnt from; with another value it would be another model's steps."""
OBSERVED = (*COMPARED, *TAILS[TTFT], *TAILS[TPOT])
KV_CAPACITY = "kv_capacity_tokens"
STEP_LOG = "step_log"
"""What a trial says its engine wrote: N of ``logs/steps-N.csv``."""


def usable(record: TrialRecord) -> bool:
    """Whether a trial can teach: it was measured, and with plain weights and KV cache."""
    offered = record.loads.get("offered", {})
    told = [offered.get(name) for name in COMPARED]
    return (
        record.answered
        and record.failure is None
        and not record.stopped_early
        and _plain(record)
        and all(isinstance(value, (int, float)) and value > 0 for value in told)
    )


def _plain(record: TrialRecord) -> bool:
    return all(record.config.get(name, value) == value for name, value in PLAIN.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What a study on a real engine has to teach."""

    folder: Folder
    gpu: str
    gpus: int
    model: str
    engine_version: str
    records: Sequence[TrialRecord]
    workloads: Mapping[str, Workload]
    """By objective."""

    def served(self, size: int) -> Served:
        return Served(
            gpu=self.gpu,
            model=self.model,
            engine_version=self.engine_version,
            tensor_parallel_size=size,
        )

    def deployment(self, size: int) -> Deployment | None:
        """``None``: nobody knows how long steps take on it."""
        longest = max(workload.longest_tokens for workload in self.workloads.values())
        return known(self.served(size), gpus=self.gpus, longest_tokens=longest)

    def usable(self, size: int) -> list[TrialRecord]:
        return [r for r in self.records if usable(r) and tensor_parallel_size(r) == size]

    def logs(self, size: int) -> tuple[Path, ...]:
        return logs_of(self.folder, self.records, size)


def tensor_parallel_size(record: TrialRecord) -> int:
    return int(record.config.get("tensor_parallel_size", 1))


def logs_of(folder: Folder, records: Sequence[TrialRecord], size: int) -> tuple[Path, ...]:
    """Step logs of the launches that measured trials of this tensor-parallel size."""
    told = [
        record.loads["offered"].get(STEP_LOG)
        for record in records
        if _plain(record) and tensor_parallel_size(record) == size and "offered" in record.loads
    ]
    numbers = sorted({number for number in told if type(number) is int})
    bases = [folder.logs / f"steps-{number}.csv" for number in numbers]
    return tuple(file for base in bases for file in step_logs(base))


def known(served: Served, *, gpus: int, longest_tokens: int) -> Deployment | None:
    """The deployment, if anybody knows how long steps take on it."""
    try:
        model, gpu = catalogue.model(served.model), catalogue.gpu(served.gpu)
    except ValueError:
        return None
    return Deployment(model=model, gpu=gpu, gpus=gpus, max_model_len=longest_tokens)


def probe(
    record: TrialRecord, workload: Workload, steps: Steps, deployment: Deployment | None
) -> Probe | None:
    """A usable trial beside its simulation; ``None``: its KV cache's size is not known."""
    offered = record.loads["offered"]
    rate = offered.get("request_rate")
    if workload.concurrency is None and rate and rate != workload.request_rate:
        workload = workload.at_rate(rate)
    capacity = _replica_kv_tokens(record)
    if not capacity and deployment is not None:
        capacity = kv_tokens(deployment, record.config)
    if not capacity or capacity < workload.longest_tokens:
        return None
    bounds = parse_sla(",".join(record.sla)) if record.sla else ()
    load = offered_load(workload, bounds)
    run = twin(record.config, load, steps, blocks=capacity // BLOCK_TOKENS)
    return Probe(run, {name: offered.get(name) for name in OBSERVED})


def kv_offset_tokens(records: Sequence[TrialRecord], deployment: Deployment | None) -> int | None:
    """By how much engines' own KV capacities exceed the estimates; ``None``: not known."""
    if deployment is None:
        return None
    beyond = [
        told - kv_tokens(deployment, record.config)
        for record in records
        if (told := _replica_kv_tokens(record))
    ]
    return round(median(beyond)) if beyond else None


def _replica_kv_tokens(record: TrialRecord) -> int | None:
    """Engines tell what their replicas hold together."""
    told = record.loads["offered"].get(KV_CAPACITY)
    return int(told) // int(record.config.get("data_parallel_size", 1)) if told else None
