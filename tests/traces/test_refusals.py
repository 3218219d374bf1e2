"""What cannot be read is refused with its place, what is wrong and how to mend it."""

from pathlib import Path

import pytest

from tuner.errors import BadInput
from tuner.traces import read_trace
from tuner.traces.lines import LONGEST_LINE_BYTES

OWN = "arrival_s,input_tokens,output_tokens\n"
EMPTY = (
    "t is empty: a load of zero measures nothing; name a trace file with at least two requests."
)
MOONCAKE = '{"timestamp": 0, "input_length": 9, "output_length": 5, "hash_ids": [1]}\n'
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
FINITE = "must be a finite number of at least 0"
WHOLE = "must be a whole number from 0 to 1,000,000,000"
MEND = "correct or remove the row."


def refusal(path: Path) -> str:
    """What ``read_trace`` says of the file, with the folder left out."""
    with pytest.raises(BadInput) as caught:
        read_trace(path)
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OWN + "0,10,2\n1,x,2\n", f"t:3: `input_tokens` {WHOLE}, but got 'x'; {MEND}"),
        (OWN + "0,10,2\n1,,2\n", f"t:3: `input_tokens` {WHOLE}, but got ''; {MEND}"),
        (OWN + "0,10,2\n1,2.5,2\n", f"t:3: `input_tokens` {WHOLE}, but got '2.5'; {MEND}"),
        (OWN + "0,10,2\n1,-1,2\n", f"t:3: `input_tokens` {WHOLE}, but got '-1'; {MEND}"),
        (OWN + "0,1_0,2\n", f"t:2: `input_tokens` {WHOLE}, but got '1_0'; {MEND}"),
        (OWN + "0,10,2000000000\n", f"t:2: `output_tokens` {WHOLE}, but got '2000000000'; {MEND}"),
        (OWN + "nan,10,2\n", f"t:2: `arrival_s` {FINITE}, but got 'nan'; {MEND}"),
        (OWN + "inf,10,2\n", f"t:2: `arrival_s` {FINITE}, but got 'inf'; {MEND}"),
        (OWN + "-1,10,2\n", f"t:2: `arrival_s` {FINITE}, but got '-1'; {MEND}"),
        (OWN + "0,10,2\n1,10\n", "t:3: 2 cells under a header of 3; complete or remove the row."),
        (
            OWN + '0,10,2\n1,"10,2\n',
            "t:3: not a CSV row (unexpected end of data); correct the row.",
        ),
        (
            MOONCAKE + '{"timestamp": 1',
            "t:2: not a JSON object (expecting ',' delimiter at character 16); "
            "write one object per line.",
        ),
        (
            MOONCAKE + "[1]\n",
            "t:2: not a JSON object (another kind of value); write one object per line.",
        ),
        (
            MOONCAKE + '{"timestamp": 1}\n',
            "t:2: `input_length` is missing; add it or remove the row.",
        ),
        (
            MOONCAKE.replace("[1]", "[1.5]"),
            f"t:1: `hash_ids` must be a list of whole numbers, but got [1.5]; {MEND}",
        ),
        (
            MOONCAKE.replace("0,", "NaN,"),
            f"t:1: `timestamp` {FINITE}, but got nan; {MEND}",
        ),
        (
            MOONCAKE.replace("9,", "true,"),
            f"t:1: `input_length` {WHOLE}, but got True; {MEND}",
        ),
        (
            AZURE + "16/11/2023 18:17,10,2\n",
            "t:2: `timestamp` must be a stamp such as 2023-11-16 18:17:03.9799600, "
            f"but got '16/11/2023 18:17'; {MEND}",
        ),
        (
            AZURE + "2023-02-30 18:17:03,10,2\n",
            "t:2: `timestamp` must be a date and time that exist, "
            f"but got '2023-02-30 18:17:03'; {MEND}",
        ),
        (
            "arrival_s,input_tokens,input_tokens,output_tokens\n",
            "t:1: the header names 'input_tokens' twice; rename one.",
        ),
        (
            "time,input_tokens,output_tokens\n0,1,1\n",
            "t:1: 'time' looks like a time but is not read; rename it to `arrival_s` (seconds), "
            "or remove it to use the lengths only.",
        ),
    ],
)
def test_a_malformed_row_is_refused_with_its_line(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "t"
    path.write_text(content)
    assert refusal(path) == message


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (OWN + "0,9,2\n2,9,2\n1,9,2\n", 4),
        (OWN + "0,9,2\n2,9,0\n1,9,2\n", 4),
        (AZURE + "2023-11-16 18:17:04,9,2\n2023-11-16 18:17:03.9,9,2\n", 3),
        (BURSTGPT + "5,m,9,2,11,l\n4,m,9,2,11,l\n", 3),
        (MOONCAKE.replace("0,", "1,") + MOONCAKE, 2),
    ],
)
def test_times_that_run_backwards_are_refused(tmp_path: Path, content: str, line: int) -> None:
    path = tmp_path / "t"
    path.write_text(content)
    assert refusal(path) == f"t:{line}: the time runs backwards; sort the file by time."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", EMPTY),
        (b"\xef\xbb\xbf\n \n", EMPTY),
        (
            OWN.encode(),
            "t has a header but no row: a load of zero measures nothing; name a file with at "
            "least two requests.",
        ),
        (
            OWN.encode() + b"0,9,2\n1,9,0\n",
            "t has 1 usable row; 1 rows have no output tokens (failed request); "
            "a replay needs at least two requests, so name a longer file.",
        ),
        (
            OWN.encode() + b"0,0,2\n1,0,0\n2,9,0\n",
            "t has 0 usable rows: a load of zero measures nothing; 1 rows have no input tokens; "
            "2 rows have no output tokens (failed request); a replay needs at least two requests, "
            "so name a file whose requests have tokens in and out.",
        ),
        (
            b"\x1f\x8b\x08\x00",
            "t:1: not UTF-8 text; unpack the file or export it as CSV or JSONL in UTF-8.",
        ),
        (
            OWN.encode() + b"0,9,2\n\xff",
            "t:3: not UTF-8 text; unpack the file or export it as CSV or JSONL in UTF-8.",
        ),
    ],
)
def test_a_file_without_requests_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t"
    path.write_bytes(content)
    assert refusal(path) == message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "t") == "t does not exist; check the path."


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path.name} is a folder; name a trace file in it."


