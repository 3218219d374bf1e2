from dataclasses import replace

import pytest

from runners.load.sse import Stream, one_line

TOKEN = (
    b'data: {"id":"c","object":"text_completion","choices":[{"index":0,"text":" one",'
    b'"logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null}\n\n'
)
LAST = TOKEN.replace(b'"finish_reason":null', b'"finish_reason":"length"')
USAGE = (
    b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,'
    b'"total_tokens":8}}\n\n'
)
DONE = b"data: [DONE]\n\n"
WHOLE = Stream(
    first_s=1.0,
    last_s=3.0,
    prompt_tokens=5,
    completion_tokens=3,
    finish_reason="length",
    done=True,
)


def fed(*reads: bytes) -> Stream:
    """A stream fed at 1 s, 2 s and so on."""
    stream = Stream()
    for second, read in enumerate(reads, start=1):
        stream.feed(read, float(second))
    return stream


def test_an_answer_is_timed_by_its_chunks_with_a_choice() -> None:
    stream = fed(TOKEN, TOKEN, LAST, USAGE, DONE)
    assert (stream, stream.failure) == (WHOLE, None)


def test_events_may_come_in_one_read_or_byte_by_byte() -> None:
    everything = TOKEN + TOKEN + LAST + USAGE + DONE
    assert fed(everything) == replace(WHOLE, last_s=1.0)
    single = fed(*(everything[i : i + 1] for i in range(len(everything))))
    assert single == replace(WHOLE, first_s=len(TOKEN), last_s=len(TOKEN + TOKEN + LAST))


def test_comments_other_fields_and_carriage_returns_are_read_over() -> None:
    reads = [b": ping\n\n" + TOKEN, b"event: token\nid: 7\n" + TOKEN, LAST, USAGE, DONE]
    assert fed(*(read.replace(b"\n", b"\r\n") for read in reads)) == WHOLE


def test_usage_that_comes_with_every_chunk_is_the_last_one() -> None:
    counted = LAST.replace(b'"usage":null', b'"usage":{"prompt_tokens":5,"completion_tokens":3}')
    early = TOKEN.replace(b'"usage":null', b'"usage":{"prompt_tokens":5,"completion_tokens":1}')
    assert fed(early, early, counted, DONE) == WHOLE


def test_what_an_answer_says_is_not_mistaken_for_its_structure() -> None:
    text = rb"\"error\":{\"message\":\"no\"},\"finish_reason\":\"length\",\"usage\":{data: [DONE]"
    quoted = TOKEN.replace(b" one", text)
    assert fed(quoted, quoted, LAST, USAGE, DONE) == WHOLE


@pytest.mark.parametrize(
    ("reads", "failure"),
    [
        ([], "the stream ended before [DONE]"),
        ([TOKEN, LAST, USAGE], "the stream ended before [DONE]"),
        ([TOKEN, TOKEN[:-9]], "the stream ended before [DONE]"),
        ([TOKEN, USAGE, DONE], "the stream has no finish_reason"),
        ([USAGE, DONE], "the stream has no finish_reason"),
        ([TOKEN, LAST, DONE], "the stream has no usage"),
        (
            [LAST.replace(b"length", b"abort"), USAGE, DONE],
            "the server ended the answer with finish_reason 'abort'",
        ),
        ([b"data: {]\n\n", DONE], "the stream is garbled: b'{]'"),
        ([b"data: 3\n\n", DONE], "the stream is garbled: b'3'"),
        ([b"data: " + b"[" * 100_000 + b"\n\n"], f"the stream is garbled: b'{'[' * 172}..."),
        ([b"<html>\n\n", DONE], "the stream is garbled: b'<html>'"),
        (
            [TOKEN, b'data: {"error":{"message":"It\\ndied."}}\n\n', DONE],
            "error in the stream: It died.",
        ),
        ([TOKEN, b'data: {"error":"gone"}\n\n', DONE], "error in the stream: gone"),
        ([b"x" * (1 << 20) + b"yz"], "an event of the stream is longer than 1048576 bytes"),
    ],
)
def test_an_answer_that_is_not_whole_says_why(reads: list[bytes], failure: str) -> None:
    assert fed(*reads).failure == failure


def test_a_servers_words_become_one_short_line() -> None:
    assert one_line("a\n\tb\x1b[31m  c\0") == "a b [31m c"
    assert len(one_line("word " * 1000)) == 200
