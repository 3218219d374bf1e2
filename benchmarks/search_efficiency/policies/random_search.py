"""Random search: what every other search has to beat.

Bergstra and Bengio, Random Search for Hyper-Parameter Optimization (JMLR 2012). On vLLM,
SLO-Guard's five-seed study (arXiv 2604.17627) found its own search no better than this in the best
latency reached.
"""

import random

from benchmarks.search_efficiency.policies.policy import Answer, Policy
from benchmarks.search_efficiency.surface import Surface
from search_spaces import Config


class RandomSearch:
    """Every config that keeps the rules in an order of its own, none twice."""

    def __init__(self, surface: Surface, seed: int, knows_rules: bool) -> None:
        configs = list(surface.configs)
        random.Random(seed).shuffle(configs)
        self._left = iter(configs)

    def ask(self) -> Config | None:
        return next(self._left, None)

    def tell(self, config: Config, answer: Answer) -> None:
        pass


RANDOM = Policy(
    name="random",
    about="configs at random, none twice, a launch for each (Bergstra and Bengio 2012)",
    search=RandomSearch,
)
