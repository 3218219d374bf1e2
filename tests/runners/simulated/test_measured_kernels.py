import logging
import platform
import socket
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from runners.simulated.catalogue import gpu, gpus, model
from runners.simulated.measured_kernels import PACKAGE, SYSTEMS, MeasuredKernels
from search_spaces.deployment import Deployment

pytestmark = pytest.mark.skipif(
    not (
        sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 14)
    ),
    reason="no aiconfigurator-core for this platform",
)


def deployment(
    model_name: str = "llama-3.1-8b", gpu_name: str = "h100_sxm", weight_dtype: str = "bf16"
) -> Deployment:
    return Deployment(
        model=replace(model(model_name), weight_dtype=weight_dtype),
        gpu=gpu(gpu_name),
        gpus=8,
        max_model_len=8192,
    )


@cache
def measured(model_name: str, gpu_name: str, tensor_parallel_size: int) -> MeasuredKernels:
    return MeasuredKernels(
        deployment(model_name, gpu_name), tensor_parallel_size=tensor_parallel_size
    )


@pytest.mark.parametrize(
    ("model_name", "gpu_name", "tensor_parallel_size", "milliseconds"),
    # Prefills of 512, 2048 and 8192; 1, 16, 64 and 256 decodes at 1024.
    [
        ("llama-3.1-8b", "a100_sxm", 1, (36.0, 125, 557, 11.9, 13.6, 17.8, 43.7)),
        ("llama-3.1-8b", "h100_sxm", 1, (12.0, 43.5, 200, 6.2, 7.5, 10.3, 19.6)),
        ("llama-3.1-8b", "h100_sxm", 8, (5.5, 14.9, 53.5, 2.1, 2.5, 2.9, 5.2)),
        ("llama-3.1-8b", "h200_sxm", 1, (11.5, 43.4, 199, 4.9, 5.8, 7.6, 15.3)),
        ("llama-3.1-70b", "a100_sxm", 8, (77.3, 226, 832, 17.2, 19.5, 22.2, 44.0)),
        ("llama-3.1-70b", "h100_sxm", 4, (37.3, 130, 577, 14.9, 16.4, 19.1, 30.5)),
        ("llama-3.1-70b", "h200_sxm", 2, (55.6, 218, 946, 21.3, 21.1, 25.2, 41.8)),
    ],
)
def test_steps_take_what_the_package_says_for_the_hubs_model(
    model_name: str, gpu_name: str, tensor_parallel_size: int, milliseconds: tuple[float, ...]
) -> None:
    steps = measured(model_name, gpu_name, tensor_parallel_size)
    found = [steps.step_ms(1, tokens, 0, 0, 0) for tokens in (512, 2048, 8192)]
    found += [steps.step_ms(0, 0, 0, batch, 1024 * batch) for batch in (1, 16, 64, 256)]
    assert found == pytest.approx(milliseconds, rel=0.02)


def test_a_chunk_beside_decodes_takes_less_than_one_after_the_other() -> None:
    steps = measured("llama-3.1-8b", "h100_sxm", 1)
    together = steps.step_ms(1, 512, 0, 64, 64 * 1024)
    assert together == pytest.approx(17.4, rel=0.02)
    assert together < steps.step_ms(1, 512, 0, 0, 0) + steps.step_ms(0, 0, 0, 64, 64 * 1024)


def test_fp8_weights_and_cache_are_those_of_nvidias_checkpoint() -> None:
    fp8 = MeasuredKernels(
        deployment("nvidia/Llama-3.3-70B-Instruct-FP8", "h200_sxm", "fp8"),
        tensor_parallel_size=4,
        kv_dtype="fp8",
    )
    # The package's own nvidia/Llama-3.1-70B-Instruct-FP8, of the same shape.
    assert fp8.step_ms(0, 0, 0, 64, 64 * 1024) == pytest.approx(11.41, rel=0.01)
    assert fp8.step_ms(1, 2048, 0, 0, 0) == pytest.approx(97.08, rel=0.01)


