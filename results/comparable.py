"""Why the figures of two studies say nothing of each other: what is not the same in them."""

from collections.abc import Iterator, Mapping
from typing import Any

from objectives import Goal, Quadrant
from objectives.quadrant import CAPACITY
from results.sides import Side, Traffic
from results.ties import tied

SAME_RATE = 0.01
SAME_SHAPE = 0.1
"""Two draws of one trace differ by a few per cent in the mean length of their requests."""


def differences(one: Side, other: Side, quadrant: Quadrant, goal: Goal) -> list[str]:
    """What keeps the winners' figures from being compared, in words; of studies that have both."""
    a, b = one.best(quadrant), other.best(quadrant)
    assert a is not None
    assert b is not None
    ours, theirs = one.traffic[a["objective"]], other.traffic[b["objective"]]
    return [
        *_engines(one.summary, other.summary),
        *_traffic(ours, theirs, offered=goal.load == "offered"),
        *_promises("the SLA", a["sla"], b["sla"]),
        *(_capacity_promise(one, other, a, b) if goal == CAPACITY else ()),
    ]


def same_draws(one: Side, other: Side, quadrant: Quadrant) -> bool:
    """Whether confirmation met the same requests in both: pairs of one draw differ by less."""
    found = [s.traffic[b["objective"]].fresh for s in (one, other) if (b := s.best(quadrant))]
    return len(found) == 2 and found[0] == found[1] != ()


def _engines(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    if one["simulated"] != other["simulated"]:
        yield "one is simulated, the other measured"
    if (a := one["hardware"]["gpus"]) != (b := other["hardware"]["gpus"]):
        yield f"{a} and {b} GPUs"


def _traffic(one: Traffic, other: Traffic, *, offered: bool) -> Iterator[str]:
    if one.source != other.source:
        yield f"traffic from {one.source} and from {other.source}"
    if one.concurrency != other.concurrency:
        yield f"{_in_flight(one)} and {_in_flight(other)}"
    for name, a, b in (
        ("requests", one.requests, other.requests),
        ("input tokens a request", one.input_tokens, other.input_tokens),
        ("output tokens a request", one.output_tokens, other.output_tokens),
    ):
        if not tied(a, b, SAME_SHAPE):
            yield f"{a:.0f} and {b:.0f} {name}"
    if abs(one.prefix_share - other.prefix_share) > SAME_SHAPE:
        yield f"{one.prefix_share:.0%} and {other.prefix_share:.0%} of prompts shared"
    # Capacity and saturated throughput are of the same requests, whatever rate was offered.
    if offered and not tied(one.request_rate or 0.0, other.request_rate or 0.0, SAME_RATE):
        yield f"offered {_rate(one)} and {_rate(other)}"


def _in_flight(traffic: Traffic) -> str:
    return "an open loop" if traffic.concurrency is None else f"{traffic.concurrency} in flight"


def _rate(traffic: Traffic) -> str:
    return f"{traffic.request_rate:.3g} req/s" if traffic.request_rate else "all at once"


def _promises(what: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    only = [sorted(one.keys() - other.keys()), sorted(other.keys() - one.keys())]
    if any(only):
        yield f"{what}: {' and '.join(', '.join(names) or 'no such bound' for names in only)}"


def _capacity_promise(
    one: Side, other: Side, a: Mapping[str, Any], b: Mapping[str, Any]
) -> Iterator[str]:
    """Capacity is that under the study's own promise, whichever quadrant's winner it is of."""
    own = [s.summary["workloads"][best["objective"]]["sla"] for s, best in ((one, a), (other, b))]
    if (a["sla"].keys(), b["sla"].keys()) != (own[0].keys(), own[1].keys()):
        yield from _promises("the SLA that capacity keeps", own[0], own[1])
