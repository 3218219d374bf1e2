"""``tune doctor --make-model DIR``: a small model with random weights, without a download.

It answers nonsense; an engine serves it through all of its own machinery nevertheless.
"""

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from runners.load.prompts import WORDS
from tuner.errors import BadInput

MARK = "paretune_random_weights"
"""The key of ``config.json`` by which such a folder is known again."""
VOCABULARY = 4096
SPECIAL = ("<unk>", "<s>", "</s>")
CONFIG: Mapping[str, object] = {
    MARK: True,
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 8192,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "bfloat16",
}


def make_model(folder: Path) -> list[str]:
    """Write the model's files; lines that tell the user what to do with them.

    Raises:
        BadInput: the folder holds something else, or takes no files.
    """
    _refuse_another(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in _files().items():
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"Cannot write to {folder}: {error.strerror}; choose another folder."
        ) from error
    return [
        f"Wrote {', '.join(_files())} to {folder}: a Llama of 4 layers and 8,192 positions; its "
        "weights are random, so its answers are nonsense and only their timing counts.",
        f"Try it: tune --objective chat --engine vllm --model {folder} --scale-tokens 0.1",
    ]


def _refuse_another(folder: Path) -> None:
    if folder.is_dir() and (not any(folder.iterdir()) or _marked(folder)):
        return
    if folder.exists() or folder.is_symlink():
        raise BadInput(
            f"--make-model needs a new or empty folder, or one it wrote before, but {folder} is "
            "something else; choose another."
        )


def _marked(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and config.get(MARK) is True


def _files() -> dict[str, object]:
    return {
        "config.json": CONFIG,
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2},
        "tokenizer.json": _tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": SPECIAL[0],
            "bos_token": SPECIAL[1],
            "eos_token": SPECIAL[2],
            "model_max_length": CONFIG["max_position_embeddings"],
            "clean_up_tokenization_spaces": False,
            "chat_template": "{% for message in messages %}{{ message['content'] }} {% endfor %}",
        },
    }


def _tokenizer() -> dict[str, object]:
    """One token per word; a word not in the vocabulary is one token too."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for index, token in enumerate(SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: index for index, word in enumerate(_vocabulary())},
            "unk_token": SPECIAL[0],
        },
    }


def _vocabulary() -> list[str]:
    """The special tokens, the words of our own prompts, then ``bababa``, ``bababe`` and so on."""
    syllables = ["".join(pair) for pair in product("bdfgklmnprst", "aeiou")][:16]
    words = ("".join(three) for three in product(syllables, repeat=3))
    return [*SPECIAL, *WORDS, *words][:VOCABULARY]
