"""Measuring a server that someone else started, through OpenAI's API.

vLLM, SGLang, TensorRT-LLM, TGI, llama.cpp and Ray Serve have it. Nothing of such a server can be
turned or started anew, and traffic of others is measured with it.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

from objectives import Load, Measurement
from runners.base import Description, EngineError, FailureKind
from runners.load import Server, at_once, in_time, offer
from runners.load.prompts import calibration_texts
from runners.plain_http import Answer, ask, place
from runners.telemetry import Watch, implied_prefix_tokens, refuse_foreign_hits
from search_spaces import Config

TIMEOUT_S = 10.0
MOST_TOKENS_PER_WORD = 2
"""Of short English words."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model as a server lists it."""

    name: str
    max_model_len: int | None = None
    """Tokens of the longest request; ``None``: it does not say."""
    adapter: bool = False
    """A LoRA adapter of another one."""


class AttachedEngine:
    """The server, handed out once."""

    def __init__(self, server: Server, *, gpus: int, fresh: bool, since_s: float) -> None:
        self.fresh = fresh
        self._cold = fresh
        self._server = server
        self._gpus = gpus
        self._since_s = since_s

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._since_s

    def measure(self, load: Load) -> Measurement:
        # The server outlives this study: no prompt may be one it has seen.
        if self._cold:
            offer(self._server, at_once(load.workload), salt=secrets.token_hex(8))
            self._cold = False
        return in_time(lambda: self._measured(load))

    def _measured(self, load: Load) -> Measurement:
        with Watch(self._server.url) as watch:
            run = offer(
                self._server, load, salt=secrets.token_hex(8), trouble=lambda: watch.trouble
            )
        # Of a server that does not tell its blocks, any hit of the workload's own is allowed.
        implied = implied_prefix_tokens(load.workload, watch.block_tokens or 1)
        told = watch.telemetry(run.duration_s, implied)
        prompt_tokens = sum(r.input_tokens for r in load.workload.requests)
        refuse_foreign_hits(told, prompt_tokens, beside_tokens=_calibration_tokens(self._server))
        return Measurement(
            results=run.results,
            duration_s=run.duration_s,
            gpus=self._gpus,
            engine={**told, "p99_send_lag_ms": run.p99_send_lag_ms},
        )


class AttachedRunner:
    """Hands out one server, again and again; its config is empty.

    Args:
        url: with or without ``/v1``.
        model: the name it is served under; ``None``: the only one there.
        vocab_size: prompts are token ids below it; ``None``: words.
        api_key_env: the environment variable that holds the key.

    Raises:
        EngineError: no such server answers.
        ValueError: it answers, but not with this model or this key.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None,
        gpus: int,
        vocab_size: int | None,
        api_key_env: str | None,
    ) -> None:
        root = without_v1(url)
        self._server = Server(
            url=root,
            model=served_model(root, model, api_key_env=api_key_env).name,
            vocab_size=vocab_size,
            api_key_env=api_key_env,
        )
        self._gpus = gpus
        self._handed_out = False
        self.description = Description(
            engine="openai",
            version=_version(root, api_key_env),
            simulated=False,
            noiseless=False,
            uncertainty="Measured over the network on a server started elsewhere; anything "
            "between here and there, and any other traffic on it, is in the figures.",
        )

    @contextmanager
    def launch(self, config: Config, *, began_s: float | None = None) -> Iterator[AttachedEngine]:
        """
        Args:
            began_s: by ``time.monotonic()``, where its launch is what its age counts from.
        """
        if config:
            raise EngineError(
                FailureKind.REFUSED,
                f"`{next(iter(config))}` cannot be set on a server that is already running",
            )
        fresh, self._handed_out = not self._handed_out, True
        since_s = time.monotonic() if began_s is None else began_s
        yield AttachedEngine(self._server, gpus=self._gpus, fresh=fresh, since_s=since_s)


def models(url: str, key: str | None = None) -> list[str]:
    """The names of the models at a server, in its order.

    Raises:
        EngineError: no such server answers.
        ValueError: it refuses the key.
    """
    return [served.name for served in _listed(without_v1(url), key, "give its key")]


def served_model(url: str, model: str | None, *, api_key_env: str | None = None) -> Served:
    """The model of that name; of no name, the only one there.

    Raises:
        EngineError: no such server answers.
        ValueError: no such model, no name where there are several, or the key is refused.
    """
    url = without_v1(url)
    advice = (
        f"check the key in {api_key_env}"
        if api_key_env
        else "export its key and name the variable with --api-key-env"
    )
    listed = _listed(url, _key(api_key_env), advice)
    if model is None:
        whole = [served for served in listed if not served.adapter]
        if len(whole) == 1:
            return whole[0]
        names = ", ".join(served.name for served in listed)
        raise ValueError(f"{place(url)} serves {names}: name one with --model.")
    for served in listed:
        if served.name == model:
            return served
    names_there = [served.name for served in listed]
    near = get_close_matches(model, names_there, n=3, cutoff=0.4) or names_there[:3]
    raise ValueError(f"{place(url)} does not serve {model!r}; nearest: {', '.join(near)}.")


def without_v1(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def _calibration_tokens(server: Server) -> int:
    """At most, of the two prompts by which the client learns how the server counts words."""
    if server.vocab_size is not None:
        return 0
    return sum(MOST_TOKENS_PER_WORD * len(text.split()) for text in calibration_texts())


def _key(api_key_env: str | None) -> str | None:
    if api_key_env is None:
        return None
    key = os.environ.get(api_key_env, "")
    if not key or not key.isprintable() or not key.isascii():
        raise ValueError(
            f"`{api_key_env}` must hold the server's API key, but it is "
            f"{'no plain text' if key else 'not set'}; export {api_key_env} first."
        )
    return key


def _headers(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _listed(url: str, key: str | None, advice: str) -> list[Served]:
    where = f"{url}/v1/models"
    try:
        answer = ask(where, TIMEOUT_S, headers=_headers(key))
    except ConnectionError as error:
        raise EngineError(
            FailureKind.HOST, f"{error}; start the server, or give its address with --url"
        ) from None
    if answer.status in (401, 403):
        raise ValueError(f"{place(where)} answers HTTP {answer.status}: {advice}.")
    listed = _read(answer)
    if not listed:
        raise EngineError(
            FailureKind.HOST,
            f"{place(where)} must list the models served, as OpenAI's API does, but answers "
            f"HTTP {answer.status} without any; give the address before /v1 with --url",
        )
    return listed


def _read(answer: Answer) -> list[Served]:
    match answer.json():
        case {"data": [*entries]} if answer.status == 200:
            return [served for entry in entries if (served := _served(entry))]
        case _:
            return []


def _served(entry: object) -> Served | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        return None
    longest = entry.get("max_model_len")
    counted = isinstance(longest, int) and not isinstance(longest, bool) and longest > 0
    return Served(entry["id"], longest if counted else None, bool(entry.get("parent")))


def _version(url: str, api_key_env: str | None) -> str:
    """What ``/version`` says, as vLLM's does; else the server's own header."""
    try:
        answer = ask(f"{url}/version", TIMEOUT_S, headers=_headers(_key(api_key_env)))
    except ConnectionError:
        return "unknown"
    match answer.json():
        case {"version": str(version)} if version.isprintable() and 0 < len(version) < 100:
            return version
    # uvicorn serves half of them and says nothing of the engine.
    header = " ".join(answer.headers.get("server", "").split())[:100]
    return header if header and header.isprintable() and header != "uvicorn" else "unknown"
