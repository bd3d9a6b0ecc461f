"""The paper's tables: mean ± sample deviation over seeds, from all runs that have finished.

Continual methods come first, then what learns nothing, then bounds; each block in the plan's order.
The best of a column is bold and the second best underlined, the other blocks left out. A cell
without a finished run holds a dash and a footnote that says why; one over fewer seeds says so.
Definitions and what each method is stand in an appendix of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_lowercase

import pandas as pd

from paper_figures.collect import Results
from paper_figures.plan import DatasetColumn, MethodRow, Plan
from paper_figures.stamps import stamped
from paper_figures.tables.escape import escape_latex, escape_markdown, latex_letters
from paper_figures.tables.forms import write_table
from paper_figures.tables.published import published_table
from paper_figures.tables.runs import write_runs
from paper_figures.tables.table import NOTHING, Place, Table, number, ranked
from starprompt.files import write_text

AVERAGE = "average"
APPENDIX = "appendix"


@dataclass(frozen=True)
class Metric:
    """A column: its name in the frame, its heading, how it is written, which end is good.

    best      "max", "min" or None for a column without a winner
    truth     a column of 0 and 1
    constant  depends on no seed: a deviation is shown only if there is one
    factor    what the cell shows is the frame's number times this
    """

    name: str
    heading: str
    digits: int
    best: str | None
    definition: str
    truth: bool = False
    constant: bool = False
    factor: float = 1.0


ACCURACIES = (
    Metric(
        "final_average_accuracy",
        "Last [%]",
        2,
        "max",
        "Last, final average accuracy: mean over tasks of the accuracy after the last task, "
        "over all classes, no task identity given.",
    ),
    Metric(
        "final_weighted_accuracy",
        "Weighted [%]",
        2,
        "max",
        "Weighted: final accuracy over all test images instead of over tasks.",
    ),
    Metric(
        "average_incremental_accuracy",
        "Avg [%]",
        2,
        "max",
        "Avg, average incremental accuracy: mean, over the times after each task, of the "
        "average accuracy on the tasks seen by then.",
    ),
    Metric(
        "forgetting",
        "Forgetting [%]",
        2,
        "min",
        "Forgetting: mean over all tasks but the last of the best earlier accuracy minus the "
        "final one; lower is better.",
    ),
    Metric(
        "backward_transfer",
        "BWT [%]",
        2,
        "max",
        "BWT, backward transfer: mean over all tasks but the last of the final accuracy minus "
        "the accuracy just after the task.",
    ),
)
COSTS = (
    Metric(
        "trained_parameters",
        "Trained",
        0,
        None,
        "Trained: parameters that training changes.",
        constant=True,
    ),
    Metric(
        "stored_parameters",
        "Stored",
        0,
        None,
        "Stored: numbers kept beside them for later tasks (statistics, generators, copies).",
        constant=True,
    ),
    Metric(
        "stored_samples",
        "Samples",
        0,
        None,
        "Samples: images of past tasks that are kept.",
        constant=True,
    ),
    Metric(
        "test_operations",
        "GFLOPs",
        3,
        None,
        "GFLOPs: billions of floating-point operations to predict one test image, all encoders "
        "included.",
        constant=True,
        factor=1e-9,
    ),
    Metric("uses_clip", "CLIP", 0, None, "CLIP: whether CLIP is used.", truth=True, constant=True),
    Metric(
        "training_seconds",
        "Training [s]",
        1,
        None,
        "Training: seconds over all tasks, evaluation left out. A method whose keys are trained in "
        "a run of their own counts neither that run's parameters nor its seconds.",
    ),
    Metric(
        "peak_memory_mb",
        "Peak memory [MB]",
        0,
        None,
        "Peak memory: of the GPU where one was used, else of the process.",
    ),
)
FINAL_ACCURACY = ACCURACIES[0]
ROUNDING = Metric(
    "rounding_std",
    "Rounding [%]",
    2,
    None,
    "Rounding: standard deviation of Final within a seed when the frozen parts change by one unit "
    "in the last place.",
)


@dataclass(frozen=True)
class Column:
    """One column of a table before its cells are text.

    values   by method name: mean, std (NaN for one seed), n
    missing  by method name, why runs are missing; nothing for a method without a gap
    remarks  by method name, what a footnote says of the runs that are there
    """

    name: str
    heading: str
    metric: Metric
    values: pd.DataFrame
    missing: dict[str, str]
    remarks: dict[str, str] = field(default_factory=dict)


def over_seeds(values: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean, sample deviation (n - 1) and number of seeds of ``metric``, by method."""
    return values.groupby("method")[metric].agg(mean="mean", std="std", n="count")


