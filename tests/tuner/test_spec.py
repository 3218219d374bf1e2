from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from objectives import Bound
from runners.simulated import catalogue
from search_spaces import Choice, Config, Float, Int
from search_spaces.vllm import default_config
from tuner.errors import BadInput
from tuner.options import Options
from tuner.spec import (
    StudySpec,
    deployment_of,
    differences,
    from_json,
    problem_of,
    resolve,
    space_of,
    to_json,
)
from tuner.target import Target

SMALL: dict[str, Any] = {"objective": "api", "requests": 60}


def spec_of(**options: Any) -> StudySpec:
    return resolve(Options(**{**SMALL, **options}))[0]


def answer_to(**options: Any) -> StudySpec | str:
    """The study as resolved, or why it is not."""
    try:
        return spec_of(**options)
    except BadInput as error:
        return str(error)


def first_of(**options: Any) -> tuple[tuple[str, Config], ...]:
    spec, flows = resolve(Options(**{**SMALL, **options}))
    return problem_of(spec, tuple(flow.workload for flow in flows)).first


def test_a_study_is_resolved_to_all_that_decides_its_outcome() -> None:
    spec = spec_of(objective="chat", input_tokens=300, output_tokens=100)
    assert replace(spec, profiles=()) == StudySpec(
        objective="chat",
        profiles=(),
        target=Target(
            engine="simulated",
            model="meta-llama/Llama-3.1-8B-Instruct",
            shape=catalogue.model("llama-3.1-8b"),
            gpu=catalogue.gpu("h100_sxm"),
            gpus=4,
            longest_tokens=131072,
            calibrations={},
        ),
        max_model_len=512,
        settings={},
        ranges={},
        start_from=None,
        capacity=True,
        documents=None,
        hourly_cost_usd=None,
        trials=40,
        budget_s=None,
        seed=0,
        pairs=5,
        requests=60,
        allow_lossy=False,
        allow_scheduler_class=False,
        sized_to_default=("chat",),
    )


def test_what_was_asked_for_is_kept() -> None:
    spec = spec_of(
        gpu="a100",
        gpus=8,
        load="offered",
        hourly_cost=2.5,
        budget="90m",
        seed=7,
        set=["max-num-seqs=64", "max_model_len=4096"],
        range=["gpu_memory_utilization=0.8:0.9"],
        allow_scheduler_class=True,
    )
    assert (spec.target.hardware, spec.target.gpus, spec.max_model_len) == ("a100_sxm", 8, 4096)
    assert (spec.capacity, spec.hourly_cost_usd, spec.seed) == (False, 2.5, 7)
    assert (spec.trials, spec.budget_s) == (None, 5400.0)
    assert spec.settings == {"max_num_seqs": 64}
    assert spec.ranges == {"gpu_memory_utilization": "0.8:0.9"}
    assert spec.allow_scheduler_class


def test_a_spec_survives_being_kept_as_json() -> None:
    spec = spec_of(set=["max_num_seqs=64"], range=["max_num_batched_tokens=512:2048"], trials=3)
    assert from_json(to_json(spec)) == spec


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"objective": "chat"}'])
def test_what_another_version_kept_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadInput, match=r"^The study was made by another version \("):
        from_json(text)


def test_two_studies_differ_in_the_options_that_say_so() -> None:
    length = "max_model_len=8192"
    mine = spec_of(set=[length])
    theirs = spec_of(seed=1, gpus=2, set=[length, "max_num_seqs=8"])
    assert differences(mine, mine) == []
    assert differences(mine, theirs) == ["settings", "seed", "gpus"]


def test_the_promise_of_the_command_line_replaces_the_presets_own() -> None:
    [profile] = spec_of(sla="p99_e2el_ms<=9000", requests=300).profiles
    assert profile.sla == (Bound("p99_e2el_ms", "<=", 9000.0, "--sla"),)


def test_a_deadline_is_a_promise_about_the_whole_batch() -> None:
    spec = spec_of(objective="offline", deadline="8h", documents=5000)
    assert spec.profiles[0].sla == (Bound("makespan_s", "<=", 28800.0, "--deadline"),)
    assert spec.documents == 5000


def test_all_is_the_four_representatives_each_on_its_own_traffic() -> None:
    spec, flows = resolve(Options(objective="all", requests=60))
    names = ("rag", "chat", "reasoning", "summarize")
    assert spec.objective == "all"
    assert tuple(profile.name for profile in spec.profiles) == names
    assert tuple(flow.workload.name for flow in flows) == names
    assert spec.sized_to_default == names


