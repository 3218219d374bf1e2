"""``tune verify``: whether an engine started from an exported file does what the study promised.

The study's traffic is replayed in the draws that its search never saw, one launch per draw; each
run is paired with the confirmation's on the same draw, where there was one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from objectives import Measurement, Quadrant, Verdict, Workload
from objectives.measurement import HIGHER_IS_BETTER
from results.comparison import Comparison, Effect, effects, paired
from results.confirmation import DEFAULT, arm_of
from results.record import TrialRecord, judge_all
from results.verification import Promise, Verified, unpaired
from runners import Engine, EngineError, Runner
from runners.attached import AttachedRunner
from runners.vllm import VllmRunner
from tuner.engines import engine_of
from tuner.errors import BadInput, EngineTrouble
from tuner.folder import Folder
from tuner.presets import promises
from tuner.problem import Case
from tuner.race import Race
from tuner.show import Read, read
from tuner.start_from import read_settings
from tuner.trial import measure_offered
from tuner.yaml_file import read_yaml

BESIDE = ".provenance.yaml"
LEAST_RUNS = 2
Launch = Callable[[], AbstractContextManager[Engine]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command's options.

    Args:
        study: its folder, where the file does not lie in it.
        runs: at most so many draws; ``None``: all that are kept.
        url: a server that runs already, instead of a launch.
    """

    file: Path
    study: Path | None = None
    runs: int | None = None
    url: str | None = None
    api_key_env: str | None = None
    storage_url: str | None = None


def verify(asked: Asked) -> Verified:
    """
    Raises:
        BadInput: the file is of no study that can be found, or one that kept too few draws.
        EngineTrouble: no engine could be started from the file, or it answered nothing.
    """
    if not asked.file.is_file():
        raise BadInput(f"There is no file {asked.file}; `tune export --to vllm` writes one.")
    folder = asked.study or _study_of(asked.file)
    study = read(folder, asked.storage_url)
    quadrant = _quadrant_of(asked.file)
    best = study.summary["best"][quadrant]
    if best is None:
        raise BadInput(f"{quadrant} has no winner in {folder} any more: export it again.")
    case = study.problem.case(best["objective"])
    draws = case.fresh[: asked.runs]
    if len(draws) < LEAST_RUNS:
        raise BadInput(
            f"At least {LEAST_RUNS} draws that the search did not see must be kept, but the study "
            f"has {len(draws)}: run it with --pairs 5."
        )
    try:
        measured = _measured(asked, study, case, draws, Folder(folder).logs)
    except EngineError as error:
        raise EngineTrouble(f"{asked.file}: {error}") from error
    return _verdict(study, quadrant, best, case, measured)


def _study_of(file: Path) -> Path:
    """The folder of the study that the file lies in."""
    for folder in file.resolve().parents:
        if Folder(folder).begun:
            return folder
    raise BadInput(f"{file} lies in no study's folder; --study DIR names it.")


def _quadrant_of(file: Path) -> Quadrant:
    """As its provenance says; a file of ``best/`` is named after it."""
    beside = file.with_name(f"{file.name}{BESIDE}")
    name = file.stem
    if beside.exists():
        content = read_yaml(beside, "provenance").content
        name = str(content.get("quadrant")) if isinstance(content, dict) else ""
    try:
        return Quadrant(name)
    except ValueError:
        raise BadInput(f"{file} is no export of ours: there is no {beside.name}.") from None


def _measured(
    asked: Asked, study: Read, case: Case, draws: Sequence[Workload], logs: Path
) -> list[Measurement]:
    with _engines(asked, study, logs) as launch:
        found = []
        for draw in draws:
            fresh = Case(profile=case.profile, workload=draw, documents=case.documents)
            with launch() as engine:
                found.append(measure_offered(engine, fresh, Race()))
        return found


