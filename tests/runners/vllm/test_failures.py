from pathlib import Path
from typing import Literal

import pytest

from runners import Failure, FailureKind
from runners.vllm.failures import diagnose, oom_kills

LOGS = Path(__file__).parent / "logs"
"""What vLLM 0.32.0's CPU build wrote, without most of each traceback."""
REFUSED, DOES_NOT_FIT = FailureKind.REFUSED, FailureKind.DOES_NOT_FIT
OUT_OF_MEMORY, HOST, DIED = FailureKind.OUT_OF_MEMORY, FailureKind.HOST, FailureKind.DIED
NEVER_READY = FailureKind.NEVER_READY


def log(name: str) -> list[str]:
    return (LOGS / f"{name}.txt").read_text(encoding="utf-8").split("\n")


def launch(
    lines: list[str], *, timed_out: bool = False, exit_status: int | None = 1, oom_kills: int = 0
) -> Failure:
    return diagnose(
        lines,
        stage="launch",
        timed_out=timed_out,
        exit_status=exit_status,
        oom_kills=oom_kills,
    )


def serving(lines: list[str], exit_status: int | None = 0) -> Failure:
    return diagnose(lines, stage="serving", timed_out=False, exit_status=exit_status)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("unknown_flag", "unrecognized arguments: --no-such-flag 1"),
        (
            "tokens_below_seqs",
            "max_num_batched_tokens (8) must be greater than or equal to max_num_seqs (16).",
        ),
        (
            "no_chunking",
            "max_num_batched_tokens (2048) is smaller than max_model_len (4096). This effectively "
            "limits the maximum sequence length to max_num_batched_tokens and makes vLLM reject "
            "longer sequences. Please increase max_num_batched_tokens or decrease max_model_len.",
        ),
        (
            "tp3",
            "Total number of attention heads (8) must be divisible by tensor parallel size (3).",
        ),
        (
            "tp2_one_numa_node",
            "Not enough allowed NUMA nodes to bind threads of 2 local CPUWorkers. Allowed NUMA "
            "nodes are [0]. Please try to bind threads manually or decrease DP/TP/PP.",
        ),
        ("block_size", "No common block size for 100 (CPU_ATTN: [MultipleOf(32)])."),
        (
            "bad_speculation",
            "num_speculative_tokens must be provided with speculative model unless the draft "
            "model config contains an n_predict parameter.",
        ),
        ("no_model", "there is no model in /models/nowhere"),
        ("no_weights", "Cannot find any model weights with `/models/noweights`"),
        (
            "broken_config",
            "It looks like the config file at '/models/broken/config.json' is not a valid JSON "
            "file.",
        ),
        (
            "unknown_architecture",
            "The checkpoint you are trying to load has model type `nosuch` but Transformers does "
            "not recognize this architecture. This could be because of an issue with the "
            "checkpoint, or because your version of Transformers is out of date.",
        ),
    ],
)
def test_what_vllm_refuses_is_told_in_its_own_words(name: str, cause: str) -> None:
    assert launch(log(name)) == Failure(REFUSED, cause)


@pytest.mark.parametrize(
    ("name", "kind", "begin"),
    [
        ("bad_kv_dtype", REFUSED, "argument --kv-cache-dtype: invalid choice: 'fp9' (choose"),
        ("len_over_positions", REFUSED, "User-specified max_model_len (16384) is greater than"),
        ("quantization_fp8", REFUSED, "_C::static_scaled_fp8_quant() expected at most 0 argument"),
        ("kv_too_small", DOES_NOT_FIT, "To serve at least one request with the model's max seq"),
        ("kv_too_large", DOES_NOT_FIT, "Available memory on node 0 (14.83/16.84 GiB) on kv cache"),
        ("no_cache_blocks", DOES_NOT_FIT, "Available memory on node 0 (15.49/16.84 GiB) on kv"),
        ("port_in_use", HOST, "[Errno 98] Address already in use"),
        ("cannot_allocate", OUT_OF_MEMORY, "[enforce fail at alloc_cpu.cpp"),
    ],
)
def test_a_failed_launch_is_told_by_its_root_cause(
    name: str, kind: FailureKind, begin: str
) -> None:
    failure = launch(log(name))
    assert (failure.kind, failure.detail[: len(begin)]) == (kind, begin)
    assert len(failure.detail) <= 300


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("kill_engine_core", "MPClient: engine core exited unexpectedly; starting cleanup"),
        (
            "kill_worker",
            "Worker proc VllmWorker-0 died unexpectedly (exit code: None), shutting down "
            "executor.",
        ),
    ],
)
def test_an_engine_that_died_while_serving_died_though_it_exits_with_0(
    name: str, cause: str
) -> None:
    assert serving(log(name)) == Failure(DIED, cause)


