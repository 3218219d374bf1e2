"""Values of vLLM production-stack's Helm chart, vllm-stack 0.1.12.

The chart turns prefix caching off unless ``enablePrefixCaching`` says otherwise, against vLLM's
own default: it is always written. ``requestGPU`` must repeat the tensor-parallel size.
"""

import math
from typing import Any

from results.export import closed
from results.export.kserve import replica_notes
from results.export.kubernetes import PROBE_PERIOD_S, folder_notes, start_note
from results.export.serving import Serving
from results.export.target import VLLM_VERSION, Files, Rendered, Target, ours_dropped
from results.export.words import settings_of, words
from results.export.yaml_text import dump, load

OWN_KEYS = {
    "tensor_parallel_size": "tensorParallelSize",
    "max_num_seqs": "maxNumSeqs",
    "gpu_memory_utilization": "gpuMemoryUtilization",
    "enable_prefix_caching": "enablePrefixCaching",
    "enable_chunked_prefill": "enableChunkedPrefill",
    "max_model_len": "maxModelLen",
}
"""The settings that the chart has keys for; all others are ``extraArgs``."""
ELSEWHERE = ("model", "data_parallel_size")
GIB = 1024**3
HOST_GIB = 8
CLOSED = {
    "servingEngineSpec": {
        "startupProbe": {
            "initialDelaySeconds": int,
            "periodSeconds": int,
            "failureThreshold": int,
            "httpGet": {"path": "/health", "port": int},
        },
        "modelSpec": [
            {
                "name": str,
                "repository": "vllm/vllm-openai",
                "tag": str,
                "modelURL": str,
                "replicaCount": int,
                "requestCPU": int,
                "requestMemory": str,
                "requestGPU": int,
                "vllmConfig": {
                    "tensorParallelSize": int,
                    "maxNumSeqs": int,
                    "gpuMemoryUtilization": float,
                    "enablePrefixCaching": bool,
                    "enableChunkedPrefill": bool,
                    "maxModelLen": int,
                    "extraArgs": [str],
                },
            }
        ],
    }
}


def render(serving: Serving) -> Rendered:
    values = {
        "servingEngineSpec": {"startupProbe": _probe(serving), "modelSpec": [_spec(serving)]}
    }
    return Rendered(
        files={f"{serving.quadrant}.values.yaml": dump(values)},
        dropped=ours_dropped(serving.ours),
        notes=(
            *replica_notes(serving),
            *folder_notes(serving),
            start_note(serving),
            f"requestCPU is a core per process of vLLM, requestMemory the weights and {HOST_GIB} "
            "GiB: estimates, not measured.",
        ),
    )


def _probe(serving: Serving) -> dict[str, Any]:
    return {
        "initialDelaySeconds": PROBE_PERIOD_S,
        "periodSeconds": PROBE_PERIOD_S,
        "failureThreshold": math.ceil(serving.start_budget_s / PROBE_PERIOD_S),
        "httpGet": {"path": "/health", "port": 8000},
    }


def _spec(serving: Serving) -> dict[str, Any]:
    settings = serving.settings
    rest = {n: v for n, v in settings.items() if n not in OWN_KEYS and n not in ELSEWHERE}
    return {
        "name": serving.name,
        "repository": "vllm/vllm-openai",
        "tag": f"v{VLLM_VERSION}",
        "modelURL": serving.model,
        "replicaCount": serving.replicas,
        "requestCPU": 2 + serving.gpus_per_replica,  # API server, engine core, a worker per GPU
        "requestMemory": f"{weights_gib(serving) + HOST_GIB}Gi",
        "requestGPU": 0 if serving.on_cpu else serving.gpus_per_replica,
        "vllmConfig": {
            **{key: settings[name] for name, key in OWN_KEYS.items()},
            "extraArgs": words(rest),
        },
    }


def weights_gib(serving: Serving) -> int:
    """Of one replica, over all its GPUs; a guess where nothing is known of the model."""
    if serving.memory is None:
        return 32
    return math.ceil(serving.memory.weights * serving.gpus_per_replica / GIB)


def _only(files: Files) -> Any:
    (text,) = files.values()
    return load(text)


def complaints(files: Files) -> list[str]:
    found = _only(files)
    wrong = closed.complaints(found, CLOSED)
    if wrong:
        return wrong
    (spec,) = found["servingEngineSpec"]["modelSpec"]
    if spec["requestGPU"] not in (0, spec["vllmConfig"]["tensorParallelSize"]):
        return ["`requestGPU` must be the tensor-parallel size"]
    return []


def read(files: Files) -> dict[str, Any]:
    (spec,) = _only(files)["servingEngineSpec"]["modelSpec"]
    config = spec["vllmConfig"]
    return {
        "model": spec["modelURL"],
        "data_parallel_size": spec["replicaCount"],
        **{name: config[key] for name, key in OWN_KEYS.items()},
        **settings_of(config["extraArgs"]),
    }


TARGET = Target(
    name="production-stack",
    about="Helm values of vLLM production-stack 0.1.12",
    source="values.schema.json and the deployment template of chart vllm-stack 0.1.12",
    render=render,
    complaints=complaints,
    read=read,
)
