"""The simulated engine: vLLM's scheduler over a step-time model."""

# pending
