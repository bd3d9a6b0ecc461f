"""From crossed runs to a table of where their spread comes from: ``results/NAME/variance.*``."""

from pathlib import Path
from typing import TYPE_CHECKING

from starprompt.config.experiment import RESULTS, Config
from starprompt.config.spread import variance_file, variance_runs_file
from starprompt.errors import UserError
from starprompt.reporting.plan import make_plan
from starprompt.reporting.reproduce import with_provenance
from starprompt.reporting.spread import measured_records

if TYPE_CHECKING:
    import pandas as pd

PAGE = "variance-findings.md"


def make_variance(config: Config, results: Path = RESULTS) -> list[Path]:
    """Write the table in its forms and a page of what it means; say beside all tables what they
    were made from. Returns the paths, those of the measured tables first.

    Raises :class:`UserError` when ``starprompt variance`` has not measured it, or the file is
    damaged.
    """
    import pandas as pd

    from paper_figures.stamps import unchanged
    from starprompt.analysis.variance import SOURCES

    path = variance_file(config.name, results)
    try:
        frame = pd.read_csv(unchanged(path), keep_default_na=False).astype(
            dict.fromkeys(SOURCES, float)
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} is missing or is not a table of variances ({error}); run `starprompt "
            "variance`."
        ) from error
    runs = variance_runs_file(config.name, results)
    measured = [file for file in (runs, path) if file.is_file()]
    return with_provenance(
        "variance",
        config,
        measured_records(config, "variance", results),
        lambda: [*measured, *_written(config, frame, results)],
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
