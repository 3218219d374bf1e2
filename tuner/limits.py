"""What every option may be, and which exclude each other; nothing is read or computed here."""

import re
from collections.abc import Callable

from search_spaces.fitting import MOST_GPUS
from tuner.errors import BadInput
from tuner.options import Options

STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
MOST_REQUESTS = 100_000
MOST_IN_FLIGHT = 10_000
RATES = (1e-6, 1e4)
"""Requests per second; beyond any of these one simulated run takes minutes or much memory."""
MOST_TOKENS = 10_000_000
LEAST_PAIRS, MOST_PAIRS = 5, 100
LOADS = frozenset(
    {
        "concurrency",
        "documents",
        "input_tokens",
        "output_tokens",
        "request_rate",
        "requests",
        "scale_tokens",
    }
)
"""Options of which 0 asks for no load at all."""

_LIMITS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "gpus": (f"from 1 to {MOST_GPUS}", lambda n: 1 <= n <= MOST_GPUS),
    "acceptance_rate": ("from 0 to 1", lambda chance: 0 <= chance <= 1),
    "hourly_cost": ("above 0 and at most 1000000 USD", lambda usd: 0 < usd <= 1e6),
    "input_tokens": (f"from 1 to {MOST_TOKENS}", lambda n: 1 <= n <= MOST_TOKENS),
    "output_tokens": (f"from 1 to {MOST_TOKENS}", lambda n: 1 <= n <= MOST_TOKENS),
    "length_spread": ("above 0 and at most 1", lambda share: 0 < share <= 1),
    "scale_tokens": ("above 0 and at most 1000", lambda factor: 0 < factor <= 1000),
    "requests": (f"from 2 to {MOST_REQUESTS}", lambda n: 2 <= n <= MOST_REQUESTS),
    "prefix_share": ("from 0 to below 1", lambda share: 0 <= share < 1),
    "request_rate": (
        "from 0.000001 to 10000 requests/s",
        lambda rate: RATES[0] <= rate <= RATES[1],
    ),
    "concurrency": (f"from 1 to {MOST_IN_FLIGHT}", lambda n: 1 <= n <= MOST_IN_FLIGHT),
    "documents": ("from 1 to 1000000000000", lambda n: 1 <= n <= 10**12),
    "trials": ("from 1 to 1000000", lambda n: 1 <= n <= 10**6),
    "pairs": (
        f"0, or from {LEAST_PAIRS} to {MOST_PAIRS}: fewer tell nothing",
        lambda n: n == 0 or LEAST_PAIRS <= n <= MOST_PAIRS,
    ),
    "seed": ("from 0 to 4294967295", lambda n: 0 <= n < 2**32),
    "jobs": ("1: this version runs one trial at a time", lambda n: n == 1),
}


def refuse_impossible(options: Options) -> None:
    """Check each option by itself, then against the others.

    Raises:
        BadInput: with the option, what it must be and what it is.
    """
    for name, (words, holds) in _LIMITS.items():
        value = getattr(options, name)
        if value is not None and not holds(value):
            zero = of_zero(value) if name in LOADS else ""
            option = name.replace("_", "-")
            raise BadInput(f"--{option} must be {words}, but got {value}{zero}.")
    _refuse_unusable(options)
    for contradicts, sentence in _contradictions(options):
        if contradicts:
            raise BadInput(sentence)


def of_zero(load: object) -> str:
    """What a refusal adds to its offender where that is a load of zero."""
    return ": a load of zero measures nothing" if load == 0 and load is not False else ""


def _refuse_unusable(options: Options) -> None:
    if options.study is not None and not STUDY_NAME.fullmatch(options.study):
        raise BadInput(
            f"--study {options.study!r} must be a plain name (letters, digits, . _ + -), "
            "not a path; --output says where it goes."
        )
    if options.storage is not None and "://" not in options.storage:
        # What was given is not printed: it may hold a password.
        raise BadInput("--storage must be a database's URL, such as sqlite:///studies.db.")
    if options.mlflow is not None and not options.mlflow.strip():
        raise BadInput("--mlflow must be a tracking server's URI, or off, but is empty.")


def _contradictions(options: Options) -> tuple[tuple[bool, str], ...]:
    lengths = (options.input_tokens is not None, options.output_tokens is not None)
    return (
        (
            options.request_rate is not None and options.concurrency is not None,
            "Give --request-rate or --concurrency, not both.",
        ),
        (
            lengths[0] != lengths[1],
            "--input-tokens and --output-tokens go together; give both.",
        ),
        (
            options.workload is not None and any(lengths),
            "Give --workload or --input-tokens and --output-tokens, not both.",
        ),
        (
            options.length_spread is not None and not any(lengths),
            "--length-spread needs --input-tokens and --output-tokens.",
        ),
        (
            options.scale_tokens != 1 and any(lengths),
            "--scale-tokens is for traces; scale --input-tokens and --output-tokens themselves.",
        ),
        (
            options.prefix_share is not None and options.workload is not None,
            "--prefix-share is for synthetic traffic; a trace brings its own prefixes.",
        ),
        (
            options.deadline is not None and options.documents is None,
            "--deadline needs --documents, the size of the batch.",
        ),
        (
            options.trials is not None and options.budget is not None,
            "Give --trials or --budget, not both.",
        ),
    )
