"""Hyperparameters chosen without the test split.

A grid file names a data set, a seed that no table uses, and values to try for each method. Every
combination is trained on a stream whose "test" images are a part of the training split, so that
the real test images are never opened.
"""

from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from starprompt.config import RESULTS, Config, Run, load_method
from starprompt.errors import DivergedError, UserError, invalid_file, unknown_name
from starprompt.files import atomic_path, digest_of, read_yaml


class Grid(BaseModel):
    """What is tried: `config/tuning/NAME.yaml`."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    seed: int = Field(description="class order and start; not one of the tables' seeds")
    validation: float = Field(gt=0, lt=1, description="share of each class's training images")
    methods: dict[str, dict[str, list[Any]]] = Field(
        description="for each method, values to try by hyperparameter"
    )


def load_grid(path: Path) -> Grid:
    """Read and check a grid file; raises :class:`UserError` naming file, key and what is wrong."""
    try:
        return Grid.model_validate(read_yaml(path))
    except ValidationError as error:
        raise invalid_file(path, error) from error


def combinations(values: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values to try, in a fixed order."""
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def tune(config: Config, grid: Grid, method: str) -> Path:
    """Try a method's whole grid; keep the table, best first, and return its path.

    Keys of a first stage are trained on the same validation stream, with that method's own
    hyperparameters. Finished combinations are not run again.
    """
    import pandas as pd

    from starprompt.experiment import run

    if method not in grid.methods:
        raise unknown_name("method in the grid", method, grid.methods)
    if grid.seed in config.seeds:
        raise UserError(
            f"The grid's seed {grid.seed} is one of the seeds of {config.name}; tune on another."
        )
    root = RESULTS / "tuning" / grid.dataset
    cell = Run(grid.dataset, method, grid.seed)
    keys_folder, keys = None, load_method(method).keys
    if keys is not None:
        keys_folder = root / keys / digest_of(load_method(keys).resolve(grid.dataset))[:8]
        run(config, cell._replace(method=keys), folder=keys_folder, validation=grid.validation)
    rows = []
    for chosen in combinations(grid.methods[method]):
        row: dict[str, Any] = {**chosen, "validation_accuracy": None, "seconds": None}
        with suppress(DivergedError):  # such values stay in the table, without an accuracy
            record = run(
                config,
                cell,
                folder=root / method / digest_of(chosen)[:8],
                keys_folder=keys_folder,
                hyperparameters=chosen,
                validation=grid.validation,
            )
            row["validation_accuracy"] = round(record.metrics.final_average_accuracy, 3)
            row["seconds"] = round(sum(t.train + t.end for t in record.times), 1)
        rows.append(row)
    table = pd.DataFrame(rows).sort_values("validation_accuracy", ascending=False, kind="stable")
    out = root / f"{method}.csv"
    with atomic_path(out) as part:
        table.to_csv(part, index=False)
    return out
