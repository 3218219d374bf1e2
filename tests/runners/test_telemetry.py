import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Request, Workload
from runners.base import EngineError, FailureKind
from runners.metrics import INFERENCE, KNOWN, QUEUE, RUNNING, USAGE, WAITING, Snapshot, read
from runners.telemetry import (
    ENOUGH_SAMPLES,
    Watch,
    differences,
    implied_prefix_tokens,
    refuse_foreign_hits,
)

TWO_ENGINES = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
vllm:num_requests_running{engine="1",model_name="tiny"} 4.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="tiny"} 0.5
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="tiny"} 1.0
vllm:num_preemptions_total{engine="1",model_name="tiny"} 2.0
vllm:num_preemptions_created{engine="0",model_name="tiny"} 1.79e+09
# TYPE vllm:request_queue_time_seconds histogram
vllm:request_queue_time_seconds_bucket{engine="0",le="0.3",model_name="tiny"} 5.0
vllm:request_queue_time_seconds_count{engine="0",model_name="tiny"} 5.0
vllm:request_queue_time_seconds_sum{engine="0",model_name="tiny"} 1.5
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="100"} 1.0
vllm:cache_config_info{block_size="16",engine="1",kv_cache_size_tokens="1500",\
num_gpu_blocks="100"} 1.0
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 64.0
"""


def test_a_snapshot_is_of_all_engines_together() -> None:
    assert read(TWO_ENGINES) == Snapshot(
        values={
            RUNNING: 7.0,
            USAGE: 0.5,
            "vllm:num_preemptions_total": 3.0,
            f"{QUEUE}_count": 5.0,
            f"{QUEUE}_sum": 1.5,
        },
        block_tokens=16,
        kv_capacity_tokens=3100,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "sglang:num_running_reqs 4.0\n",
        f"{RUNNING}\n",
        f'{RUNNING}{{engine="0" 3.0\n',
        f"{RUNNING} three\n",
    ],
)
def test_other_text_has_no_metrics_of_vllm(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1.0"])
def test_a_value_that_cannot_be_is_left_out(value: str) -> None:
    assert read(f"{RUNNING} {value}\n{WAITING} 1.0\n") == Snapshot(values={WAITING: 1.0})


@given(st.text(), st.sampled_from(sorted(KNOWN)))
def test_a_server_may_send_anything(text: str, name: str) -> None:
    read(f"{name}{text}\n")


@pytest.mark.parametrize("size", ["None", "-16", "1e3", "²", "9" * 40])
def test_a_block_size_that_is_no_number_is_not_known(size: str) -> None:
    text = f'vllm:cache_config_info{{block_size="{size}",num_gpu_blocks="100"}} 1.0\n'
    assert read(text) == Snapshot(values={})


BEFORE = Snapshot(
    values={
        "vllm:num_preemptions_total": 10.0,
        "vllm:prefix_cache_hits_total": 100.0,
        "vllm:prefix_cache_queries_total": 1000.0,
        "vllm:prompt_tokens_total": 1000.0,
        "vllm:generation_tokens_total": 500.0,
        "vllm:spec_decode_num_draft_tokens_total": 40.0,
        "vllm:spec_decode_num_accepted_tokens_total": 10.0,
        f"{INFERENCE}_sum": 7.0,
        f"{INFERENCE}_count": 3.0,
        f"{QUEUE}_sum": 1.0,
        f"{QUEUE}_count": 3.0,
        "vllm:request_prefill_time_seconds_sum": 2.0,
        "vllm:request_prefill_time_seconds_count": 3.0,
        "vllm:request_decode_time_seconds_sum": 5.0,
        "vllm:request_decode_time_seconds_count": 3.0,
        USAGE: 0.9,
    }
)
ADDED = {
    "vllm:num_preemptions_total": 2.0,
    "vllm:prefix_cache_hits_total": 64.0,
    "vllm:prefix_cache_queries_total": 640.0,
    "vllm:prompt_tokens_total": 640.0,
    "vllm:generation_tokens_total": 80.0,
    "vllm:spec_decode_num_draft_tokens_total": 60.0,
    "vllm:spec_decode_num_accepted_tokens_total": 45.0,
    f"{INFERENCE}_sum": 20.0,
    f"{INFERENCE}_count": 4.0,
    f"{QUEUE}_sum": 6.0,
    f"{QUEUE}_count": 4.0,
    "vllm:request_prefill_time_seconds_sum": 8.0,
    "vllm:request_prefill_time_seconds_count": 4.0,
    "vllm:request_decode_time_seconds_sum": 12.0,
    "vllm:request_decode_time_seconds_count": 4.0,
}
AFTER = Snapshot(
    values={**{name: BEFORE.values[name] + more for name, more in ADDED.items()}, USAGE: 0.1},
    block_tokens=16,
    kv_capacity_tokens=4096,
)


def test_telemetry_is_what_the_load_added() -> None:
    half_full = Snapshot(values={USAGE: 0.5, RUNNING: 3.0})
    assert differences(BEFORE, AFTER, [half_full], duration_s=10.0) == {
        "preemptions": 2.0,
        "prefix_cached_tokens": 64.0,
        "prefix_queried_tokens": 640.0,
        "engine_prompt_tokens": 640.0,
        "engine_generation_tokens": 80.0,
        "draft_tokens": 60.0,
        "accepted_draft_tokens": 45.0,
        "acceptance_rate": 0.75,
        "mean_running": 2.0,
        "mean_waiting": 0.6,
        "mean_queue_s": 1.5,
        "mean_prefill_s": 2.0,
        "mean_decode_s": 3.0,
        "max_kv_cache_usage": 0.5,
        "kv_capacity_tokens": 4096,
    }


def test_what_is_not_reported_is_left_out() -> None:
    bare = Snapshot(values={"vllm:prompt_tokens_total": 5.0})
    assert differences(bare, bare, [], duration_s=1.0) == {"engine_prompt_tokens": 0.0}


def test_a_mean_over_no_request_is_left_out() -> None:
    idle = Snapshot(values={f"{QUEUE}_sum": 5.0, f"{QUEUE}_count": 5.0})
    assert differences(idle, idle, [], duration_s=1.0) == {"mean_waiting": 0.0}


def test_enough_samples_also_count_requests_that_never_finished() -> None:
    samples = [Snapshot(values={RUNNING: 4.0, WAITING: float(i % 2)}) for i in range(40)]
    told = differences(BEFORE, AFTER, samples, duration_s=10.0)
    assert (told["mean_running"], told["mean_waiting"]) == (4.0, 0.5)
    assert len(samples) >= ENOUGH_SAMPLES


def test_a_counter_that_went_back_is_of_another_engine() -> None:
    with pytest.raises(EngineError, match="was started anew during the run") as caught:
        differences(AFTER, BEFORE, [], duration_s=1.0)
    assert caught.value.failure.kind is FailureKind.DIED


@contextmanager
def metrics_server(pages: Iterator[tuple[int, str]]) -> Iterator[str]:
    """Answers the n-th request with the n-th page."""

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, page = next(pages)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def prompt_tokens(count: int) -> tuple[int, str]:
    return 200, f'vllm:prompt_tokens_total{{engine="0"}} {count}.0\n'


def test_a_watch_takes_the_difference_around_a_load() -> None:
    with metrics_server(iter([prompt_tokens(5), prompt_tokens(12)])) as url:
        with Watch(url, period_s=60) as watch:
            pass
        assert watch.telemetry(1.0, implied_prefix_tokens=3) == {
            "engine_prompt_tokens": 7.0,
            "implied_prefix_tokens": 3,
        }


def test_a_watch_looks_at_the_gauges_in_between() -> None:
    sampled = threading.Event()

    def pages() -> Iterator[tuple[int, str]]:
        yield 200, f"{USAGE} 0.0\n"
        yield 503, "busy"
        yield 200, f"{USAGE} 0.75\n"
        sampled.set()
        while True:
            yield 200, f"{USAGE} 0.0\n"

    with metrics_server(pages()) as url:
        with Watch(url, period_s=0.001) as watch:
            sampled.wait()
        assert watch.telemetry(1.0, 0)["max_kv_cache_usage"] == 0.75


def test_a_server_without_metrics_has_no_telemetry() -> None:
    with metrics_server(iter([(404, "Not Found")])) as url:
        with Watch(url) as watch:
            pass
        assert watch.block_tokens is None
        assert watch.telemetry(1.0, 0) == {}


def test_a_load_that_failed_is_not_asked_about() -> None:
    pages = iter([prompt_tokens(5)])
    with metrics_server(pages) as url, pytest.raises(KeyError), Watch(url, period_s=60):
        raise KeyError
    assert [t.name for t in threading.enumerate() if t.name.startswith("metrics of")] == []


def test_an_engine_that_does_not_answer_has_died() -> None:
    with metrics_server(iter([])) as url:
        pass
    with pytest.raises(EngineError, match="/metrics does not answer") as caught, Watch(url):
        pass
    assert caught.value.failure.kind is FailureKind.DIED


def workload(*requests: tuple[int, tuple[int, ...]], block_tokens: int = 64) -> Workload:
    made = tuple(Request(0.0, tokens, 1, blocks) for tokens, blocks in requests)
    return Workload(name="shared", requests=made, block_tokens=block_tokens)


@pytest.mark.parametrize(
    ("requests", "implied"),
    [
        ([(200, (1, 2)), (200, (3, 4))], 0),
        ([(200, (1, 2)), (200, (1, 2))], 128),
        ([(200, (1, 2)), (200, (1, 3)), (200, (1, 3, 4))], 64 + 128),
        # Equal blocks after different ones are no prefix.
        ([(200, (1, 2)), (200, (3, 2)), (200, (2,))], 0),
        # The engine computes at least one token of a prompt.
        ([(128, (1, 2)), (128, (1, 2))], 112),
        ([(200, ()), (200, ())], 0),
    ],
)
def test_a_workload_implies_hits_on_whole_leading_blocks(
    requests: list[tuple[int, tuple[int, ...]]], implied: int
) -> None:
    assert implied_prefix_tokens(workload(*requests), block_tokens=16) == implied


def test_blocks_of_the_engine_may_be_larger_than_the_workloads() -> None:
    shared = workload((200, (1, 2, 3)), (200, (1, 2, 3)))
    assert implied_prefix_tokens(shared, block_tokens=128) == 128
    assert implied_prefix_tokens(shared, block_tokens=256) == 0


def test_hits_that_the_workload_implies_are_its_own() -> None:
    told = {"prefix_cached_tokens": 510.0, "implied_prefix_tokens": 500.0}
    refuse_foreign_hits(told, prompt_tokens=1000)
    refuse_foreign_hits({}, prompt_tokens=1000)
    refuse_foreign_hits({**told, "prefix_cached_tokens": 530.0}, 1000, beside_tokens=20)


def test_more_hits_than_implied_refuse_the_run() -> None:
    told = {"prefix_cached_tokens": 511.0, "implied_prefix_tokens": 500.0}
    with pytest.raises(EngineError) as caught:
        refuse_foreign_hits(told, prompt_tokens=1000)
    assert caught.value.failure.kind is FailureKind.HOST
    assert caught.value.failure.detail == (
        "511 of 1000 prompt tokens came from the prefix cache, but the workload's own prefixes "
        "give 500 at most: the others were cached by other traffic or an earlier run. Let "
        "nothing else use the engine."
    )