def test_the_longest_request_decides_the_length_served_unless_it_is_given() -> None:
    assert spec_of(input_tokens=1000, output_tokens=30).max_model_len == 1280
    assert spec_of(objective="chat", set=["max_model_len=3000"]).max_model_len == 3000


def test_the_command_line_wins_over_the_study_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "extends: api\nset: {max-num-seqs: 8, batch_policy: static}\n"
        "range: {max_num_batched_tokens: '512:1024'}\n"
    )
    spec = spec_of(
        objective=str(file), range=["max_num_seqs=4:16"], set=["max_num_batched_tokens=512"]
    )
    assert spec.settings == {"batch_policy": "static", "max_num_batched_tokens": 512}
    assert spec.ranges == {"max_num_seqs": "4:16"}


def test_a_study_file_that_sets_and_frees_one_knob_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: api\nset: {max-num-seqs: 8}\nrange: {max_num_seqs: '4:8'}\n")
    assert answer_to(objective=str(file)) == (
        f"{file}: `max_num_seqs` is both set and given a range; drop one."
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "set: {max_num_seq: 8}",
            "Unknown vllm knob 'max_num_seq'; nearest: max_num_seqs, max_num_batched_tokens.",
        ),
        ("set: {max-num-seqs: 0}", "`1 <= max_num_seqs <= 4096` must hold, but got 0."),
        ("set: {max_num_seqs: '8'}", "`max_num_seqs` must be a number, but got 8."),
        (
            "range: {max_num_seqs: 9:8}",
            "`low <= high` must hold of the range of `max_num_seqs`, but got 9:8.",
        ),
    ],
)
def test_a_study_file_is_told_which_line_says_the_impossible(
    said: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"extends: api\n{said}\n")
    assert answer_to(objective=str(file)) == f"{file}:2: {message}"


def test_settings_and_ranges_narrow_and_widen_the_space() -> None:
    space = space_of(
        spec_of(
            set=["max_num_seqs=64"],
            range=[
                "gpu_memory_utilization=0.85:0.9",
                "batch_policy=continuous,static",
                "max_num_batched_tokens=300:1000",
                "tensor_parallel_size=2:4",
            ],
        )
    )
    assert space.fixed["max_num_seqs"] == 64
    assert space.searched["gpu_memory_utilization"] == Float(low=0.85, high=0.9, step=0.01)
    assert space.searched["batch_policy"] == Choice(("continuous", "static"))
    assert space.searched["max_num_batched_tokens"] == Int(low=512, high=768, step=256)
    assert space.searched["tensor_parallel_size"] == Choice((2, 4))


def test_a_lossy_knob_is_freed_when_that_is_allowed() -> None:
    space = space_of(spec_of(range=["kv_cache_dtype=auto,fp8"], allow_lossy=True))
    assert space.searched["kv_cache_dtype"] == Choice(("auto", "fp8"))


def test_the_default_is_tried_first_then_the_presets() -> None:
    tried = first_of()
    space = space_of(spec_of())
    assert [origin for origin, _ in tried] == ["default", "preset", "preset"]
    assert tried[0][1] == default_config(space)
    assert [space.departures(config) for _, config in tried] == [
        (),
        ("max_num_batched_tokens", "tensor_parallel_size"),
        ("max_num_batched_tokens",),
    ]


