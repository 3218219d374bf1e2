"""Commands on what studies have left behind; each imports what it needs when it runs."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tuner import completion
from tuner.errors import Exit

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")]
Storage = Annotated[
    str | None,
    typer.Option("--storage", metavar="URL", help="The study's database, if not DIR/study.db."),
]
Mlflow = Annotated[
    str | None, typer.Option("--mlflow", metavar="URI|off", help="Another tracking server.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print summary.json and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the answer and nothing else.")]


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def show(directory: Folder, as_json: AsJson = False, storage: Storage = None) -> Exit:
    """Print a study's answer again, from its folder."""
    from results.text import render
    from tuner.show import show as read

    summary = read(directory, storage)
    if as_json:
        typer.echo(json.dumps(summary, indent=2, allow_nan=False))
    else:
        typer.echo(render(summary, folder=str(directory)))
    return Exit.DONE


def report(
    directory: Folder,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Where to; DIR/report.html by default."),
    ] = None,
    storage: Storage = None,
) -> Exit:
    """Write a study as one page that opens without a network."""
    from tuner.show import report as write

    typer.echo(write(directory, output=output, storage_url=storage))
    return Exit.DONE


def compare(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Folders of two studies or more.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="URL", help="The database of those without a study.db."),
    ] = None,
) -> Exit:
    """Show studies side by side, and what changed."""
    from results.text.across import render
    from tuner.compare import compare as side_by_side

    found = side_by_side(directories, storage)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2, allow_nan=False))
    else:
        typer.echo(render(found))
    return Exit.DONE


def sync(directory: Folder, mlflow: Mlflow = None, storage: Storage = None) -> Exit:
    """Write to MLflow what it could not be told while the study ran."""
    from tuner.show import sync as catch_up

    typer.echo(catch_up(directory, mlflow=mlflow, storage_url=storage))
    return Exit.DONE


def ui(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A study's folder, to open its trials.")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option("--mlflow", metavar="URI", help="Another tracking server.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", min=1, max=65535, help="5000, or any that is free."),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address and open nothing.")
    ] = False,
    storage: Storage = None,
) -> Exit:
    """Show trials in MLflow's pages, on this machine only."""
    from tuner.ui import Asked
    from tuner.ui import ui as show_pages

    asked = Asked(
        folder=directory, mlflow=mlflow, storage_url=storage, port=port, browser=not no_browser
    )
    show_pages(asked, typer.echo)
    return Exit.DONE


def export(
    directory: Folder,
    quadrant: Annotated[
        str,
        typer.Option(
            "--quadrant",
            metavar="Q",
            help=f"{_either(completion.QUADRANTS)}.",
            autocompletion=completion.quadrants,
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="TARGET",
            help=f"{_either(completion.TARGETS)}.",
            autocompletion=completion.targets,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Where to; DIR/exports/TARGET by default."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="TEXT", help="How production names the model."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Write files that were held against nothing.")
    ] = False,
    storage: Storage = None,
) -> Exit:
    """Write a winner as files that a production server starts from."""
    from tuner.export import Asked
    from tuner.export import export as write

    asked = Asked(
        folder=directory,
        quadrant=quadrant,
        to=to,
        out=out,
        model=model,
        force=force,
        check=not no_check,
        storage_url=storage,
    )
    typer.echo(write(asked))
    return Exit.DONE


def verify(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="What `tune export --to vllm` wrote, or best/Q.yaml."),
    ],
    study: Annotated[
        Path | None,
        typer.Option("--study", metavar="DIR", help="Its folder, if FILE is not in it."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="A running server, instead of a launch."),
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="Where its key is.")
    ] = None,
    runs: Annotated[
        int | None,
        typer.Option("--runs", metavar="N", min=2, help="Fewer than all draws that are kept."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    storage: Storage = None,
) -> Exit:
    """Measure an exported file again; exit 5 when worse."""
    from results.verification import WORSE
    from tuner.verify import Asked
    from tuner.verify import verify as replay

    asked = Asked(
        file=file,
        study=study,
        runs=runs,
        url=url,
        api_key_env=api_key_env,
        storage_url=storage,
    )
    found = replay(asked)
    typer.echo(json.dumps(found.to_json(), indent=2, allow_nan=False) if as_json else str(found))
    return Exit.WORSE_THAN_PROMISED if found.verdict == WORSE else Exit.DONE


STUDY = "studies/chat-20260101T120000Z"
COMMANDS: tuple[tuple[Callable[..., Exit], str], ...] = (
    (show, f"show {STUDY} --json"),
    (report, f"report {STUDY} --output chat.html"),
    (compare, "compare studies/vllm-0.31 studies/vllm-0.32"),
    (sync, f"sync {STUDY} --mlflow http://host:5000"),
    (ui, f"ui {STUDY}"),
    (export, f"export {STUDY} --quadrant interactive --to kubernetes"),
    (verify, f"verify {STUDY}/exports/vllm/interactive.yaml"),
)
"""In the order in which ``tune --help`` names them, each with an example."""


def add_to(app: typer.Typer) -> None:
    for command, example in COMMANDS:
        app.command(epilog=f"Example: tune {example}")(command)
