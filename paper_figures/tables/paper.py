"""The paper's tables: mean ± sample deviation over seeds, as CSV, Markdown and LaTeX.

CSV holds the numbers in full and a machine's column names; the other two are for reading. Rows
come in the plan's order. The best of a column is bold, bounds aside.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from paper_figures.collect import Results
from paper_figures.plan import Plan
from starprompt.files import write_text

AVERAGE = "average"


@dataclass(frozen=True)
class Metric:
    """A column: its name in the frame, its heading, how it is written, which end is good.

    best is "max", "min" or None for a column without a winner; ``truth`` marks one of 0 and 1.
    """

    name: str
    heading: str
    digits: int
    best: str | None
    definition: str
    truth: bool = False


ACCURACIES = (
    Metric(
        "final_average_accuracy",
        "Final [%]",
        2,
        "max",
        "Final average accuracy (Final): mean over tasks of the accuracy after the last task, "
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
        "Incremental [%]",
        2,
        "max",
        "Incremental, average incremental accuracy: mean, over the times after each task, of the "
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
    ),
    Metric(
        "stored_parameters",
        "Stored",
        0,
        None,
        "Stored: numbers kept beside them for later tasks (statistics, generators, copies).",
    ),
    Metric(
        "stored_samples",
        "Samples",
        0,
        None,
        "Samples: images of past tasks that are kept.",
    ),
    Metric(
        "gigaflops",
        "GFLOPs",
        3,
        None,
        "GFLOPs: billions of floating-point operations to predict one test image, all encoders "
        "included.",
    ),
    Metric("uses_clip", "CLIP", 0, None, "CLIP: whether CLIP is used.", truth=True),
    Metric(
        "training_seconds",
        "Training [s]",
        1,
        None,
        "Training: seconds over all tasks, evaluation aside. A method whose keys are trained in a "
        "run of their own counts neither that run's parameters nor its seconds.",
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


@dataclass(frozen=True)
class Column:
    """One column of a table: by method name, the mean and the sample deviation over seeds.

    values has the index of methods and the columns "mean", "std" (NaN for one seed) and "n".
    """

    name: str
    heading: str
    metric: Metric
    values: pd.DataFrame


@dataclass(frozen=True)
class Table:
    """A table before it takes a form."""

    plan: Plan
    name: str
    caption: str
    columns: Sequence[Column]
    notes: Sequence[str]


def over_seeds(values: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean, sample deviation (n - 1) and number of seeds of ``metric``, by method."""
    return values.groupby("method")[metric].agg(mean="mean", std="std", n="count")


def accuracy_table(results: Results) -> Table:
    """Final average accuracy: one row a method, one column a data set, and their average.

    The average's deviation is that of the seeds' averages over data sets, not the average of the
    columns' deviations.
    """
    runs, plan, metric = results.runs, results.plan, FINAL_ACCURACY
    columns = [
        Column(d.name, d.title, metric, over_seeds(runs[runs["dataset"] == d.name], metric.name))
        for d in plan.datasets
    ]
    if len(plan.datasets) > 1:
        by_seed = runs.groupby(["method", "seed"], as_index=False)[metric.name].mean()
        columns.append(Column(AVERAGE, "Average", metric, over_seeds(by_seed, metric.name)))
    return Table(
        plan,
        "accuracy",
        f"Final average accuracy [%]. {plan.title}.",
        columns,
        [metric.definition, *_common_notes(plan)],
    )


def metrics_table(results: Results, dataset: str) -> Table:
    """Every accuracy metric on one data set: one row a method."""
    return _dataset_table(results, dataset, "metrics", "Accuracy and forgetting", ACCURACIES)


def cost_table(results: Results, dataset: str) -> Table:
    """What the methods cost on one data set. Apart from the rest: no two machines agree on it."""
    return _dataset_table(results, dataset, "cost", "Cost", COSTS)


def _dataset_table(
    results: Results, dataset: str, kind: str, caption: str, metrics: Sequence[Metric]
) -> Table:
    plan = results.plan
    runs = results.runs[results.runs["dataset"] == dataset]
    title = next(d.title for d in plan.datasets if d.name == dataset)
    return Table(
        plan,
        f"{kind}-{dataset}",
        f"{caption} on {title}. {plan.title}.",
        [Column(m.name, m.heading, m, over_seeds(runs, m.name)) for m in metrics],
        [*(m.definition for m in metrics), *_common_notes(plan)],
    )


def write_tables(results: Results, folder: Path) -> list[Path]:
    """Write every table in its three forms under ``folder``; return their paths."""
    tables = [
        accuracy_table(results),
        *(metrics_table(results, d.name) for d in results.plan.datasets),
        *(cost_table(results, d.name) for d in results.plan.datasets),
    ]
    written = []
    for table in tables:
        forms = (("csv", to_csv(table)), ("md", to_markdown(table)), ("tex", to_latex(table)))
        for suffix, text in forms:
            path = folder / f"{table.name}.{suffix}"
            write_text(path, text)
            written.append(path)
    return written


