"""One change between studies as a sentence, and what stands behind all of them."""

from collections.abc import Mapping

from results.across import Across
from results.change import Change, Told
from results.comparison import Effect
from results.text.figures import number
from results.text.layout import joined

LEVEL = {
    Effect.BETTER: "better",
    Effect.WORSE: "worse",
    Effect.NOT_SHOWN: "no change shown",
}
THAT_DAY = {
    **LEVEL,
    Effect.BETTER: "better that day",
    Effect.WORSE: "worse that day",
}
"""Of measured studies: where the machine is not the same from day to day, it may be that."""
GAIN = {**LEVEL, Effect.BETTER: "larger", Effect.WORSE: "smaller"}


def sentence(change: Change, *, simulated: bool) -> str:
    """Of another study's winner against A's."""
    begin = f"{change.label} against A"
    if change.level is not None:
        ours, theirs = change.runs
        words = LEVEL if simulated else THAT_DAY
        how = "on the same draws" if change.same_draws else "on draws of their own"
        runs = f"{ours} and {joined(str(theirs), 'runs')} {how}"
        return f"{begin}: {_told(change.level, words)}; {runs}.{_over_default(change)}"
    why = "; ".join(change.why_not)
    if change.ratio is None:
        return f"{begin}: not comparable: {why}."
    return f"{begin}: {_times(change.ratio)} in one run each, which cannot be told: {why}."


def _told(told: Told, words: Mapping[Effect, str]) -> str:
    found = told.comparison
    between = f"{_times(found.low)} to {_times(found.high)}"
    return f"{words[told.effect]}, {_times(found.ratio)} ({between})"


def _over_default(change: Change) -> str:
    if change.over_default is None:
        return ""
    return f" Gain over its own default: {_told(change.over_default, GAIN)}."


def _times(ratio: float) -> str:
    return f"{number(ratio)}x"


def method(across: Across) -> str:
    """What a reader must know to believe it; nothing where nothing could be told."""
    if not across.told:
        return ""
    counted = "one" if across.told == 1 else f"all {across.told}"
    text = (
        "Ratios are how many times better than A, with 95 % intervals, of the runs that confirmed "
        f"each winner; a change must hold with {counted} of them counted (Holm). "
    )
    if all(side.summary["simulated"] for side in across.sides):
        return f"{text}Simulated runs differ by their traffic alone: no engine's noise is in it."
    return (
        f"{text}Studies have no state of the machine in common, so it may be the machine that "
        "changed; over its own default, measured in turns with it, that cancels."
    )
