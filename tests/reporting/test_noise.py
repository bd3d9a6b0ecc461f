"""The tables of noise say what they were made from."""

from pathlib import Path

import pytest

from paper_figures.stamps import read_stamp
from starprompt.config.experiment import Run
from starprompt.config.spread import repeated_folder
from starprompt.reporting.noise import stamp_noise
from starprompt.reporting.reproduce import reproduce
from tests.helpers.noise_tables import CONFIG, noise, write_experiment
from tests.helpers.whole_runs import write_whole_run


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_experiment()


def test_a_table_of_noise_names_its_records_perturbed_ones_too() -> None:
    noise(("finetune", 0), ("finetune", 1))
    for number in (0, 1):
        cell = Run("digits", "finetune", 1993)
        write_whole_run(CONFIG, cell, repeated_folder(CONFIG, cell, number), 0.8 - 0.1 * number)
    for path in stamp_noise(CONFIG):
        stamp = read_stamp(path)
        assert (stamp.command, stamp.experiment, stamp.runs) == ("noise", "small", 2)
        text = "\n".join(reproduce(path))
        assert "the records that are here are those that it was made from" in text
    (repeated_folder(CONFIG, cell, 1) / "record.json").unlink()
    assert "are not those that it was made from" in "\n".join(reproduce(path))
