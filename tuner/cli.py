"""The command line; every command imports what it needs when it runs."""

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from tuner import cli_results, completion
from tuner.cli_results import AsJson, Folder, Mlflow, Quiet, Storage
from tuner.errors import BadInput, EngineTrouble, Exit, one_line
from tuner.options import Options, with_options
from tuner.sections import Command, Group

app = typer.Typer(
    name="tune",
    cls=Group,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Find the engine settings that serve your traffic best within your latency promise.",
    epilog="Example: tune --objective chat --gpu h100_sxm --gpus 4",
)


def _study(options: Options) -> Exit:
    """Run a study: search, judge, and write files to start servers from."""
    from tuner.run import STUDIES, begin
    from tuner.writable import refuse_unwritable

    refuse_unwritable(options.output or STUDIES)
    return begin(options)


def _plan(options: Options) -> Exit:
    """Show what would be searched, tried first, spent; try nothing."""
    from tuner.plan import plan

    typer.echo(plan(options))
    return Exit.DONE


def _measure(options: Options) -> Exit:
    """Measure one config under one load and print it as JSON."""
    from tuner.measure import measure

    typer.echo(json.dumps(measure(options), indent=2, allow_nan=False))
    return Exit.DONE


def _root(run: Callable[[Options], Exit]) -> Callable[..., Exit | None]:
    """The study's own options stand before any command."""
    plain = with_options(run)

    def root(ctx: typer.Context, **given: Any) -> Exit | None:
        if ctx.invoked_subcommand is None:
            return plain(**given)  # type: ignore[no-any-return]
        for name in given:
            source = ctx.get_parameter_source(name)
            if source is not None and source.name != "DEFAULT":
                option = f"--{name.replace('_', '-')}"
                raise BadInput(
                    f"{option} must come after the command: "
                    f"tune {ctx.invoked_subcommand} {option} ..."
                )
        return None

    signature = inspect.signature(plain)
    context = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    root.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[context, *signature.parameters.values()]
    )
    root.__annotations__ = {"ctx": typer.Context, **plain.__annotations__}
    root.__doc__ = run.__doc__
    return root


app.callback(invoke_without_command=True)(_root(_study))
app.command(
    "plan", cls=Command, epilog="Example: tune plan --objective chat --set tensor_parallel_size=2"
)(with_options(_plan))
app.command(
    "measure",
    cls=Command,
    epilog="Example: tune measure --objective chat --request-rate 20 --set max_num_seqs=64",
)(with_options(_measure))


@app.command(epilog="Example: tune resume studies/chat-20260101T120000Z")
def resume(
    directory: Folder,
    storage: Storage = None,
    mlflow: Mlflow = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> Exit:
    """Go on with a study, or print the result of a finished one."""
    from tuner.run import resume as go_on

    return go_on(directory, storage_url=storage, mlflow=mlflow, json=as_json, quiet=quiet)


cli_results.add_to(app)


@app.command(epilog="Example: tune calibrate studies/chat-20260101T120000Z")
def calibrate(
    path: Annotated[
        Path, typer.Argument(metavar="DIR|LOG.csv", help="A study's folder, or a step log.")
    ],
    gpu: Annotated[
        str | None,
        typer.Option(
            "--gpu",
            metavar="NAME",
            help="Of a log: what it ran on.",
            autocompletion=completion.gpus,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="ID|DIR",
            help="Of a log: what it served.",
            autocompletion=completion.models,
        ),
    ] = None,
    engine_version: Annotated[
        str | None, typer.Option("--engine-version", metavar="TEXT", help="Of a log: vLLM's.")
    ] = None,
    tensor_parallel_size: Annotated[
        int, typer.Option("--tensor-parallel-size", metavar="N", min=1, help="Of a log.")
    ] = 1,
    as_json: AsJson = False,
) -> Exit:
    """Teach the simulated engine what a real one took."""
    from runners.simulated.calibration import Served
    from tuner.calibrate import calibrate as learn
    from tuner.calibrate_text import text

    served = None
    if gpu and model and engine_version:
        served = Served(
            gpu=gpu,
            model=model,
            engine_version=engine_version,
            tensor_parallel_size=tensor_parallel_size,
        )
    elif gpu or model or engine_version:
        raise BadInput("--gpu, --model and --engine-version go together: give all three or none.")
    found = learn(path, served=served)
    typer.echo(json.dumps(found, indent=2, allow_nan=False) if as_json else text(found))
    return Exit.DONE


@app.command(epilog="Example: tune doctor --make-model tiny-llama")
def doctor(
    make: Annotated[
        Path | None,
        typer.Option(
            "--make-model",
            metavar="DIR",
            help="Write a small model with random weights there, to try real engines with.",
        ),
    ] = None,
    engine_command: Annotated[
        str | None, typer.Option("--engine-command", metavar="TEXT", help="How vLLM is started.")
    ] = None,
) -> Exit:
    """Check the installation, and which engines can be used."""
    from tuner.doctor import report
    from tuner.make_model import make_model

    if make is not None:
        typer.echo("\n".join(make_model(make)))
        return Exit.DONE
    lines, healthy = report(engine_command)
    typer.echo("\n".join(lines))
    return Exit.DONE if healthy else Exit.BAD_INPUT


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run, turning what is foreseen into one line and an exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Not standalone: typer would print usage errors on several lines.
        status = app(given or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except BadInput as error:
        _leave(str(error), Exit.BAD_INPUT)
    except EngineTrouble as error:
        _leave(str(error), Exit.ENGINE_TROUBLE)
    except typer.TyperException as error:
        _leave(_usage(error), Exit.BAD_INPUT)
    except OSError as error:
        with suppress(OSError):
            sys.stdout.close()  # what it still holds would fail once more on the way out
        _leave(f"{error.filename or 'standard output'}: {error.strerror}", Exit.BAD_INPUT)
    if status == Exit.INTERRUPTED and not isinstance(status, Exit):
        _leave("interrupted before anything was begun", Exit.INTERRUPTED)
    raise SystemExit(int(status or Exit.DONE))


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the options themselves, in typer's words."""
    sentence = error.format_message().replace("Value error, ", "").rstrip(".?")
    command = getattr(getattr(error, "ctx", None), "command_path", "tune")
    return f"{sentence}; see `{command} --help`."


def _leave(sentence: str, status: Exit) -> NoReturn:
    print(f"tune: {one_line(sentence)}", file=sys.stderr)
    raise SystemExit(int(status))
