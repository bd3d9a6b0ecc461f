"""How many Gaussians does a class need, and how like real features are those they generate?"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.analyses import SPACES, Analyses
from paper_figures.style import MAX_NAMED, panels

_COLOURS = dict(zip(SPACES, sns.color_palette("colorblind", 2), strict=True))
_MARKERS = {"clip": "s", "vit": "o"}


def number_of_gaussians(analyses: Analyses, dataset: str) -> Figure:
    """Against M: accuracy of the method, likelihood, BIC, and for how many classes it is best."""
    frame, runs = analyses.table("mixtures", dataset), analyses.table("runs", dataset)
    figure, axes = panels(4, 2, 2.3)
    _accuracy(axes[0], runs[runs["components"].notna()])
    for space, title in SPACES.items():
        own = frame[frame["space"] == space]
        if own.empty:
            continue
        look = {"color": _COLOURS[space], "marker": _MARKERS[space]}
        over_one = _over_one(own)
        axes[1].plot(*_mean(over_one, "held_out"), label=f"{title}, held out", **look)
        axes[1].plot(*_mean(over_one, "log_likelihood"), linestyle="--", label="fitted", **look)
        axes[2].plot(*_mean(over_one, "bic"), label=title, **look)
        shares = 100 * own[own["best"]]["components"].value_counts(normalize=True)
        tried = sorted(frame["components"].unique())
        side = -0.2 if space == "clip" else 0.2
        axes[3].bar(
            np.arange(len(tried)) + side,
            [shares.get(m, 0) for m in tried],
            0.38,
            color=_COLOURS[space],
            label=title,
        )
        axes[3].set_xticks(range(len(tried)), [str(m) for m in tried])
    for axis in axes[:3]:
        axis.set_xscale("log")
        tried = sorted(frame["components"].unique())
        axis.set_xticks(tried, [str(m) for m in tried])
        axis.minorticks_off()
        axis.grid(axis="y", linewidth=0.4, color="0.9")
    axes[0].set_ylabel("Final average accuracy [%]")
    axes[1].set_ylabel("Log-likelihood, nats a sample,\nover that of one Gaussian")
    axes[2].set_ylabel("BIC a sample, over that of\none Gaussian (low is good)")
    axes[3].set_ylabel("Classes for which BIC\nchooses M [%]")
    for axis in axes:
        axis.set_xlabel("M, Gaussians a class")
    axes[1].legend(frameon=False, fontsize=6, handlelength=4)
    axes[2].legend(frameon=False, fontsize=6)
    return figure


def _accuracy(axis: Axes, runs: pd.DataFrame) -> None:
    """Mean over seeds with the sample deviation, and the seeds themselves."""
    by_m = runs.groupby("components")["final_average_accuracy"].agg(["mean", "std"])
    axis.errorbar(
        by_m.index, by_m["mean"], by_m["std"].fillna(0), color="black", marker="o", capsize=2
    )
    axis.scatter(runs["components"], runs["final_average_accuracy"], s=6, color="0.6", zorder=3)


def _over_one(own: pd.DataFrame) -> pd.DataFrame:
    """Measures of each class minus those of its single Gaussian; BIC a sample."""
    own = own.assign(bic=own["bic"] / own["samples"])
    one = own[own["components"] == 1].set_index(["seed", "label"])
    index = pd.MultiIndex.from_frame(own[["seed", "label"]])
    measures = ["log_likelihood", "held_out", "bic"]
    return own.assign(**{m: own[m].to_numpy() - one.loc[index, m].to_numpy() for m in measures})


def _mean(frame: pd.DataFrame, measure: str) -> tuple[np.ndarray, np.ndarray]:
    mean = frame.groupby("components")[measure].mean()
    return mean.index.to_numpy(), mean.to_numpy()


def replay_quality(analyses: Analyses, dataset: str) -> Figure:
    """Of each class, generated (filled) and real (hollow) features against real ones: Fréchet
    distance, density, coverage. Above in the ViT's space, below in CLIP's."""
    frame = analyses.table("replay-quality", dataset)
    mixtures = analyses.table("mixtures", dataset)
    rows = [
        (space, str(mixtures[mixtures["space"] == space]["method"].iloc[0]))
        for space in ("vit", "clip")
        if (mixtures["space"] == space).any()
    ]
    rows = [(space, method) for space, method in rows if (frame["method"] == method).any()]
    figure, axes = panels(3 * len(rows), 3, 2.3)
    titles = {"frechet": "Fréchet distance", "density": "Density", "coverage": "Coverage"}
    for row, (space, method) in enumerate(rows):
        own = frame[frame["method"] == method]
        by_class = own.groupby("class").mean(numeric_only=True)
        names = own.drop_duplicates("class").set_index("class")["class_name"]
        for column, (measure, title) in enumerate(titles.items()):
            axis = axes[3 * row + column]
            at = range(len(by_class))
            axis.scatter(at, by_class[measure], s=14, color=_COLOURS[space], label="generated")
            axis.scatter(
                at,
                by_class[f"{measure}_real"],
                s=14,
                facecolors="none",
                edgecolors="0.3",
                label="real",
            )
            axis.set_title(f"{title}\n{SPACES[space]}")
            highest = np.nanmax(by_class[[measure, f"{measure}_real"]].to_numpy(), initial=0.0)
            axis.set_ylim(0, 1.05 if measure == "coverage" else 1.05 * highest or None)
            axis.grid(axis="y", linewidth=0.4, color="0.9")
            axis.set_axisbelow(True)
            if len(by_class) <= MAX_NAMED:
                axis.set_xticks(at, [names[c] for c in by_class.index], rotation=90, fontsize=5.5)
            else:
                axis.set(xticks=[], xlabel="Class")
    if axes:
        axes[0].legend(frameon=False, fontsize=6)
    return figure
