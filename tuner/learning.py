"""What each trial of a study on a real engine teaches the simulated one, as soon as it is there.

Trial by trial it is a step of Bayes' rule, quick enough not to keep an engine waiting; when the
study is over all of its trials and steps are taken together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from results.record import TrialRecord
from runners.simulated import is_compiled
from runners.simulated.calibration import (
    Calibration,
    Kept,
    another_day,
    fit,
    learn,
    prior,
    prior_of_fit,
    save,
)
from runners.simulated.calibration.store import Taught
from runners.simulated.step_times import step_time
from runners.step_log import read_step_log
from search_spaces import Deployment
from tuner.calibrate import learnt
from tuner.errors import BadInput
from tuner.teaching import Lessons, kv_offset_tokens, probe, tensor_parallel_size, usable


class Learning:
    """Calibrations of one study, by tensor-parallel size, kept on disk after every trial.

    What cannot be learnt is said once, and changes nothing of the study.

    Args:
        lessons: of the trials there are so far.
        found: what the study found taught when it began.
    """

    def __init__(
        self, lessons: Lessons, found: Mapping[int, Taught], note: Callable[[str], None]
    ) -> None:
        self._lessons, self._note = lessons, note
        self._found = {
            size: kept for size, (served, kept) in found.items() if served == lessons.served(size)
        }
        """Another version may take other times; what was learnt of it is no place to begin."""
        self._untaught = list(lessons.records)
        self._kept: dict[int, Kept] = {}
        self._said = False

    def tried(self, records: Sequence[TrialRecord]) -> None:
        """Learn from a trial; where the simulation is not compiled yet, that waits for the end."""
        self._untaught += records
        if not is_compiled():
            return
        waiting, self._untaught = self._untaught, []
        for record in filter(usable, waiting):
            try:
                self._learn(record)
            except (ValueError, OSError) as error:
                self._say(record, error)

    def finish(self, records: Sequence[TrialRecord]) -> str:
        """Learn from all of a study's trials and steps together; what to say of it."""
        lessons = replace(self._lessons, records=records)
        believed = {
            size: another_day(kept.calibration)
            for size, kept in self._found.items()
            if self._suits(kept, lessons.deployment(size))
        }
        try:
            found = learnt(lessons, believed=believed)
        except (BadInput, ValueError, OSError) as error:
            return f"The simulated engine has not learnt from this study: {error}"
        told = "; ".join(_sentence(one, alone=len(found) == 1) for one in found)
        return (
            f"The simulated engine has learnt: {told}. `tune calibrate {lessons.folder.path}` "
            "says what, from this study alone; --engine simulated uses it for this model on this "
            "GPU."
        )

    def _learn(self, record: TrialRecord) -> None:
        size = tensor_parallel_size(record)
        deployment = self._lessons.deployment(size)
        before = self._kept.get(size) or self._first(record, size, deployment)
        if before.fitted:
            steps = before.fitted.steps
        else:
            assert deployment is not None
            steps = step_time(deployment, tensor_parallel_size=size).steps
        one = probe(record, self._lessons.workloads[record.objective], steps, deployment)
        if one is None:
            return
        after = learn([one], before.calibration)
        offset = kv_offset_tokens([record], deployment)
        self._kept[size] = kept = Kept(_holding(after, offset), before.fitted)
        save(kept, self._lessons.served(size))

    def _first(self, record: TrialRecord, size: int, deployment: Deployment | None) -> Kept:
        """What is believed before this study has taught anything.

        Raises:
            ValueError: there are no steps to begin with yet.
        """
        found = self._found.get(size)
        if found and self._suits(found, deployment):
            return Kept(another_day(found.calibration), found.fitted)
        if deployment:
            return Kept(prior(size))
        logs = replace(self._lessons, records=[record]).logs(size)
        if not logs:
            raise ValueError("no step log was written")
        return Kept(prior_of_fit(), fit(*(read_step_log(log) for log in logs)))

    @staticmethod
    def _suits(kept: Kept, deployment: Deployment | None) -> bool:
        """A known model's parameters are of its steps, others' of the fit beside them."""
        return (kept.fitted is None) == (deployment is not None)

    def _say(self, record: TrialRecord, why: Exception) -> None:
        if not self._said:
            self._said = True
            self._note(f"Trial {record.number} taught the simulated engine nothing: {why}")


def _holding(calibration: Calibration, offset_tokens: int | None) -> Calibration:
    if offset_tokens is None:
        return calibration
    return replace(calibration, kv_offset_tokens=offset_tokens)


def _sentence(found: Mapping[str, Any], *, alone: bool) -> str:
    where = "" if alone else f"at tensor_parallel_size {found['of']['tensor_parallel_size']} "
    residual = found["residual_sd"]
    return (
        f"{where}mean TTFT is now within {100 * residual['log_ttft']:.0f} %, mean TPOT within "
        f"{100 * residual['log_tpot']:.0f} % (one standard deviation)"
    )
