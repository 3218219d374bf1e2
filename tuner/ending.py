"""How a run of a study ends: its answer on disk and on the screen, MLflow, an exit status."""

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import optuna
from jinja2 import TemplateError

from results.mlflow import LOCAL_PAGES, public
from results.record import TrialRecord
from results.text import render
from search_spaces import SearchSpace
from tuner import answer, storage
from tuner.errors import BadInput, EngineTrouble, Exit, one_line
from tuner.folder import Folder, write_whole
from tuner.interrupts import Interrupts
from tuner.learning import Learning
from tuner.mirror import Mirror
from tuner.mlflow_study import kept_files, serving
from tuner.options import Options
from tuner.problem import Problem
from tuner.report import NAME, Finding, text
from tuner.spec import StudySpec
from tuner.trouble import how_to_resume

PATIENCE_S = 60.0
HURRIED_S = 5.0
"""How long MLflow may take at the end, and after an interrupt."""
REPORT_TROUBLE = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    TemplateError,
    TypeError,
    ValueError,
)
"""Even a mistake of ours must not cost a long study its exit status and its mirrors."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is done with the answer, however far the study got."""

    folder: Folder
    spec: StudySpec
    options: Options
    interrupts: Interrupts

    def write(self, found: dict[str, Any], space: SearchSpace) -> None:
        """The answer to disk and to standard output."""
        self.folder.write_summary(found)
        self.folder.write_best(answer.best_files(found, self.spec, space))
        if self.options.json:
            self._print(json.dumps(found, indent=2, allow_nan=False))
        elif found["trials"]["done"]:
            self._print(render(found, folder=str(self.folder.path)))

    def _print(self, text: str) -> None:
        try:
            print(text, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            summary = self.folder.summary
            raise BadInput(
                f"The answer cannot be printed ({error.strerror}), but is in {summary}."
            ) from error

    def report(
        self,
        found: dict[str, Any],
        problem: Problem,
        records: Sequence[TrialRecord],
        studies: Sequence[optuna.Study],
    ) -> None:
        """The page for people, which costs no study its answer where it cannot be had."""
        path = self.folder.path / NAME
        told = "The report was not finished"
        try:
            with self.interrupts.let_in():
                finding = Finding(
                    folder=self.folder,
                    spec=self.spec,
                    problem=problem,
                    summary=found,
                    records=records,
                    confirmations=storage.confirmations(studies),
                    studies=studies,
                )
                write_whole(path, text(finding).encode())
        except KeyboardInterrupt:
            pass
        except REPORT_TROUBLE as error:
            reason = getattr(error, "strerror", None) or repr(error)
            told = f"The report cannot be written ({one_line(reason)})"
        else:
            if not (self.options.quiet or self.options.json):
                print(f"Report: {path}", file=sys.stderr)
            return
        print(f"{told}; `{self._again('report')}` makes it good.", file=sys.stderr)

    def learn(self, learning: Learning, records: Sequence[TrialRecord]) -> None:
        """What the study teaches the simulated engine, or until Ctrl-C."""
        with suppress(KeyboardInterrupt), self.interrupts.let_in():
            said = learning.finish(records)
            if not (self.options.quiet or self.options.json):
                print(said, file=sys.stderr)

    def mirror(
        self,
        mirror: Mirror,
        found: dict[str, Any],
        records: Sequence[TrialRecord],
        *,
        hurried: bool,
    ) -> None:
        """What MLflow lacks, for as long as it may take or until Ctrl-C."""
        files, answered = kept_files(self.folder), [r for r in records if r.answered]
        # What was cut short has no winners yet that servers should start from.
        registered = {} if hurried else serving(self.folder)
        wait_s = HURRIED_S if hurried else PATIENCE_S
        link = None
        try:
            with self.interrupts.let_in():
                link = mirror.finish(found, files, answered, registered, wait_s=wait_s)
        except KeyboardInterrupt:
            pass
        if link is None:
            trouble = mirror.trouble or "MLflow has not taken all of the study"
            print(f"{trouble}; `{self._sync()}` makes it good.", file=sys.stderr)
        elif not (self.options.quiet or self.options.json):
            print(f"MLflow: {self._pages(link)}", file=sys.stderr)

    def _pages(self, link: str) -> str:
        """A database has no pages of its own: a command serves them."""
        if not link.startswith(LOCAL_PAGES):
            return link
        command = f"tune ui {shlex.quote(str(self.folder.path))}"
        return f"`{self._naming_mlflow(command)}` shows the trials."

    def _again(self, command: str) -> str:
        return how_to_resume(self.folder, self.options.storage).replace("resume", command, 1)

    def _sync(self) -> str:
        return self._naming_mlflow(self._again("sync"))

    def _naming_mlflow(self, command: str) -> str:
        """An address with a secret in it is not kept with the study."""
        uri = self.options.mlflow
        return command if uri is None or public(uri) == uri else f"{command} --mlflow URI"

    def status(
        self, found: dict[str, Any], cut_short: KeyboardInterrupt | EngineTrouble | None
    ) -> Exit:
        """
        Raises:
            EngineTrouble: that is what cut the study short.
        """
        resume = how_to_resume(self.folder, self.options.storage)
        if isinstance(cut_short, EngineTrouble):
            raise EngineTrouble(
                f"{str(cut_short).rstrip('.')}. Go on with: {resume}"
            ) from cut_short
        if cut_short is None:
            return answer.exit_status(found, self.spec)
        of = f" of {self.spec.trials}" if self.spec.trials else ""
        print(
            f"Interrupted after {found['trials']['done']}{of} trials; nothing is lost. "
            f"Go on with: {resume}",
            file=sys.stderr,
        )
        return Exit.INTERRUPTED
