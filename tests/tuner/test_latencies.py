from pathlib import Path

from objectives import Measurement
from objectives.measurement import RequestResult
from results.report import Latencies
from tuner.latencies import latencies
from tuner.requests_table import parquet


def test_an_answer_of_one_token_has_no_tpot_and_is_not_unanswered(tmp_path: Path) -> None:
    results = (
        RequestResult(0.0, 10, 5, ttft_ms=20.0, e2el_ms=60.0),
        RequestResult(0.1, 10, 1, ttft_ms=30.0, e2el_ms=30.0),
        RequestResult(0.2, 10, 5),
    )
    file = tmp_path / "0.parquet"
    file.write_bytes(
        parquet({"chat": {"offered": Measurement(results=results, duration_s=1.0, gpus=1)}})
    )
    assert latencies(file, "chat", "offered") == Latencies(
        unanswered=1, ttft_ms=[20.0, 30.0], tpot_ms=[10.0]
    )
