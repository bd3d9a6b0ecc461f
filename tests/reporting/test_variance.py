"""The tables of variances from crossed runs: forms, page, and a second call."""

from pathlib import Path

import pandas as pd
import pytest

from starprompt.analysis.variance import RUN_COLUMNS
from starprompt.config.experiment import Config
from starprompt.errors import UserError
from starprompt.reporting.spread import read_runs
from starprompt.reporting.variance import PAGE, make_variance

CONFIG = Config(
    name="small", title="A | title", datasets=["digits"], methods=["finetune", "ncm"], seeds=[1]
)


def crossed(repeats: int = 2) -> pd.DataFrame:
    """Two methods whose runs differ by class order, and by 1 under each perturbation."""
    rows = [
        ("digits", method, order, seed, number, 50.0 + 4 * order + number + (method == "ncm"))
        for method in ("finetune", "ncm")
        for order in (1, 2)
        for seed in (1, 2)
        for number in range(repeats)
    ]
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def test_the_page_holds_table_and_sentences_and_escapes_the_title(tmp_path: Path) -> None:
    runs, table, *forms, page = make_variance(CONFIG, crossed(), tmp_path)
    assert (runs.name, table.name) == ("variance-runs.csv", "variance.csv")
    assert page == tmp_path / "small" / PAGE
    assert {path.parent for path in forms} == {tmp_path / "small" / "tables"}
    text = page.read_text()
    assert text.startswith("# A \\| title\n")
    assert "2.83 (94%)" in text  # the root of 8, of 8.5
    assert "\n- Fine-tuning" in text, "a sentence a comparison"


def test_more_repeats_take_the_place_of_fewer(tmp_path: Path) -> None:
    make_variance(CONFIG, crossed(2), tmp_path)
    make_variance(CONFIG, crossed(3), tmp_path)
    found = read_runs("small", "variance", tmp_path)
    assert found is not None
    pd.testing.assert_frame_equal(found, crossed(3))


def test_a_table_of_runs_that_was_changed_is_refused(tmp_path: Path) -> None:
    path, *_ = make_variance(CONFIG, crossed(), tmp_path)
    path.write_text(path.read_text().replace("54", "55"))
    with pytest.raises(UserError, match=r"changed after variance-runs.csv.json was written"):
        read_runs("small", "variance", tmp_path)
    path.unlink()
    make_variance(CONFIG, crossed(), tmp_path)
    assert read_runs("small", "variance", tmp_path) is not None
