"""Whether a space holds any config that keeps a rule, asked before a study is begun."""

from collections.abc import Iterator
from itertools import product

from search_spaces import Choice, Config, Domain, SearchSpace, Value
from tuner.errors import BadInput


def refuse_ruled_out(space: SearchSpace, asked: dict[str, str]) -> None:
    """Refuse a space that leaves some rule no way to hold.

    Every rule is monotone in each of its numbers, so the ends of their ranges decide.

    Raises:
        BadInput: naming the rule and what was ``asked`` of which knob.
    """
    broken = list(space.rules)
    for config in _extremes(space):
        broken = [rule for rule in broken if not rule.holds(config)]
        if not broken:
            return
    what = ", ".join(f"{name}={text}" for name, text in asked.items())
    raise BadInput(
        f"No config can keep the rule `{broken[0].reads}` ({broken[0].reason})"
        + (f" with {what}; change a --set or --range." if what else ".")
    )


def _extremes(space: SearchSpace) -> Iterator[Config]:
    names = list(space.searched)
    for values in product(*(_ends(space.searched[name]) for name in names)):
        yield space.complete(dict(zip(names, values, strict=True)))


def _ends(domain: Domain) -> tuple[Value, ...]:
    if not isinstance(domain, Choice):
        return (domain.low, domain.high)
    numbers = [v for v in domain.values if not isinstance(v, (bool, str))]
    return (min(numbers), max(numbers)) if len(numbers) == len(domain.values) else domain.values
