"""The end of a study: finalists and the default launched in turns, on figures that are known."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from objectives import Load, Measurement, Quadrant
from results.confirmation import DEFAULT, Finalist, confirm
from results.export.serving import MEMORY_GUARD
from results.record import TrialRecord
from runners import Failure, FailureKind
from runners.replay import ReplayRunner
from runners.vllm import VllmRunner
from search_spaces import Config
from tests.tuner.conftest import TRAFFIC
from tests.tuner.engines import in_line, run
from tuner import answer, storage
from tuner.finals import MODES, Finals
from tuner.folder import Folder
from tuner.options import Options
from tuner.problem import Problem
from tuner.progress.silent import Silent
from tuner.records import records
from tuner.spec import StudySpec, problem_of, resolve
from tuner.start_from import read_settings
from tuner.trial import try_out

LIVE, INTERACTIVE, ECONOMY, BULK = Quadrant
FEWER = {"max_num_seqs": 64}
FEWEST = {"max_num_seqs": 32}
Figures = Callable[[Config], tuple[float, float]]


def better_with_fewer(config: Config) -> tuple[float, float]:
    """(requests per second at most, first token in ms): 64 carry most, 32 answer soonest."""
    return {64: (80.0, 60.0), 32: (30.0, 30.0)}.get(int(config["max_num_seqs"]), (40.0, 100.0))


class Shown(Silent):
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.confirmed: list[tuple[int, int, str, int]] = []
        self.notes: list[str] = []

    def confirming(self, done: int, of: int, arm: str, pair: int) -> None:
        self.confirmed.append((done, of, arm, pair))

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


@dataclass(slots=True)
class Study:
    """A study whose search is over: the default and others, each measured once."""

    spec: StudySpec
    problem: Problem
    runner: ReplayRunner
    folder: Folder
    records: list[TrialRecord]
    studies: Sequence[optuna.Study]
    shown: Shown = field(default_factory=Shown)
    interruptible: Callable[[], Any] = nullcontext

    def confirm(self, *, left_s: float | None = None, records: Any = None) -> list[TrialRecord]:
        """What was measured in turns by the end of it, in all."""
        finals = Finals(
            spec=self.spec,
            problem=self.problem,
            runner=self.runner,
            studies=self.studies,
            selection=answer.selection(self.problem),
            folder=self.folder,
            progress=self.shown,
            launches=self.launches,
            interruptible=self.interruptible,
        )
        finals.run(self.records if records is None else records, left_s=left_s)
        return storage.confirmations(self.studies)

    def launches(self) -> int:
        return len(self.records) + len(storage.confirmations(self.studies))

    @property
    def outcomes(self) -> dict[Quadrant, str]:
        chosen = storage.finalists(self.studies) or []
        found = confirm(chosen, storage.confirmations(self.studies))
        return {c.finalist.quadrant: c.outcome for c in found}


@dataclass(slots=True)
class Served:
    """What the engine answers; the figures may be other ones by the time of the confirmation."""

    figures: Figures = better_with_fewer
    loads: list[Load] = field(default_factory=list)

    def __call__(self, config: Config, load: Load) -> Measurement:
        self.loads.append(load)
        most, first_ms = self.figures(config)
        return run(load, in_line(load.workload, most, first_ms), gpus=4)


class MakeStudy:
    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def __call__(
        self,
        *tried: dict[str, Any],
        served: Served | None = None,
        runner: ReplayRunner | None = None,
        **options: Any,
    ) -> Study:
        asked = Options(**{"objective": "chat", **TRAFFIC, "pairs": 5, **options})
        spec, flows = resolve(asked)
        problem = problem_of(
            spec, tuple(f.workload for f in flows), tuple(f.redrawn for f in flows)
        )
        made = runner or ReplayRunner(measurements=served or Served())
        found = []
        for number, settings in enumerate(({}, *tried)):
            config = problem.space.within({**problem.space.default(), **settings})
            outcome = try_out(problem, made, config)
            origin: Any = "sampler" if number else "default"
            found += records(
                problem, outcome, config, number=number, origin=origin, launch_id=number
            )
        made.launched.clear()
        backend = optuna.storages.InMemoryStorage()
        studies = storage.studies_in(backend, spec, "study", problem)
        return Study(spec, problem, made, self._folder, found, studies)


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    folder = Folder(tmp_path / "study")
    folder.create()
    return MakeStudy(folder)


def told(runs: Sequence[TrialRecord]) -> list[tuple[str, int | None]]:
    return [(r.arm, r.pair) for r in runs]


def test_the_default_and_the_finalists_are_launched_in_turns(make_study: MakeStudy) -> None:
    study = make_study(FEWER, FEWEST)
    runs = study.confirm()
    there = ["default", "trial 2", "trial 1"]
    assert told(runs) == [
        (arm, pair) for pair in range(5) for arm in (there if pair % 2 == 0 else there[::-1])
    ]
    assert [r.launch_id for r in runs] == [*range(3, 18)]
    sizes = {"default": 1024, "trial 1": 64, "trial 2": 32}
    assert [c["max_num_seqs"] for c in study.runner.launched] == [sizes[r.arm] for r in runs]
    assert {r.origin for r in runs} == {"confirm"}
    assert storage.finalists(study.studies) == [
        Finalist(quadrant=LIVE, objective="chat", trial=1, goal=LIVE.goals[0]),
        Finalist(quadrant=INTERACTIVE, objective="chat", trial=2, goal=INTERACTIVE.goals[0]),
        Finalist(quadrant=ECONOMY, objective="chat", trial=1, goal=ECONOMY.goals[1]),
        Finalist(quadrant=BULK, objective="chat", trial=1, goal=BULK.goals[0]),
    ]
    assert study.outcomes == dict.fromkeys(Quadrant, "gain")


def test_every_turn_is_in_the_trials_and_shown_as_it_begins(make_study: MakeStudy) -> None:
    study = make_study(FEWER)
    runs = study.confirm()
    lines = study.folder.trials.read_text().splitlines()
    assert [TrialRecord.from_json(line) for line in lines] == runs
    assert study.shown.confirmed == [
        (number, 10, run.arm, (run.pair or 0) + 1) for number, run in enumerate(runs)
    ]
    assert study.shown.notes == []


def test_each_is_launched_from_a_file_that_the_exporter_wrote(make_study: MakeStudy) -> None:
    study = make_study({**FEWER, "gpu_memory_utilization": 0.85})
    study.confirm()
    folder, space = study.folder.path / "confirm", study.problem.space
    assert sorted(path.name for path in folder.iterdir()) == ["default.yaml", "trial-1.yaml"]
    for name, record in zip(("default", "trial-1"), study.records, strict=True):
        path = folder / f"{name}.yaml"
        assert path.read_text() == answer.arm_file(record.config, study.spec, space, {})
        guarded = float(record.config["gpu_memory_utilization"]) - MEMORY_GUARD
        launched = {**record.config, "gpu_memory_utilization": pytest.approx(guarded)}
        assert {**record.config, **read_settings(path, space)} == launched
        assert launched in [{**config} for config in study.runner.launched]


@pytest.mark.parametrize(
    "settings",
    [
        {"gpu_memory_utilization": 0.8},
        {"enable_prefix_caching": False},
        {"kv_cache_dtype": "fp8"},
        {"scheduling_policy": "priority"},
        {"long_prefill_token_threshold": 512},
        {"tensor_parallel_size": 4},
    ],
    ids=str,
)
def test_any_setting_of_a_finalist_is_read_back_from_its_file(
    make_study: MakeStudy, settings: dict[str, Any]
) -> None:
    freed = ["kv_cache_dtype=auto,fp8", "enable_prefix_caching=true,false"]
    more: dict[str, Any] = {
        "range": [*freed, "scheduling_policy=fcfs,priority"],
        "allow_lossy": True,
    }
    study = make_study({**FEWER, **settings}, **more)
    study.confirm()
    config = study.runner.launched[1]
    guarded = float(study.records[1].config["gpu_memory_utilization"]) - MEMORY_GUARD
    expected = {**study.records[1].config, "gpu_memory_utilization": pytest.approx(guarded)}
    assert {**config} == expected


def test_speculation_is_read_back_from_its_file(make_study: MakeStudy) -> None:
    settings = {**FEWER, "speculative_config": "ngram"}
    free: dict[str, Any] = {"range": ["speculative_config=none,ngram"], "acceptance_rate": 0.5}
    study = make_study(settings, **free)
    study.confirm()
    assert study.runner.launched[1]["speculative_config"] == "ngram"


def test_our_own_knobs_have_no_place_in_a_file_and_are_launched_with_all_the_same(
    make_study: MakeStudy,
) -> None:
    study = make_study({**FEWER, "batch_wait_timeout_ms": 20}, allow_scheduler_class=True)
    runs = study.confirm()
    path = study.folder.path / "confirm" / "trial-1.yaml"
    assert not [key for key in yaml.safe_load(path.read_text()) if key.startswith("batch-wait")]
    launched = zip(runs, study.runner.launched, strict=True)
    waits = {run.arm: config["batch_wait_timeout_ms"] for run, config in launched}
    assert waits == {"default": 0, "trial 1": 20}


def test_finalists_are_fixed_once(make_study: MakeStudy) -> None:
    study = make_study(FEWER)
    before = study.confirm()
    fixed = storage.finalists(study.studies)
    better = replace(study.records[1], number=9, loads=study.records[0].loads)
    after = study.confirm(records=[*study.records, better])
    assert (after, storage.finalists(study.studies)) == (before, fixed)
    assert len(study.runner.launched) == len(before)


def test_without_a_finalist_nothing_is_launched_and_that_is_kept(make_study: MakeStudy) -> None:
    study = make_study()
    assert study.confirm() == []
    assert (storage.finalists(study.studies), study.runner.launched) == ([], [])


def test_a_gain_by_chance_is_not_found_again(make_study: MakeStudy) -> None:
    served = Served()
    study = make_study(FEWER, served=served)
    served.figures = lambda config: (40.0, 100.0)
    study.confirm()
    assert set(study.outcomes.values()) == {"no significant gain"}
    summary = answer.summary(
        answer.facts("study", study.spec, study.problem, study.runner.description),
        study.problem,
        study.records,
        1.0,
        storage.finalists(study.studies),
        storage.confirmations(study.studies),
    )
    assert {q: best["trial"] for q, best in summary["best"].items()} == dict.fromkeys(Quadrant, 0)


def test_no_pair_sees_traffic_of_the_search_or_of_another_pair(make_study: MakeStudy) -> None:
    served = Served()
    study = make_study(FEWER, served=served)
    times = [
        tuple(round(r.arrival_s, 6) for r in w.requests) for w in study.problem.cases[0].draws
    ]
    searched = {load.workload.requests[:60] for load in served.loads}
    served.loads.clear()
    runs = study.confirm()
    offered = [load.workload for load in served.loads if load.workload.request_rate < 5]
    fresh = study.problem.cases[0].fresh
    seen = {w.requests for w in offered if len(w.requests) == 60}
    assert {w.requests for w in fresh} <= seen
    assert not searched & {w.requests for w in fresh}
    assert tuple(round(r.arrival_s, 6) for r in fresh[0].requests) not in times
    assert len({r.pair for r in runs}) == 5


@pytest.mark.parametrize(
    ("left_s", "arms"),
    [(None, 3), (1e6, 3), (0.0, 2), (-50.0, 2)],
)
def test_what_the_budget_leaves_does_for_so_many_the_own_quadrants_finalist_first(
    make_study: MakeStudy, left_s: float | None, arms: int
) -> None:
    study = make_study(FEWER, FEWEST)
    runs = study.confirm(left_s=left_s)
    assert len({r.arm for r in runs}) == arms
    assert {"default", "trial 2"} <= {r.arm for r in runs}
    others = "gain" if arms == 3 else "not measured"
    assert study.outcomes == {**dict.fromkeys(Quadrant, others), INTERACTIVE: "gain"}


def interrupted_at(number: int) -> Callable[[], Any]:
    """Ctrl-C at the launch of this number."""
    left = number

    @contextmanager
    def interruptible() -> Iterator[None]:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        yield

    return interruptible


@pytest.mark.parametrize("number", [0, 1, 4, 9])
def test_interrupted_it_goes_on_with_what_is_missing_and_comes_to_the_same(
    make_study: MakeStudy, number: int
) -> None:
    whole = make_study(FEWER)
    expected = whole.confirm()
    study = make_study(FEWER)
    study.interruptible = interrupted_at(number)
    with pytest.raises(KeyboardInterrupt):
        study.confirm()
    assert storage.confirmations(study.studies) == expected[:number]
    study.interruptible = nullcontext
    assert study.confirm() == expected
    assert len(study.runner.launched) == 10
    assert study.outcomes == whole.outcomes


def failing_at(*numbers: int, kind: FailureKind) -> ReplayRunner:
    """Of the launches of the confirmation, those of these numbers fail."""
    runner = ReplayRunner(measurements=Served())
    searched = 2

    def refusal(config: Config) -> Failure | None:
        number = len(seen) - searched
        seen.append(config)
        return Failure(kind, "said so") if number in numbers else None

    seen: list[Config] = []
    runner.refusals = refusal
    return runner


def test_a_failure_of_the_host_is_no_answer_and_is_tried_again_when_taken_up(
    make_study: MakeStudy,
) -> None:
    study = make_study(FEWER, runner=failing_at(1, 4, kind=FailureKind.HOST))
    runs = study.confirm()
    order = [("default", 0), ("trial 1", 0), ("trial 1", 1), ("default", 1), ("default", 2)]
    assert told(runs)[:3] == [order[0], *order[2:4]]
    assert len(runs) == 8
    assert study.shown.notes == [
        "trial 1 was not measured: said so",
        "default was not measured: said so",
    ]
    again = study.confirm()
    assert sorted(told(again)) == sorted((a, p) for p in range(5) for a in ("default", "trial 1"))
    assert told(again)[8:] == [("trial 1", 0), ("default", 2)]


def test_a_file_that_starts_no_engine_is_an_answer(make_study: MakeStudy) -> None:
    trials = (1, 2, 5, 6, 9)
    study = make_study(FEWER, runner=failing_at(*trials, kind=FailureKind.REFUSED))
    runs = study.confirm()
    assert len(runs) == 10
    assert {r.arm for r in runs if r.failure} == {"trial 1"}
    assert set(study.outcomes.values()) == {"breaks its SLA"}
    assert len(study.confirm()) == len(study.runner.launched) == 10


@pytest.mark.parametrize("options", [{"pairs": 0}, {"pairs": 7}], ids=["none", "more than drawn"])
def test_without_pairs_or_draws_for_them_nothing_is_fixed(
    make_study: MakeStudy, options: dict[str, Any]
) -> None:
    study = make_study(FEWER)
    study.spec = replace(study.spec, **options)
    assert study.confirm() == []
    assert storage.finalists(study.studies) is None


def test_a_server_of_someone_elses_is_not_launched_from_files(make_study: MakeStudy) -> None:
    study = make_study(FEWER)
    study.spec = replace(study.spec, target=replace(study.spec.target, engine="openai"))
    assert study.confirm() == []
    assert storage.finalists(study.studies) is None


@pytest.mark.parametrize(
    "changes", [{"origin": "preset"}, {"failure": {"kind": "died", "detail": "signal 9"}}]
)
def test_without_a_default_that_was_measured_there_is_nothing_to_compare_with(
    make_study: MakeStudy, changes: dict[str, Any]
) -> None:
    study = make_study(FEWER)
    assert study.confirm(records=[replace(study.records[0], **changes), study.records[1]]) == []
    assert storage.finalists(study.studies) is None


def test_in_all_each_finalist_is_measured_on_the_traffic_of_its_quadrant(
    make_study: MakeStudy,
) -> None:
    study = make_study(FEWER, FEWEST, objective="all")
    runs = study.confirm()
    shown = {
        arm: {r.objective: sorted(r.loads) for r in runs if r.arm == arm}
        for arm in ("default", "trial 1", "trial 2")
    }
    both = ["capacity", "offered"]
    assert shown == {
        "default": {"rag": both, "chat": ["offered"], "reasoning": both, "summarize": both},
        "trial 1": {"rag": both, "reasoning": both, "summarize": both},
        "trial 2": {"chat": ["offered"]},
    }
    assert len(study.runner.launched) == 15
    assert study.outcomes == dict.fromkeys(Quadrant, "gain")


class Stock(VllmRunner):
    """Real vLLM as far as anyone can tell who launches it; answers what is known."""

    def __init__(self, served: Served, *, flags: Sequence[str] = ()) -> None:
        self._inner = ReplayRunner(measurements=served)
        self.flags = flags
        self.files: list[str] = []
        self.configs: list[Config] = []
        self.description = replace(self._inner.description, noiseless=True)

    def has_flag(self, name: str) -> bool:
        return name in self.flags

    @contextmanager
    def launch_file(self, path: Path) -> Iterator[Any]:
        self.files.append(path.name)
        settings = yaml.safe_load(path.read_text())
        with self._inner.launch({"max_num_seqs": settings["max-num-seqs"]}) as engine:
            yield engine

    @contextmanager
    def launch(self, config: Config) -> Iterator[Any]:
        self.configs.append(config)
        with self._inner.launch(config) as engine:
            yield engine


def on_vllm(study: Study, *flags: str) -> Stock:
    runner = Stock(Served(), flags=flags)
    study.runner = runner  # type: ignore[assignment]
    return runner


def test_a_real_engine_is_started_from_the_files_alone(make_study: MakeStudy) -> None:
    study = make_study(FEWER)
    runner = on_vllm(study)
    study.confirm()
    there = ["default.yaml", "trial-1.yaml"]
    assert runner.files == [*there, *there[::-1], *there, *there[::-1], *there]
    assert runner.configs == []


def test_what_needs_our_scheduler_class_is_launched_from_its_config_on_a_real_engine(
    make_study: MakeStudy,
) -> None:
    study = make_study({**FEWER, "batch_wait_timeout_ms": 20}, allow_scheduler_class=True)
    runner = on_vllm(study)
    study.confirm()
    assert runner.files == ["default.yaml"] * 5
    assert {(c["max_num_seqs"], c["batch_wait_timeout_ms"]) for c in runner.configs} == {(64, 20)}


def test_the_engines_own_modes_are_measured_in_the_same_pairs_where_it_has_them(
    make_study: MakeStudy,
) -> None:
    study = make_study(FEWER)
    runner = on_vllm(study, "performance_mode")
    runs = study.confirm()
    arms = ["default", "trial 1", *(f"performance_mode {mode}" for mode in MODES)]
    assert [r.arm for r in runs[:8]] == [*arms, *arms[::-1]]
    folder = study.folder.path / "confirm"
    for mode in MODES:
        settings = yaml.safe_load((folder / f"performance_mode-{mode}.yaml").read_text())
        plain = yaml.safe_load((folder / "default.yaml").read_text())
        assert settings == {**plain, "performance-mode": mode}
    assert len(runner.files) == 20
    (found, *_) = confirm(storage.finalists(study.studies) or [], runs)
    assert {*found.modes} == {f"performance_mode {mode}" for mode in MODES}
    assert {mode.ratio for mode in found.modes.values()} == {1.0}


def test_modes_are_left_out_where_the_user_has_set_one_or_the_budget_ends(
    make_study: MakeStudy,
) -> None:
    study = make_study(FEWER)
    runner = on_vllm(study, "performance_mode")
    study.confirm(left_s=0.0)
    assert len(runner.files) == 10
    other = make_study(FEWER)
    target = replace(other.spec.target, arguments={"performance_mode": "throughput"})
    other.spec = replace(other.spec, target=target)
    on_vllm(other, "performance_mode")
    assert {r.arm for r in other.confirm()} == {DEFAULT, "trial 1"}
