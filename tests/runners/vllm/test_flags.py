import json
from pathlib import Path

import pytest

from runners.simulated.catalogue import gpu, model
from runners.vllm.command import resolve
from runners.vllm.flags import (
    Flag,
    bundled_flags,
    installed_flags,
    parse_help,
    snapshot,
    to_arguments,
    unknown,
)
from search_spaces import Deployment, Value
from search_spaces.vllm_knobs import vllm_knobs
from search_spaces.vllm_speculation import speculation

KNOBS = vllm_knobs(
    Deployment(model=model("llama-3.1-8b"), gpu=gpu("h100_sxm"), gpus=1, max_model_len=4096)
)
HELP = """usage: vllm serve [model_tag] [options]

positional arguments:
  model_tag             The model tag to serve
                        (default: None)

options:
  --headless            Run in headless mode.
                        - INFO: with a list. (default:
                        False)
  -h, --help            show this help message and exit

KVCache:
  Configuration for the KV cache.

  --api-key API_KEY [API_KEY ...]
                        Keys. (default: None)
  --enable-prefix-caching, --no-enable-prefix-caching
                        Whether to cache. (default: None)
  --gpu-memory-utilization FRACTION, --device-memory-utilization FRACTION
                        The fraction. (default: 0.92)
  --kv-cache-dtype {auto,fp8}
                        Data type. (default: auto)
  --tool-call-parser {a,b} or name registered in --tool-parser-plugin
                        Which. (default: None)
  --tensor-parallel-size N, -tp N
                        Number of groups. (default: 1)
  --seed SEED           Short. (default: 0)
"""


def test_flags_are_read_from_the_help() -> None:
    memory = Flag("gpu_memory_utilization", "value", default="0.92")
    assert parse_help(HELP) == {
        "headless": Flag("headless", "switch", default="False"),
        "api_key": Flag("api_key", "list", default="None"),
        "enable_prefix_caching": Flag(
            "enable_prefix_caching", "switch", negatable=True, default="None"
        ),
        "gpu_memory_utilization": memory,
        "device_memory_utilization": memory,
        "kv_cache_dtype": Flag("kv_cache_dtype", "value", choices=("auto", "fp8"), default="auto"),
        "tool_call_parser": Flag("tool_call_parser", "value", choices=("a", "b"), default="None"),
        "tensor_parallel_size": Flag("tensor_parallel_size", "value", default="1"),
        "seed": Flag("seed", "value", default="0"),
    }


@pytest.mark.parametrize("text", ["", "usage: other\n", "Killed", "  --\n  -\n"])
def test_what_is_no_help_has_no_flags(text: str) -> None:
    assert parse_help(text) == {}


def test_the_bundled_flags_are_those_of_vllm_0_32() -> None:
    flags = bundled_flags()
    assert len(flags) == 317
    assert flags["max_num_seqs"] == Flag("max_num_seqs", "value", default="None")
    assert flags["scheduling_policy"].choices == ("fcfs", "priority")
    assert flags["device_memory_utilization"] is flags["gpu_memory_utilization"]


def test_the_bundled_file_is_what_a_snapshot_writes() -> None:
    flags = bundled_flags()
    kept = json.loads(snapshot(flags))
    assert kept["aliases"] == {"device_memory_utilization": "gpu_memory_utilization"}
    assert len(kept["flags"]) == 316


def test_every_knob_of_vllms_is_a_flag_and_none_of_ours() -> None:
    flags = bundled_flags()
    engines = [knob.name for knob in KNOBS if knob.owner == "engine"]
    assert unknown(engines, flags) is None
    assert [knob.name for knob in KNOBS if knob.owner == "ours" and knob.name in flags] == []


def test_the_default_of_every_knob_can_be_written_as_arguments() -> None:
    config = {knob.name: knob.default for knob in KNOBS if knob.owner == "engine"}
    assert to_arguments(config, bundled_flags()) == [
        "--max-num-seqs=1024",
        "--max-num-batched-tokens=8192",
        "--long-prefill-token-threshold=0",
        "--tensor-parallel-size=1",
        "--gpu-memory-utilization=0.92",
        "--enable-chunked-prefill",
        "--enable-prefix-caching",
        "--scheduling-policy=fcfs",
    ]


def test_unknown_settings_are_named_with_the_nearest() -> None:
    assert unknown(["max_num_seq", "zzz", "seed"], bundled_flags()) == (
        "The installed vLLM has no setting `max_num_seq` (`max_num_seqs`?), `zzz`: "
        "see `vllm serve --help=all`."
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_num_seqs", 64, ["--max-num-seqs=64"]),
        ("device_memory_utilization", 0.5, ["--device-memory-utilization=0.5"]),
        ("enable_prefix_caching", True, ["--enable-prefix-caching"]),
        ("enable_prefix_caching", False, ["--no-enable-prefix-caching"]),
        ("headless", True, ["--headless"]),
        ("headless", False, []),
        ("kv_cache_dtype", "auto", []),
        ("kv_cache_dtype", "fp8", ["--kv-cache-dtype=fp8"]),
        ("quantization", "none", []),
        ("model", "--api-key", ["--model=--api-key"]),
        ("speculative_config", "none", []),
        (
            "speculative_config",
            "ngram",
            [
                '--speculative-config={"method":"ngram","num_speculative_tokens":4,'
                '"prompt_lookup_max":4}'
            ],
        ),
        (
            "speculative_config",
            "draft:/models/a b",
            [
                '--speculative-config={"method":"draft_model","model":"/models/a b",'
                '"num_speculative_tokens":4}'
            ],
        ),
    ],
)
def test_settings_become_arguments(name: str, value: Value, words: list[str]) -> None:
    assert to_arguments({name: value}, bundled_flags()) == words


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("no_such_flag", 1, "The installed vLLM has no setting `no_such_flag`"),
        ("enforce_eager", "yes", "`enforce_eager` must be true or false, but got 'yes'."),
        ("max_num_seqs", True, "`max_num_seqs` must have a value of its own, but got True."),
        ("stuck", False, "`stuck` can only be switched on in this vLLM, but got False."),
    ],
)
def test_settings_that_cannot_be_written_are_refused(
    name: str, value: Value, complaint: str
) -> None:
    flags = {**bundled_flags(), "stuck": Flag("stuck", "switch", default="True")}
    with pytest.raises(ValueError, match=complaint):
        to_arguments({name: value}, flags)


@pytest.mark.parametrize("value", ["", "eagle", "draft:", "draft"])
def test_other_ways_to_speculate_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be none, ngram or draft:DIR, but got"):
        speculation(value)


def test_a_command_without_help_is_refused(tmp_path: Path) -> None:
    mute = tmp_path / "vllm"
    mute.write_text("#!/bin/sh\necho nothing\n")
    mute.chmod(0o755)
    with pytest.raises(ValueError, match="serve --help=all` must list flags, but lists none"):
        installed_flags((str(mute), "serve"), {})


def test_the_installed_vllm_has_the_bundled_flags(vllm_command: str) -> None:
    assert installed_flags(resolve(vllm_command)).keys() == bundled_flags().keys()
