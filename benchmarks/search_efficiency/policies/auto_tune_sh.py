"""vLLM's benchmarks/auto_tune/auto_tune.sh: a grid of two flags, and a rate that descends.

For each (max_num_seqs, max_num_batched_tokens): one launch, 1000 prompts all at once; where the
99th percentile of E2EL is above the limit, 100 prompts at a whole rate that falls by one until it
is not. The highest throughput wins. Its profile of the winner is left out, and of the launches
that look for gpu_memory_utilization one is counted, the least there is.
"""

import math

from benchmarks.search_efficiency.policies.client import bench_serve
from benchmarks.search_efficiency.policies.policy import Answer, BestScore, Policy
from benchmarks.search_efficiency.stand import ChargedEngine, Stand
from benchmarks.search_efficiency.surface import Surface
from objectives import Measurement
from objectives.sla import latency_s
from runners import EngineError
from search_spaces import Config

FLAGS = ("max_num_seqs", "max_num_batched_tokens")
PROMPTS_AT_ONCE, PROMPTS_AT_A_RATE = 1000, 100
PAUSE_S = 5.0
"""Before each run at a rate."""


class TwoFlags:
    """The grid of the two, everything else at its default."""

    def __init__(self, surface: Surface, seed: int, knows_rules: bool) -> None:
        default = surface.nearest(surface.default)
        others = [name for name in surface.problem.space.searched if name not in FLAGS]
        configs = surface.configs if knows_rules else surface.launchable
        self._left = iter(c for c in configs if all(c[n] == default[n] for n in others))

    def ask(self) -> Config | None:
        return next(self._left, None)

    def tell(self, config: Config, answer: Answer) -> None:
        pass


class Descent(BestScore):
    """The limit is what the promise allows an answer of mean length."""

    def __init__(self, surface: Surface) -> None:
        super().__init__()
        case = surface.problem.cases[0]
        tokens = case.workload.mean_output_tokens
        self._surface = surface
        self._limit_ms = 1000 * latency_s(case.profile.sla, tokens)

    def measure(self, stand: Stand, config: Config) -> Answer:
        first = len(stand.charges) == 0
        try:
            with stand.launch(config) as engine:
                engine.charge.launches += int(first)
                return self.judged(config, self._descended(engine))
        except EngineError:
            return Answer(None, kept=False)

    def _descended(self, engine: ChargedEngine) -> Answer:
        at_once = self._surface.traffic(PROMPTS_AT_ONCE).at_rate(math.inf)
        found = bench_serve(engine, at_once)
        rate = int(_throughput(found)) + 1 if self._surface.simulated else 0
        traffic = self._surface.traffic(PROMPTS_AT_A_RATE)
        while not self._is_kept(found) and rate > 0:
            engine.idle(PAUSE_S)
            found = bench_serve(engine, traffic.at_rate(rate))
            rate -= 1
        kept = self._is_kept(found)
        return Answer(_throughput(found) / found.gpus if kept else 0.0, kept=kept)

    def _is_kept(self, found: Measurement) -> bool:
        return (found.metric("p99_e2el_ms") or 0.0) <= self._limit_ms


def _throughput(found: Measurement) -> float:
    return found.metric("request_throughput") or 0.0


AUTO_TUNE_SH = Policy(
    name="auto-tune-sh",
    about="auto_tune.sh: a grid of two flags, a rate that falls until the p99 of E2EL keeps",
    search=TwoFlags,
    rules=Descent,
)
