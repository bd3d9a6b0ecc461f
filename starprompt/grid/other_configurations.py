"""Finished runs that are not, or not any more, what an experiment asks for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starprompt.errors import UserError
from starprompt.grid.jobs import Grid
from starprompt.record.configuration import configuration, differences, fixed_order
from starprompt.record.record import RunRecord


def unlike(grid: Grid, record: RunRecord, earlier: bool = False) -> str | None:
    """How a record's configuration differs from the experiment's, in words; None where it agrees.

    earlier  do not compare hyperparameters that the record does not have: an earlier version made
             it, before there were such

    Compared is what the experiment says. Defaults of a method's class are compared among records.
    """
    config = grid.config
    spec = grid.methods.get(record.method.name)
    if spec is None:
        return f"its method is {record.method.name!r:.100}, which {config.name} does not have"
    found = configuration(record)
    values = spec.resolve(record.stream.dataset)
    if earlier:
        values = {name: values[name] for name in values if name in found["hyperparameters"]}
    expected: dict[str, Any] = {
        "learner": spec.learner,
        "hyperparameters": values,
        "backbones": {kind: getattr(config.backbones, kind) for kind in spec.uses},
        "keys": spec.keys,
        "settings": {
            "precision": config.precision,
            "compile": config.compile,
            "numerics": config.numerics,
            "deterministic": config.deterministic,
            "validation": None,
            "perturbation": None,
            **config.ordering(record.stream.seed),
        },
    }
    named = {
        "learner": found["learner"],
        "hyperparameters": {
            name: value
            for name, value in found["hyperparameters"].items()
            if name in expected["hyperparameters"]
        },
        "backbones": {kind: part.get("name") for kind, part in found["backbones"].items()},
        "keys": found["keys"],
        "settings": found["settings"],
    }
    for name, (theirs, ours) in differences(named, expected).items():
        return f"{name} is {theirs!r:.100}, not {ours!r:.100}"
    return None


def refuse_unlike(grid: Grid, records: Mapping[Path, RunRecord], incoming: set[Path]) -> None:
    """Raises :class:`UserError` for an incoming run that :func:`unlike_ones` names."""
    for folder, why in unlike_ones(grid, records, incoming).items():
        raise UserError(
            f"{shown(records[folder])} has another configuration than {grid.config.name} has "
            f"here ({why}); leave it out of the export, or import it instead."
        )


def unlike_ones(
    grid: Grid, records: Mapping[Path, RunRecord], incoming: set[Path]
) -> dict[Path, str]:
    """Why incoming runs do not belong here, by folder: another configuration than the experiment's
    or that of the cell's other runs, other data or class order than another method's."""
    cells: dict[tuple[str, str], RunRecord] = {}
    streams: dict[tuple[str, int], RunRecord] = {}
    found = {}
    for folder, record in sorted(records.items(), key=lambda item: item[0] in incoming):
        stream = record.stream
        other = cells.get((stream.dataset, record.method.name), record)
        beside = streams.get((stream.dataset, stream.seed), record)
        why = unlike(grid, record) if folder in incoming else None
        if folder in incoming and why is None:
            order = _shared_order(record, other)
            parts = differences(configuration(record, order), configuration(other, order))
            for name, (theirs, ours) in parts.items():
                why = f"{name} is {theirs!r:.100}, not {ours!r:.100} as under another seed"
            for part in ("data_digest", "class_order", "task_of_class", "test_counts"):
                if getattr(stream, part) != getattr(beside.stream, part):
                    why = f"its {part} is not that of {beside.method.name} under this seed"
        if why is not None:
            found[folder] = why
            continue
        cells.setdefault((stream.dataset, record.method.name), record)
        streams.setdefault((stream.dataset, stream.seed), record)
    return found


def _shared_order(one: RunRecord, other: RunRecord) -> int | None:
    """The class order that both were given; None where each has its own, or they differ."""
    try:
        return fixed_order([one, other])
    except ValueError:
        return None


def shown(record: RunRecord) -> str:
    """A run's method, data set and seed, as a message names it."""
    return f"{record.method.name} on {record.stream.dataset}, seed {record.stream.seed},"
