"""How the figures came about and what they do not say, in plain words."""

from collections.abc import Iterator, Mapping
from typing import Any

from results.report.evidence import Evidence
from results.report.parts import Cell, Points, Section, Table
from results.text.closing import cost, counts
from results.text.figures import duration, number, quantity
from results.text.settings import settings
from results.text.standing import own_quadrants

LEAD = "Enough to do it again, and what the figures do not say."
ONE_LINE = 10_000
LIMITS = (
    "These figures hold for this model, this traffic, this engine version and this hardware.",
    "A gain that is not shown is not shown to be absent: few pairs find large gains only.",
    "An interval within one run is too narrow where queues are long; gains are therefore judged "
    "by whole runs, in pairs.",
)


def method(evidence: Evidence) -> Section:
    rows = [[Cell(text=what, head=True), Cell(text=said)] for what, said in _rows(evidence)]
    return Section(
        anchor="method",
        title="Method and limits",
        lead=LEAD,
        parts=[
            Table(caption="How it was done", head=["what", "how"], rows=rows),
            *_promises(evidence),
            Points(title="What the figures do not say", items=LIMITS),
        ],
    )


def _rows(evidence: Evidence) -> Iterator[tuple[str, str]]:
    summary, asked = evidence.summary, evidence.asked
    hardware = summary["hardware"]
    yield "model", f"{summary['model']}, requests of up to {asked.max_model_len} tokens"
    yield "hardware", f"{hardware['gpus']} x {hardware['gpu']}"
    yield "engine", f"{summary['engine']}, {summary.get('engine_version') or 'version not known'}"
    yield "simulated or measured", _kind(summary)
    for name, workload in summary["workloads"].items():
        yield f"{name} traffic", _traffic(workload)
    yield "loads", _loads(evidence)
    yield "latency", "counted from the time a request was due, so a queue cannot hide it"
    yield "SLA", "kept when met by its share of all offered requests; the 90 % interval decides"
    yield "search", _search(evidence)
    yield "confidence", _confidence(evidence)
    yield "trials", " ".join(counts(summary, ONE_LINE))
    yield "spent", " ".join(cost(summary, ONE_LINE))
    yield "price", _price(asked.hourly_cost_usd)
    if fixed := _fixed(evidence):
        yield "settings not searched", fixed
    if evidence.versions:
        yield "versions", ", ".join(f"{name} {v}" for name, v in evidence.versions.items())


def _kind(summary: Mapping[str, Any]) -> str:
    if not summary["simulated"]:
        return "measured on a real engine"
    doubt = summary.get("uncertainty") or "how far they are off is not known"
    return f"simulated, not measured on a GPU: {doubt}"


def _traffic(workload: Mapping[str, Any]) -> str:
    mean = ", ".join(
        f"{number(workload[key])} {name}"
        for key, name in (("mean_input_tokens", "in"), ("mean_output_tokens", "out"))
        if workload.get(key) is not None
    )
    tokens = f", {mean} tokens on average" if mean else ""
    source = workload.get("source") or "source not known"
    return f"{workload.get('requests')} requests {_arrivals(workload)}{tokens}; {source}"


def _arrivals(workload: Mapping[str, Any]) -> str:
    if workload.get("concurrency") is not None:
        return f"with {workload['concurrency']} in flight, each sent when one ends"
    if workload.get("request_rate") is None:
        return "sent all at once"
    rate = quantity("capacity", workload["request_rate"])
    return f"at {rate}, each sent at its own time however slow the answers"


def _loads(evidence: Evidence) -> str:
    measured = any("capacity" in record.loads for record in evidence.records)
    if not measured:
        return "each config at the offered load"
    return (
        "each config at the offered load, all at once, and at rising load up to its capacity, the "
        "highest at which the SLA holds; two draws of the traffic, the same for every config"
    )


def _search(evidence: Evidence) -> str:
    asked, seed = evidence.asked, evidence.summary["seed"]
    if asked.budget_s is not None:
        size = f"for {duration(asked.budget_s)} of engine time"
    else:
        size = f"for {asked.trials} configs" if asked.trials else "until nothing new was proposed"
    knobs = ", ".join(evidence.knobs) or "no knob"
    return f"Optuna's multivariate TPE, seed {seed}, {size}, over {knobs}"


def _confidence(evidence: Evidence) -> str:
    if not evidence.confirmations:
        return "gains are of single runs, without an interval"
    return (
        f"finalists and default in {evidence.asked.pairs} interleaved pairs of fresh launches on "
        "fresh draws; 95 % intervals by Student's t of the logarithm of the paired ratios, Holm "
        "over the quadrants"
    )


def _price(hourly_cost_usd: float | None) -> str:
    if hourly_cost_usd is None:
        return "no price per GPU-hour was given (--hourly-cost), so costs are in GPUs"
    return f"{number(hourly_cost_usd)} USD per GPU-hour"


def _fixed(evidence: Evidence) -> str:
    config = (evidence.summary.get("baseline") or {}).get("config", {})
    return settings({knob: v for knob, v in config.items() if knob not in evidence.knobs})


def _promises(evidence: Evidence) -> list[Table]:
    """Each bound with where its number comes from."""
    rows = [
        [Cell(text=name, head=True), Cell(text=bound), Cell(text=source or "not told")]
        for name, workload in evidence.summary["workloads"].items()
        for bound, source in (workload.get("sla") or {}).items()
    ]
    own = ", ".join(quadrant.numeral for quadrant in own_quadrants(evidence.summary))
    caption = f"The promise of {own}, and where its numbers come from"
    return [Table(caption=caption, head=["traffic", "bound", "source"], rows=rows)] if rows else []
