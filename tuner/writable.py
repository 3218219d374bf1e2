"""Whether a study's folder can be made, found out before anything is computed for it."""

import os
import tempfile
from pathlib import Path

from tuner.errors import BadInput


def refuse_unwritable(folder: Path) -> None:
    """Try to make something where the folder would be; nothing of it is left.

    Raises:
        BadInput: the folder, or one above it, is a file or takes no files.
    """
    path = folder.absolute()
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise BadInput(f"{_shown(folder, there)} is a file; --output needs a folder.")
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".tune-"):
            pass
    except OSError as error:
        raise BadInput(
            f"Cannot write to {folder}: {error.strerror}; choose another --output."
        ) from error


def _shown(folder: Path, there: Path) -> Path:
    """The part of the path that is there, as the user spelled it."""
    above = len(folder.absolute().parts) - len(there.parts)
    return (folder, *folder.parents)[above] if above <= len(folder.parents) else there
