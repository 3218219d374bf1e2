"""A winner as a config file for ``vllm serve --config``.

A boolean that is true by default must be written ``no-<flag>: true``: vLLM 0.32 silently drops
``<flag>: false`` and starts with it on.
"""

from typing import Any

from results.export.comments import commented
from results.export.serving import Serving, Settings, engine_settings, our_settings
from results.export.target import Files, Rendered, Target, ours_dropped
from results.export.words import settings_of_file
from results.export.yaml_text import dump, load
from search_spaces import Config, SearchSpace


def config_file(
    config: Config, space: SearchSpace, *, model: str, max_model_len: int, header: list[str]
) -> str:
    """The file's text: a header of comments, then one setting a line.

    Our own knobs have no place in it: the stock engine knows none of them. The header says which
    were left out, and which settings may change what the model answers.
    """
    settings = engine_settings(config, space, model=model, max_model_len=max_model_len)
    return commented(".yaml", config_text(settings), [*header, *_warnings(config, space)])


def config_text(settings: Settings) -> str:
    """One setting a line; dashes, as on the command line."""
    return dump(_flagged(settings))


def lossy_settings(config: Config, space: SearchSpace) -> list[str]:
    """What may change the model's answers, as text."""
    turned = [knob for knob in space.knobs if knob.lossy and config[knob.name] != knob.default]
    return [f"{knob.name} {config[knob.name]}" for knob in turned]


def _flagged(settings: Settings) -> dict[str, Any]:
    flagged: dict[str, Any] = {}
    for name, value in settings.items():
        flag = name.replace("_", "-")
        flagged |= {f"no-{flag}": True} if value is False else {flag: value}
    return flagged


def _warnings(config: Config, space: SearchSpace) -> list[str]:
    """What is missing from the file, and what in it may change answers."""
    ours = [f"{name} {value}" for name, value in our_settings(config, space).items()]
    lossy = lossy_settings(config, space)
    lines = []
    if ours:
        text = "Tuned with our scheduler class, whose settings this file leaves out: "
        lines.append(f"{text}{', '.join(ours)}.")
    if lossy:
        lines.append(f"May change what the model answers: {', '.join(lossy)}.")
    return lines


def render(serving: Serving) -> Rendered:
    return Rendered(
        files={f"{serving.quadrant}.yaml": config_text(serving.settings)},
        dropped=ours_dropped(serving.ours),
    )


def file_complaints(text: str) -> list[str]:
    """A flat mapping without ``false``; which flags there are is for vLLM's own list to say."""
    found = load(text)
    if not isinstance(found, dict):
        return ["the file must be a mapping of flags"]
    return [f"`{key}: false` is dropped by vLLM" for key, value in found.items() if value is False]


def _only(files: Files) -> str:
    (text,) = files.values()
    return text


TARGET = Target(
    name="vllm",
    about="a config file for `vllm serve --config`",
    source="how vLLM 0.32.0 reads --config (vllm/utils/argparse_utils.py)",
    render=render,
    complaints=lambda files: file_complaints(_only(files)),
    read=lambda files: settings_of_file(_only(files)),
    config_text=_only,
)
