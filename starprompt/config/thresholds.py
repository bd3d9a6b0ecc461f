"""Failure modes of prompting with replay: what is watched, and from where on it is a failure.

The one judge of thresholds: configuration, runner, analyses, tables and figures ask here. How each
failure mode is measured stands in ``starprompt/analysis/failure_modes.py``. Files and columns on
disk call a failure mode ``signature``.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

Values = Mapping[str, float]


class Thresholds(BaseModel):
    """From where on a run shows a failure mode; all are shares or ratios without a unit.

    The defaults are conventions, not laws: each marks where what is measured is about as bad as
    having no prompt choice, no backbone or no memory would be.
    """

    model_config = ConfigDict(extra="forbid")

    selection_confusion: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="share of old tasks' images that choose a newer task's prompt: at or above",
    )
    residual_saturation: float = Field(
        default=2.0,
        gt=0,
        description="what a prompt adds to the attention's output over that output's own norm, "
        "in the worst layer: at or above",
    )
    variance_collapse: float = Field(
        default=0.5,
        ge=0,
        description="total variance of generated over that of real features: at or below",
    )
    rank_collapse: float = Field(
        default=0.5,
        ge=0,
        description="effective dimensions of generated over those of real features: at or below",
    )
    far_from_real: float = Field(
        default=2.0,
        gt=0,
        description="distance of a generated feature to the nearest real one over that of a real "
        "feature to the nearest other one: at or above",
    )
    replay_gap: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="accuracy on held-out features that a linear classifier loses by learning "
        "from generated instead of real ones: at or above",
    )


#: failure modes that low values show; high values show all others
LOW = ("variance_collapse", "rank_collapse")
SENTENCES = {
    "selection_confusion": "{value:.0%} of the old tasks' images choose a newer task's prompt",
    "residual_saturation": "prompts add {value:.2f} times the attention's own output in a layer",
    "variance_collapse": "generated features have {value:.0%} of the real ones' variance",
    "rank_collapse": "generated features have {value:.0%} of the real ones' effective dimensions",
    "far_from_real": "generated features lie {value:.2f} times as far from real ones as those do "
    "from each other",
    "replay_gap": "a linear classifier loses {value:.0%} by learning from generated features",
}


def sign(name: str) -> str:
    """How a value that shows the failure mode ``name`` compares with its threshold."""
    return "≤" if name in LOW else "≥"


def is_shown(name: str, value: float, thresholds: Thresholds) -> bool:
    """Whether ``value`` of the failure mode ``name`` has reached its threshold."""
    threshold = getattr(thresholds, name)
    return value <= threshold if name in LOW else value >= threshold


def strength(name: str, value: float, threshold: float) -> float:
    """How far ``value`` has gone towards its threshold: 1 at it, more beyond; both at least 0."""
    over, under = (threshold, value) if name in LOW else (value, threshold)
    if under == 0:
        return math.inf if over > 0 else 1.0
    return over / under


def worst_of(name: str, values: Iterable[float]) -> float:
    """The worst of some values of the failure mode ``name``; NaN where there is none."""
    known = [float(value) for value in values if not math.isnan(value)]
    if not known:
        return math.nan
    return min(known) if name in LOW else max(known)


def worst(by_task: Sequence[Values]) -> dict[str, tuple[int, float]]:
    """By failure mode, the task (from 0) after which it was worst and its value there."""
    found: dict[str, tuple[int, float]] = {}
    for name in dict.fromkeys(name for values in by_task for name in values):
        known = {task: values[name] for task, values in enumerate(by_task) if name in values}
        value = worst_of(name, known.values())
        if not math.isnan(value):
            found[name] = (next(task for task, one in known.items() if one == value), value)
    return found


def shown(by_task: Sequence[Values], thresholds: Thresholds) -> list[str]:
    """One sentence for each failure mode that a run shows, at its worst task."""
    return [
        f"after task {task + 1} {sentence(name, value, thresholds)}"
        for name, (task, value) in worst(by_task).items()
        if is_shown(name, value, thresholds)
    ]


def sentence(name: str, value: float, thresholds: Thresholds) -> str:
    """What a value of the failure mode ``name`` says, with its threshold."""
    said = SENTENCES[name].format(value=value)
    return f"{said} ({name}, threshold {getattr(thresholds, name):g})"
