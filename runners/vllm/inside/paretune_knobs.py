"""HTTP access to the knobs of a running engine: ``--middleware paretune_knobs.knobs``.

``GET /paretune/knobs`` tells them; ``POST`` of a JSON object turns those named in it, all or none.
Both need ``Authorization: Bearer`` with the token in ``PARETUNE_TOKEN``; without that variable
there is nothing here.
"""

import hmac
import json
import os
from typing import Any

PATH = "/paretune/knobs"
MAX_BODY_BYTES = 16 * 1024


class _Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Knobs:
    """ASGI middleware: a function would cost every streamed token of every answer a detour."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._token = os.environ.get("PARETUNE_TOKEN", "")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        try:
            self._authorize(scope)
            asked = await _asked(scope, receive)
            status, answer = await _turned(scope["app"].state.engine_client.engine_core, asked)
        except _Refused as refused:
            status, answer = refused.status, {"error": str(refused)}
        await _respond(send, status, answer)

    def _authorize(self, scope: Any) -> None:
        if not self._token:
            raise _Refused(404, "PARETUNE_TOKEN is not set.")
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, b"Bearer " + self._token.encode()):
            raise _Refused(401, "`Authorization: Bearer` must carry PARETUNE_TOKEN.")


knobs = Knobs


async def _asked(scope: Any, receive: Any) -> dict[str, Any]:
    """The knobs to turn; none for GET."""
    if scope["method"] == "GET":
        return {}
    if scope["method"] != "POST":
        raise _Refused(405, f"The method must be GET or POST, but got {scope['method']}.")
    body = await _body(receive)
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise _Refused(400, "The body must be a JSON object of knobs.")
    return asked


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Refused(400, "The body must be complete.")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _Refused(413, f"The body must not exceed {MAX_BODY_BYTES} bytes.")
        if not message.get("more_body"):
            return body


async def _turned(core: Any, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Have every data-parallel engine turn the knobs; they share their caps, so all agree."""
    if hasattr(core, "call_utility_all_async"):
        answers = await core.call_utility_all_async("paretune_knobs", asked)
    else:
        answers = [await core.call_utility_async("paretune_knobs", asked)]
    if refused := [answer for answer in answers if "error" in answer]:
        return 400, refused[0]
    total = {name: sum(answer[name] for answer in answers) for name in ("running", "waiting")}
    return 200, {"knobs": answers[0]["knobs"], **total}


async def _respond(send: Any, status: int, answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
