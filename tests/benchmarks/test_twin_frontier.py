from pathlib import Path
from typing import Any

from benchmarks import twin_frontier

POINT = {"output_throughput": 100.0, "mean_e2el_ms": 900.0}
CURVE = [{"request_rate": 1.0, "p99_tbt_s": 0.1, "median_ttft_s": 0.2}]
FOUND: dict[str, Any] = {
    "batch_sizes": {"org/a model, 1 x h100_sxm": [{"batch": 1, **POINT}]},
    "tensor_parallelism": {
        "h100_sxm": [
            {
                "tensor_parallel_size": 2,
                "batch": batch,
                "step_ms": 10.0,
                "communication_ms": 2.0,
                "tokens_per_s_per_gpu": 50.0,
            }
            for batch in twin_frontier.SPLIT_BATCHES
        ]
    },
    "schedulers": {"falcon-180b": {"Sarathi": CURVE}},
}


def test_one_gpu_communicates_nothing_and_more_gpus_ever_more_of_a_step() -> None:
    found = [twin_frontier.split("h200_sxm", tp, 16) for tp in (1, 2, 4, 8)]
    shares = [told["communication_share"] for told in found if told]
    assert shares[0] == 0
    assert shares == sorted(shares)


def test_a_kv_cache_that_does_not_fit_beside_the_weights_is_no_step() -> None:
    assert twin_frontier.split("h100_sxm", 1, 64) is None


def test_the_pictures_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        twin_frontier.draw(FOUND, tmp_path / folder)
    drawn = [
        {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        for folder in ("first", "second")
    ]
    assert sorted(drawn[0]) == [
        "twin-frontier.svg",
        "twin-schedulers-falcon-180b.svg",
        "twin-tensor-parallelism-h100_sxm.svg",
    ]
    assert drawn[0] == drawn[1]
