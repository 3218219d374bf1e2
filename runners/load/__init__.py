"""The load client: a workload sent to an OpenAI-compatible server, and what every request saw."""

from runners.load.late import in_time
from runners.load.offering import offer
from runners.load.server import Run, Server
from runners.load.warm import at_once, every_step

__all__ = ["Run", "Server", "at_once", "every_step", "in_time", "offer"]
