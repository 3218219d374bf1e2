"""How far the twin is from published runs of real engines on GPUs.

    python -m benchmarks.twin_accuracy --data DIR [--out JSON]

DIR holds gpu_measured_agg.csv and reference_points.csv. The tables are printed as they come.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.twin_accuracy import kernel_tables, static_batches, tables
from benchmarks.twin_accuracy.comparison import Comparison, compare, figures
from benchmarks.twin_accuracy.learnt import learnt
from benchmarks.twin_accuracy.measured import MAIN, Group, Row, read
from benchmarks.twin_accuracy.replay import KV_DTYPES, PROMPTS_PER_CLIENT

FEW = 3
"""Prompts per client of 8192-token answers in the other groups, whose protocol is assumed."""


def measure(folder: Path) -> Mapping[str, Any]:
    groups = read(folder)
    return {
        "main": _main_group(groups),
        "groups": _every_group(groups),
        "static_batches": static_batches.measure(folder),
        "kernel_tables": kernel_tables.measure(),
    }


def _main_group(groups: Mapping[Group, Sequence[Row]]) -> Mapping[str, Any]:
    if MAIN not in groups:
        print(f"No rows of {MAIN}.")
        return {}
    told: dict[str, Any] = {}
    for kv_dtype in KV_DTYPES:
        found = learnt(compare(MAIN, groups[MAIN], kv_dtype))
        _print(*tables.rows(found), *tables.verdicts(found), *tables.left_out(found), "")
        told[kv_dtype] = {**figures(found), "table": [_case(case) for case in found.cases]}
    return told


def _case(case: Any) -> dict[str, Any]:
    setup = case.row.setup
    return {
        "input_tokens": setup.input_tokens,
        "output_tokens": setup.output_tokens,
        "concurrency": setup.concurrency,
        "tensor_parallel_size": setup.tensor_parallel_size,
        "measured_ttft_ms": case.row.ttft_ms,
        "measured_tpot_ms": case.row.tpot_ms,
        "ttft_ms": round(case.twin.ttft_ms, 2),
        "tpot_ms": round(case.twin.tpot_ms, 3),
        "affine_ms": case.fitted and [round(value, 3) for value in case.fitted],
        "learnt_ms": case.learnt and [round(value, 3) for value in case.learnt],
        "saturated": case.twin.saturated,
        "preemptions": case.twin.preemptions,
    }


def _every_group(groups: Mapping[Group, Sequence[Row]]) -> list[Mapping[str, Any]]:
    _print(
        "Every group, KV cache in bf16; mean absolute error in per cent (mean signed error)",
        tables.GROUPS_HEAD,
    )
    compared: list[Comparison] = []
    for group, rows in groups.items():
        prompts = PROMPTS_PER_CLIENT if group == MAIN else FEW
        found = compare(group, rows, KV_DTYPES[0], prompts_of_long_answers=prompts)
        compared.append(found)
        if found.cases:
            _print(tables.group_line(found))
    _print("", "Not simulated, and why:")
    for found in compared:
        _print(*tables.left_out(found))
    _print("")
    return [
        {"group": str(found.group), "kv_dtype": found.kv_dtype, **figures(found)}
        for found in compared
    ]


def _print(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="JSON", help="write every figure here")
    given = parser.parse_args()
    try:
        found = {"paretune": version("paretune"), **measure(given.data)}
    except ValueError as error:
        parser.error(str(error))
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
