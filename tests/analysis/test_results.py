"""What an analysis reads of a run."""

import numpy as np

from paper_figures.analyses import Analyses
from starprompt.analysis.results import RunFiles


def test_what_an_analysis_reads_of_a_run(analyses: Analyses) -> None:
    run = RunFiles(analyses.plan.run_folder("set-0", "starprompt", 1993))
    features, labels = run.features("train")
    assert features.shape == (6 * 30, 6) and features.dtype == np.float64
    assert sorted(set(labels)) == list(range(6))
    none = RunFiles(analyses.plan.run_folder("set-0", "clip-zero-shot", 1993))
    assert len(none.selection) == 0
