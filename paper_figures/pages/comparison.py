"""A page of how an experiment's methods compare, written from its runs: no number is typed.

Sentences follow the numbers, so that other results give another text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from paper_figures import stamps
from paper_figures.analyses import Analyses
from paper_figures.collect import KEYS, Results
from paper_figures.plan import MethodRow, Plan
from paper_figures.provenance import Provenance, stamped
from paper_figures.tables.comparison import choices_table, errors_table, measured, missing_runs
from paper_figures.tables.escape import escape_markdown
from paper_figures.tables.forms import to_markdown
from paper_figures.tables.paper import cost_table
from paper_figures.tables.table import Table, number
from starprompt.files import write_text

#: points that no table shows
NOTHING = 0.05
#: the bounds and the weakest competitor, where an experiment has them
UPPER, LOWER = "joint", ("finetune", "lwf")
#: files of an experiment's comparison, by data set
TABLES = ("comparison", "errors", "prompt-choices", "missing")


def write_comparison(
    analyses: Analyses,
    path: Path,
    limits: Sequence[str],
    searches: Table | None,
    figures: Mapping[str, str],
    made_from: Provenance,
    sentences: Sequence[str] = (),
) -> Path:
    """Write the page.

    analyses   the comparison's tables (:data:`TABLES`)
    limits     sentences that say how far it reaches
    searches   what was tuned, and on what
    figures    by data set, the figure of prompt use, as the page links to it
    sentences  what the statistics say of the headline comparisons
    """
    page = comparison(analyses, limits, searches, figures, sentences)
    write_text(path, stamps.stamped("md", stamped(page, made_from)))
    return path


def comparison(
    analyses: Analyses,
    limits: Sequence[str],
    searches: Table | None,
    figures: Mapping[str, str],
    sentences: Sequence[str] = (),
) -> str:
    """The page as Markdown, one part a data set."""
    plan = analyses.plan
    seeds = ", ".join(map(str, plan.seeds))
    parts = [
        f"# Findings: {escape_markdown(plan.title)}",
        f"Written by `starprompt compare` from the runs of `{plan.name}` (seeds {seeds}); no "
        f"number here was typed. Tables and figures in print size are under "
        f"`results/{plan.name}/`. Mean ± sample standard deviation over seeds. † keeps images of "
        "past tasks.",
        "## What these answers are worth\n\n"
        + "\n".join(f"- {escape_markdown(line)}" for line in limits),
    ]
    if sentences:
        parts += [
            "## Are the differences real?",
            "\n".join(f"- {escape_markdown(line)}" for line in sentences),
        ]
    for dataset in plan.datasets:
        where = f" ({escape_markdown(dataset.title)})" if len(plan.datasets) > 1 else ""
        tables = {name: analyses.table(name, dataset.name) for name in TABLES}
        errors, runs = tables["errors"], tables["comparison"]
        if errors.empty:
            parts += [f"## How the methods compare{where}", "No run has finished here."]
            continue
        parts += [
            f"## How the methods compare{where}",
            _ranking(plan, errors, runs),
            to_markdown(errors_table(plan, errors, runs), notes=False).rstrip(),
            "Task right: of the images of a task, those for which a class of that task is named. "
            "Class right within it: of those, the images whose class is named.",
            *map(escape_markdown, missing_runs(plan, tables["missing"])),
            f"## Where the errors lie{where}",
            _errors(plan, errors),
            f"## Which prompts are chosen{where}",
            _choices(plan, tables["prompt-choices"]),
        ]
        table = choices_table(plan, tables["prompt-choices"])
        if len(table.cells):
            parts.append(to_markdown(table, notes=False).rstrip())
            parts.append(
                "Prompts used: by the images of all tasks, in a layer. By one task: the effective "
                "number, the exponential of the entropy of its choices. Shared by two tasks: the "
                "part of their choices that falls on the same prompts, mean over pairs of tasks. A "
                "prompt of a pool belongs to the task that chose it most when it was new. "
                "CODA-Prompt's components count by their task and weight."
            )
        if dataset.name in figures:
            title = escape_markdown(dataset.title)
            parts.append(f"![How prompts are used, {title}]({figures[dataset.name]})")
        parts.append(f"## What they cost{where}")
        cost = cost_table(_as_results(plan, tables), dataset.name)
        parts.append(to_markdown(cost, notes=False).rstrip())
    if searches is not None:
        parts += ["## What was searched", to_markdown(searches, notes=False).rstrip()]
        parts += [escape_markdown(note) for note in searches.notes]
    return "\n\n".join(parts) + "\n"


def _as_results(plan: Plan, tables: Mapping[str, pd.DataFrame]) -> Results:
    missing = {
        (row.dataset, row.method, row.seed): str(row.why) for row in tables["missing"].itertuples()
    }
    return Results(plan, {}, tables["comparison"], pd.DataFrame(columns=list(KEYS)), missing)


def _rivals(plan: Plan, frame: pd.DataFrame) -> list[MethodRow]:
    return [method for method in measured(plan, frame) if not method.block]


def _ranking(plan: Plan, frame: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Which method is best, and whether the bounds hold."""
    mean = frame.groupby("method")["accuracy"].mean()
    rivals = _rivals(plan, frame)
    if not rivals:
        return "No continual method has finished."
    best = max(rivals, key=lambda method: mean[method.name])
    text = f"The best continual method is {_named(best, mean)}. "
    if len({frozenset(frame[frame["method"] == m.name]["seed"]) for m in rivals}) > 1:
        text = (
            f"The continual method with the highest mean is {_named(best, mean)}; not all have "
            "finished the same seeds, so that their means do not compare like for like. "
        )
    names = {m.name: m for m in measured(plan, frame)}
    if UPPER in names:
        text += _below_joint(frame, runs, names[UPPER], rivals)
    prompted = [m for m in rivals if m.group == "prompt"]
    for low in (names[name] for name in LOWER if name in names):
        paired = {m.name: _over_common_seeds(frame, low, m) for m in prompted}
        compared = [m for m in prompted if len(paired[m.name])]
        if not compared:
            continue
        least = min(compared, key=lambda method: mean[method.name])
        below = all(own[low.name] < own[name] for name, own in paired.items() if len(own))
        relation = "below" if below else "not below"
        text += (
            f" {_named(low, mean)} is {relation} every method that prompts the ViT, of which the "
            f"lowest is {_named(least, mean)}."
        )
    return text.rstrip()


