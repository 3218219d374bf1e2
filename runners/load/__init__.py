"""The load client: a workload sent to an OpenAI-compatible server, and what every request saw."""

from runners.load.offering import offer, warm_up
from runners.load.server import Run, Server

__all__ = ["Run", "Server", "offer", "warm_up"]
