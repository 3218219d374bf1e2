"""What trials teach as they come, a slowed simulated engine in the real one's place."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest

from results.record import TrialRecord
from runners.simulated import SimulatedRunner
from runners.simulated.calibration import Kept, Served, latest, prior, save
from runners.simulated.calibration.store import Taught
from search_spaces.vllm import kv_tokens
from tests.runners.simulated.calibration.conftest import FITTED
from tests.tuner.conftest import TRAFFIC
from tuner.folder import Folder
from tuner.learning import Learning
from tuner.options import Options
from tuner.problem import Problem
from tuner.records import records
from tuner.spec import StudySpec, deployment_of, problem_of, resolve
from tuner.taught import taught
from tuner.teaching import Lessons, kv_offset_tokens
from tuner.trial import try_out

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
SERVED = Served(gpu="l4", model=MODEL, engine_version="9.9", tensor_parallel_size=1)
REAL: dict[int, Taught] = {
    1: (SERVED, Kept(replace(prior(1), mean=(log(1.4), log(1.4), 0.0, 25.0)))),
}
"""What the engine in the real one's place is like."""


def study(**options: Any) -> tuple[StudySpec, Problem]:
    traffic = {**TRAFFIC, "requests": 60, "output_tokens": 32, "load": "offered"}
    on = {"objective": "chat", "gpu": "l4", "gpus": 1, "sla": "p95_tpot_ms<=900"}
    asked = Options(**{**on, **traffic, **options})
    spec, flows = resolve(asked)
    return spec, problem_of(spec, tuple(flow.workload for flow in flows))


def trials(spec: StudySpec, problem: Problem) -> list[list[TrialRecord]]:
    runner = SimulatedRunner(deployment_of(spec), calibrations=REAL)
    tried = []
    for number, most in enumerate((1, 2, 4, 64)):
        config = problem.space.within({"max_num_seqs": most})
        outcome = try_out(problem, runner, config)
        tried.append(
            records(problem, outcome, config, number=number, origin="sampler", launch_id=0)
        )
    return tried


Learn = Callable[..., tuple[Learning, list[str]]]


@pytest.fixture
def learning(tmp_path: Path) -> Learn:
    def make(
        spec: StudySpec, problem: Problem, past: Sequence[TrialRecord] = ()
    ) -> tuple[Learning, list[str]]:
        said: list[str] = []
        lessons = Lessons(
            folder=Folder(tmp_path / "study"),
            gpu="l4",
            gpus=1,
            model=MODEL,
            engine_version="9.9",
            records=past,
            workloads={case.profile.name: case.workload for case in problem.cases},
        )
        return Learning(lessons, taught(spec.target.calibrations or {}), said.append), said

    return make


def known() -> Kept | None:
    found = latest("l4", MODEL, 1)
    return found and found[1]


def test_every_trial_brings_the_simulated_engine_nearer_to_the_real_one(learning: Learn) -> None:
    spec, problem = study()
    lesson, said = learning(spec, problem)
    off = []
    for number, tried in enumerate(trials(spec, problem), 1):
        lesson.tried(tried)
        kept = known()
        assert kept is not None
        assert kept.calibration.probes == number
        off.append(abs(log(kept.calibration.parameters.decode_factor / 1.4)))
    assert off[-1] < 0.05 < abs(log(prior(1).parameters.decode_factor / 1.4))
    assert said == []


def test_it_begins_with_what_the_same_engine_taught_before(learning: Learn) -> None:
    save(REAL[1][1], SERVED)
    spec, problem = study()
    lesson, _ = learning(spec, problem)
    lesson.tried(trials(spec, problem)[3])
    kept = known()
    assert kept is not None
    assert kept.calibration.parameters.decode_factor == pytest.approx(1.4, rel=0.02)


def test_another_version_of_it_is_no_place_to_begin(learning: Learn) -> None:
    far = replace(prior(1), mean=(log(5.0), log(5.0), 0.0, 0.0))
    save(Kept(far), replace(SERVED, engine_version="1.0"))
    spec, problem = study()
    lesson, _ = learning(spec, problem)
    lesson.tried(trials(spec, problem)[3])
    kept = known()
    assert kept is not None
    assert kept.calibration.parameters.decode_factor < 1.6


def test_what_cannot_be_kept_is_said_once(
    learning: Learn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    spec, problem = study(calibration="off")
    lesson, said = learning(spec, problem)
    for tried in trials(spec, problem):
        lesson.tried(tried)
    place = tmp_path / "file" / "paretune"
    assert said == [
        "Trial 0 taught the simulated engine nothing: "
        f"[Errno 20] Not a directory: '{place / 'calibration'}'"
    ]


def test_a_trial_of_quantised_weights_teaches_nothing(learning: Learn) -> None:
    spec, problem = study()
    lesson, _ = learning(spec, problem)
    (record,) = trials(spec, problem)[0]
    lesson.tried([replace(record, config={**record.config, "quantization": "fp8"})])
    assert known() is None


def test_a_study_taken_up_again_has_forgotten_nothing(learning: Learn) -> None:
    spec, problem = study()
    tried = trials(spec, problem)
    lesson, _ = learning(spec, problem, [record for kept in tried[:3] for record in kept])
    lesson.tried(tried[3])
    kept = known()
    assert kept is not None
    assert kept.calibration.probes == 4


def test_steps_fitted_to_a_log_say_nothing_of_a_known_models_own(learning: Learn) -> None:
    fitted = replace(prior(1), mean=(log(0.3), log(0.3), 0.0, 0.0))
    save(Kept(fitted, FITTED), SERVED)
    spec, problem = study()
    lesson, _ = learning(spec, problem)
    lesson.tried(trials(spec, problem)[3])
    kept = known()
    assert kept is not None
    assert kept.fitted is None
    assert kept.calibration.parameters.decode_factor > 1.1


def test_the_kv_cache_that_replicas_hold_together_is_not_each_ones() -> None:
    spec, problem = study(gpus=4, set=["tensor_parallel_size=1"])
    deployment = deployment_of(spec)
    config = problem.space.default()
    each = kv_tokens(deployment, config)
    (record,) = trials(spec, problem)[0]
    offered = {**record.loads["offered"], "kv_capacity_tokens": 4 * each + 64}
    told = replace(record, config=config, loads={"offered": offered})
    assert config["data_parallel_size"] == 4
    assert kv_offset_tokens([told], deployment) == 16
