"""The answer of a study, from what storage holds: summary, text, files to start servers from."""

from collections.abc import Mapping, Sequence
from typing import Any

from objectives import Quadrant
from results.confirmation import Finalist, confirm
from results.export.vllm import config_file
from results.quadrants import Selection
from results.record import TrialRecord
from results.summary import StudyFacts, summarise
from results.ties import Ties
from runners import Description
from search_spaces import Config, SearchSpace
from tuner.errors import Exit
from tuner.problem import Case, Problem
from tuner.spec import StudySpec

NOISELESS_TIE = 0.01
NOISY_TIE = 0.1
"""Of single runs on a quiet machine: mean TPOT and TTFT repeat to 3-12 %, and capacity is searched
to 9 %. A gain below it is not claimed."""


def selection(problem: Problem) -> Selection:
    """How winners are chosen; one per cent cannot matter where nothing is noisy."""
    tie = NOISELESS_TIE if problem.noiseless else NOISY_TIE
    return Selection(space=problem.space, ties=Ties(tie), allow_ours=problem.allow_scheduler_class)


def facts(study: str, spec: StudySpec, problem: Problem, engine: Description) -> StudyFacts:
    return StudyFacts(
        study=study,
        objective=spec.objective,
        profiles=spec.profiles,
        capacity=spec.capacity,
        engine=engine.engine,
        engine_version=engine.version,
        simulated=engine.simulated,
        uncertainty=engine.uncertainty,
        hardware={"gpu": spec.target.hardware, "gpus": spec.target.gpus},
        model=spec.target.model,
        workloads={case.profile.name: _workload(case) for case in problem.cases},
        seed=spec.seed,
    )


def _workload(case: Case) -> dict[str, Any]:
    workload = case.workload
    count = len(workload.requests)
    rate = workload.request_rate
    return {
        "quadrant": str(case.profile.quadrant),
        "source": workload.source,
        "requests": count,
        "request_rate": rate if rate != float("inf") else None,
        "concurrency": workload.concurrency,
        "mean_input_tokens": sum(r.input_tokens for r in workload.requests) / count,
        "mean_output_tokens": workload.mean_output_tokens,
        "sla": {bound.name: bound.source for bound in case.profile.sla},
    }


def summary(
    about: StudyFacts,
    problem: Problem,
    records: Sequence[TrialRecord],
    wall_s: float,
    chosen: Sequence[Finalist] | None = None,
    runs: Sequence[TrialRecord] = (),
) -> dict[str, Any]:
    """
    Args:
        chosen: the finalists, once they are fixed, and what confirming them measured.
    """
    confirmed = None if chosen is None else confirm(chosen, runs)
    return summarise(
        about, records, selection(problem), wall_s=wall_s, confirmed=confirmed, runs=runs
    )


def exit_status(answer: dict[str, Any], spec: StudySpec) -> Exit:
    """3 when a quadrant the study is about has no winner; 4 when no config could be started."""
    trials = answer["trials"]
    measured = answer["baseline"] or answer["infeasible"] or any(answer["best"].values())
    if trials["done"] and trials["failed"] == trials["done"] and not measured:
        return Exit.ENGINE_TROUBLE
    won = all(answer["best"][profile.quadrant] is not None for profile in spec.profiles)
    return Exit.DONE if won else Exit.NO_WINNER


def best_files(answer: dict[str, Any], spec: StudySpec, space: SearchSpace) -> dict[str, str]:
    """``vllm serve --config`` files by quadrant; none of a server that we did not launch."""
    if spec.target.engine == "openai":
        return {}
    return {
        quadrant: config_file(
            best["config"],
            space,
            model=spec.target.model,
            max_model_len=spec.max_model_len,
            header=_header(answer, quadrant, best),
        )
        for quadrant, best in answer["best"].items()
        if best is not None
    }


def arm_file(config: Config, spec: StudySpec, space: SearchSpace, more: Mapping[str, str]) -> str:
    """What a config is started from when it is measured once more; ``more`` are other flags."""
    text = config_file(
        config,
        space,
        model=spec.target.model,
        max_model_len=spec.max_model_len,
        header=["Measured in turns with the default config, to confirm what it gains."],
    )
    return text + "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in more.items())


def _header(answer: dict[str, Any], quadrant: str, best: dict[str, Any]) -> list[str]:
    hardware = answer["hardware"]
    offered = best["loads"]["offered"]
    lines = [
        f"paretune study {answer['study']}, trial {best['trial']}: {Quadrant(quadrant)} on "
        f"{best['objective']} traffic.",
        f"For {hardware['gpus']} x {hardware['gpu']}; start with: vllm serve --config THIS_FILE",
        f"Expected: {best['goal']['metric']} {best['goal']['value']:.4g}; at the offered load "
        + ", ".join(
            f"{name} {offered[name]:.4g}"
            for name in ("p95_ttft_ms", "p95_tpot_ms", "output_throughput")
            if offered.get(name) is not None
        )
        + ".",
    ]
    if answer["simulated"]:
        lines.append("SIMULATED, not measured: " + answer["uncertainty"])
    return lines