@pytest.mark.parametrize(
    ("model_name", "gpu_name", "gpus", "milliseconds"),
    # What the package says of the hub's own model, norms of queries and keys apart: a prompt of
    # 8192, then 1 and 64 decodes at 1024.
    [
        ("qwen3-30b-a3b", "h100_sxm", 1, (153.2, 4.7, 24.2)),
        ("mixtral-8x7b", "h100_sxm", 4, (125.5, 4.0, 11.9)),
        ("mixtral-8x7b", "a100_sxm", 4, (371.1, 6.4, 19.7)),
        ("nvidia/MiniMax-M2.5-NVFP4", "b200_sxm", 2, (91.2, 4.6, 12.8)),
        ("gpt-oss-120b", "h100_sxm", 2, (124.5, 3.7, 13.6)),
    ],
)
def test_mixtures_take_what_the_package_says_for_the_hubs_model(
    model_name: str, gpu_name: str, gpus: int, milliseconds: tuple[float, ...]
) -> None:
    own = deployment(model_name, gpu_name, model(model_name).weight_dtype)
    steps = MeasuredKernels(own, tensor_parallel_size=gpus)
    found = [
        steps.step_ms(*step)
        for step in ((1, 8192, 0, 0, 0), (0, 0, 0, 1, 1024), (0, 0, 0, 64, 65536))
    ]
    assert found == pytest.approx(milliseconds, rel=0.06)


def test_both_all_reduces_of_a_mixtures_layer_are_counted() -> None:
    mixture, dense = (
        MeasuredKernels(deployment(name), tensor_parallel_size=4).communication_ms(512)
        / model(name).num_hidden_layers
        / model(name).hidden_size
        for name in ("mixtral-8x7b", "llama-3.1-8b")
    )
    assert mixture == pytest.approx(dense, rel=0.02)


def test_more_requests_than_prompt_tokens_are_taken_as_one_token_each() -> None:
    steps = measured("llama-3.1-8b", "h100_sxm", 1)
    assert steps.step_ms(4, 3, 0, 0, 0) == steps.step_ms(3, 3, 0, 0, 0)
    assert steps.step_ms(0, 3, 0, 0, 0) == steps.step_ms(1, 3, 0, 0, 0)


def test_it_covers_the_gpus_with_measurements() -> None:
    covered = {g.name for g in gpus() if MeasuredKernels.covers(g)}
    assert covered == SYSTEMS
    assert {g.name for g in gpus()} - covered == {
        "a100_sxm_40gb",
        "a100_pcie",
        "a100_pcie_40gb",
        "h100_pcie",
        "a10",
        "a30",
        "a40",
        "l4",
    }


@pytest.mark.parametrize("gpu_name", sorted(SYSTEMS))
def test_every_gpu_it_covers_has_kernels(gpu_name: str) -> None:
    assert measured("llama-3.1-8b", gpu_name, 1).step_ms(0, 0, 0, 1, 1024) > 0


@pytest.mark.parametrize(
    ("model_name", "gpu_name", "weight_dtype", "kv_dtype"),
    [
        ("llama-3.1-8b", "l4", "bf16", "bf16"),
        ("llama-3.1-8b", "a100_sxm", "fp8", "bf16"),
        ("llama-3.1-8b", "a100_sxm", "bf16", "fp8"),
        ("llama-3.1-8b", "h100_sxm", "int4", "bf16"),
        ("llama-3.1-8b", "h100_sxm", "int8", "bf16"),
        ("llama-3.1-8b", "h100_sxm", "nvfp4", "bf16"),
        ("qwen3-30b-a3b", "h100_sxm", "fp8", "bf16"),
        ("phi-4", "h100_sxm", "bf16", "bf16"),
        ("llama-3.1-8b", "h100_sxm", "bf16", "int2"),
    ],
)
def test_what_was_not_measured_is_refused_on_one_line(
    model_name: str, gpu_name: str, weight_dtype: str, kv_dtype: str
) -> None:
    with pytest.raises(ValueError, match=r"^No measured kernels for ") as refusal:
        MeasuredKernels(
            deployment(model_name, gpu_name, weight_dtype),
            tensor_parallel_size=1,
            kv_dtype=kv_dtype,
        )
    assert len(str(refusal.value).splitlines()) == 1


