"""The latencies of a trial's requests, read back from what was kept of them."""

from pathlib import Path

from objectives import LoadName
from results.report import Latencies


def latencies(path: Path, objective: str, load: LoadName) -> Latencies | None:
    """``None`` where the file is gone or damaged, or holds none of them."""
    # Slow to import.
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ["objective", "load", "completed", "ttft_ms", "tpot_ms"]
    try:
        table = pq.ParquetFile(path).read(columns=columns).to_pydict()
        rows = list(zip(*(table[name] for name in columns), strict=True))
    except (OSError, pa.ArrowException, KeyError):
        return None
    mine = [row[2:] for row in rows if row[:2] == (objective, load)]
    if not mine:
        return None
    return Latencies(
        unanswered=sum(not completed for completed, _, _ in mine),
        ttft_ms=[ttft for _, ttft, _ in mine if ttft is not None],
        tpot_ms=[tpot for _, _, tpot in mine if tpot is not None],
    )
