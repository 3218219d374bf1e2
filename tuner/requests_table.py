"""The requests of a trial as a Parquet table: one row each, the same columns in every file."""

from collections.abc import Mapping

from objectives import LoadName, Measurement

COLUMNS = {
    "objective": "string",
    "load": "string",
    "arrival_s": "double",
    "input_tokens": "int64",
    "output_tokens": "int64",
    "completed": "bool",
    "ttft_ms": "double",
    "tpot_ms": "double",
    "e2el_ms": "double",
    "preemptions": "int64",
}


def parquet(loads: Mapping[str, Mapping[LoadName, Measurement]]) -> bytes:
    """The file's content, from measurements by objective and load."""
    # Slow to import, and of no use to what only reads a study.
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"objective": objective, "load": load}
        | {name: getattr(result, name) for name in list(COLUMNS)[2:]}
        for objective, measured in loads.items()
        for load, measurement in measured.items()
        for result in measurement.results
    ]
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
