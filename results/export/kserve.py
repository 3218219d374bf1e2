"""KServe 0.20: an LLMInferenceService, and an InferenceService for clusters without one.

Both run their arguments through a shell, which takes the quotes out of JSON: hence dotted flags.
Data-parallel replicas become replicas of the service, balanced by KServe instead of vLLM.
"""

import math
from typing import Any

from results.export import closed
from results.export.kubernetes import GPUS, PROBE, PROBE_PERIOD_S, probe, start_note
from results.export.serving import Serving, Settings
from results.export.target import CannotExpress, Files, Rendered, Target, ours_dropped
from results.export.words import plain_words, settings_of
from results.export.yaml_text import dump, load

ARGUMENTS = "VLLM_ADDITIONAL_ARGS"
TEMPLATES = ("tensor_parallel_size", "data_parallel_size", "model")
"""Said in other places than the arguments."""
RESOURCES = {"limits": {GPUS: closed.COUNT}}
LLM = {
    "apiVersion": "serving.kserve.io/v1alpha2",
    "kind": "LLMInferenceService",
    "metadata": {"name": str},
    "spec": {
        "model": {"uri": str, "name": str},
        "replicas": int,
        "parallelism": {"tensor": int},
        "router": {"route": {}, "scheduler": {}},
        "template": {
            "containers": [
                {
                    "name": "main",
                    "env": [{"name": str, "value": str}],
                    "resources?": RESOURCES,
                    "startupProbe": PROBE,
                }
            ]
        },
    },
}
PLAIN = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": str},
    "spec": {
        "predictor": {
            "minReplicas": int,
            "maxReplicas": int,
            "model": {
                "modelFormat": {"name": "vLLM"},
                "runtime": "kserve-vllmserver",
                "storageUri": str,
                "args": [str],
                "resources?": RESOURCES,
                "startupProbe": PROBE,
            },
        }
    },
}


def render(serving: Serving) -> Rendered:
    return Rendered(
        files={
            f"{serving.quadrant}.llminferenceservice.yaml": dump(_llm(serving)),
            f"{serving.quadrant}.inferenceservice.yaml": dump(_plain(serving)),
        },
        dropped=ours_dropped(serving.ours),
        notes=(*replica_notes(serving), start_note(serving)),
    )


def replica_notes(serving: Serving) -> tuple[str, ...]:
    """Where replicas are not vLLM's own any more."""
    if serving.replicas == 1:
        return ()
    return (
        f"data_parallel_size {serving.replicas} is written as {serving.replicas} replicas: "
        "requests are balanced by the product's router, not by vLLM as when measured.",
    )


def uri(serving: Serving) -> str:
    """
    Raises:
        CannotExpress: a folder of the machine that tuned.
    """
    if serving.model_is_folder:
        raise CannotExpress(
            "model", f"{serving.model} is a folder of one machine; --model names it for a cluster"
        )
    return serving.model if "://" in serving.model else f"hf://{serving.model}"


def _arguments(serving: Serving) -> list[str]:
    rest = {name: v for name, v in serving.settings.items() if name not in TEMPLATES}
    return plain_words(rest)


def _resources(serving: Serving) -> dict[str, Any]:
    if serving.on_cpu:
        return {}
    return {"resources": {"limits": {GPUS: str(serving.gpus_per_replica)}}}


def _patience(serving: Serving) -> dict[str, Any]:
    return {"startupProbe": probe(math.ceil(serving.start_budget_s / PROBE_PERIOD_S))}


def _llm(serving: Serving) -> dict[str, Any]:
    main = {
        "name": "main",
        "env": [{"name": ARGUMENTS, "value": " ".join(_arguments(serving))}],
        **_resources(serving),
        **_patience(serving),
    }
    return {
        "apiVersion": LLM["apiVersion"],
        "kind": LLM["kind"],
        "metadata": {"name": serving.name},
        "spec": {
            "model": {"uri": uri(serving), "name": serving.model},
            "replicas": serving.replicas,
            "parallelism": {"tensor": serving.gpus_per_replica},
            "router": {"route": {}, "scheduler": {}},
            "template": {"containers": [main]},
        },
    }


def _plain(serving: Serving) -> dict[str, Any]:
    tensor = {"tensor_parallel_size": serving.gpus_per_replica}
    return {
        "apiVersion": PLAIN["apiVersion"],
        "kind": PLAIN["kind"],
        "metadata": {"name": serving.name},
        "spec": {
            "predictor": {
                "minReplicas": serving.replicas,
                "maxReplicas": serving.replicas,
                "model": {
                    "modelFormat": {"name": "vLLM"},
                    "runtime": "kserve-vllmserver",
                    "storageUri": uri(serving),
                    "args": [*plain_words(tensor), *_arguments(serving)],
                    **_resources(serving),
                    **_patience(serving),
                },
            }
        },
    }


def _both(files: Files) -> tuple[dict[str, Any], dict[str, Any]]:
    found = {document["kind"]: document for document in map(load, files.values())}
    return found["LLMInferenceService"], found["InferenceService"]


def complaints(files: Files) -> list[str]:
    llm, plain = _both(files)
    wrong = [*closed.complaints(llm, LLM), *closed.complaints(plain, PLAIN)]
    return wrong or ([] if _of_llm(llm) == _of_plain(plain) else ["the two services differ"])


def _model(uri: str) -> str:
    return uri.removeprefix("hf://")


def _of_llm(llm: dict[str, Any]) -> Settings:
    spec = llm["spec"]
    (variable,) = spec["template"]["containers"][0]["env"]
    return {
        "model": _model(spec["model"]["uri"]),
        "tensor_parallel_size": spec["parallelism"]["tensor"],
        "data_parallel_size": spec["replicas"],
        **settings_of(variable["value"].split()),
    }


def _of_plain(plain: dict[str, Any]) -> Settings:
    predictor = plain["spec"]["predictor"]
    return {
        "model": _model(predictor["model"]["storageUri"]),
        "data_parallel_size": predictor["minReplicas"],
        **settings_of(predictor["model"]["args"]),
    }


def read(files: Files) -> dict[str, Any]:
    return dict(_of_llm(_both(files)[0]))


TARGET = Target(
    name="kserve",
    about="an LLMInferenceService and an InferenceService of KServe 0.20",
    source="KServe 0.20's CRDs, serving.kserve.io v1alpha2 and v1beta1",
    render=render,
    complaints=complaints,
    read=read,
)
