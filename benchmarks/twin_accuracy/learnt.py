"""A group's published runs as the product's own calibration learns from three of them per TP size.

Its prior comes from the very runs of the main group (see `priors.py`), so that here another one is
believed first that says next to nothing: those runs then judge nothing that they were asked for.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.twin_accuracy.comparison import PROBED_CONCURRENCIES, Case, Comparison
from benchmarks.twin_accuracy.replay import PROMPTS_PER_CLIENT, probe
from runners.simulated.calibration import Calibration, Probe, learn, predict
from runners.simulated.calibration.belief import rows

WIDE = (1.0, 1.0, 5.0, 20.0)
"""Standard deviations of (log, log, ms, ms) about a model left as it is: far more than any run is
off by."""
SCATTER = 0.1
"""Of TTFT and of TPOT: alike, so that neither counts for more before they are fitted."""
NEUTRAL = Calibration(
    mean=(0.0, 0.0, 0.0, 0.0),
    covariance=rows(np.diag(np.square(WIDE))),
    ttft_sd=SCATTER,
    tpot_sd=SCATTER,
    throughput_sd=SCATTER,
    ttft_tail_sd=SCATTER,
    tpot_tail_sd=SCATTER,
)


def learnt(found: Comparison) -> Comparison:
    """With what three probes teach of the other runs at their TP size."""
    sizes = {case.row.setup.tensor_parallel_size for case in found.cases}
    told = {case.row.setup: case for size in sizes for case in _of_size(found, size)}
    return replace(found, cases=tuple(told.get(case.row.setup, case) for case in found.cases))


def _of_size(found: Comparison, tensor_parallel_size: int) -> Sequence[Case]:
    same = [c for c in found.cases if c.row.setup.tensor_parallel_size == tensor_parallel_size]
    probes = [case for case in same if case.is_probe]
    if {case.row.setup.concurrency for case in probes} < PROBED_CONCURRENCIES:
        return []
    parameters = learn([probe_of(case, found.kv_dtype) for case in probes], NEUTRAL).parameters

    def predicted(case: Case) -> Case:
        metrics = predict(probe_of(case, found.kv_dtype), parameters)
        pair = (metrics["mean_ttft_ms"] or 0.0, metrics["mean_tpot_ms"] or 0.0)
        return replace(case, learnt=pair)

    return [predicted(case) for case in same if not case.is_probe]


def probe_of(case: Case, kv_dtype: str, prompts_per_client: int = PROMPTS_PER_CLIENT) -> Probe:
    """TTFT only where it is judged and no queue for the KV cache is most of it."""
    taken = probe(case.row, kv_dtype, prompts_per_client)
    if case.ttft_counts and not case.twin.saturated:
        return taken
    return replace(taken, observed={"mean_tpot_ms": case.row.tpot_ms})
