"""What ``tune calibrate`` prints."""

from collections.abc import Mapping
from typing import Any

from runners.simulated.calibration.probes import TPOT, TTFT


def text(found: Mapping[str, Any]) -> str:
    """What was learnt, for people."""
    return "\n\n".join("\n".join(_lines(part)) for part in found["calibrations"])


def _lines(part: Mapping[str, Any]) -> list[str]:
    lines = [_heading(part)]
    if part["fitted"] is not None:
        lines += _fitted_lines(part["fitted"])
    if part["trials"] or part["fitted"] is None:
        lines += _parameter_lines(part)
    if part["held_out"] is not None:
        before, after = part["held_out"]["before"], part["held_out"]["after"]
        lines.append(
            "  each trial predicted from the others (mean error): TTFT "
            f"{before[TTFT]:.0%} before, {after[TTFT]:.0%} after; "
            f"TPOT {before[TPOT]:.0%} before, {after[TPOT]:.0%} after"
        )
    lines += [f"  {note}" for note in part["notes"]]
    return [*lines, f"  kept in {part['kept']}"] if part["kept"] else lines


def _heading(part: Mapping[str, Any]) -> str:
    learnt = f"{part['steps']} steps"
    if part["trials"]:
        learnt = f"{part['trials']} trials, {learnt}"
    if part["of"] is None:
        return f"Step log: {learnt}"
    of = part["of"]
    return (
        f"vLLM {of['engine_version']}, {of['model']} on {of['gpu']}, tensor_parallel_size "
        f"{of['tensor_parallel_size']}: {learnt}"
    )


def _fitted_lines(fitted: Mapping[str, Any]) -> list[str]:
    lines = [f"  step times fitted to {fitted['rows']} steps, each within {fitted['scatter']:.0%}"]
    for name, told in fitted["coefficients"].items():
        if told["value"]:
            lines.append(f"    {name:<17} {told['value']:.3g} +- {told['standard_error']:.1g}")
    return lines


def _parameter_lines(part: Mapping[str, Any]) -> list[str]:
    lines = [
        f"  {name:<15} {told['value']:.3g} +- {told['standard_error']:.1g}"
        for name, told in part["parameters"].items()
    ]
    if part["kv_offset_tokens"] is not None:
        lines.append(
            f"  KV cache        {part['kv_offset_tokens']:+d} tokens against the estimate"
        )
    residual = part["residual_sd"]
    return [
        *lines,
        f"  left over       TTFT {residual['log_ttft']:.0%} (p95, p99: "
        f"{residual['log_ttft_tail']:.0%}), TPOT {residual['log_tpot']:.0%} (p95, p99: "
        f"{residual['log_tpot_tail']:.0%}), one standard deviation",
    ]
