"""Where an exported file is from: beside every file as YAML, in short at its head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from objectives import Quadrant
from results.export.serving import Serving
from results.export.target import Dropped, Rendered, Target
from results.export.yaml_text import dump

TOLD = ("p95_ttft_ms", "p95_tpot_ms", "output_throughput")
SUFFIX = ".provenance.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The study's answer, of which one quadrant is exported.

    Args:
        summary: ``summary.json``.
        lossy: settings that may change what the model answers.
        date: of the export, ISO 8601.
    """

    summary: Mapping[str, Any]
    quadrant: Quadrant
    lossy: Sequence[str]
    date: str

    @property
    def best(self) -> Mapping[str, Any]:
        best: Mapping[str, Any] = self.summary["best"][self.quadrant]
        return best


@dataclass(frozen=True, slots=True)
class Checked:
    """What the files were held against; none of it with ``--no-check``."""

    by: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Parsers that are not installed, and what brings them."""


def header(
    origin: Origin, serving: Serving, target: Target, rendered: Rendered, checked: Checked
) -> list[str]:
    """The lines of comments at the head of every file."""
    summary, best = origin.summary, origin.best
    offered = best["loads"]["offered"]
    expected = [f"{n} {offered[n]:.4g}" for n in TOLD if offered.get(n) is not None]
    lines = [
        f"paretune study {summary['study']}, trial {best['trial']}: {origin.quadrant} on "
        f"{best['objective']} traffic, for {serving.gpus} x {serving.gpu}, {origin.date}.",
        f"Expected: {best['goal']['metric']} {best['goal']['value']:.4g}; at the offered load "
        f"{', '.join(expected)}.",
        *warnings(origin, target),
    ]
    if origin.lossy:
        lines.append(f"May change what the model answers: {', '.join(origin.lossy)}.")
    lines += [dropped_sentence(d, serving) for d in rendered.dropped]
    lines += rendered.notes
    lines.append(f"{_checked(checked)} More in the {SUFFIX} beside this file.")
    return lines


def warnings(origin: Origin, target: Target) -> list[str]:
    """What keeps the expected figures from being promises."""
    summary = origin.summary
    lines = []
    if summary["simulated"]:
        lines.append(f"SIMULATED, not measured: {summary['uncertainty']}")
    version = str(summary["engine_version"]).removeprefix("vLLM ").split()[0]
    if target.engine != "vLLM":
        lines.append(
            f"Tuned on vLLM {version}, not on {target.engine}: the figures are vLLM's, and these "
            "settings are a start for tuning."
        )
    elif not target.version.startswith(version.partition("+")[0]):
        lines.append(
            f"Tuned on vLLM {version}, written for {target.version}: defaults may differ."
        )
    return lines


def dropped_sentence(dropped: Dropped, serving: Serving) -> str:
    cost = serving.costs.get(dropped.knob, "not measured")
    return (
        f"Left out: {dropped.knob} {dropped.value}. Without it: {cost}. To keep it: "
        f"{dropped.keep}."
    )


def _checked(checked: Checked) -> str:
    if not checked.by:
        return "NOT CHECKED (--no-check)."
    return f"Checked by {', '.join(checked.by)}."


def provenance(
    origin: Origin, serving: Serving, target: Target, rendered: Rendered, checked: Checked
) -> str:
    """The text of ``<file>.provenance.yaml``."""
    summary, best = origin.summary, origin.best
    return dump(
        {
            "study": summary["study"],
            "trial": best["trial"],
            "quadrant": str(origin.quadrant),
            "date": origin.date,
            "measured": not summary["simulated"],
            "uncertainty": summary["uncertainty"],
            "hardware": {"gpu": serving.gpu, "gpus": serving.gpus},
            "engine": {"name": summary["engine"], "version": summary["engine_version"]},
            "target": {
                "name": target.name,
                "engine": target.engine,
                "version": target.version,
            },
            "workload": {"name": best["objective"], **summary["workloads"][best["objective"]]},
            "sla": _plain(best["sla"]),
            "expected": _expected(best),
            "config": dict(best["config"]),
            "exported": dict(serving.settings),
            "left_out": [
                {
                    "knob": d.knob,
                    "value": d.value,
                    "cost": serving.costs.get(d.knob, "not measured"),
                    "keep": d.keep,
                }
                for d in rendered.dropped
            ],
            "warnings": warnings(origin, target),
            "may_change_answers": list(origin.lossy),
            "notes": list(rendered.notes),
            "checked": {"by": list(checked.by), "not_installed": list(checked.missing)},
        }
    )


def _expected(best: Mapping[str, Any]) -> dict[str, Any]:
    """The goal and the offered load's figures, with intervals where there are some."""
    offered = best["loads"]["offered"]
    numbers = {name: v for name, v in offered.items() if isinstance(v, (int, float))}
    expected: dict[str, Any] = {
        "goal": dict(best["goal"]),
        "gain_over_default": _plain(best["gain"]),
        "offered": numbers,
    }
    if best.get("intervals"):
        expected["offered_90_percent_intervals"] = _plain(best["intervals"])
    return expected


def _plain(value: Any) -> Any:
    """Mappings and lists as YAML's own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
