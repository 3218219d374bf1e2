"""Speculative decoding: its cost in time and memory, and how much of what is drafted is kept."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest

from objectives import Load, Request, Workload
from runners import EngineError, FailureKind
from runners.simulated.catalogue import gpu, model
from runners.simulated.compiled.serve import Totals, limits_of, serve
from runners.simulated.compiled.speculation import Model
from runners.simulated.drafting import (
    accepted_share,
    drafter,
    drafts_of,
    kv_tokens_left,
    speculating,
    uncertainty,
)
from runners.simulated.settings import SchedulerSettings
from runners.simulated.step_table import NO_SPECULATION, Tabled
from runners.simulated.step_times import step_time
from search_spaces import Config, Deployment
from search_spaces.deployment import cpu
from search_spaces.vllm import default_config, kv_dtype, kv_tokens, vllm_space

LLAMA = Deployment(model=model("llama-3.1-8b"), gpu=gpu("h100_sxm"), gpus=1, max_model_len=4096)
SMALL_DRAFT = "draft:meta-llama/Llama-3.2-1B-Instruct"
OWN_DRAFT = "draft:meta-llama/Llama-3.1-8B-Instruct"
STEPS = step_time(LLAMA, tensor_parallel_size=1).steps


def config(how: str, deployment: Deployment = LLAMA, **settings: float | str) -> Config:
    chosen = {**default_config(vllm_space(deployment)), "speculative_config": how, **settings}
    return {**chosen, **vllm_space(deployment).derive(chosen)}


def drafting(how: str, chance: float | None = 0.7, *, seed: int = 0) -> Model:
    """With the chance of a drafted token if those before it were accepted."""
    rate = None if chance is None else accepted_share(chance)
    return speculating(LLAMA, config(how), STEPS, acceptance_rate=rate, seed=seed)


def served(how: str, chance: float, batch: int) -> tuple[float, Totals]:
    """(mean TPOT in ms, what replicas did) of so many answers of 200 tokens at once."""
    chosen, spoken = config(how), drafting(how, chance)
    requests = tuple(Request(0.0, 256, 200) for _ in range(batch))
    run, totals = serve(
        Load(workload=Workload(name="t", requests=requests)),
        limits_of(
            SchedulerSettings.of(chosen),
            group_tokens=16,
            prefix_caching=False,
            drafted=spoken.speculation.tokens,
        ),
        spoken,
        replicas=1,
        blocks=kv_tokens_left(LLAMA, chosen) // 16,
    )
    return mean((r.e2el_ms or 0) - (r.ttft_ms or 0) for r in run.results) / 199, totals


def gain(how: str, chance: float, batch: int) -> float:
    """By which factor TPOT is shorter than without drafts."""
    return served("none", 0, batch)[0] / served(how, chance, batch)[0]


def refusal(how: str, deployment: Deployment = LLAMA, acceptance_rate: float | None = 0.7) -> str:
    size = {"tensor_parallel_size": deployment.gpus}
    with pytest.raises(EngineError) as caught:
        speculating(
            deployment,
            config(how, deployment, **size),
            STEPS,
            acceptance_rate=acceptance_rate,
            seed=0,
        )
    assert caught.value.failure.kind is FailureKind.REFUSED
    return caught.value.failure.detail


def test_without_drafts_nothing_changes() -> None:
    assert drafting("none") == drafting("none", None) == Model(STEPS, NO_SPECULATION)
    assert kv_tokens_left(LLAMA, config("none")) == kv_tokens(LLAMA, config("none"))


@pytest.mark.parametrize("batch", [1, 16, 256])
@pytest.mark.parametrize("how", ["ngram", SMALL_DRAFT])
def test_drafts_that_are_never_accepted_only_cost(how: str, batch: int) -> None:
    assert gain(how, 0.0, batch) < 1


@pytest.mark.parametrize("how", ["ngram", SMALL_DRAFT])
def test_drafts_help_a_lone_request_most_and_may_slow_a_large_batch_down(how: str) -> None:
    alone, some, many = (gain(how, 0.9, batch) for batch in (1, 128, 512))
    assert alone > some > many
    assert alone > 1.5
    assert gain(how, 0.5, 512) < 1


def test_a_draft_model_as_large_as_its_target_never_pays() -> None:
    assert gain(OWN_DRAFT, 1.0, 1) < 1


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.9, 1.0])
def test_as_many_drafts_are_kept_as_their_chances_say(chance: float) -> None:
    _, totals = served("ngram", chance, 64)
    told = drafts_of(drafting("ngram").speculation, totals)
    assert told == {
        "draft_tokens": totals.draft_tokens,
        "accepted_draft_tokens": totals.accepted_draft_tokens,
        "acceptance_rate": pytest.approx(accepted_share(chance), abs=0.02),
    }


def test_of_drafted_tokens_so_many_are_kept_at_each_rate() -> None:
    assert [accepted_share(rate) for rate in (0, 0.5, 1)] == [0, 0.234375, 1]
    assert accepted_share(0.7) == pytest.approx((0.7 + 0.49 + 0.343 + 0.2401) / 4)


def test_an_engine_that_drafts_nothing_does_not_account_for_drafts() -> None:
    assert drafts_of(NO_SPECULATION, served("none", 0, 1)[1]) == {}


def test_what_was_assumed_of_drafts_is_said() -> None:
    assert uncertainty(None) == ""
    assert (
        uncertainty(0.7) == "; 70 % of drafted tokens are taken to be accepted, whatever the text"
    )


def test_the_same_seed_draws_the_same_luck() -> None:
    first, same, other = (drafting("ngram", seed=seed).speculation for seed in (1, 1, 2))
    assert first == same != other


def test_n_grams_take_no_memory() -> None:
    assert kv_tokens_left(LLAMA, config("ngram")) == kv_tokens(LLAMA, config("ngram"))


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
def test_a_draft_model_and_its_kv_cache_share_the_memory(size: int, kv_cache_dtype: str) -> None:
    on = replace(LLAMA, gpus=4)
    chosen = config(SMALL_DRAFT, on, tensor_parallel_size=size, kv_cache_dtype=kv_cache_dtype)
    draft = replace(on, model=model("llama-3.2-1b"))
    own, its = (d.kv_bytes_per_token(size, kv_dtype(chosen)) for d in (on, draft))
    free = kv_tokens(on, chosen) * own - draft.model.weight_bytes / size
    whole_blocks = pytest.approx(free / (own + its), abs=16)
    assert kv_tokens_left(on, chosen) == whole_blocks


def test_windowed_layers_leave_room_for_a_draft_models_cache_too() -> None:
    on = replace(LLAMA, model=model("gpt-oss-20b"), max_model_len=65536)
    alone, beside = (
        kv_tokens_left(on, config(how, on)) for how in ("none", "draft:openai/gpt-oss-20b")
    )
    assert 0 < beside < alone / 2


def test_a_draft_model_that_does_not_fit_leaves_no_kv_cache() -> None:
    on = replace(LLAMA, gpu=gpu("l4"))
    assert kv_tokens_left(on, config(OWN_DRAFT, on)) == 0


def test_quantised_weights_are_the_targets_alone() -> None:
    on = replace(LLAMA, model=replace(LLAMA.model, weight_dtype="fp8"))
    of_quantised = speculating(
        on,
        config(SMALL_DRAFT, quantization="fp8"),
        STEPS,
        acceptance_rate=accepted_share(0.7),
        seed=0,
    )
    assert of_quantised.speculation == drafting(SMALL_DRAFT).speculation


def test_with_n_grams_the_host_does_its_part_while_the_gpu_waits() -> None:
    batch = (0, 0, 0, 8, 8 * 1024)
    apart, together = (
        Tabled(drafting(how).steps, source="", uncertainty="").step_ms(*batch)
        for how in ("ngram", "none")
    )
    assert apart == pytest.approx(together + STEPS.host_ms + 8 * STEPS.host_row_ms)
    assert drafting(SMALL_DRAFT).steps is STEPS


def test_a_draft_model_is_one_of_the_same_vocabulary() -> None:
    found = drafter(SMALL_DRAFT, LLAMA.model)
    assert found is not None
    assert (found.tokens, found.model) == (4, model("llama-3.2-1b"))
    assert refusal("draft:meta-llama/Llama-2-7b-chat-hf") == (
        "A draft model must have the vocabulary of meta-llama/Llama-3.1-8B-Instruct (128256 "
        "tokens), but meta-llama/Llama-2-7b-chat-hf has 32000; name another after `draft:`."
    )


def test_a_draft_model_has_the_name_that_vllm_knows(tmp_path: Path) -> None:
    assert refusal("draft:llama-3.2-1b") == (
        "vLLM knows the draft model 'llama-3.2-1b' by another name; write "
        "draft:meta-llama/Llama-3.2-1B-Instruct."
    )
    shape = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64}
    shape |= {"num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 128256}
    (tmp_path / "config.json").write_text(json.dumps(shape | {"max_position_embeddings": 2048}))
    found = drafter(f"draft:{tmp_path}", LLAMA.model)
    assert found is not None
    assert found.model is not None
    assert (found.model.name, found.model.num_hidden_layers) == (str(tmp_path), 2)


def test_a_draft_model_nobody_knows_is_refused() -> None:
    assert refusal("draft:llama-3.2-11b").startswith("Unknown model 'llama-3.2-11b'; nearest: ")


def test_a_draft_model_is_split_as_its_target_is() -> None:
    on = replace(LLAMA, model=model("llama-3.1-70b"), gpus=16)
    assert refusal("draft:meta-llama/Llama-3.2-3B-Instruct", on) == (
        "the heads of meta-llama/Llama-3.2-3B-Instruct cannot be split over 16 GPUs, but a draft "
        "model has the tensor_parallel_size of its target"
    )


def test_a_draft_model_is_refused_on_hardware_whose_speed_is_not_known() -> None:
    on = replace(LLAMA, gpu=cpu(256))
    assert refusal(SMALL_DRAFT, on) == (
        "how long meta-llama/Llama-3.2-1B-Instruct takes on this hardware is not known"
    )


def test_how_much_is_accepted_must_be_said() -> None:
    told = refusal("ngram", acceptance_rate=None)
    assert told == "how many drafted tokens are accepted was not said"
