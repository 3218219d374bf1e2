from dataclasses import replace
from typing import Any

import pytest

from objectives import Load, Request, Workload
from runners import EngineError, Failure, FailureKind
from runners.simulated import SimulatedRunner
from runners.simulated.catalogue import gpu, model
from runners.simulated.engine import launch_s
from runners.simulated.roofline import Roofline
from search_spaces import Config, Deployment
from search_spaces.vllm import default_config, kv_tokens, vllm_space

SMALL = Deployment(
    model=model("meta-llama/Llama-3.2-3B-Instruct"), gpu=gpu("l4"), gpus=4, max_model_len=2048
)
LARGE = Deployment(
    model=model("meta-llama/Llama-3.3-70B-Instruct"),
    gpu=gpu("h100_pcie"),
    gpus=8,
    max_model_len=2048,
)


def config(deployment: Deployment = SMALL, **settings: int | float | str | bool) -> Config:
    space = vllm_space(deployment)
    chosen = {**default_config(space), **settings}
    return {**chosen, **space.derive(chosen)}


def refusal(deployment: Deployment, unfit: Config) -> Failure:
    with (
        pytest.raises(EngineError) as caught,
        SimulatedRunner(deployment).launch(unfit),
    ):
        pass
    return caught.value.failure


def offered(*requests: Request) -> Load:
    return Load(workload=Workload(name="t", requests=requests))


FEW = offered(*[Request(0.1 * i, 300, 20) for i in range(8)])


def test_a_runner_says_that_it_simulates_what_and_how_well() -> None:
    about = SimulatedRunner(SMALL).description
    assert (about.engine, about.simulated, about.noiseless) == ("simulated", True, True)
    assert about.version == f"vLLM 0.32 scheduler; {Roofline.source}"
    assert about.uncertainty == Roofline.uncertainty


def test_a_kv_cache_too_small_for_the_longest_request_does_not_fit() -> None:
    tight = config(gpu_memory_utilization=0.5)
    held = kv_tokens(SMALL, tight)
    assert refusal(replace(SMALL, max_model_len=held + 1), tight) == Failure(
        FailureKind.DOES_NOT_FIT,
        f"the KV cache would hold {held} tokens, but one request needs {held + 1}",
    )


def test_the_kv_cache_holds_whole_blocks_only() -> None:
    tight = config(gpu_memory_utilization=0.5)
    whole = kv_tokens(SMALL, tight)
    assert whole % 16 == 0
    limit = replace(SMALL, max_model_len=whole + 1)
    assert refusal(limit, tight).kind is FailureKind.DOES_NOT_FIT
    with SimulatedRunner(replace(SMALL, max_model_len=whole)).launch(tight) as engine:
        longest = engine.measure(offered(Request(0, whole - 5, 5)))
    assert longest.metric("completed") == 1


def test_weights_that_do_not_fit_leave_no_kv_cache() -> None:
    failure = refusal(LARGE, config(LARGE, tensor_parallel_size=1))
    assert failure.detail == "the KV cache would hold 0 tokens, but one request needs 2048"


@pytest.mark.parametrize(
    ("settings", "detail"),
    [
        (
            {"enable_chunked_prefill": False, "max_num_batched_tokens": 1024, "max_num_seqs": 8},
            "`max_num_batched_tokens >= max_model_len without chunked prefill` must hold: "
            "a whole prompt must fit into one step",
        ),
        ({"speculative_config": "ngram"}, "how many drafted tokens are accepted was not said"),
    ],
)
def test_what_vllm_or_the_simulation_cannot_do_is_refused(
    settings: dict[str, Any], detail: str
) -> None:
    assert refusal(SMALL, config(**settings)) == Failure(FailureKind.REFUSED, detail)


def test_a_request_longer_than_max_model_len_is_a_mistake_of_the_caller() -> None:
    with (
        SimulatedRunner(SMALL).launch(config()) as engine,
        pytest.raises(ValueError, match=r"max_model_len.* 2049 > 2048"),
    ):
        engine.measure(offered(Request(0, 2000, 49)))


