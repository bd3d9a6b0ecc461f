"""Published numbers beside ours: every source, the difference, and whether chance explains it."""

import math
from string import ascii_lowercase

import pandas as pd

from paper_figures.collect import Results
from paper_figures.plan import Published
from paper_figures.tables.table import NOTHING, Place, Table, number, with_deviation

#: combined deviations within which two numbers count as one
WITHIN = 2.0
NONE_PUBLISHED = (
    "No published number is known for a method and data set of this experiment, under any protocol."
)


def published_frame(results: Results) -> pd.DataFrame:
    """One row a published number whose method and data set the experiment has.

    dataset, method, metric, source, place, kind, protocol; published and deviation; ours, its
    sample deviation and number of seeds (NaN, 0 where no run has finished); difference (ours minus
    published); combined (the root of the sum of both squared deviations, of one where the other is
    not known); within: whether the difference is at most two of those, None where none is known.
    """
    rows = []
    for one in shown(results):
        own = results.runs[
            (results.runs["dataset"] == one.dataset) & (results.runs["method"] == one.method)
        ][one.metric].dropna()
        ours = float(own.mean()) if len(own) else math.nan
        deviation = float(own.std()) if len(own) > 1 else math.nan
        known = [d for d in (deviation, one.deviation) if d is not None and not math.isnan(d)]
        combined = math.hypot(*known) if known else math.nan
        difference = ours - one.value
        judged = not (math.isnan(combined) or math.isnan(difference))
        rows.append(
            {
                "dataset": one.dataset,
                "method": one.method,
                "metric": one.metric,
                "published": one.value,
                "published_deviation": math.nan if one.deviation is None else one.deviation,
                "ours": ours,
                "ours_deviation": deviation,
                "seeds": len(own),
                "difference": difference,
                "combined": combined,
                "within": abs(difference) <= WITHIN * combined if judged else None,
                "kind": one.kind,
                "source": one.source,
                "place": one.place,
                "protocol": one.protocol,
            }
        )
    columns = ["dataset", "method", "metric", "published", "ours", "difference", "within"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


def shown(results: Results) -> list[Published]:
    """The published numbers whose method and data set the experiment has, in the table's order."""
    plan = results.plan
    datasets = [dataset.name for dataset in plan.datasets]
    methods = [method.name for method in plan.blocks()]
    known = [p for p in plan.published if p.dataset in datasets and p.method in methods]
    return sorted(known, key=lambda p: (datasets.index(p.dataset), methods.index(p.method)))


def published_table(results: Results) -> Table:
    """One row a source; the rows of a method on a data set stand together under its range."""
    plan, frame = results.plan, published_frame(results)
    caption = f"Published numbers and ours [%]. {plan.title}."
    headings = ["Data set", "Method", "Ours", "Published", "Range", "Difference", "Within 2 s"]
    if frame.empty:
        empty = pd.DataFrame(columns=headings, dtype=str)
        return Table("published", caption, empty, frame, [NONE_PUBLISHED])
    titles = {d.name: d.title for d in plan.datasets}
    names = {m.name: m.title for m in plan.methods}
    rows: list[dict[str, str]] = []
    rules: set[int] = set()
    marks: dict[Place, str] = {}
    letters: dict[str, str] = {}
    for (dataset, method), own in frame.groupby(["dataset", "method"], sort=False):
        rules.add(len(rows))
        low, high = own["published"].min(), own["published"].max()
        for at, one in enumerate(own.itertuples()):
            said = f"{one.kind}: {one.source}, {one.place}".rstrip(", ")
            said += f" ({one.protocol})" if one.protocol else ""
            marks[len(rows), 3] = letters.setdefault(said, _letter(len(letters)))
            rows.append(
                {
                    "Data set": titles[str(dataset)] if at == 0 else "",
                    "Method": names[str(method)] if at == 0 else "",
                    "Ours": _ours(one) if at == 0 else "",
                    "Published": with_deviation(one.published, one.published_deviation, 2),
                    "Range": _range(low, high) if at == 0 else "",
                    "Difference": number(one.difference, 2, sign=True),
                    "Within 2 s": NOTHING if one.within is None else "yes" if one.within else "no",
                }
            )
    notes = [
        "Difference: ours minus published. Within 2 s: at most two combined sample deviations, "
        "the root of the sum of both squares; where the source gives none, ours alone.",
        "Protocols differ: backbone, tasks, epochs, votes over batches. Read the source's note.",
        *(f"{letter}) {said}" for said, letter in letters.items()),
    ]
    return Table(
        "published", caption, pd.DataFrame(rows), frame, notes, marks=marks,
        rules=frozenset(rules - {0}),
    )  # fmt: skip


def _ours(row: object) -> str:
    if row.seeds == 0:  # type: ignore[attr-defined]
        return NOTHING
    text = with_deviation(row.ours, row.ours_deviation, 2)  # type: ignore[attr-defined]
    return f"{text} (n = {row.seeds})"  # type: ignore[attr-defined]


def _range(low: float, high: float) -> str:
    return number(low, 2) if low == high else f"{number(low, 2)} to {number(high, 2)}"


def _letter(index: int) -> str:
    """a ... z, then aa ... zz."""
    first, second = divmod(index, 26)
    return (ascii_lowercase[first - 1] if first else "") + ascii_lowercase[second]