def test_the_users_own_config_is_tried_before_the_presets(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("max-num-seqs: 48\ntensor-parallel-size: 2\nmodel: whatever\n")
    tried = first_of(start_from=file)
    assert [origin for origin, _ in tried] == ["default", "transfer", "preset", "preset"]
    assert (tried[1][1]["max_num_seqs"], tried[1][1]["tensor_parallel_size"]) == (48, 2)
    assert spec_of(start_from=file).start_from == {"max_num_seqs": 48, "tensor_parallel_size": 2}


def test_no_config_is_tried_first_twice_or_against_a_rule(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("max-num-seqs: 1024\nmax-num-batched-tokens: 256\n")
    assert [origin for origin, _ in first_of(start_from=file)] == ["default", "preset", "preset"]
    assert len(first_of(gpus=1, set=["max_num_batched_tokens=2048"])) == 1


def test_a_model_may_be_given_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, '
        '"num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 100, '
        '"max_position_embeddings": 2048}'
    )
    spec = spec_of(model=str(tmp_path), set=["max_model_len=2048"], requests=80)
    assert deployment_of(spec).model.num_hidden_layers == 2
    assert deployment_of(spec).max_model_len == 2048


KNOBS = st.sampled_from(
    [
        *("max_num_seqs", "max-num-batched-tokens", "tensor_parallel_size", "batch_policy"),
        *("gpu_memory_utilization", "kv_cache_dtype", "max_model_len", "enable_prefix_caching"),
        "unknown",
    ]
)
NUMBERS = st.integers().map(str) | st.floats().map(str)
WORDS = st.text(max_size=6) | NUMBERS | st.sampled_from(["true", "static", "fp8", "none"])
SAID = st.text(max_size=30) | st.builds("{}={}".format, KNOBS, WORDS)
FREED = SAID | st.builds("{}={}:{}".format, KNOBS, WORDS, WORDS)
METRICS = st.sampled_from(["p95_ttft_ms", "mean_tpot_ms", "output_throughput", "makespan_s", "x"])
BOUNDS = st.builds("{}{}{}".format, METRICS, st.sampled_from(["<=", ">=", "<"]), WORDS)


def is_study_or_one_line(answer: StudySpec | str) -> bool:
    return isinstance(answer, StudySpec) or len(answer.splitlines()) == 1


@given(st.text(max_size=40) | st.lists(BOUNDS, max_size=3).map(",".join))
@settings(max_examples=200)
@example("p95_ttft_ms<=1e308,p5_ttft_ms<=1e-308")
@example("p00_ttft_ms<=5")
def test_any_sla_is_a_study_or_refused_in_one_line(sla: str) -> None:
    assert is_study_or_one_line(answer_to(sla=sla))


@given(st.lists(SAID, max_size=3), st.lists(FREED, max_size=3), st.booleans())
@settings(max_examples=300)
@example(["max_num_seqs=" + "9" * 5000], [], False)
@example([], ["max_num_seqs=1:" + "9" * 5000], False)
@example(["max_num_seqs=٣"], [], False)
@example([], ["max_num_batched_tokens=1:131072", "max_num_seqs=1:4096"], False)
def test_any_knobs_are_a_study_or_refused_in_one_line(
    said: list[str], freed: list[str], lossy: bool
) -> None:
    assert is_study_or_one_line(answer_to(set=said, range=freed, allow_lossy=lossy))


@given(st.text(max_size=12) | st.builds("{}{}".format, NUMBERS, st.sampled_from("smhd")))
@example("9" * 400 + "d")
def test_any_duration_is_a_study_or_refused_in_one_line(budget: str) -> None:
    assert is_study_or_one_line(answer_to(budget=budget))


@given(st.text(max_size=12))
def test_any_name_is_a_study_or_refused_in_one_line(name: str) -> None:
    answers = [
        answer_to(model=name),
        answer_to(gpu=name),
        answer_to(study=name),
        answer_to(objective=name),
    ]
    assert [answer for answer in answers if not is_study_or_one_line(answer)] == []


def test_every_option_that_decides_the_outcome_has_its_place_in_the_spec() -> None:
    elsewhere = {"workload", "input_tokens", "output_tokens", "length_spread", "scale_tokens"}
    elsewhere |= {"prefix_share", "request_rate", "concurrency"}  # the workload kept beside it
    elsewhere |= {"study", "output", "storage", "mlflow", "json", "quiet", "jobs"}
    renamed = {"sla": "profiles", "deadline": "profiles", "load": "capacity", "set": "settings"}
    renamed |= {"range": "ranges", "hourly_cost": "hourly_cost_usd", "budget": "budget_s"}
    renamed |= {"engine_command": "command", "ready_timeout": "ready_timeout_s"}
    renamed |= {"calibration": "calibrations"}
    kept = {renamed.get(o.name, o.name) for o in fields(Options) if o.name not in elsewhere}
    assert kept <= {field.name for kind in (StudySpec, Target) for field in fields(kind)}


def test_the_longest_request_of_any_draw_must_fit() -> None:
    longer = 0
    for seed in range(4):
        spec, (flow,) = resolve(Options(objective="rag", requests=60, seed=seed))
        longest = max(w.longest_tokens for w in (flow.workload, *flow.redrawn))
        assert spec.max_model_len == -(-longest // 256) * 256
        longer += longest > flow.workload.longest_tokens
    assert longer > 0
