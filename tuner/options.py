"""The options that `tune`, `tune plan` and `tune measure` share, each told once."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from tuner import completion


def _option(
    title: str,
    option: str,
    metavar: str | None,
    told: str,
    values: Callable[[], list[str]] | None = None,
) -> Any:
    return typer.Option(
        option, rich_help_panel=title, metavar=metavar, help=told, autocompletion=values
    )


_goal = partial(_option, "Goal")
_engine = partial(_option, "Engine")
_traffic = partial(_option, "Traffic")
_search = partial(_option, "Search")
_output = partial(_option, "Output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user asked for, as typed."""

    objective: Annotated[
        str | None,
        _goal(
            "--objective",
            "NAME|FILE",
            "chat code api rag agent reasoning summarize offline, all, or a YAML file.",
            completion.objectives,
        ),
    ] = None
    sla: Annotated[
        str | None,
        _goal("--sla", "TEXT", "Your own promise, such as 'p95_ttft_ms<=500,p95_tpot_ms<=40'."),
    ] = None
    engine: Annotated[
        Literal["auto", "simulated", "vllm", "openai"],
        _engine(
            "--engine",
            "NAME",
            "simulated; vllm launches real engines; openai measures a server at --url. "
            "auto: vllm where there are a GPU and vLLM.",
        ),
    ] = "auto"
    engine_command: Annotated[
        str | None,
        _engine(
            "--engine-command",
            "TEXT",
            "Such as '/opt/vllm/bin/vllm serve'.  [default: $PARETUNE_VLLM, or vllm on PATH]",
        ),
    ] = None
    url: Annotated[
        str | None, _engine("--url", "URL", "A running server, for --engine openai.")
    ] = None
    api_key_env: Annotated[
        str | None,
        _engine("--api-key-env", "NAME", "The environment variable with that server's key."),
    ] = None
    ready_timeout: Annotated[
        str, _engine("--ready-timeout", "15m", "How long a launch may take.")
    ] = "15m"
    model: Annotated[
        str | None,
        _engine(
            "--model",
            "ID|DIR",
            "A known model, or a folder with its config.json.  "
            "[default: meta-llama/Llama-3.1-8B-Instruct]",
            completion.models,
        ),
    ] = None
    gpu: Annotated[
        str | None,
        _engine(
            "--gpu",
            "NAME",
            "To simulate: a100_sxm, l40s, l4 (see tune doctor).  [default: h100_sxm]",
            completion.gpus,
        ),
    ] = None
    gpus: Annotated[
        int | None,
        _engine(
            "--gpus",
            "N",
            "Every config uses all of them.  [default: those visible; simulated: 4]",
        ),
    ] = None
    calibration: Annotated[
        Literal["auto", "off"],
        _engine(
            "--calibration",
            "auto|off",
            "off: neither use nor learn what real engines teach the simulated one.",
        ),
    ] = "auto"
    acceptance_rate: Annotated[
        float | None,
        _engine(
            "--acceptance-rate",
            "F",
            "To simulate speculation: accepted tokens over drafted ones, as vLLM tells it.",
        ),
    ] = None
    hourly_cost: Annotated[
        float | None, _engine("--hourly-cost", "USD", "Of one GPU, for the cost per token.")
    ] = None
    workload: Annotated[
        Path | None, _traffic("--workload", "FILE", "A trace to replay (CSV or JSONL).")
    ] = None
    input_tokens: Annotated[int | None, _traffic("--input-tokens", "N", "Prompt length.")] = None
    output_tokens: Annotated[int | None, _traffic("--output-tokens", "N", "Answer length.")] = None
    length_spread: Annotated[
        float | None,
        _traffic("--length-spread", "F", "Both lengths uniform from F x N to N."),
    ] = None
    scale_tokens: Annotated[
        float, _traffic("--scale-tokens", "F", "Multiply a trace's lengths.")
    ] = 1.0
    requests: Annotated[int, _traffic("--requests", "N", "Requests of one run.")] = 600
    prefix_share: Annotated[
        float | None,
        _traffic("--prefix-share", "F", "Share of every prompt that is the same text."),
    ] = None
    request_rate: Annotated[
        float | None,
        _traffic("--request-rate", "R", "Requests/s offered to the whole deployment."),
    ] = None
    concurrency: Annotated[
        int | None, _traffic("--concurrency", "N", "Closed loop with N requests in flight.")
    ] = None
    load: Annotated[
        Literal["both", "offered"],
        _traffic("--load", "both|offered", "offered leaves the search for capacity out."),
    ] = "both"
    deadline: Annotated[
        str | None, _traffic("--deadline", "8h", "When a batch of --documents must be done.")
    ] = None
    documents: Annotated[int | None, _traffic("--documents", "N", "Size of the batch.")] = None
    set: Annotated[list[str], _search("--set", "KNOB=VALUE", "Fix a knob.")] = ()  # type: ignore[assignment]
    range: Annotated[
        list[str], _search("--range", "KNOB=LOW:HIGH|A,B,C", "Search a knob within.")
    ] = ()  # type: ignore[assignment]
    start_from: Annotated[
        Path | None, _search("--start-from", "FILE", "A vLLM config file to try early.")
    ] = None
    trials: Annotated[
        int | None, _search("--trials", "N", "Configs to answer.  [default: 40]")
    ] = None
    budget: Annotated[
        str | None, _search("--budget", "30m", "Engine time to use, instead of --trials.")
    ] = None
    pairs: Annotated[
        int,
        _search(
            "--pairs",
            "N",
            "Times a winner is measured anew beside the default; 0: winners stay unconfirmed.",
        ),
    ] = 5
    seed: Annotated[int, _search("--seed", "N", "Same seed, same result.")] = 0
    jobs: Annotated[int, _search("--jobs", "N", "Trials at once; 1 in this version.")] = 1
    allow_lossy: Annotated[
        bool, _search("--allow-lossy", None, "Allow knobs that may change answers.")
    ] = False
    allow_scheduler_class: Annotated[
        bool,
        _search("--allow-scheduler-class", None, "Winners may need our vLLM scheduler class."),
    ] = False
    study: Annotated[
        str | None,
        _output("--study", "NAME", "The study's name.  [default: objective and time]"),
    ] = None
    output: Annotated[
        Path | None, _output("--output", "DIR", "The study's folder.  [default: studies/NAME]")
    ] = None
    storage: Annotated[
        str | None, _output("--storage", "URL", "A database instead of study.db.")
    ] = None
    mlflow: Annotated[
        str | None,
        _output("--mlflow", "URI|off", "Tracking server.  [default: studies/mlflow.db]"),
    ] = None
    json: Annotated[bool, _output("--json", None, "Print summary.json and nothing else.")] = False
    quiet: Annotated[bool, _output("--quiet", None, "Print the answer and nothing else.")] = False


def with_options(run: Callable[[Options], Any]) -> Callable[..., Any]:
    """A command that takes every option of ``Options``, for typer to read off its signature."""
    hints = get_type_hints(Options, include_extras=True)

    def command(**given: Any) -> Any:
        return run(Options(**given))

    command.__doc__ = run.__doc__
    command.__annotations__ = hints
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=option.default,
                annotation=hints[option.name],
            )
            for option in fields(Options)
        ]
    )
    return command
