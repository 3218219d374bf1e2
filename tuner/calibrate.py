"""``tune calibrate``: what a study on a real engine, or a step log, teaches the simulated one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any

from objectives import Workload
from results.record import TrialRecord
from runners.simulated import catalogue
from runners.simulated.calibration import (
    Calibration,
    FittedSteps,
    Kept,
    Parameters,
    Probe,
    Served,
    learn_from_steps,
    prior,
    prior_of_fit,
    rows_of,
    save,
)
from runners.simulated.calibration.fitted import fit_rows
from runners.simulated.calibration.probes import (
    COMPARED,
    errors,
    held_out,
)
from runners.simulated.calibration.step_rows import Rows
from runners.simulated.compiled.steps import Steps
from runners.simulated.step_times import step_time
from runners.step_log import read_step_log
from search_spaces import Deployment
from search_spaces.deployment import CPU
from tuner.errors import BadInput
from tuner.folder import Folder
from tuner.teaching import (
    KV_CAPACITY,
    known,
    kv_offset_tokens,
    logs_of,
    probe,
    tensor_parallel_size,
    usable,
)


def calibrate(
    path: Path,
    *,
    served: Served | None = None,
    folder: Path | None = None,
    believed: Mapping[int, Calibration] = MappingProxyType({}),
) -> dict[str, Any]:
    """Learn from a study's folder or a step log, and keep what was learnt.

    Args:
        served: what a bare log is of; without it nothing is kept.
        folder: where calibrations are kept, if not in the user's.
        believed: what earlier studies taught, by tensor-parallel size; without it this one stands
            for itself.

    Raises:
        BadInput: there is nothing to learn from; says what, where and how to mend it.
    """
    if path.is_dir():
        return {"calibrations": [_learnt(part, folder, believed) for part in _parts(path)]}
    return {"calibrations": [_learnt_from_log(path, served, folder)]}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The trials of a study that share a tensor-parallel size, and the logs of their launches."""

    place: Path
    served: Served
    gpus: int
    records: tuple[TrialRecord, ...]
    workloads: Mapping[str, Workload]
    logs: tuple[Path, ...]


def _parts(path: Path) -> list[_Part]:
    folder = Folder(path)
    summary = _summary(folder)
    told = _records(folder)
    records = [record for record in told if usable(record)]
    if not records:
        raise BadInput(
            f"{folder.trials}: no trial was measured with plain weights, KV cache and no "
            "speculation; calibrate from a study that has some."
        )
    names = sorted({record.objective for record in records})
    workloads = dict(zip(names, folder.read_workloads(names), strict=True))
    sizes = sorted({tensor_parallel_size(record) for record in records})
    return [
        _Part(
            place=path,
            served=_served(folder, summary, size),
            gpus=_gpus(folder, summary),
            records=tuple(r for r in records if tensor_parallel_size(r) == size),
            workloads=workloads,
            logs=logs_of(folder, told, size),
        )
        for size in sizes
    ]


