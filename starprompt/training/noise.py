"""How far rounding alone moves each method's accuracy, beside how far seeds do.

Every run is repeated under perturbations of one unit in the last place, its first stage under the
same one. Two files stand beside the experiment's tables, which take up the second:

    noise-runs.csv  a row a run: dataset, method, seed, perturbation (0: none), accuracy
    noise.csv       a row a data set and method, see :func:`summarise`
"""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from starprompt.config.experiment import RESULTS, Config, Run, noise_file
from starprompt.config.methods import load_method
from starprompt.config.spread import NOISE_RUN_COLUMNS, noise_runs_file, repeated_folder
from starprompt.errors import UserError, unknown_name
from starprompt.files import atomic_path
from starprompt.record.record import RunRecord
from starprompt.training.perturbation import Perturbation
from starprompt.training.run import run

logger = logging.getLogger(__name__)
KEYS = NOISE_RUN_COLUMNS[:-1]


def measure_noise(
    config: Config,
    repeats: int,
    datasets: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> pd.DataFrame:
    """Repeat runs under ``repeats`` perturbations each; write both files, return the second.

    datasets, methods  only these; all of the experiment's by default

    Finished runs are read, not trained again, so that a larger number goes on from a smaller one.
    Rows of earlier calls about other runs are kept. Raises :class:`UserError` for a name that is
    not the experiment's.
    """
    if repeats < 1:
        raise UserError(f"{repeats} repeats show no spread; give 1 or more.")
    for kind, given, known in (
        ("data set", datasets, config.datasets),
        ("method", methods, config.methods),
    ):
        for name in given:
            if name not in known:
                raise unknown_name(f"{kind} of {config.name}", name, known)
    cells = [
        Run(dataset, method, seed)
        for dataset in datasets or config.datasets
        for method in methods or config.methods
        for seed in config.seeds
    ]
    rows = []
    for cell in cells:
        for number, record in _repeated(config, cell, repeats):
            accuracy = record.metrics.final_average_accuracy
            rows.append((*cell, number, accuracy))
            logger.info("%s on %s, seed %d, perturbation %d: %.2f%%", *_shown(cell), *rows[-1][3:])
    path_of_runs = noise_runs_file(config.name, RESULTS)
    runs = _with_earlier(pd.DataFrame(rows, columns=list(NOISE_RUN_COLUMNS)), path_of_runs)
    table = summarise(runs)
    for frame, path in ((runs, path_of_runs), (table, noise_file(config.name, RESULTS))):
        with atomic_path(path) as part:
            frame.to_csv(part, index=False)
    return table


def _shown(cell: Run) -> tuple[str, str, int]:
    return cell.method, cell.dataset, cell.seed


def _repeated(config: Config, cell: Run, repeats: int) -> Iterator[tuple[int, RunRecord]]:
    """A run as the experiment has it (number 0), and under each perturbation."""
    keys = load_method(cell.method).keys
    stages = [cell] if keys is None else [cell._replace(method=keys), cell]
    for stage in stages:
        record = run(config, stage)
    yield 0, record
    for number in range(1, repeats + 1):
        folders = {stage: repeated_folder(config, stage, number, RESULTS) for stage in stages}
        for stage in stages:
            record = run(
                config,
                stage,
                folder=folders[stage],
                keys_folder=folders[stages[0]] if stage is not stages[0] else None,
                perturbation=Perturbation(number, RESULTS / "noise" / config.name / cell.dataset),
            )
        yield number, record


def _with_earlier(runs: pd.DataFrame, path: Path) -> pd.DataFrame:
    """These rows, and those of an earlier call that are about other runs."""
    if not path.is_file():
        return runs
    try:
        earlier = pd.read_csv(path)[list(runs.columns)]
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"{path} is not a table of runs ({error}); remove it.") from error
    return pd.concat([earlier, runs]).drop_duplicates(list(KEYS), keep="last", ignore_index=True)


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """From one row a run (dataset, method, seed, perturbation, accuracy) to one a method.

    rounding_std    sample deviation within a seed, pooled over seeds
    rounding_range  largest difference between two runs of one seed
    seeds_std       sample deviation of the unperturbed runs over seeds; NaN for one seed
    seeds, repeats  counts; repeats include the unperturbed run
    """
    rows = []
    for (dataset, method), own in runs.groupby(["dataset", "method"], sort=False):
        of_seed = own.groupby("seed")["accuracy"]
        plain = own[own["perturbation"] == 0]["accuracy"]
        rows.append(
            {
                "dataset": dataset,
                "method": method,
                "seeds": own["seed"].nunique(),
                "repeats": int(of_seed.count().min()),
                "mean": own["accuracy"].mean(),
                "rounding_std": math.sqrt(of_seed.var().mean()),
                "rounding_range": (of_seed.max() - of_seed.min()).max(),
                "seeds_std": plain.std(),
            }
        )
    return pd.DataFrame(rows)
