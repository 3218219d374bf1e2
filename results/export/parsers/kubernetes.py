"""kubernetes-validate: the API's own schemas, bundled with it."""

from typing import Any

import yaml

from results.export.target import Files, NotInstalled

VERSION = "1.31"


def validate(files: Files) -> list[str]:
    """What Kubernetes would refuse, unknown keys among it."""
    try:
        import kubernetes_validate
    except ImportError:
        raise NotInstalled("`pip install 'paretune[kubernetes]'` brings it") from None
    texts = [document for text in files.values() for document in yaml.safe_load_all(text)]
    return [said for document in texts for said in _complaints(kubernetes_validate, document)]


def _complaints(kubernetes_validate: Any, document: dict[str, Any]) -> list[str]:
    try:
        kubernetes_validate.validate(document, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        place = ".".join(str(part) for part in error.path)
        return [f"{document.get('kind')}: {place}: {error.message}"]
    return []
