"""From an experiment's runs to a page of how its methods compare."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from starprompt.config.experiment import RESULTS, Config, load_config
from starprompt.config.methods import load_method
from starprompt.config.tuned import kept_search
from starprompt.data.registry import load_dataset_spec
from starprompt.files import atomic_path
from starprompt.reporting.ablations import reach
from starprompt.reporting.method_pages import shown_range, shown_value
from starprompt.reporting.plan import make_plan

if TYPE_CHECKING:
    from paper_figures.tables.text import TextTable

DOCS = Path("docs")
FIGURE = "prompt-use"


def make_comparison(config_path: Path, results: Path = RESULTS, docs: Path = DOCS) -> list[Path]:
    """Write ``findings-NAME.md`` under ``docs``, with the figures of prompt use that exist.

    Raises :class:`UserError` when runs are missing (they are listed) or a file is damaged.
    """
    from paper_figures.collect import collect
    from paper_figures.pages.comparison import write_comparison

    config = load_config(config_path)
    figures = {}
    for dataset in config.datasets:
        figure = results / config.name / "figures" / f"{FIGURE}-{dataset}.png"
        if figure.exists():
            figures[dataset] = docs / "images" / f"{config.name}-{FIGURE}-{dataset}.png"
            with atomic_path(figures[dataset]) as part:
                shutil.copyfile(figure, part)
    page = write_comparison(
        collect(make_plan(config)),
        docs / f"findings-{config.name}.md",
        reach(config),
        searches_table(config),
        {dataset: str(path.relative_to(docs)) for dataset, path in figures.items()},
    )
    return [page, *figures.values()]


def searches_table(config: Config) -> "TextTable | None":
    """What kept searches tried and found, one row a data set and method; None without any."""
    import pandas as pd

    from paper_figures.tables.text import TextTable, number

    rows, how, several = [], set(), len(config.datasets) > 1
    for dataset in config.datasets:
        for name in config.methods:
            spec, found = load_method(name), kept_search(dataset, name)
            if found is None:
                continue
            how.add((found.budget, found.tasks, found.validation, found.seed))
            where = [f"{key} {shown_range(limits)}" for key, limits in found.ranges.items()]
            rows.append(
                {
                    "Method": spec.title,
                    **({"Data set": load_dataset_spec(dataset).title} if several else {}),
                    "Searched": "; ".join(where),
                    "First trial [%]": number(found.own_accuracy, 1),
                    "Best [%]": number(found.best_accuracy, 1),
                    "Taken": ", ".join(f"{key} {shown_value(v)}" for key, v in found.best.items()),
                }
            )
    if not rows:
        return None
    notes = [
        f"{budget} trials a method on the first {tasks} tasks, in the class order of seed {seed}, "
        f"each judged on {100 * share:g}% of those tasks' training images. The first trial is what "
        "the method had before; the rest are Optuna's. No test image was opened."
        for budget, tasks, share, seed in sorted(how)
    ]
    cells = pd.DataFrame(rows)
    return TextTable("searches", "Searches for hyperparameters.", cells, cells, notes)
