"""Every run in one CSV, for pandas: ``pandas.read_csv("results/NAME/tables/runs.csv")``."""

from pathlib import Path

import pandas as pd

from paper_figures.collect import Results
from paper_figures.tables.escape import escape_csv
from starprompt.analysis.runs import run_row
from starprompt.files import sha256_file, write_text
from starprompt.record.configuration import class_order_seed, configuration_digest, fixed_order
from starprompt.record.origins import shown_origin
from starprompt.record.run_files import RECORD

RUNS = "runs.csv"


def runs_frame(results: Results) -> pd.DataFrame:
    """One row a run: what it is of, whose, its metrics and costs, and what it ran on.

    Metrics and costs have the columns of :mod:`starprompt.analysis.runs`, in percent and seconds.
    ``order_seed`` gave the class order: the run's own seed, unless the experiment fixes another.
    ``configuration`` is equal for runs that differ in their seed alone; ``method_source`` is empty
    where the record names none; ``record`` is the SHA-256 of ``record.json``.
    """
    titles = {method.name: method.title for method in results.plan.methods}
    order = fixed_order(results.records.values())
    rows = []
    for (dataset, method, seed), record in results.records.items():
        stream = record.stream
        rows.append(
            {
                "experiment": record.config,
                "dataset": dataset,
                "method": method,
                "title": titles[method],
                "seed": seed,
                "order_seed": class_order_seed(record),
                "origin": shown_origin(results.origins.get((dataset, method, seed), "")),
                "tasks": len(stream.test_counts),
                "classes": len(stream.class_names),
                "train_images": sum(stream.train_counts),
                "test_images": sum(stream.test_counts),
                **run_row(record),
                "configuration": configuration_digest(record, order),
                "method_source": record.method_source,
                "fingerprint": record.fingerprint,
                "data": stream.data_digest,
                "device": str(record.device.get("name") or record.device.get("type") or ""),
                "torch": record.versions.get("torch", ""),
                "starprompt": record.versions.get("starprompt", ""),
                "git_revision": record.git_revision,
                "started": record.started,
                "finished": record.finished,
                "attempts": record.attempts,
                "record": sha256_file(results.plan.run_folder(dataset, method, seed) / RECORD),
            }
        )
    return pd.DataFrame(rows)


def write_runs(results: Results, folder: Path) -> Path:
    """Write ``runs.csv``; return its path. No text becomes a formula of a spreadsheet."""
    path = folder / RUNS
    write_text(path, runs_frame(results).map(escape_csv).to_csv(index=False))
    return path
