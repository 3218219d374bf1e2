"""The simulated engine: vLLM's scheduler over a step-time model."""

from runners.simulated.runner import SimulatedRunner

__all__ = ["SimulatedRunner"]
