"""A group's published runs beside the twin's: as they are, and after three probes per TP size."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.twin_accuracy.agreement import Pairs, affine, errors, spearman
from benchmarks.twin_accuracy.measured import Group, Row
from benchmarks.twin_accuracy.replay import PROMPTS_PER_CLIENT, NotSimulated, Replay, replay

PROBED_TRAFFIC = (1024, 1024)
PROBED_CONCURRENCIES = frozenset({4, 16, 64})
LONGEST_JUDGED_ANSWER = 1024
"""Mean TTFT of the 8192-token answers is that of the first burst: judged by nobody."""
NEVER_FITTED_GPU = "h200_sxm"
FITTED_BACKEND = "vllm"
"""H200 and other engines are there to judge by; nothing is learnt from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run, measured and simulated."""

    row: Row
    twin: Replay
    fitted: tuple[float, float] | None = None
    """(TTFT, TPOT) after the probes of its TP size, where it is none of them itself: by an affine
    map of what the twin said."""
    learnt: tuple[float, float] | None = None
    """The same as calibration learns from them."""

    @property
    def is_probe(self) -> bool:
        setup = self.row.setup
        return setup.traffic == PROBED_TRAFFIC and setup.concurrency in PROBED_CONCURRENCIES

    @property
    def ttft_counts(self) -> bool:
        return self.row.setup.output_tokens <= LONGEST_JUDGED_ANSWER


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A group under one type of KV cache."""

    group: Group
    kv_dtype: str
    cases: tuple[Case, ...]
    left_out: Mapping[str, int]
    """Runs that were not simulated, by reason."""


def compare(
    group: Group,
    rows: Sequence[Row],
    kv_dtype: str,
    *,
    prompts_of_long_answers: int = PROMPTS_PER_CLIENT,
) -> Comparison:
    """
    Args:
        prompts_of_long_answers: per client, where TTFT is not judged; fewer take less time.
    """
    cases: list[Case] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        try:
            long = row.setup.output_tokens > LONGEST_JUDGED_ANSWER
            prompts = prompts_of_long_answers if long else PROMPTS_PER_CLIENT
            cases.append(Case(row=row, twin=replay(row.setup, kv_dtype, prompts)))
        except NotSimulated as reason:
            left_out[str(reason)] += 1
    fits = group.backend == FITTED_BACKEND and group.gpu != NEVER_FITTED_GPU
    return Comparison(
        group=group,
        kv_dtype=kv_dtype,
        cases=tuple(_after_probes(cases) if fits else cases),
        left_out=left_out,
    )


def _after_probes(cases: list[Case]) -> list[Case]:
    """An affine map of TTFT and one of TPOT per TP size that has all of its probes."""
    fitted = list(cases)
    for tp in {case.row.setup.tensor_parallel_size for case in cases}:
        same = [i for i, case in enumerate(cases) if case.row.setup.tensor_parallel_size == tp]
        probes = [cases[i] for i in same if cases[i].is_probe]
        if {case.row.setup.concurrency for case in probes} < PROBED_CONCURRENCIES:
            continue
        ttft_ms, tpot_ms = affine(_pairs(probes, _ttft)), affine(_pairs(probes, _tpot))
        for i in same:
            if not cases[i].is_probe:
                twin = cases[i].twin
                told = (ttft_ms(twin.ttft_ms), tpot_ms(twin.tpot_ms))
                fitted[i] = replace(cases[i], fitted=told)
    return fitted


def _ttft(case: Case) -> tuple[float, float]:
    return case.twin.ttft_ms, case.row.ttft_ms


def _tpot(case: Case) -> tuple[float, float]:
    return case.twin.tpot_ms, case.row.tpot_ms


def _pairs(cases: Sequence[Case], pair: Callable[[Case], tuple[float, float]]) -> Pairs:
    return [pair(case) for case in cases]


def figures(found: Comparison) -> dict[str, Any]:
    """Errors in per cent and rank correlations, as JSON."""
    cases = found.cases
    judged = [case for case in cases if case.ttft_counts]
    return {
        "rows": len(cases),
        "saturated_rows": sum(case.twin.saturated for case in cases),
        "step_times": sorted({case.twin.source for case in cases}),
        "tpot": _errors(_pairs(cases, _tpot)),
        "tpot_unsaturated": _errors(_pairs([c for c in cases if not c.twin.saturated], _tpot)),
        "ttft": _errors(_pairs(judged, _ttft)),
        "ttft_unsaturated": _errors(_pairs([c for c in judged if not c.twin.saturated], _ttft)),
        "after_probes": _held(cases, lambda case: case.fitted),
        "learnt": _held(cases, lambda case: case.learnt),
        "rank": ranks(cases),
        "left_out": dict(found.left_out),
    }


def _held(
    cases: Sequence[Case], told: Callable[[Case], tuple[float, float] | None]
) -> dict[str, Any]:
    """Errors of the runs that were held out."""
    held = [(pair, case) for case in cases if (pair := told(case))]
    judged = [(pair[0], case.row.ttft_ms, case) for pair, case in held if case.ttft_counts]
    return {
        "tpot": _errors([(pair[1], case.row.tpot_ms) for pair, case in held]),
        "ttft": _errors([(said, ms) for said, ms, case in judged if not case.twin.saturated]),
        "ttft_with_saturated": _errors([(said, ms) for said, ms, _ in judged]),
    }


def ranks(cases: Sequence[Case]) -> dict[str, Any]:
    """Spearman's correlation of output throughput, over all configs and within each traffic."""
    traffics = sorted({case.row.setup.traffic for case in cases})
    within = {
        f"{traffic[0]}/{traffic[1]}": spearman(
            [_throughputs(case) for case in cases if case.row.setup.traffic == traffic]
        )
        for traffic in traffics
    }
    known = [rank for rank in within.values() if rank is not None]
    return {
        "output_throughput": spearman([_throughputs(case) for case in cases]),
        "output_throughput_per_gpu": spearman([_per_gpu(case) for case in cases]),
        "least_within_a_traffic": min(known) if known else None,
        "within": within,
    }


def _throughputs(case: Case) -> tuple[float, float]:
    """(twin, measured), both by Little's law."""
    setup, row, twin = case.row.setup, case.row, case.twin
    return (
        setup.output_throughput(twin.ttft_ms, twin.tpot_ms),
        setup.output_throughput(row.ttft_ms, row.tpot_ms),
    )


def _per_gpu(case: Case) -> tuple[float, float]:
    predicted, measured = _throughputs(case)
    gpus = case.row.setup.tensor_parallel_size
    return predicted / gpus, measured / gpus


def _errors(pairs: Pairs) -> dict[str, float] | None:
    found = errors(pairs)
    return asdict(found) if found else None
