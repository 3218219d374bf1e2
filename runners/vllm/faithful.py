"""The gate for lossy configs: what they answer is held against what a faithful one answers."""

from runners.base import EngineError, FailureKind
from runners.vllm.agreement import THRESHOLD, Answers, agreement, answers
from search_spaces import Config, SearchSpace


class Gate:
    """Remembers the faithful answers of one model.

    Args:
        vocab_size: of the model; prompts are drawn below it.
    """

    def __init__(self, space: SearchSpace, vocab_size: int) -> None:
        self._space = space
        self._vocab_size = vocab_size
        self._reference: Answers | None = None

    def needs_reference(self, config: Config) -> bool:
        """Whether a lossy config comes before any faithful one."""
        return self._reference is None and self._space.is_lossy(config)

    def faithful(self, config: Config) -> Config:
        """The config with every lossy knob at its default."""
        return {**config, **{k.name: k.default for k in self._space.knobs if k.lossy}}

    def check(self, url: str, model: str, config: Config, *, engine_s: float) -> None:
        """Keep a faithful engine's answers; compare a lossy one's with them.

        Raises:
            EngineError: a lossy config answers too much in another way.
        """
        lossy = self._space.is_lossy(config)
        if not lossy and (self._reference is not None or not self._space.may_be_lossy):
            return
        given = answers(url, model, self._vocab_size)
        if not lossy or self._reference is None:
            self._reference = given
            return
        share = agreement(self._reference, given)
        if share < THRESHOLD:
            raise EngineError(
                FailureKind.REFUSED,
                f"its answers differ from those without lossy knobs: {share:.1%} of the tokens "
                f"agree, at least {THRESHOLD:.0%} must",
                engine_s=engine_s,
            )
