"""What silently goes wrong in one product or another, one test each."""

import shlex
import subprocess

import pytest
import yaml

from objectives import Quadrant
from results.export import TARGETS
from results.export.parsers import systemd
from results.export.target import CannotExpress
from results.export.vllm import file_complaints
from results.export.words import settings_of, settings_of_file, words
from tests.results.export.cases import CONFIGS, DEFAULT, serving

TURNED = serving(CONFIGS[Quadrant.INTERACTIVE])
UNCACHED = serving({**DEFAULT, "enable_prefix_caching": False})


def files(target: str, served: object = TURNED) -> list[str]:
    return list(TARGETS[target].render(served).files.values())  # type: ignore[arg-type]


def test_prefix_caching_that_is_off_is_off_in_vllms_file() -> None:
    (text,) = files("vllm", UNCACHED)
    assert yaml.safe_load(text)["no-enable-prefix-caching"] is True
    assert settings_of_file(text)["enable_prefix_caching"] is False


def test_a_false_that_vllm_would_drop_is_refused() -> None:
    assert settings_of_file("enable-prefix-caching: false\n") == {}
    assert file_complaints("enable-prefix-caching: false\n") == [
        "`enable-prefix-caching: false` is dropped by vLLM"
    ]


def test_speculation_survives_the_shell_that_kserve_puts_its_arguments_through() -> None:
    llm = yaml.safe_load(files("kserve")[0])
    (variable,) = llm["spec"]["template"]["containers"][0]["env"]
    echoed = subprocess.run(
        ["bash", "-c", 'eval "exec printf %s\\\\\\n $ARGS"'],
        env={"ARGS": variable["value"], "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    assert settings_of(echoed[:-1])["speculative_config"] == {
        "method": "ngram",
        "num_speculative_tokens": 4,
        "prompt_lookup_max": 4,
    }


def test_json_would_not_survive_it() -> None:
    assert shlex.split('{"method": "ngram"}') == ["{method:", "ngram}"]


@pytest.mark.parametrize("target", ["env", "kserve"])
def test_what_a_shell_would_split_is_refused_with_the_knob(target: str) -> None:
    split = serving({**DEFAULT, "speculative_config": "draft:/models/my draft"})
    with pytest.raises(CannotExpress, match="`speculative_config` cannot be said there"):
        TARGETS[target].render(split)


def test_vllms_file_has_dashes_where_its_settings_have_underscores() -> None:
    (text,) = files("vllm")
    assert [key for key in yaml.safe_load(text) if "_" in key] == []
    assert [name for name in settings_of_file(text) if "-" in name] == []


def test_kubernetes_gets_every_argument_and_every_count_of_gpus_as_text() -> None:
    (text,) = files("kubernetes")
    deployment = list(yaml.safe_load_all(text))[1]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    kinds = {type(word) for word in container["args"]}
    assert (kinds, container["resources"]) == ({str}, {"limits": {"nvidia.com/gpu": "4"}})


@pytest.mark.parametrize("target", ["compose", "kubernetes"])
def test_the_config_file_is_named_in_a_word_of_its_own(target: str) -> None:
    # vLLM 0.32 looks for the word `--config`; `--config=FILE` is overlooked.
    assert any("- --config\n" in text for text in files(target))
    assert not any("--config=" in text for text in files(target))


def test_a_unit_comes_back_when_vllm_ends_with_status_0() -> None:
    # It does when its engine core dies, and on-failure would leave it down.
    assert "\nRestart=always\n" in files("systemd")[0]


def test_systemd_is_judged_by_what_it_says_not_by_its_status() -> None:
    if not systemd.installed():
        pytest.skip("no systemd-analyze here")
    wrong = files("systemd")[0].replace("RestartSec", "RestartSecs")
    assert any("RestartSecs" in said for said in systemd.verify(wrong))
    assert systemd.verify(files("systemd")[0]) == []


def test_a_folder_of_one_machine_is_no_model_of_a_cluster() -> None:
    local = serving(DEFAULT)
    local = serving(DEFAULT, settings={**local.settings, "model": "/models/llama"})
    with pytest.raises(CannotExpress, match="`model` cannot be said there"):
        TARGETS["kserve"].render(local)
    (text,) = files("kubernetes", local)
    assert "hostPath" in text


def test_tensor_parallelism_is_said_once_to_an_llminferenceservice() -> None:
    llm = yaml.safe_load(files("kserve")[0])
    assert llm["spec"]["parallelism"] == {"tensor": 4}
    assert "tensor-parallel-size" not in str(llm["spec"]["template"])


def test_a_nested_value_is_one_dotted_word_per_key() -> None:
    assert words({"model": "m", "speculative_config": {"method": "ngram", "n": 4}}) == [
        *("m", "--speculative-config.method=ngram", "--speculative-config.n=4")
    ]


def test_prefix_caching_is_always_said_to_production_stack() -> None:
    # Its chart turns it off where nothing is said, against vLLM's default.
    for served, cached in ((serving(DEFAULT), True), (UNCACHED, False)):
        (spec,) = yaml.safe_load(files("production-stack", served)[0])["servingEngineSpec"][
            "modelSpec"
        ]
        assert spec["vllmConfig"]["enablePrefixCaching"] is cached
        assert "prefix-caching" not in str(spec["vllmConfig"]["extraArgs"])


def test_production_stack_is_told_its_gpus_by_hand() -> None:
    (text,) = files("production-stack")
    wrong = text.replace("requestGPU: 4", "requestGPU: 1")
    assert TARGETS["production-stack"].complaints({"values.yaml": wrong}) == [
        "`requestGPU` must be the tensor-parallel size"
    ]


def test_tensor_parallelism_is_not_repeated_to_llm_d() -> None:
    (text,) = files("llm-d")
    decode = yaml.safe_load(text)["decode"]
    assert decode["parallelism"] == {"tensor": 4}
    assert not any("tensor" in word for word in decode["containers"][0]["args"])
    twice = text.replace("args:\n", "args:\n    - --tensor-parallel-size=4\n")
    assert TARGETS["llm-d"].complaints({"values.yaml": twice}) == [
        "`tensor_parallel_size` is said twice"
    ]


def test_llm_d_is_told_which_way_each_priority_counts() -> None:
    notes = TARGETS["llm-d"].render(TURNED).notes
    assert any("vLLM serves LOWER numbers first" in note and "HIGHER" in note for note in notes)
    assert not any("priorities" in note for note in TARGETS["llm-d"].render(UNCACHED).notes)


def test_ray_lets_no_more_requests_in_than_it_can_scale_by() -> None:
    # Ray Serve LLM's own defaults are 1e9.
    (app,) = yaml.safe_load(files("ray-serve")[0])["applications"]
    deployment = app["args"]["llm_configs"][0]["deployment_config"]
    assert deployment == {
        "max_ongoing_requests": 128,
        "autoscaling_config": {
            "min_replicas": 1,
            "max_replicas": 1,
            "target_ongoing_requests": 48,
        },
    }


def test_ray_gets_underscores_and_false_and_no_tokens_held_back() -> None:
    (app,) = yaml.safe_load(files("ray-serve")[0])["applications"]
    llm = app["args"]["llm_configs"][0]
    assert [name for name in llm["engine_kwargs"] if "-" in name] == []
    assert llm["engine_kwargs"]["enable_prefix_caching"] is False
    assert llm["experimental_configs"] == {"stream_batching_interval_ms": 0}
