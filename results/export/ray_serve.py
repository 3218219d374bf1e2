"""A Ray Serve application of one LLM, Ray 2.60.

Ray Serve LLM lets 1e9 requests into a replica unless told otherwise, so that it never scales:
both limits are written. Keys have underscores here, and ``false`` means false.
"""

import math
from typing import Any

from results.export import closed
from results.export.kserve import replica_notes
from results.export.kubernetes import folder_notes
from results.export.parsers.ray import schemas
from results.export.serving import Serving
from results.export.target import Files, Parser, Rendered, Target, ours_dropped
from results.export.yaml_text import dump, load

ELSEWHERE = ("model", "data_parallel_size")
ONGOING = 2
"""Times ``max_num_seqs``: the next requests are at hand when some finish, and vLLM's own queue
has something to order."""
TARGET_SHARE = 0.75
CLOSED = {
    "applications": [
        {
            "name": str,
            "route_prefix": "/",
            "import_path": "ray.serve.llm:build_openai_app",
            "args": {
                "llm_configs": [
                    {
                        "model_loading_config": {"model_id": str, "model_source": str},
                        "engine_kwargs": {str: (int, float, str, bool, {str: (int, str)})},
                        "deployment_config": {
                            "max_ongoing_requests": int,
                            "autoscaling_config": {
                                "min_replicas": int,
                                "max_replicas": int,
                                "target_ongoing_requests": int,
                            },
                        },
                        "experimental_configs": {"stream_batching_interval_ms": 0},
                    }
                ]
            },
        }
    ]
}


def render(serving: Serving) -> Rendered:
    app = {
        "name": serving.name,
        "route_prefix": "/",
        "import_path": "ray.serve.llm:build_openai_app",
        "args": {"llm_configs": [_llm(serving)]},
    }
    return Rendered(
        files={f"{serving.quadrant}.serve.yaml": dump({"applications": [app]})},
        dropped=ours_dropped(serving.ours),
        notes=(
            *replica_notes(serving),
            *folder_notes(serving),
            "stream_batching_interval_ms 0: Ray would hold tokens back, 50 ms by default.",
            "Replicas are held at what was measured; raise max_replicas to let Ray scale.",
        ),
    )


def _llm(serving: Serving) -> dict[str, Any]:
    seqs = int(serving.settings["max_num_seqs"])
    return {
        "model_loading_config": {"model_id": serving.model, "model_source": serving.model},
        "engine_kwargs": {n: v for n, v in serving.settings.items() if n not in ELSEWHERE},
        "deployment_config": {
            "max_ongoing_requests": ONGOING * seqs,
            "autoscaling_config": {
                "min_replicas": serving.replicas,
                "max_replicas": serving.replicas,
                "target_ongoing_requests": math.ceil(TARGET_SHARE * seqs),
            },
        },
        "experimental_configs": {"stream_batching_interval_ms": 0},
    }


def _config(files: Files) -> dict[str, Any]:
    (text,) = files.values()
    (app,) = load(text)["applications"]
    (llm,) = app["args"]["llm_configs"]
    return dict(llm)


def complaints(files: Files) -> list[str]:
    (text,) = files.values()
    wrong = closed.complaints(load(text), CLOSED)
    if wrong:
        return wrong
    llm = _config(files)
    dashed = [name for name in llm["engine_kwargs"] if "-" in name]
    few = llm["deployment_config"]["max_ongoing_requests"] < llm["engine_kwargs"]["max_num_seqs"]
    return [
        *(f"`{name}` must have underscores" for name in dashed),
        *(["`max_ongoing_requests` must be at least max_num_seqs"] if few else []),
    ]


def read(files: Files) -> dict[str, Any]:
    llm = _config(files)
    return {
        "model": llm["model_loading_config"]["model_source"],
        "data_parallel_size": llm["deployment_config"]["autoscaling_config"]["min_replicas"],
        **llm["engine_kwargs"],
    }


TARGET = Target(
    name="ray-serve",
    about="a Ray Serve LLM application, Ray 2.60",
    source="ray.serve.llm.LLMConfig and ray.serve.schema of Ray 2.60, closed",
    render=render,
    complaints=complaints,
    read=read,
    parsers=(Parser("ray.serve's ServeDeploySchema", schemas),),
)
