"""Settings to try early, read from a vLLM config file such as ``best/<quadrant>.yaml``."""

from pathlib import Path

from search_spaces import Config, SearchSpace, Value
from search_spaces.vllm_speculation import word_of
from tuner.errors import BadInput
from tuner.yaml_file import YamlFile, read_yaml

SPECULATION = "speculative_config"


def read_settings(path: Path, space: SearchSpace) -> Config:
    """The knobs that the file sets; ``no-x: true`` means that ``x`` is false.

    Raises:
        BadInput: the file cannot be read, sets no knob, or sets one to what it cannot be.
    """
    file = read_yaml(path, "--start-from")
    if not isinstance(file.content, dict):
        raise BadInput(f"{file.name}: must hold lines such as `max-num-seqs: 64`.")
    settings: dict[str, Value] = {}
    for key, value in file.content.items():
        name, meant = _spelled(str(key), value)
        if name in settings:
            raise BadInput(f"{file.place([str(key)])}: `{name}` stands twice; drop one.")
        if name in {knob.name for knob in space.knobs}:
            settings[name] = _checked(space, name, meant, file, key)
    if not settings:
        known = ", ".join(knob.name.replace("_", "-") for knob in space.knobs)
        raise BadInput(f"{file.name}: sets no knob that is known here ({known}).")
    return settings


def _spelled(key: str, value: object) -> tuple[str, object]:
    name = key.replace("-", "_")
    if isinstance(value, bool) and name.startswith("no_"):
        return name.removeprefix("no_"), not value
    return name, value


def _checked(space: SearchSpace, name: str, value: object, file: YamlFile, key: object) -> Value:
    place = file.place([str(key)])
    if name == SPECULATION and isinstance(value, dict):
        value = word_of(value) or value
    if not isinstance(value, (bool, int, float, str)):
        raise BadInput(f"{place}: `{name}` must be one value, but is a {type(value).__name__}.")
    try:
        return space.knob(name).check(value)
    except ValueError as error:
        raise BadInput(f"{place}: {error}") from error
