"""Analyses agree with the records that they were made of."""

from pathlib import Path

import numpy as np
import pytest

from paper_figures.analyses import Analyses
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
    with pytest.raises(UserError, match=r"runs.csv is not there.*starprompt analyse"):
        elsewhere.table("runs")