def test_an_ungated_mlp_is_refused() -> None:
    ungated = replace(model("llama-3.1-8b"), gated_mlp=False)
    with pytest.raises(ValueError, match="only models with a gated MLP"):
        MeasuredKernels(replace(deployment(), model=ungated), tensor_parallel_size=1)


@pytest.mark.parametrize(
    ("model_name", "changes", "reason"),
    [
        ("mixtral-8x7b", {"shared_expert_intermediate_size": 8}, "without a shared expert"),
        ("gpt-oss-20b", {"sliding_window": 4096}, "only gpt-oss's is written down"),
        ("mistralai/Mistral-7B-v0.1", {}, "only dense models of full attention"),
        ("llama-3.1-8b", {"attention_dtype": "bf16"}, "only dense models of full attention"),
    ],
)
def test_another_kind_of_model_is_refused(
    model_name: str, changes: dict[str, Any], reason: str
) -> None:
    other = replace(model(model_name), **changes)
    with pytest.raises(ValueError, match=reason):
        MeasuredKernels(replace(deployment(), model=other), tensor_parallel_size=1)


def test_of_mixtures_and_on_blackwell_it_says_that_first_tokens_take_longer() -> None:
    plain, said = MeasuredKernels.uncertainty, MeasuredKernels.uncertainty_of_first_tokens
    found = [
        MeasuredKernels(deployment(name, gpu_name), tensor_parallel_size=1).uncertainty
        for name, gpu_name in (
            ("llama-3.1-8b", "h100_sxm"),
            ("llama-3.1-8b", "b200_sxm"),
            ("qwen3-30b-a3b", "h100_sxm"),
        )
    ]
    assert found == [plain, plain + said, plain + said]


def test_without_the_package_nothing_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.sdk", None)
    assert not MeasuredKernels.covers(gpu("h100_sxm"))
    with pytest.raises(ValueError, match=r"^No measured kernels for "):
        MeasuredKernels(deployment(), tensor_parallel_size=1)


def test_nothing_is_asked_of_the_network_said_or_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    level = logging.getLogger(PACKAGE).level
    unnamed = replace(model("llama-3.1-8b"), name="nobody/has-this-one", num_hidden_layers=31)
    steps = MeasuredKernels(replace(deployment(), model=unnamed), tensor_parallel_size=2)
    assert steps.step_ms(0, 0, 0, 1, 1024) > 0
    assert list(tmp_path.iterdir()) == []
    assert tuple(capfd.readouterr()) == ("", "")
    assert logging.getLogger(PACKAGE).level == level


def test_the_public_call_serves_where_the_one_beneath_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sdk = pytest.importorskip(f"{PACKAGE}.sdk")
    native = sdk.RustForwardPassPerfModel.from_native

    class Public:
        def __init__(self, config: dict[str, Any]) -> None:
            self.estimate_forward_pass_time_ms = native(config).estimate_forward_pass_time_ms

    monkeypatch.setattr(sdk.RustForwardPassPerfModel, "from_native", Public)
    public = MeasuredKernels(deployment(), tensor_parallel_size=1)
    monkeypatch.undo()
    steps = ((1, 512, 0, 0, 0), (0, 0, 0, 64, 65536), (2, 700, 9000, 30, 50_000))
    direct = measured("llama-3.1-8b", "h100_sxm", 1)
    assert [public.step_ms(*s) for s in steps] == [direct.step_ms(*s) for s in steps]
