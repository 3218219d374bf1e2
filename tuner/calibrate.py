"""``tune calibrate``: what a study on a real engine, or a step log, teaches the simulated one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any

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
from tuner.target import model_name
from tuner.teaching import (
    KV_CAPACITY,
    Lessons,
    known,
    kv_offset_tokens,
    probe,
    tensor_parallel_size,
    usable,
)

NOTHING: Mapping[int, Calibration] = MappingProxyType({})


def calibrate(
    path: Path,
    *,
    served: Served | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Learn from a study's folder or a step log, and keep what was learnt.

    Args:
        served: what a bare log is of; without it nothing is kept.
        folder: where calibrations are kept, if not in the user's.

    Raises:
        BadInput: there is nothing to learn from; says what, where and how to mend it.
    """
    if path.is_dir():
        lessons = _lessons(Folder(path))
        return {"calibrations": learnt(lessons, folder=folder)}
    return {"calibrations": [_learnt_from_log(path, served, folder)]}


def learnt(
    lessons: Lessons,
    *,
    folder: Path | None = None,
    believed: Mapping[int, Calibration] = NOTHING,
) -> list[dict[str, Any]]:
    """What all trials and steps of a study teach together, by tensor-parallel size; it is kept.

    Args:
        believed: of known models' steps, what earlier studies taught; without it this one stands
            for itself.

    Raises:
        BadInput: as ``calibrate``.
    """
    sizes = sorted({tensor_parallel_size(record) for record in lessons.records if usable(record)})
    if not sizes:
        raise BadInput(
            f"{lessons.folder.trials}: no trial was measured with plain weights, KV cache and no "
            "speculation; calibrate from a study that has some."
        )
    return [_learnt(lessons, size, folder, believed) for size in sizes]


def _lessons(folder: Folder) -> Lessons:
    summary = _summary(folder)
    records = _records(folder)
    names = sorted({record.objective for record in records if usable(record)})
    return Lessons(
        folder=folder,
        **_hardware(folder, summary),
        records=records,
        workloads=dict(zip(names, folder.read_workloads(names), strict=True)),
    )


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


def _hardware(folder: Folder, summary: Mapping[str, Any]) -> dict[str, Any]:
    told = summary.get("hardware")
    hardware = told if isinstance(told, dict) else {}
    gpu, gpus = hardware.get("gpu"), hardware.get("gpus")
    names = (gpu, summary.get("model"), summary.get("engine_version"))
    if not all(isinstance(one, str) and one for one in names):
        raise BadInput(
            f"{folder.summary} must name hardware, model and engine_version; `tune resume` "
            "writes it anew."
        )
    if isinstance(gpus, bool) or not isinstance(gpus, int) or gpus < 1:
        raise BadInput(f"{folder.summary}: hardware.gpus must be a number, but is {gpus!r}.")
    return {"gpu": names[0], "gpus": gpus, "model": names[1], "engine_version": names[2]}


def _learnt(
    lessons: Lessons, size: int, folder: Path | None, believed: Mapping[int, Calibration]
) -> dict[str, Any]:
    served, deployment = lessons.served(size), lessons.deployment(size)
    log, notes = _log(lessons.logs(size))
    fitted: FittedSteps | None = None
    if deployment is not None:
        steps = step_time(deployment, tensor_parallel_size=size).steps
        before = believed.get(size) or prior(size)
        if log is not None:
            before = learn_from_steps(steps, log, before)
    elif log is not None:
        fitted = fit_rows(log)
        steps, before = fitted.steps, replace(prior_of_fit(), steps=len(log))
    else:
        raise BadInput(
            f"{lessons.folder.path}: there is no step-time model of {served.model} on "
            f"{served.gpu}, and none can be fitted: {notes[0]}; give a log by itself "
            "(logs/steps-N.csv), with --gpu, --model and --engine-version."
        )
    records = lessons.usable(size)
    probes = _probes(lessons, records, steps, deployment)
    after, others = held_out([probe for _, probe in probes], before)
    after = replace(after, kv_offset_tokens=kv_offset_tokens(records, deployment))
    return {
        **_learnt_json(after, served),
        "fitted": None if fitted is None else _fitted_json(fitted),
        "held_out": _held_out_json(probes, others),
        "notes": notes,
        "kept": str(save(Kept(after, fitted), served, folder)),
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
    lessons: Lessons, records: Sequence[TrialRecord], steps: Steps, deployment: Deployment | None
) -> list[tuple[TrialRecord, Probe]]:
    told = [
        (record, probe(record, lessons.workloads[record.objective], steps, deployment))
        for record in records
    ]
    probes = [(record, one) for record, one in told if one is not None]
    if not probes:
        raise BadInput(
            f"{lessons.folder.path}: no trial says how many tokens its KV cache holds "
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
    kept, notes = None, ["not kept: say what it ran on with --gpu, --model and --engine-version"]
    if served is not None:
        served, notes = _as_known(served)
    found = _of_steps(rows, served)
    if served is not None:
        kept = str(save(found, served, folder))
    return {
        **_learnt_json(found.calibration, served),
        "fitted": None if found.fitted is None else _fitted_json(found.fitted),
        "held_out": None,
        "notes": notes,
        "kept": kept,
    }


def _of_steps(rows: Rows, served: Served | None) -> Kept:
    """A log by itself: about a known model's steps, or a fit where there is none."""
    if served is not None:
        size = served.tensor_parallel_size
        deployment = known(served, gpus=size, longest_tokens=int(rows.tokens.max()))
        if deployment is not None:
            steps = step_time(deployment, tensor_parallel_size=size).steps
            return Kept(learn_from_steps(steps, rows, prior(size)))
    return Kept(replace(prior_of_fit(), steps=len(rows)), fit_rows(rows))


def _as_known(served: Served) -> tuple[Served, list[str]]:
    """Under the catalogue's names, by which a study asks; and a note of each that it has not."""
    notes = []
    try:
        served = replace(served, gpu=catalogue.gpu(served.gpu).name)
    except ValueError as error:
        if served.gpu != CPU:
            notes.append(_kept_as_it_is(error))
    try:
        served = replace(served, model=model_name(catalogue.model(served.model)))
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
