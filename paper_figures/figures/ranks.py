"""Average ranks with the critical difference, and performance profiles."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.plan import Plan
from paper_figures.style import MAX_BANDS, MAX_NARROW, WIDTH, legend, method_looks, panels, sentence


def critical_difference_diagram(plan: Plan, ranks: pd.DataFrame) -> Figure:
    """Demšar's diagram: methods along their average rank; a bar joins those within the critical
    difference. ranks as ``ranks.csv`` has them, best first."""
    if len(ranks) < 2:
        return sentence("Ranks need two methods with a run for every data set and seed.")
    titles = {m.name: m.title for m in plan.methods}
    places = ranks["rank"].to_numpy()
    groups = groups_within(places, float(ranks["critical_difference"].iloc[0]))
    half = math.ceil(len(ranks) / 2)
    figure, (axis,) = panels(1, 1, 1.0 + 0.16 * half + 0.1 * len(groups))
    figure.set_figwidth(WIDTH)
    first = math.floor(places.min())
    last = max(math.ceil(places.max()), first + 1)  # all may have one rank
    depth = 0.5 + 0.35 * len(groups)
    for at, (place, name) in enumerate(zip(places, ranks["method"], strict=True)):
        left = at < half
        level = depth + 0.6 * (at if left else len(ranks) - 1 - at)
        edge = first - 0.05 * (last - first) if left else last + 0.05 * (last - first)
        axis.plot([place, place, edge], [0, level, level], color="0.3", linewidth=0.7)
        text = f"{titles[str(name)]} ({place:.2f})"
        axis.text(edge, level, f" {text} ", ha="right" if left else "left", va="center", fontsize=7)
    for at, (low, high) in enumerate(groups):
        y = 0.35 + 0.35 * at
        axis.plot([low - 0.02, high + 0.02], [y, y], color="#0072B2", linewidth=3)
    _rank_axis(axis, first, last, float(ranks["critical_difference"].iloc[0]))
    axis.set_ylim(depth + 0.6 * half, -1.4)
    return figure


def _rank_axis(axis: Axes, first: int, last: int, difference: float) -> None:
    axis.plot([first, last], [0, 0], color="black", linewidth=1)
    step = max(1, (last - first) // 10)
    for tick in range(first, last + 1, step):
        axis.plot([tick, tick], [0, -0.15], color="black", linewidth=1)
        axis.text(tick, -0.3, str(tick), ha="center", va="bottom", fontsize=7)
    axis.text(
        (first + last) / 2, -0.95, f"Average rank; critical difference {difference:.2f}",
        ha="center", va="bottom", fontsize=7,
    )  # fmt: skip
    width = last - first
    axis.set_xlim(first - 0.9 * width, last + 0.9 * width)
    axis.set_axis_off()


def groups_within(places: list[float], difference: float) -> list[tuple[float, float]]:
    """The longest runs of sorted ranks that lie within the difference, none inside another."""
    found: list[tuple[float, float]] = []
    ordered = sorted(places)
    for start, low in enumerate(ordered):
        high = max(place for place in ordered[start:] if place - low < difference)
        if high > low and not any(low >= a and high <= b for a, b in found):
            found.append((low, high))
    return found


def performance_profiles(plan: Plan, profiles: pd.DataFrame) -> Figure:
    """Share of (data set, seed) whose accuracy is at least a threshold.

    With its interval, up to MAX_BANDS methods.
    """
    if profiles.empty:
        return sentence("Profiles need a method with a run for every data set and seed.")
    looks = method_looks(plan)
    drawn = [m for m in plan.methods if m.name in set(profiles["method"])]
    figure, (axis,) = panels(1, 1, 2.2 + 0.06 * len(drawn))
    if len(drawn) > MAX_NARROW:
        figure.set_figwidth(WIDTH)
    for at, method in enumerate(drawn):
        own = profiles[profiles["method"] == method.name]
        look = looks[method.name]
        axis.step(own["threshold"], own["share"], where="post", **{**look, "marker": ""})
        axis.plot(*_on_line(own, 0.15 + 0.1 * (at % 8)), **{**look, "linestyle": "none"})
        if len(drawn) <= MAX_BANDS:
            axis.fill_between(
                own["threshold"], own["low"], own["high"], step="post", color=look["color"],
                alpha=0.12, linewidth=0,
            )  # fmt: skip
    axis.set(xlabel="Final average accuracy τ [%]", ylabel="Runs with at least τ", ylim=(0, 1.02))
    axis.grid(axis="y", linewidth=0.4, color="0.9")
    legend(figure, drawn, looks)
    return figure


def _on_line(profile: pd.DataFrame, height: float) -> tuple[float, float]:
    """Where a profile falls through a height, else its end: a marker there tells lines apart in
    grey print too."""
    fallen = profile["threshold"][profile["share"] < height]
    if fallen.empty:
        return float(profile["threshold"].iloc[-1]), float(profile["share"].iloc[-1])
    return float(fallen.iloc[0]), height
