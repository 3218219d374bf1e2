import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_spaces import SearchSpace
from search_spaces.vllm_speculation import speculation
from tuner.errors import BadInput
from tuner.options import Options
from tuner.spec import resolve, space_of
from tuner.start_from import read_settings

SPACE: SearchSpace = space_of(resolve(Options(objective="api", requests=60))[0])


def refusal(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_settings(file, SPACE)
    return str(caught.value).replace(f"{file.parent}/", "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def test_a_vllm_config_file_gives_the_knobs_it_sets(file: Path) -> None:
    file.write_text(
        "# what we run today\n"
        "model: meta-llama/Llama-3.1-8B-Instruct\n"
        "port: 8000\n"
        "max-num-seqs: 128\n"
        "max_num_batched_tokens: 4096\n"
        "gpu-memory-utilization: 0.9\n"
        "no-enable-prefix-caching: true\n"
        "enable-chunked-prefill: true\n"
        "compilation-config: {level: 3}\n"
    )
    assert read_settings(file, SPACE) == {
        "max_num_seqs": 128,
        "max_num_batched_tokens": 4096,
        "gpu_memory_utilization": 0.9,
        "enable_prefix_caching": False,
        "enable_chunked_prefill": True,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config.yaml: must hold lines such as `max-num-seqs: 64`."),
        ("- 1\n", "config.yaml: must hold lines such as `max-num-seqs: 64`."),
        (
            "a: [\n",
            "config.yaml:2: not valid YAML: expected the node content, but found "
            "'<stream end>'; correct it.",
        ),
        (
            "port: 1\nmax-num-seqs: many\n",
            "config.yaml:2: `max_num_seqs` must be a number, but got many.",
        ),
        (
            "max-num-seqs: 0\n",
            "config.yaml:1: `1 <= max_num_seqs <= 4096` must hold, but got 0.",
        ),
        (
            "gpu-memory-utilization: .nan\n",
            "config.yaml:1: `gpu_memory_utilization` must be a number, but got nan.",
        ),
        ("max-num-seqs: [8]\n", "config.yaml:1: `max_num_seqs` must be one value, but is a list."),
        (
            "max-num-seqs: 8\nmax-num-seqs: 9\n",
            "config.yaml:2: `max-num-seqs` stands twice; drop one.",
        ),
        (
            "max-num-seqs: 8\nmax_num_seqs: 9\n",
            "config.yaml:2: `max_num_seqs` stands twice; drop one.",
        ),
        (
            "port: 8000\n",
            "config.yaml: sets no knob that is known here (max-num-seqs, max-num-batched-tokens, "
            "long-prefill-token-threshold, batch-wait-timeout-ms, batch-wait-min-requests, "
            "batch-policy, tensor-parallel-size, gpu-memory-utilization, enable-chunked-prefill, "
            "enable-prefix-caching, scheduling-policy, speculative-config, kv-cache-dtype, "
            "quantization).",
        ),
    ],
)
def test_a_file_that_is_no_config_is_refused_with_its_line(
    file: Path, text: str, message: str
) -> None:
    assert refusal(file, text) == message


@pytest.mark.parametrize("word", ["ngram", "draft:meta-llama/Llama-3.2-1B-Instruct"])
def test_speculation_is_read_as_it_is_exported(tmp_path: Path, word: str) -> None:
    file = tmp_path / "mine.yaml"
    settings = json.dumps(speculation(word))
    file.write_text(f"speculative-config: {settings}\n")
    assert read_settings(file, SPACE) == {"speculative_config": word}


def test_speculation_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("speculative-config: {method: eagle, num_speculative_tokens: 3}\n")
    with pytest.raises(BadInput) as refused:
        read_settings(file, SPACE)
    assert str(refused.value) == (
        f"{file}:1: `speculative_config` must be one value, but is a dict."
    )


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r": No such file or directory; check the path\.$"):
        read_settings(tmp_path / "nothere.yaml", SPACE)


@given(st.text(max_size=60) | st.text("-:{}[]&*!|'\"#%@ \nno max_sqe1.", max_size=50))
@example("max-num-seqs: " + "9" * 400)
@example("no-max-num-seqs: true")
@example("kv-cache-dtype: null")
def test_any_text_gives_settings_or_is_refused_in_one_line(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "junk.yaml"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            answer = str(dict(read_settings(file, SPACE)))
        except BadInput as error:
            answer = str(error)
    assert len(answer.splitlines()) == 1
