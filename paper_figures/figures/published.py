"""Published numbers of each method against ours, on one data set."""

from matplotlib.figure import Figure

from paper_figures.collect import Results
from paper_figures.style import MAX_NARROW, WIDTH, panels, sentence
from paper_figures.tables.published import published_frame

#: marker and colour by the kind of source
_LOOKS = {
    "authors": ("D", "#0072B2"),
    "paper": ("s", "#0072B2"),
    "paper as cited": ("s", "#56B4E9"),
    "reference value": ("^", "#009E73"),
    "rerun of the authors' code": ("v", "#E69F00"),
    "re-implementation": ("P", "#CC79A7"),
    "rerun": ("X", "#D55E00"),
    "secondary": (".", "0.5"),
}


def published(results: Results, dataset: str) -> Figure:
    """One line a method: a bar over the published range, a marker a source, ours as a ring."""
    frame = published_frame(results)
    frame = frame[frame["dataset"] == dataset]
    if frame.empty:
        return sentence("No published number is known for these methods here.")
    titles = {m.name: m.title for m in results.plan.methods}
    names = list(dict.fromkeys(frame["method"]))
    figure, (axis,) = panels(1, 1, 1.0 + 0.28 * len(names))
    if len(names) > MAX_NARROW:
        figure.set_figwidth(WIDTH)
    said: set[str] = set()
    for at, name in enumerate(names):
        own = frame[frame["method"] == name]
        low, high = own["published"].min(), own["published"].max()
        axis.plot(
            [low, high], [at, at], color="0.85", linewidth=5, solid_capstyle="round", zorder=1
        )
        for kind, of_kind in own.groupby("kind", sort=False):
            marker, colour = _LOOKS[str(kind)]
            label = None if kind in said else str(kind)
            said.add(str(kind))
            axis.scatter(
                of_kind["published"], [at] * len(of_kind), marker=marker, color=colour, s=18,
                label=label, zorder=2, linewidths=0,
            )  # fmt: skip
        ours, deviation = own["ours"].iloc[0], own["ours_deviation"].iloc[0]
        if ours == ours:  # a number
            axis.errorbar(
                ours, at, xerr=None if deviation != deviation else deviation, fmt="o",
                color="black", markerfacecolor="none", capsize=2, zorder=3,
                label=None if "ours" in said else "ours ± deviation",
            )  # fmt: skip
            said.add("ours")
    axis.set_yticks(range(len(names)), [titles[name] for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlabel("Final average accuracy [%]")
    axis.grid(axis="x", linewidth=0.4, color="0.9")
    figure.legend(
        loc="outside lower center", ncols=4 if len(names) > MAX_NARROW else 2, frameon=False
    )
    return figure
