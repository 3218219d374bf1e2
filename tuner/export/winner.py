"""One quadrant's winner of a study, read back as what exports are rendered from."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from objectives import Quadrant
from results.export.losses import cost_of_dropping
from results.export.provenance import Origin
from results.export.serving import (
    Memory,
    Serving,
    dns_label,
    engine_settings,
    our_settings,
)
from results.export.vllm import lossy_settings
from search_spaces import Config
from search_spaces.vllm_rules import kv_dtype, kv_tokens
from tuner.errors import BadInput
from tuner.show import Read, read
from tuner.spec import StudySpec, deployment_of


@dataclass(frozen=True, slots=True)
class Winner:
    serving: Serving
    origin: Origin
    command: str | None
    """How the study started vLLM; ``None``: it did not."""


def winner(folder: Path, quadrant: str, *, model: str | None, storage_url: str | None) -> Winner:
    """
    Args:
        model: how production names the model, where it is not as the study did.

    Raises:
        BadInput: an unknown quadrant, one without a winner, or a server that we did not launch.
    """
    which = _quadrant(quadrant)
    study = read(folder, storage_url)
    if study.spec.target.engine == "openai":
        raise BadInput(
            "The study measured a running server; only who launched it knows its files."
        )
    best = study.summary["best"][which]
    if best is None:
        raise BadInput(_why_none(study.summary, which))
    config, space = best["config"], study.problem.space
    origin = Origin(
        summary=study.summary,
        quadrant=which,
        lossy=lossy_settings(config, space),
        date=time.strftime("%Y-%m-%d", time.gmtime()),
    )
    serving = Serving(
        name=dns_label(f"{which}-{study.summary['study']}"),
        quadrant=str(which),
        settings=engine_settings(
            config,
            space,
            model=model or study.spec.target.model,
            max_model_len=study.spec.max_model_len,
        ),
        ours=our_settings(config, space),
        gpu=study.spec.target.hardware,
        gpus=study.spec.target.gpus,
        memory=_memory(study.spec, config),
        start_s=None if study.spec.simulated else _start_s(study),
        costs=_costs(study, best, which),
    )
    return Winner(serving, origin, study.spec.target.command)


def _quadrant(name: str) -> Quadrant:
    try:
        return Quadrant(name)
    except ValueError:
        raise BadInput(
            f"There is no quadrant {name!r}; --quadrant takes {', '.join(Quadrant)}."
        ) from None


def _why_none(summary: dict[str, Any], quadrant: Quadrant) -> str:
    nearest = summary["infeasible"]
    won = [name for name, best in summary["best"].items() if best is not None]
    why = "no trial kept its SLA"
    if nearest and len(won) < len(summary["best"]):
        price = nearest["price"]
        why += f" (nearest: {nearest['binding']} would hold at {price['would_hold_at']:.4g})"
    if not any(best for best in summary["best"].values()):
        return f"{quadrant} has no winner: {why}; loosen --sla or try more GPUs."
    return f"{quadrant} has no winner: {why}; these have one: {', '.join(won)}."


def _start_s(study: Read) -> float | None:
    """The longest launch that was measured."""
    launches = [record.launch_s for record in [*study.records, *study.confirmations]]
    return max((launch_s for launch_s in launches if launch_s), default=None)


def _memory(spec: StudySpec, config: Config) -> Memory | None:
    if spec.target.gpu is None or spec.target.shape is None or spec.target.gpu.is_cpu:
        return None
    on = deployment_of(spec)
    tp = int(config["tensor_parallel_size"])
    per_token = on.kv_bytes_per_token(tp, kv_dtype(config))
    return Memory(
        total=on.gpu.memory_gib * 1024**3,
        weights=on.model.weight_bytes / tp,
        kv_cache=kv_tokens(on, config) * per_token,
        runtime=on.gpu.reserved_gb * 1e9,
    )


def _costs(study: Read, best: dict[str, Any], quadrant: Quadrant) -> dict[str, str]:
    """By every knob that is turned."""
    mine = [r for r in study.records if r.number == best["trial"]]
    record = next(r for r in mine if r.objective == best["objective"])
    space = study.problem.space
    return {
        knob: cost_of_dropping(knob, record, study.records, space, quadrant)
        for knob in space.departures(record.config)
    }
