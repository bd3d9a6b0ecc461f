"""From an experiment's runs to the comparison of its methods: tables, and a page of findings."""

from pathlib import Path
from typing import TYPE_CHECKING

from starprompt.config.experiment import FULL_METHOD, RESULTS, Config, load_config
from starprompt.machine.loading import loading
from starprompt.reporting.ablations import depends, reach
from starprompt.reporting.plan import finished_runs
from starprompt.reporting.reproduce import with_provenance
from starprompt.reporting.searches import searches_table

if TYPE_CHECKING:
    import pandas as pd

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
    return with_provenance("compare", config, found, lambda: _compared(config, found, results))


def _compared(config: Config, found: "Results", results: Path) -> list[Path]:
    from paper_figures.stamps import write_side_files

    folder = results / config.name
    written = _measure(found, folder / "analysis")
    figures = {
        dataset: f"figures/{FIGURE}-{dataset}.png"
        for dataset in config.datasets
        if (folder / "figures" / f"{FIGURE}-{dataset}.png").is_file()
    }
    written += make_statistics(found, folder)
    write_side_files(written)  # the page reads these tables and compares their digests
    return [*written, write_page(config, found, folder / PAGE, figures, results)]


def make_statistics(found: "Results", folder: Path) -> list[Path]:
    """Ranks, robust means, profiles and paired comparisons, as CSV, tables and figures.

    Numbers stand in ``analysis/*.csv``, tables and figures in ``comparison/``; returns the paths.
    """
    from paper_figures.figures.ranks import critical_difference_diagram, performance_profiles
    from paper_figures.style import paper_style, save
    from paper_figures.tables.forms import write_table
    from starprompt.analysis.report import write_tables

    plan, at = found.plan, folder / "comparison"
    numbers = statistics_of(found)
    written = write_tables(numbers, folder / "analysis")
    for table in statistics_tables(found, numbers):
        written += write_table(table, at, plan.name)
    with paper_style():
        ranks = critical_difference_diagram(plan, numbers["ranks"])
        written += save(ranks, at, "critical-difference")
        written += save(performance_profiles(plan, numbers["profiles"]), at, "performance-profile")
    return written


def statistics_of(found: "Results") -> "dict[str, pd.DataFrame]":
    """The four tables of :mod:`starprompt.analysis.significance`, of the final accuracies.

    Bounds have no rank; they stand in the rest. Means and profiles are over the runs of the ranks,
    so that a run that only a bound has keeps no other method out.
    """
    from starprompt.analysis import significance

    columns = ["method", "dataset", "seed", "final_average_accuracy"]
    scores = found.runs[columns].rename(columns={"final_average_accuracy": "score"})
    bounds = [method.name for method in found.plan.methods if method.bound]
    rivals = scores[~scores["method"].isin(bounds)]
    ranked = significance.at_runs_of(scores, rivals) if len(rivals) else scores
    return {
        "ranks": significance.ranks_table(rivals),
        "aggregates": significance.aggregates_table(ranked),
        "profiles": significance.profiles_table(ranked),
        "pairs": significance.pairs_table(scores, reference_of(found)),
    }


def statistics_tables(found: "Results", numbers: "dict[str, pd.DataFrame]") -> "list[Table]":
    """Ranks and paired comparisons as tables."""
    from paper_figures.tables import significance as tables

    return [
        tables.ranks_table(found, numbers["ranks"], numbers["aggregates"]),
        tables.pairs_table(found.plan, numbers["pairs"], reference_of(found)),
    ]


def reference_of(found: "Results") -> str:
    """The method that the others are compared with: STAR-Prompt, else the first that has runs."""
    there = set(found.runs["method"])
    names = [m.name for m in found.plan.blocks() if m.name in there]
    return FULL_METHOD if FULL_METHOD in names else names[0]


def _measure(found: "Results", folder: Path) -> list[Path]:
    """One folder of CSV files a data set; returns their paths."""
    with loading():
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
    from paper_figures.tables.significance import sentences

    analyses = Analyses(found.plan, "", results / config.name / "analysis", "compare")
    made_from = provenance(found, depends(config, config.methods))
    said = sentences(found.plan, analyses.statistics("pairs"), reference_of(found))
    return write_comparison(
        analyses, page, reach(config, found), searches_table(config), figures, made_from, said
    )
