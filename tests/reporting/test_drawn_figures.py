"""Which figures a page embeds: those that show the runs of now."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from paper_figures.collect import collect
from paper_figures.provenance import records_digest
from paper_figures.stamps import Stamp, metadata, stamping
from starprompt.config.experiment import load_config
from starprompt.errors import UserError
from starprompt.reporting.drawn_figures import drawn, records_here
from tests.helpers.fake_results import fake_plan, write_fake_runs

NOW, BEFORE = "a" * 64, "b" * 64


def figure(path: Path, records: str) -> Path:
    """A figure that says that it was made from records of this digest."""
    with stamping(Stamp("figures", "demo", "c" * 64, records, 3, "unknown", "0.1.0")):
        plt.figure().savefig(path, metadata=metadata("png"))
    plt.close("all")
    return path


def test_figures_of_other_records_are_left_out_and_named(tmp_path: Path) -> None:
    new = figure(tmp_path / "curves.png", NOW)
    figure(tmp_path / "forgetting.png", BEFORE)
    plt.figure().savefig(tmp_path / "older.png")
    found = drawn(tmp_path, {NOW})
    assert found.figures == (new,)
    assert found.others == ("forgetting.png", "older.png")
    (sentence,) = found.sentences("compare")
    assert "forgetting.png, older.png" in sentence
    assert "`starprompt compare`" in sentence
    assert drawn(tmp_path, {NOW}, "curves*").sentences("compare") == []


@pytest.mark.parametrize("name", ["curves.png", "curves.pdf"])
def test_a_folder_of_a_figures_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"{name} should be a figure"):
        drawn(tmp_path, {NOW})


def test_records_of_now_are_those_of_methods_and_ablations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [fake_plan(tmp_path / name, methods=2, datasets=1, seeds=1) for name in "ab"]
    for plan in plans:
        write_fake_runs(plan)
    found, analysed = map(collect, plans)
    monkeypatch.setattr("starprompt.reporting.ablations.analysed_runs", lambda _: analysed)
    with_ablations = load_config(Path("config/demo.yaml"))
    assert with_ablations.ablations
    assert records_here(with_ablations, found) == {
        records_digest(found),
        records_digest(analysed),
    }
    without = with_ablations.model_copy(update={"ablations": []})
    assert records_here(without, found) == {records_digest(found)}
