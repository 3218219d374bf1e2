"""Parameters learnt from whole measurements, the simulated engine itself as the model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np

from objectives import Load, Measurement
from runners.simulated.calibration.belief import (
    LEAST,
    Calibration,
    blended_sd,
    parameters_at,
    rows,
)
from runners.simulated.calibration.least_squares import Belief, newton, settle
from runners.simulated.calibration.parameters import Parameters, calibrated
from runners.simulated.compiled.serve import limits_of, serve
from runners.simulated.compiled.speculation import Model
from runners.simulated.compiled.state import Floats
from runners.simulated.compiled.steps import Steps
from runners.simulated.prefixes import in_kv_blocks
from runners.simulated.settings import SchedulerSettings
from runners.simulated.step_table import NO_SPECULATION
from search_spaces import Config

TTFT, TPOT, THROUGHPUT = "mean_ttft_ms", "mean_tpot_ms", "output_throughput"
COMPARED = (TTFT, TPOT, THROUGHPUT)
"""Means: the statistic that a few hundred requests tell best."""
TAILS = {
    TTFT: ("p95_ttft_ms", "p99_ttft_ms"),
    TPOT: ("p95_tpot_ms", "p99_tpot_ms"),
}
"""What promises are about; they teach no parameter, only how far off they are."""
MOVES = np.array([0.05, 0.05, 0.2, 1.0])
"""Of (log, log, ms, ms) for a slope: large enough to outlast a queue's jumps."""
FURTHEST = 2.0
"""Log of observed over predicted beyond which more is no news, as of a queue without end."""
NOTHING = -FURTHEST
"""Where the twin answers nobody: slower than anything observed."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One real measurement, and the same config and load on the simulated engine."""

    run: Callable[[Parameters], Measurement]
    observed: Mapping[str, float | None]
    """Metrics by name; at least one of ``COMPARED``."""


def twin(
    config: Config, load: Load, steps: Steps, *, blocks: int
) -> Callable[[Parameters], Measurement]:
    """A config under a load, simulated with whatever parameters.

    Args:
        blocks: of each replica's KV cache.
    """
    load = replace(load, workload=in_kv_blocks(load.workload), watch=None)
    limits = limits_of(
        SchedulerSettings.of(config),
        group_tokens=load.workload.block_tokens,
        prefix_caching=bool(config["enable_prefix_caching"]),
    )
    replicas = int(config["data_parallel_size"])
    gpus = replicas * int(config["tensor_parallel_size"])

    def run(parameters: Parameters) -> Measurement:
        model = Model(calibrated(steps, parameters), NO_SPECULATION)
        found, _ = serve(load, limits, model, replicas=replicas, blocks=blocks)
        return Measurement(results=found.results, duration_s=found.duration_s, gpus=gpus)

    return run


def predict(probe: Probe, parameters: Parameters) -> dict[str, float | None]:
    """Metrics of the simulated engine as a client would see them."""
    return seen(probe.run(parameters), parameters.api_ms).metrics


def seen(measurement: Measurement, api_ms: float) -> Measurement:
    """With what a request spends outside the engine's steps, before its first token."""
    results = tuple(
        r
        if r.ttft_ms is None or r.e2el_ms is None
        else replace(r, ttft_ms=r.ttft_ms + api_ms, e2el_ms=r.e2el_ms + api_ms)
        for r in measurement.results
    )
    return replace(measurement, results=results)


def learn(probes: Sequence[Probe], before: Calibration) -> Calibration:
    """What is believed once the probes are known too.

    Raises:
        ValueError: there is no probe, or one that observed nothing that is compared.
    """
    return _learn(probes, before)[0]


def held_out(probes: Sequence[Probe], before: Calibration) -> tuple[Calibration, list[Parameters]]:
    """What all probes teach, and for each of them what the others alone do.

    The latter is one Newton step away from the former, so no probe is simulated for it.
    """
    after, belief = _learn(probes, before)
    precision = np.linalg.inv(np.array(before.covariance))
    mean = np.array(before.mean)
    owners = np.array([index for index, _ in _owned(probes)])
    others = []
    for index in range(len(probes)):
        kept = owners != index
        curvature, pull = newton(
            belief.residuals[kept], belief.slopes[kept], belief.mean - mean, precision
        )
        place = np.maximum(belief.mean + np.linalg.solve(curvature, pull), LEAST)
        others.append(parameters_at(place))
    return after, others


