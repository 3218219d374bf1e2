import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from benchmarks.search_efficiency.stand import Charge, Stand
from benchmarks.search_efficiency.surface import Surface
from objectives import Load, Measurement, RequestResult
from runners import Description, EngineError, FailureKind
from search_spaces import Config

MEASURED = Measurement(
    results=(RequestResult(0.0, 9, 2, ttft_ms=5.0, e2el_ms=9.0),), duration_s=12.5, gpus=1
)


@dataclass
class Engine:
    """Takes 12.5 s a run, and half a second to settle before it."""

    config: Config
    age_s: float = 7.0
    fresh: bool = True

    def measure(self, load: Load) -> Measurement:
        self.age_s += 13.0
        return MEASURED


@dataclass
class Runner:
    refused: FailureKind | None = None
    description = Description(
        engine="test", version="1", simulated=True, uncertainty="none", noiseless=False
    )

    @contextmanager
    def launch(self, config: Config) -> Iterator[Engine]:
        if self.refused and config["max_num_seqs"] == 4:
            raise EngineError(self.refused, "said so")
        yield Engine(config)


def config(size: int, seqs: int) -> Config:
    return {"tensor_parallel_size": size, "max_num_seqs": seqs}


MakeStand = Callable[..., Stand]


@pytest.fixture
def make_stand(tiny: Surface) -> MakeStand:
    def make(live: bool = False, refused: FailureKind | None = None) -> Stand:
        surface = replace(tiny, runner=lambda seed: Runner(refused))
        knobs = frozenset({"max_num_seqs"} if live else ())
        return Stand(surface, seed=0, launch_s=launch_s, live=knobs)

    return make


def launch_s(config: Config) -> float:
    return 100.0 * int(config["tensor_parallel_size"])


@pytest.fixture
def load(tiny: Surface) -> Load:
    return Load(workload=tiny.problem.cases[0].workload)


def test_every_second_of_an_engine_is_charged_for(make_stand: MakeStand, load: Load) -> None:
    stand = make_stand()
    with stand.launch(config(2, 8)) as engine:
        ages = [engine.age_s]
        engine.measure(load)
        ages.append(engine.age_s)
        engine.idle(8.5)
        engine.measure_within(load, 300.0)
        ages.append(engine.age_s)
    assert ages == [200.0, 213.0, 521.5]
    assert stand.charges == [Charge(config(2, 8), launches=1, other_s=321.5)]


def test_the_same_charges_add_up_for_launches_that_take_longer(
    make_stand: MakeStand, load: Load
) -> None:
    stand = make_stand()
    for size in (1, 2, 2):
        with stand.launch(config(size, 8)) as engine:
            engine.measure(load)
    assert stand.spent_s(launch_s) == 100 + 200 + 200 + 3 * 13
    assert stand.spent_s(lambda config: 30.0) == 3 * 30 + 3 * 13


def test_without_live_knobs_every_trial_is_a_launch(make_stand: MakeStand) -> None:
    stand = make_stand()
    for _ in range(2):
        with stand.launch(config(1, 8)) as engine:
            assert engine.fresh
    assert [charge.launches for charge in stand.charges] == [1, 1]


def test_live_knobs_are_turned_without_a_launch(make_stand: MakeStand) -> None:
    stand = make_stand(live=True)
    fresh = []
    for size, seqs in ((1, 8), (1, 16), (2, 16), (1, 16)):
        with stand.launch(config(size, seqs)) as engine:
            fresh.append((engine.fresh, engine.age_s))
    assert fresh == [(True, 100.0), (False, 0.0), (True, 200.0), (True, 100.0)]


@pytest.mark.parametrize(
    ("kind", "charge"),
    [
        (FailureKind.REFUSED, Charge(config(1, 4), launches=0, other_s=10.0, failed=True)),
        (FailureKind.DOES_NOT_FIT, Charge(config(1, 4), launches=1, other_s=0.0, failed=True)),
    ],
)
def test_a_launch_that_fails_is_charged_for_and_leaves_no_engine(
    make_stand: MakeStand, kind: FailureKind, charge: Charge
) -> None:
    stand = make_stand(live=True, refused=kind)
    with stand.launch(config(1, 8)):
        pass
    with pytest.raises(EngineError) as failed, stand.launch(config(1, 4)):
        pass
    assert stand.charges[1] == charge
    assert failed.value.engine_s == charge.cost_s(launch_s)
    with stand.launch(config(1, 8)) as engine:
        assert engine.fresh


def test_settings_between_those_of_the_grid_are_served_as_the_nearest(
    make_stand: MakeStand,
) -> None:
    stand = make_stand()
    with stand.launch(config(1, 11)) as engine:
        assert isinstance(engine.engine, Engine)
        assert engine.engine.config == config(1, 8)
    assert stand.charges[0].config == config(1, 11)


def test_an_engine_whose_user_failed_is_not_retuned(make_stand: MakeStand) -> None:
    stand = make_stand(live=True)
    with pytest.raises(RuntimeError), stand.launch(config(1, 8)):
        raise RuntimeError(random.__name__)
    with stand.launch(config(1, 8)) as engine:
        assert engine.fresh
