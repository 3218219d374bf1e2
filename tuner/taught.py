"""What real engines taught the simulated one, as a study finds it when it begins, and keeps it."""

from collections.abc import Mapping

from runners.simulated.calibration import latest, parsed, text_of
from runners.simulated.calibration.store import Taught
from search_spaces import Gpu
from tuner.errors import BadInput


def kept_of(gpu: Gpu, model: str, gpus: int) -> dict[int, str]:
    """By tensor-parallel size, what was learnt last of this model on this GPU; often nothing.

    Raises:
        BadInput: a file of it cannot be used.
    """
    sizes = [size for size in range(1, gpus + 1) if gpus % size == 0]
    try:
        found = {size: one for size in sizes if (one := latest(gpu.name, model, size))}
    except (ValueError, OSError) as error:
        raise BadInput(f"{error} (--calibration off does without.)") from error
    return {size: text_of(kept, served) for size, (served, kept) in found.items()}


def taught(texts: Mapping[int, str]) -> dict[int, Taught]:
    """What ``kept_of`` gave, to be used.

    Raises:
        BadInput: it was kept by another version.
    """
    try:
        return {size: parsed(text) for size, text in texts.items()}
    except ValueError as error:
        raise BadInput(
            f"The study's calibration {error}; use the version that made the study."
        ) from error
