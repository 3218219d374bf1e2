"""A systemd unit that starts vLLM from its config file.

``Restart=always``, not ``on-failure``: vLLM 0.32 exits with status 0 when its engine core dies.
"""

import re
from collections.abc import Iterator
from typing import Any

from results.export.parsers.systemd import verify
from results.export.serving import Serving
from results.export.target import Files, Parser, Rendered, Target, ours_dropped
from results.export.vllm import config_text, file_complaints
from results.export.words import settings_of_file

FOLDER = "/etc/vllm"
PROGRAM = "/opt/vllm/bin/vllm"
CLOSED = {
    "Unit": {"Description", "Documentation", "After", "Wants", "StartLimitIntervalSec"},
    "Service": {
        *("Type", "ExecStart", "Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec"),
        *("KillMode", "User", "Environment"),
    },
    "Install": {"WantedBy"},
}
"""systemd.unit(5), systemd.service(5), of systemd 252."""


def render(serving: Serving) -> Rendered:
    config = f"{serving.quadrant}.yaml"
    return Rendered(
        files={
            f"vllm-{serving.quadrant}.service": _unit(serving, config),
            config: config_text(serving.settings),
        },
        dropped=ours_dropped(serving.ours),
        notes=(
            f"{config} goes to {FOLDER}, the unit to /etc/systemd/system; ExecStart names where "
            f"vLLM is ({PROGRAM}).",
        ),
    )


def _unit(serving: Serving, config: str) -> str:
    return f"""\
[Unit]
Description=vLLM serving {_escaped(serving.model)} ({serving.quadrant})
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={PROGRAM} serve --config {FOLDER}/{config}
# vLLM exits with status 0 when its engine core dies: on-failure would leave it down.
Restart=always
RestartSec=10
TimeoutStartSec={serving.start_budget_s}
TimeoutStopSec=60
KillMode=control-group

[Install]
WantedBy=multi-user.target
"""


def _escaped(text: str) -> str:
    """``%`` begins a specifier."""
    return text.replace("%", "%%")


def unit(files: Files) -> str:
    return next(text for name, text in files.items() if name.endswith(".service"))


def config(files: Files) -> str:
    return next(text for name, text in files.items() if name.endswith(".yaml"))


def complaints(files: Files) -> list[str]:
    wrong = [f"`{key}` of [{section}] is no key of it" for section, key in _unknown(unit(files))]
    if not re.search(rf"^ExecStart=\S+ serve --config {FOLDER}/\S+\.yaml$", unit(files), re.M):
        wrong.append("`ExecStart` must start vLLM from its config file")
    return [*wrong, *file_complaints(config(files))]


def _unknown(text: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key = line.partition("=")[0]
            if key not in CLOSED.get(section, set()):
                yield section, key


def read(files: Files) -> dict[str, Any]:
    return settings_of_file(config(files))


TARGET = Target(
    name="systemd",
    about="a systemd unit, and the config file that it starts vLLM from",
    source="systemd.service(5) and systemd.unit(5) of systemd 252",
    render=render,
    complaints=complaints,
    read=read,
    config_text=config,
    parsers=(Parser("systemd-analyze verify", lambda files: verify(unit(files))),),
)
