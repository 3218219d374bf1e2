import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.simulated.config_json import read_model
from search_spaces.deployment import Model

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
MIXTRAL = {**LLAMA, "model_type": "mixtral", "num_local_experts": 8}
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def written(folder: Path, config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_a_folder_is_read_as_the_engine_would_read_it(tmp_path: Path) -> None:
    assert read_model(written(tmp_path, LLAMA), "mine") == Model(
        name="mine",
        num_hidden_layers=32,
        hidden_size=4096,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=14336,
        vocab_size=128256,
        max_position_embeddings=131072,
    )


def test_heads_left_out_are_derived(tmp_path: Path) -> None:
    config = {**LLAMA, "num_key_value_heads": None, "head_dim": None}
    read = read_model(written(tmp_path, config), "mine")
    assert (read.num_key_value_heads, read.head_dim) == (32, 128)


@pytest.mark.parametrize(
    ("quantisation", "weight_dtype"),
    [
        ({"quant_method": "fp8", "activation_scheme": "dynamic"}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
        ({"quant_algo": "W4A16_AWQ"}, "int4"),
        ({"config_groups": {"group_0": {"weights": {"type": "float", "num_bits": 8}}}}, "fp8"),
        ({"config_groups": {"group_0": {"weights": {"type": "int", "num_bits": 4}}}}, "int4"),
    ],
)
def test_quantised_weights_are_recognised(
    quantisation: Mapping[str, object], weight_dtype: str, tmp_path: Path
) -> None:
    config = {**LLAMA, "quantization_config": quantisation}
    assert read_model(written(tmp_path, config), "mine").weight_dtype == weight_dtype


def test_quantisation_written_beside_the_config_counts(tmp_path: Path) -> None:
    beside = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(beside), encoding="utf-8")
    assert read_model(written(tmp_path, LLAMA), "mine").weight_dtype == "fp8"


@pytest.mark.parametrize(
    ("config", "refusal"),
    [
        ({k: v for k, v in LLAMA.items() if k != "hidden_size"}, "`hidden_size` is missing"),
        ({**LLAMA, "vocab_size": 0}, "`vocab_size >= 1` must hold, but it is 0"),
        ({**LLAMA, "vocab_size": True}, "`vocab_size >= 1` must hold, but it is True"),
        ({**LLAMA, "model_type": "mamba"}, "`model_type` must be llama, .*but is 'mamba'"),
        ({**LLAMA, "quantization_config": {"quant_algo": "NVFP4"}}, "must be fp8, int8 or int4"),
        (MIXTRAL, "mixture-of-experts models are not modelled yet"),
        ({**LLAMA, "num_experts": 128}, "mixture-of-experts models are not modelled yet"),
        ([LLAMA], "must be a JSON object, but is a list"),
    ],
)
def test_a_config_of_no_use_is_refused_with_its_file_and_reason(
    config: object, refusal: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"config.json: .*{refusal}"):
        read_model(written(tmp_path, config), "mine")


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a model's folder needs a `config\.json`\.$"):
        read_model(tmp_path, "mine")


@given(st.binary())
def test_whatever_a_config_holds_it_is_read_or_refused(content: bytes) -> None:
    assert one_line(read_or_refused(content))


@given(st.dictionaries(st.sampled_from([*LLAMA, "head_dim", "quantization_config"]), JUNK))
def test_whatever_a_field_holds_it_is_read_or_refused(junk: Mapping[str, object]) -> None:
    assert one_line(read_or_refused(json.dumps({**LLAMA, **junk}).encode()))


def read_or_refused(content: bytes) -> Model | ValueError:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_bytes(content)
        try:
            return read_model(Path(folder), "mine")
        except ValueError as refusal:
            return refusal


def one_line(answer: Model | ValueError) -> bool:
    return isinstance(answer, Model) or len(str(answer).splitlines()) == 1
