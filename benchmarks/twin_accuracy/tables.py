"""What the comparison found, as text tables."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.twin_accuracy.comparison import Case, Comparison, figures

TARGETS = {
    "TPOT, all rows": ("tpot", 12.0),
    "TTFT, rows of 1024-token answers": ("ttft", 15.0),
    "TPOT of the others, learnt from 3 probes per TP": ("learnt.tpot", 5.0),
    "TTFT of the others, learnt from 3 probes per TP": ("learnt.ttft", 10.0),
    "TPOT of the others by an affine map": ("after_probes.tpot", 5.0),
    "TTFT of the others by an affine map": ("after_probes.ttft", 10.0),
}
"""(where in the figures, mean absolute error in per cent that is wanted)."""
RANK_TARGET = 0.98


def rows(found: Comparison) -> Iterator[str]:
    """A line per run."""
    yield f"{found.group}, KV cache in {found.kv_dtype}; times in ms"
    yield (
        "  in/out        TP conc |   TPOT    twin   off | 3 probes |    TTFT    twin   off"
        " | 3 probes |"
    )
    order = sorted(
        found.cases,
        key=lambda c: (
            c.row.setup.tensor_parallel_size,
            c.row.setup.traffic,
            c.row.setup.concurrency,
        ),
    )
    for case in order:
        yield _row(case)


def _row(case: Case) -> str:
    setup, row, twin = case.row.setup, case.row, case.twin
    told = case.learnt or case.fitted
    tpot, ttft = "       -", "       -"
    if case.is_probe:
        tpot, ttft = "   probe", "   probe"
    elif told:
        tpot, ttft = _wide(told[1], row.tpot_ms), _wide(told[0], row.ttft_ms)
    notes = [
        *(["saturated"] if twin.saturated else []),
        *([f"{twin.preemptions} preemptions"] if twin.preemptions else []),
        *([] if case.ttft_counts else ["TTFT not judged"]),
    ]
    return (
        f"  {setup.input_tokens:>5}/{setup.output_tokens:<6}"
        f"{setup.tensor_parallel_size:>4} {setup.concurrency:>4} |"
        f"{row.tpot_ms:>7.2f} {twin.tpot_ms:>7.2f} {_off(twin.tpot_ms, row.tpot_ms):>+5.0f}% |"
        f"{tpot} |{row.ttft_ms:>8.0f}{twin.ttft_ms:>8.0f} "
        f"{_off(twin.ttft_ms, row.ttft_ms):>+5.0f}% |{ttft} | {', '.join(notes)}"
    ).rstrip()


def _off(predicted: float, measured: float) -> float:
    return 100 * (predicted / measured - 1)


def _wide(predicted: float, measured: float) -> str:
    return f"{_off(predicted, measured):+7.1f}%"


def verdicts(found: Comparison) -> Iterator[str]:
    """The targets, met or not."""
    told = figures(found)
    for name, (place, target) in TARGETS.items():
        there = _at(told, place)
        if there is None:
            yield f"  {name}: no rows"
            continue
        word = "met" if there["mape"] <= target else "MISSED"
        yield (
            f"  {name}: {there['mape']:.1f} % (bias {there['bias']:+.1f}, p90 {there['p90']:.1f}, "
            f"worst {there['worst']:+.1f}; {there['rows']} rows); wanted <= {target:g} %: {word}"
        )
    for name, place in (
        ("TPOT without saturated rows", "tpot_unsaturated"),
        ("TTFT without saturated rows", "ttft_unsaturated"),
        ("TTFT learnt, saturated rows included", "learnt.ttft_with_saturated"),
        ("TTFT by an affine map, saturated rows included", "after_probes.ttft_with_saturated"),
    ):
        yield f"  {name}: {_short(_at(told, place))}"
    rank = told["rank"]
    word = "met" if (rank["output_throughput"] or 0) >= RANK_TARGET else "MISSED"
    yield (
        f"  rank correlation of output throughput: {_rank(rank['output_throughput'])}; wanted >= "
        f"{RANK_TARGET}: {word}; least within a traffic {_rank(rank['least_within_a_traffic'])}; "
        f"per GPU {_rank(rank['output_throughput_per_gpu'])}"
    )


GROUPS_HEAD = (
    "| group | rows | TPOT | TTFT | after probes: TPOT | TTFT | rank | per GPU | step times |"
    "\n|---|---|---|---|---|---|---|---|---|"
)


def group_line(found: Comparison) -> str:
    """A group as one row of a Markdown table; errors are mean absolute (mean signed), per cent."""
    told = figures(found)
    rank = told["rank"]
    rows_told = f"{told['rows']}" + (
        f" ({told['saturated_rows']} saturated)" if told["saturated_rows"] else ""
    )
    cells = [
        str(found.group),
        rows_told,
        _short(told["tpot"]),
        _short(told["ttft_unsaturated"]),
        _short(told["after_probes"]["tpot"]),
        _short(told["after_probes"]["ttft"]),
        _rank(rank["output_throughput"]),
        _rank(rank["output_throughput_per_gpu"]),
        " and ".join("roofline" if "roofline" in s else "kernels" for s in told["step_times"]),
    ]
    return f"| {' | '.join(cells)} |"


def left_out(found: Comparison) -> Iterator[str]:
    for reason, number in found.left_out.items():
        yield f"  {found.group}: {number} of {number_of(found)} rows: {reason}"


def number_of(found: Comparison) -> int:
    return len(found.cases) + sum(found.left_out.values())


def _short(told: Mapping[str, float] | None) -> str:
    return f"{told['mape']:.1f} ({told['bias']:+.1f})" if told else "-"


def _rank(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _at(told: Mapping[str, Any], place: str) -> Mapping[str, Any] | None:
    for key in place.split("."):
        told = told[key]
        if told is None:
            return None
    return told
