"""The gate for lossy configs, by itself and around real vLLM."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from objectives import Load, Request, Workload
from runners import EngineError, Failure, FailureKind
from runners.simulated import catalogue
from runners.vllm import VllmRunner, agreement, faithful
from runners.vllm.agreement import CONTINUED_TOKENS, Answers
from runners.vllm.command import python_of, resolve
from runners.vllm.faithful import Gate
from search_spaces import Choice, Config, Deployment, SearchSpace
from search_spaces.vllm import passing_on, vllm_space

from .conftest import Forked

WEIGHTS = """
import json, sys
from pathlib import Path
import torch
from safetensors.torch import save_file

folder = Path(sys.argv[1])
config = json.loads((folder / "config.json").read_text())
hidden, inner, vocabulary = (
    config[name] for name in ("hidden_size", "intermediate_size", "vocab_size")
)
key_value = config["num_key_value_heads"] * config["head_dim"]
shapes = {
    "self_attn.q_proj": (hidden, hidden),
    "self_attn.k_proj": (key_value, hidden),
    "self_attn.v_proj": (key_value, hidden),
    "self_attn.o_proj": (hidden, hidden),
    "mlp.gate_proj": (inner, hidden),
    "mlp.up_proj": (inner, hidden),
    "mlp.down_proj": (hidden, inner),
}
torch.manual_seed(0)
weights = {
    "model.embed_tokens.weight": torch.randn(vocabulary, hidden),
    "lm_head.weight": torch.randn(vocabulary, hidden),
    "model.norm.weight": torch.ones(hidden),
}
for layer in range(config["num_hidden_layers"]):
    start = f"model.layers.{layer}"
    for name, shape in shapes.items():
        weights[f"{start}.{name}.weight"] = torch.randn(shape) * 2 / shape[1] ** 0.5
    for name in ("input_layernorm", "post_attention_layernorm"):
        weights[f"{start}.{name}.weight"] = torch.ones(hidden)
weights = {name: weight.to(torch.bfloat16) for name, weight in weights.items()}
save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
"""
"""For vLLM's Python: weights of a trained model's size, so that attention changes answers."""
SAME: Answers = ((0,) * 100,) * 4
OTHER: Answers = ((1,) + (0,) * (99 - CONTINUED_TOKENS) + (1,) * CONTINUED_TOKENS,) * 4
FEW = Load(workload=Workload(name="few", requests=(Request(0.0, 16, 4),) * 2))


fp8_kv_cache = pytest.mark.skipif(
    not any(word in Path("/proc/cpuinfo").read_text() for word in ("avx512", "amx")),
    reason="vLLM's CPU build keeps its KV cache in fp8 on AVX-512 or AMX only",
)


def lossy_space(deployment: Deployment) -> SearchSpace:
    return vllm_space(deployment).free("kv_cache_dtype", Choice(("auto", "fp8")))


SPACE = lossy_space(
    Deployment(
        model=catalogue.model("llama-3.1-8b"),
        gpu=catalogue.gpu("h100_sxm"),
        gpus=1,
        max_model_len=2048,
    )
)
FAITHFUL = SPACE.default()
LOSSY: Config = {**FAITHFUL, "kv_cache_dtype": "fp8"}


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Callable[[Gate, Config, Answers], None]:
    """Check a config whose engine would answer so."""

    def check(gate: Gate, config: Config, given: Answers) -> None:
        monkeypatch.setattr(faithful, "answers", lambda url, model, size: given)
        gate.check("http://127.0.0.1:9", "tiny", config, engine_s=5.0)

    return check


Check = Callable[[Gate, Config, Answers], None]


def test_where_nothing_is_lossy_no_engine_is_asked() -> None:
    gate = Gate(SPACE.fix("kv_cache_dtype", "auto"), 4096)
    assert not gate.needs_reference(FAITHFUL)
    gate.check("http://127.0.0.1:9", "tiny", FAITHFUL, engine_s=0.0)


def test_only_a_lossy_config_that_comes_first_needs_a_reference(check: Check) -> None:
    gate = Gate(SPACE, 4096)
    assert (gate.needs_reference(FAITHFUL), gate.needs_reference(LOSSY)) == (False, True)
    assert gate.faithful(LOSSY) == FAITHFUL
    check(gate, FAITHFUL, SAME)
    assert not gate.needs_reference(LOSSY)


def test_the_same_answers_pass_and_others_are_refused_with_their_share(check: Check) -> None:
    gate = Gate(SPACE, 4096)
    check(gate, FAITHFUL, SAME)
    check(gate, LOSSY, SAME)
    with pytest.raises(EngineError) as caught:
        check(gate, LOSSY, OTHER)
    assert caught.value.engine_s == 5.0
    assert caught.value.failure == Failure(
        FailureKind.REFUSED,
        "its answers differ from those without lossy knobs: 0.0% of the tokens agree, at least "
        "99% must",
    )


def test_another_faithful_config_is_not_held_against_the_first(check: Check) -> None:
    gate = Gate(SPACE, 4096)
    check(gate, FAITHFUL, SAME)
    check(gate, {**FAITHFUL, "max_num_batched_tokens": 512}, OTHER)
    check(gate, LOSSY, SAME)


@pytest.fixture
def few_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough to tell fp8 from bf16, in seconds."""
    monkeypatch.setattr(agreement, "PROMPTS", 6)


