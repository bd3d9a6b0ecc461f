"""The tables of noise: what they were made from, and what stays of earlier calls."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from paper_figures.stamps import read_stamp
from starprompt.analysis.noise import RUN_COLUMNS
from starprompt.config.experiment import Config, Run
from starprompt.config.spread import noise_runs_file, repeated_folder
from starprompt.errors import UserError
from starprompt.record.record import RunRecord
from starprompt.record.run_files import RECORD
from starprompt.reporting.noise import refuse_damaged_noise, write_noise
from starprompt.reporting.reproduce import reproduce
from tests.helpers.noise_tables import CONFIG, write_experiment
from tests.helpers.whole_runs import write_whole_run

RUNS = noise_runs_file(CONFIG.name)
SIDE = RUNS.with_name(f"{RUNS.name}.json")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_experiment()


def made_again(method: str, number: int, skill: float, seed: int = 1993) -> RunRecord:
    """A finished run in the place of the one that may be there."""
    cell = Run("digits", method, seed)
    folder = repeated_folder(CONFIG, cell, number)
    shutil.rmtree(folder, ignore_errors=True)
    return write_whole_run(CONFIG, cell, folder, skill)


def measured(method: str, repeats: int = 1, skill: float = 0.8) -> pd.DataFrame:
    """Finished runs of a method, and the rows of them that ``measure_noise`` returns."""
    rows = []
    for seed in CONFIG.seeds:
        for number in range(repeats + 1):
            record = made_again(method, number, skill - 0.1 * number, seed)
            accuracy = record.metrics.final_average_accuracy
            rows.append(("digits", method, seed, number, accuracy))
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def test_a_table_of_noise_names_its_records_perturbed_ones_too() -> None:
    _, written = write_noise(CONFIG, measured("finetune"))
    for path in written:
        stamp = read_stamp(path)
        assert (stamp.command, stamp.experiment, stamp.runs) == ("noise", "small", 2)
        text = "\n".join(reproduce(path))
        assert "the records that are here are those that it was made from" in text
    cell = Run("digits", "finetune", 1993)
    (repeated_folder(CONFIG, cell, 1) / RECORD).unlink()
    assert "are not those that it was made from" in "\n".join(reproduce(path))


def test_a_second_call_goes_on_from_the_first() -> None:
    write_noise(CONFIG, measured("finetune", repeats=1))
    refuse_damaged_noise(CONFIG)
    table, _ = write_noise(CONFIG, measured("finetune", repeats=2))
    assert table["repeats"].tolist() == [3]
    table, written = write_noise(CONFIG, measured("ncm"))
    assert dict(zip(table["method"], table["repeats"], strict=True)) == {"finetune": 3, "ncm": 2}
    pd.testing.assert_frame_equal(pd.read_csv(written[1]), table)


def test_rows_of_other_values_of_a_method_are_not_pooled_with_it() -> None:
    write_noise(CONFIG, measured("finetune", repeats=3))
    fewer = measured("finetune", repeats=1, skill=0.5)
    table, _ = write_noise(CONFIG, fewer)
    assert table["repeats"].tolist() == [2]
    assert table["mean"].item() == pytest.approx(fewer["accuracy"].mean())


def test_rows_stay_only_while_the_experiment_has_these_runs() -> None:
    write_noise(CONFIG, measured("finetune"))
    made_again("finetune", 0, 0.3)
    table, _ = write_noise(CONFIG, measured("ncm"))
    assert table["method"].tolist() == ["ncm"]
    other = Config(**{**CONFIG.model_dump(), "seeds": [7]})
    table, _ = write_noise(other, measured("finetune"))
    assert table["method"].tolist() == ["finetune"]


def test_perturbed_runs_of_other_values_are_left_out() -> None:
    write_noise(CONFIG, measured("finetune"))
    made_again("finetune", 1, 0.2)
    table, _ = write_noise(CONFIG, measured("ncm"))
    assert table["method"].tolist() == ["ncm"]


def test_perturbed_runs_may_be_removed() -> None:
    write_noise(CONFIG, measured("finetune"))
    (repeated_folder(CONFIG, Run("digits", "finetune", 1993), 1) / RECORD).unlink()
    table, _ = write_noise(CONFIG, measured("ncm"))
    assert table["method"].tolist() == ["finetune", "ncm"]


@pytest.mark.parametrize(
    "row",
    [
        "digits,finetune,1993,0,abc",
        "digits,finetune,xx,0,3.0",
        "digits,finetune,1993,0,500",
        "digits,finetune,1993,0,",
        "digits,finetune,1993,-1,50",
        "digits,finetune,1993,0,50\ndigits,finetune,1993,0,51",
        "digits,finetune,1993",
    ],
)
def test_a_damaged_table_is_refused_before_anything_trains(row: str) -> None:
    RUNS.write_text(f"{','.join(RUN_COLUMNS)}\n{row}\n")
    with pytest.raises(UserError, match=r"noise-runs\.csv is not a table of runs"):
        refuse_damaged_noise(CONFIG)


def test_a_changed_table_may_be_removed() -> None:
    write_noise(CONFIG, measured("finetune"))
    RUNS.write_text(RUNS.read_text().replace("digits", "digitz"))
    with pytest.raises(UserError, match=r"was changed after .* remove it and run"):
        refuse_damaged_noise(CONFIG)
    RUNS.unlink()
    refuse_damaged_noise(CONFIG)
    write_noise(CONFIG, measured("ncm"))
    refuse_damaged_noise(CONFIG)


def test_a_call_that_is_ended_between_two_files_leaves_none_that_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_noise(CONFIG, measured("finetune"))

    def ended(paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("paper_figures.stamps.write_side_files", ended)
    with pytest.raises(KeyboardInterrupt):
        write_noise(CONFIG, measured("finetune", repeats=2))
    assert not SIDE.exists()
    refuse_damaged_noise(CONFIG)