@contextmanager
def _engines(asked: Asked, study: Read, logs: Path) -> Iterator[Launch]:
    """What launches an engine from the file, or hands out the server."""
    target = study.spec.target
    if asked.url is not None:
        shape = target.shape
        attached = AttachedRunner(
            asked.url,
            model=None,
            gpus=target.gpus,
            vocab_size=shape.vocab_size if shape else None,
            api_key_env=asked.api_key_env,
        )
        yield lambda: attached.launch({})
        return
    if target.engine == "openai":
        raise BadInput("The study measured a running server: --url says where it is.")
    with engine_of(study.spec, logs) as runner:
        yield lambda: _from_file(runner, asked.file, study)


def _from_file(runner: Runner, file: Path, study: Read) -> AbstractContextManager[Engine]:
    if isinstance(runner, VllmRunner):
        return runner.launch_file(file)
    space = study.problem.space
    # As the stock engine: the file holds nothing of our scheduler class.
    stock = {knob.name: knob.default for knob in space.knobs if knob.owner == "ours"}
    return runner.launch({**space.within(read_settings(file, space)), **stock})


def _verdict(
    study: Read,
    quadrant: Quadrant,
    best: dict[str, Any],
    case: Case,
    measured: Sequence[Measurement],
) -> Verified:
    sla = promises(case.profile)[quadrant]
    metrics = dict.fromkeys([*(b.metric for b in sla), "output_throughput"])
    before = _before(study.confirmations, best)
    told = {
        metric: figures
        for metric in metrics
        if len(figures := _figures(metric, before, best, measured)) >= LEAST_RUNS
    }
    compared = {
        metric: (paired if before else unpaired)([_better(metric, *pair) for pair in figures])
        for metric, figures in told.items()
    }
    judged = [judge_all(sla, run) for run in measured]
    broken = [b.name for b in sla if _mostly_broken([found[b.name].verdict for found in judged])]
    shown = dict(zip(compared, effects(list(compared.values())), strict=True))
    return Verified(
        quadrant=quadrant,
        trial=int(best["trial"]),
        runs=len(measured),
        simulated=bool(study.summary["simulated"]),
        paired=bool(before),
        promises=tuple(
            Promise(
                metric=metric,
                promised=fmean(promised for promised, _ in told[metric]),
                measured=fmean(now for _, now in told[metric]),
                comparison=comparison,
                effect=shown[metric] if _matters(comparison) else Effect.NOT_SHOWN,
            )
            for metric, comparison in compared.items()
        ),
        broken=tuple(broken),
    )


def _matters(comparison: Comparison) -> bool:
    """More than the one per cent within which configs count as alike."""
    return not 1 / 1.01 <= comparison.ratio <= 1.01


def _mostly_broken(verdicts: Sequence[Verdict]) -> bool:
    return 2 * sum(verdict is Verdict.BROKEN for verdict in verdicts) > len(verdicts)


def _before(runs: Sequence[TrialRecord], best: dict[str, Any]) -> dict[int, TrialRecord]:
    """What confirming the winner measured, by draw."""
    return {
        run.pair: run
        for run in runs
        if run.number == best["trial"]
        and run.objective == best["objective"]
        and run.arm in (DEFAULT, arm_of(best["trial"]))
        and run.failure is None
        and run.pair is not None
    }


def _figures(
    metric: str,
    before: dict[int, TrialRecord],
    best: dict[str, Any],
    measured: Sequence[Measurement],
) -> list[tuple[float, float]]:
    """(promised, now) of every run; without a confirmation the search's figure stands."""
    found = []
    for pair, run in enumerate(measured):
        known = before.get(pair)
        promised = known.metric("offered", metric) if known else None
        if promised is None and not before:
            promised = best["loads"]["offered"].get(metric)
        now = run.metrics.get(metric)
        if promised and now:
            found.append((float(promised), now))
    return found


def _better(metric: str, promised: float, now: float) -> float:
    """More than 1 where it is better than promised."""
    return now / promised if metric in HIGHER_IS_BETTER else promised / now
