"""A made-up table of variance components, as the analysis writes it."""

import pandas as pd


def components() -> pd.DataFrame:
    """Two methods and their difference; all of the difference's spread is rounding."""
    names = ["method", "less", "mean", "total", "order", "seed", "both", "rounding"]
    rows = [
        ("method-0", "", 90.0, 5.0, 16.0, 9.0, 0.0, 0.0),
        ("method-1", "", 80.0, 12.0, 144.0, 0.0, 0.0, 0.0),
        ("method-0", "method-1", 10.0, 3.0, 0.0, 0.0, 0.0, 9.0),
    ]
    frame = pd.DataFrame(rows, columns=names)
    return frame.assign(dataset="set-0", orders=4, seeds=3, repeats=2)
