"""Where the spread of an accuracy comes from: class order, training's draws, or rounding.

Runs are crossed: every class order with every training seed, each pair several times with other
rounding. The model is y_osr = m + O_o + S_s + (OS)_os + e_osr with random effects, and its variance
components are the analysis of variance's (method of moments): expected mean squares solved for the
components, negative solutions set to 0 (Searle, Casella and McCulloch, Variance Components, 1992,
chapter 4). A balanced design needs no more.
"""

import math

import numpy as np
import pandas as pd

#: the components, in the order of a table's columns
SOURCES = ("order", "seed", "both", "rounding")
#: columns of a table of runs
RUN_COLUMNS = ("dataset", "method", "order_seed", "seed", "perturbation", "accuracy")


def cells(runs: pd.DataFrame) -> np.ndarray:
    """(orders, seeds, repeats) accuracies of one method's runs.

    runs  one row a run: order_seed, seed, perturbation, accuracy

    Raises ValueError unless every order stands with every seed and perturbation once, and there
    are two of each.
    """
    table = runs.pivot(index=["order_seed", "seed"], columns="perturbation", values="accuracy")
    orders, seeds = (table.index.get_level_values(level).unique() for level in (0, 1))
    values = table.reindex(pd.MultiIndex.from_product([orders, seeds])).to_numpy(float)
    if np.isnan(values).any():
        raise ValueError("not every class order has runs of every seed and perturbation")
    if min(len(orders), len(seeds), values.shape[1]) < 2:
        raise ValueError("components need two class orders, two seeds and two repeats")
    return values.reshape(len(orders), len(seeds), -1)


def components(values: np.ndarray) -> dict[str, float]:
    """Variance components of (orders a, seeds b, repeats n) values, by :data:`SOURCES`.

    With mean squares MS: rounding = MS_within; both = (MS_both - MS_within) / n;
    order = (MS_order - MS_both) / (b n); seed = (MS_seed - MS_both) / (a n); none below 0.
    """
    a, b, n = values.shape
    cell, grand = values.mean(axis=2), values.mean()
    of_order, of_seed = cell.mean(axis=1), cell.mean(axis=0)
    within = ((values - cell[:, :, None]) ** 2).sum() / (a * b * (n - 1))
    rest = cell - of_order[:, None] - of_seed[None] + grand
    both = n * (rest**2).sum() / ((a - 1) * (b - 1))
    order = b * n * ((of_order - grand) ** 2).sum() / (a - 1)
    seed = a * n * ((of_seed - grand) ** 2).sum() / (b - 1)
    found = {
        "order": (order - both) / (b * n),
        "seed": (seed - both) / (a * n),
        "both": (both - within) / n,
        "rounding": within,
    }
    return {source: max(0.0, float(value)) for source, value in found.items()}


def variance_table(runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """One row a data set and method, and one each for the reference minus another method.

    runs       with :data:`RUN_COLUMNS`
    reference  the method that the others are subtracted from, run by run

    Columns: dataset, method, less (the method subtracted; "" for none), orders, seeds, repeats,
    mean, total (standard deviation of a run: the root of the components' sum), and the components
    as variances. Raises ValueError as :func:`cells` does.
    """
    rows = []
    for dataset, of_dataset in runs.groupby("dataset", sort=False):
        by_method = {
            str(method): cells(own) for method, own in of_dataset.groupby("method", sort=False)
        }
        wanted = [(method, "") for method in by_method]
        if reference in by_method:
            wanted += [(reference, method) for method in by_method if method != reference]
        for method, less in wanted:
            values = by_method[method] - (by_method[less] if less else 0.0)
            found = components(values)
            rows.append(
                {
                    "dataset": dataset,
                    "method": method,
                    "less": less,
                    **dict(zip(("orders", "seeds", "repeats"), values.shape, strict=True)),
                    "mean": float(values.mean()),
                    "total": math.sqrt(sum(found.values())),
                    **found,
                }
            )
    return pd.DataFrame(rows)