def _below_joint(
    frame: pd.DataFrame, runs: pd.DataFrame, joint: MethodRow, rivals: Sequence[MethodRow]
) -> str:
    """Which methods end above the joint bound, over the seeds that both have."""
    mean = frame.groupby("method")["accuracy"].mean()
    by_seed = frame.pivot_table(index="seed", columns="method", values="accuracy")
    paired = {m.name: _over_common_seeds(frame, m, joint) for m in rivals}
    if not any(len(own) for own in paired.values()):
        return f"{_named(joint, mean)} has no seed in common with a continual method."
    lines = [
        f"{_named(m, mean)}, by {number(own[m.name] - own[joint.name], 1)} points, in "
        f"{int((by_seed[m.name] > by_seed[joint.name]).sum())} of "
        f"{len(by_seed[[m.name, joint.name]].dropna())} seeds"
        for m in rivals
        if len(own := paired[m.name]) and own[m.name] > own[joint.name] + NOTHING
    ]
    if not lines:
        return f"No continual method ends above {_named(joint, mean)}."
    images = int(runs["test_images"].iloc[0])
    return (
        f"{_named(joint, mean)} is not above all: higher ends {'; '.join(lines)}. A point is "
        f"{number(images / 100, 1)} of the {images} test images."
    )


def _over_common_seeds(frame: pd.DataFrame, first: MethodRow, second: MethodRow) -> pd.Series:
    """Two methods' mean accuracies over the seeds that both have; nothing where they share none."""
    seeds = [set(frame[frame["method"] == m.name]["seed"]) for m in (first, second)]
    same = frame[frame["seed"].isin(seeds[0] & seeds[1])].groupby("method")["accuracy"].mean()
    return same.reindex([first.name, second.name]).dropna()


def _errors(plan: Plan, frame: pd.DataFrame) -> str:
    """Whether errors confuse tasks or classes of a task."""
    mean = frame.groupby("method")[["accuracy", "task", "within"]].mean()
    of_task = (100 - mean["task"]) / (100 - mean["accuracy"]).clip(lower=1e-9)
    rivals = _rivals(plan, frame)
    if not rivals:
        return "No continual method has finished."
    mostly = [m for m in rivals if of_task[m.name] > 0.9]
    others = [m for m in rivals if m not in mostly]
    lowest = mean.loc[[m.name for m in rivals], "within"].min()  # NaN: no task was ever right
    text = (
        f"Of {len(rivals)} continual methods, {len(mostly)} make more than 90% of their errors by "
        "naming a class of another task: what they lack is not telling classes apart but logits "
        "that compare across tasks. Once the task is right, so is the class in "
        f"{number(lowest, 1)}% or more."
    )
    if others:
        listed = ", ".join(
            f"{escape_markdown(m.title)} ({number(100 * of_task[m.name], 0)}%)" for m in others
        )
        text += f" Errors of another task are fewer with {listed}."
    return text


def _choices(plan: Plan, frame: pd.DataFrame) -> str:
    """Which methods choose other prompts for each task, and which the same for all."""
    chosen = measured(plan, frame)
    if not chosen:
        return "No finished run here selects prompts."
    mean = frame.groupby("method")[["prompts", "effective", "shared", "own"]].mean()
    lines = [
        f"- **{escape_markdown(m.title)}**: the images of one task choose "
        f"{number(mean.loc[m.name, 'effective'], 1)} prompts (effective number) of "
        f"{number(mean.loc[m.name, 'prompts'], 1)} that are used; "
        f"two tasks have {number(mean.loc[m.name, 'shared'], 0)}% of their choices in common, and "
        f"{number(mean.loc[m.name, 'own'], 0)}% fall on the own task's prompts."
        for m in chosen
    ]
    best = max(chosen, key=lambda m: mean.loc[m.name, "own"])
    same = [escape_markdown(m.title) for m in chosen if mean.loc[m.name, "shared"] > 75]
    text = (
        f"Images find their own task's prompts most often with {escape_markdown(best.title)} "
        f"({number(mean.loc[best.name, 'own'], 1)}%). "
    )
    text += (
        f"More than three quarters of the choices are the same for any two tasks with "
        f"{' and '.join(same)}: the same prompts serve every task."
        if same
        else "With no method do two tasks share three quarters of their choices."
    )
    return text + "\n\n" + "\n".join(lines)


def _named(method: MethodRow, mean: pd.Series) -> str:
    return f"{escape_markdown(method.title)} ({number(mean[method.name], 1)}%)"
