"""From repeated runs to two tables beside an experiment's own, which take up the second.

noise-runs.csv  a row a run: dataset, method, seed, perturbation (0: none), accuracy
noise.csv       a row a data set and method, see :func:`starprompt.analysis.noise.noise_table`
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from starprompt.config.experiment import RESULTS, Config, Run, noise_file
from starprompt.config.spread import noise_runs_file, repeated_folder
from starprompt.errors import UserError
from starprompt.machine.loading import loading
from starprompt.record.record import RunRecord, read_record
from starprompt.record.run_files import RECORD
from starprompt.reporting.reproduce import with_provenance
from starprompt.reporting.spread import read_runs, records_of, write_csv

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


def refuse_damaged_noise(config: Config, results: Path = RESULTS) -> None:
    """Before anything trains: raise :class:`UserError` for a damaged table of an earlier call."""
    read_runs(config.name, "noise", results)


def write_noise(
    config: Config, runs: "pd.DataFrame", results: Path = RESULTS
) -> "tuple[pd.DataFrame, list[Path]]":
    """Write both tables, which say what they were made from; return the second, and their paths.

    runs  what was measured now; rows of earlier calls about other methods and data sets stay as
          long as they are of runs that the experiment has

    Raises :class:`UserError` for a damaged table of an earlier call.
    """
    with loading():
        import pandas as pd

        from starprompt.analysis.noise import noise_table

    if (earlier := _earlier(config, runs, results)) is not None:
        runs = pd.concat([earlier, runs], ignore_index=True)
    table = noise_table(runs)
    files = {noise_runs_file(config.name, results): runs, noise_file(config.name, results): table}
    written = with_provenance(
        "noise",
        config,
        records_of(config, "noise", runs, results),
        lambda: [write_csv(path, frame) for path, frame in files.items()],
    )
    return table, written


def _earlier(config: Config, runs: "pd.DataFrame", results: Path) -> "pd.DataFrame | None":
    """Rows of earlier calls that are about other methods or data sets and that still hold."""
    table = read_runs(config.name, "noise", results)
    if table is None or table.empty:
        return None
    now = set(zip(runs["dataset"], runs["method"], strict=True))
    kept = []
    for (dataset, method, seed), own in table.groupby(["dataset", "method", "seed"], sort=False):
        if (dataset, method) in now:
            continue
        if _stands(config, Run(str(dataset), str(method), int(seed)), own, results):
            kept.append(own.index)
        else:
            logger.info(
                "left out of the table: %s on %s, seed %d, which has other runs by now",
                method, dataset, seed,
            )  # fmt: skip
    return table.loc[[row for index in kept for row in index]] if kept else None


def _stands(config: Config, cell: Run, own: "pd.DataFrame", results: Path) -> bool:
    """Whether a run is the experiment's, and the records there are have these rows' accuracies.

    Perturbed runs are of the values of the run as it is; their records may have been removed.
    """
    if (
        cell.dataset not in config.datasets
        or cell.method not in config.methods
        or cell.seed not in config.seeds
    ):
        return False
    from starprompt.analysis.noise import SAME

    accuracies = dict(zip(own["perturbation"], own["accuracy"], strict=True))
    records: dict[int, RunRecord] = {}
    for number in accuracies:
        path = repeated_folder(config, cell, number, results) / RECORD
        if path.is_file():
            try:
                records[number] = read_record(path)
            except UserError:
                return False
    return 0 in records and all(
        abs(record.metrics.final_average_accuracy - accuracies[number]) < SAME
        and record.method.hyperparameters == records[0].method.hyperparameters
        for number, record in records.items()
    )
