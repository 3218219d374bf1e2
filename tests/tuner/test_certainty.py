"""What a simulated study may claim: nothing inside its own error."""

import json
from pathlib import Path
from typing import Any

from tests.tuner.conftest import QUICK, Tune
from tuner.measure import measure
from tuner.options import Options

WINNER = ("--trials=1", "--set=max_num_seqs=64")


def answered(tune: Tune, folder: Path, sla: str) -> tuple[dict[str, Any], str]:
    told = tune(*QUICK[:-1], *WINNER, f"--sla={sla}", f"--output={folder}")
    assert told.status == 0
    return json.loads((folder / "summary.json").read_text()), told.out


def test_a_bound_far_off_is_claimed_and_one_nearby_is_not(tune: Tune, tmp_path: Path) -> None:
    far, _ = answered(tune, tmp_path / "far", "mean_tpot_ms<=1000")
    bound = far["best"]["interactive"]["sla"]["mean_tpot_ms<=1000"]
    low, high = bound["interval"]
    assert (bound["verdict"], bound["claim"]) == ("met", "met")
    assert low <= bound["value"] < high < 1.5 * bound["value"]

    near, out = answered(tune, tmp_path / "near", f"mean_tpot_ms<={1.01 * bound['value']:.4f}")
    (bound,) = near["best"]["interactive"]["sla"].values()
    assert (bound["verdict"], bound["claim"]) == ("met", "undecided")
    assert "so undecided)" in " ".join(out.split())


def test_every_latency_and_rate_of_a_winner_has_its_interval(tune: Tune, tmp_path: Path) -> None:
    summary, _ = answered(tune, tmp_path / "study", "p92_ttft_ms<=60000")
    winner = summary["best"]["interactive"]
    assert {"p92_ttft_ms", "mean_tpot_ms", "p95_e2el_ms", "output_throughput"} <= set(
        winner["intervals"]
    )
    offered = winner["loads"]["offered"]
    for name in ("mean_tpot_ms", "p95_e2el_ms", "output_throughput"):
        low, high = winner["intervals"][name]
        assert low <= offered[name] <= high > low


def test_one_simulated_measurement_has_them_too() -> None:
    found = measure(Options(objective="chat", gpus=1, requests=60, request_rate=2.0))
    assert list(found) == ["config", "load", "metrics", "intervals", "sla", "engine"]
    for bound in found["sla"].values():
        assert bound["claim"] in {"met", "broken", "undecided"}
