"""The golden files of every target and quadrant; ``python -m tests.results.export.golden`` writes
them anew, for a person to read the difference."""

from collections.abc import Iterator
from pathlib import Path

from objectives import Quadrant
from results.export import TARGETS
from results.export.comments import commented
from results.export.provenance import SUFFIX, header, provenance
from results.export.target import CannotExpress, Target
from tests.results.export.cases import CHECKED, CONFIGS, origin, serving

GOLDEN = Path(__file__).parents[2] / "golden" / "export"
WITH_PROVENANCE = "vllm"
"""The file is alike for all targets."""


def written(target: Target, quadrant: Quadrant) -> Iterator[tuple[str, str]]:
    """Names and texts, as a study would write them; of what cannot be said, why."""
    config = CONFIGS[quadrant]
    served, from_study = serving(config, quadrant), origin(config, quadrant)
    try:
        rendered = target.render(served)
    except CannotExpress as error:
        yield f"{quadrant}.refused.txt", f"{error}\n"
        return
    told = (from_study, served, target, rendered, CHECKED)
    for name, body in rendered.files.items():
        yield name, commented(name, body, header(*told))
        if target.name == WITH_PROVENANCE:
            yield f"{name}{SUFFIX}", provenance(*told)


def main() -> None:
    for target in TARGETS.values():
        for quadrant in Quadrant:
            for name, text in written(target, quadrant):
                path = GOLDEN / target.name / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
