"""Scores of made-up methods, as the tables of significance take them."""

import numpy as np
import pandas as pd


def scores(values: np.ndarray) -> pd.DataFrame:
    """values (methods, data sets, seeds) as the frame that the tables take."""
    rows = [
        {"method": f"m{m}", "dataset": f"d{d}", "seed": s, "score": value}
        for (m, d, s), value in np.ndenumerate(values)
    ]
    return pd.DataFrame(rows)
