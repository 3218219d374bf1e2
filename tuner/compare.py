"""``tune compare``: several studies read from their folders and held against each other."""

import hashlib
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from statistics import fmean
from string import ascii_uppercase

from objectives import Workload
from results.across import Across
from results.across import compare as side_by_side
from results.sides import Side, Traffic
from runners.telemetry import implied_prefix_tokens
from tuner.errors import BadInput
from tuner.folder import Folder
from tuner.how_far import missing
from tuner.problem import Case
from tuner.show import Read, read

FEWEST = 2
PLACES = 6
"""Of a request's place in the span of its draw, which stretching to another rate may round."""


def compare(folders: Sequence[Path], storage_url: str | None) -> Across:
    """The studies side by side, in the order given.

    Args:
        storage_url: the database of those that have none in their folder.

    Raises:
        BadInput: there are not two studies or more, all of them different.
    """
    if not FEWEST <= len(folders) <= len(ascii_uppercase):
        raise BadInput(
            f"From {FEWEST} to {len(ascii_uppercase)} studies can be compared, but got "
            f"{len(folders)}: tune compare DIR DIR..."
        )
    studies = [read(path, _address(path, storage_url)) for path in folders]
    _refuse_twice(folders, studies)
    labelled = zip(ascii_uppercase, folders, studies, strict=False)
    return side_by_side([_side(label, path, study) for label, path, study in labelled])


def _address(path: Path, storage_url: str | None) -> str | None:
    return None if Folder(path).database.is_file() else storage_url


def _refuse_twice(folders: Sequence[Path], studies: Sequence[Read]) -> None:
    seen: dict[str, Path] = {}
    for path, study in zip(folders, studies, strict=True):
        if study.identity in seen:
            raise BadInput(
                f"{seen[study.identity]} and {path} hold the same study; name another one."
            )
        seen[study.identity] = path


def _side(label: str, path: Path, study: Read) -> Side:
    return Side(
        label=label,
        folder=str(path),
        begun=f"{study.begun.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if study.begun else None,
        state=_state(study),
        summary=study.summary,
        traffic={case.profile.name: _traffic(case) for case in study.problem.cases},
        runs=study.confirmations,
    )


def _state(study: Read) -> str:
    lacks = missing(study.spec, study.summary, study.finalists, study.confirmations)
    if lacks is not None:
        return f"unfinished, {lacks}"
    left = study.finalists is None and not study.confirmations
    return "finished, nothing confirmed" if left else "finished"


def _traffic(case: Case) -> Traffic:
    workload, draws = case.workload, (case.workload, *case.redrawn)
    rate = workload.request_rate
    timed = workload.concurrency is None and rate != float("inf")
    requests = [request for draw in draws for request in draw.requests]
    prompts = sum(request.input_tokens for request in workload.requests)
    return Traffic(
        source=workload.source,
        requests=len(workload.requests),
        request_rate=rate if timed else None,
        concurrency=workload.concurrency,
        input_tokens=fmean(request.input_tokens for request in requests),
        output_tokens=fmean(request.output_tokens for request in requests),
        prefix_share=implied_prefix_tokens(workload, 1) / prompts,
        fresh=tuple(_digest(draw) for draw in case.fresh),
    )


def _digest(draw: Workload) -> str:
    """The same for the same requests, at whatever rate they are sent."""
    span_s, begin_s = draw.span_s or 1.0, draw.requests[0].arrival_s
    told = [
        (
            round((r.arrival_s - begin_s) / span_s, PLACES),
            r.input_tokens,
            r.output_tokens,
            r.blocks,
        )
        for r in draw.requests
    ]
    return hashlib.sha256(repr((draw.concurrency, told)).encode()).hexdigest()
