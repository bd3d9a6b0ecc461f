"""Every figure of the ablations and analyses, by the name of its file."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from paper_figures.analyses import Analyses
from paper_figures.figures.costs import clip_space, failure_modes, injections
from paper_figures.figures.keys import confusion_by_task, kinds_of_keys
from paper_figures.figures.mixtures import number_of_gaussians, replay_quality
from paper_figures.style import paper_style, save

#: A figure a data set each; the file is ``<kind>-<dataset>``.
KINDS: dict[str, Callable[[Analyses, str], Figure]] = {
    "keys": kinds_of_keys,
    "confusion-by-task": confusion_by_task,
    "mixtures": number_of_gaussians,
    "injection": injections,
    "signatures": failure_modes,
    "replay": replay_quality,
}
#: One figure of all data sets.
JOINT_KINDS: dict[str, Callable[[Analyses], Figure]] = {"clip-space": clip_space}


def write_ablation_figures(analyses: Analyses, folder: Path) -> list[Path]:
    """Draw every kind, PDF and PNG each; return their paths."""
    written = []
    with paper_style():
        for kind, draw in JOINT_KINDS.items():
            written += save(draw(analyses), folder, kind)
        for dataset in analyses.plan.datasets:
            for kind, draw_one in KINDS.items():
                written += save(draw_one(analyses, dataset.name), folder, f"{kind}-{dataset.name}")
    return written
