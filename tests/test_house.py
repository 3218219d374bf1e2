import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PROGRAMS = sorted(
    path for folder in ("examples", "benchmarks") for path in ROOT.glob(f"{folder}/*.py")
)

OUTSIDERS_OF = """
import importlib, pkgutil, sys
root, leaf = sys.argv[1:]
sys.path.insert(0, root)
# Site-packages may start modules of its own before the first line runs.
before = set(sys.modules)
package = importlib.import_module(leaf)
for module in pkgutil.walk_packages(package.__path__, f"{leaf}."):
    importlib.import_module(module.name)
roots = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(roots - sys.stdlib_module_names))
"""


def shown(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def test_the_wheel_the_types_and_the_layers_are_of_the_same_five_packages() -> None:
    assert PACKAGES == ["tuner", "search_spaces", "objectives", "runners", "results"]
    assert PYPROJECT["tool"]["mypy"]["packages"] == [*PACKAGES, "tests"]
    assert PYPROJECT["tool"]["importlinter"]["root_packages"] == PACKAGES


def test_every_package_ships_its_types() -> None:
    assert [name for name in PACKAGES if not (ROOT / name / "py.typed").is_file()] == []


def test_every_folder_of_modules_is_a_package() -> None:
    # What only vLLM's Python imports is no package of ours.
    folders = sorted({module.parent for module in MODULES if module.parent.name != "inside"})
    assert shown([folder for folder in folders if not (folder / "__init__.py").is_file()]) == []


def test_every_module_says_what_a_reader_finds_there() -> None:
    silent = [
        path
        for path in [*MODULES, *PROGRAMS]
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert shown(silent) == []


@pytest.mark.parametrize("leaf", ["objectives", "search_spaces"])
def test_a_leaf_imports_the_standard_library_only(leaf: str) -> None:
    outsiders = subprocess.run(
        [sys.executable, "-I", "-c", OUTSIDERS_OF, str(ROOT), leaf],
        capture_output=True,
        check=True,
        text=True,
    )
    assert outsiders.stdout.split() == [leaf]
