"""Files that production servers start from."""

from results.export import compose, env, kserve, kubernetes, systemd, vllm
from results.export.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        vllm.TARGET,
        env.TARGET,
        systemd.TARGET,
        compose.TARGET,
        kubernetes.TARGET,
        kserve.TARGET,
    )
}
