from collections.abc import Callable
from typing import Any


def test_an_engine_whose_log_cannot_be_written_serves_on(launch: Callable[..., Any]) -> None:
    engine = launch(PARETUNE_STEP_LOG="/dev/full")
    assert [engine.send(name, 20, 3).result(60) for name in "abc"] == [3, 3, 3]
    assert engine.log.read_text("utf-8").count("The step log /dev/full ends here") == 1
