"""Finished runs that are not what an experiment asks for."""

from pathlib import Path

import pytest

from starprompt.config.experiment import Config, Run
from starprompt.grid.jobs import Grid
from starprompt.grid.other_configurations import unlike, unlike_ones
from tests.helpers.whole_runs import write_whole_run

GRID = Config(
    name="grid", title="Grid", datasets=["digits"], methods=["finetune"], seeds=[1993, 1996]
)


@pytest.mark.parametrize(
    ("setting", "value"), [("precision", "bf16"), ("numerics", "portable"), ("validation", 0.1)]
)
def test_settings_are_part_of_a_configuration(tmp_path: Path, setting: str, value: object) -> None:
    run = Run("digits", "finetune", 1996)
    record = write_whole_run(GRID, run, tmp_path / "run")
    assert unlike(Grid(GRID), record) is None
    record.extra[setting] = value
    assert f"settings.{setting}" in str(unlike(Grid(GRID), record))


def test_a_fixed_class_order_is_part_of_a_configuration(tmp_path: Path) -> None:
    runs = [Run("digits", "finetune", seed) for seed in (1993, 1996)]
    folders = [tmp_path / f"seed{run.seed}" for run in runs]
    found = dict(
        zip(
            folders,
            [write_whole_run(GRID, run, f / "run") for run, f in zip(runs, folders, strict=True)],
            strict=True,
        )
    )
    record = found[folders[1]]
    record.extra["order_seed"] = 1993
    assert "settings.order_seed is 1993" in str(unlike(Grid(GRID), record))
    fixed = Grid(GRID.model_copy(update={"order_seed": 1993}))
    assert unlike_ones(fixed, found, set(folders)) == {}
    record.extra["order_seed"] = 7
    assert (
        "settings.order_seed is 7, not 1993" in unlike_ones(fixed, found, set(folders))[folders[1]]
    )


def test_what_an_earlier_version_did_not_know_is_not_held_against_its_runs(tmp_path: Path) -> None:
    record = write_whole_run(GRID, Run("digits", "finetune", 1996), tmp_path / "run")
    values = record.method.hyperparameters
    name = next(iter(values))
    value = values.pop(name)
    assert f"hyperparameters.{name} is None" in str(unlike(Grid(GRID), record))
    assert unlike(Grid(GRID), record, earlier=True) is None
    values[name] = 12345
    assert f"{name} is 12345, not {value!r}" in str(unlike(Grid(GRID), record, earlier=True))


def test_a_method_that_the_experiment_does_not_have_is_named(tmp_path: Path) -> None:
    record = write_whole_run(GRID, Run("digits", "finetune", 1996), tmp_path / "run")
    record.method.name = "elsewhere"
    assert "its method is 'elsewhere'" in str(unlike(Grid(GRID), record))
