"""Settings and ranges as people type them: ``KNOB=VALUE``, ``KNOB=LOW:HIGH``, ``KNOB=A,B,C``."""

from search_spaces.space import Choice, Domain, Float, Int, Knob, Value

WORDS: dict[str, Value] = {"true": True, "false": False}


def split(text: str) -> tuple[str, str]:
    """(knob, the rest) of ``KNOB=...``.

    Raises:
        ValueError: there is no ``=``, or nothing on one side of it.
    """
    name, sign, rest = (part.strip() for part in text.partition("="))
    if not sign or not name or not rest:
        raise ValueError(f"Cannot read {text!r}; it reads like `max_num_seqs=64`.")
    return name, rest


def parse_value(text: str) -> Value:
    """A truth value, a whole number, a number, or else the text itself."""
    plain = text.strip()
    if plain.lower() in WORDS:
        return WORDS[plain.lower()]
    for kind in (int, float):
        try:
            return kind(plain)
        except ValueError:
            continue
    return plain


def parse_domain(knob: Knob, text: str) -> Domain:
    """The range a user wants a knob searched over.

    Raises:
        ValueError: it does not parse, is empty, or leaves the knob's limits.
    """
    low, sign, high = text.partition(":")
    if not sign:
        return knob.check_range(Choice(tuple(parse_value(part) for part in text.split(","))))
    ends = (knob.check(parse_value(low)), knob.check(parse_value(high)))
    if isinstance(knob.limits or knob.domain, Choice):
        return _between(knob, *ends)
    first, last = float(ends[0]), float(ends[1])
    if first > last:
        raise ValueError(
            f"`low <= high` must hold of the range of `{knob.name}`, but got {text.strip()}."
        )
    if isinstance(knob.limits or knob.domain, Int):
        step = knob.domain.step if isinstance(knob.domain, Int) else 1
        step = step if (last - first) >= step else 1
        log = isinstance(knob.domain, Int) and knob.domain.log and first >= 1
        reach = int(first) + (int(last - first) // step) * step
        return Int(low=int(first), high=reach, step=step, log=log)
    step_share = knob.domain.step if isinstance(knob.domain, Float) else 0.01
    count = int(round((last - first) / step_share, 9))
    return Float(low=first, high=round(first + count * step_share, 9), step=step_share)


def _between(knob: Knob, low: Value, high: Value) -> Choice:
    """Those of a knob's few values that lie in the range."""
    limits = knob.limits or knob.domain
    values = limits.values if isinstance(limits, Choice) else ()
    numbers = [v for v in values if not isinstance(v, (str, bool))]
    inside = tuple(v for v in numbers if float(low) <= v <= float(high))
    if not inside:
        raise ValueError(
            f"The range of `{knob.name}` must hold one of {limits}, but got {low}:{high}."
        )
    return Choice(inside)
