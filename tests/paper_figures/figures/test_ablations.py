"""Figures of the ablations."""

from pathlib import Path

import numpy as np
from matplotlib.image import imread

from paper_figures.analyses import Analyses
from paper_figures.figures import ablations as ablation_figures
from paper_figures.tables import ablations as ablation_tables
from paper_figures.tables.forms import to_markdown
from tests.helpers import fake_ablations


def test_all_figures_are_drawn(analyses: Analyses, tmp_path: Path) -> None:
    written = ablation_figures.write_ablation_figures(analyses, tmp_path)
    kinds, joint = len(ablation_figures.KINDS), len(ablation_figures.JOINT_KINDS)
    assert len(written) == 2 * (2 * kinds + joint)
    for path in written:
        if path.suffix == ".png":
            assert np.ptp(imread(path)) > 0.5, path.name  # not blank


def test_figures_of_a_single_seed_and_of_many_classes_are_drawn(tmp_path: Path) -> None:
    many = fake_ablations.fake_analyses(tmp_path, n_classes=60, n_tasks=10, seeds=1)
    assert ablation_figures.write_ablation_figures(many, tmp_path / "figures")
    assert "–" in to_markdown(ablation_tables.ablation_table(many))
