"""``tune calibrate`` on studies whose engine is the simulated one, slowed by known parameters."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from objectives import Load, Request, Workload
from results.record import TrialRecord
from runners.simulated.calibration import Parameters, Probe, Served, load, predict
from runners.simulated.calibration.probes import twin
from runners.simulated.catalogue import gpu, model
from runners.simulated.step_times import step_time
from search_spaces import Config, Deployment
from search_spaces.vllm import default_config, kv_tokens, vllm_space
from tuner.calibrate import calibrate
from tuner.calibrate_text import text
from tuner.errors import BadInput
from tuner.traces import write_workload

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA = Deployment(model=model(MODEL), gpu=gpu("l4"), gpus=1, max_model_len=768)
TRUTH = Parameters(decode_factor=1.4, prefill_factor=1.4, host_ms=1.0, api_ms=20.0)
WORKLOAD = Workload(
    name="chat",
    requests=tuple(Request(0.5 * i, 256 + 32 * (i % 9), 32 + i % 40) for i in range(40)),
    source="a test",
)
CPU = Path(__file__).parent.parent / "runners" / "simulated" / "calibration" / "steps_cpu.csv"
EXTRA_TOKENS = 480


def measured(config: Config) -> dict[str, Any]:
    steps = step_time(LLAMA, tensor_parallel_size=1).steps
    capacity = kv_tokens(LLAMA, config) + EXTRA_TOKENS
    run = twin(config, Load(workload=WORKLOAD), steps, blocks=capacity // 16)
    return {
        "request_rate": WORKLOAD.request_rate,
        **predict(Probe(run, {}), TRUTH),
        "kv_capacity_tokens": capacity,
        "step_log": 0,
    }


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Six trials of an engine that is slower than its model in known ways."""
    folder = tmp_path / "study"
    (folder / "workloads").mkdir(parents=True)
    (folder / "logs").mkdir()
    write_workload(WORKLOAD, folder / "workloads" / "chat.jsonl")
    default = default_config(vllm_space(LLAMA))
    lines = []
    for number, seats in enumerate((1, 2, 4, 8, 64, 256)):
        config = {**default, "max_num_seqs": seats}
        record = TrialRecord(
            number=number,
            objective="chat",
            config=config,
            origin="sampler",
            loads={"offered": measured(config)},
            launch_id=0,
        )
        lines.append(record.to_json() + "\n")
    (folder / "trials.jsonl").write_text("".join(lines))
    write_summary(folder)
    return folder


def retell(folder: Path, *changes: tuple[dict[str, Any], int | None]) -> None:
    """The study's trials with other settings and another step log each."""
    lines = (folder / "trials.jsonl").read_text().splitlines()
    told = []
    for (settings, log), line in zip(changes, lines, strict=True):
        record = TrialRecord.from_json(line)
        offered = {**record.loads["offered"], "step_log": log}
        config = {**record.config, **settings}
        told.append(replace(record, config=config, loads={"offered": offered}))
    (folder / "trials.jsonl").write_text("".join(record.to_json() + "\n" for record in told))


def write_summary(folder: Path, **changed: Any) -> None:
    told = {
        "simulated": False,
        "engine_version": "0.32.0",
        "hardware": {"gpu": "l4", "gpus": 1},
        "model": MODEL,
    }
    (folder / "summary.json").write_text(json.dumps(told | changed))


def test_a_study_teaches_its_engines_parameters(study: Path, tmp_path: Path) -> None:
    found = calibrate(study, folder=tmp_path)["calibrations"][0]
    for name, wanted in asdict(TRUTH).items():
        told = found["parameters"][name]
        assert abs(told["value"] - wanted) < 2.5 * told["standard_error"]
    assert found["parameters"]["decode_factor"]["value"] == pytest.approx(1.4, rel=0.03)
    assert (found["trials"], found["steps"], found["kv_offset_tokens"]) == (6, 0, EXTRA_TOKENS)
    before, after = found["held_out"]["before"], found["held_out"]["after"]
    assert before["mean_tpot_ms"] > 0.25
    assert after["mean_tpot_ms"] < 0.03
    assert after["mean_ttft_ms"] < before["mean_ttft_ms"] / 2


def test_what_was_learnt_is_kept_for_the_next_study(study: Path, tmp_path: Path) -> None:
    found = calibrate(study, folder=tmp_path / "kept")["calibrations"][0]
    served = Served(gpu="l4", model=MODEL, engine_version="0.32.0", tensor_parallel_size=1)
    kept = load(served, tmp_path / "kept")
    assert kept is not None
    assert kept.fitted is None
    assert kept.calibration.probes == 6
    assert kept.calibration.kv_tokens(1000) == 1000 + EXTRA_TOKENS
    assert found["kept"].startswith(str(tmp_path / "kept"))


def test_people_read_parameters_with_their_errors(study: Path, tmp_path: Path) -> None:
    said = text(calibrate(study, folder=tmp_path)).splitlines()
    assert said[0] == f"vLLM 0.32.0, {MODEL} on l4, tensor_parallel_size 1: 6 trials, 0 steps"
    assert re.fullmatch(r"  decode_factor   1\.[34]\d* \+- 0\.0\d+", said[1])
    assert said[5] == "  KV cache        +480 tokens against the estimate"
    assert any(line.startswith("  each trial predicted from the others") for line in said)


def test_a_machine_that_nobody_has_a_model_of_is_fitted_by_its_step_log(
    study: Path, tmp_path: Path
) -> None:
    write_summary(study, hardware={"gpu": "cpu", "gpus": 1})
    (study / "logs" / "steps-0.csv").write_bytes(CPU.read_bytes())
    found = calibrate(study, folder=tmp_path)["calibrations"][0]
    assert found["fitted"]["rows"] == found["steps"] > 800
    served = Served(gpu="cpu", model=MODEL, engine_version="0.32.0", tensor_parallel_size=1)
    kept = load(served, tmp_path)
    assert kept is not None
    assert kept.fitted is not None


