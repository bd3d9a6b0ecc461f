"""Calls and records behind tables of noise and of variance."""

from pathlib import Path

import pandas as pd
import pytest

from paper_figures.stamps import read_stamp
from starprompt.config.experiment import Run
from starprompt.config.spread import crossed_folder
from starprompt.errors import UserError
from starprompt.reporting import variance
from starprompt.reporting.reproduce import reproduce
from starprompt.reporting.spread import measured_records, measuring_commands
from tests.helpers.noise_tables import CONFIG, FILE, noise, write_experiment
from tests.helpers.whole_runs import write_whole_run


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_experiment()


def test_methods_of_as_many_repeats_share_a_call() -> None:
    noise(("ncm", 0), ("ncm", 1), ("finetune", 0), ("finetune", 1), ("slca", 0), ("slca", 3))
    before = ["data prepare digits", f"embed --config {FILE} --dataset digits"]
    assert measuring_commands(CONFIG, FILE, "noise") == [
        f"starprompt {line}"
        for line in (
            *before,
            f"noise --config {FILE} --repeats 1 --dataset digits --method ncm --method finetune",
            f"noise --config {FILE} --repeats 3 --dataset digits --method slca",
        )
    ]
    Path("results/small/noise-runs.csv").unlink()
    assert measuring_commands(CONFIG, FILE, "noise")[-1] == f"starprompt noise --config {FILE}"


def test_a_table_of_variances_says_it_in_every_form() -> None:
    rows = [
        ("digits", "finetune", order, seed, number, 50.0)
        for order in (7, 1993) for seed in (1993, 1996) for number in (0, 1)
    ]  # fmt: skip
    columns = ["dataset", "method", "order_seed", "seed", "perturbation", "accuracy"]
    runs = pd.DataFrame(rows, columns=columns)
    cell = Run("digits", "finetune", 1993)
    write_whole_run(CONFIG, cell, crossed_folder(CONFIG, cell, 7, 1))
    written = variance.make_variance(CONFIG, runs)
    found = measured_records(CONFIG, "variance")
    assert list(found) == ["results/variance/small/digits/finetune/order7-seed1993-1"]
    for path in written:
        assert read_stamp(path).runs == 1
        assert reproduce(path)[-1] == (
            f"starprompt variance --config {FILE} --repeats 2 --order 7 --order 1993 "
            "--method finetune"
        )


@pytest.mark.parametrize(
    "text", ["", "method\nncm\n", "dataset,method,seed,perturbation\na,b,x,0\n"]
)
def test_a_damaged_table_of_runs_is_named(text: str) -> None:
    Path("results/small/noise-runs.csv").write_text(text)
    with pytest.raises(UserError, match=r"noise-runs\.csv is not a table of runs"):
        measured_records(CONFIG, "noise")