def errors(probe: Probe, parameters: Parameters) -> dict[str, float]:
    """Log of observed over predicted, of every metric compared."""
    predicted = predict(probe, parameters)
    return {
        name: _log_ratio(observed, predicted[name]) for name, observed in _compared(probe).items()
    }


def _learn(probes: Sequence[Probe], before: Calibration) -> tuple[Calibration, Belief]:
    if not probes or not all(map(_compared, probes)):
        raise ValueError(f"Every probe must have observed one of {', '.join(COMPARED)}.")
    names = np.array([name for probe in probes for name in _compared(probe)])
    after = before
    for _ in range(2):  # how far probes scatter is known only once they are fitted
        sds = np.select(
            [names == TTFT, names == TPOT], [after.ttft_sd, after.tpot_sd], after.throughput_sd
        )
        start = np.array(after.mean)
        wider = np.hypot(sds, after.tpot_sd * _excess(probes, start))
        belief = _settled(probes, before, wider, start)
        after = _after(before, belief, names, sds, probes=len(probes))
    shares = dict(zip(_owned(probes), (sds / wider).tolist(), strict=True))
    return _with_tails(after, probes, shares), belief


def _owned(probes: Sequence[Probe]) -> list[tuple[int, str]]:
    """(probe, metric) in the order of residuals."""
    return [(index, name) for index, probe in enumerate(probes) for name in _compared(probe)]


def _with_tails(
    after: Calibration, probes: Sequence[Probe], shares: Mapping[tuple[int, str], float]
) -> Calibration:
    """How far percentiles are off with the parameters found.

    Args:
        shares: what an error counts of a probe's metric, less near saturation.
    """
    off: dict[str, list[float]] = {TTFT: [], TPOT: []}
    for index, probe in enumerate(probes):
        predicted = predict(probe, after.parameters)
        for mean, tails in TAILS.items():
            for observed, name in ((probe.observed.get(name), name) for name in tails):
                if observed and (index, mean) in shares:
                    off[mean].append(shares[index, mean] * _log_ratio(observed, predicted[name]))
    return replace(
        after,
        ttft_tail_sd=blended_sd(after.ttft_tail_sd, np.array(off[TTFT]), 0.0),
        tpot_tail_sd=blended_sd(after.tpot_tail_sd, np.array(off[TPOT]), 0.0),
    )


def _settled(probes: Sequence[Probe], before: Calibration, sds: Floats, start: Floats) -> Belief:
    mean, covariance = np.array(before.mean), np.array(before.covariance)

    def residuals(place: Floats) -> Floats:
        return _all_errors(probes, place) / sds

    return settle(residuals, mean, covariance, least=LEAST, steps=MOVES, start=start)


def _excess(probes: Sequence[Probe], place: Floats) -> Floats:
    """By how much more than steps a metric is off when all steps are off by some share.

    Near saturation a queue multiplies what the model leaves unsaid, and TTFT tells little.
    """
    at = _all_errors(probes, place)
    moves = np.diag(MOVES)[:2]
    moved = [np.abs(_all_errors(probes, place + move) - at) / move.max() for move in moves]
    excess: Floats = np.maximum(0.0, np.sum(moved, axis=0) - 1)
    return excess


def _all_errors(probes: Sequence[Probe], place: Floats) -> Floats:
    parameters = parameters_at(place)
    return np.array([e for probe in probes for e in errors(probe, parameters).values()])


def _after(
    before: Calibration, belief: Belief, names: Floats, sds: Floats, *, probes: int
) -> Calibration:
    precision = np.linalg.inv(np.array(before.covariance))
    learnt = len(before.mean) - float(np.trace(belief.covariance @ precision))
    logs = belief.residuals * sds  # as they would be far from saturation
    spent = learnt / len(logs)  # shared out evenly

    def sd(held: float, which: Floats) -> float:
        return blended_sd(held, logs[which], spent * int(which.sum()))

    return replace(
        before,
        mean=tuple(belief.mean.tolist()),
        covariance=rows(belief.covariance),
        ttft_sd=sd(before.ttft_sd, names == TTFT),
        tpot_sd=sd(before.tpot_sd, names == TPOT),
        throughput_sd=sd(before.throughput_sd, names == THROUGHPUT),
        probes=before.probes + probes,
    )


def _compared(probe: Probe) -> dict[str, float]:
    told = {name: probe.observed.get(name) for name in COMPARED}
    return {name: value for name, value in told.items() if value}


def _log_ratio(observed: float, predicted: float | None) -> float:
    if not predicted:
        return NOTHING
    return max(-FURTHEST, min(FURTHEST, log(observed / predicted)))
