"""What each trial of a study on a real engine teaches the simulated one, as soon as it is there.

Trial by trial it is a step of Bayes' rule, quick enough not to keep an engine waiting; when the
study is over ``tune calibrate`` takes all of its trials and steps together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from objectives import Workload
from results.record import TrialRecord
from runners.simulated import is_compiled
from runners.simulated.calibration import (
    Calibration,
    Kept,
    Served,
    another_day,
    fit,
    learn,
    prior,
    prior_of_fit,
    save,
)
from runners.simulated.runner import Taught
from runners.simulated.step_times import step_time
from runners.step_log import read_step_log
from search_spaces import Deployment
from tuner.calibrate import calibrate
from tuner.errors import BadInput
from tuner.folder import Folder
from tuner.problem import Problem
from tuner.spec import StudySpec
from tuner.taught import taught
from tuner.teaching import (
    known,
    kv_offset_tokens,
    logs_of,
    probe,
    tensor_parallel_size,
    usable,
)

NOTHING = "The simulated engine has not learnt from this study"


class Learning:
    """Calibrations of one study, by tensor-parallel size, kept on disk after every trial.

    What cannot be learnt is said once, and changes nothing of the study.
    """

    def __init__(
        self,
        spec: StudySpec,
        problem: Problem,
        folder: Folder,
        *,
        engine_version: str,
        note: Callable[[str], None],
    ) -> None:
        self._target, self._version = spec.target, engine_version
        self._folder, self._note = folder, note
        self._workloads: Mapping[str, Workload] = {
            case.profile.name: case.workload for case in problem.cases
        }
        self._found = _of_version(taught(spec.target.calibrations or {}), engine_version)
        self._kept: dict[int, Kept] = {}
        self._said = False

    def tried(self, records: Sequence[TrialRecord]) -> None:
        """Learn from a trial; where the simulation is not compiled yet, that waits for the end."""
        if not is_compiled():
            return
        for record in filter(usable, records):
            try:
                self._learn(record)
            except (ValueError, OSError) as error:
                self._say(str(error))

    def finish(self) -> str:
        """Learn from all of the study's trials and steps together; what to say of it."""
        believed = {size: another_day(kept.calibration) for size, kept in self._found.items()}
        try:
            found = calibrate(self._folder.path, believed=believed)["calibrations"]
        except (BadInput, ValueError, OSError) as error:
            return f"{NOTHING}: {error}"
        told = "; ".join(_sentence(one, alone=len(found) == 1) for one in found)
        return (
            f"The simulated engine has learnt: {told}. `tune calibrate {self._folder.path}` says "
            "more, and --engine simulated uses it for this model on this GPU."
        )

    def _learn(self, record: TrialRecord) -> None:
        size = tensor_parallel_size(record)
        before = self._kept.get(size) or self._first(size, record)
        if before is None:
            return
        workload, deployment = self._workloads[record.objective], self._known(size)
        if before.fitted:
            steps = before.fitted.steps
        else:
            assert deployment is not None
            steps = step_time(deployment, tensor_parallel_size=size).steps
        one = probe(record, workload, steps, deployment)
        if one is None:
            return
        after = learn([one], before.calibration)
        offset = kv_offset_tokens([record], deployment)
        self._kept[size] = kept = Kept(_holding(after, offset), before.fitted)
        save(kept, self._served(size))

    def _first(self, size: int, record: TrialRecord) -> Kept | None:
        """What is believed before this study has taught anything; ``None``: not even steps."""
        if found := self._found.get(size):
            return Kept(another_day(found.calibration), found.fitted)
        if self._known(size):
            return Kept(prior(size))
        logs = [read_step_log(log) for log in logs_of(self._folder, [record], size)]
        return Kept(prior_of_fit(), fit(*logs)) if logs else None

    def _known(self, size: int) -> Deployment | None:
        longest = max(workload.longest_tokens for workload in self._workloads.values())
        return known(self._served(size), gpus=self._target.gpus, longest_tokens=longest)

    def _served(self, size: int) -> Served:
        return Served(
            gpu=self._target.hardware,
            model=self._target.model,
            engine_version=self._version,
            tensor_parallel_size=size,
        )

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            self._note(f"{NOTHING}: {why}")


def _of_version(found: Mapping[int, Taught], version: str) -> dict[int, Kept]:
    """Another version may take other times; what was learnt of it is no place to begin."""
    return {
        size: kept for size, (served, kept) in found.items() if served.engine_version == version
    }


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
