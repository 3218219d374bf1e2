"""Values of llm-d's modelservice chart 0.4.12.

The chart adds ``--tensor-parallel-size``, ``--port`` and ``--served-model-name`` itself: said
again in the arguments, they would be there twice.
"""

from typing import Any

from results.export import closed
from results.export.kserve import replica_notes, uri
from results.export.kubernetes import GPUS, start_note
from results.export.production_stack import weights_gib
from results.export.serving import Serving
from results.export.target import IMAGE, CannotExpress, Files, Rendered, Target, ours_dropped
from results.export.words import settings_of, words
from results.export.yaml_text import dump, load

ELSEWHERE = ("model", "tensor_parallel_size", "data_parallel_size")
PRIORITY = (
    "Two priorities meet here: vLLM serves LOWER numbers first, llm-d's InferenceObjective HIGHER "
    "ones."
)
CLOSED = {
    "modelArtifacts": {"name": str, "uri": str, "size": str},
    "routing": {"servicePort": int, "proxy": {"enabled": False}},
    "decode": {
        "create": True,
        "replicas": int,
        "parallelism": {"tensor": int},
        "containers": [
            {
                "name": "vllm",
                "image": str,
                "modelCommand": "vllmServe",
                "args": [str],
                "mountModelVolume": True,
                "resources?": {"limits": {GPUS: closed.COUNT}},
                "startupProbe": {
                    "httpGet": {"path": "/health", "port": int},
                    "periodSeconds": int,
                    "timeoutSeconds": int,
                    "failureThreshold": int,
                },
            }
        ],
    },
    "prefill": {"create": False},
}


def render(serving: Serving) -> Rendered:
    where = uri(serving)
    if not where.startswith(("hf://", "pvc://")):
        raise CannotExpress("model", f"{where} is neither hf:// nor pvc://")
    values = {
        "modelArtifacts": {
            "name": serving.model,
            "uri": where,
            "size": f"{2 * weights_gib(serving)}Gi",  # the weights and what is left of a download
        },
        # No prefill pods, so nothing to route between.
        "routing": {"servicePort": 8000, "proxy": {"enabled": False}},
        "decode": {
            "create": True,
            "replicas": serving.replicas,
            "parallelism": {"tensor": serving.gpus_per_replica},
            "containers": [_container(serving)],
        },
        "prefill": {"create": False},
    }
    priority = serving.settings.get("scheduling_policy") == "priority"
    return Rendered(
        files={f"{serving.quadrant}.values.yaml": dump(values)},
        dropped=ours_dropped(serving.ours),
        notes=(*replica_notes(serving), *([PRIORITY] if priority else []), start_note(serving)),
    )


def _container(serving: Serving) -> dict[str, Any]:
    rest = {n: v for n, v in serving.settings.items() if n not in ELSEWHERE}
    container: dict[str, Any] = {
        "name": "vllm",
        "image": IMAGE,
        "modelCommand": "vllmServe",
        "args": words(rest),
        "mountModelVolume": True,
        "startupProbe": {
            "httpGet": {"path": "/health", "port": 8000},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": -(-serving.start_budget_s // 10),
        },
    }
    if not serving.on_cpu:
        container["resources"] = {"limits": {GPUS: str(serving.gpus_per_replica)}}
    return container


def _only(files: Files) -> Any:
    (text,) = files.values()
    return load(text)


def complaints(files: Files) -> list[str]:
    found = _only(files)
    wrong = closed.complaints(found, CLOSED)
    if wrong:
        return wrong
    (container,) = found["decode"]["containers"]
    twice = [n for n in settings_of(container["args"]) if n in ELSEWHERE]
    return [f"`{name}` is said twice" for name in twice]


def read(files: Files) -> dict[str, Any]:
    found = _only(files)
    (container,) = found["decode"]["containers"]
    return {
        "model": found["modelArtifacts"]["name"],
        "tensor_parallel_size": found["decode"]["parallelism"]["tensor"],
        "data_parallel_size": found["decode"]["replicas"],
        **settings_of(container["args"]),
    }


TARGET = Target(
    name="llm-d",
    about="Helm values of llm-d's modelservice chart 0.4.12",
    source="values.yaml and values.schema.json of chart llm-d-modelservice 0.4.12",
    render=render,
    complaints=complaints,
    read=read,
)
