"""Speculative decoding on the simulated engine, from the command line to the answer."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from results.record import TrialRecord
from tests.tuner.conftest import QUICK, TRAFFIC, Tune
from tests.tuner.test_measure import measured
from tuner.errors import BadInput
from tuner.folder import Folder
from tuner.options import Options
from tuner.plan import plan
from tuner.spec import from_json, resolve, to_json

NGRAM = "speculative_config=ngram"
ASKED: dict[str, Any] = {"objective": "chat", "requests": 60}


def answered(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def refused(**options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        resolve(Options(**{**ASKED, **options}))
    return str(caught.value)


def test_a_study_speculates_and_says_how_much_was_accepted(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    ended = tune(
        *QUICK,
        f"--set={NGRAM}",
        "--acceptance-rate=0.7",
        "--trials=2",
        "--quiet",
        f"--output={folder}",
    )
    assert (ended.status, ended.err) == (0, "")
    for trial in answered(folder):
        told = trial["loads"]["offered"]
        assert trial["config"]["speculative_config"] == "ngram"
        assert 0 < told["accepted_draft_tokens"] < told["draft_tokens"]
    summary = json.loads((folder / "summary.json").read_text())
    assert "70 % of drafted tokens are taken to be accepted" in summary["uncertainty"]


def test_whether_to_speculate_is_searched(tmp_path: Path, tune: Tune) -> None:
    folder = tmp_path / "study"
    drafts = "none,ngram,draft:meta-llama/Llama-3.2-1B-Instruct"
    ended = tune(
        *QUICK,
        *("--quiet", "--trials=12", f"--output={folder}", "--acceptance-rate=0.8"),
        f"--range=speculative_config={drafts}",
    )
    assert ended.status == 0
    tried = {trial["config"]["speculative_config"] for trial in answered(folder)}
    assert tried == {*drafts.split(",")}


def test_a_study_taken_up_again_goes_on_at_the_same_rate(
    tmp_path: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException): ...

    def append(self: Folder, records: Sequence[TrialRecord]) -> None:
        if records[0].number == 2:
            raise Killed
        kept(self, records)

    asked = (*QUICK, f"--set={NGRAM}", "--acceptance-rate=0.7", "--quiet", "--trials=4")
    whole, halved, kept = tmp_path / "whole", tmp_path / "halved", Folder.append
    tune(*asked, f"--output={whole}")
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "append", append)
        with pytest.raises(Killed):
            tune(*asked, f"--output={halved}")
    assert len(answered(halved)) == 2
    assert tune("resume", halved, "--quiet").status == 0
    assert answered(halved) == answered(whole)


def test_the_rate_is_kept_with_the_study() -> None:
    spec, _ = resolve(Options(**ASKED, set=[NGRAM], acceptance_rate=0.7))
    assert from_json(to_json(spec)).target.acceptance_rate == 0.7


def test_a_measurement_speculates() -> None:
    plainly = measured()["metrics"]
    drafted = measured(set=[NGRAM], acceptance_rate=0.9)["metrics"]
    assert drafted["mean_tpot_ms"] < 0.6 * plainly["mean_tpot_ms"]
    assert "draft_tokens" not in plainly


def test_a_draft_model_serves_a_measurement() -> None:
    told = measured(
        set=["speculative_config=draft:meta-llama/Llama-3.2-1B-Instruct"], acceptance_rate=0.9
    )
    assert told["metrics"]["mean_tpot_ms"] < measured()["metrics"]["mean_tpot_ms"]


def test_another_seed_is_another_luck() -> None:
    def accepted(seed: int) -> float:
        asked = {"set": [NGRAM], "acceptance_rate": 0.5, "seed": seed}
        return float(measured(**asked)["metrics"]["accepted_draft_tokens"])

    assert accepted(3) == accepted(3) != accepted(4)


def test_a_plan_predicts_a_study_that_speculates() -> None:
    asked = ASKED | TRAFFIC | {"load": "offered", "set": [NGRAM], "acceptance_rate": 0.7}
    planned = plan(Options(**asked))
    assert planned.splitlines()[-1].startswith("Predicted: ")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"range": ["speculative_config=none,ngram"]},
            "`speculative_config` on a simulated engine needs --acceptance-rate, accepted tokens "
            "over drafted ones: it depends on the text, and a simulation has none. A study with "
            "--engine vllm measures it (acceptance_rate), and so does vLLM's own log.",
        ),
        (
            {"acceptance_rate": 0.7},
            "--acceptance-rate is about drafted tokens, but `speculative_config` stays none; add "
            "--set speculative_config=ngram, or --range speculative_config=none,ngram.",
        ),
        (
            {
                "acceptance_rate": 0.7,
                "set": ["speculative_config=draft:meta-llama/Llama-2-7b-chat-hf"],
            },
            "A draft model must have the vocabulary of meta-llama/Llama-3.1-8B-Instruct (128256 "
            "tokens), but meta-llama/Llama-2-7b-chat-hf has 32000; name another after `draft:`.",
        ),
        (
            {"acceptance_rate": 0.7, "range": ["speculative_config=none,draft:./nothere"]},
            "There is no folder './nothere'.",
        ),
        (
            {"acceptance_rate": 0.7, "set": [NGRAM], "engine": "vllm"},
            "--acceptance-rate is for --engine simulated, but the engine is vllm.",
        ),
        (
            {"acceptance_rate": 0.7, "engine": "openai", "url": "http://127.0.0.1:9"},
            "--acceptance-rate is for --engine simulated, but the engine is openai.",
        ),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_how_to_mend_it(
    options: dict[str, Any], sentence: str
) -> None:
    assert refused(**options) == sentence