def _summary(folder: Folder) -> dict[str, Any]:
    path = folder.summary
    try:
        summary = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput(
            f"{folder.path} holds no summary.json; `tune calibrate` takes a study's folder or a "
            "step log (logs/steps-N.csv)."
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON ({error}); `tune resume` writes it anew.") from error
    if not isinstance(summary, dict):
        raise BadInput(f"{path} must hold an object; `tune resume` writes it anew.")
    if summary.get("simulated") is not False:
        raise BadInput(
            f"{folder.path} is of a simulated engine, which has nothing to teach; give a study "
            "with --engine vllm."
        )
    return summary


def _records(folder: Folder) -> list[TrialRecord]:
    try:
        lines = folder.trials.read_text("utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise BadInput(f"{folder.trials} cannot be read ({error}); give a whole study.") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(TrialRecord.from_json(line))
        except ValueError as error:
            raise BadInput(
                f"{folder.trials}:{number}: {error}; `tune resume` writes it anew."
            ) from error
    return found


def _served(folder: Folder, summary: Mapping[str, Any], size: int) -> Served:
    hardware = summary.get("hardware")
    gpu = hardware.get("gpu") if isinstance(hardware, dict) else None
    told = (gpu, summary.get("model"), summary.get("engine_version"))
    if not all(isinstance(one, str) and one for one in told):
        raise BadInput(
            f"{folder.summary} must name hardware, model and engine_version; `tune resume` "
            "writes it anew."
        )
    return Served(
        gpu=str(told[0]),
        model=str(told[1]),
        engine_version=str(told[2]),
        tensor_parallel_size=size,
    )


def _gpus(folder: Folder, summary: Mapping[str, Any]) -> int:
    gpus = summary["hardware"].get("gpus")
    if isinstance(gpus, bool) or not isinstance(gpus, int) or gpus < 1:
        raise BadInput(f"{folder.summary}: hardware.gpus must be a number, but is {gpus!r}.")
    return gpus


def _learnt(
    part: _Part, folder: Path | None, believed: Mapping[int, Calibration]
) -> dict[str, Any]:
    log, notes = _log(part.logs)
    longest = max(workload.longest_tokens for workload in part.workloads.values())
    deployment = known(part.served, gpus=part.gpus, longest_tokens=longest)
    fitted: FittedSteps | None = None
    if deployment is not None:
        size = part.served.tensor_parallel_size
        steps = step_time(deployment, tensor_parallel_size=size).steps
        before = believed.get(size) or prior(size)
        if log is not None:
            before = learn_from_steps(steps, log, before)
    elif log is not None:
        fitted = fit_rows(log)
        steps, before = fitted.steps, replace(prior_of_fit(), steps=len(log))
    else:
        raise BadInput(
            f"{part.place}: there is no step-time model of {part.served.model} on "
            f"{part.served.gpu}, and none can be fitted: {notes[0]}; give a log by itself "
            "(logs/steps-N.csv), with --gpu, --model and --engine-version."
        )
    probes = _probes(part, steps, deployment)
    after, others = held_out([probe for _, probe in probes], before)
    after = replace(after, kv_offset_tokens=kv_offset_tokens(part.records, deployment))
    return {
        **_learnt_json(after, part.served),
        "fitted": None if fitted is None else _fitted_json(fitted),
        "held_out": _held_out_json(probes, others),
        "notes": notes,
        "kept": str(save(Kept(after, fitted), part.served, folder)),
    }


def _log(logs: Sequence[Path]) -> tuple[Rows | None, list[str]]:
    """The steps of a study's logs, or why there are none; trials can do without."""
    if not logs:
        return None, ["no trial names a step log that is there"]
    try:
        return rows_of(*(read_step_log(log) for log in logs)), []
    except (ValueError, OSError) as error:
        return None, [f"step log: {error}"]


def _probes(
    part: _Part, steps: Steps, deployment: Deployment | None
) -> list[tuple[TrialRecord, Probe]]:
    told = [
        (record, probe(record, part.workloads[record.objective], steps, deployment))
        for record in part.records
    ]
    probes = [(record, one) for record, one in told if one is not None]
    if not probes:
        raise BadInput(
            f"{part.place}: no trial says how many tokens its KV cache holds "
            f"(`{KV_CAPACITY}`), and the model is not known well enough to estimate it."
        )
    return probes


def _learnt_from_log(path: Path, served: Served | None, folder: Path | None) -> dict[str, Any]:
    try:
        rows = rows_of(read_step_log(path))
    except FileNotFoundError:
        raise BadInput(f"There is no file or folder {path}; check the path.") from None
    except OSError as error:
        raise BadInput(f"Cannot read {path}: {error.strerror}; check the path.") from error
    except ValueError as error:
        said = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise BadInput(said) from error
    fitted = fit_rows(rows)
    after = replace(prior_of_fit(), steps=len(rows))
    kept, notes = None, ["not kept: say what it ran on with --gpu, --model and --engine-version"]
    if served is not None:
        served, notes = _as_known(served)
        kept = str(save(Kept(after, fitted), served, folder))
    return {
        **_learnt_json(after, served),
        "fitted": _fitted_json(fitted),
        "held_out": None,
        "notes": notes,
        "kept": kept,
    }


def _as_known(served: Served) -> tuple[Served, list[str]]:
    """Under the catalogue's names, by which a study asks; and a note of each that it has not."""
    notes = []
    try:
        served = replace(served, gpu=catalogue.gpu(served.gpu).name)
    except ValueError as error:
        if served.gpu != CPU:
            notes.append(_kept_as_it_is(error))
    try:
        served = replace(served, model=catalogue.model(served.model).name)
    except ValueError as error:
        notes.append(_kept_as_it_is(error))
    return served, notes


def _kept_as_it_is(error: ValueError) -> str:
    """What of the catalogue's refusal is of use here: what is near, not all there is."""
    told = str(error).partition("; known")[0].partition("; or give")[0].rstrip(".")
    return f"{told}; kept under the name given"


def _learnt_json(found: Calibration, served: Served | None) -> dict[str, Any]:
    values, spread = asdict(found.parameters), found.standard_errors
    return {
        "of": None if served is None else asdict(served),
        "trials": found.probes,
        "steps": found.steps,
        "parameters": {
            name: {"value": value, "standard_error": spread[name]}
            for name, value in values.items()
        },
        "kv_offset_tokens": found.kv_offset_tokens,
        "residual_sd": {
            "log_ttft": found.ttft_sd,
            "log_tpot": found.tpot_sd,
            "log_throughput": found.throughput_sd,
            "log_ttft_tail": found.ttft_tail_sd,
            "log_tpot_tail": found.tpot_tail_sd,
        },
    }


def _fitted_json(fitted: FittedSteps) -> dict[str, Any]:
    spread = fitted.standard_errors
    return {
        "coefficients": {
            name: {"value": value, "standard_error": spread[name]}
            for name, value in fitted.coefficients.items()
        },
        "scatter": fitted.linear.scatter,
        "rows": fitted.rows,
        "largest_tokens": fitted.largest_tokens,
    }


def _held_out_json(
    probes: Sequence[tuple[TrialRecord, Probe]], others: Sequence[Parameters]
) -> dict[str, Any]:
    """Mean absolute log errors, as the model came and as the other trials corrected it."""
    before = [errors(probe, Parameters()) for _, probe in probes]
    after = [errors(probe, one) for (_, probe), one in zip(probes, others, strict=True)]
    return {
        "before": {name: mean(abs(one[name]) for one in before) for name in COMPARED},
        "after": {name: mean(abs(one[name]) for one in after) for name in COMPARED},
        "trials": [
            {"number": record.number, "before": old, "after": new}
            for (record, _), old, new in zip(probes, before, after, strict=True)
        ],
    }
