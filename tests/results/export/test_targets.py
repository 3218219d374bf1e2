"""What holds of every target."""

from pathlib import PurePath
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objectives import Quadrant
from results.export import TARGETS
from results.export.serving import Serving
from results.export.target import CannotExpress, Rendered, Target
from tests.results.export.cases import CONFIGS, DEFAULT, SPACE, serving, servings
from tests.results.export.golden import GOLDEN, written

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
every_vllm = pytest.mark.parametrize(
    "target", [t for t in TARGETS.values() if t.read is not None], ids=lambda t: t.name
)
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@every_target
@pytest.mark.parametrize("quadrant", list(Quadrant))
def test_the_files_are_the_golden_ones(target: Target, quadrant: Quadrant) -> None:
    found = dict(written(target, quadrant))
    golden = {name: (GOLDEN / target.name / name).read_text("utf-8") for name in found}
    assert found == golden


def test_no_golden_file_is_of_a_target_or_quadrant_that_is_gone() -> None:
    there = {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*") if path.is_file()}
    made = {
        f"{target.name}/{name}"
        for target in TARGETS.values()
        for quadrant in Quadrant
        for name, _ in written(target, quadrant)
    }
    assert there == made


def test_the_interactive_golden_config_turns_every_knob() -> None:
    assert SPACE.departures(CONFIGS[Quadrant.INTERACTIVE]) == tuple(k.name for k in SPACE.knobs)


def rendered(target: Target, served: Serving) -> Rendered | None:
    try:
        return target.render(served)
    except CannotExpress:
        return None


@every_target
@quick
@given(served=servings)
def test_any_config_is_within_the_closed_schema(target: Target, served: Serving) -> None:
    files = rendered(target, served)
    if files is not None:
        assert target.complaints(files.files) == []


@every_vllm
@quick
@given(served=servings)
def test_vllm_is_told_every_setting_with_its_meaning(target: Target, served: Serving) -> None:
    assert target.read is not None
    assert target.read(target.render(served).files) == dict(served.settings)


@every_target
@quick
@given(served=servings)
def test_what_our_scheduler_class_does_is_reported(target: Target, served: Serving) -> None:
    files = rendered(target, served)
    if files is None:
        return
    reported = {dropped.knob for dropped in files.dropped}
    assert set(served.ours) <= reported


@every_vllm
def test_the_default_config_loses_nothing_where_vllm_serves(target: Target) -> None:
    assert [
        dropped
        for dropped in target.render(serving(DEFAULT)).dropped
        if "in TensorRT-LLM's file alone" not in dropped.keep
    ] == []


def documents(text: str) -> list[Any]:
    return list(yaml.safe_load_all(text))


def mappings(value: Any) -> list[dict[str, Any]]:
    found = [value] if isinstance(value, dict) else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return found + [m for one in inner for m in mappings(one)]


@pytest.mark.parametrize(
    "target",
    [t for t in TARGETS.values() if t.name not in ("vllm", "env")],
    ids=lambda t: t.name,
)
@quick
@given(pick=st.randoms(use_true_random=False))
def test_a_key_that_nobody_knows_is_refused_wherever_it_stands(target: Target, pick: Any) -> None:
    files = dict(target.render(serving(DEFAULT)).files)
    name = pick.choice([n for n in files if closed_by_us(n, target)])
    if PurePath(name).suffix != ".yaml":
        files[name] = files[name] + "NobodyKnows=1\n"
    else:
        found = documents(files[name])
        closed = [m for m in mappings(found) if not open_to_all(m)]
        pick.choice(closed)["nobody_knows"] = 1
        files[name] = yaml.safe_dump_all(found)
    assert target.complaints(files) != []


def closed_by_us(name: str, target: Target) -> bool:
    """vLLM's own file is held against vLLM's flags instead."""
    if target.name == "triton":
        return not name.endswith("model.json")
    return target.config_text is None or name.endswith((".service", ".compose.yaml", ".k8s.yaml"))


def open_to_all(mapping: dict[str, Any]) -> bool:
    """A ConfigMap's files; vLLM's arguments, which are held against vLLM's flags instead."""
    return all(name.endswith(".yaml") for name in mapping) or "stream_interval" in mapping
