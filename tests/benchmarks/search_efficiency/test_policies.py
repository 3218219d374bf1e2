from collections.abc import Sequence
from dataclasses import replace

import pytest

from benchmarks.search_efficiency import under_test
from benchmarks.search_efficiency.cells import LAUNCHES_S, Cell, Unit, cells, units, work_out
from benchmarks.search_efficiency.policies import POLICIES
from benchmarks.search_efficiency.policies.policy import (
    Answer,
    Policy,
    SameMeasurement,
    Step,
    play,
)
from benchmarks.search_efficiency.policies.studies import (
    PARETUNE,
    PARETUNE_RESTARTING,
    PARETUNE_WHOLE,
    whole_study,
)
from benchmarks.search_efficiency.policies.tpe import Tpe
from benchmarks.search_efficiency.stand import Stand
from benchmarks.search_efficiency.surface import Surface
from search_spaces import Choice, Config

TRIALS = 4
SEARCHING = [name for name, policy in POLICIES.items() if policy.search]
STUDIES = [name for name in POLICIES if name not in SEARCHING]
OWN = [name for name in SEARCHING if POLICIES[name].rules]


def stand_for(surface: Surface, live: frozenset[str] = frozenset()) -> Stand:
    return Stand(surface, seed=1, launch_s=lambda config: 100.0, live=live)


def played(name: str, surface: Surface, *, own: bool) -> list[Step]:
    """Four trials of a policy."""
    policy = POLICIES[name]
    assert policy.search is not None
    rules = policy.rules(surface) if own and policy.rules else SameMeasurement(surface)
    search = policy.search(surface, 1, not own)
    return play(search, rules, stand_for(surface), lambda s: len(s.charges) >= TRIALS)


def is_in_range(surface: Surface, config: Config) -> bool:
    for name, domain in surface.problem.space.searched.items():
        value = config[name]
        if isinstance(domain, Choice):
            if value not in domain.values:
                return False
        elif not domain.low <= float(value) <= domain.high:
            return False
    return True


def outside(surface: Surface, steps: Sequence[Step]) -> list[Config]:
    tried = [step.charge.config for step in steps]
    chosen = [step.recommended for step in steps if step.recommended]
    return [config for config in (*tried, *chosen) if not is_in_range(surface, config)]


@pytest.mark.parametrize("name", SEARCHING)
def test_a_search_stays_in_the_space_and_keeps_rules_that_are_known(
    name: str, tiny: Surface
) -> None:
    steps = played(name, tiny, own=False)
    assert len(steps) == TRIALS
    assert outside(tiny, steps) == []
    assert not any(tiny.problem.space.broken_rules(step.charge.config) for step in steps)


@pytest.mark.parametrize("name", OWN)
def test_own_rules_stay_in_the_space_and_cost_engine_time(name: str, twin: Surface) -> None:
    steps = played(name, twin, own=True)
    assert len(steps) == TRIALS
    assert outside(twin, steps) == []
    assert all(step.charge.cost_s(lambda config: 100.0) > 0 for step in steps)


@pytest.mark.parametrize("policy", [PARETUNE, PARETUNE_RESTARTING, PARETUNE_WHOLE])
def test_a_study_stays_in_the_space_and_in_its_budget(policy: Policy, tiny: Surface) -> None:
    stand = stand_for(tiny, frozenset({"max_num_seqs"} if policy.live else ()))
    steps = whole_study(stand, policy, seed=1, budget_s=1500.0)
    assert len(steps) >= TRIALS
    assert outside(tiny, steps) == []
    assert stand.spent_s(lambda config: 100.0) <= 1500.0
    assert steps[0].charge.config == tiny.default


def test_a_study_that_restarts_proposes_the_same_whatever_launches_cost(tiny: Surface) -> None:
    tried = []
    for launch_s in (30.0, 215.0):
        stand = Stand(tiny, seed=1, launch_s=lambda config, s=launch_s: s)  # type: ignore[misc]
        whole_study(stand, PARETUNE_RESTARTING, seed=1, budget_s=8 * (launch_s + tiny.measured_s))
        tried.append([charge.config for charge in stand.charges])
    common = min(map(len, tried))
    assert common >= TRIALS
    assert tried[0][:common] == tried[1][:common]


def test_random_search_tries_each_config_once_in_an_order_of_its_seed(tiny: Surface) -> None:
    search = POLICIES["random"].search
    assert search is not None
    orders = []
    for seed in (1, 2):
        one = search(tiny, seed, True)
        orders.append([one.ask() for _ in range(len(tiny.configs) + 1)])
    assert orders[0] != orders[1]
    for order in orders:
        assert order[-1] is None
        assert sorted(map(str, order[:-1])) == sorted(map(str, tiny.configs))


def test_the_sweep_goes_through_the_grid_as_listed_and_then_ends(tiny: Surface) -> None:
    search = POLICIES["vllm-bench-sweep"].search
    assert search is not None
    sweep = search(tiny, 0, True)
    asked = [sweep.ask() for _ in range(len(tiny.grid) + 1)]
    assert asked == [*tiny.grid, None]


