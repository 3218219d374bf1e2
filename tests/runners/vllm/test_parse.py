"""vLLM's own parser asked what it makes of arguments; each asking takes as long as its imports."""

from pathlib import Path

import pytest

from runners.vllm.command import resolve
from runners.vllm.parse import Refused, parsed

NAMES = ["model", "max_num_seqs", "enable_prefix_caching", "speculative_config"]


def test_a_command_that_is_no_python_script_cannot_be_asked(tmp_path: Path) -> None:
    wrapper = tmp_path / "vllm"
    wrapper.write_text("#!/bin/sh\nexec docker run vllm\n")
    with pytest.raises(LookupError, match="is no Python script"):
        parsed([str(wrapper), "serve"], ["serve"], NAMES)


def test_a_file_is_understood_as_it_was_meant(
    vllm_command: str, tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"model: {tiny_model}\nload-format: dummy\nmax-model-len: 512\nmax-num-seqs: 8\n"
        "no-enable-prefix-caching: true\n"
    )
    found = parsed(
        resolve(vllm_command), ["serve", "--config", str(path)], NAMES, model=str(tiny_model)
    )
    assert found.settings == {
        "model": str(tiny_model),
        "max_num_seqs": 8,
        "enable_prefix_caching": False,
        "speculative_config": None,
    }
    assert found.version.startswith("0.32")


def test_settings_that_do_not_fit_together_are_refused_in_vllms_words(
    vllm_command: str, tiny_model: Path
) -> None:
    few = ["--max-num-seqs=64", "--max-num-batched-tokens=32", "--load-format=dummy"]
    with pytest.raises(Refused, match=r"max_num_batched_tokens \(32\) must be greater"):
        parsed(
            resolve(vllm_command), ["serve", str(tiny_model), *few], NAMES, model=str(tiny_model)
        )


def test_a_false_is_dropped_by_vllm_and_an_unknown_flag_refused(
    vllm_command: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("model: some/model\nenable-prefix-caching: false\n")
    found = parsed(resolve(vllm_command), ["serve", "--config", str(path)], NAMES)
    assert found.settings["enable_prefix_caching"] is not False
    with pytest.raises(Refused, match="unrecognized arguments"):
        parsed(resolve(vllm_command), ["serve", "some/model", "--no-such-flag=1"], NAMES)
