"""Bayesian optimisation with learnt feasibility, after SCOOT (arXiv 2408.04323, WWW 2025).

Its published code's outline: the default config first, some random ones, then a Gaussian process
with expected improvement over what a random forest believes to work, by a threshold that rises
with every failure. HEBO's own model and acquisition, and suggestions in parallel, are left out. A
fixed load of 1000 requests, a launch for each, no SLA. The winner's stress tests choose nothing.
"""

import math
import random
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from benchmarks.search_efficiency.policies.client import bench_serve
from benchmarks.search_efficiency.policies.policy import Answer, BestScore, Policy
from benchmarks.search_efficiency.stand import Stand
from benchmarks.search_efficiency.surface import Surface
from runners import EngineError
from search_spaces import Config

Floats = NDArray[np.float64]
PROMPTS = 1000
HIDDEN = "fit"
"""The rule on memory reads so: SCOOT learns it, and knows the others."""
LEAST, FIRST, MOST, BY = 0.25, 0.5, 0.75, 0.05
"""The threshold of what is believed to work, and how it moves."""
WORKED_IN_A_ROW = 5


class Scoot:
    """Over the grid, none twice."""

    def __init__(self, surface: Surface, seed: int, knows_rules: bool) -> None:
        configs = surface.configs if knows_rules else _pruned(surface)
        self._places = {index: _place(surface, c) for index, c in enumerate(configs)}
        self._configs, self._seed = configs, seed
        default = surface.nearest(surface.default)
        self._first = [i for i, c in enumerate(configs) if c == default]
        others = [i for i in self._places if i not in self._first]
        # HEBO begins with one more than there are parameters.
        begin = min(len(others), 1 + len(surface.problem.space.searched))
        self._first += random.Random(seed).sample(others, begin)
        self._tried: list[tuple[int, Answer]] = []
        self._threshold, self._in_a_row = FIRST, 0

    def ask(self) -> Config | None:
        tried = {index for index, _ in self._tried}
        left = [index for index in self._places if index not in tried]
        if not left:
            return None
        first = [index for index in self._first if index not in tried]
        return self._configs[first[0] if first else self._most_promising(left)]

    def tell(self, config: Config, answer: Answer) -> None:
        self._tried.append((self._configs.index(config), answer))
        if len(self._tried) <= len(self._first):
            return
        if answer.score is None or not answer.kept:
            self._threshold, self._in_a_row = min(MOST, self._threshold + BY), 0
            return
        self._in_a_row += 1
        if self._in_a_row > WORKED_IN_A_ROW:
            self._threshold = max(LEAST, self._threshold - BY)
            self._in_a_row -= WORKED_IN_A_ROW

    def _most_promising(self, left: Sequence[int]) -> int:
        places = np.array([self._places[index] for index in left])
        improvement = self._expected_improvement(places)
        works = self._believed_to_work(places)
        improvement[works < self._threshold] = -math.inf
        if np.isinf(improvement).all():
            return left[int(works.argmax())]
        return left[int(improvement.argmax())]

    def _expected_improvement(self, places: Floats) -> Floats:
        scored = [(self._places[i], a.score) for i, a in self._tried if a.score is not None]
        if len(scored) < 2:
            return np.zeros(len(places))
        scores = np.array([score for _, score in scored])
        scale = float(scores.std()) or 1.0
        mean, sd = _fitted(
            np.array([place for place, _ in scored]), (scores - scores.mean()) / scale, places
        )
        kept = [a.score for _, a in self._tried if a.kept and a.score is not None]
        best = (max(kept, default=float(scores.min())) - scores.mean()) / scale
        z = (mean - best) / sd
        improvement: Floats = (mean - best) * norm.cdf(z) + sd * norm.pdf(z)
        return improvement

    def _believed_to_work(self, places: Floats) -> Floats:
        worked = np.array([float(a.kept and a.score is not None) for _, a in self._tried])
        if worked.min() == worked.max():
            return np.ones(len(places))
        forest = RandomForestRegressor(random_state=self._seed)
        forest.fit(np.array([self._places[index] for index, _ in self._tried]), worked)
        believed: Floats = forest.predict(places)
        return believed


def _fitted(places: Floats, scores: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation there."""
    dimensions = places.shape[1]
    kernel = ConstantKernel() * Matern(np.full(dimensions, 0.5), nu=2.5) + WhiteKernel(0.01)
    process = GaussianProcessRegressor(kernel, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(places, scores)
    mean, sd = process.predict(at, return_std=True)
    return mean, np.maximum(sd, 1e-9)


def _pruned(surface: Surface) -> tuple[Config, ...]:
    known = [rule for rule in surface.problem.space.rules if HIDDEN not in rule.reads]
    return tuple(c for c in surface.launchable if all(rule.holds(c) for rule in known))


def _place(surface: Surface, config: Config) -> tuple[float, ...]:
    """Each knob's rank among its values, in [0, 1]."""
    searched = surface.problem.space.searched
    ranks = [(sorted(surface.values[name]), config[name]) for name in searched]
    return tuple(values.index(value) / max(1, len(values) - 1) for values, value in ranks)


class StressTest(BestScore):
    """All at once where throughput is wanted, else mean TTFT at the offered rate."""

    def __init__(self, surface: Surface) -> None:
        super().__init__()
        self._throughput = surface.goal == "throughput"
        traffic = surface.traffic(PROMPTS)
        self._workload = traffic.at_rate(math.inf) if self._throughput else traffic

    def measure(self, stand: Stand, config: Config) -> Answer:
        try:
            with stand.launch(config) as engine:
                metrics = bench_serve(engine, self._workload).metrics
        except EngineError:
            return Answer(None, kept=False)
        if self._throughput:
            return self.judged(config, Answer(metrics["output_throughput_per_gpu"]))
        return self.judged(config, Answer(-(metrics["mean_ttft_ms"] or 0.0)))


SCOOT = Policy(
    name="scoot-like",
    about="a Gaussian process with expected improvement, and a random forest for what fails",
    search=Scoot,
    rules=StressTest,
    seeds=5,
)
