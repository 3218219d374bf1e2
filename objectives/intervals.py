"""Between which ends the figures of one run are known to lie, its autocorrelation respected.

How much one run differs from the next is not in them; only paired runs can tell that.
"""

import math

from objectives.measurement import LATENCIES, LATENCY_METRIC, Latency, Measurement
from objectives.sla import promised_ms
from objectives.statistics import mean_interval, percentile_interval

Interval = tuple[float, float]
BATCHES = 20


def latency_interval(measurement: Measurement, metric: str) -> Interval | None:
    """95 % interval of a percentile over offered requests, by the block bootstrap.

    ``None`` for a metric that is no percentile, or without a finite upper end.
    """
    match = LATENCY_METRIC.fullmatch(metric)
    if match is None or match[2] is None:
        return None
    latency: Latency = next(name for name in LATENCIES if name == match[3])
    values = [promised_ms(result, latency) for result in measurement.results]
    low, high = percentile_interval(values, float(match[2]) / 100)
    return (low, high) if math.isfinite(high) else None


def throughput_interval(measurement: Measurement, *, per_gpu: bool = False) -> Interval | None:
    """95 % interval of output tokens per second, by means over equal times of the run."""
    batches = min(BATCHES, len(measurement.completed))
    if batches < 2:
        return None
    tokens = [0.0] * batches
    begin_s = measurement.results[0].arrival_s
    for result in measurement.completed:
        end_s = result.arrival_s + (result.e2el_ms or 0.0) / 1000 - begin_s
        place = int(end_s / measurement.duration_s * batches)
        tokens[min(batches - 1, max(0, place))] += result.output_tokens
    share = batches / measurement.duration_s / (measurement.gpus if per_gpu else 1)
    low, high = mean_interval([count * share for count in tokens], batches=batches)
    return max(0.0, low), high
