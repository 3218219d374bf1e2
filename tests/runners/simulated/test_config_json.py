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
MIXTRAL = {
    **LLAMA,
    "model_type": "mixtral",
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}
QWEN3_MOE = {
    **LLAMA,
    "model_type": "qwen3_moe",
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
}
GPT_OSS = {
    **LLAMA,
    "model_type": "gpt_oss",
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 16,
    "quantization_config": {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"],
    },
}
FIELDS = [
    *LLAMA,
    *("head_dim", "quantization_config", "sliding_window", "layer_types", "use_sliding_window"),
    *("num_experts", "num_local_experts", "num_experts_per_tok", "mlp_only_layers"),
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def without(config: Mapping[str, object], field: str) -> Mapping[str, object]:
    return {name: value for name, value in config.items() if name != field}


def float_groups(bits: int, size: int) -> Mapping[str, object]:
    weights = {"type": "float", "num_bits": bits, "group_size": size}
    return {"config_groups": {"group_0": {"weights": weights}}}


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
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, "nvfp4"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        (float_groups(4, 16), "nvfp4"),
        (float_groups(4, 32), "mxfp4"),
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
        (without(LLAMA, "hidden_size"), "`hidden_size` is missing"),
        ({**LLAMA, "vocab_size": 0}, "`vocab_size >= 1` must hold, but it is 0"),
        ({**LLAMA, "vocab_size": True}, "`vocab_size >= 1` must hold, but it is True"),
        ({**LLAMA, "model_type": "mamba"}, "`model_type` must be llama, .*but is 'mamba'"),
        ({**LLAMA, "quantization_config": float_groups(4, 7)}, "must be fp8, int8, int4, nvfp4"),
        ({**LLAMA, "kv_lora_rank": 512}, "`kv_lora_rank` says multi-head latent attention"),
        ({**LLAMA, "mamba_d_state": 128}, "`mamba_d_state` says state-space layers"),
        ({**LLAMA, "layer_types": ["linear_attention"]}, "but one is 'linear_attention'"),
        (without(MIXTRAL, "num_experts_per_tok"), "`num_experts_per_tok` is missing"),
        (without(MIXTRAL, "num_local_experts"), "`num_experts` is missing"),
        ({**MIXTRAL, "num_experts_per_tok": 9}, "must hold, but got 9 > 8"),
        ({**QWEN3_MOE, "decoder_sparse_step": 2}, "`decoder_sparse_step` must be 1"),
        ({**QWEN3_MOE, "mlp_only_layers": [0]}, "`mlp_only_layers` empty"),
        ({**LLAMA, "num_experts": 128}, "`num_experts` says a mixture of experts, but"),
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


@pytest.mark.parametrize(
    ("config", "experts"),
    [
        (LLAMA, (0, 0, 0, 0)),
        ({**LLAMA, "num_experts": 1}, (0, 0, 0, 0)),
        (MIXTRAL, (8, 2, 14336, 0)),
        (QWEN3_MOE, (128, 8, 768, 0)),
        (
            {**QWEN3_MOE, "model_type": "qwen2_moe", "shared_expert_intermediate_size": 5632},
            (128, 8, 768, 5632),
        ),
        (
            {**MIXTRAL, "model_type": "minimax_m2", "shared_intermediate_size": 0},
            (8, 2, 14336, 0),
        ),
        (GPT_OSS, (32, 4, 14336, 0)),
    ],
)
def test_experts_are_read_by_each_familys_names(
    config: object, experts: tuple[int, int, int, int], tmp_path: Path
) -> None:
    read = read_model(written(tmp_path, config), "mine")
    assert experts == (
        read.num_experts,
        read.num_experts_per_tok,
        read.moe_intermediate_size,
        read.shared_expert_intermediate_size,
    )


@pytest.mark.parametrize(
    ("config", "window"),
    [
        ({**LLAMA, "model_type": "mistral", "sliding_window": 4096}, (4096, 32)),
        ({**LLAMA, "model_type": "mistral", "sliding_window": None}, (0, 0)),
        ({**LLAMA, "model_type": "phi3", "sliding_window": 262144}, (0, 0)),
        (GPT_OSS, (128, 16)),
        (without(GPT_OSS, "layer_types"), (128, 16)),
        ({**LLAMA, "model_type": "qwen2", "sliding_window": 4096}, (0, 0)),
        (
            {
                **LLAMA,
                "model_type": "qwen2",
                "sliding_window": 4096,
                "use_sliding_window": True,
                "max_window_layers": 28,
            },
            (4096, 4),
        ),
        (
            {
                **LLAMA,
                "model_type": "qwen3",
                "sliding_window": 4096,
                "use_sliding_window": False,
            },
            (0, 0),
        ),
    ],
)
def test_windows_count_where_they_are_in_use(
    config: object, window: tuple[int, int], tmp_path: Path
) -> None:
    read = read_model(written(tmp_path, config), "mine")
    assert window == (read.sliding_window, read.sliding_window_layers)


@pytest.mark.parametrize(
    ("left_out", "attention_dtype"),
    [
        (["lm_head"], None),
        (["model.layers.*.self_attn"], "bf16"),
        (["re:.*self_attn.*"], "bf16"),
        (["model.layers.0.self_attn*"], None),
        ([f"model.layers.{i}.self_attn*" for i in range(32)], "bf16"),
        ([f"model.layers.{i}.self_attn.k_norm" for i in range(32)], None),
        ("lm_head", None),
    ],
)
def test_attention_left_out_of_a_quantisation_stays_in_bf16(
    left_out: object, attention_dtype: str | None, tmp_path: Path
) -> None:
    quantisation = {"quant_algo": "NVFP4", "exclude_modules": left_out}
    read = read_model(written(tmp_path, {**LLAMA, "quantization_config": quantisation}), "mine")
    assert (read.weight_dtype, read.attention_dtype) == ("nvfp4", attention_dtype)


@given(st.binary())
def test_whatever_a_config_holds_it_is_read_or_refused(content: bytes) -> None:
    assert one_line(read_or_refused(content))


@given(st.dictionaries(st.sampled_from(FIELDS), JUNK))
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
