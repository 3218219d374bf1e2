import json
from pathlib import Path

import pytest

from runners.load.prompts import WORDS
from runners.simulated.config_json import read_model
from runners.vllm.weights import has_weights
from search_spaces import Model
from tuner.errors import BadInput
from tuner.make_model import MARK, make_model


def test_a_model_is_made_where_there_was_none(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tiny"
    lines = make_model(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert lines[-1] == (
        f"Try it: tune --objective chat --engine vllm --model {folder} --scale-tokens 0.1"
    )


def test_the_simulator_reads_the_model_that_was_made(tmp_path: Path) -> None:
    make_model(tmp_path)
    assert read_model(tmp_path, "tiny") == Model(
        name="tiny",
        num_hidden_layers=4,
        hidden_size=256,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        intermediate_size=688,
        vocab_size=4096,
        max_position_embeddings=8192,
    )


def test_every_token_id_is_one_word_and_every_word_of_our_prompts_is_a_token(
    tmp_path: Path,
) -> None:
    make_model(tmp_path)
    model = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    assert sorted(model["vocab"].values()) == list(range(4096))
    assert set(WORDS) < set(model["vocab"])
    assert not [word for word in model["vocab"] if " " in word]


def test_the_model_that_was_made_needs_random_weights(tmp_path: Path) -> None:
    make_model(tmp_path)
    assert not has_weights(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert has_weights(tmp_path)


def test_a_name_of_the_hub_has_weights() -> None:
    assert has_weights("meta-llama/Llama-3.1-8B-Instruct")


def test_a_model_is_made_anew_in_its_own_folder(tmp_path: Path) -> None:
    make_model(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    make_model(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()


@pytest.mark.parametrize("config", ["{}", f'{{"{MARK}": 1}}', "[", "[]", "\xff"])
def test_another_model_is_left_alone(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config, encoding="latin-1")
    with pytest.raises(BadInput, match="is something else; choose another"):
        make_model(tmp_path)
    assert (tmp_path / "config.json").read_text(encoding="latin-1") == config


def test_a_file_in_the_way_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="is something else; choose another"):
        make_model(tmp_path / "file")
    with pytest.raises(BadInput, match="Not a directory; choose another folder"):
        make_model(tmp_path / "file" / "model")