def lossy(forked: Forked, model: Path, *, dummy: bool) -> VllmRunner:
    """A runner whose KV cache may be fp8."""
    deployment = replace(forked.launch.deployment, model=catalogue.model(str(model)))
    space = passing_on(lossy_space(deployment), "enforce_eager", True)
    if dummy:
        space = passing_on(space, "load_format", "dummy")
    changed = replace(forked.launch, model=str(model), deployment=deployment, space=space)
    return forked.runner(changed)


def config(forked: Forked, kv_cache_dtype: str, *, dummy: bool) -> Config:
    given = {**forked.config, "kv_cache_dtype": kv_cache_dtype}
    return given if dummy else {k: v for k, v in given.items() if k != "load_format"}


def launched(forked: Forked) -> list[str]:
    """By launch, how its KV was stored."""
    logs = sorted(forked.logs.glob("engine-*.log"))
    return ["fp8" if "'kv_cache_dtype': 'fp8'" in log.read_text() else "auto" for log in logs]


@pytest.fixture
def weighty(vllm_command: str, tiny_model: Path, tmp_path: Path) -> Path:
    python = python_of(resolve(vllm_command))
    assert python is not None
    shutil.copytree(tiny_model, tmp_path / "weighty")
    subprocess.run([python, "-c", WEIGHTS, tmp_path / "weighty"], check=True)
    return tmp_path / "weighty"


@pytest.mark.usefixtures("few_prompts")
@fp8_kv_cache
def test_a_lossy_config_that_answers_otherwise_is_refused_and_a_faithful_one_is_served(
    forked: Forked, weighty: Path
) -> None:
    with lossy(forked, weighty, dummy=False) as runner:
        with (
            pytest.raises(EngineError) as caught,
            runner.launch(config(forked, "fp8", dummy=False)),
        ):
            pass
        assert caught.value.failure.kind is FailureKind.REFUSED
        assert caught.value.failure.detail.startswith("its answers differ from those without")
        assert launched(forked) == ["auto", "fp8"]
        with runner.launch(config(forked, "auto", dummy=False)) as engine:
            assert len(engine.measure(FEW).completed) == 2
    assert launched(forked) == ["auto", "fp8", "auto"]


@pytest.mark.usefixtures("few_prompts")
@fp8_kv_cache
def test_a_lossy_config_that_answers_the_same_is_served(forked: Forked, tiny_model: Path) -> None:
    with lossy(forked, tiny_model, dummy=True) as runner:
        for _ in range(2):
            with runner.launch(config(forked, "fp8", dummy=True)) as engine:
                assert len(engine.measure(FEW).completed) == 2
    assert launched(forked) == ["auto", "fp8"]
