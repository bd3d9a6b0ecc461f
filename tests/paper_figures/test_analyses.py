"""Analyses agree with the records that they were made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paper_figures.analyses import MISSING, Analyses
from paper_figures.stamps import Stamp, stamping, write_side_files
from starprompt.errors import UserError
from starprompt.record.record import read_record
from tests.helpers.fake_ablations import METHODS, PROMPTING


def test_analyses_agree_with_the_records(analyses: Analyses) -> None:
    frame = analyses.table("ablation", "set-0").set_index("method")
    finals = {
        method: [
            read_record(
                analyses.plan.run_folder("set-0", method, seed) / "record.json"
            ).metrics.final_average_accuracy
            for seed in analyses.plan.seeds
        ]
        for method in METHODS[:-1]
    }
    for method in METHODS[:-1]:
        assert frame.loc[method, "mean"] == pytest.approx(np.mean(finals[method]))
        difference = np.subtract(finals[method], finals["starprompt"]).mean()
        assert frame.loc[method, "difference"] == pytest.approx(difference, abs=1e-6)


def test_only_methods_that_choose_have_selections(analyses: Analyses) -> None:
    assert set(analyses.table("selection")["method"]) == set(PROMPTING)
    assert set(analyses.table("signatures")["method"]) == set(PROMPTING)


def test_keys_that_turn_are_told_from_those_that_stay(analyses: Analyses) -> None:
    drift = analyses.table("key-drift").groupby("method")["drift"].max()
    assert drift["starprompt-learned-keys"] > 0.05
    assert drift["starprompt"] == pytest.approx(0, abs=1e-6)


def test_components_are_those_of_variants_that_differ_in_nothing_else(analyses: Analyses) -> None:
    runs = analyses.table("runs", "set-0")
    known = runs.dropna(subset="components").groupby("method")["components"].first()
    assert known.to_dict() == {"starprompt": 5, "starprompt-gaussian": 1}


def test_clip_space_is_that_of_the_first_stage(analyses: Analyses) -> None:
    frame = analyses.table("clip-space", "set-0")
    assert len(frame) == 3 * 3  # tasks, seeds
    assert frame["zero_shot_accuracy"].notna().all()
    assert (frame["margin"] > 0.1).all()


def test_replay_of_the_true_mixtures_is_nearly_as_good_as_real_features(
    analyses: Analyses,
) -> None:
    quality = analyses.table("replay-quality")
    assert quality["coverage"].mean() == pytest.approx(quality["coverage_real"].mean(), abs=0.1)
    assert quality["frechet"].mean() == pytest.approx(quality["frechet_real"].mean(), rel=0.3)
    classifier = analyses.table("replay-classifier")
    assert (classifier["real"] - classifier["generated"]).abs().max() < 5


def test_analyses_that_are_not_there_are_named(analyses: Analyses) -> None:
    elsewhere = Analyses(analyses.plan, "starprompt", Path("nowhere"))
    with pytest.raises(UserError, match=r"runs.csv is missing.*starprompt analyse"):
        elsewhere.table("runs")


@pytest.fixture
def written(analyses: Analyses, tmp_path: Path) -> Analyses:
    """Two tables of one data set, with the digests that stand beside them."""
    folder = tmp_path / "set-0"
    folder.mkdir()
    for name in ("runs", MISSING):
        frame = pd.DataFrame({"method": ["finetune"], "seed": [1], "why": ["no run"]})
        frame.to_csv(folder / f"{name}.csv", index=False)
    with stamping(Stamp("analyse", "made-up", "0" * 64, "1" * 64, 1, "unknown", "1.0")):
        write_side_files(sorted(folder.glob("*.csv")))
    plan = replace(analyses.plan, datasets=analyses.plan.datasets[:1])
    return Analyses(plan, "starprompt", tmp_path)


def test_a_table_that_was_changed_is_refused(written: Analyses) -> None:
    assert len(written.table("runs")) == 1
    path = written.folder / "set-0" / "runs.csv"
    path.write_text(path.read_text().replace(",1,", ",2,"))
    with pytest.raises(UserError, match=r"runs.csv .*changed after.*`starprompt analyse`"):
        written.table("runs")


def test_a_digest_beside_a_table_that_was_changed_is_refused(written: Analyses) -> None:
    side = written.folder / "set-0" / "runs.csv.json"
    side.write_text(side.read_text().replace("unknown", "1234567"))
    with pytest.raises(UserError, match=r"runs.csv .*changed after"):
        written.table("runs")


@pytest.mark.parametrize("damage", ["folder", "nested", "device"])
def test_what_stands_beside_a_table_is_refused_in_a_sentence(
    written: Analyses, damage: str
) -> None:
    side = written.folder / "set-0" / "runs.csv.json"
    side.unlink()
    if damage == "folder":
        side.mkdir()
    elif damage == "nested":
        side.write_text("[" * 100_000)
    else:
        side.symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"runs.csv is missing or is not a table .*damaged"):
        written.table("runs")


def test_a_table_of_an_earlier_version_has_no_digest_and_is_read(written: Analyses) -> None:
    (written.folder / "set-0" / "runs.csv.json").unlink()
    assert len(written.table("runs")) == 1


def test_a_list_of_missing_runs_that_was_removed_is_missed(written: Analyses) -> None:
    assert len(written.missing()) == 1
    path = written.folder / "set-0" / f"{MISSING}.csv"
    path.unlink()
    with pytest.raises(UserError, match=f"{MISSING}.csv is missing"):
        written.missing()
    path.with_name(f"{MISSING}.csv.json").unlink()
    assert len(written.missing()) == 0
