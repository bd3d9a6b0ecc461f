"""The records behind ``starprompt noise`` and ``starprompt variance``, and their commands again."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starprompt.config.experiment import RESULTS, Config, Run
from starprompt.config.spread import (
    crossed_folder,
    noise_runs_file,
    repeated_folder,
    variance_runs_file,
)
from starprompt.errors import UserError, reason
from starprompt.files import atomic_path
from starprompt.record.run_files import RECORD

if TYPE_CHECKING:
    import pandas as pd

#: by command, its table of runs
RUNS: Mapping[str, Callable[[str, Path], Path]] = {
    "noise": noise_runs_file,
    "variance": variance_runs_file,
}


def measured_records(config: Config, command: str, results: Path = RESULTS) -> dict[str, Path]:
    """The records of the runs in a command's table of runs, by their folders; of those there are.

    Raises :class:`UserError` for a damaged table.
    """
    table = read_runs(config.name, command, results)
    return {} if table is None else records_of(config, command, table, results)


def records_of(
    config: Config, command: str, table: "pd.DataFrame", results: Path = RESULTS
) -> dict[str, Path]:
    """The records of the runs in ``table``, by their folders; of those there are."""
    folders = []
    for row in table.to_dict("records"):
        cell = Run(str(row["dataset"]), str(row["method"]), int(row["seed"]))
        number = int(row["perturbation"])
        folders.append(
            repeated_folder(config, cell, number, results)
            if command == "noise"
            else crossed_folder(config, cell, int(row["order_seed"]), number, results)
        )
    return {folder.as_posix(): folder / RECORD for folder in folders if (folder / RECORD).is_file()}


def measuring_commands(
    config: Config, file: Path, command: str, results: Path = RESULTS
) -> list[str]:
    """The calls that measure what a command's table of runs holds, and what they need before.

    One call for all methods of as many repeats; the plain command where the table is not there.
    """
    of = f"--config {shlex.quote(str(file))}"
    lines = [f"starprompt data prepare {name}" for name in config.datasets]
    lines += [f"starprompt embed {of} --dataset {name}" for name in config.datasets]
    table = read_runs(config.name, command, results)
    if table is None or table.empty:
        return [*lines, f"starprompt {command} {of}"]
    orders = [f"--order {order}" for order in dict.fromkeys(table.get("order_seed", ()))]
    calls: dict[tuple[str, ...], list[str]] = {}
    for (dataset, method), own in table.groupby(["dataset", "method"], sort=False):
        most = int(own["perturbation"].max())
        # Number 0 is the run as it is, which counts as a repeat of a variance alone.
        options = (
            (f"--repeats {most}", f"--dataset {shlex.quote(str(dataset))}")
            if command == "noise"
            else (f"--repeats {most + 1}", *orders)
        )
        methods = calls.setdefault(options, [])
        if (said := f"--method {shlex.quote(str(method))}") not in methods:
            methods.append(said)
    for options, methods in calls.items():
        lines.append(" ".join([f"starprompt {command} {of}", *options, *methods]))
    return lines


def read_runs(name: str, command: str, results: Path = RESULTS) -> "pd.DataFrame | None":
    """A command's table of runs; None where it is not there.

    Raises :class:`UserError` for one that is damaged, changed, or holds what no run gives.
    """
    from paper_figures.measured_runs import read_measured_runs
    from starprompt.analysis import noise, variance

    path = RUNS[command](name, results)
    if not path.is_file():
        return None
    columns = noise.RUN_COLUMNS if command == "noise" else variance.RUN_COLUMNS
    try:
        return read_measured_runs(path, columns)
    except (ValueError, KeyError, OSError) as error:
        raise UserError(
            f"{path} is not a table of runs ({reason(error)}); remove it and run "
            f"`starprompt {command}` again."
        ) from error


def write_csv(path: Path, table: "pd.DataFrame", **options: Any) -> Path:
    """Write a table; what stands beside an earlier one is removed first, as it is of that one."""
    from paper_figures.stamps import side_file

    side_file(path).unlink(missing_ok=True)
    with atomic_path(path) as part:
        table.to_csv(part, index=False, **options)
    return path
