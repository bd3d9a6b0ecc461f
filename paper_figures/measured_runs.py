"""Tables of runs that ``starprompt noise`` and ``starprompt variance`` write, one row a run."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from paper_figures.stamps import unchanged


def read_measured_runs(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of a table of runs: names, then whole numbers, then the accuracy in percent.

    columns  data set and method first, ``accuracy`` last; those between are whole numbers, and all
             but the last name a run

    Raises ValueError, KeyError or OSError for a table that is damaged, changed, or holds what no
    run gives.
    """
    *keys, accuracy = columns
    table = pd.read_csv(unchanged(path), keep_default_na=False)[[*columns]]
    table = table.astype({**dict.fromkeys(keys[2:], int), accuracy: float})
    if not table[accuracy].between(0, 100).all():
        raise ValueError("an accuracy is not between 0 and 100 percent")
    if table["perturbation"].lt(0).any():
        raise ValueError("a perturbation is below 0")
    if table.duplicated(keys).any():
        raise ValueError("it has two rows for one run")
    return table
