"""Where the spread of an accuracy comes from, as a table and in sentences; none is typed."""

import math

import pandas as pd
from scipy import stats

from paper_figures.plan import Plan
from paper_figures.tables.table import MINUS, Table, number

#: headings of the components, in the order of :data:`starprompt.analysis.variance.SOURCES`
HEADINGS = {
    "order": "Class order",
    "seed": "Training",
    "both": "Both together",
    "rounding": "Rounding",
}
#: the same in a sentence
WORDS = {
    "order": "from the class order",
    "seed": "from training",
    "both": "from what a class order does under one training seed and not under another",
    "rounding": "from rounding",
}
#: pairs of runs that the sentences speak of, as the paper has them
PAIRS = 3


def variance_table(plan: Plan, frame: pd.DataFrame) -> Table:
    """Standard deviation by source, and its share of the variance; ``variance.csv``."""
    datasets = {d.name: d.title for d in plan.datasets}
    rows = []
    for row in frame.to_dict("records"):
        total = sum(row[source] for source in HEADINGS)
        rows.append(
            {
                "Method": _named(plan, row["method"], row["less"]),
                **({"Data set": datasets[row["dataset"]]} if len(datasets) > 1 else {}),
                "Mean [%]": number(row["mean"], 2),
                "A run": number(math.sqrt(total), 2),
                **{heading: _part(row[source], total) for source, heading in HEADINGS.items()},
            }
        )
    first = frame.iloc[0]
    differences = frame["less"].ne("")
    return Table(
        "variance",
        f"Standard deviation by source [points]. {plan.title}.",
        pd.DataFrame(rows),
        frame,
        [
            f"Final average accuracy of {int(first['orders'])} class orders times "
            f"{int(first['seeds'])} training seeds times {int(first['repeats'])} roundings; in "
            "parentheses the share of the variance. Variance components with random effects, by "
            "the analysis of variance (method of moments), none below 0.",
            "Training: initial weights, order of images, augmentation and replayed features. Both "
            "together: what a class order does under one training seed and not under another. "
            "Rounding: frozen numbers moved by one unit in the last place.",
            "From so few orders and seeds a component is known to a factor of several: read which "
            "sources are large, not by how much.",
        ],
        rules=frozenset({int(differences.argmax())}) if differences.any() else frozenset(),
    )


def _part(variance: float, total: float) -> str:
    share = f" ({number(100 * variance / total, 0)}%)" if total else ""
    return f"{number(math.sqrt(variance), 2)}{share}"


def _named(plan: Plan, method: str, less: str) -> str:
    titles = {m.name: m.title for m in plan.methods}
    return f"{titles[method]} {MINUS} {titles[less]}" if less else titles[method]


def variance_sentences(plan: Plan, frame: pd.DataFrame) -> list[str]:
    """What the components mean for comparing methods, one sentence or two a comparison."""
    titles = {m.name: m.title for m in plan.methods}
    factor = float(stats.t.ppf(0.975, PAIRS - 1)) / math.sqrt(PAIRS)
    by_name = frame[frame["less"] == ""].set_index(["dataset", "method"])
    said = []
    for row in frame[frame["less"] != ""].to_dict("records"):
        apart = math.hypot(
            *(by_name.loc[(row["dataset"], row[side]), "total"] for side in ("method", "less"))
        )
        source = max(HEADINGS, key=lambda name: row[name])
        share = row[source] / row["total"] ** 2 if row["total"] else 0.0
        pairing = "below" if row["total"] < apart else "not below"
        said.append(
            f"{titles[row['method']]} minus {titles[row['less']]}, run by run: "
            f"{number(row['mean'], 2, sign=True)} points with a standard deviation of "
            f"{number(row['total'], 2)}, {pairing} the {number(apart, 2)} of runs that share "
            f"neither class order nor seed; {number(100 * share, 0)}% of its variance comes "
            f"{WORDS[source]}. The mean of {PAIRS} such pairs is known to "
            f"± {number(factor * row['total'], 2)} points (95%), and rounding alone gives it a "
            f"deviation of {number(math.sqrt(row['rounding'] / PAIRS), 2)}."
        )
    return said
