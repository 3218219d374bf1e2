"""Step times summed from kernels that NVIDIA measured, by aiconfigurator-core.

Its wheel exists for Linux on x86-64 only. Between measured sizes it interpolates, and a step may
get shorter as work is added: by a few per cent in bf16, and by up to 27 % in fp8 just past 256,
512 or 1024 tokens, where its kernels start another wave of tiles. On B200 its fp8 batch of one
takes 1.6 times a batch of two.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runners.simulated.step_time import StepTime
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
WEIGHTS = {"bf16": "bfloat16", "fp8": "fp8_static", "int8": "int8", "int4": "int4"}
"""``fp8_static`` is what the wheel reads from NVIDIA's own fp8 checkpoints."""
KV = {"bf16": "bfloat16", "fp8": "fp8"}
ALL_REDUCE = "_ar"
"""In the names of its operations."""
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
    # Against InferenceMAX (vLLM 0.10.2, Llama-3.3-70B-Instruct-FP8, H100 and H200, 105 points)
    # TPOT is 10-12 % off on average, nearly always below; -18 % on 30 points of Qwen3-32B on
    # H100 (-11, -20, -26 % at TP 2, 4, 8).
    uncertainty = "uncalibrated: expect within 20-30 %, optimistic at high tensor parallelism"

    def __init__(
        self, deployment: Deployment, *, tensor_parallel_size: int, kv_dtype: str = "bf16"
    ) -> None:
        """
        Raises:
            ValueError: the package is not there, or has no kernels for this deployment.
        """
        model, gpu = deployment.model, deployment.gpu
        try:
            with _folder(model) as folder, _quiet():
                weights, kv = WEIGHTS[model.weight_dtype], KV[kv_dtype]
                self._estimate = _compile(
                    {
                        "schema_version": 1,
                        "model_name": folder,
                        "system_name": gpu.name,
                        "backend": "vllm",
                        "backend_version": None,
                        "kv_block_size": 16,
                        "tp_size": tensor_parallel_size,
                        "pp_size": 1,
                        "weight_dtype": weights,
                        "activation_dtype": "bfloat16",
                        "kv_cache_dtype": kv,
                    }
                )
                self._parts = _parts(folder, gpu.name, tensor_parallel_size, weights, kv)
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


def _parts(
    folder: str, system: str, tensor_parallel_size: int, weights: str, kv: str
) -> Callable[[int], tuple[float, float, float]]:
    """From a step's tokens to (its milliseconds, without attention, in all-reduces)."""
    from aiconfigurator_core.sdk import EngineHandle

    engine = EngineHandle.compile(
        folder,
        system,
        "vllm",
        tp_size=tensor_parallel_size,
        kv_block_size=16,
        gemm_quant_mode=weights,
        kvcache_quant_mode=kv,
    )

    def parts(tokens: int) -> tuple[float, float, float]:
        shared, *_ = engine.mixed_step_breakdown_per_op(tokens, 0, tokens, 2)
        total, rest, *_ = engine.mixed_step_breakdown(tokens, 0, tokens, 2)
        reduces = sum(op[1] for op in shared if ALL_REDUCE in op[0])
        return total, rest, reduces

    return parts


def _compile(config: dict[str, Any]) -> Callable[[str], float]:
    """From a step as JSON to its milliseconds.

    The public call builds the JSON from a dict first and takes three times as long, so the
    extension beneath it is called where it is found to answer the same.
    """
    from aiconfigurator_core.sdk import RustForwardPassPerfModel

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
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
        "num_hidden_layers": model.num_hidden_layers,
        "hidden_size": model.hidden_size,
        "num_attention_heads": model.num_attention_heads,
        "num_key_value_heads": model.num_key_value_heads,
        "head_dim": model.head_dim,
        "intermediate_size": model.intermediate_size,
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.max_position_embeddings,
        "tie_word_embeddings": model.tie_word_embeddings,
    }
    if model.num_experts or model.sliding_window or model.attention_dtype:
        raise ValueError("only dense models of full attention are written down for it.")
    if not model.gated_mlp:
        raise ValueError("only models with a gated MLP are written down for it.")
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
