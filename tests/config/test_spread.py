"""Folders of the runs that measure spread: the experiment's own where nothing is changed."""

from pathlib import Path

from starprompt.config.experiment import Config, Run
from starprompt.config.spread import crossed_folder, repeated_folder

CONFIG = Config(name="e", title="E", datasets=["d"], methods=["m"], seeds=[1, 2])
CELL = Run("d", "m", 1)


def test_only_what_is_as_the_experiment_has_it_stands_in_its_own_place() -> None:
    own = CONFIG.run_folder(CELL)
    assert repeated_folder(CONFIG, CELL, 0) == crossed_folder(CONFIG, CELL, 1, 0) == own
    others = {
        repeated_folder(CONFIG, CELL, 1),
        crossed_folder(CONFIG, CELL, 1, 1),
        crossed_folder(CONFIG, CELL, 2, 0),
        crossed_folder(CONFIG, CELL, 2, 1),
    }
    assert own not in others and len(others) == 4


def test_folders_of_earlier_versions_are_found() -> None:
    results = Path("r")
    assert repeated_folder(CONFIG, CELL, 2, results) == Path("r/noise/e/d/m/seed1-2")
    assert crossed_folder(CONFIG, CELL, 2, 0, results) == Path("r/variance/e/d/m/order2-seed1-0")
