from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from results.export.vllm import config_file
from runners.simulated.catalogue import gpu, model
from search_spaces import Choice, Config, Deployment, Domain, Value
from search_spaces.vllm import vllm_space

GOLDEN = Path(__file__).parents[1] / "golden"
MODEL = model("meta-llama/Llama-3.1-8B-Instruct")
SPACE = vllm_space(Deployment(model=MODEL, gpu=gpu("h100_sxm"), gpus=4, max_model_len=8192))
DEFAULT = SPACE.default()
OURS = {knob.name.replace("_", "-") for knob in SPACE.knobs if knob.owner == "ours"}
HEADER = [
    "paretune study chat-monday, trial 12: interactive on chat traffic.",
    "SIMULATED, not measured: uncalibrated: expect within 20-30 %",
]
EVERY_KNOB_TURNED: Config = {
    "max_num_seqs": 64,
    "max_num_batched_tokens": 4096,
    "long_prefill_token_threshold": 2048,
    "batch_wait_timeout_ms": 20,
    "batch_wait_min_requests": 8,
    "batch_policy": "static",
    "tensor_parallel_size": 2,
    "gpu_memory_utilization": 0.87,
    "enable_chunked_prefill": False,
    "enable_prefix_caching": False,
    "scheduling_policy": "priority",
    "speculative_config": "ngram",
    "kv_cache_dtype": "fp8",
    "quantization": "fp8",
    "data_parallel_size": 2,
}


def written(config: Config, *, name: str = MODEL.name, header: list[str] | None = None) -> str:
    lines = HEADER if header is None else header
    return config_file(config, SPACE, model=name, max_model_len=8192, header=lines)


def settings(config: Config, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(written(config, **more))
    return found


def within(domain: Domain) -> st.SearchStrategy[Value]:
    if isinstance(domain, Choice):
        return st.sampled_from(domain.values)
    steps = round((domain.high - domain.low) / domain.step)
    return st.integers(0, steps).map(lambda step: domain.nearest(domain.low + step * domain.step))


configs = st.fixed_dictionaries({knob.name: within(knob.domain) for knob in SPACE.knobs}).map(
    lambda config: {**config, **SPACE.derive(config)}
)


@pytest.mark.parametrize(
    ("golden", "config"),
    [("vllm_default.yaml", DEFAULT), ("vllm_every_knob_turned.yaml", EVERY_KNOB_TURNED)],
)
def test_the_file_is_the_golden_one(golden: str, config: Config) -> None:
    assert written(config) == (GOLDEN / golden).read_text("utf-8")


def test_every_knob_of_the_space_is_in_the_golden_config() -> None:
    assert EVERY_KNOB_TURNED.keys() == DEFAULT.keys()
    assert SPACE.departures(EVERY_KNOB_TURNED) == tuple(knob.name for knob in SPACE.knobs)


def test_a_boolean_that_is_off_is_written_as_its_negative_flag() -> None:
    found = settings({**DEFAULT, "enable_prefix_caching": False})
    assert {key: value for key, value in found.items() if "prefix" in key} == {
        "no-enable-prefix-caching": True
    }


@given(configs)
def test_no_setting_is_false_since_vllm_would_drop_it(config: Config) -> None:
    assert False not in [value for value in settings(config).values() if isinstance(value, bool)]


@given(configs)
def test_our_own_knobs_are_never_written(config: Config) -> None:
    assert settings(config).keys() & {*OURS, *(f"no-{name}" for name in OURS)} == set()


@given(configs)
def test_what_is_left_to_the_engine_is_left_out(config: Config) -> None:
    assert [key for key, value in settings(config).items() if value in ("none", "auto")] == []


@given(configs)
def test_a_file_read_back_holds_every_other_setting(config: Config) -> None:
    expected: dict[str, Any] = {"model": MODEL.name, "max-model-len": 8192, "stream-interval": 1}
    for name, value in config.items():
        flag = name.replace("_", "-")
        if flag in OURS or value in ("none", "auto"):
            continue
        if value is False:
            expected[f"no-{flag}"] = True
        else:
            expected[flag] = value
    expected["gpu-memory-utilization"] = round(float(config["gpu_memory_utilization"]) - 0.02, 4)
    if "speculative-config" in expected:
        expected["speculative-config"] = {
            "method": "ngram",
            "num_speculative_tokens": 4,
            "prompt_lookup_max": 4,
        }
    assert settings(config) == expected


@given(st.lists(st.text()))
def test_no_header_can_break_out_of_its_comments(header: list[str]) -> None:
    text = written(DEFAULT, header=header)
    lines = text.splitlines()
    assert [line.startswith("# ") for line in lines] == [
        index < len(header) for index in range(len(lines))
    ]
    assert yaml.safe_load(text) == settings(DEFAULT)


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n", "\x85", "\u2028", "\u2029", "\x00", "\f"])
def test_a_line_break_in_a_study_name_becomes_a_space(ending: str) -> None:
    text = written(DEFAULT, header=[f"study{ending}model: another"])
    assert text.splitlines()[0] == f"# study{' ' * len(ending)}model: another"


@given(st.text(min_size=1).filter(str.isprintable))
def test_any_model_name_is_read_back_from_one_line(name: str) -> None:
    text = written(DEFAULT, name=name)
    assert len(text.splitlines()) == len(written(DEFAULT).splitlines())
    assert yaml.safe_load(text)["model"] == name


def test_the_header_names_our_settings_that_the_file_leaves_out() -> None:
    text = written({**DEFAULT, "batch_wait_timeout_ms": 20, "batch_policy": "static"})
    assert text.splitlines()[2] == (
        "# Tuned with our scheduler class, whose settings this file leaves out: "
        "batch_wait_timeout_ms 20, batch_policy static."
    )


def test_the_header_names_settings_that_may_change_answers() -> None:
    text = written({**DEFAULT, "kv_cache_dtype": "fp8"})
    assert text.splitlines()[2] == "# May change what the model answers: kv_cache_dtype fp8."
