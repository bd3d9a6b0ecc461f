"""From crossed runs to a table of where their spread comes from: ``results/NAME/variance.*``."""

from pathlib import Path

from starprompt.config.experiment import RESULTS, Config
from starprompt.errors import UserError
from starprompt.reporting.plan import make_plan

PAGE = "variance-findings.md"


def make_variance(config: Config, results: Path = RESULTS) -> list[Path]:
    """Write the table in its forms and a page of what it means; return their paths.

    Raises :class:`UserError` when ``starprompt variance`` has not measured it, or the file is
    damaged.
    """
    import pandas as pd

    from paper_figures.tables.escape import escape_markdown
    from paper_figures.tables.forms import to_markdown, write_table
    from paper_figures.tables.variance import variance_sentences, variance_table
    from starprompt.analysis.variance import SOURCES
    from starprompt.files import write_text

    path = results / config.name / "variance.csv"
    try:
        frame = pd.read_csv(path, keep_default_na=False).astype(dict.fromkeys(SOURCES, float))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} is not there or no table of variances ({error}); run `starprompt variance`."
        ) from error
    plan = make_plan(config)
    table = variance_table(plan, frame)
    written = write_table(table, results / config.name / "tables", plan.name)
    said = "\n".join(f"- {escape_markdown(line)}" for line in variance_sentences(plan, frame))
    page = results / config.name / PAGE
    write_text(page, f"# {escape_markdown(plan.title)}\n\n{to_markdown(table)}\n{said}\n")
    return [*written, page]
