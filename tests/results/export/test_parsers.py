"""The targets' own parsers, where they are installed."""

import pytest

from objectives import Quadrant
from results.export import TARGETS
from results.export.target import NotInstalled, Parser, Target
from tests.results.export.cases import CONFIGS, serving

PARSERS = [(target, parser) for target in TARGETS.values() for parser in target.parsers]


@pytest.mark.parametrize(("target", "parser"), PARSERS, ids=[p.name for _, p in PARSERS])
@pytest.mark.parametrize("quadrant", list(Quadrant))
def test_the_targets_own_parser_takes_the_files(
    target: Target, parser: Parser, quadrant: Quadrant
) -> None:
    files = target.render(serving(CONFIGS[quadrant], quadrant)).files
    try:
        assert parser.complaints(files) == []
    except NotInstalled as missing:
        pytest.skip(f"{parser.name}: {missing}")
