"""From crossed runs to tables of where their spread comes from, beside an experiment's own.

variance-runs.csv  a row a run: dataset, method, order_seed, seed, perturbation, accuracy
variance.csv       a row a data set and method, or difference of two, see
                   :func:`starprompt.analysis.variance.variance_table`
"""

from pathlib import Path
from typing import TYPE_CHECKING

from starprompt.config.experiment import RESULTS, Config
from starprompt.config.spread import variance_file, variance_runs_file
from starprompt.machine.loading import loading
from starprompt.reporting.plan import make_plan
from starprompt.reporting.reproduce import with_provenance
from starprompt.reporting.spread import records_of, write_csv

if TYPE_CHECKING:
    import pandas as pd

PAGE = "variance-findings.md"


def make_variance(config: Config, runs: "pd.DataFrame", results: Path = RESULTS) -> list[Path]:
    """Write the tables and a page of what they mean, which say what they were made from.

    runs  one row a run, as :mod:`starprompt.analysis.variance` has them; the differences are those
          of the first method to the others

    Returns the paths: the table of runs, that of components, its forms, the page.
    """
    with loading():
        from starprompt.analysis.variance import variance_table

    table = variance_table(runs, str(runs["method"].iloc[0]))
    files = {
        variance_runs_file(config.name, results): runs,
        variance_file(config.name, results): table,
    }
    return with_provenance(
        "variance",
        config,
        records_of(config, "variance", runs, results),
        lambda: [
            *(write_csv(path, frame, float_format="%.10g") for path, frame in files.items()),
            *_written(config, table, results),
        ],
    )


def _written(config: Config, frame: "pd.DataFrame", results: Path) -> list[Path]:
    from paper_figures.stamps import stamped
    from paper_figures.tables.escape import escape_markdown
    from paper_figures.tables.forms import to_markdown, write_table
    from paper_figures.tables.variance import variance_sentences, variance_table
    from starprompt.files import write_text

    plan = make_plan(config)
    table = variance_table(plan, frame)
    written = write_table(table, results / config.name / "tables", plan.name)
    said = "\n".join(f"- {escape_markdown(line)}" for line in variance_sentences(plan, frame))
    page = results / config.name / PAGE
    text = f"# {escape_markdown(plan.title)}\n\n{to_markdown(table)}\n{said}\n"
    write_text(page, stamped("md", text))
    return [*written, page]
