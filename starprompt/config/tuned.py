"""Searches whose outcome the methods' files hold: ``config/tuning/DATASET/METHOD.json``.

The trials stand beside each as a table. Notes of tables and the docs are written from these files.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from starprompt.errors import invalid_file
from starprompt.shipped.find import find

#: searches whose outcome the methods' files hold: DATASET/METHOD.json and the trials' .csv
KEPT = Path("config/tuning")


class Searched(BaseModel):
    """What was searched, on what, and what came of it; accuracies in percent."""

    model_config = ConfigDict(extra="forbid")

    budget: int = Field(description="trials, the method's own configuration being the first")
    tasks: int = Field(description="of the stream, the first so many, that a trial learned")
    validation: float = Field(description="share of their training images that judged a trial")
    seed: int = Field(description="class order and start of every trial")
    ranges: dict[str, dict[str, Any]] = Field(description="where it looked, by hyperparameter")
    own_accuracy: float | None = Field(description="of the first trial; None where it diverged")
    best_accuracy: float
    best: dict[str, Any]


def kept_search(dataset: str, method: str, folder: Path | None = None) -> Searched | None:
    """The search that a method's values on ``dataset`` are from, if one is kept.

    Raises :class:`UserError` for a damaged file.
    """
    path = find((folder or KEPT) / dataset / f"{method}.json")
    if not path.exists():
        return None
    try:
        return Searched.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise invalid_file(path, error) from error
