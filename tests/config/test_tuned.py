"""A kept search began with the values of the method's file, and makes a variant of it."""

from pathlib import Path

import pandas as pd
import pytest

from starprompt.config import tuned
from starprompt.config.methods import check_hyperparameters, load_method
from tests.helpers.paths import REPOSITORY

ROOT = REPOSITORY


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "tuning").glob("*/*.json")))
def test_a_kept_search_began_with_what_the_methods_file_holds(path: Path) -> None:
    """The first trial has the method's own values, and METHOD-searched has the best one's."""
    dataset = path.parent.name
    found = tuned.kept_search(dataset, path.stem, ROOT / "config" / "tuning")
    assert found is not None
    spec, trials = load_method(path.stem), pd.read_csv(path.with_suffix(".csv"))
    first = trials[trials["trial"] == 0].iloc[0]
    assert {name: first[name] for name in found.best} == {
        name: spec.resolve(dataset)[name] for name in found.best
    }
    searched = load_method(f"{path.stem}-searched")
    assert searched.resolve(dataset) == spec.resolve(dataset) | found.best
    assert check_hyperparameters(searched, dataset)
    assert len(trials) == found.budget == 8
    # pandas 2.2 rounds the last digit of what it reads
    best = trials["validation_accuracy"].max()
    assert best == pytest.approx(found.best_accuracy, rel=1e-15)
