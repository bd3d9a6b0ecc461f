"""How far rounding alone moves each method's accuracy, beside how far seeds do."""

import math

import pandas as pd

#: columns of a table of runs; perturbation 0 is the run as it is
RUN_COLUMNS = ("dataset", "method", "seed", "perturbation", "accuracy")
#: two accuracies, in percent, that are nearer to each other are one that was written and read
SAME = 1e-6


def noise_table(runs: pd.DataFrame) -> pd.DataFrame:
    """From one row a run (:data:`RUN_COLUMNS`) to one a data set and method.

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
