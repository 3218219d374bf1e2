import pytest

from objectives import Load
from runners import Failure, FailureKind
from runners.replay import Answer, ReplayRunner
from search_spaces import Config
from tests.tuner.conftest import MakeLoop, served
from tests.tuner.test_trial import unanswered
from tuner.capacity import find_capacity
from tuner.errors import EngineTrouble
from tuner.sizing import size_to_default


def test_a_preset_is_offered_at_70_percent_of_the_defaults_capacity(
    make_loop: MakeLoop, replay: ReplayRunner
) -> None:
    problem, said = make_loop().problem, list[str]()
    sized, _ = size_to_default(problem, replay, ("chat",), said.append)
    case = problem.cases[0]
    with replay.launch(problem.space.default()) as engine:
        capacity = find_capacity(engine, case.draws, case.profile.sla).capacity
    assert sized.cases[0].workload.request_rate == pytest.approx(0.7 * capacity)
    assert said == [
        f"chat: offering {0.7 * capacity:.3g} req/s, 70 % of the default config's capacity of "
        f"{capacity:.3g} req/s (--request-rate sets another)."
    ]
    lengths = [[(r.input_tokens, r.output_tokens) for r in p.cases[0].workload.requests]
               for p in (problem, sized)]  # fmt: skip
    assert lengths[0] == lengths[1]


def test_a_workload_with_a_rate_of_its_own_keeps_it_and_nothing_is_launched(
    make_loop: MakeLoop, replay: ReplayRunner
) -> None:
    problem = make_loop().problem
    assert size_to_default(problem, replay, (), print) == (problem, 0.0)
    assert replay.launched == []


def test_in_all_only_the_named_workloads_are_sized_on_one_launch(
    make_loop: MakeLoop, replay: ReplayRunner
) -> None:
    problem, said = make_loop(objective="all").problem, list[str]()
    sized, _ = size_to_default(problem, replay, ("rag", "summarize"), said.append)
    before = [case.workload for case in problem.cases]
    after = [case.workload for case in sized.cases]
    assert [a == b for a, b in zip(after, before, strict=True)] == [False, True, True, False]
    assert (len(replay.launched), len(said)) == (1, 2)


def test_where_no_rate_keeps_the_sla_a_tenth_of_the_throughput_is_offered(
    make_loop: MakeLoop, replay: ReplayRunner
) -> None:
    problem, said = make_loop(sla="p95_ttft_ms<=1").problem, list[str]()
    sized, _ = size_to_default(problem, replay, ("chat",), said.append)
    assert sized.cases[0].workload.request_rate == pytest.approx(1.6)
    assert said == [
        "chat: the default config keeps the SLA at no rate; offering 1.6 req/s, "
        "a tenth of what it serves at most."
    ]


def test_where_the_default_is_refused_the_next_config_stands_in(make_loop: MakeLoop) -> None:
    problem, said = make_loop().problem, list[str]()
    refused = Failure(FailureKind.OUT_OF_MEMORY, "0 tokens of KV")
    runner = ReplayRunner(
        measurements=served,
        refusals=lambda c: refused if c == problem.first[0][1] else None,
    )
    size_to_default(problem, runner, ("chat",), said.append)
    assert runner.launched == [config for _, config in problem.first[:2]]
    assert "70 % of the preset config's capacity" in said[0]


@pytest.mark.parametrize(
    ("kind", "launches"), [(FailureKind.REFUSED, 3), (FailureKind.HOST, 1), (FailureKind.DIED, 1)]
)
def test_an_engine_that_does_not_start_is_said_with_what_to_do(
    kind: FailureKind, launches: int, make_loop: MakeLoop
) -> None:
    problem = make_loop().problem
    runner = ReplayRunner(measurements=served, refusals=lambda c: Failure(kind, "said so"))
    with pytest.raises(EngineTrouble) as trouble:
        size_to_default(problem, runner, ("chat",), print)
    assert str(trouble.value) == (
        f"No config could be launched to size the offered load ({kind}: said so); "
        "give --request-rate to leave this out."
    )
    assert len(runner.launched) == launches


def test_an_engine_that_answers_nothing_cannot_size_the_load(make_loop: MakeLoop) -> None:
    def mute(config: Config, load: Load) -> Answer:
        return unanswered(served(config, load))

    with pytest.raises(EngineTrouble, match=r"nothing completed: chat: no request"):
        size_to_default(make_loop().problem, ReplayRunner(measurements=mute), ("chat",), print)
