import pytest

from runners.simulated.catalogue import gpu, model
from runners.simulated.roofline import Roofline
from runners.simulated.ulysses import Ulysses
from runners.simulated.utilisation import communication_share
from search_spaces.deployment import Deployment

EIGHT = Deployment(model=model("llama-3.1-8b"), gpu=gpu("h100"), gpus=8, max_model_len=131072)
LONG_PROMPT = (1, 16384, 0, 0, 0)
ONE_DECODE = (0, 0, 0, 1, 1024)


def alone() -> Roofline:
    return Roofline(EIGHT, tensor_parallel_size=1)


def test_a_degree_of_one_is_a_gpu_alone() -> None:
    for step in (LONG_PROMPT, ONE_DECODE, (2, 512, 100, 64, 64_000)):
        assert Ulysses(EIGHT, degree=1).step_ms(*step) == alone().step_ms(*step)


def test_a_long_prompt_gets_shorter_with_every_gpu() -> None:
    took = [Ulysses(EIGHT, degree=n).step_ms(*LONG_PROMPT) for n in (1, 2, 4, 8)]
    assert took == sorted(took, reverse=True)
    assert took[0] / took[3] > 5


def test_a_decode_gains_nothing() -> None:
    assert Ulysses(EIGHT, degree=8).step_ms(*ONE_DECODE) > alone().step_ms(*ONE_DECODE)


def test_it_communicates_less_than_tensor_parallelism_over_long_prompts() -> None:
    tensor_parallel = Roofline(EIGHT, tensor_parallel_size=8)
    ulysses = Ulysses(EIGHT, degree=8)
    assert ulysses.communication_ms(16384) < 0.3 * tensor_parallel.communication_ms(16384)
    assert communication_share(
        ulysses, prefill_requests=1, prefill_tokens=16384
    ) < 0.6 * communication_share(tensor_parallel, prefill_requests=1, prefill_tokens=16384)


@pytest.mark.parametrize("degree", [0, 3, 16])
def test_heads_that_cannot_be_split_are_refused(degree: int) -> None:
    with pytest.raises(
        ValueError,
        match=rf"`degree` must divide num_key_value_heads, but got {degree} and 8\.$",
    ):
        Ulysses(EIGHT, degree=degree)
