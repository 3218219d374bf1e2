"""The options that `tune`, `tune plan` and `tune measure` share, each told once."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

ENGINE, TRAFFIC, SEARCH, OUTPUT = "Engine", "Traffic", "Search", "Output"


def _option(*names: str, panel: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, help=help, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user asked for, as typed."""

    objective: Annotated[
        str | None,
        typer.Option(
            help="chat code api rag agent reasoning summarize offline, all, or a YAML file.",
            metavar="NAME|FILE",
        ),
    ] = None
    engine: Annotated[
        Literal["auto", "simulated", "vllm", "openai"],
        _option("--engine", panel=ENGINE, help="auto takes the simulated engine for now."),
    ] = "auto"
    model: Annotated[
        str,
        _option("--model", panel=ENGINE, help="A known model, or a directory with config.json."),
    ] = "meta-llama/Llama-3.1-8B-Instruct"
    gpu: Annotated[
        str, _option("--gpu", panel=ENGINE, help="Simulated GPU: h100_sxm, a100_sxm, l4 ...")
    ] = "h100_sxm"
    gpus: Annotated[
        int, _option("--gpus", panel=ENGINE, min=1, help="Every config uses all of them.")
    ] = 4
    hourly_cost: Annotated[
        float | None,
        _option("--hourly-cost", panel=ENGINE, help="USD per GPU and hour, for cost per token."),
    ] = None
    workload: Annotated[
        Path | None,
        _option("--workload", panel=TRAFFIC, help="A trace to replay (CSV or JSONL)."),
    ] = None
    input_tokens: Annotated[
        int | None, _option("--input-tokens", panel=TRAFFIC, help="Prompt length.")
    ] = None
    output_tokens: Annotated[
        int | None, _option("--output-tokens", panel=TRAFFIC, help="Answer length.")
    ] = None
    length_spread: Annotated[
        float | None,
        _option("--length-spread", panel=TRAFFIC, help="Lengths uniform from this share up to N."),
    ] = None
    scale_tokens: Annotated[
        float, _option("--scale-tokens", panel=TRAFFIC, help="Multiply a trace's lengths.")
    ] = 1.0
    requests: Annotated[
        int, _option("--requests", panel=TRAFFIC, min=1, help="Requests per run.")
    ] = 600
    prefix_share: Annotated[
        float | None,
        _option("--prefix-share", panel=TRAFFIC, help="Share of every prompt that is the same."),
    ] = None
    request_rate: Annotated[
        float | None,
        _option("--request-rate", panel=TRAFFIC, help="Requests/s for the whole deployment."),
    ] = None
    concurrency: Annotated[
        int | None,
        _option("--concurrency", panel=TRAFFIC, min=1, help="Closed loop with so many in flight."),
    ] = None
    load: Annotated[
        Literal["both", "offered"],
        _option("--load", panel=TRAFFIC, help="offered leaves the capacity search out."),
    ] = "both"
    deadline: Annotated[
        str | None,
        _option("--deadline", panel=TRAFFIC, help="A batch must be done in, such as 8h."),
    ] = None
    documents: Annotated[
        int | None, _option("--documents", panel=TRAFFIC, min=1, help="Size of the batch.")
    ] = None
    sla: Annotated[
        str | None,
        _option("--sla", panel=SEARCH, help="Such as 'p95_ttft_ms<=500,p95_tpot_ms<=40'."),
    ] = None
    set: Annotated[
        list[str], _option("--set", panel=SEARCH, help="Fix a knob.", metavar="KNOB=VALUE")
    ] = ()  # type: ignore[assignment]
    range: Annotated[
        list[str],
        _option("--range", panel=SEARCH, help="Search a knob.", metavar="KNOB=LOW:HIGH|A,B,C"),
    ] = ()  # type: ignore[assignment]
    start_from: Annotated[
        Path | None,
        _option("--start-from", panel=SEARCH, help="A vLLM config file to try early."),
    ] = None
    trials: Annotated[
        int | None, _option("--trials", panel=SEARCH, min=1, help="Configs to answer (40).")
    ] = None
    budget: Annotated[
        str | None,
        _option("--budget", panel=SEARCH, help="Engine time instead of trials, such as 30m."),
    ] = None
    seed: Annotated[int, _option("--seed", panel=SEARCH, help="Same seed, same result.")] = 0
    jobs: Annotated[
        int, _option("--jobs", panel=SEARCH, min=1, help="Trials at once; 1 for now.")
    ] = 1
    allow_lossy: Annotated[
        bool, _option("--allow-lossy", panel=SEARCH, help="Knobs that may change answers.")
    ] = False
    allow_scheduler_class: Annotated[
        bool,
        _option(
            "--allow-scheduler-class",
            panel=SEARCH,
            help="Winners may need our vLLM scheduler class.",
        ),
    ] = False
    study: Annotated[
        str | None, _option("--study", panel=OUTPUT, help="Its name; objective and time if not.")
    ] = None
    output: Annotated[
        Path | None, _option("--output", panel=OUTPUT, help="Its folder (studies/<study>).")
    ] = None
    storage: Annotated[
        str | None,
        _option("--storage", panel=OUTPUT, help="A database URL instead of study.db."),
    ] = None
    mlflow: Annotated[
        str | None, _option("--mlflow", panel=OUTPUT, help="Tracking URI, or off.")
    ] = None
    json: Annotated[
        bool, _option("--json", panel=OUTPUT, help="Print summary.json and nothing else.")
    ] = False
    quiet: Annotated[bool, _option("--quiet", panel=OUTPUT, help="Print the answer only.")] = False


def with_options(run: Callable[[Options], None]) -> Callable[..., None]:
    """A command that takes every option of ``Options``, for typer to read off its signature."""
    hints = get_type_hints(Options, include_extras=True)

    def command(**given: Any) -> None:
        run(Options(**given))

    command.__doc__ = run.__doc__
    command.__annotations__ = hints
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None if option.default is MISSING else option.default,
                annotation=hints[option.name],
            )
            for option in fields(Options)
        ]
    )
    return command
