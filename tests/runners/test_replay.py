import pytest

from objectives import Load, Measurement, Request, RequestResult, Workload
from runners import EngineError, Failure, FailureKind, Runner
from runners.replay import Answer, ReplayRunner, key
from search_spaces import Config

LOAD = Load(workload=Workload(name="chat", requests=(Request(0.0, 9, 2), Request(0.5, 9, 2))))
SLOWER = Load(workload=LOAD.workload.at_rate(1.0))
CONFIG: Config = {"max_num_seqs": 64, "enable_prefix_caching": True}
OTHER: Config = {**CONFIG, "max_num_seqs": 32}
MEASURED = Measurement(
    results=(RequestResult(0.0, 9, 2, ttft_ms=5.0, e2el_ms=9.0),), duration_s=2.5, gpus=1
)
DIED = Failure(FailureKind.DIED, "killed")


def measured(runner: Runner, config: Config, load: Load) -> Answer:
    try:
        with runner.launch(config) as engine:
            return engine.measure(load)
    except EngineError as error:
        return error.failure


def test_a_mapping_answers_by_config_and_load() -> None:
    answers: dict[object, Answer] = {key(CONFIG, LOAD): MEASURED, key(OTHER, LOAD): DIED}
    runner = ReplayRunner(measurements=answers)  # type: ignore[arg-type]
    assert measured(runner, CONFIG, LOAD) is MEASURED
    assert measured(runner, OTHER, LOAD) == DIED
    assert runner.launched == [CONFIG, OTHER]


@pytest.mark.parametrize(("config", "load"), [(OTHER, LOAD), (CONFIG, SLOWER)])
def test_what_a_mapping_does_not_hold_says_nothing_of_the_config(
    config: Config, load: Load
) -> None:
    runner = ReplayRunner(measurements={key(CONFIG, LOAD): MEASURED})
    missing = Failure(FailureKind.HOST, "no measurement of this config under this load")
    assert measured(runner, config, load) == missing


def test_closed_loops_are_told_apart_by_their_concurrency() -> None:
    loads = [Load(workload=LOAD.workload.at_concurrency(n)) for n in (1, 2)]
    assert len({key(CONFIG, load) for load in (*loads, LOAD)}) == 3


def test_a_config_can_be_refused_at_launch() -> None:
    refused = Failure(FailureKind.REFUSED, "no such flag")
    runner = ReplayRunner(
        measurements=lambda config, load: MEASURED,
        refusals=lambda config: refused if config == OTHER else None,
    )
    assert measured(runner, OTHER, LOAD) == refused
    assert measured(runner, CONFIG, LOAD) is MEASURED
    assert runner.launched == [OTHER, CONFIG]


def test_an_engine_ages_by_its_launch_and_by_every_run() -> None:
    runner = ReplayRunner(measurements=lambda config, load: MEASURED, launch_s=30.0)
    with runner.launch(CONFIG) as engine:
        ages = [engine.age_s]
        for _ in range(2):
            engine.measure(LOAD)
            ages.append(engine.age_s)
    assert ages == [30.0, 32.5, 35.0]