def test_the_age_of_an_engine_is_its_launch_and_its_simulated_seconds() -> None:
    with SimulatedRunner(SMALL).launch(config()) as engine:
        assert engine.age_s == launch_s(SMALL, config()) == 59.0
        first = engine.measure(FEW)
        assert engine.age_s == 59.0 + first.duration_s
        second = engine.measure(FEW)
        assert engine.age_s == 59.0 + first.duration_s + second.duration_s
        assert first == second


def test_a_launch_takes_about_as_long_as_published() -> None:
    # vLLM issue 20264: a 3B model, 28 layers, on one GPU with a warm compile cache, in 59 s.
    assert launch_s(SMALL, config(tensor_parallel_size=1)) == 59.0
    # vLLM issue 19824: a 70B model, 80 layers, TP 8, in 215 s, the compile cache cold.
    assert launch_s(LARGE, config(LARGE, tensor_parallel_size=8)) == 197.0


def test_the_engine_says_how_full_it_ran() -> None:
    with SimulatedRunner(SMALL).launch(config(tensor_parallel_size=4)) as engine:
        one = engine.measure(offered(Request(0, 300, 20)))
        few = engine.measure(offered(*[Request(0, 300, 20)] * 6))
    assert one.engine == {
        "mean_running": pytest.approx(1),
        "preemptions": 0,
        "engine_steps": 20,
        "prefix_cached_tokens": 0,
        "communication_share": pytest.approx(0.148, rel=0.01),
        "mbu": pytest.approx(0.589, rel=0.01),
        "mfu": pytest.approx(0.0207, rel=0.01),
    }
    assert few.engine["mean_running"] == pytest.approx(6)
    assert few.engine["mfu"] > 3 * one.engine["mfu"]
    assert few.gpus == 4


def test_the_engine_counts_cached_tokens_and_preemptions() -> None:
    requests = [Request(5.0 * i, 100, 4, blocks=(1, 2, 3)) for i in range(3)]
    workload = Workload(name="t", requests=tuple(requests), block_tokens=32)
    tight = replace(SMALL, max_model_len=512)
    low = next(
        share / 1000
        for share in range(300, 900)
        if kv_tokens(tight, config(tight, gpu_memory_utilization=share / 1000)) >= 512 + 16
    )
    with SimulatedRunner(tight).launch(config(tight, gpu_memory_utilization=low)) as engine:
        cached = engine.measure(Load(workload=workload)).engine
        crowded = engine.measure(offered(*[Request(0, 100, 300)] * 40)).engine
    assert (cached["prefix_cached_tokens"], cached["preemptions"]) == (2 * 96, 0)
    assert crowded["preemptions"] > 0


def test_gpus_that_one_replica_leaves_make_more_replicas() -> None:
    load = offered(*[Request(0, 100, 20)] * 8)

    def mean_running(tensor_parallel_size: int) -> float:
        chosen = config(tensor_parallel_size=tensor_parallel_size)
        assert chosen["data_parallel_size"] == 4 // tensor_parallel_size
        with SimulatedRunner(SMALL).launch(chosen) as engine:
            return engine.measure(load).engine["mean_running"]

    assert [mean_running(tp) for tp in (1, 2, 4)] == pytest.approx([2, 4, 8])


def test_quantised_weights_leave_more_room_and_are_read_faster() -> None:
    plain, quantised = config(), config(quantization="fp8")
    long = replace(SMALL, max_model_len=kv_tokens(SMALL, plain) + 16)
    assert refusal(long, plain).kind is FailureKind.DOES_NOT_FIT

    def duration_s(deployment: Deployment, chosen: Config) -> float:
        with SimulatedRunner(deployment).launch(chosen) as engine:
            return engine.measure(offered(Request(0, 300, 20))).duration_s

    assert duration_s(long, quantised) < duration_s(SMALL, plain)


def test_fp8_kv_holds_twice_the_tokens() -> None:
    once, twice = (kv_tokens(SMALL, config(kv_cache_dtype=dtype)) for dtype in ("auto", "fp8"))
    assert twice == pytest.approx(2 * once, abs=16)
