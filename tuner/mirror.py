"""MLflow written beside the loop: a slow or dead server costs no trial and no waiting."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from results.mlflow import MlflowError, MlflowStudy
from results.record import TrialRecord

Entry = Callable[[MlflowStudy], object]


class Mirror:
    """Takes trials as they come and writes them from a thread of its own.

    The first failure stops the writing; ``trouble`` then says why, and ``sync`` catches up.
    """

    def __init__(self, open_study: Callable[[], MlflowStudy]) -> None:
        self.trouble: str | None = None
        """Why MLflow has not all of the study, in one sentence; ``None`` while it has."""
        self._link: str | None = None
        self._entries: SimpleQueue[Entry | None] = SimpleQueue()
        # A daemon, so that the process can end while a server keeps it waiting.
        self._writer = Thread(target=self._run, args=(open_study,), name="mlflow", daemon=True)
        self._writer.start()

    def write(self, record: TrialRecord) -> None:
        """Have an answered trial written soon; returns at once."""
        if self.trouble is None:
            self._entries.put(lambda study: study.write(record))

    def finish(
        self,
        summary: Mapping[str, Any],
        files: Sequence[Path],
        records: Sequence[TrialRecord],
        serving: Mapping[str, Path] | None = None,
        *,
        wait_s: float = 60.0,
    ) -> str | None:
        """Write what is left, for at most ``wait_s``; the link to it, or ``None`` with trouble."""
        self._entries.put(lambda study: study.finish(summary, files, records, serving))
        self._entries.put(None)
        self._writer.join(wait_s)
        if self._link is None and self.trouble is None:
            late = f" within {wait_s:g} s" if self._writer.is_alive() else ""
            self.trouble = f"MLflow has not taken all of the study{late}"
        return self._link

    def _run(self, open_study: Callable[[], MlflowStudy]) -> None:
        try:
            study = open_study()
            while (entry := self._entries.get()) is not None:
                entry(study)
            self._link = study.link
        except MlflowError as error:
            self.trouble = str(error)


def sync(
    study: MlflowStudy,
    records: Sequence[TrialRecord],
    summary: Mapping[str, Any],
    files: Sequence[Path],
    serving: Mapping[str, Path] | None = None,
) -> int:
    """Bring MLflow up to a study's records; how many trials it did not have in full.

    Raises:
        MlflowError: MLflow could not be reached or written.
    """
    written = sum(study.write(record) for record in records)
    study.finish(summary, files, records, serving)
    return written
