"""Every known trace format is recognised and read."""

from pathlib import Path

import pytest

from objectives.workload import Request
from tuner.traces import Trace, read_trace

AZURE_2023 = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:17:03.9799600,4808,10\r\n"
    "2023-11-16 18:17:04.2299601,3180,8\r\n"
    "2023-11-16 18:17:05.9799600,110,27\r\n"
)


def write(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_azure_2023_stamps_have_seven_digits_and_no_zone(tmp_path: Path) -> None:
    assert read_trace(write(tmp_path, AZURE_2023)) == Trace(
        name="trace.csv",
        format="Azure 2023",
        requests=(Request(0.0, 4808, 10), Request(0.2500001, 3180, 8), Request(2.0, 110, 27)),
        timed=True,
        block_tokens=16,
        tick_s=0.0,
        skipped={},
    )


def test_azure_2024_stamps_mix_none_to_six_digits_with_a_zone(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2024-05-10 00:00:00+00:00,100,5\n"
        "2024-05-10 00:00:00.5+00:00,200,0\n"
        "2024-05-10 00:00:01.009930+00:00,300,7\n"
        "2024-05-10T02:00:02+02:00,400,8\n",
    )
    assert read_trace(path) == Trace(
        name="trace.csv",
        format="Azure 2024",
        requests=(Request(0.0, 100, 5), Request(1.00993, 300, 7), Request(2.0, 400, 8)),
        timed=True,
        block_tokens=16,
        tick_s=0.0,
        skipped={"no output tokens (failed request)": 1},
    )


def test_mooncake_keeps_full_blocks_only_and_knows_its_tick(tmp_path: Path) -> None:
    rows = [(0, 1024, [1, 2]), (0, 1025, [1, 2, 3]), (3000, 100, [4]), (3000, 600, [1, 9])]
    rows += [(6000, 512, [1]), (6000, 511, [1])]
    path = write(
        tmp_path,
        "".join(
            f'{{"timestamp": {ms}, "input_length": {tokens}, "output_length": 5, '
            f'"hash_ids": {blocks}}}\n'
            for ms, tokens, blocks in rows
        ),
        "mooncake.jsonl",
    )
    assert read_trace(path) == Trace(
        name="mooncake.jsonl",
        format="Mooncake",
        requests=(
            Request(0.0, 1024, 5, (1, 2)),
            Request(0.0, 1025, 5, (1, 2)),
            Request(3.0, 100, 5),
            Request(3.0, 600, 5, (1,)),
            Request(6.0, 512, 5, (1,)),
            Request(6.0, 511, 5),
        ),
        timed=True,
        block_tokens=512,
        tick_s=3.0,
        skipped={},
    )


BURSTGPT = Trace(
    name="trace.csv",
    format="BurstGPT",
    requests=(Request(0.0, 472, 18), Request(40.0, 417, 276)),
    timed=True,
    block_tokens=16,
    tick_s=0.0,
    skipped={"no output tokens (failed request)": 1, "no input tokens": 1},
)


def test_burstgpt_failures_are_counted_and_left_out(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,472,18,490,Conversation log\n"
        "9,ChatGPT,100,0,100,API log\n"
        "9,ChatGPT,0,3,3,API log\n"
        "45,GPT-4,417,276,693,Conversation log\n",
    )
    assert read_trace(path) == BURSTGPT


def test_burstgpt_with_eight_columns_is_read_by_their_names(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,"
        "Log Type\n"
        "5.0,,1.5,ChatGPT,472,18,490,Conversation log\n"
        "9.0,7,0.0,ChatGPT,100,0,100,API log\n"
        "9.0,7,0.0,ChatGPT,0,3,3,API log\n"
        "45.0,7,2.5,GPT-4,417,276,693,Conversation log\n",
    )
    assert read_trace(path) == BURSTGPT


@pytest.mark.parametrize(
    "header",
    ["num_prefill_tokens,num_decode_tokens,num_total_tokens", "input_tokens,output_tokens,n"],
)
def test_a_file_without_times_gives_lengths_only(tmp_path: Path, header: str) -> None:
    assert read_trace(write(tmp_path, f"{header}\n3772,54,3826\n76,2958,3034\n")) == Trace(
        name="trace.csv",
        format="lengths only",
        requests=(Request(0.0, 3772, 54), Request(0.0, 76, 2958)),
        timed=False,
        block_tokens=16,
        tick_s=0.0,
        skipped={},
    )


def test_our_own_csv_may_give_priorities(tmp_path: Path) -> None:
    path = write(
        tmp_path, "arrival_s,input_tokens,output_tokens,priority\n0.5,10,2,0\n0.75,20,4.0,-1\n"
    )
    trace = read_trace(path)
    assert (trace.format, trace.requests) == (
        "paretune",
        (Request(0.0, 10, 2), Request(0.25, 20, 4, (), -1)),
    )


def test_our_own_json_lines_may_give_blocks_and_their_size(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '{"arrival_s": 1, "input_tokens": 70, "output_tokens": 2, "blocks": [7, 8, 9]}\n'
        "\n"
        '{"arrival_s": 1.5, "input_tokens": 20, "output_tokens": 4, "block_tokens": 32}\n',
    )
    trace = read_trace(path)
    assert (trace.block_tokens, trace.requests) == (
        32,
        (Request(0.0, 70, 2, (7, 8)), Request(0.5, 20, 4)),
    )


@pytest.mark.parametrize(
    ("header", "row", "input_tokens"),
    [
        ("arrived_at,client_id,input_tokens,output_tokens", "0.25,97,1308,20", 1308),
        ("arrived_at,client_id,text_tokens,output_tokens", "0.25,97,1308,20", 1308),
        ("arrived_at,text_tokens,image_tokens,output_tokens", "0.25,74,252,20", 326),
    ],
)
def test_servegen_prompts_are_text_and_images(
    tmp_path: Path, header: str, row: str, input_tokens: int
) -> None:
    trace = read_trace(write(tmp_path, f"{header}\n{row}\n{row}\n"))
    assert trace.format == "ServeGen"
    assert trace.requests == (Request(0.0, input_tokens, 20),) * 2


def test_vidur_traces_with_times_are_timed(tmp_path: Path) -> None:
    path = write(tmp_path, "arrived_at,num_prefill_tokens,num_decode_tokens\n1,10,2\n3,20,4\n")
    trace = read_trace(path)
    assert (trace.format, trace.timed) == ("Vidur", True)
    assert trace.requests == (Request(0.0, 10, 2), Request(2.0, 20, 4))


def test_a_byte_order_mark_and_spaces_and_letter_case_in_the_header_do_not_matter(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path,
        AZURE_2023.replace("TIMESTAMP,ContextTokens", '\ufeff "Timestamp", CONTEXTTOKENS '),
    )
    assert read_trace(path).format == "Azure 2023"


def test_stamps_that_seldom_repeat_have_no_tick(tmp_path: Path) -> None:
    rows = "".join(f"{second},10,2\n" for second in (0, 1, 2, 2, 3))
    path = write(tmp_path, f"arrival_s,input_tokens,output_tokens\n{rows}")
    assert read_trace(path).tick_s == 0.0


def test_one_burst_is_not_a_tick(tmp_path: Path) -> None:
    path = write(
        tmp_path, "arrival_s,input_tokens,output_tokens\n" + "0,10,2\n" * 4 + "9,1,1\n" * 4
    )
    assert read_trace(path).tick_s == 0.0
