"""Real vLLM: launched as a child process, retuned while it runs, and never left behind."""

from runners.vllm.installed import Installed
from runners.vllm.runner import Launch, VllmRunner
from runners.vllm.weights import has_weights

__all__ = ["Installed", "Launch", "VllmRunner", "has_weights"]
