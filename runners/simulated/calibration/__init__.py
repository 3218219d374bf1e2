"""The simulated engine brought to what a real one was seen to do, and how far it is then right."""

from runners.simulated.calibration.belief import (
    Calibration,
    another_day,
    of_another_kind,
    prior,
    prior_of_fit,
)
from runners.simulated.calibration.fitted import FittedSteps, fit
from runners.simulated.calibration.interval import Interval, claims, draws, intervals
from runners.simulated.calibration.parameters import Parameters, calibrated
from runners.simulated.calibration.probes import Probe, learn, predict
from runners.simulated.calibration.step_rows import rows_of
from runners.simulated.calibration.steps_learnt import learn_from_steps
from runners.simulated.calibration.store import Kept, Served, latest, load, parsed, save, text_of

__all__ = [
    "Calibration",
    "FittedSteps",
    "Interval",
    "Kept",
    "Parameters",
    "Probe",
    "Served",
    "another_day",
    "calibrated",
    "claims",
    "draws",
    "fit",
    "intervals",
    "latest",
    "learn",
    "learn_from_steps",
    "load",
    "of_another_kind",
    "parsed",
    "predict",
    "prior",
    "prior_of_fit",
    "rows_of",
    "save",
    "text_of",
]
