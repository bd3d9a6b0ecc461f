"""Tables of how an experiment's methods compare, from the comparison's CSV files alone."""

import pandas as pd

from paper_figures.plan import MethodRow, Plan
from paper_figures.tables.table import Table, number, spread


def errors_table(plan: Plan, errors: pd.DataFrame, runs: pd.DataFrame) -> Table:
    """Final accuracy, and whether an error names another task's class or a wrong one of the own.

    errors, runs  ``errors.csv`` and ``comparison.csv`` of one data set
    """
    rows = []
    for method in measured(plan, errors):
        own = errors[errors["method"] == method.name]
        rows.append(
            {
                "Method": method.heading,
                "Last [%]": spread(own["accuracy"])
                + (f" (n = {len(own)})" if len(own) < len(plan.seeds) else ""),
                "Task right [%]": spread(own["task"]),
                "Class right within it [%]": spread(own["within"]),
                "Forgetting [%]": spread(runs[runs["method"] == method.name]["forgetting"]),
            }
        )
    return Table("errors", f"Where the methods err. {plan.title}.", pd.DataFrame(rows), errors)


def choices_table(plan: Plan, choices: pd.DataFrame) -> Table:
    """Which prompts the methods that select some choose; ``prompt-choices.csv`` of one data set."""
    rows = []
    for method in measured(plan, choices):
        own = choices[choices["method"] == method.name]
        by_task = [own[c].mean() for c in own.columns if c.startswith("own_")]
        rows.append(
            {
                "Method": method.heading,
                "Prompts used": number(own["prompts"].mean(), 1),
                "by one task": number(own["effective"].mean(), 1),
                "Shared by two tasks [%]": spread(own["shared"]),
                "Own task's [%]": spread(own["own"]),
                "task by task": ", ".join(number(share, 0) for share in by_task),
            }
        )
    caption = f"Which prompts are chosen. {plan.title}."
    return Table("choices", caption, pd.DataFrame(rows), choices)


def measured(plan: Plan, frame: pd.DataFrame) -> list[MethodRow]:
    """The methods that have rows in ``frame``, in the plan's order."""
    present = set(frame["method"])
    return [method for method in plan.methods if method.name in present]


def missing_runs(plan: Plan, missing: pd.DataFrame) -> list[str]:
    """A sentence on the runs that are not in the numbers; nothing where none is missing.

    missing  one row a run: method, why
    """
    if missing.empty:
        return []
    titles = {method.name: method.title for method in plan.methods}
    lines = [
        f"{titles[str(method)]} ({len(own)}: {', '.join(sorted(set(own['why'])))})"
        for method, own in missing.groupby("method", sort=False)
    ]
    return [f"Runs that are missing: {'; '.join(lines)}."]
