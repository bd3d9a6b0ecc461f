"""Kept searches for hyperparameters: ``config/tuning/DATASET/METHOD.json``.

The trials stand beside each as a table. A method's file keeps the values that the search began
with; the best ones make a variant of it, METHOD-searched, whose runs are its own. Notes of tables
and the docs are written from these files.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from starprompt.errors import invalid_file
from starprompt.shipped.find import find, shipped_root

#: kept searches: DATASET/METHOD.json and the trials' .csv
KEPT = Path("config/tuning")
#: what a method's name ends with where its values are those that a search found
SUFFIX = "-searched"


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
    """The search of a method's values on ``dataset``, if one is kept.

    Raises :class:`UserError` for a damaged file.
    """
    path = find((folder or KEPT) / dataset / f"{method}.json")
    if not path.exists():
        return None
    try:
        return Searched.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise invalid_file(path, error) from error


def kept_searches(method: str) -> dict[str, Path]:
    """The files of a method's kept searches, of working folder and package, by data set."""
    folders = {one.name for top in (shipped_root() / KEPT, KEPT) for one in top.glob("*/")}
    files = {dataset: find(KEPT / dataset / f"{method}.json") for dataset in sorted(folders)}
    return {dataset: file for dataset, file in files.items() if file.is_file()}
