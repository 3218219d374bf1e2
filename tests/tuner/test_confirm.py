"""One launch of the confirmation after the other, on engines whose figures are known."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from objectives import Goal, Load, Measurement, Quadrant
from objectives.quadrant import CAPACITY, FIRST_TOKEN, GPUS, SATURATED
from results.confirmation import Finalist
from results.record import TrialRecord
from runners import EngineError, Failure, FailureKind
from search_spaces import Config
from tests.tuner.engines import in_line, run
from tests.tuner.test_problem import problem
from tuner.confirm import Arm, Turn, goals_of, take, turns
from tuner.problem import Problem

FILE = Path("confirm/trial-7.yaml")
CHAT = problem("chat", pairs=5)
CLOSED = problem("chat", pairs=5, request_rate=None, concurrency=4)
KNOWN = {"chat": [10.0, 40.0]}
LAUNCH_S = 60.0


@dataclass(slots=True)
class Files:
    """Launches from files of an engine that serves in line, ten a second; keeps what is asked."""

    most: float = 10.0
    failure: Failure | None = None
    of: str | None = None
    """Traffic on which it fails; ``None``: the launch itself does."""
    launched: list[tuple[Path, Config]] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)

    @contextmanager
    def __call__(self, path: Path, config: Config) -> Iterator["Engine"]:
        self.launched.append((path, config))
        if self.failure and self.of is None:
            raise EngineError(self.failure.kind, self.failure.detail, engine_s=12.0)
        yield Engine(self)

    @property
    def rates(self) -> list[float]:
        return [load.workload.request_rate for load in self.loads]


@dataclass(slots=True)
class Engine:
    files: Files
    age_s: float = LAUNCH_S
    fresh: bool = True

    def measure(self, load: Load) -> Measurement:
        files, name = self.files, load.workload.name
        files.loads.append(load)
        if files.failure and files.of == name:
            raise EngineError(files.failure.kind, files.failure.detail)
        closed = load.workload.concurrency is not None
        ttfts_ms: list[float | None] = [90.0] * len(load.workload.requests)
        if not closed:
            ttfts_ms = in_line(load.workload, files.most)
        found = run(load, ttfts_ms, gpus=4)
        self.age_s += found.duration_s
        return found


def arm(name: str = "trial 7", number: int = 7, *goals: Goal, objective: str = "chat") -> Arm:
    return Arm(
        name=name,
        number=number,
        config=CHAT.space.default(),
        path=FILE,
        goals={objective: frozenset(goals or {CAPACITY})},
    )


def taken(files: Files, pair: int = 0, *, of: Arm | None = None, on: Problem = CHAT) -> Any:
    turn = Turn(arm=of or arm(), pair=pair)
    return take(turn, on, files, KNOWN, launch_id=9)


def test_in_each_pair_every_arm_has_its_turn_and_who_begins_changes() -> None:
    arms = [arm(name) for name in ("default", "trial 3", "trial 7")]
    assert [(turn.arm.name, turn.pair) for turn in turns(arms, 3)] == [
        *(("default", 0), ("trial 3", 0), ("trial 7", 0)),
        *(("trial 7", 1), ("trial 3", 1), ("default", 1)),
        *(("default", 2), ("trial 3", 2), ("trial 7", 2)),
    ]
    assert list(turns(arms, 0)) == []


def confirmed(name: str, pair: int) -> TrialRecord:
    return TrialRecord(
        number=7, objective="chat", config={}, origin="confirm", arm=name, pair=pair
    )


def test_a_turn_is_done_when_its_arm_was_measured_in_its_pair() -> None:
    turn = Turn(arm=arm("trial 7"), pair=1)
    others = [confirmed("trial 7", 0), confirmed("default", 1)]
    assert not turn.done(others)
    assert turn.done([*others, confirmed("trial 7", 1)])


def finalist(quadrant: Quadrant, trial: int, goal: Goal, objective: str = "chat") -> Finalist:
    return Finalist(quadrant=quadrant, objective=objective, trial=trial, goal=goal)


def test_the_goals_that_are_compared_are_told_by_objective() -> None:
    live, interactive, economy, bulk = Quadrant
    assert goals_of([]) == {}
    assert goals_of(
        [
            finalist(live, 3, CAPACITY),
            finalist(interactive, 3, FIRST_TOKEN),
            finalist(economy, 7, CAPACITY),
            finalist(bulk, 7, SATURATED, "summarize"),
        ]
    ) == {"chat": {CAPACITY, FIRST_TOKEN}, "summarize": {SATURATED}}


def test_a_turn_is_one_launch_from_its_file_and_a_record_that_says_which() -> None:
    files = Files()
    (record,) = taken(files, pair=2)
    assert files.launched == [(FILE, CHAT.space.default())]
    assert (record.number, record.objective, record.origin) == (7, "chat", "confirm")
    assert (record.arm, record.pair, record.launch_id) == ("trial 7", 2, 9)
    assert (record.config, record.failure, record.complete) == (CHAT.space.default(), None, True)
    assert {*record.loads} == {"offered", "capacity"}
    assert record.quadrants.keys() == set(Quadrant)
    measured_s = sum(probe["duration_s"] for probe in record.loads["capacity"]["probes"])
    assert record.launch_s == LAUNCH_S
    assert record.engine_s == pytest.approx(LAUNCH_S + record.measured_s)
    assert record.measured_s > measured_s
    assert TrialRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize("pair", range(5))
def test_all_of_a_turn_is_under_the_fresh_draw_of_its_pair(pair: int) -> None:
    files = Files()
    taken(files, pair)
    (case,) = CHAT.cases
    fresh, seen = case.fresh[pair], {w.requests for w in case.draws}
    assert fresh.requests not in seen
    assert files.loads[0].workload == fresh
    prompts = [r.input_tokens for r in fresh.requests]
    for load in files.loads:
        workload = load.workload
        assert [r.input_tokens for r in workload.requests[: len(prompts)]] == prompts
        if math.isfinite(workload.request_rate):
            factor = workload.requests[9].arrival_s / fresh.requests[9].arrival_s
            assert [r.arrival_s for r in workload.requests[:60]] == pytest.approx(
                [r.arrival_s * factor for r in fresh.requests], abs=1e-9
            )


def test_every_arm_of_a_pair_begins_at_the_same_level_and_every_pair_at_another() -> None:
    levels: dict[int, list[float]] = {}
    for pair in range(5):
        for name in ("default", "trial 7"):
            files = Files(most=12.0 if name == "default" else 30.0)
            (record,) = taken(files, pair, of=arm(name))
            probed = [probe["level"] for probe in record.loads["capacity"]["probes"]]
            levels.setdefault(pair, []).append(files.rates[2])
            # The geometric mean of what the search found, or up to an eighth octave less.
            begun = [level for level in probed if 20 * 2 ** (-1 / 8) < level <= 20]
            assert len(begun) >= 1
    assert all(first == pytest.approx(other) for first, other in levels.values())
    assert len({round(first, 6) for first, _ in levels.values()}) == 5


@pytest.mark.parametrize(
    ("goals", "loads", "runs"),
    [
        ([FIRST_TOKEN], {"offered"}, 1),
        ([SATURATED], {"offered", "capacity"}, 2),
    ],
)
def test_only_what_is_compared_is_measured(goals: list[Goal], loads: set[str], runs: int) -> None:
    files = Files()
    (record,) = taken(files, of=arm("trial 7", 7, *goals))
    assert ({*record.loads}, len(files.loads)) == (loads, runs)
    for goal in goals:
        assert record.metric(goal.load, goal.metric) is not None
    assert record.metric("capacity", "capacity") is None


@pytest.mark.parametrize("goals", [[CAPACITY], [GPUS, FIRST_TOKEN], [SATURATED, CAPACITY]])
def test_a_capacity_that_is_compared_is_searched(goals: list[Goal]) -> None:
    files = Files()
    (record,) = taken(files, of=arm("trial 7", 7, *goals))
    assert record.metric("capacity", "capacity") == pytest.approx(10.0, rel=0.15)
    for goal in goals:
        assert record.metric(goal.load, goal.metric) is not None


def test_nothing_stops_a_run_that_confirms_before_it_is_whole() -> None:
    files = Files(most=3.0)
    (record,) = taken(files)
    assert files.loads[0].watch is None
    assert (record.stopped_early, record.sla["p95_ttft_ms<=500"].verdict) == (False, "broken")
    assert 1.0 < record.loads["capacity"]["capacity"] < 3.0


def test_without_a_capacity_known_the_search_begins_at_the_offered_load() -> None:
    files = Files()
    take(Turn(arm=arm(), pair=0), CHAT, files, {"chat": []}, launch_id=0)
    assert files.rates[2] == pytest.approx(4.0, rel=0.1)


def test_in_a_closed_loop_the_search_begins_at_the_offered_concurrency() -> None:
    files = Files()
    (record,) = taken(files, on=CLOSED)
    in_flight = [load.workload.concurrency for load in files.loads]
    assert in_flight[:5] == [4, None, 4, 8, 16]
    assert record.loads["offered"]["concurrency"] == 4


def test_a_file_that_the_engine_refuses_is_an_answer() -> None:
    (record,) = taken(Files(failure=Failure(FailureKind.REFUSED, "no such flag")))
    assert record.failure == {"kind": "refused", "detail": "no such flag"}
    assert (record.loads, record.engine_s, record.measured_s) == ({}, 12.0, 0.0)
    assert (record.arm, record.pair, record.origin) == ("trial 7", 0, "confirm")


def test_an_engine_that_dies_under_the_load_is_an_answer() -> None:
    (record,) = taken(Files(failure=Failure(FailureKind.DIED, "signal 9"), of="chat"))
    assert record.failure == {"kind": "died", "detail": "signal 9"}
    assert (record.launch_s, record.engine_s) == (LAUNCH_S, LAUNCH_S)


ALL = problem("all", pairs=5)
TWO_KINDS = Arm(
    name="default",
    number=0,
    config=ALL.space.default(),
    path=FILE,
    goals={"rag": frozenset({CAPACITY}), "summarize": frozenset({FIRST_TOKEN})},
)
KNOWN_ALL = {"rag": [10.0], "summarize": []}


def on_all(files: Files) -> list[TrialRecord]:
    return take(Turn(arm=TWO_KINDS, pair=1), ALL, files, KNOWN_ALL, launch_id=3)


def test_in_all_one_launch_is_measured_on_the_traffic_of_what_is_compared() -> None:
    files = Files()
    kept = on_all(files)
    assert [(r.objective, sorted(r.loads)) for r in kept] == [
        ("rag", ["capacity", "offered"]),
        ("summarize", ["offered"]),
    ]
    assert {(r.arm, r.pair, r.launch_id) for r in kept} == {("default", 1, 3)}
    assert {load.workload.name for load in files.loads} == {"rag", "summarize"}
    assert len(files.launched) == 1


def test_traffic_of_which_nothing_is_answered_leaves_the_other_kinds_to_be_measured() -> None:
    mute = Failure(FailureKind.NOTHING_COMPLETED, "no request was answered")
    rag, summarize = on_all(Files(failure=mute, of="rag"))
    assert (rag.failure or {})["kind"] == "nothing completed"
    assert (summarize.failure, [*summarize.loads]) == (None, ["offered"])


def test_what_was_measured_before_an_engine_died_stays_measured() -> None:
    died = Failure(FailureKind.DIED, "signal 9")
    rag, summarize = on_all(Files(failure=died, of="summarize"))
    assert (rag.failure, (summarize.failure or {})["kind"]) == (None, "died")
