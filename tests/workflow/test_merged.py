"""Runs that were merged from another machine count as finished for the workflow."""

from pathlib import Path

import pytest

from starprompt.config.experiment import Config
from starprompt.grid.records import every_run, export, merge
from tests.helpers.whole_runs import write_whole_grid
from tests.helpers.workflows import CONFIG, copy_of_repository, planned, snakemake


def test_a_merged_grid_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of_repository(tmp_path / "copy")
    call = ["--configfile", "config/small.yaml"]
    embedding = "data/embeddings/digits/tiny.safetensors"
    made = snakemake(folder, embedding, *call)
    assert made.returncode == 0, made.stdout
    monkeypatch.chdir(folder)
    config = Config(**CONFIG)
    write_whole_grid(config, every_run(config), tmp_path / "other")
    with monkeypatch.context() as there:
        there.chdir(tmp_path / "other")
        (tmp_path / "other/config").symlink_to(folder / "config")
        export(config, tmp_path / "all.zip", checkpoints=True)
    before = planned(snakemake(folder, "-n", *call).stdout)
    assert before["train"] == 6, "the test proves nothing"
    new, _ = merge(config, tmp_path / "all.zip", "other-machine")
    assert len(new) == 6
    after = planned(snakemake(folder, "-n", *call).stdout)
    assert after == {"all": 1, "tables": 1, "figures": 1}
