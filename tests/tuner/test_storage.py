from pathlib import Path

import optuna
import pytest

from objectives import Quadrant
from objectives.quadrant import GPUS, SATURATED
from results.confirmation import Finalist
from results.record import TrialRecord
from tests.tuner.conftest import TRAFFIC, MakeLoop
from tuner import storage
from tuner.errors import BadInput
from tuner.folder import Folder
from tuner.options import Options
from tuner.problem import Problem
from tuner.spec import StudySpec, problem_of, resolve

Asked = tuple[StudySpec, Problem]


@pytest.fixture
def asked() -> Asked:
    spec, flows = resolve(Options(objective="all", **TRAFFIC))
    return spec, problem_of(spec, tuple(flow.workload for flow in flows))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "monday")
    made.create()
    return made


def test_a_study_is_read_as_it_was_made(folder: Folder, asked: Asked) -> None:
    spec, problem = asked
    made = storage.create(folder, spec, "monday", problem, None)
    name, read, studies = storage.load(folder, None)
    assert (name, read) == ("monday", spec)
    names = [f"monday/{name}" for name in ("rag", "chat", "reasoning", "summarize")]
    assert [s.study_name for s in studies] == [s.study_name for s in made] == names
    assert [s.metric_names for s in studies] == [
        *[["capacity_per_gpu", "p95_ttft_ms"]] * 3,
        ["output_throughput_per_gpu", "p95_e2el_ms"],
    ]


def test_a_database_whose_making_was_cut_short_is_not_there(
    folder: Folder, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, problem = asked
    with monkeypatch.context() as patch:
        patch.setattr(storage, "to_json", lambda spec: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            storage.create(folder, spec, "monday", problem, None)
    assert not folder.database.exists()
    assert storage.create(folder, spec, "monday", problem, None)
    assert [path.name for path in folder.path.iterdir() if path.is_file()] == ["study.db"]


def test_a_study_in_a_shared_database_is_found_by_the_name_it_was_given(
    tmp_path: Path, asked: Asked
) -> None:
    spec, problem = asked
    url = f"sqlite:///{tmp_path}/shared.db"
    for name in ("monday", "tuesday"):
        folder = Folder(tmp_path / f"of-{name}")
        folder.create()
        storage.create(folder, spec, name, problem, url)
        assert storage.address(folder, None) == url
        assert storage.load(folder, url)[0] == name


def test_a_folder_whose_study_is_not_in_the_database_is_refused_with_what_there_is(
    tmp_path: Path, asked: Asked
) -> None:
    spec, problem = asked
    folder = Folder(tmp_path / "monday")
    folder.create()
    for name in ("monday", "tuesday"):
        storage.create(folder, spec, name, problem, f"sqlite:///{tmp_path}/{name}.db")
    with pytest.raises(BadInput) as refused:
        storage.load(folder, f"sqlite:///{tmp_path}/monday.db")
    there = f"No study of {folder.path} in sqlite:///{tmp_path}/monday.db; there are: monday."
    assert str(refused.value) == there


def test_a_folder_with_a_question_mark_cannot_hold_a_database(
    tmp_path: Path, asked: Asked
) -> None:
    spec, problem = asked
    folder = Folder(tmp_path / "how?")
    folder.create()
    with pytest.raises(BadInput, match=r"may have no `\?` in its name, but got .*how\?\.$"):
        storage.create(folder, spec, "monday", problem, None)


def test_records_are_read_back_as_they_were_attached(make_loop: MakeLoop) -> None:
    loop = make_loop(objective="all", trials=2)
    loop.run()
    assert storage.records(loop.studies) == loop.records
    assert len(loop.records) == 8


def test_a_trial_without_records_has_none(make_loop: MakeLoop) -> None:
    loop = make_loop()
    assert isinstance(loop.studies[0], optuna.Study)
    assert storage.attached(optuna.trial.create_trial(values=[1.0, 1.0])) == []


CHOSEN = [
    Finalist(quadrant=Quadrant.BULK, objective="summarize", trial=7, goal=SATURATED),
    Finalist(quadrant=Quadrant.ECONOMY, objective="reasoning", trial=3, goal=GPUS),
]


def confirmed(arm: str, pair: int, launch_id: int, objective: str = "chat") -> TrialRecord:
    return TrialRecord(
        number=7,
        objective=objective,
        config={"max_num_seqs": 64},
        origin="confirm",
        arm=arm,
        pair=pair,
        launch_id=launch_id,
    )


@pytest.mark.parametrize("chosen", [CHOSEN, []])
def test_finalists_are_kept_with_the_study_and_read_by_the_next_process(
    folder: Folder, asked: Asked, chosen: list[Finalist]
) -> None:
    spec, problem = asked
    made = storage.create(folder, spec, "monday", problem, None)
    assert storage.finalists(made) is None
    storage.keep_finalists(made, chosen)
    _, _, read = storage.load(folder, None)
    assert storage.finalists(read) == chosen


def test_what_confirming_measured_is_read_in_the_order_of_the_launches(
    folder: Folder, asked: Asked
) -> None:
    spec, problem = asked
    made = storage.create(folder, spec, "monday", problem, None)
    assert storage.confirmations(made) == []
    second = [confirmed("default", 0, 9, name) for name in ("rag", "chat")]
    first = [confirmed("trial 7", 0, 8)]
    last = [confirmed("trial 7", 10, 20)]
    for kept in (last, second, first):
        storage.keep_confirmations(made, kept)
    _, _, read = storage.load(folder, None)
    assert storage.confirmations(read) == [*first, *second, *last]
    assert storage.records(read) == []


def test_a_turn_kept_twice_is_kept_once(folder: Folder, asked: Asked) -> None:
    spec, problem = asked
    made = storage.create(folder, spec, "monday", problem, None)
    for launch_id in (8, 9):
        storage.keep_confirmations(made, [confirmed("default", 0, launch_id)])
    assert storage.confirmations(made) == [confirmed("default", 0, 9)]
