"""The simulated engine: vLLM's scheduler over a step-time model."""

from runners.simulated.runner import SimulatedRunner, is_compiled

__all__ = ["SimulatedRunner", "is_compiled"]
