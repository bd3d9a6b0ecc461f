"""The forecast beside what finished runs counted and measured."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from starprompt.budget.model import expected
from starprompt.budget.rates import GIGA, TERA, default_rate
from starprompt.budget.report import aligned, count, searched_methods
from starprompt.config.experiment import Config, Run
from starprompt.config.methods import with_keys
from starprompt.errors import UserError
from starprompt.record.csv_rows import csv_of
from starprompt.record.record import RunRecord, read_record
from starprompt.record.run_files import RECORD


@dataclass(frozen=True)
class Measured:
    """The finished runs of one method on one data set, beside their forecast.

    Of one run, the mean over seeds. rate is the TFLOP/s that its steps sustained, 0 where nothing
    was counted; the forecast's seconds are those at this rate, or at that of the other runs.
    """

    dataset: str
    method: str
    seeds: int
    step_operations: tuple[float, float]
    rate: float
    seconds: tuple[float, float]
    memory_bytes: tuple[float, float]
    parameters: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """For CSV and JSON: pairs as forecast_ and measured_."""
        pairs = ("step_operations", "seconds", "memory_bytes", "parameters")
        return {
            "dataset": self.dataset,
            "method": self.method,
            "seeds": self.seeds,
            "rate_tflops": self.rate,
        } | {
            f"{kind}_{name}": getattr(self, name)[i]
            for name in pairs
            for i, kind in enumerate(("forecast", "measured"))
        }


def measured(config: Config, folder: Path = Path()) -> list[Measured]:
    """Every method's finished runs of ``config``, results being under ``folder``.

    Raises :class:`UserError` where no run has finished, or a record can't be read.
    """
    own, searched = with_keys(config.methods), searched_methods(config)
    cells: dict[tuple[str, str], list[RunRecord]] = {}
    for dataset in config.datasets:
        for method in [*own, *searched.get(dataset, ())]:
            paths = [
                folder / config.run_folder(Run(dataset, method, seed)) / RECORD
                for seed in config.seeds
            ]
            records = [read_record(path) for path in paths if path.is_file()]
            if records:
                cells[dataset, method] = records
    if not cells:
        raise UserError(
            f"No run of {config.name} has finished; there is nothing to compare a forecast with."
        )
    rates = {cell: _rate(records) for cell, records in cells.items()}
    known = [rate for rate in rates.values() if rate]
    usual = median(known) if known else default_rate(config)
    return [_beside(config, *cell, records, rates[cell], usual) for cell, records in cells.items()]


def _rate(records: list[RunRecord]) -> float:
    """TFLOP/s of all steps of all seeds."""
    times = [time for record in records for time in record.times if time.operations_a_second]
    seconds = sum(time.train for time in times)
    return sum(t.step_operations * t.steps for t in times) / seconds / TERA if seconds else 0.0


def _beside(
    config: Config,
    dataset: str,
    method: str,
    records: list[RunRecord],
    rate: float,
    usual: float,
) -> Measured:
    cost = expected(config, dataset, method, rate or usual)
    many = len(records)
    last = [record.times[-1] for record in records]
    took = sum(t.train + t.end + t.evaluate for record in records for t in record.times) / many
    return Measured(
        dataset=dataset,
        method=method,
        seeds=many,
        step_operations=(cost.step_operations[-1], sum(t.step_operations for t in last) / many),
        rate=rate,
        seconds=(sum(cost.phases.values()), took),
        memory_bytes=(
            cost.device_bytes or cost.host_bytes,
            sum(record.peak_memory_bytes for record in records) / many,
        ),
        parameters=(
            cost.parameters["trained"] + cost.parameters["stored"],
            sum(r.parameters.get("trained", 0) + r.parameters.get("stored", 0) for r in records)
            / many,
        ),
    )


def as_text(rows: Sequence[Measured]) -> str:
    """For people: forecast and measured side by side."""
    head = (
        *("data set", "method", "seeds", "GFLOP a step", "counted", "TFLOP/s"),
        *("seconds", "measured", "GB", "measured", "parameters", "counted"),
    )
    table = [
        (
            row.dataset,
            row.method,
            str(row.seeds),
            *(f"{value / GIGA:.4g}" for value in row.step_operations),
            f"{row.rate:.3g}",
            *(f"{value:.1f}" for value in row.seconds),
            *(f"{value / GIGA:.2f}" for value in row.memory_bytes),
            *(count(value) for value in row.parameters),
        )
        for row in rows
    ]
    said = (
        "Each forecast stands before what was counted or measured: a step of the last task; "
        "seconds of learning and testing\nat the rate that the run's own steps sustained (of the "
        "others, where it takes none); peak memory."
    )
    return "\n".join([*aligned([head, *table], rule=(1,)), "", said])


def as_csv(rows: Sequence[Measured]) -> str:
    """A line for every data set and method."""
    return csv_of([row.as_dict() for row in rows])


def as_json(rows: Sequence[Measured]) -> str:
    """A list of the same."""
    return json.dumps([row.as_dict() for row in rows], indent=1)
