import json
from pathlib import Path

import pytest

from runners.simulated.catalogue import gpu, gpus, model, models
from search_spaces.deployment import Deployment, Gpu, Model

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 11,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}


def written(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    return folder


def deployment(model_name: str, gpu_name: str, gpus: int) -> Deployment:
    return Deployment(model=model(model_name), gpu=gpu(gpu_name), gpus=gpus, max_model_len=8192)


def test_a_model_has_the_fields_of_its_config_json() -> None:
    assert model("meta-llama/Llama-3.1-8B-Instruct") == Model(
        name="meta-llama/Llama-3.1-8B-Instruct",
        num_hidden_layers=32,
        hidden_size=4096,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=14336,
        vocab_size=128256,
        max_position_embeddings=131072,
        gated_mlp=True,
        tie_word_embeddings=False,
        weight_dtype="bf16",
    )


def test_a_gpu_has_the_figures_of_its_data_sheet() -> None:
    assert gpu("h100_sxm") == Gpu(
        name="h100_sxm",
        memory_gib=80,
        memory_bandwidth_tb_s=3.35,
        bf16_tflops=989,
        fp8_tflops=1978,
        link_gb_s=450,
        nvlink=True,
    )


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 8.03),
        ("meta-llama/Llama-3.1-70B-Instruct", 70.55),
        ("meta-llama/Llama-3.1-405B-Instruct", 405.85),
        ("meta-llama/Llama-3.2-1B-Instruct", 1.236),
        ("meta-llama/Llama-3.2-3B-Instruct", 3.213),
        ("meta-llama/Llama-2-7b-chat-hf", 6.738),
        ("meta-llama/Llama-2-13b-chat-hf", 13.016),
        ("meta-llama/Llama-2-70b-chat-hf", 68.977),
        ("mistralai/Mistral-7B-Instruct-v0.3", 7.248),
        ("mistralai/Mistral-Small-24B-Instruct-2501", 23.572),
        ("Qwen/Qwen2.5-7B-Instruct", 7.616),
        ("Qwen/Qwen2.5-32B-Instruct", 32.764),
        ("Qwen/Qwen2.5-72B-Instruct", 72.706),
        ("Qwen/Qwen3-0.6B", 0.596),
        ("Qwen/Qwen3-8B", 8.191),
        ("Qwen/Qwen3-32B", 32.762),
        ("Qwen/Qwen3-30B-A3B", 30.532),
        ("Qwen/Qwen3-235B-A22B", 235.094),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46.703),
        ("mosaicml/mpt-7b", 6.649),
        ("tiiuae/falcon-180B", 179.5),
        ("01-ai/Yi-34B", 34.389),
        ("microsoft/phi-4", 14.660),
    ],
)
def test_two_bytes_per_published_parameter(name: str, billions: float) -> None:
    assert model(name).weight_bytes == pytest.approx(2e9 * billions, rel=1e-3)


def test_fp8_checkpoints_keep_embeddings_in_bf16() -> None:
    embeddings = 2 * 128256 * 8192
    weights = model("nvidia/Llama-3.3-70B-Instruct-FP8").weight_bytes
    assert weights == pytest.approx(70.55e9 + embeddings, rel=1e-3)


@pytest.mark.parametrize(("name", "gib"), [("gpt-oss-120b", 60.8), ("gpt-oss-20b", 12.8)])
def test_four_bit_experts_come_to_the_published_checkpoint(name: str, gib: float) -> None:
    # gpt-oss model card (arXiv 2508.10925), table 1.
    assert model(name).weight_bytes / 2**30 == pytest.approx(gib, rel=5e-3)


@pytest.mark.parametrize(
    ("name", "embeddings", "billions"),
    # Published figures count the embeddings once (gpt-oss) or twice.
    [
        ("gpt-oss-120b", 1, 5.13),
        ("gpt-oss-20b", 1, 3.61),
        ("qwen3-30b-a3b", 2, 3.3),
        ("qwen3-235b-a22b", 2, 22.0),
        ("mixtral-8x7b", 2, 12.9),
    ],
)
def test_active_parameters_are_those_published(
    name: str, embeddings: int, billions: float
) -> None:
    it = model(name)
    looked_up = embeddings * it.vocab_size * it.hidden_size
    assert it.active_parameters + looked_up == pytest.approx(1e9 * billions, rel=0.02)