def accuracy_table(results: Results) -> Table:
    """Final average accuracy: one row a method, one column a data set, and their average.

    Data sets of one domain stand together under its name. The average's deviation is that of the
    seeds' averages over data sets, not the average of the columns' deviations; seeds that lack a
    data set are left out.
    """
    runs, plan, metric = results.runs, results.plan, FINAL_ACCURACY
    datasets = _by_domain(plan.datasets)
    columns = [
        Column(
            d.name,
            d.title,
            metric,
            over_seeds(runs[runs["dataset"] == d.name], metric.name),
            _gaps(results, [d.name]),
            results.remarks([d.name]),
        )
        for d in datasets
    ]
    spans = [("", 1), *_spans(datasets)]
    if len(datasets) > 1:
        by_seed = runs.groupby(["method", "seed"], as_index=False)[metric.name].agg(
            ["mean", "count"]
        )
        whole = by_seed[by_seed["count"] == len(datasets)].rename(columns={"mean": metric.name})
        everywhere = [d.name for d in datasets]
        gaps, said = _gaps(results, everywhere), results.remarks(everywhere)
        values = over_seeds(whole, metric.name)
        columns.append(Column(AVERAGE, "Average", metric, values, gaps, said))
        spans.append(("", 1))
    caption = f"Last, the final average accuracy [%]. {plan.title}."
    return _table(results, "accuracy", caption, columns, spans if any(t for t, _ in spans) else [])


def metrics_table(results: Results, dataset: str) -> Table:
    """Every accuracy metric on one data set, and what rounding does to it: one row a method."""
    caption = "Accuracy and forgetting"
    return _dataset_table(
        results, dataset, "metrics", caption, ACCURACIES, _rounding(results, dataset)
    )


def _rounding(results: Results, dataset: str) -> list[Column]:
    """The column of what rounding does, where that was measured."""
    noise = results.noise[results.noise["dataset"] == dataset].set_index("method")
    if noise.empty:
        return []
    other = noise["other_runs"].astype(bool)
    own = noise[~other]
    values = pd.DataFrame({"mean": own["rounding_std"], "std": float("nan"), "n": own["repeats"]})
    gaps = dict.fromkeys(noise.index[other], "measured on other runs than these")
    return [Column(ROUNDING.name, ROUNDING.heading, ROUNDING, values, gaps)]


def cost_table(results: Results, dataset: str) -> Table:
    """What the methods cost on one data set. Apart from the rest: no two machines agree on it."""
    return _dataset_table(results, dataset, "cost", "Cost", COSTS)


def _dataset_table(
    results: Results,
    dataset: str,
    kind: str,
    caption: str,
    metrics: Sequence[Metric],
    more: Sequence[Column] = (),
) -> Table:
    runs = results.runs[results.runs["dataset"] == dataset]
    title = next(d.title for d in results.plan.datasets if d.name == dataset)
    gaps, said = _gaps(results, [dataset]), results.remarks([dataset])
    columns = [Column(m.name, m.heading, m, over_seeds(runs, m.name), gaps, said) for m in metrics]
    caption = f"{caption} on {title}. {results.plan.title}."
    return _table(results, f"{kind}-{dataset}", caption, [*columns, *more])


def _by_domain(datasets: Sequence[DatasetColumn]) -> list[DatasetColumn]:
    """Data sets of a domain together, domains in the order in which they first appear."""
    order = list(dict.fromkeys(d.domain for d in datasets))
    return sorted(datasets, key=lambda d: order.index(d.domain))


def _spans(datasets: Sequence[DatasetColumn]) -> list[tuple[str, int]]:
    domains = [d.domain for d in datasets]
    return [(domain, domains.count(domain)) for domain in dict.fromkeys(domains)]


def _gaps(results: Results, datasets: Sequence[str]) -> dict[str, str]:
    """By method that lacks runs on some of these data sets, why."""
    found: dict[str, dict[str, None]] = {}
    for (dataset, method, _), why in results.missing.items():
        if dataset in datasets:
            found.setdefault(method, {})[why] = None
    return {method: " or ".join(reasons) for method, reasons in found.items()}


def _table(
    results: Results,
    name: str,
    caption: str,
    columns: Sequence[Column],
    spans: Sequence[tuple[str, int]] = (),
) -> Table:
    """Columns as cells, with what stands out, why cells are empty, and the CSV's numbers."""
    methods = results.plan.blocks()
    seeds = len(results.plan.seeds)
    cells = pd.DataFrame({"Method": [m.heading for m in methods]})
    best: set[Place] = set()
    second: set[Place] = set()
    marks: dict[Place, str] = {}
    letters: dict[str, str] = {}
    for at, column in enumerate(columns, start=1):
        texts, shown = [], {}
        for row, method in enumerate(methods):
            text, mean = _cell(column, method, seeds)
            why = _footnote(column, method, mean)
            if why is not None:
                marks[row, at] = letters.setdefault(why, _letter(len(letters)))
            if mean is not None and not method.block:
                shown[row] = mean
            texts.append(text)
        # Two columns may have one title.
        cells.insert(at, column.heading, texts, allow_duplicates=True)
        if column.metric.best is not None:
            first, next_best = ranked(shown, column.metric.best == "max")
            best |= {(row, at) for row in first}
            second |= {(row, at) for row in next_best}
    rules = {row for row in range(1, len(methods)) if methods[row].block != methods[row - 1].block}
    return Table(
        name,
        caption,
        cells,
        _numbers(results.plan, columns),
        [*_notes(results.plan, cells), *(f"{letter}) {why}" for why, letter in letters.items())],
        frozenset(best),
        frozenset(second),
        marks,
        frozenset(rules),
        list(spans),
    )


