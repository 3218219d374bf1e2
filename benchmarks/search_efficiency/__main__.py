"""How far searches get in so many seconds of engine time.

    python -m benchmarks.search_efficiency run --output DIR [--processes 2] [--shard 1/4] [--quick]
    python -m benchmarks.search_efficiency report --output DIR [--markdown FILE] [--json FILE]

Run again with the same --output, it goes on where it stopped.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.search_efficiency.cells import cells, units
from benchmarks.search_efficiency.figures import as_json
from benchmarks.search_efficiency.filling import filled_by
from benchmarks.search_efficiency.policies import POLICIES
from benchmarks.search_efficiency.report import as_markdown, page
from benchmarks.search_efficiency.results_file import append, file_of, read_results
from benchmarks.search_efficiency.surfaces import NAMES, Place, surface_named

SEEDS, TRIALS = 20, 16
QUICK_SEEDS, QUICK_TRIALS = 3, 10
Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


def run(given: argparse.Namespace) -> None:
    """Fill the cells that are not there yet."""
    seeds = given.seeds or (QUICK_SEEDS if given.quick else SEEDS)
    trials = given.trials or (QUICK_TRIALS if given.quick else TRIALS)
    given.output.mkdir(parents=True, exist_ok=True)
    place = Place(cache=given.cache or given.output / "cache", data=given.data)
    number, of = given.shard
    mine = units(given.surfaces, given.policies, seeds)[number - 1 :: of]
    known = read_results(given.output)
    if other := sorted({result.trials for result in known.values()} - {trials}):
        raise ValueError(
            f"One --output holds results of one --trials, but {given.output} has {other[0]} "
            f"and {trials} was asked for."
        )
    left = [unit for unit in mine if any(cell.key not in known for cell in cells(unit))]
    file = file_of(given.output, given.shard)
    with _spread(given.processes) as (in_order, as_done):
        for name in dict.fromkeys(unit.surface for unit in left):
            began_s = time.monotonic()
            surface_named(name, place, in_order)
            _say(f"{name}: its truth is known ({time.monotonic() - began_s:.1f} s)")
        done = as_done(partial(filled_by, place, trials), left)
        for count, (unit, filled, took_s) in enumerate(done, start=1):
            append(file, [(c, f) for c, f in filled if c.key not in known], trials)
            what = f"{unit.surface}, {unit.policy}, seed {unit.seed}"
            _say(f"{count}/{len(left)}  {what}: {took_s:.1f} s")


def report(given: argparse.Namespace) -> None:
    """Both tables from what is there."""
    met = read_results(given.output).values()
    known = list(POLICIES)
    results = sorted(met, key=lambda r: known.index(r.policy) if r.policy in known else len(known))
    if not results:
        raise ValueError(f"A report needs results, but {given.output} holds none; run it first.")
    abouts = {policy.name: policy.about for policy in POLICIES.values()}
    text = as_markdown(results, abouts)
    print(text)
    if given.markdown is not None:
        given.markdown.write_text(page(text), "utf-8")
    if given.json is not None:
        found = json.dumps(as_json(results), indent=2, allow_nan=False)
        given.json.write_text(found + "\n", "utf-8")


@contextmanager
def _spread(processes: int) -> Iterator[tuple[Spread, Spread]]:
    """``map`` over processes: with the results in order, and as they are done."""
    if processes == 1:
        yield map, map
        return
    with get_context("spawn").Pool(processes) as pool:
        yield pool.imap, pool.imap_unordered


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    _run_options(commands.add_parser("run", help="fill the cells that are not there yet"))
    _report_options(commands.add_parser("report", help="write both tables"))
    given = parser.parse_args()
    try:
        given.do(given)
    except ValueError as error:
        parser.error(str(error))


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(do=run)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="truths and runs; by default in --output"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the folder of gpu_measured_agg.csv"
    )
    parser.add_argument("--surfaces", type=_names(NAMES), default=NAMES, metavar="A,B")
    parser.add_argument(
        "--policies", type=_names(tuple(POLICIES)), default=tuple(POLICIES), metavar="A,B"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help=f"{SEEDS} by default")
    parser.add_argument(
        "--trials", type=int, metavar="N", help=f"that a budget is for; {TRIALS} by default"
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_SEEDS} seeds of {QUICK_TRIALS} trials"
    )
    parser.add_argument("--processes", type=int, default=1, metavar="N")
    parser.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N")


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(do=report)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def names(text: str) -> tuple[str, ...]:
        found = tuple(text.split(","))
        if unknown := sorted(set(found) - set(known)):
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return found

    return names


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"a shard reads like 1/4, but got {text!r}")
    return int(number), int(of)


if __name__ == "__main__":
    main()
