import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runners import plain_http
from runners.plain_http import Answer, ask, place


@contextmanager
def replying(*parts: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server that sends these bytes once, and what it was asked."""
    asked: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(_whole(connection))
            for part in parts:
                connection.sendall(part)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        thread.join()


def _whole(connection: socket.socket) -> bytes:
    """A request with its body: closing on what is not yet read would reset the connection."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


OK = b"HTTP/1.1 200 OK\r\nServer: x\r\nConnection: close\r\n\r\n"


SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"


def test_an_answer_is_a_status_headers_and_text() -> None:
    with replying(OK, b'{"a"', b": 1}") as (url, asked):
        answer = ask(f"{url}/version", 10, headers={"Authorization": "Bearer k"})
    assert answer == Answer(200, {"server": "x", "connection": "close"}, '{"a": 1}')
    assert answer.json() == {"a": 1}
    assert asked[0].startswith(b"GET /version HTTP/1.1\r\n")
    assert b"Authorization: Bearer k\r\n" in asked[0]


def test_a_body_is_posted_as_json() -> None:
    with replying(OK) as (url, asked):
        ask(f"{url}/v1/completions", 10, body={"prompt": [1]})
    assert asked[0].startswith(b"POST /v1/completions HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\n" in asked[0]
    assert asked[0].endswith(b'\r\n\r\n{"prompt": [1]}')


@pytest.mark.parametrize("text", [b"", b"<html>", b"[" * 100_000, b"\xff"])
def test_what_is_not_json_is_none(text: bytes) -> None:
    with replying(OK, text) as (url, _):
        assert ask(url, 10).json() is None


def test_a_redirect_is_not_followed() -> None:
    with replying(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n") as (url, _):
        assert ask(url, 10).status == 302


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0\r\n", SHORT])
def test_what_is_not_a_whole_answer_is_none_at_all(reply: bytes) -> None:
    with replying(reply) as (url, _), pytest.raises(ConnectionError, match="does not answer: "):
        ask(url, 10)


def test_an_answer_may_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_http, "LARGEST_BYTES", 9)
    with (
        replying(OK, b"0123456789") as (url, _),
        pytest.raises(ConnectionError, match="its answer is over 9 bytes"),
    ):
        ask(url, 10)


def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 11.0])
    monkeypatch.setattr(plain_http, "monotonic", lambda: next(times))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(OK)
                while not answering.wait(0.01):
                    connection.sendall(b".")

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(ConnectionError, match="timed out in the middle of its answer"):
            ask(f"http://127.0.0.1:{listener.getsockname()[1]}", 10)
        answering.set()
        thread.join()


def test_a_place_has_no_user_password_or_query() -> None:
    assert place("http://me:secret@host:1/v1?key=secret") == "http://host:1/v1"
