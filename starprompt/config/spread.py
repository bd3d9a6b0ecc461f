"""Where the runs stand that measure spread: repeated with other rounding, or seeds crossed.

``starprompt noise`` and ``starprompt variance`` write two tables each beside an experiment's own:
one row a run, and what they sum up to.
"""

from pathlib import Path

from starprompt.config.experiment import RESULTS, Config, Run, noise_file


def noise_runs_file(name: str, results: Path = RESULTS) -> Path:
    """One row a run of ``starprompt noise``, as :mod:`starprompt.analysis.noise` has them."""
    return noise_file(name, results).with_name("noise-runs.csv")


def variance_file(name: str, results: Path = RESULTS) -> Path:
    """What class order, training and rounding each do, by method."""
    return results / name / "variance.csv"


def variance_runs_file(name: str, results: Path = RESULTS) -> Path:
    """One row a run of ``starprompt variance``, as :mod:`starprompt.analysis.variance` has them."""
    return results / name / "variance-runs.csv"


def repeated_folder(config: Config, cell: Run, number: int, results: Path = RESULTS) -> Path:
    """The folder of a run under a perturbation; number 0, without one, is the experiment's own."""
    if not number:
        return config.run_folder(cell)
    own = results / "noise" / config.name / cell.dataset / cell.method
    return own / f"seed{cell.seed}-{number}"


def crossed_folder(
    config: Config, cell: Run, order: int, number: int, results: Path = RESULTS
) -> Path:
    """The folder of a run under the class order of another seed and a perturbation.

    Without either it is the experiment's own.
    """
    if order == cell.seed and not number:
        return config.run_folder(cell)
    own = results / "variance" / config.name / cell.dataset / cell.method
    return own / f"order{order}-seed{cell.seed}-{number}"
