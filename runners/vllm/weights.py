"""Whether a model's folder holds weights; without any, an engine has to make random ones."""

from pathlib import Path

SUFFIXES = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf"})


def has_weights(model: str | Path) -> bool:
    """Whether weights come with the model; one that is no folder is taken for a hub's name.

    ``False`` calls for vLLM's ``--load-format dummy``.
    """
    folder = Path(model)
    if not folder.is_dir():
        return True
    return any(path.suffix in SUFFIXES for path in folder.iterdir())
