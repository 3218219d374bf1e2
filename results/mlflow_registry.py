"""Winners as versions of a registered model: servers find the file they start from by an alias.

Trap: what a version points to is not copied, so a file in it must never be written again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.mlflow_runs import StudyFacts

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST = "tuner.sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """A quadrant's winner and the file that a server starts from."""

    quadrant: str
    file: Path
    run_id: str
    """Of its trial."""
    tags: Mapping[str, str]


def model_name(facts: StudyFacts) -> str:
    """``chat-Qwen3-8B-4xh100_sxm``; what was only simulated is never under a measured name."""
    parts = (facts.objective, facts.model, f"{facts.gpus}x{facts.gpu}")
    simulated = ("simulated",) if facts.simulated else ()
    plain = (re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-") for part in (*parts, *simulated))
    return "-".join(plain)


def version_tags(best: Mapping[str, Any], facts: StudyFacts) -> dict[str, str]:
    """What is to be known of a winner without opening its run."""
    gain = best.get("gain") or {}
    bounds = [gain[end] for end in ("low", "high") if gain.get(end) is not None]
    between = f" ({' to '.join(f'{end:.4g}' for end in bounds)})" if bounds else ""
    told = {
        "tuner.study": facts.study,
        "tuner.study_id": facts.study_id,
        "tuner.trial": str(best["trial"]),
        "tuner.confirmed": "true" if best.get("confirmed") else "false",
        "tuner.simulated": "true" if facts.simulated else "false",
        "engine.version": facts.engine_version,
    }
    if goal := best.get("goal"):
        told["tuner.goal"] = f"{goal['metric']} {goal['value']:.4g}"
    if gain:
        told["tuner.gain"] = f"{gain['ratio']:.4g}{between}"
    return told


def register(client: "MlflowClient", name: str, winners: Sequence[Winner]) -> None:
    """A version and its alias for each winner that has none yet.

    A file names its study and trial: who has a version keeps it, and takes no alias back from a
    later study.
    """
    known = _digests(client, name) if winners else set()
    for winner in winners:
        digest = sha256(winner.file.read_bytes()).hexdigest()
        if digest in known:
            continue
        folder = f"serving/{winner.quadrant}-{digest[:12]}"
        client.log_artifact(winner.run_id, str(winner.file), folder)
        made = client.create_model_version(
            name,
            source=f"runs:/{winner.run_id}/{folder}",
            run_id=winner.run_id,
            tags={**winner.tags, "tuner.quadrant": winner.quadrant, DIGEST: digest},
            description=f"Start a server with: vllm serve --config {winner.file.name}",
        )
        client.set_registered_model_alias(name, winner.quadrant, made.version)


def _digests(client: "MlflowClient", name: str) -> set[str]:
    """Of the files in all versions of a model, which is made where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    found: set[str] = set()
    token: str | None = ""
    while token is not None:
        page = client.search_model_versions(f"name = '{name}'", page_token=token or None)
        found |= {version.tags.get(DIGEST, "") for version in page}
        token = page.token or None
    return found


def winners(
    summary: Mapping[str, Any],
    files: Mapping[str, Path],
    run_ids: Mapping[tuple[str, int], str],
    facts: StudyFacts,
) -> Iterator[Winner]:
    """Of each quadrant that has a file and whose trial has a run."""
    for quadrant, file in files.items():
        best = summary.get("best", {}).get(quadrant)
        key = best and (best.get("objective", facts.objective), best["trial"])
        if key in run_ids:
            tags = version_tags(best, facts)
            yield Winner(quadrant=quadrant, file=file, run_id=run_ids[key], tags=tags)
