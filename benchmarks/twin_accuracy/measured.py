"""Published runs of real engines on real GPUs, read from ``gpu_measured_agg.csv``.

Its rows are part of what aiconfigurator (Apache-2.0) collected from InferenceMAX and others. TTFT
and TPOT are not labelled; they behave as means do.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = "gpu_measured_agg.csv"
LENGTH_SPREAD = 0.8
"""InferenceMAX draws lengths uniformly from [0.8 L, L]."""
MEAN_LENGTH = (1 + LENGTH_SPREAD) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Runs of one model by one engine on one kind of GPU."""

    backend: str
    version: str
    model: str
    gpu: str
    precision: str

    def __str__(self) -> str:
        version = self.version or "(version not given)"
        return f"{self.backend} {version}, {self.model} {self.precision}, {self.gpu}"


MAIN = Group(
    backend="vllm",
    version="",
    model="meta-llama/Llama-3.1-70B",
    gpu="h100_sxm",
    precision="fp8",
)
"""InferenceMAX, October 2025: vLLM 0.10.2 with nvidia/Llama-3.3-70B-Instruct-FP8, 45 runs. Its
scripts ask for KV cache in fp8; the H100 runs behave as if it were in bf16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What was run: a group's model and engine under one load and one parallelism."""

    group: Group
    input_tokens: int
    """The longest; so are ``output_tokens``."""
    output_tokens: int
    concurrency: int
    batch_size: int
    tensor_parallel_size: int
    attention_dp_size: int
    moe_ep_size: int

    @property
    def traffic(self) -> tuple[int, int]:
        return self.input_tokens, self.output_tokens

    def output_throughput(self, ttft_ms: float, tpot_ms: float) -> float:
        """Tokens per second of a closed loop, by Little's law: no run states its own."""
        tokens = MEAN_LENGTH * self.output_tokens
        return self.concurrency * tokens / ((ttft_ms + (tokens - 1) * tpot_ms) / 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run and what its client measured."""

    setup: Setup
    ttft_ms: float
    tpot_ms: float


def read(folder: Path) -> Mapping[Group, Sequence[Row]]:
    """Every row by its group, in the file's order.

    Raises:
        ValueError: no such file, or one without a column that is needed.
    """
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"`--data` must be a folder with {FILE}, but {folder} has none.")
    with path.open(encoding="utf-8", newline="") as file:
        return grouped(csv.DictReader(file))


def grouped(lines: Iterable[Mapping[str, str]]) -> Mapping[Group, Sequence[Row]]:
    groups: dict[Group, list[Row]] = defaultdict(list)
    for number, line in enumerate(lines, start=2):
        try:
            row = _row(line)
        except KeyError as column:
            raise ValueError(f"{FILE} must have a column {column}, but has none.") from None
        except ValueError as error:
            raise ValueError(f"{FILE}, line {number}: {error}") from None
        groups[row.setup.group].append(row)
    return groups


def _row(line: Mapping[str, str]) -> Row:
    group = Group(
        backend=line["backend"],
        version=line["backend_version"],
        model=line["model_path"],
        gpu=line["system"],
        precision=line["precision"],
    )
    setup = Setup(
        group=group,
        input_tokens=int(line["isl"]),
        output_tokens=int(line["osl"]),
        concurrency=int(line["concurrency"]),
        batch_size=int(line["batch_size"]),
        tensor_parallel_size=int(line["tp_size"]),
        attention_dp_size=int(line["attention_dp_size"] or 1),
        moe_ep_size=int(line["moe_ep_size"] or 1),
    )
    return Row(
        setup=setup,
        ttft_ms=float(line["measured_ttft_ms"]),
        tpot_ms=float(line["measured_tpot_ms"]),
    )
