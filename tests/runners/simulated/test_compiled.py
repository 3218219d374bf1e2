from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from objectives import Load
from objectives.sequential import MissCount
from objectives.sla import parse_sla
from runners.simulated import is_compiled
from runners.simulated.compiled.jit import is_kept, kept
from runners.simulated.compiled.serve import Totals, limits_of, serve
from runners.simulated.compiled.speculation import Model, Speculation
from runners.simulated.compiled.steps import Steps
from runners.simulated.kv_cache import KVCache
from runners.simulated.replica import Replica
from runners.simulated.scheduler import Scheduler
from runners.simulated.simulation import Run, simulate
from runners.simulated.step_table import NO_GRIDS, Tabled, by_number

from .cases import GROUP_TOKENS, Case, cases

STEPS = Steps(
    tokens_ms=by_number(lambda tokens: 8 + tokens / 4),
    decode_tokens_ms=by_number(lambda tokens: 7 + tokens / 5),
    communication_ms=by_number(lambda tokens: 1 + tokens / 9),
    rows_ms=by_number(lambda rows: rows / 3),
    prefill_ms=0.7,
    prefill_pair_ms=0.0011,
    prefill_token_ms=0.013,
    prefill_kv_ms=0.0019,
    decode_ms=0.3,
    decode_kv_ms=0.0037,
    host_ms=9.0,
    host_row_ms=0.1,
    eager_ms=3.0,
    largest_graph=40,
    **NO_GRIDS,
)
"""Every composition of a step costs something else."""


@st.composite
def loads(draw: st.DrawFn) -> Case:
    return replace(
        draw(cases()),
        replicas=draw(st.integers(1, 3)),
        concurrency=draw(st.none() | st.integers(1, 6)),
        drafted=draw(st.sampled_from([0, 0, 1, 4])),
        patience_s=draw(st.sampled_from([float("inf"), 0.2, 1.0])),
    )


def speculation(case: Case) -> Speculation:
    return Speculation(
        tokens=case.drafted, acceptance=0.7, seed=3, draft=STEPS, drafts=case.drafted > 1
    )


def plain(case: Case, load: Load) -> tuple[Run, list[Replica]]:
    replicas = []
    for _ in range(case.replicas):
        cache = KVCache(
            case.blocks, group_blocks=GROUP_TOKENS // 16, prefix_caching=case.prefix_caching
        )
        scheduler = Scheduler(
            case.settings, cache, group_tokens=GROUP_TOKENS, speculation=speculation(case)
        )
        replicas.append(Replica(scheduler, Tabled(STEPS, source="", uncertainty="")))
    return simulate(load, replicas), replicas


def compiled(case: Case, load: Load) -> tuple[Run, Totals]:
    limits = limits_of(
        case.settings,
        group_tokens=GROUP_TOKENS,
        prefix_caching=case.prefix_caching,
        drafted=case.drafted,
    )
    model = Model(STEPS, speculation(case))
    return serve(load, limits, model, replicas=case.replicas, blocks=case.blocks)


@given(case=loads())
def test_compiled_or_not_the_simulation_is_the_same_to_the_last_bit(case: Case) -> None:
    run, replicas = plain(case, case.load)
    fast, totals = compiled(case, case.load)
    assert fast == run
    assert totals == replace(
        totals,
        busy_s=sum(replica.busy_s for replica in replicas),
        running_s=sum(replica.running_s for replica in replicas),
        steps=sum(replica.steps for replica in replicas),
        preemptions=sum(replica.scheduler.preemptions for replica in replicas),
        cached_tokens=sum(replica.scheduler.cached_tokens for replica in replicas),
        draft_tokens=sum(replica.scheduler.draft_tokens for replica in replicas),
        accepted_draft_tokens=sum(r.scheduler.accepted_draft_tokens for r in replicas),
    )


@given(case=cases(), limit_ms=st.sampled_from([20, 60, 200]))
def test_compiled_or_not_a_run_ends_once_its_verdict_is_certain(case: Case, limit_ms: int) -> None:
    requests = tuple(sorted(case.requests * 5, key=lambda request: request.arrival_s))
    bounds = parse_sla(f"p50_ttft_ms<={limit_ms}")
    load = replace(
        replace(case, requests=requests).load, watch=lambda: MissCount(bounds, len(requests))
    )
    assert compiled(case, load)[0] == plain(case, load)[0]


def test_an_installation_knows_whether_it_has_compiled_a_function() -> None:
    def never_called() -> None: ...

    # What runs before the first test has served a load.
    assert is_compiled()
    assert not is_kept(kept(never_called))
