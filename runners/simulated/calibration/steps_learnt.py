"""Parameters of a known model learnt from a real engine's step log."""

from dataclasses import dataclass, replace

import numpy as np

from runners.simulated.calibration.belief import LEAST, Calibration, parameters_at
from runners.simulated.calibration.belief import rows as as_rows
from runners.simulated.calibration.least_squares import BLOCK, scatter_of, settle
from runners.simulated.calibration.parameters import Parameters, calibrated
from runners.simulated.calibration.step_rows import Rows
from runners.simulated.compiled.state import Floats
from runners.simulated.compiled.steps import Steps, step_ms

Counts = tuple[int, int, int, int, int]
MOST_STEPS = 5_000
"""Looked up in the model; evenly spread over a longer log."""
MOVES = np.full(4, 1e-3)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the model says of each step, apart: it is linear in the parameters."""

    decode_ms: Floats
    prefill_ms: Floats
    host_ms: Floats

    def at(self, parameters: Parameters) -> Floats:
        gpu_ms = parameters.decode_factor * self.decode_ms
        gpu_ms = gpu_ms + parameters.prefill_factor * self.prefill_ms
        return np.maximum(gpu_ms, self.host_ms) + parameters.host_ms


def learn_from_steps(steps: Steps, log: Rows, before: Calibration) -> Calibration:
    """What is believed of a model's parameters once the log is known; says nothing of the API."""
    every = max(1, len(log) // MOST_STEPS)
    parts, log_ms = _parts(steps, _counts(log)[::every]), np.log(log.ms[::every])
    mean, covariance = np.array(before.mean), np.array(before.covariance)

    def errors(place: Floats) -> Floats:
        found: Floats = log_ms - np.log(parts.at(parameters_at(place)))
        return found

    def settled(sd: float) -> tuple[Floats, Floats]:
        belief = settle(lambda p: errors(p) / sd, mean, covariance, least=LEAST, steps=MOVES)
        return belief.mean, belief.covariance

    place, known = settled(max(0.02, scatter_of(errors(mean))))
    # How far steps scatter is known only once they are fitted.
    place, known = settled(_independent_sd(errors(place)))
    return replace(
        before,
        mean=tuple(place.tolist()),
        covariance=as_rows(known),
        steps=before.steps + len(log),
    )


def _parts(steps: Steps, counts: list[Counts]) -> _Parts:
    gpu = steps._replace(host_ms=0.0, host_row_ms=0.0, eager_ms=0.0)

    def times_ms(model: Steps, decode: float, prefill: float) -> Floats:
        scaled = calibrated(model, Parameters(decode_factor=decode, prefill_factor=prefill))
        return np.array([_step_ms(scaled, step) for step in counts])

    return _Parts(times_ms(gpu, 1, 0), times_ms(gpu, 0, 1), times_ms(steps, 0, 0))


def _step_ms(steps: Steps, step: Counts) -> float:
    prefills, tokens, earlier, decodes, kv = step
    return step_ms(steps, prefills, tokens, earlier, decodes, kv, 0)


def _counts(log: Rows) -> list[Counts]:
    columns = (
        log.prefill_requests,
        log.prefill_tokens,
        log.prefill_kv_tokens,
        log.decode_requests,
        log.decode_kv_tokens,
    )
    whole = (column.round().astype(int).tolist() for column in columns)
    return [(a, b, c, d, e) for a, b, c, d, e in zip(*whole, strict=True)]


def _independent_sd(errors: Floats) -> float:
    """What they would have if independent, as are the means over blocks of neighbours."""
    sd = scatter_of(errors)
    blocks = len(errors) // BLOCK
    means = errors[: blocks * BLOCK].reshape(blocks, BLOCK).mean(axis=1)
    between = scatter_of(means - np.median(means))
    return max(1e-3, sd, between * float(np.sqrt(BLOCK)))
