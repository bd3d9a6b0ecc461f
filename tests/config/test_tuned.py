"""A method's file holds what its search found."""

from pathlib import Path

import pandas as pd
import pytest

from starprompt.config import tuned
from starprompt.config.methods import load_method
from tests.helpers.paths import REPOSITORY

ROOT = REPOSITORY


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "tuning").glob("*/*.json")))
def test_a_methods_file_holds_what_its_kept_search_found(path: Path) -> None:
    found = tuned.kept_search(path.parent.name, path.stem, ROOT / "config" / "tuning")
    assert found is not None
    values = load_method(path.stem).resolve(path.parent.name)
    assert {name: values[name] for name in found.best} == found.best
    trials = pd.read_csv(path.with_suffix(".csv"))
    assert len(trials) == found.budget
    assert trials["validation_accuracy"].max() == found.best_accuracy
