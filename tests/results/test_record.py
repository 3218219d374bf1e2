import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Judgement, Measurement, Quadrant, RequestResult, Verdict, parse_sla
from results.record import Origin, TrialRecord, judge_all

MET = Judgement(500.0, 400.0, 1.0, Verdict.MET, -0.3)
BROKEN = Judgement(500.0, 900.0, 0.8, Verdict.BROKEN, 0.8)
UNDECIDED = Judgement(500.0, 490.0, 0.95, Verdict.UNDECIDED, 0.0)
FAILURE = {"kind": "out of memory", "detail": "no room"}

finite = st.floats(allow_nan=False, allow_infinity=False)
judgements = st.dictionaries(
    st.text(),
    st.builds(
        Judgement,
        limit=finite,
        value=st.none() | finite,
        share=st.none() | finite,
        verdict=st.sampled_from(Verdict),
        excess=finite,
    ),
    max_size=3,
)
records = st.builds(
    TrialRecord,
    number=st.integers(min_value=0),
    objective=st.text(),
    config=st.dictionaries(st.text(), st.booleans() | st.integers() | finite | st.text()),
    origin=st.sampled_from(get_args(Origin)),
    loads=st.dictionaries(
        st.sampled_from(["offered", "capacity"]), st.dictionaries(st.text(), st.none() | finite)
    ),
    sla=judgements,
    quadrants=st.dictionaries(st.sampled_from(Quadrant), judgements),
    failure=st.none() | st.fixed_dictionaries({"kind": st.text(), "detail": st.text()}),
    stopped_early=st.booleans(),
    why_stopped=st.text(),
    engine_s=finite,
    measured_s=finite,
    launch_s=finite,
    pair=st.none() | st.integers(min_value=0),
    arm=st.text(),
    launch_id=st.none() | st.integers(min_value=0),
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def record(**changes: Any) -> TrialRecord:
    fields: dict[str, Any] = {
        "number": 3,
        "objective": "chat",
        "config": {"max_num_seqs": 256, "block_size": 16},
        "origin": "sampler",
        "loads": {"offered": {"p95_ttft_ms": 400.0}},
        "sla": {"p95_ttft_ms<=500": MET},
        "quadrants": {Quadrant.INTERACTIVE: {"p95_ttft_ms<=500": MET}},
        "launch_id": 3,
    }
    return TrialRecord(**{**fields, **changes})


@given(records)
def test_a_record_survives_the_disk(kept: TrialRecord) -> None:
    line = kept.to_json()
    assert "\n" not in line
    assert TrialRecord.from_json(line) == kept


@given(records)
def test_a_record_read_back_is_written_the_same(kept: TrialRecord) -> None:
    assert TrialRecord.from_json(kept.to_json()).to_json() == kept.to_json()


def test_a_config_read_back_keeps_the_order_of_its_settings() -> None:
    config = {"tensor_parallel_size": 2, "max_num_seqs": 256, "data_parallel_size": 2}
    read = TrialRecord.from_json(record(config=config).to_json())
    assert list(read.config) == ["tensor_parallel_size", "max_num_seqs", "data_parallel_size"]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        record(loads={"offered": {"p95_ttft_ms": number}}).to_json()


@given(st.text() | plain.map(json.dumps))
def test_junk_is_not_a_record(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        TrialRecord.from_json(line)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "three"},
        {"number": None},
        {"objective": 7},
        {"config": [1]},
        {"origin": "nowhere"},
        {"origin": ["sampler"]},
        {"loads": []},
        {"loads": {"offered": 3}},
        {"sla": {"p95_ttft_ms<=500": 1}},
        {"sla": {"p95_ttft_ms<=500": {"limit": 500}}},
        {"sla": {"p95_ttft_ms<=500": {**json.loads('{"verdict": "kept"}')}}},
        {"quadrants": {"fifth": {}}},
        {"quadrants": {"bulk": {"p95_ttft_ms<=500": {"verdict": "met", "limit": "much"}}}},
        {"failure": "died"},
        {"stopped_early": "no"},
        {"why_stopped": None},
        {"engine_s": None},
        {"launch_s": "long"},
        {"pair": "first"},
        {"arm": 3},
        {"launch_id": "first"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_record_with_a_field_of_another_kind_is_refused(changes: dict[str, Any]) -> None:
    line = json.dumps({**json.loads(record().to_json()), **changes})
    with pytest.raises(ValueError):  # noqa: PT011
        TrialRecord.from_json(line)


def test_a_bound_whose_number_is_a_text_is_refused() -> None:
    line = record().to_json().replace('"limit": 500.0', '"limit": "500"')
    with pytest.raises(ValueError, match="a number of the bound p95_ttft_ms<=500 is none"):
        TrialRecord.from_json(line)


def test_a_record_with_a_number_json_does_not_know_is_refused() -> None:
    line = record().to_json().replace("400.0", "NaN")
    with pytest.raises(ValueError, match="NaN is no number in JSON"):
        TrialRecord.from_json(line)


def test_a_line_nested_beyond_reading_is_refused() -> None:
    with pytest.raises(ValueError, match="Not a trial record"):
        TrialRecord.from_json("[" * 200_000)


@pytest.mark.parametrize(("judgement", "met"), [(MET, True), (BROKEN, False), (UNDECIDED, False)])
def test_a_promise_not_decided_is_not_kept(judgement: Judgement, met: bool) -> None:
    sla = {"p95_tpot_ms<=40": MET, "p95_ttft_ms<=500": judgement}
    found = record(sla=sla, quadrants={Quadrant.BULK: sla})
    assert (found.meets_sla, found.serves(Quadrant.BULK)) == (met, met)


def test_a_promise_without_bounds_is_kept_by_all_that_could_be_served() -> None:
    served, refused = (record(sla={}, failure=failure) for failure in (None, FAILURE))
    assert (served.meets_sla, refused.meets_sla) == (True, False)


@given(st.sampled_from(Quadrant))
def test_a_failed_config_keeps_no_promise_whatever_was_measured(quadrant: Quadrant) -> None:
    failed = record(failure=FAILURE, quadrants={quadrant: {"p95_ttft_ms<=500": MET}})
    assert (failed.meets_sla, failed.serves(quadrant)) == (False, False)


def test_a_config_ruled_out_before_a_launch_was_not_answered() -> None:
    assert [record(launch_id=launch).answered for launch in (None, 0, 5)] == [False, True, True]


@pytest.mark.parametrize(
    ("changes", "complete"),
    [
        ({}, True),
        ({"launch_id": None}, False),
        ({"failure": FAILURE}, False),
        ({"stopped_early": True, "why_stopped": "less capacity"}, False),
    ],
    ids=["measured", "ruled out", "failed", "stopped"],
)
def test_a_record_is_complete_when_all_of_it_was_measured(
    changes: dict[str, Any], complete: bool
) -> None:
    assert record(**changes).complete is complete


def test_a_record_of_a_study_made_before_trials_could_be_stopped_is_still_read() -> None:
    new = ("why_stopped", "launch_s", "pair", "arm")
    kept = {k: v for k, v in json.loads(record().to_json()).items() if k not in new}
    assert TrialRecord.from_json(json.dumps(kept)) == record()


def test_a_measured_number_may_lie_between_two_ends() -> None:
    offered = {"p95_ttft_ms": 400.0, "intervals": {"p95_ttft_ms": [380.0, 430.0]}}
    found = TrialRecord.from_json(record(loads={"offered": offered}).to_json())
    assert found.interval("offered", "p95_ttft_ms") == (380.0, 430.0)
    assert found.interval("offered", "p95_tpot_ms") is None
    assert record().interval("offered", "p95_ttft_ms") is None
    assert record().interval("capacity", "capacity") is None


def test_a_metric_that_was_not_measured_is_none() -> None:
    assert record().metric("offered", "p95_ttft_ms") == 400.0
    assert record().metric("offered", "p95_tpot_ms") is None
    assert record().metric("capacity", "capacity") is None


def test_a_measurement_is_held_against_every_bound_in_the_order_of_their_names() -> None:
    answer = RequestResult(0.0, 100, 11, ttft_ms=400.0, e2el_ms=500.0)
    measurement = Measurement(results=(answer,) * 4, duration_s=2.0, gpus=1)
    found = judge_all(parse_sla("p95_ttft_ms<=200,mean_e2el_ms<=1000"), measurement)
    assert list(found.items()) == [
        ("mean_e2el_ms<=1000", Judgement(1000.0, 500.0, None, Verdict.MET, -1.0)),
        ("p95_ttft_ms<=200", Judgement(200.0, 400.0, 0.0, Verdict.BROKEN, 1.0)),
    ]
