"""From an experiment's configuration to its tables and figures.

The drawing libraries are imported only when something is drawn.
"""

from pathlib import Path

from starprompt.config.experiment import RESULTS, load_config
from starprompt.machine.loading import loading
from starprompt.reporting.plan import finished_runs
from starprompt.reporting.reproduce import with_provenance


def make_tables(config_path: Path, results: Path = RESULTS) -> list[Path]:
    """Write all tables of an experiment under ``results/<name>/tables``; return their paths.

    Missing runs leave dashes with a footnote. Raises :class:`UserError` when no run has finished or
    a file is damaged.
    """
    with loading():
        from paper_figures.tables.paper import write_tables

    config = load_config(config_path)
    found = finished_runs(config)
    folder = _without_remains(results / config.name / "tables")
    return with_provenance("tables", config, found, lambda: write_tables(found, folder))


def make_figures(config_path: Path, results: Path = RESULTS, processes: int = 1) -> list[Path]:
    """Draw all figures of an experiment under ``results/<name>/figures``; return their paths.

    processes  that share the data sets

    Missing runs are left out. Raises :class:`UserError` when no run has finished or a file is
    damaged.
    """
    with loading():
        from paper_figures.figures.paper import write_figures

    config = load_config(config_path)
    found = finished_runs(config)
    folder = _without_remains(results / config.name / "figures")
    return with_provenance(
        "figures", config, found, lambda: write_figures(found, folder, processes)
    )


def _without_remains(folder: Path) -> Path:
    """``folder``, less what a killed process left half written there."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)
    return folder
