"""A page of how an experiment's methods compare, written from its runs: no number is typed.

Sentences follow the numbers, so that other results give another text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from paper_figures.collect import Results
from paper_figures.plan import MethodRow
from paper_figures.tables.comparison import (
    choices,
    choices_table,
    errors,
    errors_table,
    selecting,
)
from paper_figures.tables.paper import cost_table
from paper_figures.tables.paper import to_markdown as table_to_markdown
from paper_figures.tables.text import TextTable, number, to_markdown
from starprompt.files import write_text

#: points that no table shows
NOTHING = 0.05
#: the bounds and the weakest competitor, where an experiment has them
UPPER, LOWER = "joint", ("finetune", "lwf")


def write_comparison(
    results: Results,
    path: Path,
    limits: Sequence[str],
    searches: TextTable | None,
    figures: Mapping[str, str],
) -> Path:
    """Write the page.

    limits    sentences that say how far it reaches
    searches  what was tuned, and on what
    figures   by data set, the figure of prompt use, as the page links to it
    """
    write_text(path, comparison(results, limits, searches, figures))
    return path


def comparison(
    results: Results,
    limits: Sequence[str],
    searches: TextTable | None,
    figures: Mapping[str, str],
) -> str:
    """The page as Markdown, one part a data set."""
    plan = results.plan
    seeds = ", ".join(map(str, plan.seeds))
    parts = [
        f"# Findings: {plan.title}",
        f"Written by `starprompt compare` from the runs of `{plan.name}` (seeds {seeds}); no "
        f"number here was typed. Tables and figures in print size are under "
        f"`results/{plan.name}/`. Mean ± sample standard deviation over seeds. † keeps images of "
        "past tasks.",
        "## What these answers are worth\n\n" + "\n".join(f"- {line}" for line in limits),
    ]
    for dataset in plan.datasets:
        where = f" ({dataset.title})" if len(plan.datasets) > 1 else ""
        frame = errors(results, dataset.name)
        parts += [
            f"## How the methods compare{where}",
            _ranking(results, dataset.name, frame),
            _bare(to_markdown(errors_table(results, dataset.name))),
            "Task right: of the images of a task, those for which a class of that task is named, "
            "whoever decides it. Class right within it: of those, the images whose class is named.",
            f"## Where the errors lie{where}",
            _errors(results, frame),
            f"## Which prompts are chosen{where}",
            _choices(results, choices(results, dataset.name)),
        ]
        table = choices_table(results, dataset.name)
        if len(table.cells):
            parts.append(_bare(to_markdown(table)))
            parts.append(
                "Prompts used: by the images of all tasks, in a layer. By one task: the effective "
                "number, the exponential of the entropy of its choices. Shared by two tasks: the "
                "part of their choices that falls on the same prompts, mean over pairs of tasks. A "
                "prompt of a pool belongs to the task that chose it most when it was new. "
                "CODA-Prompt's components count by their task and weight."
            )
        if dataset.name in figures:
            parts.append(f"![How prompts are used, {dataset.title}]({figures[dataset.name]})")
        parts.append(f"## What they cost{where}")
        parts.append(_bare(table_to_markdown(cost_table(results, dataset.name))))
    if searches is not None:
        parts += ["## What was searched", _bare(to_markdown(searches)), *searches.notes]
    return "\n\n".join(parts) + "\n"


def _ranking(results: Results, dataset: str, frame: pd.DataFrame) -> str:
    """Who is best, and whether the bounds bound."""
    mean = frame.groupby("method")["accuracy"].mean()
    rivals = [m for m in results.plan.methods if not m.bound]
    best = max(rivals, key=lambda method: mean[method.name])
    text = f"The best continual method is {_named(best, mean)}. "
    names = {m.name: m for m in results.plan.methods}
    if UPPER in names:
        text += _below_joint(results, dataset, frame, mean, names[UPPER], rivals)
    prompted = [m for m in rivals if m.group == "prompt"]
    for low in (names[name] for name in LOWER if name in names):
        if not prompted:
            break
        least = min(prompted, key=lambda method: mean[method.name])
        relation = "below" if mean[low.name] < mean[least.name] else "not below"
        text += (
            f" {_named(low, mean)} is {relation} every method that prompts the ViT, of which the "
            f"lowest is {_named(least, mean)}."
        )
    return text.rstrip()


def _below_joint(
    results: Results,
    dataset: str,
    frame: pd.DataFrame,
    mean: pd.Series,
    joint: MethodRow,
    rivals: Sequence[MethodRow],
) -> str:
    above = [m for m in rivals if mean[m.name] > mean[joint.name] + NOTHING]
    if not above:
        return f"No continual method ends above {_named(joint, mean)}."
    images = sum(results.records[dataset, joint.name, results.plan.seeds[0]].stream.test_counts)
    by_seed = frame.pivot_table(index="seed", columns="method", values="accuracy")
    told = [
        f"{_named(m, mean)}, by {number(mean[m.name] - mean[joint.name], 1)} points, in "
        f"{int((by_seed[m.name] > by_seed[joint.name]).sum())} of {len(by_seed)} seeds"
        for m in above
    ]
    return (
        f"{_named(joint, mean)} is not above all: higher ends {'; '.join(told)}. A point is "
        f"{number(images / 100, 1)} of the {images} test images."
    )


def _errors(results: Results, frame: pd.DataFrame) -> str:
    """Whether errors confuse tasks or classes of a task."""
    mean = frame.groupby("method")[["accuracy", "task", "within"]].mean()
    of_task = (100 - mean["task"]) / (100 - mean["accuracy"]).clip(lower=1e-9)
    rivals = [m for m in results.plan.methods if not m.bound]
    mostly = [m for m in rivals if of_task[m.name] > 0.9]
    others = [m for m in rivals if m not in mostly]
    lowest = min((mean.loc[m.name, "within"] for m in rivals), default=100.0)
    text = (
        f"Of {len(rivals)} continual methods, {len(mostly)} make more than 90% of their errors by "
        "naming a class of another task: what they lack is not telling classes apart but logits "
        "that compare across tasks. Once the task is right, so is the class in "
        f"{number(lowest, 1)}% or more."
    )
    if others:
        listed = ", ".join(f"{m.title} ({number(100 * of_task[m.name], 0)}%)" for m in others)
        text += f" Errors of another task are fewer with {listed}."
    return text


def _choices(results: Results, frame: pd.DataFrame) -> str:
    """Which methods' tasks choose prompts of their own, and which all the same."""
    chosen = selecting(results, frame)
    if not chosen:
        return "No method here selects prompts."
    mean = frame.groupby("method")[["prompts", "effective", "shared", "own"]].mean()
    told = [
        f"- **{m.title}**: the images of one task choose "
        f"{number(mean.loc[m.name, 'effective'], 1)} prompts (effective number) of "
        f"{number(mean.loc[m.name, 'prompts'], 1)} that are used; "
        f"two tasks have {number(mean.loc[m.name, 'shared'], 0)}% of their choices in common, and "
        f"{number(mean.loc[m.name, 'own'], 0)}% fall on the own task's prompts."
        for m in chosen
    ]
    best = max(chosen, key=lambda m: mean.loc[m.name, "own"])
    same = [m.title for m in chosen if mean.loc[m.name, "shared"] > 75]
    text = (
        f"Images find their own task's prompts most often with {best.title} "
        f"({number(mean.loc[best.name, 'own'], 1)}%). "
    )
    text += (
        f"More than three quarters of the choices are the same for any two tasks with "
        f"{' and '.join(same)}: the same prompts serve every task."
        if same
        else "With no method do two tasks share three quarters of their choices."
    )
    return text + "\n\n" + "\n".join(told)


def _named(method: MethodRow, mean: pd.Series) -> str:
    return f"{method.title} ({number(mean[method.name], 1)}%)"


def _bare(markdown: str) -> str:
    """A table without its notes."""
    body, _, _ = markdown.partition("\n\n- ")
    return body.rstrip()