def test_without_model_and_log_there_is_nothing_to_correct(study: Path, tmp_path: Path) -> None:
    write_summary(study, hardware={"gpu": "cpu", "gpus": 1})
    with pytest.raises(BadInput, match="none can be fitted: no trial names a step log"):
        calibrate(study, folder=tmp_path)


def test_a_bare_log_is_fitted_and_kept_once_it_is_said_of_what(tmp_path: Path) -> None:
    found = calibrate(CPU, folder=tmp_path)
    assert found["calibrations"][0]["kept"] is None
    assert "not kept: say what it ran on with --gpu" in text(found)
    served = Served(gpu="cpu", model="tiny", engine_version="0.32.0", tensor_parallel_size=1)
    assert calibrate(CPU, served=served, folder=tmp_path)["calibrations"][0]["kept"]
    assert load(served, tmp_path) is not None


def test_a_bare_log_of_a_known_model_teaches_its_parameters(tmp_path: Path) -> None:
    served = Served(
        gpu="l4",
        model="meta-llama/Llama-3.1-8B-Instruct",
        engine_version="0.32.0",
        tensor_parallel_size=1,
    )
    (found,) = calibrate(CPU, served=served, folder=tmp_path)["calibrations"]
    assert (found["fitted"], found["trials"]) == (None, 0)
    kept = load(served, tmp_path)
    assert kept is not None
    assert kept.fitted is None
    assert kept.calibration.steps == found["steps"] > 800


def test_each_size_learns_from_the_logs_of_its_own_launches(study: Path, tmp_path: Path) -> None:
    write_summary(study, hardware={"gpu": "cpu", "gpus": 2})
    one, two = {"tensor_parallel_size": 1}, {"tensor_parallel_size": 2}
    retell(study, (one, 0), (one, 0), (two, 2), (two, 2), (two, 3), (one, None))
    for name in ("steps-0.csv", "steps-2.csv", "steps-3.csv.0", "steps-3.csv.1"):
        (study / "logs" / name).write_bytes(CPU.read_bytes())
    (study / "logs" / "steps-1.csv").write_text("of a launch that failed")
    found = calibrate(study, folder=tmp_path)["calibrations"]
    steps = calibrate(CPU)["calibrations"][0]["steps"]
    told = [(it["of"]["tensor_parallel_size"], it["steps"], it["notes"]) for it in found]
    assert told == [(1, steps, []), (2, 3 * steps, [])]


def test_the_log_of_another_models_weights_is_not_learnt_from(study: Path, tmp_path: Path) -> None:
    retell(study, ({"quantization": "fp8"}, 0), *[({}, None)] * 5)
    (study / "logs" / "steps-0.csv").write_bytes(CPU.read_bytes())
    [found] = calibrate(study, folder=tmp_path)["calibrations"]
    assert (found["trials"], found["steps"]) == (5, 0)
    assert found["notes"] == ["no trial names a step log that is there"]


def test_a_log_is_kept_under_the_names_that_studies_ask_by(tmp_path: Path) -> None:
    said = Served(gpu="H100", model="llama-3.1-8b", engine_version="0.32", tensor_parallel_size=1)
    [found] = calibrate(CPU, served=said, folder=tmp_path)["calibrations"]
    assert (found["of"]["gpu"], found["of"]["model"]) == ("h100_sxm", MODEL)
    assert found["notes"] == []
    assert load(replace(said, gpu="h100_sxm", model=MODEL), tmp_path) is not None


def test_a_name_that_no_study_asks_by_is_told(tmp_path: Path) -> None:
    said = Served(gpu="h1000", model="tiny", engine_version="0.32", tensor_parallel_size=1)
    [found] = calibrate(CPU, served=said, folder=tmp_path)["calibrations"]
    assert found["notes"] == [
        "Unknown GPU 'h1000'; nearest: h100_sxm, h200_sxm, a100_sxm; kept under the name given",
        "Unknown model 'tiny'; kept under the name given",
    ]
    assert load(said, tmp_path) is not None


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("summary.json", None, "holds no summary.json; `tune calibrate` takes"),
        ("summary.json", "{", "summary.json is not JSON"),
        ("summary.json", "[]", "must hold an object"),
        ("summary.json", '{"simulated": true}', "is of a simulated engine"),
        ("summary.json", '{"simulated": false}', "must name hardware, model and"),
        ("trials.jsonl", None, "trials.jsonl cannot be read"),
        ("trials.jsonl", "{}\n", "trials.jsonl:1: Not a trial record"),
        ("trials.jsonl", "", "no trial was measured with plain weights"),
        ("workloads/chat.jsonl", "{}", "is not a paretune workload"),
    ],
)
def test_a_folder_that_is_no_whole_study_is_refused(
    study: Path, tmp_path: Path, file: str, content: str | None, said: str
) -> None:
    (study / file).unlink()
    if content is not None:
        (study / file).write_text(content)
    with pytest.raises(BadInput, match=said):
        calibrate(study, folder=tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "usable steps >= 200"),
        (b"a,b\n1,2\n", "the first line must name the columns"),
        (b"\xff\xfe\n", "log.csv: must be UTF-8 text"),
        (CPU.read_bytes()[:4000], "usable steps >= 200"),
    ],
)
def test_a_file_that_is_no_step_log_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=said):
        calibrate(path)


def test_a_path_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no file or folder"):
        calibrate(tmp_path / "gone")
