"""Runs that separate the sources of spread: every class order with every seed, rounded otherwise.

A run's seed gives the class order, and everything that training draws: initial weights, order of
images, augmentation, replayed features. Here the two are crossed, and each pair is repeated under
perturbations of one unit in the last place. :mod:`starprompt.reporting.variance` writes the tables.
"""

import logging
from collections.abc import Iterator, Sequence

import pandas as pd

from starprompt.analysis.variance import RUN_COLUMNS
from starprompt.config.experiment import RESULTS, Config, Run
from starprompt.config.methods import load_method
from starprompt.config.spread import crossed_folder
from starprompt.errors import UserError, unknown_name
from starprompt.training.perturbation import Perturbation
from starprompt.training.run import run

logger = logging.getLogger(__name__)


def measure_variance(
    config: Config,
    repeats: int,
    orders: Sequence[int] = (),
    methods: Sequence[str] = (),
) -> pd.DataFrame:
    """Train what is not there; one row a run, as ``RUN_COLUMNS`` has it.

    repeats  runs of each class order and seed: one as it is, the others perturbed
    orders   seeds of class orders; the experiment's seeds by default
    methods  only these; all of the experiment's by default

    Finished runs are read, not trained again; those whose order is their seed's are the
    experiment's own. Raises :class:`UserError` for a design too small for components.
    """
    orders = list(dict.fromkeys(orders or config.seeds))
    if min(repeats, len(orders), len(config.seeds)) < 2:
        raise UserError(
            "Variance components need two repeats, two class orders and two seeds or more; "
            f"{config.name} has {repeats}, {len(orders)} and {len(config.seeds)}."
        )
    for name in methods:
        if name not in config.methods:
            raise unknown_name(f"method of {config.name}", name, config.methods)
    chosen = list(dict.fromkeys(methods or config.methods))
    rows = []
    for dataset in config.datasets:
        for method in chosen:
            for seed in config.seeds:
                for order in orders:
                    cell = Run(dataset, method, seed)
                    for number, accuracy in _repeated(config, cell, order, repeats):
                        rows.append((dataset, method, order, seed, number, accuracy))
                        logger.info(
                            "%s on %s, class order of %d, seed %d, perturbation %d: %.2f%%",
                            method, dataset, order, seed, number, accuracy,
                        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def _repeated(config: Config, cell: Run, order: int, repeats: int) -> Iterator[tuple[int, float]]:
    """Final average accuracy of a run as it is (number 0) and under each perturbation.

    A first stage is of the same class order and perturbation as the run that uses its keys.
    """
    ordered = config.model_copy(update={"order_seed": order})
    keys = load_method(cell.method).keys
    stages = [cell] if keys is None else [cell._replace(method=keys), cell]
    for number in range(repeats):
        folders = [crossed_folder(config, stage, order, number, RESULTS) for stage in stages]
        perturbation = (
            Perturbation(number, RESULTS / "noise" / config.name / cell.dataset) if number else None
        )
        for stage, folder in zip(stages, folders, strict=True):
            record = run(
                ordered,
                stage,
                folder=folder,
                keys_folder=folders[0] if stage is not stages[0] else None,
                perturbation=perturbation,
            )
        yield number, record.metrics.final_average_accuracy
