"""The forecast of a whole experiment as a table, as CSV and as JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from starprompt.budget.dataset_facts import prepared_bytes
from starprompt.budget.model import Cost, embedding, expected
from starprompt.budget.rates import GIGA, default_rate
from starprompt.config.experiment import Config
from starprompt.config.methods import load_method, with_keys
from starprompt.record.csv_rows import csv_of

PETA = 1e15


@dataclass(frozen=True)
class Line:
    """One row: a kind of job and how often it runs."""

    cost: Cost
    runs: int

    def as_dict(self) -> dict[str, Any]:
        """For CSV: numbers without structure, of one run."""
        cost = self.cost
        return {
            "dataset": cost.dataset,
            "method": cost.method,
            "runs": self.runs,
            "images": round(cost.total_images),
            "operations": cost.total_operations,
            "steps": round(cost.steps),
            "bytes_read": round(cost.bytes_read),
            "hours": cost.seconds / 3600,
            "device_bytes": round(cost.device_bytes),
            "host_bytes": round(cost.host_bytes),
            "disk_bytes": round(sum(cost.disk.values())),
            "trained": round(cost.parameters.get("trained", 0)),
            "stored": round(cost.parameters.get("stored", 0)),
            "assumed": "; ".join(cost.assumed),
        }


@dataclass(frozen=True)
class Forecast:
    """All jobs of an experiment. rate is in TFLOP/s; prepared is bytes by data set."""

    config: Config
    rate: float
    lines: tuple[Line, ...]
    prepared: dict[str, float]

    def totals(self) -> dict[str, float]:
        """Over all runs of all seeds."""
        return {
            "runs": sum(line.runs for line in self.lines),
            "images": sum(line.runs * line.cost.total_images for line in self.lines),
            "operations": sum(line.runs * line.cost.total_operations for line in self.lines),
            "bytes_read": sum(line.runs * line.cost.bytes_read for line in self.lines),
            "hours": sum(line.runs * line.cost.seconds for line in self.lines) / 3600,
            "device_bytes": max(line.cost.device_bytes for line in self.lines),
            "host_bytes": max(line.cost.host_bytes for line in self.lines),
            "disk_bytes": sum(line.runs * sum(line.cost.disk.values()) for line in self.lines)
            + sum(self.prepared.values()),
        }


def forecast(
    config: Config,
    datasets: Sequence[str] = (),
    methods: Sequence[str] = (),
    rate: float | None = None,
) -> Forecast:
    """The jobs of ``config``: embedding each data set once, every method and the methods of the
    keys for every seed, and with ``values: both`` the runs of searched values; of some data sets
    and methods only where they are named.

    Raises :class:`UserError` as :func:`starprompt.budget.model.expected`.
    """
    specs = [load_method(name) for name in with_keys(methods or config.methods)]
    searched = {} if methods else searched_methods(config)
    lines = []
    chosen = list(datasets or config.datasets)
    for dataset in chosen:
        if any("clip" in spec.uses for spec in specs):
            lines.append(Line(embedding(config, dataset, rate), 1))
        runs = len(config.seeds)
        lines += [Line(expected(config, dataset, spec, rate), runs) for spec in specs]
        lines += [
            Line(expected(config, dataset, load_method(method), rate), runs)
            for method in searched.get(dataset, ())
        ]
    return Forecast(
        config,
        rate or default_rate(config),
        tuple(lines),
        {dataset: prepared_bytes(dataset) for dataset in chosen},
    )


def searched_methods(config: Config) -> dict[str, list[str]]:
    """By data set, the variants METHOD-searched of which ``config`` has runs."""
    found: dict[str, list[str]] = {}
    for dataset, method in dict.fromkeys(run[:2] for run in config.searched_runs()):
        found.setdefault(dataset, []).append(method)
    return found


def as_csv(found: Forecast) -> str:
    """A line for every data set and method, numbers of one run."""
    return csv_of([line.as_dict() for line in found.lines])


def as_json(found: Forecast) -> str:
    """Everything, by part and phase, with the totals."""
    value = {
        "config": found.config.name,
        "rate_tflops": found.rate,
        "lines": [{"runs": line.runs, **line.cost.as_dict()} for line in found.lines],
        "prepared_bytes": found.prepared,
        "totals": found.totals(),
    }
    return json.dumps(value, indent=1)


def as_text(found: Forecast) -> str:
    """For people: a table, totals, what is assumed."""
    head = ("data set", "method", "runs", "images", "PFLOP", "hours", "device", "host", "disk")
    rows = [
        (
            line.cost.dataset,
            line.cost.method,
            str(line.runs),
            count(line.cost.total_images),
            _number(line.cost.total_operations / PETA),
            _number(line.cost.seconds / 3600),
            _gigabytes(line.cost.device_bytes),
            _gigabytes(line.cost.host_bytes),
            _gigabytes(sum(line.cost.disk.values())),
        )
        for line in found.lines
    ]
    totals = found.totals()
    whole = (
        "all",
        "",
        str(round(totals["runs"])),
        count(totals["images"]),
        _number(totals["operations"] / PETA),
        _number(totals["hours"]),
        _gigabytes(totals["device_bytes"]),
        _gigabytes(totals["host_bytes"]),
        _gigabytes(totals["disk_bytes"]),
    )
    prepared = sum(found.prepared.values())
    said = [
        f"At {found.rate:g} TFLOP/s sustained. Of one run, images as often as a network sees them, "
        "memory at its peak, sizes in GB;",
        "the last row is of all runs: hours added up, the largest memory, and the prepared images' "
        f"{prepared / GIGA:.1f} GB on disk.",
    ]
    notes = sorted({note for line in found.lines for note in line.cost.assumed})
    if notes:
        said.append(f"Assumed: {'; '.join(notes)}.")
    return "\n".join([*aligned([head, *rows, whole], rule=(1, len(rows) + 1)), "", *said])


def parts_as_text(found: Forecast) -> str:
    """Every job by part of its operations and by phase of its time."""
    blocks = []
    for line in found.lines:
        cost, total = line.cost, line.cost.total_operations or 1
        lines = [f"{cost.dataset}, {cost.method}"]
        parts = [
            (f"  {name}", f"{_number(count / PETA)} PFLOP", f"{100 * count / total:.1f}%")
            for name, count in sorted(cost.operations.items(), key=lambda item: -item[1])
            if count
        ]
        phases = [
            (f"  {name}", f"{seconds:,.1f} s", count(cost.images.get(name, 0)) + " images")
            for name, seconds in cost.phases.items()
        ]
        blocks.append("\n".join(lines + aligned(parts + phases)))
    return "\n\n".join(blocks)


def aligned(rows: Iterable[Sequence[str]], rule: Sequence[int] = ()) -> list[str]:
    """Rows as lines of columns: texts to the left, numbers to the right; a rule before some."""
    listed = [list(row) for row in rows]
    if not listed:
        return []
    widths = [max(len(row[i]) for row in listed) for i in range(len(listed[0]))]
    left = [
        not any(row[i][:1].isdigit() for row in listed[1:] or listed) for i in range(len(widths))
    ]
    lines = []
    for number, row in enumerate(listed):
        if number in rule:
            lines.append("  ".join("-" * width for width in widths))
        cells = [
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(row, widths, left, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _number(value: float) -> str:
    """A number to three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def count(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}"


def _gigabytes(value: float) -> str:
    return f"{value / GIGA:.1f}" if value >= GIGA / 20 else f"{value / GIGA:.3f}"
