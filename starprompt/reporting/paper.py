"""From an experiment's configuration to its tables and figures.

The drawing libraries are imported only when something is drawn.
"""

from pathlib import Path

from starprompt.config.experiment import RESULTS, load_config
from starprompt.reporting.plan import make_plan


def make_tables(config_path: Path, results: Path = RESULTS) -> list[Path]:
    """Write all tables of an experiment under ``results/<name>/tables``; return their paths.

    Raises :class:`UserError` when runs are missing (they are listed) or a file is damaged.
    """
    from paper_figures.collect import collect
    from paper_figures.tables.paper import write_tables

    plan = make_plan(load_config(config_path))
    return write_tables(collect(plan), _without_remains(results / plan.name / "tables"))


def make_figures(config_path: Path, results: Path = RESULTS) -> list[Path]:
    """Draw all figures of an experiment under ``results/<name>/figures``; return their paths.

    Raises :class:`UserError` when runs are missing (they are listed) or a file is damaged.
    """
    from paper_figures.collect import collect
    from paper_figures.figures.paper import write_figures

    plan = make_plan(load_config(config_path))
    return write_figures(collect(plan), _without_remains(results / plan.name / "figures"))


def _without_remains(folder: Path) -> Path:
    """``folder``, less what a killed process left half written there."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)
    return folder
