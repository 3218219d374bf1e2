"""Step times summed from kernels that NVIDIA measured, by aiconfigurator-core.

Its wheel exists for Linux on x86-64 only. Between measured sizes it interpolates, and a step may
get shorter as work is added: by a few per cent in bf16, and by up to 16 % in fp8 on H100, whose
kernels start another wave of tiles just past 128 tokens and every 256. On B200 single fp8 kernels
were measured at twice the time of larger ones, batches of one among them. Of several prompts in a
step it takes the mean length, rounded down, so some tokens fewer than there are.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from runners.simulated.step_time import StepTime
from runners.simulated.wheel_model import config_json, expert_kernels, gemm_kernels
from search_spaces.deployment import Deployment, Gpu, Model

PACKAGE = "aiconfigurator_core"
SYSTEMS = frozenset(
    {
        "a100_sxm",
        "h100_sxm",
        "h200_sxm",
        "b200_sxm",
        "b300_sxm",
        "gb200",
        "gb300",
        "l40s",
        "rtx_pro_6000_server",
    }
)
"""GPUs of ours with vLLM kernels in the wheel: vLLM 0.14 on A100, 0.24 on the others."""
KV = {"bf16": "bfloat16", "fp8": "fp8"}
ALL_REDUCES = ("_ar", "_dispatch")
"""In the names of its operations; ``dispatch`` is what a mixture's layer has for its second."""
TROUBLE = (ImportError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
STEP = (
    '{"version":1,"scheduled_requests":{"num_prefill_requests":%d,"sum_prefill_tokens":%d,'
    '"sum_prefill_kv_tokens":%d,"num_decode_requests":%d,"sum_decode_kv_tokens":%d}}'
)
TRIED = ((1, 512, 0, 0, 0), (1, 512, 4096, 0, 0), (0, 0, 0, 64, 65536), (1, 512, 0, 64, 65536))
"""Steps asked for at once: the package says only when asked which kernels it lacks."""


class MeasuredKernels(StepTime):
    """GPU time alone: the CPU's share of a step is not in it."""

    source = "aiconfigurator-core 0.12.0, measured vLLM kernels"
    # What real engines were measured at beside it is in docs/twin-accuracy.md: TPOT of vLLM 0.10.2
    # on H100 (45 runs of Llama-3.3-70B-Instruct-FP8) is 11 % above on average.
    uncertainty = "uncalibrated: expect within 20-30 %, optimistic at high tensor parallelism"
    # gpt-oss-120b on H100 and B200, MiniMax-M2.5 and Llama-3.3-70B in 4 bits on B200, same place.
    uncertainty_of_first_tokens = "; here the first token takes up to twice as long as is said"

    def __init__(
        self, deployment: Deployment, *, tensor_parallel_size: int, kv_dtype: str = "bf16"
    ) -> None:
        """
        Raises:
            ValueError: the package is not there, or has no kernels for this deployment.
        """
        model, gpu = deployment.model, deployment.gpu
        if model.num_experts or gpu.fp4_tflops:
            self.uncertainty += self.uncertainty_of_first_tokens
        try:
            with _folder(model) as folder, _quiet():
                taken = _Kernels(
                    folder=folder,
                    system=gpu.name,
                    tensor_parallel_size=tensor_parallel_size,
                    gemm=gemm_kernels(model),
                    experts=expert_kernels(model),
                    kv=KV[kv_dtype],
                )
                self._estimate = _compile(taken)
                self._parts = _parts(taken)
                for step in TRIED:
                    self.step_ms(*step)
        except TROUBLE as error:
            raise ValueError(
                f"No measured kernels for {model.name} ({model.weight_dtype}, {kv_dtype} KV) on "
                f"{gpu.name} at tensor_parallel_size {tensor_parallel_size}: {_first_line(error)}"
            ) from error

    @staticmethod
    def covers(gpu: Gpu) -> bool:
        """Whether there are kernels of this GPU and the package to read them."""
        return gpu.name in SYSTEMS and find_spec(PACKAGE) is not None

    def step_ms(
        self,
        prefill_requests: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
        decode_requests: int,
        decode_kv_tokens: int,
        drafted_tokens: int = 0,
    ) -> float:
        if prefill_tokens:  # it refuses prompts of no tokens
            prefill_requests = min(max(1, prefill_requests), prefill_tokens)
        ms = self._estimate(
            STEP
            % (
                prefill_requests,
                prefill_tokens,
                prefill_kv_tokens,
                decode_requests,
                decode_kv_tokens,
            )
        )
        if drafted_tokens:
            tokens = prefill_tokens + decode_requests
            ms += self.non_attention_ms(tokens + drafted_tokens) - self.non_attention_ms(tokens)
        return ms

    def non_attention_ms(self, tokens: int) -> float:
        """Of a step with so many tokens; the rest of it is attention."""
        return self._parts(tokens)[1]

    def communication_ms(self, tokens: int) -> float:
        """Of a step with so many tokens: what its all-reduces take."""
        return self._parts(tokens)[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kernels:
    """What the package is asked for, in its own words."""

    folder: str
    system: str
    tensor_parallel_size: int
    gemm: str
    experts: str | None
    """``None``: the model is dense."""
    kv: str


def _parts(taken: _Kernels) -> Callable[[int], tuple[float, float, float]]:
    """From a step's tokens to (its milliseconds, without attention, in all-reduces)."""
    from aiconfigurator_core.sdk import EngineHandle

    mixture = taken.experts is not None
    engine = EngineHandle.compile(
        taken.folder,
        taken.system,
        "vllm",
        tp_size=taken.tensor_parallel_size,
        moe_tp_size=taken.tensor_parallel_size if mixture else None,
        kv_block_size=16,
        gemm_quant_mode=taken.gemm,
        moe_quant_mode=taken.experts,
        kvcache_quant_mode=taken.kv,
    )

    def parts(tokens: int) -> tuple[float, float, float]:
        shared, *_ = engine.mixed_step_breakdown_per_op(tokens, 0, tokens, 2)
        total, rest, *_ = engine.mixed_step_breakdown(tokens, 0, tokens, 2)
        reduces = sum(op[1] for op in shared if any(name in op[0] for name in ALL_REDUCES))
        return total, rest, reduces

    return parts


def _compile(taken: _Kernels) -> Callable[[str], float]:
    """From a step as JSON to its milliseconds.

    The public call builds the JSON from a dict first and takes three times as long, so the
    extension beneath it is called where it is found to answer the same.
    """
    from aiconfigurator_core.sdk import RustForwardPassPerfModel

    config = {
        "schema_version": 1,
        "model_name": taken.folder,
        "system_name": taken.system,
        "backend": "vllm",
        "backend_version": None,
        "kv_block_size": 16,
        "tp_size": taken.tensor_parallel_size,
        "pp_size": 1,
        "weight_dtype": taken.gemm,
        "activation_dtype": "bfloat16",
        "kv_cache_dtype": taken.kv,
    }
    if taken.experts is not None:
        config |= {
            "moe_tp_size": taken.tensor_parallel_size,
            "moe_ep_size": 1,
            "moe_dtype": taken.experts,
        }
    model = RustForwardPassPerfModel.from_native(config)

    def public(step: str) -> float:
        return float(model.estimate_forward_pass_time_ms(json.loads(step)) or 0.0)

    probe = STEP % TRIED[-1]
    expected = public(probe)
    try:
        direct: Callable[[str], float] = model._inner.estimate_forward_pass_time_ms
        return direct if direct(probe) == expected else public
    except (AttributeError, TypeError, ValueError):
        return public


@contextmanager
def _folder(model: Model) -> Iterator[str]:
    """A folder with the model's ``config.json``; given a hub's name the package may download."""
    config = config_json(model)
    with tempfile.TemporaryDirectory(prefix="paretune-") as folder:
        Path(folder, "config.json").write_text(json.dumps(config), encoding="utf-8")
        yield folder


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the package's warnings about kernels that dense models do not use."""
    logger = logging.getLogger(PACKAGE)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
