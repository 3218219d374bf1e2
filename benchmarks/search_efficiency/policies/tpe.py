"""Optuna's TPE with a restart per trial at one fixed load, as two public tuners run it.

auto-tuning-vllm (github.com/openshift-psap/auto-tuning-vllm, core/study_controller.py and
core/config.py, November 2025): one objective, GuideLLM with 50 concurrent streams for 300 s, no
SLA; a failed trial is told FAIL. vllm-tuner (PyPI 0.1.6, core/optimizer.py and configs/): the same
search with 32 streams; a trial without a result is scored 0, which is the lowest latency there is.
"""

from functools import partial

import optuna
from optuna.trial import TrialState

from benchmarks.search_efficiency.policies.policy import Answer, BestScore, Policy
from benchmarks.search_efficiency.stand import Stand
from benchmarks.search_efficiency.surface import Surface
from objectives import Load
from runners import EngineError
from search_spaces import Config

LOAD_S = 300.0
PROMPTS = 1000
"""Which the figures are taken from: the 300 s are charged, but need not all be simulated."""
PROPOSALS = 500
"""In a row that break a rule known before: then nothing else is left."""


class Tpe:
    """With Optuna 4's defaults, for which both were written."""

    def __init__(self, surface: Surface, seed: int, knows_rules: bool) -> None:
        self._space = surface.problem.space
        self._prunes = knows_rules or not surface.simulated
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=False)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked: optuna.Trial | None = None

    def ask(self) -> Config | None:
        for _ in range(PROPOSALS):
            self._asked = self._study.ask()
            config = self._space.suggest(self._asked)
            if not (self._prunes and self._space.broken_rules(config)):
                return config
            self._study.tell(self._asked, state=TrialState.FAIL)
        return None

    def tell(self, config: Config, answer: Answer) -> None:
        assert self._asked is not None
        if answer.score is None:
            self._study.tell(self._asked, state=TrialState.FAIL)
        else:
            self._study.tell(self._asked, answer.score)


class FixedStreams(BestScore):
    """A closed loop for 300 s: output throughput, or the 95th percentile of a request's latency.

    Args:
        failed: what a config is told that could not be launched.
    """

    def __init__(self, surface: Surface, streams: int, failed: Answer) -> None:
        super().__init__()
        self._surface, self._failed = surface, failed
        self._load = Load(workload=surface.traffic(PROMPTS).at_concurrency(streams))

    def measure(self, stand: Stand, config: Config) -> Answer:
        try:
            with stand.launch(config) as engine:
                metrics = engine.measure_within(self._load, LOAD_S).metrics
        except EngineError:
            return self.judged(config, self._failed)
        if self._surface.goal == "throughput":
            score = metrics["output_throughput_per_gpu"]
        else:
            score = -(metrics["p95_e2el_ms"] or 0.0)
        return self.judged(config, Answer(score))


AUTO_TUNING_VLLM = Policy(
    name="auto-tuning-vllm",
    about="TPE at 50 concurrent streams for 300 s, a launch for each trial, failures ignored",
    search=Tpe,
    rules=partial(FixedStreams, streams=50, failed=Answer(None, kept=False)),
)
VLLM_TUNER = Policy(
    name="vllm-tuner",
    about="the same at 32 streams, failures scored 0; by the same measurement it is the same",
    search=Tpe,
    rules=partial(FixedStreams, streams=32, failed=Answer(0.0)),
    same_measurement=False,
)