@pytest.mark.parametrize(
    ("name", "kind", "detail"),
    [
        (
            "kill_engine_core_at_launch",
            HOST,
            "a process was killed while the engine started (signal 9)",
        ),
        # Its signal is not told: it may have crashed by itself.
        (
            "kill_worker_at_launch",
            DIED,
            "a worker ended without a word while the engine started",
        ),
    ],
)
def test_a_process_killed_at_launch_says_nothing_unless_the_kernel_did_it_for_memory(
    name: str, kind: FailureKind, detail: str
) -> None:
    assert launch(log(name)) == Failure(kind, detail)
    freed = "The kernel ended a process to free memory."
    assert launch(log(name), oom_kills=1) == Failure(OUT_OF_MEMORY, freed)


# Not provoked here: texts of PyTorch, NCCL and vLLM's source.
@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", OUT_OF_MEMORY),
        ("OSError: [Errno 12] Cannot allocate memory", OUT_OF_MEMORY),
        ("ValueError: No available memory for the cache blocks. Try more.", DOES_NOT_FIT),
        (
            "ValueError: Free memory on device cuda:0 (3.1/79.1 GiB) on startup is less than "
            "desired GPU memory utilization (0.92, 72.8 GiB).",
            DOES_NOT_FIT,
        ),
        ("RuntimeError: NCCL error: unhandled system error", HOST),
        ("RuntimeError: No CUDA GPUs are available; CUDA driver initialization failed", HOST),
        ("OSError: [Errno 28] No space left on device", HOST),
        ("PermissionError: [Errno 13] Permission denied: '/models/config.json'", HOST),
        ("TimeoutError: Timed out waiting for engine core processes to start.", DIED),
    ],
)
@pytest.mark.parametrize("stage", ["launch", "serving"])
def test_an_error_that_names_its_kind_is_of_it_at_any_time(
    line: str, kind: FailureKind, stage: Literal["launch", "serving"]
) -> None:
    prefix = "\x1b[1;36m(EngineCore_DP0 pid=12)\x1b[0;0m ERROR 11-21 19:00:00 [core.py:1510] "
    lines = [prefix + line, "RuntimeError: Engine core initialization failed. See above."]
    failure = diagnose(lines, stage=stage, timed_out=False, exit_status=1)
    assert failure.kind == kind
    assert failure.detail in line


def test_the_same_words_in_a_warning_are_no_error() -> None:
    warning = "(APIServer pid=1) WARNING 11-21 19:00:00 [x.py:1] OSError: Cannot allocate memory"
    assert launch([warning]) == Failure(DIED, "the engine ended without a word (exit status 1)")


def test_an_engine_that_is_never_ready_is_told_with_its_last_line() -> None:
    lines = ["(Worker pid=7) INFO 11-21 19:00:00 [core.py:1] Loading weights", "", ""]
    said = "not ready in time; last: Loading weights"
    assert launch(lines, timed_out=True, exit_status=None) == Failure(NEVER_READY, said)


def test_an_error_goes_before_the_timeout_that_it_led_to() -> None:
    failure = launch(["ValueError: no"], timed_out=True, exit_status=None)
    assert failure == Failure(REFUSED, "no")


@pytest.mark.parametrize(
    ("status", "how"),
    [(None, ""), (0, " (exit status 0)"), (-11, " (signal 11)")],
)
def test_an_engine_that_ended_silently_died(status: int | None, how: str) -> None:
    said = f"the engine ended without a word{how}"
    assert launch([], exit_status=status) == serving([], status) == Failure(DIED, said)


def test_details_are_one_line_of_printable_text() -> None:
    failure = launch([f"KeyError: '\x1b[31ma\x1b[0m\tb\x07 \u202e{'c' * 999}"])
    assert failure.detail == f"KeyError: 'a b {'c' * 282}..."


def test_a_million_lines_of_noise_are_read_once() -> None:
    lines = ["ValueError: first", *["RuntimeError: later"] * 20_000]
    assert launch(lines) == Failure(REFUSED, "first")


def test_processes_ended_for_memory_are_counted(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 1\noom_kill 3\n")
    assert (oom_kills(counters), oom_kills(tmp_path / "missing")) == (3, 0)
    assert oom_kills() >= 0
