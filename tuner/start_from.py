"""Settings to try early, read from a vLLM config file such as ``best/<quadrant>.yaml``."""

from pathlib import Path

import yaml

from search_spaces import Value
from tuner.errors import BadInput


def read_settings(path: Path) -> dict[str, Value]:
    """Flat settings by knob name; ``no-x: true`` means ``x`` is false.

    Raises:
        BadInput: the file cannot be read or is not a flat mapping.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise BadInput(f"--start-from: cannot read {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"--start-from: {path} is not YAML: {error}.") from error
    if not isinstance(content, dict):
        raise BadInput(f"--start-from: {path} must hold `knob: value` lines.")
    settings: dict[str, Value] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if isinstance(value, bool) and name.startswith("no_"):
            settings[name.removeprefix("no_")] = not value
        elif isinstance(value, (bool, int, float, str)):
            settings[name] = value
    return settings
