"""A Compose file for one vLLM container, and the config file that it mounts."""

import re
from typing import Any

from results.export import closed
from results.export.parsers.compose import config_check
from results.export.serving import Serving
from results.export.target import (
    IMAGE,
    Files,
    Parser,
    Rendered,
    Target,
    ours_dropped,
)
from results.export.vllm import config_text, file_complaints
from results.export.words import settings_of_file
from results.export.yaml_text import dump, load

FOLDER = "/etc/vllm"
PORT = 8000
HEALTH = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{PORT}/health')"
"""The image has Python for certain, curl perhaps."""
SECONDS = re.compile(r"[0-9]+s")
CLOSED = {
    "services": {
        "vllm": {
            "image": str,
            "command": [str],
            "ipc": "host",
            "ports": [str],
            "volumes": [str],
            "restart": "always",
            "healthcheck": {
                "test": [str],
                "interval": SECONDS,
                "timeout": SECONDS,
                "retries": int,
                "start_period": SECONDS,
            },
            "deploy?": {
                "resources": {
                    "reservations": {
                        "devices": [{"driver": "nvidia", "count": int, "capabilities": [str]}]
                    }
                }
            },
        }
    }
}


def render(serving: Serving) -> Rendered:
    config = f"{serving.quadrant}.yaml"
    document = {"services": {"vllm": _service(serving, config)}}
    return Rendered(
        files={
            f"{serving.quadrant}.compose.yaml": dump(document),
            config: config_text(serving.settings),
        },
        dropped=ours_dropped(serving.ours),
        notes=cpu_notes(serving),
    )


def cpu_notes(serving: Serving) -> tuple[str, ...]:
    if not serving.on_cpu:
        return ()
    return (f"Tuned on a CPU build: replace the image {IMAGE} by one for CPUs.",)


def _service(serving: Serving, config: str) -> dict[str, Any]:
    mounted = [f"./{config}:{FOLDER}/{config}:ro"]
    if serving.model_is_folder:
        mounted.append(f"{serving.model}:{serving.model}:ro")
    service: dict[str, Any] = {
        "image": IMAGE,
        # Two words: vLLM overlooks --config=FILE.
        "command": ["--config", f"{FOLDER}/{config}"],
        "ipc": "host",
        "ports": [f"{PORT}:{PORT}"],
        "volumes": [_escaped(mount) for mount in mounted],
        "restart": "always",
        "healthcheck": {
            "test": ["CMD", "python3", "-c", HEALTH],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": f"{serving.start_budget_s}s",
        },
    }
    if not serving.on_cpu:
        gpus = {"driver": "nvidia", "count": serving.gpus, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [gpus]}}}
    return service


def _escaped(text: str) -> str:
    """``$`` begins a variable."""
    return text.replace("$", "$$")


def compose(files: Files) -> str:
    return next(text for name, text in files.items() if name.endswith(".compose.yaml"))


def config(files: Files) -> str:
    return next(text for name, text in files.items() if not name.endswith(".compose.yaml"))


def complaints(files: Files) -> list[str]:
    return [
        *closed.complaints(load(compose(files)), CLOSED),
        *file_complaints(config(files)),
    ]


def read(files: Files) -> dict[str, Any]:
    return settings_of_file(config(files))


TARGET = Target(
    name="compose",
    about="a Compose file with one vLLM container",
    source="the Compose specification's services section (compose-spec.json)",
    render=render,
    complaints=complaints,
    read=read,
    config_text=config,
    parsers=(Parser("docker compose config", config_check),),
)
