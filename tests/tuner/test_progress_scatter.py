import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives import Quadrant
from results.pareto import front
from results.record import TrialRecord
from tests.tuner.screens import BROKEN, VALUES, at, trial, tried
from tuner.progress.frontier import Frontier
from tuner.progress.scatter import NAMED_ROWS, Mark, Point, scatter


def drawn(*points: Point, width: int = 50, rows: int = 5) -> list[str]:
    return scatter(
        points, x_name="capacity, req/s/GPU", y_name="p95 TTFT, ms", width=width, rows=rows
    )


def frontier(records: list[TrialRecord], **known: object) -> list[str]:
    made = Frontier(VALUES)
    for record in records:
        made.add(record)
    return made.drawn(**{"name": "", "width": 70, "rows": 7, **known})  # type: ignore[arg-type]


def test_points_stand_where_their_values_are() -> None:
    points = (
        Point(10.0, 100.0, Mark.DEFAULT),
        Point(15.0, 200.0, Mark.DOMINATED),
        Point(20.0, 400.0, Mark.FRONT),
    )
    assert drawn(*points) == [
        "p95 TTFT, ms (log)",
        "400 |                                            o",
        "    |",
        "200 |                      .",
        "    |",
        "100 |D",
        "    +------------------------- capacity, req/s/GPU",
        "     10                    15                   20",
    ]


def test_a_lone_point_stands_in_the_middle() -> None:
    assert drawn(Point(7.79, 212.4, Mark.DEFAULT)) == [
        "p95 TTFT, ms (log)                       D default",
        "    |",
        "    |",
        "212 |                      D",
        "    |",
        "    |",
        "    +------------------------- capacity, req/s/GPU",
        "                         7.79",
    ]


def test_of_points_that_fall_together_the_default_is_seen_before_the_front() -> None:
    marks = [Mark.FRONT, Mark.DEFAULT, Mark.BROKEN, Mark.DOMINATED]
    for last in range(1, 5):
        lines = drawn(*(Point(1.0, 1.0, mark) for mark in marks[:last]))
        assert [mark for mark in Mark if mark in "".join(lines[1:6])] == [
            Mark.FRONT if last == 1 else Mark.DEFAULT
        ]


def test_an_axis_of_nothing_but_zero_is_no_logarithm() -> None:
    lines = drawn(Point(0.0, 0.0, Mark.BROKEN), Point(1.0, 5.0, Mark.BROKEN))
    assert lines[0].startswith("p95 TTFT, ms  ")


@given(
    st.lists(
        st.builds(
            Point,
            st.floats(0, 1e6),
            st.floats(0, 1e9),
            st.sampled_from(Mark),
        ),
        min_size=1,
        max_size=30,
    ),
    st.integers(40, 200),
    st.integers(3, 30),
)
def test_any_points_fit_into_any_room(points: list[Point], width: int, rows: int) -> None:
    lines = drawn(*points, width=width, rows=rows)
    assert len(lines) == rows + NAMED_ROWS
    assert max(map(len, lines)) <= width
    assert "".join(lines).isascii()


def test_the_frontier_of_a_study() -> None:
    assert frontier(tried()) == [
        "p95 TTFT, ms (log)   D default  o front  . dominated  x breaks the SLA",
        "900 |x",
        "    |",
        "    |",
        "232 |",
        "    |                                    .                           o",
        "    |                                                D   o",
        " 60 |                                o",
        "    +--------------------------------------------- capacity, req/s/GPU",
        "     8                               16                             24",
    ]


def test_a_study_of_several_objectives_says_whose_frontier_it_is() -> None:
    title = frontier(tried(), name="chat", width=80)[0]
    assert title.startswith("chat: p95 TTFT, ms (log)  ")


def test_what_was_not_measured_whole_is_not_drawn() -> None:
    failure = {"kind": "out of memory", "detail": "it was"}
    records = [
        at(0, 20.0, 110.0, stopped_early=True),
        trial(1, loads={}, failure=failure),
        trial(2, loads={"offered": {"p95_ttft_ms": 9.0}}),
    ]
    assert frontier(records) == []


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.booleans()), max_size=20),
)
def test_a_front_that_grows_is_the_front_of_all(values: list[tuple[int, int, bool]]) -> None:
    records = [
        at(number, float(x), float(y), **({} if met else {"sla": {"p95_ttft_ms<=500": BROKEN}}))
        for number, (x, y, met) in enumerate(values)
    ]
    made = Frontier(VALUES)
    for record in records:
        made.add(record)
    best = {record.number for record in front(records, VALUES)}
    marked = zip(records, made.points(), strict=True)
    assert {record.number for record, point in marked if point.mark is Mark.FRONT} == best


@pytest.mark.parametrize(
    ("quadrant", "names"),
    [
        (Quadrant.INTERACTIVE, ("p95 TTFT, ms (log)", "capacity, req/s/GPU")),
        (Quadrant.BULK, ("p95 E2EL, ms (log)", "output throughput, tok/s/GPU")),
    ],
)
def test_the_axes_are_the_two_values_of_the_quadrant(
    quadrant: Quadrant, names: tuple[str, str]
) -> None:
    loads = {
        "offered": {"p95_ttft_ms": 212.4, "p95_e2el_ms": 4000.0},
        "capacity": {"capacity_per_gpu": 7.79, "output_throughput_per_gpu": 900.0},
    }
    made = Frontier(quadrant.values)
    made.add(trial(loads=loads))
    title, *_, edge, _ = made.drawn(name="", width=70, rows=4)
    assert (title.split("  ")[0], edge.rsplit("- ", 1)[1]) == names
