"""Runs that show what rounding alone does: repeats, perturbed by one unit in the last place.

A run's first stage is repeated under the same perturbation. :mod:`starprompt.reporting.noise`
writes the tables.
"""

import logging
from collections.abc import Iterator, Sequence

import pandas as pd

from starprompt.analysis.noise import RUN_COLUMNS
from starprompt.config.experiment import RESULTS, Config, Run
from starprompt.config.methods import load_method
from starprompt.config.spread import repeated_folder
from starprompt.errors import UserError, unknown_name
from starprompt.record.record import RunRecord
from starprompt.training.perturbation import Perturbation
from starprompt.training.run import run

logger = logging.getLogger(__name__)


def measure_noise(
    config: Config,
    repeats: int,
    datasets: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> pd.DataFrame:
    """Repeat runs under ``repeats`` perturbations each; one row a run, as ``RUN_COLUMNS`` has it.

    datasets, methods  only these; all of the experiment's by default

    Finished runs are read, not trained again, so that a larger number goes on from a smaller one.
    Raises :class:`UserError` for a name that is not the experiment's.
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
        for dataset in dict.fromkeys(datasets or config.datasets)
        for method in dict.fromkeys(methods or config.methods)
        for seed in config.seeds
    ]
    rows = []
    for cell in cells:
        for number, record in _repeated(config, cell, repeats):
            accuracy = record.metrics.final_average_accuracy
            rows.append((*cell, number, accuracy))
            logger.info("%s on %s, seed %d, perturbation %d: %.2f%%", *_shown(cell), *rows[-1][3:])
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


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
