"""Made-up predictions and choices of methods that are compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from paper_figures.analyses import Analyses
from paper_figures.collect import collect
from paper_figures.plan import MethodRow, Plan
from starprompt.record.record import PREDICTION_COLUMNS, SELECTION_COLUMNS, StreamRecord
from starprompt.reporting import comparison as command
from tests.helpers import fake_results

PLAN = fake_results.fake_plan(Path())
STREAM: StreamRecord = fake_results.fake_record(PLAN, "set-0", "joint", 0, [[50.0, 50.0]]).stream


def predicted(pairs: list[tuple[int, int]]) -> pd.DataFrame:
    """Labels and predictions after the last of two tasks of two classes each."""
    labels, named = np.array(pairs).T
    columns: dict[str, Any] = dict.fromkeys(PREDICTION_COLUMNS, 1)
    return pd.DataFrame({**columns, "label": labels, "prediction": named, "task": labels // 2})


def chosen(rows: list[tuple[int, int]], **columns: Any) -> pd.DataFrame:
    """True class and chosen prompt of a pool, in layer 0 after the last of two tasks."""
    true, prompt = np.array(rows).T
    default: dict[str, Any] = dict.fromkeys(SELECTION_COLUMNS, 1)
    default |= {"layer": 0, "chosen_class": -1, "chosen_task": -1, "weight": 1.0}
    return pd.DataFrame({**default, "true_class": true, "prompt": prompt, **columns})


def made_analyses(folder: Path) -> Analyses:
    """Three methods and the joint bound; every error of the first is one of another task."""
    plan = fake_results.fake_plan(folder, methods=4, seeds=2)
    rivals = [
        MethodRow("best", "Best", "It is.", group="feature"),
        MethodRow("prompted", "Prompted", "By prompts.", group="prompt"),
        MethodRow("finetune", "Fine-tuning", "Of all.", bound=True, group="bound"),
    ]
    plan = Plan(
        plan.name, plan.title, plan.runs, (*rivals, plan.methods[-1]), plan.datasets, (0, 1)
    )
    fake_results.write_fake_runs(plan, n_classes=4, n_tasks=2)
    right = {"best": 4, "prompted": 2, "finetune": 1, "joint": 3}
    for method, count in right.items():
        pairs = [(label, label if label < count else (label + 2) % 4) for label in range(4)]
        for seed in plan.seeds:
            path = plan.run_folder("set-0", method, seed)
            frame = predicted(pairs)
            arrays = {
                n: pa.array(frame[n], pa.type_for_alias(t)) for n, t in PREDICTION_COLUMNS.items()
            }
            pq.write_table(pa.table(arrays), path / "predictions.parquet")
            rows = chosen([(0, 1), (2, 1)]) if method == "prompted" else {}
            fake_results.write_selection(path, {n: rows[n].to_numpy() for n in rows})
    command._measure(collect(plan), folder / "analysis")
    return Analyses(plan, "", folder / "analysis", "compare")
