"""Ray's own schemas; they let unknown keys pass, and do not look into an application's arguments.

Of those, `LLMConfig` reads each where what it needs is installed (vLLM); where it is not, Ray's
schema of scaling reads the part that it knows.
"""

import logging
from typing import Any

import yaml
from pydantic import ValidationError

from results.export.target import Files, NotInstalled


def schemas(files: Files) -> list[str]:
    try:
        from ray.serve.config import AutoscalingConfig
        from ray.serve.schema import ServeDeploySchema
    except ImportError:
        raise NotInstalled("`pip install 'paretune[ray]'` brings it") from None
    (text,) = files.values()
    document = yaml.safe_load(text)
    found = _complaints(ServeDeploySchema, document)
    for app in document["applications"]:
        for llm in app["args"]["llm_configs"]:
            found += _as_llm_config(llm)
            scaling = llm["deployment_config"]["autoscaling_config"]
            found += _complaints(AutoscalingConfig, scaling)
            found += [
                f"`{n}` is no key of it" for n in scaling if n not in _fields(AutoscalingConfig)
            ]
    return found


def _as_llm_config(llm: Any) -> list[str]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it tells of everything that it cannot import
    try:
        from ray.serve.llm import LLMConfig
    except ImportError:
        return []
    finally:
        logging.disable(before)
    return _complaints(LLMConfig, llm)


def _complaints(model: Any, document: Any) -> list[str]:
    try:
        model.model_validate(document)
    except ValidationError as error:
        return [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    return []


def _fields(model: Any) -> set[str]:
    return set(model.model_fields)
