"""What was searched, and what came of it: a table of each method's accuracy with its own values and
with the searched ones, and the notes under the other tables."""

from pathlib import Path
from typing import TYPE_CHECKING

from starprompt.config.experiment import Config, Run
from starprompt.config.methods import MethodSpec, load_method
from starprompt.config.tuned import SUFFIX, Searched, kept_search
from starprompt.data.registry import load_dataset_spec
from starprompt.grid.jobs import Grid
from starprompt.grid.other_configurations import unlike
from starprompt.record.record import read_record
from starprompt.record.run_files import RECORD
from starprompt.reporting.method_pages import shown_range, shown_value

if TYPE_CHECKING:
    import pandas as pd

    from paper_figures.tables.table import Table

#: how a method's YAML says that its values are from a search of which no trials are kept
_SEARCHED = "starprompt tune"
#: the two columns of final accuracy, over the experiment's seeds
OWN, FOUND = "Final, own values [%]", "Final, searched values [%]"


def searches_table(config: Config) -> "Table | None":
    """One row a data set and method that has something to search; None without a kept search.

    Beside what was tried stand final accuracies of the finished runs, with the values that the
    method's file holds and with those that the search found. Where both are the same values, so is
    the run.
    """
    import pandas as pd

    from paper_figures.tables.table import NOTHING, Table, number, spread

    rows, how, unlike = [], set(), len(config.datasets) > 1
    both = set(config.searched_runs())
    grid = Grid(config)
    for dataset in config.datasets:
        for name in config.methods:
            spec, found = load_method(name), kept_search(dataset, name)
            if not spec.search:
                continue
            row = {"Method": spec.title}
            row |= {"Data set": load_dataset_spec(dataset).title} if unlike else {}
            own = spread(_final(grid, dataset, name))
            if found is None:
                rows.append({**row, "Searched": "not searched", OWN: own, FOUND: NOTHING})
                continue
            how.add(_how(found))
            where = [f"{key} {shown_range(limits)}" for key, limits in found.ranges.items()]
            other = Run(dataset, f"{name}{SUFFIX}", config.seeds[0])
            searched = spread(_final(grid, *other[:2])) if other in both else own
            rows.append(
                {
                    **row,
                    "Searched": "; ".join(where),
                    "First trial [%]": number(found.own_accuracy, 1),
                    "Best trial [%]": number(found.best_accuracy, 1),
                    "Found": ", ".join(f"{key} {shown_value(v)}" for key, v in found.best.items()),
                    OWN: own,
                    FOUND: searched if config.values == "both" else NOTHING,
                }
            )
    if not how:
        return None
    columns = ["Searched", "First trial [%]", "Best trial [%]", "Found", OWN, FOUND]
    cells = pd.DataFrame(rows).fillna(NOTHING)
    cells = cells[[*cells.columns.difference(columns, sort=False), *columns]]
    notes = [
        *(f"Rule: {text}; the best of them is taken." for text in sorted(how)),
        "The first trial has the method's own values, those of its file; the rest are Optuna's. No "
        "test image was opened. Both columns of final accuracy are over the test images and the "
        "seeds of this page; other tables and figures show own values.",
    ]
    if nothing := [s.title for s in map(load_method, config.methods) if not s.search]:
        notes.append(f"Nothing to search: {', '.join(nothing)}.")
    return Table("searches", "Own and searched hyperparameters.", cells, cells, notes)


def _final(grid: Grid, dataset: str, method: str) -> "pd.Series":
    """Final average accuracies, in percent, of a method's finished runs that are the experiment's
    still."""
    import pandas as pd

    runs = [Run(dataset, method, seed) for seed in grid.config.seeds]
    files = [grid.config.run_folder(run) / RECORD for run in runs]
    there = [read_record(Path(file)) for file in files if file.is_file()]
    own = [record for record in there if unlike(grid, record, earlier=True) is None]
    return pd.Series([r.metrics.final_average_accuracy for r in own], dtype=float)


def search_notes(dataset: str, methods: list[MethodSpec]) -> list[str]:
    """Whose values of ``dataset`` a table shows: never those of kept searches, which the table of
    searches has, but perhaps values that an earlier search chose."""
    title = load_dataset_spec(dataset).title
    kept: dict[str, list[str]] = {}
    for spec in methods:
        if (found := kept_search(dataset, spec.name)) is not None:
            kept.setdefault(_how(found), []).append(f"{spec.title} ({', '.join(found.best)})")
    notes = [
        f"Searched on {title}, {how}: {'; '.join(who)}. The values found stand in the table of "
        "searches; this one shows what the methods' files hold."
        for how, who in kept.items()
    ]
    earlier = [spec.title for spec in methods if _SEARCHED in spec.sources.get(dataset, "")]
    if earlier:
        notes.append(
            f"The files of {', '.join(earlier)} hold values that an earlier search on {title} "
            "chose, trials not kept."
        )
    return notes


def _how(found: Searched) -> str:
    return (
        f"{found.budget} trials each on the first {found.tasks} tasks in the class order of seed "
        f"{found.seed}, judged on {100 * found.validation:g}% of their training images"
    )
