"""Residual against prefix in full, CLIP's space across domains, failure modes."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from paper_figures.analyses import INJECTIONS, Analyses
from paper_figures.style import WIDTH, panels
from starprompt.config.thresholds import strength, worst_of


def injections(analyses: Analyses, dataset: str) -> Figure:
    """Accuracy, seconds, operations and parameters of each injection; accuracy and loss by
    epoch while a task is learned, mean over tasks and seeds."""
    runs, epochs = analyses.table("runs", dataset), analyses.table("convergence", dataset)
    methods = analyses.present(list(INJECTIONS), runs)
    colours = dict(zip(INJECTIONS, sns.color_palette("colorblind", len(INJECTIONS)), strict=True))
    dashes = dict(zip(INJECTIONS, ("solid", "dashed", "dotted"), strict=True))
    figure, axes = panels(6, 3, 2.1)
    measures = [
        ("final_average_accuracy", "Final average accuracy [%]", 1.0),
        ("train_seconds_a_task", "Training [s a task]", 1.0),
        ("train_operations", "Training [MFLOP an image]", 1e-6),
        ("trained_parameters", "Trained parameters [thousand]", 1e-3),
    ]
    for axis, (measure, title, factor) in zip(axes, measures, strict=False):
        for at, method in enumerate(methods):
            values = factor * runs[runs["method"] == method][measure].to_numpy()
            axis.bar(at, values.mean(), 0.6, color=colours[method], alpha=0.6)
            axis.scatter(np.full(len(values), at), values, s=8, color="black", zorder=3)
        axis.set_xticks(range(len(methods)), [INJECTIONS[m].replace(", ", ",\n") for m in methods])
        axis.tick_params(axis="x", labelsize=6)
        axis.set_title(title)
    for axis, measure, title in [
        (axes[4], "accuracy", "Accuracy while learning [%]"),
        (axes[5], "loss", "Loss while learning"),
    ]:
        for method in methods:
            own = epochs[epochs["method"] == method].groupby("epoch")[measure].mean()
            look = {"color": colours[method], "linestyle": dashes[method]}
            axis.plot(own.index, own, label=INJECTIONS[method], **look)
        axis.set(title=title, xlabel="Epoch of a task")
    axes[5].set_yscale("log")
    axes[5].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes[5].yaxis.set_minor_formatter(lambda value, _: "")
    axes[4].legend(frameon=False, fontsize=6)
    return figure


def clip_space(analyses: Analyses) -> Figure:
    """Zero-shot accuracy of each task against CLIP's geometry there, all data sets in one."""
    frame = analyses.table("clip-space")
    if "zero_shot_accuracy" not in frame:  # the experiment has no zero-shot method
        frame = frame.assign(zero_shot_accuracy=float("nan"))
    figure, axes = panels(2, 2, 2.8)
    colours = sns.color_palette("colorblind", len(analyses.plan.datasets))
    markers = "os^DvPX<>*"
    measures = [
        ("ratio", "Between-class over within-class distance"),
        ("margin", "Margin between the two best keys"),
    ]
    for axis, (measure, label) in zip(axes, measures, strict=True):
        for i, dataset in enumerate(analyses.plan.datasets):
            own = frame[frame["dataset"] == dataset.name]
            look = {"color": colours[i], "marker": markers[i % len(markers)]}
            axis.scatter(
                own[measure],
                own["zero_shot_accuracy"],
                s=16,
                alpha=0.8,
                linewidths=0,
                label=dataset.title,
                **look,
            )
        known = frame[[measure, "zero_shot_accuracy"]].dropna()
        if len(known) > 2 and (known.nunique() > 1).all():
            rank = spearmanr(known[measure], known["zero_shot_accuracy"]).statistic
            axis.set_title(f"Spearman's ρ = {rank:.2f} ({len(known)} tasks)".replace("-", "\u2212"))
        axis.set(xlabel=label, ylabel="Zero-shot accuracy of the task [%]")
    axes[0].legend(frameon=False, fontsize=6)
    return figure


def failure_modes(analyses: Analyses, dataset: str) -> Figure:
    """Worst value of every failure mode (star and colour: over its threshold), and how strong
    prompts are in each layer, by method."""
    frame, layers = analyses.table("signatures", dataset), analyses.table("layers", dataset)
    methods = analyses.present([m.name for m in analyses.plan.methods], frame)
    figure, axes = panels(2, 2, 0.2 * len(methods) + 1.2)
    figure.set_figwidth(WIDTH)
    headings = [analyses.method(name).heading for name in methods]
    _failure_mode_map(axes[0], frame, methods, headings)
    _layer_map(axes[1], layers, methods)
    return figure


def _failure_mode_map(
    axis: Axes, frame: pd.DataFrame, methods: list[str], headings: list[str]
) -> None:
    names = list(dict.fromkeys(frame["signature"]))
    worst = pd.DataFrame(
        {
            name: [worst_of(name, own[own["method"] == method]["value"]) for method in methods]
            for name in names
            for own in [frame[frame["signature"] == name]]
        },
        index=methods,
    )
    thresholds = frame.drop_duplicates("signature").set_index("signature")["threshold"]
    strengths = pd.DataFrame(
        {
            name: [strength(name, value, thresholds[name]) for value in worst[name]]
            for name in names
        },
        index=methods,
    )
    sns.heatmap(
        strengths.clip(upper=2.0),
        norm=TwoSlopeNorm(1.0, 0.0, 2.0),
        cmap="RdBu_r",
        # a star as well as a colour: grey print has no red
        annot=worst.map("{:.2f}".format) + (strengths >= 1).replace({True: "*", False: ""}),
        fmt="",
        annot_kws={"fontsize": 5.5},
        cbar=False,
        linewidths=0.4,
        linecolor="white",
        yticklabels=headings,
        xticklabels=[name.replace("_", " ") for name in names],
        ax=axis,
    )
    axis.tick_params(length=0, labelsize=6)
    axis.tick_params(axis="x", rotation=60)
    axis.set(xlabel="", ylabel="", title="Worst value; *, red: failure mode shown")


def _layer_map(axis: Axes, layers: pd.DataFrame, methods: list[str]) -> None:
    last = layers[layers["task"] == layers["task"].max()]
    table = last.pivot_table(index="method", columns="layer", values="ratio").reindex(methods)
    few = len(table.columns) <= 12
    sns.heatmap(
        table.to_numpy(dtype=float),
        cmap="Blues",
        vmin=0,
        annot=few,
        fmt=".1f",
        annot_kws={"fontsize": 5.5},
        cbar=False,
        linewidths=0.4,
        linecolor="white",
        yticklabels=False,
        xticklabels=[str(layer + 1) for layer in table.columns],
        ax=axis,
    )
    axis.tick_params(length=0, labelsize=6)
    axis.tick_params(axis="x", rotation=0)
    axis.set(
        xlabel="Layer", ylabel="", title="Prompt over attention output,\nnorms after the last task"
    )
