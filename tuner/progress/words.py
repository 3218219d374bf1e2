"""A trial in a few words: its config, what came of it, what it is best at."""

from collections.abc import Mapping, Sequence

from objectives import Quadrant, Verdict
from results.record import TrialRecord
from results.text.figures import duration, goal, quantity
from results.text.layout import DASH, WORD_JOIN
from search_spaces import Config, Value
from tuner.progress.state import State

SHORT = {
    "tensor_parallel_size": "tp",
    "max_num_seqs": "seqs",
    "max_num_batched_tokens": "tokens",
    "batch_wait_timeout_ms": "wait",
    "long_prefill_token_threshold": "chunk",
    "gpu_memory_utilization": "mem",
}
SHOWN = tuple(SHORT)[:4]


def spaced(text: str) -> str:
    """Text whose lines may be broken anywhere."""
    return text.replace(WORD_JOIN, " ")


def config_words(config: Config, knobs: Sequence[str]) -> str:
    """``tp2 seqs 256 tokens 8192 wait 0``."""
    return " ".join(_setting(knob, config[knob]) for knob in knobs if knob in config)


def _setting(knob: str, value: Value) -> str:
    name = SHORT.get(knob, knob.removesuffix("_ms"))
    unit = " ms" if knob.endswith("_ms") and value else ""
    return f"{name}{'' if name == 'tp' else ' '}{value}{unit}"


def origin_words(number: int, origin: str) -> str:
    """``trial 0 (default)``; nothing is said of the sampler's own."""
    return f"trial {number}" + ("" if origin == "sampler" else f" ({origin})")


def outcome(records: Sequence[TrialRecord]) -> list[str]:
    """What came of a launch: verdict and key figures, or verdicts alone of several objectives."""
    failure = next((r.failure for r in records if r.failure is not None), None)
    if failure is not None:
        return [failure["kind"]]
    if len(records) > 1:
        return [f"{record.objective} {_verdict(record)}" for record in records]
    return [words for record in records for words in (_verdict(record), *_figures(record))]


def _verdict(record: TrialRecord) -> str:
    """Its worst verdict, with the bound that is missed by most, or why it was stopped."""
    if record.stopped_early:
        return f"stopped: {record.why_stopped}"
    for verdict in (Verdict.BROKEN, Verdict.UNDECIDED):
        bounds = {name: j.excess for name, j in record.sla.items() if j.verdict is verdict}
        if bounds:
            return f"{verdict} {max(bounds, key=bounds.__getitem__)}"
    return Verdict.MET


def _figures(record: TrialRecord) -> list[str]:
    """None of a trial that was stopped: they would be of part of a run."""
    if record.stopped_early:
        return []
    ttft_ms = record.metric("offered", "p95_ttft_ms")
    capacity = record.metric("capacity", "capacity")
    return [
        *([f"p95 TTFT {quantity('p95_ttft_ms', ttft_ms)}"] if ttft_ms is not None else []),
        *([f"capacity {quantity('capacity', capacity)}"] if capacity is not None else []),
    ]


def goal_words(quadrant: Quadrant, record: TrialRecord) -> str:
    """The record's value of the first of the quadrant's goals that was measured."""
    for aim in quadrant.goals:
        value = record.metric(aim.load, aim.metric)
        if value is not None:
            return goal(aim.metric, value)
    return DASH


def newly_best(
    records: Sequence[TrialRecord], best: Mapping[Quadrant, TrialRecord | None]
) -> list[str]:
    """Numerals of the quadrants that these records now lead."""
    numbers = {record.number for record in records}
    return [q.numeral for q, r in best.items() if r is not None and r.number in numbers]


def confirming_words(done: int, of: int, arm: str, pair: int, eta_s: float | None) -> str:
    """``confirming 3/10  pair 2  default  ETA 40 s``."""
    parts = (f"confirming {done + 1}/{of}", f"pair {pair}", arm, eta_words(eta_s))
    return "  ".join(part for part in parts if part)


def done_words(state: State) -> str:
    return f"{state.done}" if state.planned is None else f"{state.done}/{state.planned}"


def eta_words(eta_s: float | None) -> str:
    """Nothing where it is not known."""
    return "" if eta_s is None else f"ETA {duration(eta_s)}"


def engine_words(state: State) -> str:
    budget = f" of {duration(state.budget_s)}" if state.budget_s is not None else ""
    return f"engine time {duration(state.engine_s)}{budget}"
