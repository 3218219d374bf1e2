"""What a trial's run keeps as files: record, config, every request, latency over load."""

import csv
import io
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from results.record import TrialRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient


def keep_files(
    client: "MlflowClient", run_id: str, record: TrialRecord, tables: Path | None
) -> None:
    """All in one call: each looks the run up again.

    Args:
        tables: where ``<number>.parquet`` has every request of a trial.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "record.json").write_text(record.to_json(), "utf-8")
        (folder / "config.json").write_text(json.dumps(dict(record.config), indent=2), "utf-8")
        if curve := latency_over_load(record):
            (folder / "latency_over_load.csv").write_text(curve, "utf-8")
        table = tables / f"{record.number}.parquet" if tables else None
        if table and table.is_file():
            (folder / "requests").mkdir()
            shutil.copyfile(table, folder / "requests" / table.name)
        client.log_artifacts(run_id, name)


def latency_over_load(record: TrialRecord) -> str:
    """CSV with a row for each probe of the search for capacity, by level; empty without any."""
    probes = record.loads.get("capacity", {}).get("probes", [])
    if not probes:
        return ""
    text = io.StringIO()
    columns = dict.fromkeys(name for probe in probes for name in probe)
    rows = csv.DictWriter(text, list(columns), lineterminator="\n")
    rows.writeheader()
    rows.writerows(probes)
    return text.getvalue()
