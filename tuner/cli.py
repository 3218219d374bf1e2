"""The command line; every command imports what it needs when it runs."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tuner.errors import BadInput, EngineTrouble, Exit
from tuner.options import Options, with_options

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")]
Storage = Annotated[
    str | None, typer.Option("--storage", help="The database URL, if not study.db.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print summary.json.")]
Mlflow = Annotated[str | None, typer.Option("--mlflow", help="Tracking URI, or off.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the answer only.")]


app = typer.Typer(
    name="tune",
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Find the engine settings that serve your traffic best within your latency promise.",
    epilog="Example: tune --objective chat --gpu h100_sxm --gpus 4",
)


def ending(status: int) -> None:
    """Leave with an exit status."""
    if status:
        raise typer.Exit(status)


def _study(options: Options) -> None:
    """Run a study: search, judge, and write files to start servers from."""
    from tuner.run import begin

    ending(begin(options))


def _plan(options: Options) -> None:
    """Show the search space, what would be tried first and what it would cost."""
    from tuner.plan import plan

    typer.echo(plan(options))


def _measure(options: Options) -> None:
    """Measure one config under one load and print it as JSON."""
    from tuner.measure import measure

    typer.echo(json.dumps(measure(options), indent=2, allow_nan=False))


def _root(run: Callable[[Options], None]) -> Callable[..., None]:
    """The study's own options stand before any command."""
    import inspect

    plain = with_options(run)

    def root(ctx: typer.Context, **given: object) -> None:
        if ctx.invoked_subcommand is None:
            plain(**given)
        elif given.get("objective") is not None:
            raise BadInput(f"Options go after the command: tune {ctx.invoked_subcommand} ...")

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
app.command("plan")(with_options(_plan))
app.command("measure")(with_options(_measure))


@app.command()
def resume(
    directory: Folder,
    storage: Storage = None,
    mlflow: Mlflow = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a study that was interrupted; print the result of one that is finished."""
    from tuner.run import resume as go_on

    ending(go_on(directory, storage_url=storage, mlflow=mlflow, json=as_json, quiet=quiet))


@app.command()
def show(directory: Folder, as_json: AsJson = False, storage: Storage = None) -> None:
    """Print a study's answer again, from its folder."""
    from results.text import render
    from tuner.show import show as read

    summary = read(directory, storage)
    if as_json:
        typer.echo(json.dumps(summary, indent=2, allow_nan=False))
    else:
        typer.echo(render(summary, folder=str(directory)))


@app.command()
def sync(directory: Folder, mlflow: Mlflow = None, storage: Storage = None) -> None:
    """Write to MLflow what it could not be told while the study ran."""
    from tuner.show import sync as catch_up

    typer.echo(catch_up(directory, mlflow=mlflow, storage_url=storage))


@app.command()
def doctor() -> None:
    """Check the installation, and who owns the command `tune`."""
    from tuner.doctor import report

    lines, healthy = report()
    typer.echo("\n".join(lines))
    ending(0 if healthy else Exit.BAD_INPUT)


def main() -> None:
    """Run, turning what is foreseen into one line and an exit status."""
    try:
        app()
    except BadInput as error:
        _leave(str(error), Exit.BAD_INPUT)
    except EngineTrouble as error:
        _leave(str(error), Exit.ENGINE_TROUBLE)
    except KeyboardInterrupt:
        _leave("interrupted; nothing had begun that could be lost", Exit.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(Exit.BAD_INPUT) from None
    except OSError as error:
        _leave(f"{error.filename or 'the disk'}: {error.strerror or error}", Exit.BAD_INPUT)


def _leave(sentence: str, status: Exit) -> None:
    print(f"tune: {sentence}", file=sys.stderr)
    raise SystemExit(int(status))
