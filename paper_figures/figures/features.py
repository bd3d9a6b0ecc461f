"""Are generated features like real ones? Both in a plane, of finished runs with replay."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.collect import Results
from paper_figures.style import panels, sentence, shortened
from starprompt.analysis.feature_map import feature_map
from starprompt.analysis.results import RunFiles
from starprompt.record.record import RunRecord
from starprompt.record.run_files import CHECKPOINT, DIAGNOSTICS, RECORD

#: panels of a figure: a method's own features, and those of the run that made its keys
MOST = 2
_MARKERS = "os^DvPX<>*"


@dataclass(frozen=True)
class _Map:
    title: str
    points: pd.DataFrame
    names: list[str]


def features(results: Results, dataset: str) -> Figure:
    """Real (hollow) and generated (filled) features of some classes, a panel a method.

    Shown are the first methods of the plan whose runs keep mixtures and features, under the first
    seed, those that learn task by task before joint ones: STAR-Prompt, and the run of its keys.
    Raises :class:`UserError` for a file that is missing or damaged.
    """
    found = []
    for title, folder, record in _candidates(results, dataset):
        run = RunFiles(folder)
        real, labels = run.features("train")
        if run.mixtures is None or not len(labels):
            continue
        points = feature_map(real, labels, run.mixtures)
        if len(points):
            found.append(_Map(title, points, record.stream.class_names))
        if len(found) == MOST:
            break
    if not found:
        return sentence("No run here keeps mixtures and the features that they were fitted on.")
    figure, axes = panels(len(found), 2, 2.9)
    for axis, one in zip(axes, found, strict=True):
        _draw(axis, one)
    handles = [
        Line2D([], [], linestyle="none", marker="o", markersize=4, color="0.3",
               markerfacecolor=face,
               label=label)
        for face, label in (("none", "real"), ("0.3", "generated"))
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _candidates(results: Results, dataset: str) -> list[tuple[str, Path, RunRecord]]:
    """Runs with mixtures by what their records say: title, folder and record, each method once.

    A method's keys come right after it. Imported runs may lack the files that this needs; a run
    made here that does is damaged.
    """
    titles = {method.name: method.title for method in results.plan.methods}
    found: dict[str, tuple[str, Path, RunRecord]] = {}
    for method in results.plan.methods:
        for seed, record in results.of(dataset, method.name).items():
            if "components" not in record.method.hyperparameters:
                break
            folder = results.plan.run_folder(dataset, method.name, seed)
            imported = (dataset, method.name, seed) in results.origins
            if imported and not _has_files(folder):
                continue
            found.setdefault(method.name, (method.title, folder, record))
            if record.keys is not None:
                keys = folder.parents[1] / record.keys["method"] / folder.name
                if (keys / RECORD).is_file() and (not imported or _has_files(keys)):
                    of_keys = RunFiles(keys).record
                    name = of_keys.method.name
                    found.setdefault(name, (titles.get(name, of_keys.method.title), keys, of_keys))
            break
    # Methods that learn task by task come before those that see all tasks at once.
    return sorted(found.values(), key=lambda run: len(run[2].accuracy) == 1)


def _has_files(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (CHECKPOINT, DIAGNOSTICS))


def _draw(axis: Axes, one: _Map) -> None:
    """A colour and a marker a class, its name above most of its real points."""
    labels = one.points["label"].unique()
    colours = sns.color_palette("colorblind", len(labels))
    for at, (label, colour) in enumerate(zip(labels, colours, strict=True)):
        own = one.points[one.points["label"] == label]
        marker = _MARKERS[at % len(_MARKERS)]
        for generated, face in ((0, "none"), (1, colour)):
            points = own[own["generated"] == generated]
            axis.scatter(
                points["x"], points["y"], s=9, marker=marker, facecolors=face, edgecolors=[colour],
                linewidths=0.6,
            )  # fmt: skip
        real = own[own["generated"] == 0]
        axis.annotate(
            shortened(one.names[int(label)]), (real["x"].median(), real["y"].quantile(0.8)),
            xytext=(0, 4), textcoords="offset points", ha="center", va="bottom", fontsize=6.5,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.7, "linewidth": 0},
        )  # fmt: skip
    axis.margins(0.12)
    axis.set(xticks=[], yticks=[], title=one.title)
    axis.spines[:].set(visible=True, color="0.8")