def _footnote(column: Column, method: MethodRow, mean: str | None) -> str | None:
    """What a reader must know of a cell: why it or some of its runs are missing, whose they are."""
    missing = column.missing.get(method.name)
    if mean is None:
        return missing
    said = [column.remarks.get(method.name), missing and f"some runs are missing: {missing}"]
    return "; ".join(filter(None, said)) or None


def _letter(number: int) -> str:
    """a to z, then aa, ab and so on."""
    first, last = divmod(number, len(ascii_lowercase))
    return (_letter(first - 1) if first else "") + ascii_lowercase[last]


def _cell(column: Column, method: MethodRow, seeds: int) -> tuple[str, str | None]:
    """The text of a cell, and its mean as written; a dash and None where no run has the number."""
    metric = column.metric
    if method.name not in column.values.index:
        return NOTHING, None
    mean, std, n = column.values.loc[method.name, ["mean", "std", "n"]]
    if pd.isna(mean):
        return NOTHING, None
    if metric.truth:
        return ("yes" if mean else "no"), None
    shown = number(metric.factor * mean, metric.digits)
    text = shown
    if not pd.isna(std) and metric.digits:
        deviation = number(metric.factor * std, metric.digits)
        if not metric.constant or deviation.strip("0."):
            text += f" ± {deviation}"
    if n < seeds and method.name in column.missing:
        text += f" (n = {int(n)})"
    return text, shown


def _numbers(plan: Plan, columns: Sequence[Column]) -> pd.DataFrame:
    """Full precision, in the plan's order; per column NAME its mean, NAME_std and NAME_seeds."""
    frame = pd.DataFrame(
        {"method": [m.name for m in plan.methods], "title": [m.title for m in plan.methods]}
    ).set_index("method", drop=False)
    for column in columns:
        values = column.values.reindex(frame.index)
        frame[column.name] = values["mean"]
        frame[f"{column.name}_std"] = values["std"]
        frame[f"{column.name}_seeds"] = values["n"].fillna(0).astype(int)
    return frame.reset_index(drop=True)


def _notes(plan: Plan, cells: pd.DataFrame) -> list[str]:
    seeds = ", ".join(map(str, plan.seeds))
    if any("±" in text for column in cells.to_numpy().T[1:] for text in column):
        said = f"Mean ± sample standard deviation over {len(plan.seeds)} seeds ({seeds})."
    elif len(plan.seeds) > 1:
        said = f"Mean over {len(plan.seeds)} seeds ({seeds})."
    else:
        said = f"One seed ({seeds}), so no deviation is given."
    notes = [said]
    if any(m.rehearsal for m in plan.methods):
        notes.append("† keeps images of past tasks.")
    return notes


def appendix(plan: Plan) -> list[tuple[str, list[str]]]:
    """What the tables leave out: titles and their sentences."""
    return [
        ("Columns", [metric.definition for metric in (*ACCURACIES, ROUNDING, *COSTS)]),
        ("Methods", [f"{m.title}: {m.description}" for m in plan.blocks()]),
        *([("Settings", list(plan.notes))] if plan.notes else []),
    ]


def write_appendix(plan: Plan, folder: Path) -> list[Path]:
    """Write ``appendix.md`` and ``appendix.tex``; return their paths."""
    parts = appendix(plan)
    markdown = [f"# {escape_markdown(plan.title)}: columns, methods, settings"]
    latex = []
    for title, sentences in parts:
        markdown.append(f"## {title}")
        markdown.append("\n".join(f"- {escape_markdown(line)}" for line in sentences))
        items = "\n".join(rf"\item{{}} {escape_latex(line)}" for line in sentences)
        latex.append(f"\\paragraph{{{title}}}\n\\begin{{itemize}}\n{items}\n\\end{{itemize}}")
    body = "\n".join(latex) + "\n"
    texts = {"md": "\n\n".join(markdown) + "\n", "tex": latex_letters(body) + body}
    paths = []
    for suffix, text in texts.items():
        paths.append(folder / f"{APPENDIX}.{suffix}")
        write_text(paths[-1], stamped(suffix, text))
    return paths


TABLES: dict[str, Callable[[Results, str], Table]] = {"metrics": metrics_table, "cost": cost_table}


def write_tables(results: Results, folder: Path) -> list[Path]:
    """Write every table in its forms, the appendix, and a CSV of all runs; return their paths."""
    tables = [accuracy_table(results)]
    tables.append(published_table(results))
    tables += [make(results, d.name) for make in TABLES.values() for d in results.plan.datasets]
    written = [path for t in tables for path in write_table(t, folder, results.plan.name)]
    return [*written, *write_appendix(results.plan, folder), write_runs(results, folder)]
