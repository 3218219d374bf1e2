"""Study files that make no sense, each told with its line; the schema for editors."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tuner import presets
from tuner.errors import BadInput
from tuner.options import Options
from tuner.spec import StudySpec, resolve
from tuner.study_file import ArrivalsEntry, LengthsEntry, ObjectiveFile, WorkloadEntry, schema

ROOT = Path(__file__).parents[2]


def refusal(path: Path, text: str) -> str:
    """What is said of a study file, with its folder left out."""
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        presets.load(str(path))
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "extends: [\n",
            "mine.yaml:2: not valid YAML: expected the node content, but found "
            "'<stream end>'; correct it.",
        ),
        (
            "a: b: c\n",
            "mine.yaml:1: not valid YAML: mapping values are not allowed here; correct it.",
        ),
        ("extends: chat\nextends: code\n", "mine.yaml:2: `extends` stands twice; drop one."),
        (
            "- chat\n",
            "mine.yaml:1: the file must be a mapping of `name: value` lines, but is ['chat'].",
        ),
        ("extends: chat\nslo: {}\n", "mine.yaml:2: `slo` is not known; nearest: sla."),
        (
            "extends: chat\nx: 1\n",
            "mine.yaml:2: `x` is not known; known: extends, quadrant, sla, workload, set, range.",
        ),
        (
            "extends: chat\nworkload:\n  trace: a.csv\n  windows: [1, 2]\n",
            "mine.yaml:4: `workload.windows` is not known; nearest: window.",
        ),
        (
            "\nextends: chatt\n",
            "mine.yaml:2: extends: unknown objective 'chatt'; did you mean "
            "chat? There are: agent, api, rag, chat, code, reasoning, offline, summarize.",
        ),
        (
            "extends: all\n",
            "mine.yaml:1: extends: unknown objective 'all'. There are: "
            "agent, api, rag, chat, code, reasoning, offline, summarize.",
        ),
        ("", "mine.yaml: `quadrant`, `sla` and `workload` are needed, or `extends: PRESET`."),
        (
            "extends: chat\nquadrant: fast\n",
            "mine.yaml:2: `quadrant` must be 'live-at-scale', "
            "'interactive', 'economy' or 'bulk', but is 'fast'.",
        ),
        (
            "extends: chat\nsla:\n  p95_tttt_ms<=4: x\n",
            "mine.yaml:3: Unknown metric 'p95_tttt_ms'"
            "; nearest: p95_ttft_ms, p99_ttft_ms, p95_tpot_ms. A bound reads like "
            "`p95_ttft_ms<=500,p95_tpot_ms<=40`.",
        ),
        (
            "extends: chat\nsla: {p95_ttft_ms<=4: x, p95_ttft_ms<=5: x}\n",
            "mine.yaml:2: The SLA bounds p95_ttft_ms more than once.",
        ),
        (
            "extends: chat\nsla: {p95_ttft_ms<=4: }\n",
            "mine.yaml:2: `sla.p95_ttft_ms<=4` must be a valid string, but is None.",
        ),
        (
            "extends: chat\nset: {max_num_seqs: [4]}\n",
            "mine.yaml:2: `set.max_num_seqs` must be a "
            "finite number, a text, true or false, but is [4].",
        ),
        (
            "extends: chat\nset:\n  a: .nan\n",
            "mine.yaml:3: `set.a` must be a finite number, a text, true or false, but is nan.",
        ),
        (
            "extends: chat\nrange: {a: 4}\n",
            "mine.yaml:2: `range.a` must be a valid string, but is 4.",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(file: Path, text: str, message: str) -> None:
    assert refusal(file, text) == message


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("{}", "`workload` cannot be used: give `trace` or `lengths`, one of them."),
        (
            "{trace: a, lengths: {input: {tokens: 1}, output: {tokens: 1}}}",
            "`workload` cannot be used: give `trace` or `lengths`, one of them.",
        ),
        ("{trace: ''}", "`workload.trace` must have at least 1 character, but is ''."),
        (
            "{trace: a, window: [5, 5]}",
            "`workload` cannot be used: `window` must be [from, to] with from < to; any other "
            "holds no request, and a load of zero measures nothing.",
        ),
        (
            "{trace: a, window: [5, .inf]}",
            "`workload.window.1` must be a finite number, but is inf.",
        ),
        ("{trace: a, window: [5]}", "`workload.window` needs one more entry."),
        (
            "{trace: a, scale_tokens: .nan}",
            "`workload.scale_tokens` must be a finite number, but is nan.",
        ),
        (
            "{trace: a, scale_tokens: 0}",
            "`workload.scale_tokens` must be above 0, but is 0: a load of zero measures nothing.",
        ),
        (
            "{trace: a, prefix_share: 0.1}",
            "`workload` cannot be used: `prefix_share` is for "
            "`lengths`; a trace brings its own prefixes.",
        ),
        (
            "{trace: a, arrivals: {process: gamma}}",
            "`workload` cannot be used: a trace has its own arrival times; `arrivals` may give "
            "it a `request_rate`, or make it closed-loop or all-at-once.",
        ),
        (
            "{lengths: {input: {tokens: 1}, output: {tokens: 1}}, window: [1, 2]}",
            "`workload` cannot be used: `window` and `scale_tokens` are for a `trace`.",
        ),
        ("{lengths: {input: {tokens: 1}}}", "`workload.lengths` needs `output`."),
        (
            "{lengths: {input: {tokens: 0}, output: {tokens: 1}}}",
            "`workload.lengths.input.tokens` must be at least 1, but is 0: a load of zero "
            "measures nothing.",
        ),
        (
            "{lengths: {input: {tokens: true}, output: {tokens: 1}}}",
            "`workload.lengths.input.tokens` must be a valid integer, but is True.",
        ),
        (
            "{lengths: {input: {tokens: 1, p90: 5}, output: {tokens: 1}}}",
            "`workload.lengths.input` cannot be used: give `tokens` (and `spread`), or `median`, "
            "`p90` and `longest`, all three.",
        ),
        (
            "{lengths: {input: {median: 9, p90: 5, longest: 10}, output: {tokens: 1}}}",
            "`workload.lengths.input` cannot be used: `median <= p90 <= longest` must hold, but "
            "got 9.0, 5.0, 10.",
        ),
        (
            "{trace: a, arrivals: {process: poison}}",
            "`workload.arrivals.process` must be "
            "'poisson', 'gamma', 'constant', 'closed-loop' or 'all-at-once', but is 'poison'.",
        ),
        (
            "{trace: a, arrivals: {request_rate: .inf}}",
            "`workload.arrivals.request_rate` must be a finite number, but is inf.",
        ),
        (
            "{trace: a, arrivals: {request_rate: -1}}",
            "`workload.arrivals.request_rate` must be at least 0.000001, but is -1.",
        ),
        (
            "{trace: a, arrivals: {cv: 2}}",
            "`workload.arrivals` cannot be used: `cv` is for `process: gamma`.",
        ),
        (
            "{trace: a, arrivals: {process: closed-loop}}",
            "`workload.arrivals` cannot be used: "
            "`process: closed-loop` and `concurrency` go together.",
        ),
        (
            "{trace: a, arrivals: {process: all-at-once, request_rate: 1}}",
            "`workload.arrivals` cannot be used: `request_rate` has no meaning with "
            "`process: all-at-once`.",
        ),
    ],
)
def test_traffic_that_makes_no_sense_is_told_with_its_entry(
    file: Path, entries: str, message: str
) -> None:
    assert refusal(file, f"extends: chat\nworkload: {entries}\n") == f"mine.yaml:2: {message}"


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"extends: chat\n\xff")
    with pytest.raises(BadInput, match=r"mine.yaml:2: not UTF-8 text; save it as UTF-8\.$"):
        presets.load(str(file))


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(BadInput, match="/dev/zero is larger than 200 kB, too large for the study"):
        presets.load("/dev/zero")


def test_the_schema_for_editors_is_current() -> None:
    kept = (ROOT / "docs" / "study.schema.json").read_text(encoding="utf-8")
    assert kept == schema() + "\n", "python -m tuner.study_file > docs/study.schema.json"


def test_the_schema_names_what_the_file_may_say() -> None:
    assert set(json.loads(schema())["properties"]) == set(ObjectiveFile.__dataclass_fields__) - {
        "__pydantic_config__"
    }


NAMES = st.sampled_from(
    [
        *ObjectiveFile.__dataclass_fields__,
        *WorkloadEntry.__dataclass_fields__,
        *ArrivalsEntry.__dataclass_fields__,
        *LengthsEntry.__dataclass_fields__,
        *("input", "output", "max_num_seqs", "max_model_len", "p95_ttft_ms<=5", "makespan_s<=5"),
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["chat", "api", "bulk", "gamma", "closed-loop", "8:32", "good.csv", "1,2"])
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES | st.text(max_size=4) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
FILES = st.fixed_dictionaries(
    {"extends": st.just("api")},
    optional={name: TREES for name in ("quadrant", "sla", "workload", "set", "range", "other")},
)


def answer_to(options: Options) -> StudySpec | str:
    """The study as resolved, or why it is not."""
    try:
        return resolve(options)[0]
    except BadInput as error:
        return str(error)


def resolved_or_refused(text: str | bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "good.csv").write_text("input_tokens,output_tokens\n9,2\n8,3\n")
        file = Path(folder) / "junk.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        answer = answer_to(Options(objective=str(file), requests=60))
        assert isinstance(answer, StudySpec) or len(answer.splitlines()) == 1


@given(FILES)
@settings(max_examples=150)
@example({"extends": "api", "set": {"max_num_seqs": 10**400}})
@example({"extends": "api", "range": {"max_num_seqs": "1:" + "9" * 400}})
@example({"extends": "api", "workload": {"trace": "a\0b"}})
def test_any_structure_is_a_study_or_refused_in_one_line(content: dict[str, Any]) -> None:
    resolved_or_refused(yaml.safe_dump(content, allow_unicode=True))


@given(st.text(max_size=60) | st.text("-:{}[]&*!|>'\"#%@,? \nab1.", max_size=40))
@settings(max_examples=150)
@example("&a [*a]")
@example("extends: api\nset: &a {x: *a}")
@example("[" * 5000)
@example("!!python/object:os.system {}")
@example("a: 2001-99-99")
@example("!!int x")
@example("? [a]\n: b")
def test_any_text_is_a_study_or_refused_in_one_line(text: str) -> None:
    resolved_or_refused(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_study_or_refused_in_one_line(raw: bytes) -> None:
    resolved_or_refused(raw)
