"""What several studies are about: one line where it is the same in all, else one for each."""

from collections.abc import Callable, Iterator, Sequence

from results.sides import Side, Traffic
from results.text.figures import duration, number
from results.text.layout import entry, joined

Fact = Callable[[Side], str]


def facts(sides: Sequence[Side], width: int) -> list[str]:
    return [line for name, fact in FACTS for line in _fact(sides, name, fact, width)]


def _fact(sides: Sequence[Side], name: str, fact: Fact, width: int) -> Iterator[str]:
    """One line where it is the same in all, else one for each."""
    told = [fact(side) for side in sides]
    if len(set(told)) == 1:
        yield from entry(name, told[0], width)
        return
    for index, (side, text) in enumerate(zip(sides, told, strict=True)):
        yield from entry("" if index else name, joined(side.label, text), width)


def _version(side: Side) -> str:
    version = side.summary["engine_version"] or "version not known"
    return f"{side.summary['engine']}, {version}"


def _hardware(side: Side) -> str:
    hardware = side.summary["hardware"]
    return joined(str(hardware["gpus"]), "x", str(hardware["gpu"]))


def _traffic(side: Side) -> str:
    return "; ".join(_one_traffic(name, found) for name, found in side.traffic.items())


def _one_traffic(name: str, found: Traffic) -> str:
    if found.concurrency is not None:
        level = joined(str(found.concurrency), "in", "flight")
    else:
        level = joined(number(found.request_rate), "req/s") if found.request_rate else "at once"
    requests = joined(str(found.requests), "requests")
    lengths = f"{number(found.input_tokens)} tokens in, {number(found.output_tokens)} out"
    return (
        f"{name}, {requests}, {level}, {lengths} on average, {found.source or 'source not known'}"
    )


def _sla(side: Side) -> str:
    workloads = side.summary["workloads"].values()
    return "; ".join(", ".join(workload["sla"]) or "none" for workload in workloads)


def _trials(side: Side) -> str:
    trials = side.summary["trials"]
    failed = f", {trials['failed']} failed" if trials["failed"] else ""
    return f"{trials['done']}, {trials['feasible']} within the SLA{failed}"


def _took(side: Side) -> str:
    cost = side.summary["cost"]
    return f"{duration(cost['engine_s'])} of engine time, {number(cost['gpu_hours'])} GPU-hours"


FACTS: tuple[tuple[str, Fact], ...] = (
    ("study", lambda side: side.summary["study"]),
    ("folder", lambda side: side.folder),
    ("state", lambda side: side.state),
    ("begun", lambda side: side.begun or "not known"),
    ("figures", lambda side: "simulated" if side.summary["simulated"] else "measured"),
    ("engine", _version),
    ("model", lambda side: side.summary["model"]),
    ("GPUs", _hardware),
    ("objective", lambda side: side.summary["objective"]),
    ("traffic", _traffic),
    ("SLA", _sla),
    ("trials", _trials),
    ("took", _took),
    ("seed", lambda side: str(side.summary["seed"])),
)
