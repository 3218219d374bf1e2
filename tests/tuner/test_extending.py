"""What docs/extending.md shows, taken from the page and run."""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import yaml

from results.export import TARGETS
from results.export.serving import engine_settings
from runners import Description, EngineError, Runner
from runners.testing import RunnerContract
from search_spaces import Config
from tests.results.export.cases import DEFAULT, MODEL, SPACE, serving
from tests.tuner.conftest import QUICK, Tune

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
SHOWN = dict(
    re.findall(r"^## An? (\w+)$.*?^```\w+\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
)
MOST_LINES = 40
SERVER = """\
import signal, sys
from runners.testing.server import Answer, CompletionServer
given = dict(argument.removeprefix("--").split("=") for argument in sys.argv[1:])
if int(given.get("slots", 1)) > 8:
    sys.exit("8 slots are the most")
with CompletionServer(Answer(ttft_s=0.005, gap_s=0.001), port=int(given["port"]), token_ids=False):
    signal.sigwait({signal.SIGTERM})
"""


def shown(name: str) -> ModuleType:
    """A module of the code that the page shows under a heading."""
    module = ModuleType(f"shown_{name}")
    sys.modules[module.__name__] = module  # where dataclasses look for the types they name
    exec(compile(SHOWN[name], f"{PAGE}: {name}", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", ["objective", "knob", "exporter", "engine"])
def test_what_the_page_shows_is_less_than_forty_lines(name: str) -> None:
    assert len([line for line in SHOWN[name].splitlines() if line.strip()]) < MOST_LINES


def test_the_objective_shown_is_planned_with_its_sources(tmp_path: Path, tune: Tune) -> None:
    file = tmp_path / "voice.yaml"
    file.write_text(SHOWN["objective"], "utf-8")
    planned = tune("plan", "--objective", file)
    assert planned.status == 0
    for bound, source in yaml.safe_load(SHOWN["objective"])["sla"].items():
        assert bound in planned.out
        assert source in " ".join(planned.out.split())


def test_the_knob_shown_is_searched_ruled_and_exported() -> None:
    made = shown("knob")
    space = replace(
        SPACE,
        knobs=(*SPACE.knobs, made.KNOB),
        searched={**SPACE.searched, made.KNOB.name: made.KNOB.domain},
        rules=(*SPACE.rules, made.RULE),
    )
    default = space.default()
    assert (default[made.KNOB.name], space.turned(default)) == (1, ())
    turned = {**default, made.KNOB.name: 4}
    assert space.turned(turned) == (made.KNOB.name,)
    alone = {**turned, "tensor_parallel_size": 4, "data_parallel_size": 1}
    assert [rule.reads for rule in space.broken_rules(turned)] == []
    assert [rule.reads for rule in space.broken_rules(alone)] == [made.RULE.reads]
    settings = engine_settings(turned, space, model=MODEL.name, max_model_len=8192)
    (text,) = TARGETS["vllm"].render(serving(DEFAULT, settings=settings)).files.values()
    assert yaml.safe_load(text)["prefill-schedule-interval"] == 4


def test_the_exporter_shown_writes_what_it_reads_back_and_refuses_what_was_spoilt(
    tmp_path: Path, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = shown("exporter").TARGET
    monkeypatch.setitem(TARGETS, target.name, target)
    served = serving(DEFAULT)
    files = target.render(served).files
    assert (target.complaints(files), target.read(files)) == ([], served.settings)
    spoilt = {name: text.replace("[Service]", "[Sevice]") for name, text in files.items()}
    assert target.complaints(spoilt) == ["the unit must have our shape"]
    assert tune(*QUICK, "--trials=1", "--quiet", f"--output={tmp_path}/study").status == 0
    exported = tune("export", f"{tmp_path}/study", "--quadrant=interactive", "--to=quadlet")
    assert exported.status == 0
    unit = (tmp_path / "study/exports/quadlet/vllm-interactive.container").read_text("utf-8")
    assert unit.startswith("# paretune study")
    assert target.complaints({"unit": unit}) == []


class TestTheEngineShown(RunnerContract):
    @pytest.fixture(autouse=True)
    def busy_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("runners.load.tally.LATE_MS", math.inf)

    @pytest.fixture
    def runner(self) -> Runner:
        runner: Runner = shown("engine").CommandRunner(
            (sys.executable, "-c", SERVER),
            {"max_num_seqs": "--slots"},
            Description(
                engine="shown",
                version="1",
                simulated=False,
                uncertainty="Measured here.",
                noiseless=False,
            ),
        )
        return runner

    @pytest.fixture
    def config(self) -> Config:
        return {"max_num_seqs": 8}

    @pytest.fixture
    def unfit_config(self) -> Config:
        return {"max_num_batched_tokens": 8}

    @pytest.fixture
    def leftovers(self) -> Callable[[], object]:
        return lambda: [c.pid for c in psutil.Process().children(recursive=True)]

    def test_a_server_that_ends_at_once_is_quoted(self, runner: Runner) -> None:
        with (
            pytest.raises(EngineError, match="8 slots are the most"),
            runner.launch({"max_num_seqs": 9}),
        ):
            pass