def test_auto_tune_sh_varies_its_two_flags_alone(twin: Surface) -> None:
    search = POLICIES["auto-tune-sh"].search
    assert search is not None
    grid, asked = search(twin, 0, False), []
    while (config := grid.ask()) is not None:
        asked.append((config["max_num_seqs"], config["max_num_batched_tokens"]))
        assert config["tensor_parallel_size"] == twin.default["tensor_parallel_size"]
    assert asked == [(s, t) for s in (8, 64, 1024) for t in (512, 2048)]


def test_a_search_without_rules_meets_refusals_and_pays_for_them(twin: Surface) -> None:
    refused = [c for c in twin.grid if twin.problem.space.broken_rules(c)]
    assert {(c["max_num_seqs"], c["max_num_batched_tokens"]) for c in refused} == {(1024, 512)}
    rules = POLICIES["auto-tuning-vllm"].rules
    assert rules is not None
    stand = stand_for(twin)
    assert rules(twin).measure(stand, refused[0]) == Answer(None, kept=False)
    (charge,) = stand.charges
    assert (charge.failed, charge.cost_s(lambda config: 100.0)) == (True, 10.0)


def test_vllm_tuner_takes_a_failure_for_the_lowest_latency_there_is(twin: Surface) -> None:
    surface = replace(twin, goal="latency")
    refused = next(c for c in twin.grid if twin.problem.space.broken_rules(c))
    make = POLICIES["vllm-tuner"].rules
    assert make is not None
    rules, stand = make(surface), stand_for(surface)
    rules.measure(stand, twin.default)
    assert rules.choice() == twin.default
    rules.measure(stand, refused)
    assert rules.choice() == refused


def test_tpe_learns_from_what_it_is_told(tiny: Surface) -> None:
    search = Tpe(tiny, 0, True)
    asked = []
    for _ in range(60):
        config = search.ask()
        assert config is not None
        asked.append(int(config["max_num_seqs"]))
        search.tell(config, Answer(-abs(int(config["max_num_seqs"]) - 28.0)))
    assert sum(asked[-20:]) / 20 > sum(asked[:10]) / 10


def test_the_scoot_like_search_begins_with_the_default_and_repeats_nothing(
    tiny: Surface,
) -> None:
    make = POLICIES["scoot-like"].search
    assert make is not None
    search, asked = make(tiny, 0, True), []
    while (config := search.ask()) is not None:
        asked.append(config)
        search.tell(config, Answer(float(int(config["max_num_seqs"]))))
    assert asked[0] == tiny.default
    assert sorted(map(str, asked)) == sorted(map(str, tiny.configs))


def test_the_scoot_like_search_turns_from_what_fails(twin: Surface) -> None:
    make = POLICIES["scoot-like"].search
    assert make is not None
    search, failed = make(twin, 0, True), []
    while (config := search.ask()) is not None:
        fails = config["tensor_parallel_size"] == 2
        failed.append(fails)
        search.tell(config, Answer(None, kept=False) if fails else Answer(1.0))
    assert sum(failed[-4:]) > sum(failed[:5])


def test_a_unit_fills_a_line_for_each_cost_of_a_launch(tiny: Surface) -> None:
    unit = Unit("tiny", "random", 0)
    filled = work_out(tiny, unit, TRIALS)
    assert [cell for cell, _ in filled] == cells(unit)
    assert [cell.launch_s for cell, _ in filled] == [None, *LAUNCHES_S]
    for cell, figures in filled:
        each_s = tiny.launch_s(tiny.default) if cell.launch_s is None else cell.launch_s
        assert figures["budget_s"] == round(TRIALS * (each_s + tiny.measured_s), 3)
        assert len(figures["spent_s"]) == len(figures["regret"]) == len(figures["hypervolume"])
        assert figures["spent_s"][-1] <= figures["budget_s"]


def test_what_a_policy_cannot_be_judged_by_has_no_cell() -> None:
    def tables(name: str) -> set[str]:
        return {cell.table for cell in cells(Unit("tiny", name, 0))}

    assert tables("paretune") == {"own rules", "same measurement"}
    assert tables("paretune-restarting") == {"same measurement"}
    assert tables("paretune-whole") == {"same measurement"}
    assert tables("vllm-tuner") == {"own rules"}


def test_dear_policies_have_fewer_seeds() -> None:
    found = units(["tiny"], ["random", "scoot-like"], 7)
    assert [sum(u.policy == name for u in found) for name in ("random", "scoot-like")] == [7, 5]
    assert Cell(found[0], "own rules", None).key == ("tiny", "random", 0, "own rules", None)


def test_the_study_under_test_is_the_loop_that_tune_runs(tiny: Surface) -> None:
    stand = stand_for(tiny)
    records = under_test.study(tiny.problem, stand, seed=3, budget_s=1000.0)
    assert [dict(r.config) for r in records] == [dict(c.config) for c in stand.charges]
    assert records[0].origin == "default"
