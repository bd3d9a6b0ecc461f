"""Failure signatures of prompting with replay: what is watched, and from where on it is a failure.

A leaf: configuration, runner and analyses all speak of the same few numbers. How they are
measured stands in ``starprompt/analysis/failure_modes.py``.
"""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

Values = Mapping[str, float]


class Thresholds(BaseModel):
    """From where on a run shows a signature; all are shares or ratios without a unit.

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


#: signatures that are shown by low values; all others by high ones
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


def is_shown(name: str, value: float, thresholds: Thresholds) -> bool:
    """Whether ``value`` of the signature ``name`` has reached its threshold."""
    threshold = getattr(thresholds, name)
    return value <= threshold if name in LOW else value >= threshold


def worst(by_task: Sequence[Values]) -> dict[str, tuple[int, float]]:
    """By signature, the task (from 0) after which it was worst and its value there."""
    found: dict[str, tuple[int, float]] = {}
    for task, values in enumerate(by_task):
        for name, value in values.items():
            sign = -1 if name in LOW else 1
            if name not in found or sign * value > sign * found[name][1]:
                found[name] = (task, value)
    return found


def shown(by_task: Sequence[Values], thresholds: Thresholds) -> list[str]:
    """One sentence for each signature that a run shows, at its worst task."""
    return [
        f"after task {task + 1} {sentence(name, value, thresholds)}"
        for name, (task, value) in worst(by_task).items()
        if is_shown(name, value, thresholds)
    ]


def sentence(name: str, value: float, thresholds: Thresholds) -> str:
    """What a value of the signature ``name`` says, with its threshold."""
    said = SENTENCES[name].format(value=value)
    return f"{said} ({name}, threshold {getattr(thresholds, name):g})"