def to_csv(table: Table) -> str:
    """Full precision; per column NAME its mean, NAME_std and NAME_seeds."""
    frame = pd.DataFrame(
        {
            "method": [m.name for m in table.plan.methods],
            "title": [m.title for m in table.plan.methods],
        }
    ).set_index("method", drop=False)
    for column in table.columns:
        values = column.values.reindex(frame.index)
        frame[column.name] = values["mean"]
        frame[f"{column.name}_std"] = values["std"]
        frame[f"{column.name}_seeds"] = values["n"]
    return frame.to_csv(index=False)


def to_markdown(table: Table) -> str:
    """A pipe table with the caption above and the notes below."""

    def cell(text: str, best: bool) -> str:
        text = text.replace("-", "\u2212")
        return f"**{text}**" if best else text

    frame = _formatted(table, cell, escape_markdown, "±", "–")
    body = frame.to_markdown(
        index=False, disable_numparse=True, colalign=("left", *["right"] * len(table.columns))
    )
    notes = "\n".join(f"- {escape_markdown(note)}" for note in table.notes)
    return f"**{escape_markdown(table.caption)}**\n\n{body}\n\n{notes}\n"


def to_latex(table: Table) -> str:
    """A float that needs the package booktabs alone."""

    def cell(text: str, best: bool) -> str:
        text = text.replace("-", "$-$")
        return rf"\textbf{{{text}}}" if best else text

    frame = _formatted(table, cell, escape_latex, r"$\pm$", "--")
    body = frame.to_latex(
        index=False, escape=False, column_format="l" + "r" * len(table.columns)
    ).rstrip()
    notes = "\n".join(rf"\par {escape_latex(note)}" for note in table.notes)
    return (
        "% needs \\usepackage{booktabs}\n"
        "\\begin{table}[t]\n\\centering\n"
        "\\small\n\\setlength{\\tabcolsep}{4pt}\n"
        f"\\caption{{{escape_latex(table.caption)}}}\n"
        f"\\label{{tab:{table.plan.name}-{table.name}}}\n"
        f"{body}\n\n\\begin{{minipage}}{{\\linewidth}}\n\\footnotesize\n{notes}\n"
        "\\end{minipage}\n\\end{table}\n"
    )


def escape_markdown(text: str) -> str:
    """``text`` as Markdown prints it, in a pipe table or out of it."""
    return re.sub(r"([\\|*_`$<>~])", r"\\\1", text)


def escape_latex(text: str) -> str:
    """``text`` as LaTeX prints it, its special characters and our marks included."""
    return "".join(_LATEX.get(character, character) for character in text)


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "\u00a0": "~",
    "–": "--",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
}


def _formatted(
    table: Table,
    cell: Callable[[str, bool], str],
    escape: Callable[[str], str],
    plus_minus: str,
    nothing: str,
) -> pd.DataFrame:
    """The table as text: ``cell(text, best)`` dresses a number, ``escape`` a heading."""
    frame = pd.DataFrame({escape("Method"): [escape(m.heading) for m in table.plan.methods]})
    for column in table.columns:
        best = _best(table.plan, column)
        texts = []
        for method in table.plan.methods:
            mean, std = column.values.loc[method.name, ["mean", "std"]]
            if pd.isna(mean):
                texts.append(nothing)
                continue
            if column.metric.truth:
                texts.append("yes" if mean else "no")
                continue
            text = _number(mean, column.metric.digits)
            if not pd.isna(std) and column.metric.digits:
                text += f" {plus_minus} {_number(std, column.metric.digits)}"
            texts.append(cell(text, method.name in best))
        frame[escape(column.heading)] = texts
    return frame


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}" if digits else f"{value:,.0f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def _best(plan: Plan, column: Column) -> set[str]:
    """Names of the methods whose mean, as written, is the best of the column."""
    rivals = [m.name for m in plan.methods if not m.bound]
    means = column.values["mean"].reindex(rivals).dropna().round(column.metric.digits)
    if column.metric.best is None or len(means) < 2:
        return set()
    target = means.max() if column.metric.best == "max" else means.min()
    return set(means.index[means == target])


def _common_notes(plan: Plan) -> list[str]:
    seeds = ", ".join(map(str, plan.seeds))
    if len(plan.seeds) > 1:
        spread = f"Mean ± sample standard deviation over {len(plan.seeds)} seeds ({seeds})"
    else:
        spread = f"One seed ({seeds}), so no deviation is given"
    notes = [f"{spread}; bold: best of the column, bounds left aside."]
    if any(m.rehearsal for m in plan.methods):
        notes.append("† keeps images of past tasks.")
    notes += [f"{m.title}: {m.description}" for m in plan.methods]
    return notes + list(plan.notes)
