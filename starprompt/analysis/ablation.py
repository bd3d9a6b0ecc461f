"""What a variant gains or loses against the full method, and what it costs."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from starprompt.analysis import runs
from starprompt.analysis.results import RunFiles

LEVEL = 0.95


def run_row(run: RunFiles) -> dict[str, float | int | None]:
    """One run's metrics (percent) and cost, by the columns of ``runs.csv``: those of
    :mod:`starprompt.analysis.runs`, and the operations of a training step, an image."""
    found = run.diagnostics(len(run.record.times) - 1)
    counted = float(found["train_operations"]) if "train_operations" in found else None
    return {**runs.run_row(run.record), "train_operations": counted}


def convergence(run: RunFiles) -> pd.DataFrame:
    """Means over each epoch's batches: task, epoch (from 1), loss, and where the method reports it,
    accuracy (percent right among the task's own classes, on augmented images, while learning)."""
    rows = [
        {
            "task": epoch.task,
            "epoch": epoch.epoch + 1,
            "loss": epoch.losses["loss"],
            "accuracy": 100 * epoch.losses["accuracy"] if "accuracy" in epoch.losses else None,
        }
        for epoch in run.record.losses
    ]
    return pd.DataFrame(rows, columns=["task", "epoch", "loss", "accuracy"])


def paired_interval(differences: np.ndarray, level: float = LEVEL) -> tuple[float, float] | None:
    """Student's interval of the mean of paired differences; None for fewer than two.

    With the three seeds of one data set a bootstrap would be too narrow by half; Student's factor
    (4.3 for three) is right where differences are near normal.
    """
    n = len(differences)
    if n < 2:
        return None
    half = stats.t.ppf((1 + level) / 2, n - 1) * differences.std(ddof=1) / math.sqrt(n)
    mean = float(differences.mean())
    return mean - float(half), mean + float(half)


def differences(scores: Mapping[str, Mapping[int, float]], full: str) -> pd.DataFrame:
    """Each method minus the full one, paired by seed.

    scores  by method, then seed. One row a method: method, seeds (pairs), mean, deviation (its own
    scores'), difference, low, high (NaN where there is no interval).
    """
    rows = []
    for method, own in scores.items():
        pairs = sorted(own.keys() & scores[full].keys())
        values = np.array([own[seed] for seed in sorted(own)])
        difference = np.array([own[seed] - scores[full][seed] for seed in pairs])
        low, high = paired_interval(difference) or (math.nan, math.nan)
        rows.append(
            {
                "method": method,
                "seeds": len(pairs),
                "mean": values.mean(),
                "deviation": values.std(ddof=1) if len(values) > 1 else math.nan,
                "difference": difference.mean() if len(pairs) else math.nan,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)
