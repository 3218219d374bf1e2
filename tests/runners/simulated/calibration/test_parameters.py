import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.simulated.calibration import Parameters, calibrated
from runners.simulated.catalogue import gpu, model
from runners.simulated.compiled.steps import Steps, step_ms
from runners.simulated.roofline import Roofline
from search_spaces import Deployment

LLAMA = Deployment(
    model=model("llama-3.1-8b-instruct"), gpu=gpu("h100_sxm"), gpus=1, max_model_len=8192
)
STEPS = Roofline(LLAMA, tensor_parallel_size=1).steps
BATCHES = [(1, 512, 0, 0, 0), (1, 2048, 4096, 64, 65536), (0, 0, 0, 1, 100), (0, 0, 0, 256, 9999)]
FACTORS = st.floats(0.5, 2.0)


def ms(steps: Steps, batch: tuple[int, ...]) -> float:
    prefills, tokens, earlier, decodes, kv = batch
    return step_ms(steps, prefills, tokens, earlier, decodes, kv, 0)


@pytest.mark.parametrize("batch", BATCHES)
def test_equal_factors_scale_what_the_gpu_does_in_every_step(batch: tuple[int, ...]) -> None:
    gpu_only = STEPS._replace(host_ms=0.0, host_row_ms=0.0, eager_ms=0.0)
    scaled = calibrated(gpu_only, Parameters(decode_factor=1.25, prefill_factor=1.25))
    assert ms(scaled, batch) == pytest.approx(1.25 * ms(gpu_only, batch))


@pytest.mark.parametrize("batch", BATCHES)
def test_host_time_is_added_to_every_step(batch: tuple[int, ...]) -> None:
    slower = calibrated(STEPS, Parameters(host_ms=1.5))
    assert ms(slower, batch) == pytest.approx(ms(STEPS, batch) + 1.5)


def test_the_decode_factor_alone_leaves_what_prompts_add() -> None:
    slower = calibrated(STEPS, Parameters(decode_factor=2.0))
    added_ms = ms(STEPS, (1, 4096, 0, 0, 0)) - ms(STEPS, (1, 2048, 0, 0, 0))
    assert ms(slower, (1, 4096, 0, 0, 0)) - ms(slower, (1, 2048, 0, 0, 0)) == pytest.approx(
        added_ms
    )
    assert ms(slower, (0, 0, 0, 64, 65536)) == pytest.approx(2 * ms(STEPS, (0, 0, 0, 64, 65536)))


@given(FACTORS, FACTORS, st.integers(1, 4000), st.integers(0, 128))
def test_a_prompt_token_more_never_makes_a_step_shorter(
    decode: float, prefill: float, tokens: int, decodes: int
) -> None:
    steps = calibrated(STEPS, Parameters(decode_factor=decode, prefill_factor=prefill))
    shorter, longer = ((1, t, 0, decodes, 100 * decodes) for t in (tokens, tokens + 1))
    assert ms(steps, longer) >= ms(steps, shorter) - 1e-9
