from pathlib import Path

import pytest

from objectives import Bound, Profile, Quadrant
from objectives.arrivals import AllAtOnce, ClosedLoop, Constant, Fixed, Gamma, Lognormal, Uniform
from tuner import presets
from tuner.study_file import ArrivalsEntry, LengthsEntry, WorkloadEntry

ROOT = Path(__file__).parents[2]
RECIPE = """\
quadrant: live-at-scale
sla: {p95_ttft_ms<=800: "ours"}
workload:
  lengths:
    input: {median: 1200, p90: 3000, longest: 8192}
    output: {tokens: 256, spread: 0.5}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def test_the_presets_are_listed_by_quadrant() -> None:
    assert presets.preset_names() == (
        "agent",
        "api",
        "rag",
        "chat",
        "code",
        "reasoning",
        "offline",
        "summarize",
    )


def test_every_number_a_preset_promises_has_a_source() -> None:
    bounds = [bound for name in presets.preset_names() for bound in presets.load(name).profile.sla]
    assert [bound for bound in bounds if len(bound.source) < 10] == []


def test_a_preset_is_its_promise_and_its_traffic() -> None:
    chat = presets.load("chat")
    assert chat == presets.Objective(
        profile=Profile(
            name="chat",
            quadrant=Quadrant.INTERACTIVE,
            sla=(
                Bound(
                    "p95_tpot_ms",
                    "<=",
                    40.0,
                    "MLPerf Inference, Llama-2-70B interactive (40 ms, there p99)",
                ),
                Bound(
                    "p95_ttft_ms",
                    "<=",
                    500.0,
                    "MLPerf Inference, Llama-3.1-8B interactive (500 ms, there p99)",
                ),
            ),
        ),
        workload=WorkloadEntry(trace="azure2023_conv.csv"),
        folder=None,
        settings={},
        ranges={},
        file=chat.file,
    )


def test_every_quadrant_has_a_promise_that_stands_for_it() -> None:
    names = {quadrant: profile.name for quadrant, profile in presets.quadrant_profiles().items()}
    assert names == {
        Quadrant.LIVE_AT_SCALE: "rag",
        Quadrant.INTERACTIVE: "chat",
        Quadrant.ECONOMY: "reasoning",
        Quadrant.BULK: "summarize",
    }


def test_a_file_says_only_what_differs_from_the_preset_it_extends(file: Path) -> None:
    file.write_text("extends: chat\nset: {max_num_seqs: 8}\nrange: {batch_policy: 'a,b'}\n")
    chat, mine = presets.load("chat"), presets.load(str(file))
    assert mine.profile == Profile(
        name="mine", quadrant=chat.profile.quadrant, sla=chat.profile.sla
    )
    assert (mine.workload, mine.folder) == (chat.workload, None)
    assert (mine.settings, mine.ranges) == ({"max_num_seqs": 8}, {"batch_policy": "a,b"})


def test_an_empty_promise_replaces_that_of_the_preset(file: Path) -> None:
    file.write_text("extends: chat\nsla: {}\n")
    assert presets.load(str(file)).profile.sla == ()


def test_a_trace_is_looked_for_beside_the_file_that_names_it(file: Path) -> None:
    file.write_text("extends: chat\nworkload: {trace: logs/mine.csv, window: [600, 1800]}\n")
    mine = presets.load(str(file))
    assert mine.folder == file.parent
    assert mine.workload == WorkloadEntry(trace="logs/mine.csv", window=(600.0, 1800.0))


def test_a_file_without_a_preset_says_everything(file: Path) -> None:
    file.write_text(RECIPE)
    mine = presets.load(str(file))
    assert mine.profile.sla == (Bound("p95_ttft_ms", "<=", 800.0, "ours"),)
    assert mine.workload.recipe().lengths == (Lognormal(1200, 3000, 8192), Uniform(256, 0.5))


def test_a_range_is_no_sexagesimal_number(file: Path) -> None:
    file.write_text("extends: chat\nrange:\n  max_num_seqs: 8:32\nset: {a: 010, b: 1e3}\n")
    mine = presets.load(str(file))
    assert (mine.ranges, mine.settings) == ({"max_num_seqs": "8:32"}, {"a": 10, "b": 1000.0})


@pytest.mark.parametrize(
    ("entry", "process"),
    [
        (ArrivalsEntry(), Gamma(1.0)),
        (ArrivalsEntry(process="poisson", request_rate=4.0), Gamma(4.0)),
        (ArrivalsEntry(process="gamma", cv=2.0), Gamma(1.0, 2.0)),
        (ArrivalsEntry(process="constant", request_rate=2.0), Constant(2.0)),
        (ArrivalsEntry(process="closed-loop", concurrency=8), ClosedLoop(8)),
        (ArrivalsEntry(process="all-at-once"), AllAtOnce()),
    ],
)
def test_arrivals_are_a_process(entry: ArrivalsEntry, process: object) -> None:
    assert entry.arrivals() == process


def test_lengths_are_fixed_uniform_or_lognormal() -> None:
    assert LengthsEntry(tokens=9).lengths() == Fixed(9)
    assert LengthsEntry(tokens=9, spread=0.5).lengths() == Uniform(9, 0.5)
    assert LengthsEntry(median=9, p90=20, longest=99).lengths() == Lognormal(9, 20, 99)


def test_every_preset_may_be_copied_into_a_file(file: Path) -> None:
    for name in presets.preset_names():
        text = (ROOT / "objectives" / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
        file.write_text(text)
        preset, copied = presets.load(name), presets.load(str(file))
        assert (copied.profile.sla, copied.workload) == (preset.profile.sla, preset.workload)