def test_a_path_no_file_system_takes_is_refused() -> None:
    assert refusal(Path("a\0b")).endswith("(embedded null byte); check the path.")


def test_an_unknown_header_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("prompt,answer\n1,2\n")
    assert refusal(path) == (
        "t:1: unknown header 'prompt,answer'; name the columns of the CSV file or the keys of its "
        "JSON lines, in any letter case, as one of: "
        "`timestamp,contexttokens,generatedtokens` (Azure), "
        "`timestamp,input_length,output_length` (Mooncake), "
        "`timestamp,request tokens,response tokens` (BurstGPT), "
        "`arrival_s,input_tokens,output_tokens` (paretune), "
        "`arrived_at,input_tokens,output_tokens` (ServeGen), "
        "`arrived_at,text_tokens,image_tokens,output_tokens` (ServeGen), "
        "`arrived_at,text_tokens,output_tokens` (ServeGen), "
        "`arrived_at,num_prefill_tokens,num_decode_tokens` (Vidur), "
        "`num_prefill_tokens,num_decode_tokens` (lengths only), "
        "`input_tokens,output_tokens` (lengths only)."
    )


def test_two_block_sizes_in_one_file_are_refused(tmp_path: Path) -> None:
    row = '{{"arrival_s": 0, "input_tokens": 9, "output_tokens": 2, "block_tokens": {}}}\n'
    path = tmp_path / "t"
    path.write_text(row.format(16) + row.format(32))
    assert refusal(path) == "t:2: `block_tokens` is 32 after 16; use one size in a file."


def test_a_field_larger_than_csv_allows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(OWN + "0,9," + "2" * 200_000)
    assert refusal(path) == (
        "t:2: not a CSV row (field larger than field limit (131072)); correct the row."
    )


def test_a_line_without_end_is_refused_before_it_fills_memory(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"{" * (LONGEST_LINE_BYTES + 10))
    assert refusal(path) == (
        "t:1: the line is longer than 8,388,608 bytes; write one request per line."
    )


def test_json_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text('{"a":' * 100_000)
    assert refusal(path).startswith("t:1: not a JSON object (")
