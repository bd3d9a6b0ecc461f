"""Tables of runs: what is read of them, and what no run gives."""

from pathlib import Path

import pytest

from paper_figures.measured_runs import read_measured_runs
from starprompt.analysis import noise, variance


def test_columns_have_their_types_and_a_name_like_nan_stays_a_name(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("accuracy,dataset,method,order_seed,seed,perturbation\n50,nan,null,7,1993,0\n")
    table = read_measured_runs(path, variance.RUN_COLUMNS)
    assert tuple(table.columns) == variance.RUN_COLUMNS
    assert table.iloc[0].tolist() == ["nan", "null", 7, 1993, 0, 50.0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,b,1,0,100.5", "between 0 and 100"),
        ("a,b,1,0,nan", "between 0 and 100"),
        ("a,b,1,-1,50", "perturbation is below 0"),
        ("a,b,1,0,50\na,b,1,0,60", "two rows for one run"),
        ("a,b,one,0,50", "one"),
    ],
)
def test_what_no_run_gives_is_refused(rows: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(f"{','.join(noise.RUN_COLUMNS)}\n{rows}\n")
    with pytest.raises(ValueError, match=said):
        read_measured_runs(path, noise.RUN_COLUMNS)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("dataset,method\na,b\n")
    with pytest.raises(KeyError, match="accuracy"):
        read_measured_runs(path, noise.RUN_COLUMNS)
