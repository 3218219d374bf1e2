"""Settings and ranges as people type them: ``KNOB=VALUE``, ``KNOB=LOW:HIGH``, ``KNOB=A,B,C``."""

from decimal import Decimal

from search_spaces.space import Choice, Domain, Float, Int, Knob, Value

WORDS: dict[str, Value] = {"true": True, "false": False}
MOST_DIGITS = 18


def plain(name: str) -> str:
    """A knob's name however it is spelled: ``--max-num-seqs`` is ``max_num_seqs``."""
    return name.strip().removeprefix("--").replace("-", "_")


def split(text: str) -> tuple[str, str]:
    """(knob, the rest) of ``KNOB=...``.

    Raises:
        ValueError: there is no ``=``, or nothing on one side of it.
    """
    name, sign, rest = text.partition("=")
    if not sign or not plain(name) or not rest.strip():
        raise ValueError(f"Cannot read {text!r}; it reads like `max_num_seqs=64`.")
    return plain(name), rest.strip()


def parse_value(text: str) -> Value:
    """A truth value, a whole number, a number, or else the text itself."""
    word = text.strip()
    if word.lower() in WORDS:
        return WORDS[word.lower()]
    if "_" in word:  # Python takes 1_000 for a number; nobody means that by it
        return word
    for kind in (int, float) if len(word) <= MOST_DIGITS else (float,):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def parse_domain(knob: Knob, text: str) -> Domain:
    """The range a user wants a knob searched over.

    Raises:
        ValueError: it does not parse, is empty, or leaves the knob's limits.
    """
    # `none,draft:DIR` is a list, too.
    low, sign, high = text.partition(":") if "," not in text else (text, "", "")
    parts = (low, high) if sign else tuple(text.split(","))
    if not all(part.strip() for part in parts):
        raise ValueError(
            f"Cannot read the range {text.strip()!r} of `{knob.name}`; it reads like `LOW:HIGH` "
            "or `A,B,C`."
        )
    if not sign:
        return knob.check_range(Choice(tuple(parse_value(part) for part in parts)))
    limits = knob.limits or knob.domain
    ends = (knob.check(parse_value(low)), knob.check(parse_value(high)))
    if isinstance(limits, Choice):
        return _between(knob, limits, *ends)
    if float(ends[0]) > float(ends[1]):
        raise ValueError(
            f"`low <= high` must hold of the range of `{knob.name}`, but got {text.strip()}."
        )
    if isinstance(limits, Int):
        return _whole(knob, int(ends[0]), int(ends[1]))
    return _stepped(knob, float(ends[0]), float(ends[1]))


def _whole(knob: Knob, low: int, high: int) -> Int:
    """The range on the grid of the knob's own steps where that leaves anything of it."""
    step = knob.domain.step if isinstance(knob.domain, Int) else 1
    log = isinstance(knob.domain, Int) and knob.domain.log and low >= 1
    first, last = -(-low // step) * step, high // step * step
    if first < last:
        return Int(low=first, high=last, step=step, log=log)
    return Int(low=low, high=high, log=log)


def _stepped(knob: Knob, low: float, high: float) -> Float:
    step = Decimal(str(knob.domain.step if isinstance(knob.domain, Float) else 0.01))
    span = Decimal(str(high)) - Decimal(str(low))
    if span and span < step:
        raise ValueError(
            f"The range of `{knob.name}` goes in steps of {step}, but got {low:g}:{high:g}."
        )
    reach = Decimal(str(low)) + span // step * step
    return Float(low=low, high=float(reach), step=float(step))


def _between(knob: Knob, limits: Choice, low: Value, high: Value) -> Choice:
    """Those of a knob's few values that lie in the range."""
    numbers = [v for v in limits.values if not isinstance(v, (str, bool))]
    if isinstance(low, (str, bool)) or isinstance(high, (str, bool)) or not numbers:
        raise ValueError(
            f"`{knob.name}` has no order: list its values, such as {knob.name}="
            f"{','.join(str(v) for v in limits.values[:2])}."
        )
    inside = tuple(v for v in numbers if low <= v <= high)
    if not inside:
        raise ValueError(
            f"`low <= high` must hold of the range of `{knob.name}`, but got {low}:{high}."
        )
    return Choice(inside)
