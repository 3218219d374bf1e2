"""One HTTP request to an engine, answered within a time and a size or not at all.

No proxy and no redirect: either would be measured with the engine, or be shown its key.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from time import monotonic
from urllib.parse import urlsplit

LARGEST_BYTES = 16 * 2**20
CHUNK_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    text: str

    def json(self) -> object:
        """The body as JSON; ``None`` when it is not."""
        try:
            value: object = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        return value


def ask(
    url: str,
    timeout_s: float,
    *,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """GET, or POST of a body as JSON.

    Raises:
        ConnectionError: no answer within the time or size; the message says where and why.
        ValueError: not an address of http or https.
    """
    parts = urlsplit(url)
    connection = _connection(url, timeout_s)
    sent = dict(headers or {})
    if body is not None:
        sent["Content-Type"] = "application/json"
    content = None if body is None else json.dumps(body)
    try:
        connection.request("GET" if body is None else "POST", parts.path or "/", content, sent)
        response = connection.getresponse()
        text = _body(response, monotonic() + timeout_s)
    except (OSError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConnectionError(f"{place(url)} does not answer: {reason}") from None
    finally:
        connection.close()
    named = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, named, text)


def place(url: str) -> str:
    """The address without users, passwords and what follows the path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _connection(url: str, timeout_s: float) -> HTTPConnection:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"An engine's address must be a URL, but got {url!r}.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(
            "An engine's address must be like http://127.0.0.1:8000, but got "
            f"{place(url) if '@' in url else url!r}."
        )
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return kind(host, port, timeout=timeout_s)


def _body(response: HTTPResponse, deadline_s: float) -> str:
    """A server that sends a byte now and then would pass any timeout between two of them."""
    read = bytearray()
    while chunk := response.read1(CHUNK_BYTES):
        read += chunk
        if len(read) > LARGEST_BYTES:
            raise OSError(f"its answer is over {LARGEST_BYTES} bytes")
        if monotonic() > deadline_s:
            raise TimeoutError("timed out in the middle of its answer")
    if response.length:
        raise OSError("its answer broke off")
    return read.decode("utf-8", errors="replace")
