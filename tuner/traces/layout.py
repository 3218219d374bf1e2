"""The known trace formats: which columns hold times and lengths."""

from dataclasses import dataclass

from tuner.errors import BadInput
from tuner.traces.row import Row
from tuner.traces.stamps import PER_SECOND, has_zone, stamp_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a format keeps what a replay needs."""

    format: str
    time: str | None = None
    """``None``: the format says nothing of arrivals."""
    per_second: int = 1
    """Units of the time column in a second."""
    calendar: bool = False
    """Whether times are dates rather than numbers."""
    inputs: tuple[str, ...]
    """Columns whose sum is the prompt's length."""
    output: str
    blocks: str = "blocks"
    block_tokens: int = 16

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every row must have."""
        return (*((self.time,) if self.time else ()), *self.inputs, self.output)

    def stamp(self, row: Row) -> int | float:
        """When the row's request arrived, in the format's own unit."""
        if self.time is None:
            return 0
        return stamp_ns(row, self.time) if self.calendar else row.number(self.time)

    def release(self, row: Row) -> str:
        """The format's name as told from a first row: the Azure releases share a header."""
        if not (self.calendar and self.time):
            return self.format
        return f"{self.format} {2024 if has_zone(row, self.time) else 2023}"


LAYOUTS = (
    Layout(
        format="Azure",
        time="timestamp",
        calendar=True,
        per_second=PER_SECOND,
        inputs=("contexttokens",),
        output="generatedtokens",
    ),
    Layout(
        format="Mooncake",
        time="timestamp",
        per_second=1000,
        inputs=("input_length",),
        output="output_length",
        blocks="hash_ids",
        block_tokens=512,
    ),
    Layout(
        format="BurstGPT",
        time="timestamp",
        inputs=("request tokens",),
        output="response tokens",
    ),
    Layout(format="paretune", time="arrival_s", inputs=("input_tokens",), output="output_tokens"),
    Layout(format="ServeGen", time="arrived_at", inputs=("input_tokens",), output="output_tokens"),
    # Images are prefilled like text, so their tokens count towards the prompt.
    Layout(
        format="ServeGen",
        time="arrived_at",
        inputs=("text_tokens", "image_tokens"),
        output="output_tokens",
    ),
    Layout(format="ServeGen", time="arrived_at", inputs=("text_tokens",), output="output_tokens"),
    Layout(
        format="Vidur",
        time="arrived_at",
        inputs=("num_prefill_tokens",),
        output="num_decode_tokens",
    ),
    Layout(format="lengths only", inputs=("num_prefill_tokens",), output="num_decode_tokens"),
    Layout(format="lengths only", inputs=("input_tokens",), output="output_tokens"),
)
"""Asked in this order, so a format with more columns comes before one with fewer of them."""


def layout_of(columns: list[str], place: str) -> Layout:
    """The format with these columns.

    Raises:
        BadInput: no known format has them.
    """
    if repeated := sorted({column for column in columns if columns.count(column) > 1}):
        raise BadInput(f"{place}: the header names {repeated[0][:80]!r} twice; rename one.")
    for layout in LAYOUTS:
        if set(layout.columns) <= set(columns):
            _refuse_unread_times(layout, columns, place)
            return layout
    known = ", ".join(f"`{','.join(layout.columns)}` ({layout.format})" for layout in LAYOUTS)
    raise BadInput(
        f"{place}: unknown header {','.join(columns)[:80]!r}; name the columns of the CSV file or "
        f"the keys of its JSON lines, in any letter case, as one of: {known}."
    )


def _refuse_unread_times(layout: Layout, columns: list[str], place: str) -> None:
    """Times under a name that is not known must not be taken for a file without times."""
    if layout.time is not None:
        return
    for column in columns:
        if any(word in column for word in ("time", "stamp", "arriv", "date")):
            raise BadInput(
                f"{place}: {column[:80]!r} looks like a time but is not read; rename it to "
                "`arrival_s` (seconds), or remove it to use the lengths only."
            )
