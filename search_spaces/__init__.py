"""What may vary: the engine's knobs, their ranges, and the rules that tie them together."""

from search_spaces.deployment import Deployment, Gpu, Model
from search_spaces.space import (
    Choice,
    Config,
    Domain,
    Float,
    Int,
    Knob,
    Rule,
    SearchSpace,
    Suggester,
    Value,
)

__all__ = [
    "Choice",
    "Config",
    "Deployment",
    "Domain",
    "Float",
    "Gpu",
    "Int",
    "Knob",
    "Model",
    "Rule",
    "SearchSpace",
    "Suggester",
    "Value",
]