def test_kv_bytes_per_token_follow_the_key_value_heads() -> None:
    on = deployment("llama-3.1-8b", "h100", 8)
    assert on.kv_bytes_per_token(1) == 131072
    assert on.kv_bytes_per_token(8) == 16384
    assert on.kv_bytes_per_token(16) == 16384
    assert on.kv_bytes_per_token(1, "fp8") == 65536


@pytest.mark.parametrize(
    ("model_name", "gpu_name", "tensor_parallel_size", "tokens"),
    [
        ("llama-3.1-8b", "a100", 1, 433e3),
        ("llama-3.1-8b", "h100", 2, 988e3),
        ("llama-3.1-8b", "a100", 4, 2.10e6),
        ("llama-3.1-8b", "h100", 8, 4.32e6),
        ("llama-3.1-8b", "h200", 1, 883e3),
        ("llama-3.1-70b", "h100", 4, 454e3),
        ("llama-3.1-70b", "a100", 8, 1.34e6),
        ("llama-3.1-70b", "h200", 2, 371e3),
        ("llama-3.1-70b", "h200", 4, 1.17e6),
    ],
)
def test_kv_capacity_is_within_10_percent_of_aiconfigurators_estimate(
    model_name: str, gpu_name: str, tensor_parallel_size: int, tokens: float
) -> None:
    held = deployment(model_name, gpu_name, 8).kv_capacity_tokens(
        tensor_parallel_size=tensor_parallel_size,
        gpu_memory_utilization=0.9,
        max_num_batched_tokens=8192,
        max_num_seqs=256,
    )
    assert held == pytest.approx(tokens, rel=0.1)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"),
        ("LLAMA-3.1-8B-INSTRUCT", "meta-llama/Llama-3.1-8B-Instruct"),
        ("meta-llama/Meta-Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct"),
        ("llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct"),
        ("llama3-8b", "meta-llama/Meta-Llama-3-8B-Instruct"),
        ("llama-3.3-70b-instruct-fp8", "nvidia/Llama-3.3-70B-Instruct-FP8"),
        (" qwen3-32b ", "Qwen/Qwen3-32B"),
    ],
)
def test_a_model_answers_to_its_aliases(spelling: str, name: str) -> None:
    assert model(spelling).name == name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("a100", "a100_sxm"),
        ("H100-SXM5", "h100_sxm"),
        ("NVIDIA H100 80GB HBM3", "h100_sxm"),
        ("NVIDIA H100 PCIe", "h100_pcie"),
        ("NVIDIA A100 80GB PCIe", "a100_pcie"),
        ("NVIDIA A100-SXM4-80GB", "a100_sxm"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx_pro_6000_server"),
    ],
)
def test_a_gpu_answers_to_its_aliases_and_to_its_drivers_name(spelling: str, name: str) -> None:
    assert gpu(spelling).name == name


def test_every_model_and_gpu_answers_to_its_own_name() -> None:
    assert [model(m.name) for m in models()] == list(models())
    assert [gpu(g.name) for g in gpus()] == list(gpus())


def test_an_unknown_name_is_told_the_nearest_on_one_line() -> None:
    with pytest.raises(ValueError, match=r"^Unknown model 'qwen3-33b'; nearest: Qwen/Qwen3-32B,"):
        model("qwen3-33b")
    with pytest.raises(ValueError, match=r"^Unknown GPU 'h1000'; nearest: h100_sxm, .*\.$"):
        gpu("h1000")
    with pytest.raises(ValueError, match=r"^Unknown GPU ''; known: a100_sxm, .*\.$"):
        gpu("")
    with pytest.raises(ValueError, match="Unknown model") as refusal:
        model("a\nb" * 1000)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_path_goes_before_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "Qwen" / "Qwen3-8B")
    monkeypatch.chdir(tmp_path)
    for path in (str(folder), "./Qwen/Qwen3-8B", "Qwen/Qwen3-8B"):
        assert (model(path).name, model(path).num_hidden_layers) == (path, 11)
    assert model("qwen3-8b").num_hidden_layers == 36


def test_a_bare_folder_goes_behind_the_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "mine")
    written(tmp_path / "qwen3-8b")
    monkeypatch.chdir(tmp_path)
    assert model("mine").num_hidden_layers == 11
    assert model("qwen3-8b").num_hidden_layers == 36


def test_a_path_to_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a model's folder needs a `config\.json`\.$"):
        model(str(tmp_path))
    with pytest.raises(ValueError, match=r"^There is no folder '\./none'\.$"):
        model("./none")
    with pytest.raises(ValueError, match=r"^There is no folder '~nobody-of-that-name/m'\.$"):
        model("~nobody-of-that-name/m")
