"""Plain Kubernetes: a ConfigMap with vLLM's config file, a Deployment that starts from it, a
Service.

Data-parallel replicas stay inside the one pod, behind vLLM's own balancer, as they were measured.
"""

import math
from typing import Any

import yaml

from results.export import closed
from results.export.compose import FOLDER, PORT, cpu_notes
from results.export.parsers.kubernetes import validate
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
from results.export.yaml_text import dump

PROBE_PERIOD_S = 10
GPUS = "nvidia.com/gpu"
PROBE = {
    "httpGet": {"path": "/health", "port": int},
    "periodSeconds": int,
    "timeoutSeconds": int,
    "failureThreshold": int,
}
LABELS = {"app.kubernetes.io/name": str}
METADATA = {"name": str, "labels": LABELS}
CONTAINER = {
    "name": str,
    "image": str,
    "args": [str],
    "ports": [{"containerPort": int, "name": str}],
    "resources?": {"limits": {GPUS: closed.COUNT}},
    "startupProbe": PROBE,
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly?": bool}],
}
VOLUME = (
    {"name": str, "configMap": {"name": str}},
    {"name": str, "emptyDir": {"medium": "Memory"}},
    {"name": str, "hostPath": {"path": str, "type": "Directory"}},
)
CLOSED = {
    "ConfigMap": {"apiVersion": "v1", "kind": str, "metadata": METADATA, "data": {str: str}},
    "Deployment": {
        "apiVersion": "apps/v1",
        "kind": str,
        "metadata": METADATA,
        "spec": {
            "replicas": int,
            "strategy": {"type": "Recreate"},
            "progressDeadlineSeconds": int,
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {"containers": [CONTAINER], "volumes": [VOLUME]},
            },
        },
    },
    "Service": {
        "apiVersion": "v1",
        "kind": str,
        "metadata": METADATA,
        "spec": {
            "selector": LABELS,
            "ports": [{"name": str, "port": int, "targetPort": str}],
        },
    },
}


def render(serving: Serving) -> Rendered:
    name = serving.name
    labels = {"app.kubernetes.io/name": name}
    metadata = {"name": name, "labels": labels}
    file = f"{serving.quadrant}.yaml"
    map_of = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {file: config_text(serving.settings)},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "selector": labels,
            "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": _spec(serving, labels, file),
    }
    return Rendered(
        files={f"{serving.quadrant}.k8s.yaml": dump(map_of, deployment, service)},
        dropped=ours_dropped(serving.ours),
        notes=(*cpu_notes(serving), *folder_notes(serving), start_note(serving)),
    )


def folder_notes(serving: Serving) -> tuple[str, ...]:
    if not serving.model_is_folder:
        return ()
    return (f"{serving.model} must be there on every node, or --model must name another place.",)


def start_note(serving: Serving) -> str:
    """Where the probes' patience is from."""
    budget = f"A start may take {serving.start_budget_s} s"
    if serving.start_s is None:
        return f"{budget}: none was measured, and the slowest reported took 2222 s."
    return f"{budget}: the longest measured took {serving.start_s:.0f} s."


def _spec(serving: Serving, labels: dict[str, str], file: str) -> dict[str, Any]:
    return {
        "replicas": 1,
        "strategy": {"type": "Recreate"},  # there are seldom GPUs for a second one beside it
        "progressDeadlineSeconds": serving.start_budget_s + 600,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [_container(serving, file)], "volumes": _volumes(serving)},
        },
    }


def _container(serving: Serving, file: str) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [
        {"name": "config", "mountPath": FOLDER, "readOnly": True},
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 (NCCL's, in the container)
    ]
    if serving.model_is_folder:
        mounts.append({"name": "model", "mountPath": serving.model, "readOnly": True})
    container: dict[str, Any] = {
        "name": "vllm",
        "image": IMAGE,
        # Two words: vLLM overlooks --config=FILE.
        "args": ["--config", f"{FOLDER}/{file}"],
        "ports": [{"containerPort": PORT, "name": "http"}],
    }
    if not serving.on_cpu:
        container["resources"] = {"limits": {GPUS: str(serving.gpus)}}
    failures = math.ceil(serving.start_budget_s / PROBE_PERIOD_S)
    return {
        **container,
        "startupProbe": probe(failures),
        "readinessProbe": probe(3),
        "livenessProbe": probe(6),
        "volumeMounts": mounts,
    }


def probe(failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": "/health", "port": PORT},
        "periodSeconds": PROBE_PERIOD_S,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _volumes(serving: Serving) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": serving.name}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    if serving.model_is_folder:
        volumes.append({"name": "model", "hostPath": {"path": serving.model, "type": "Directory"}})
    return volumes


def documents(files: Files) -> dict[str, Any]:
    """By kind."""
    (text,) = files.values()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def config(files: Files) -> str:
    (text,) = documents(files)["ConfigMap"]["data"].values()
    return str(text)


def complaints(files: Files) -> list[str]:
    found = documents(files)
    wrong = [said for kind in CLOSED for said in _of_kind(kind, found.get(kind))]
    wrong += [f"`{kind}` is no kind of it" for kind in found if kind not in CLOSED]
    return wrong or file_complaints(config(files))


def _of_kind(kind: str, document: Any) -> list[str]:
    return [f"{kind}: {said}" for said in closed.complaints(document, CLOSED[kind])]


def read(files: Files) -> dict[str, Any]:
    return settings_of_file(config(files))


TARGET = Target(
    name="kubernetes",
    about="a Deployment, a Service and a ConfigMap",
    source="the Kubernetes API, v1 and apps/v1",
    render=render,
    complaints=complaints,
    read=read,
    config_text=config,
    parsers=(Parser("kubernetes-validate", validate),),
)
