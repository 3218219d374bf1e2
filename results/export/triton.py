"""Triton model repositories: one for its vLLM backend, one for TensorRT-LLM's LLM API backend.

Triton's dynamic batcher does not batch for either: the engine does, and ``max_batch_size`` is 0.
"""

import json
import re
from typing import Any

from results.export import closed, tensorrt_llm
from results.export.kubernetes import folder_notes
from results.export.parsers.triton import config_check
from results.export.serving import Serving
from results.export.target import Dropped, Files, Parser, Rendered, Target, ours_dropped
from results.export.yaml_text import dump, load

CONFIG = """\
backend: "vllm"
instance_group [
  {
    count: 1
    kind: KIND_MODEL
  }
]
"""
"""The backend sets ``max_batch_size`` 0 and decoupled answers itself."""
LLMAPI = {
    **tensorrt_llm.CLOSED,
    "model": str,
    "backend": "pytorch",
    "triton_config": {"max_batch_size": 0, "decoupled": True},
}
ARGUMENTS = {str: (int, float, str, bool, {str: (int, str)})}
PRIORITY = (
    "Triton's priority_levels (1 first) order its own queues, which stay empty here; vLLM's "
    "priorities (LOWER first) are for requests that reach vLLM with one."
)


def render(serving: Serving) -> Rendered:
    document, _ = tensorrt_llm.arguments(serving)
    llmapi = {
        "model": serving.model,
        "backend": "pytorch",
        **document,
        "triton_config": {"max_batch_size": 0, "decoupled": True},
    }
    folder = f"{serving.quadrant}/vllm"
    priority = serving.settings["scheduling_policy"] == "priority"
    return Rendered(
        files={
            f"{folder}/config.pbtxt": CONFIG,
            f"{folder}/1/model.json": json.dumps(dict(serving.settings), indent=2) + "\n",
            f"{serving.quadrant}/tensorrt_llm/1/model.yaml": dump(llmapi),
        },
        dropped=_dropped(serving),
        notes=(
            "vllm/ is a model of the vLLM backend, measured as vLLM; tensorrt_llm/1/model.yaml "
            "replaces the one in TensorRT-LLM's triton_backend/all_models/llmapi/tensorrt_llm, "
            "not measured.",
            *([PRIORITY] if priority else []),
            *tensorrt_llm.memory_notes(document),
            *folder_notes(serving),
        ),
    )


def _dropped(serving: Serving) -> tuple[Dropped, ...]:
    """Of the vLLM backend what stock vLLM lacks; of TensorRT-LLM what it lacks."""
    theirs = tensorrt_llm.render(serving).dropped
    ours = ours_dropped(serving.ours)
    known = {dropped.knob for dropped in ours}
    only = [
        Dropped(d.knob, d.value, f"in TensorRT-LLM's file alone: {d.keep}")
        for d in theirs
        if d.knob not in known
    ]
    return (*ours, *only)


def _named(files: Files, ending: str) -> str:
    return next(text for name, text in files.items() if name.endswith(ending))


def complaints(files: Files) -> list[str]:
    config = _named(files, "config.pbtxt")
    body = "".join(x for x in config.splitlines(keepends=True) if not x.startswith("#"))
    return [
        *([] if re.fullmatch(re.escape(CONFIG), body) else ["config.pbtxt must be as it was"]),
        *closed.complaints(json.loads(_named(files, "model.json")), ARGUMENTS),
        *closed.complaints(load(_named(files, "model.yaml")), LLMAPI),
    ]


def read(files: Files) -> dict[str, Any]:
    return dict(json.loads(_named(files, "model.json")))


TARGET = Target(
    name="triton",
    about="Triton model repositories: vLLM backend, TensorRT-LLM's LLM API backend",
    source="Triton's model_config.proto; TensorRT-LLM's triton_backend/all_models/llmapi",
    render=render,
    complaints=complaints,
    read=read,
    parsers=(
        Parser("tritonclient's ModelConfig", lambda f: config_check(_named(f, "config.pbtxt"))),
    ),
)
