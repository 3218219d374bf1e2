"""`vllm bench sweep serve` (vLLM 0.32, vllm/benchmarks/sweep): every combination in its order.

One launch for each, then three runs of 1000 prompts. It chooses nothing: here its user takes the
best line of the table, holding it to the promise where the load is one that a promise is made for.
"""

import math
from statistics import mean

from benchmarks.search_efficiency.policies.client import bench_serve
from benchmarks.search_efficiency.policies.policy import Answer, BestScore, Policy
from benchmarks.search_efficiency.stand import Stand
from benchmarks.search_efficiency.surface import Surface
from objectives import Measurement
from runners import EngineError
from search_spaces import Config

PROMPTS = 1000
RUNS = 3


class Sweep:
    """The grid as listed, the last knob changing fastest."""

    def __init__(self, surface: Surface, seed: int, knows_rules: bool) -> None:
        self._left = iter(surface.configs if knows_rules else surface.launchable)

    def ask(self) -> Config | None:
        return next(self._left, None)

    def tell(self, config: Config, answer: Answer) -> None:
        pass


class ThreeRuns(BestScore):
    """All prompts at once where throughput is wanted, else at the offered rate."""

    def __init__(self, surface: Surface) -> None:
        super().__init__()
        self._surface = surface
        at_once = surface.goal == "throughput"
        traffic = surface.traffic(PROMPTS)
        self._workload = traffic.at_rate(math.inf) if at_once else traffic
        # What arrives all at once keeps no promise; only published runs are closed loops.
        self._promised = not (at_once and surface.simulated)

    def measure(self, stand: Stand, config: Config) -> Answer:
        try:
            with stand.launch(config) as engine:
                runs = [bench_serve(engine, self._workload) for _ in range(RUNS)]
        except EngineError:
            return Answer(None, kept=False)
        return self.judged(config, Answer(self._score(runs), kept=self._kept(runs)))

    def _score(self, runs: list[Measurement]) -> float:
        if self._surface.goal == "throughput":
            return _average(runs, "output_throughput_per_gpu")
        return -_average(runs, "p95_ttft_ms")

    def _kept(self, runs: list[Measurement]) -> bool:
        sla = self._surface.problem.cases[0].profile.sla if self._promised else ()
        return all(_average(runs, bound.metric) <= bound.limit for bound in sla)


def _average(runs: list[Measurement], metric: str) -> float:
    return mean(run.metric(metric) or 0.0 for run in runs)


SWEEP = Policy(
    name="vllm-bench-sweep",
    about="the grid in its order, three runs of 1000 prompts for each launch",
    search=Sweep,
    rules=ThreeRuns,
)
