"""Files that production servers start from."""

from results.export import (
    compose,
    env,
    kserve,
    kubernetes,
    llm_d,
    production_stack,
    ray_serve,
    sglang,
    systemd,
    tensorrt_llm,
    tgi,
    triton,
    vllm,
    vllm_batch,
)
from results.export.target import Target

TARGETS: dict[str, Target] = {
    module.TARGET.name: module.TARGET
    for module in (
        vllm,
        env,
        systemd,
        compose,
        kubernetes,
        kserve,
        production_stack,
        llm_d,
        ray_serve,
        triton,
        vllm_batch,
        sglang,
        tensorrt_llm,
        tgi,
    )
}
