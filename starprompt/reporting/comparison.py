"""From an experiment's runs to the comparison of its methods: tables, and a page of findings."""

from pathlib import Path
from typing import TYPE_CHECKING

from starprompt.config.experiment import RESULTS, Config, load_config
from starprompt.config.methods import load_method
from starprompt.config.tuned import kept_search
from starprompt.data.registry import load_dataset_spec
from starprompt.reporting.ablations import depends, reach
from starprompt.reporting.method_pages import shown_range, shown_value
from starprompt.reporting.plan import finished_runs

if TYPE_CHECKING:
    from paper_figures.collect import Results
    from paper_figures.tables.table import Table

FIGURE = "prompt-use"
PAGE = "findings.md"


def make_comparison(config_path: Path, results: Path = RESULTS) -> list[Path]:
    """Measure the finished runs, write ``results/<name>/analysis/<dataset>/*.csv`` and the page.

    The page is ``results/<name>/findings.md`` and shows the figures of prompt use that exist.
    Raises :class:`UserError` when no run has finished or a file is damaged.
    """
    config = load_config(config_path)
    found = finished_runs(config)
    folder = results / config.name
    written = _measure(found, folder / "analysis")
    figures = {
        dataset: f"figures/{FIGURE}-{dataset}.png"
        for dataset in config.datasets
        if (folder / "figures" / f"{FIGURE}-{dataset}.png").exists()
    }
    return [*written, write_page(config, found, folder / PAGE, figures, results)]


def _measure(found: "Results", folder: Path) -> list[Path]:
    """One folder of CSV files a data set; returns their paths."""
    import pandas as pd

    from starprompt.analysis.comparison import compare_runs
    from starprompt.analysis.report import write_tables

    written = []
    for dataset in found.plan.datasets:
        folders = {
            (method, seed): found.plan.run_folder(of, method, seed)
            for of, method, seed in found.records
            if of == dataset.name
        }
        gaps = [(m, s, why) for (of, m, s), why in found.missing.items() if of == dataset.name]
        tables = compare_runs(folders)
        tables["missing"] = pd.DataFrame(gaps, columns=["method", "seed", "why"])
        written += write_tables(tables, folder / dataset.name)
    return written


def write_page(
    config: Config, found: "Results", page: Path, figures: dict[str, str], results: Path = RESULTS
) -> Path:
    """Write the page from the comparison's tables; ``figures`` by data set, as it links to them."""
    from paper_figures.analyses import Analyses
    from paper_figures.pages.comparison import write_comparison
    from paper_figures.provenance import provenance

    analyses = Analyses(found.plan, "", results / config.name / "analysis", "compare")
    made_from = provenance(found, depends(config, config.methods))
    return write_comparison(
        analyses, page, reach(config), searches_table(config), figures, made_from
    )


def searches_table(config: Config) -> "Table | None":
    """What kept searches tried and found, one row a data set and method; None without any."""
    import pandas as pd

    from paper_figures.tables.table import Table, number

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
    return Table("searches", "Searches for hyperparameters.", cells, cells, notes)
