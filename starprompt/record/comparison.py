"""Two runs side by side: configuration, versions, results, and where their predictions part."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import ArrowException, Table

from starprompt.errors import UserError
from starprompt.record.configuration import configuration, differences
from starprompt.record.record import PREDICTION_COLUMNS, RunRecord, checked_file, read_record
from starprompt.record.run_files import PREDICTIONS, RECORD

_KEYS = ("after_task", "image_id")


@dataclass(frozen=True)
class Comparison:
    """How two runs differ.

    parts        by part of the record (configuration, code, versions, device, results), by dotted
                 name, the two values
    predictions  how many predictions differ, of how many that both made; None where a run has none
    first        the first that differs: after_task, image_id, label, and the two predictions
    """

    parts: dict[str, dict[str, tuple[Any, Any]]] = field(default_factory=dict)
    predictions: tuple[int, int] | None = None
    first: dict[str, int] | None = None

    @property
    def same(self) -> bool:
        """Whether configuration, results and predictions agree; times and machines may differ."""
        parts = ("configuration", "stream", "results")
        return not any(self.parts.get(p) for p in parts) and not (self.predictions or (0, 0))[0]


def compare(one: Path, other: Path) -> Comparison:
    """Compare the runs in two folders.

    Raises :class:`UserError` for a record or predictions that are damaged.
    """
    first, second = read_record(one / RECORD), read_record(other / RECORD)
    sides = [_sides(record) for record in (first, second)]
    parts = {name: differences(sides[0][name], sides[1][name]) for name in sides[0]}
    if not all((folder / PREDICTIONS).is_file() for folder in (one, other)):
        return Comparison(parts)
    tables = [_predictions(one, first), _predictions(other, second)]
    joined = tables[0].join(tables[1], list(_KEYS), join_type="inner", right_suffix="_other")
    unequal = joined.filter(
        pc.or_(
            pc.not_equal(joined["prediction"], joined["prediction_other"]),
            pc.not_equal(joined["label"], joined["label_other"]),
        )
    ).sort_by([(key, "ascending") for key in _KEYS])
    found = unequal.slice(0, 1).to_pylist()
    return Comparison(parts, (len(unequal), len(joined)), found[0] if found else None)


def _sides(record: RunRecord) -> dict[str, Any]:
    stream = record.stream
    return {
        "configuration": configuration(record),
        "stream": {"seed": stream.seed, "class_order": stream.class_order},
        "code": {
            "method_source": record.method_source or None,
            "git_revision": record.git_revision,
        },
        "versions": record.versions,
        "device": {k: v for k, v in record.device.items() if k != "lease"},
        "results": {
            "metrics": record.metrics.model_dump(),
            "accuracy": {
                f"after task {t + 1}": {f"task {i + 1}": value for i, value in enumerate(row)}
                for t, row in enumerate(record.accuracy)
            },
            "parameters": record.parameters,
        },
    }


def _predictions(folder: Path, record: RunRecord) -> Table:
    path = checked_file(folder / PREDICTIONS, record)
    try:
        table = pq.read_table(path, columns=[*_KEYS, "label", "prediction"])
    except (OSError, ArrowException, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is damaged ({' '.join(str(error).split())[:200]}); remove the run's folder "
            "and run it again."
        ) from error
    if any(str(table.schema.field(n).type) != PREDICTION_COLUMNS[n] for n in table.column_names):
        raise UserError(
            f"{path} has columns of other types than predictions have; remove the run's folder "
            "and run it again."
        )
    return table


def lines(comparison: Comparison) -> list[str]:
    """What differs, in lines for a terminal."""
    said = []
    for part, found in comparison.parts.items():
        said.append(f"{part}: {'equal' if not found else f'{len(found)} differ'}")
        said += [f"  {name}: {_value(a)} | {_value(b)}" for name, (a, b) in found.items()]
    if comparison.predictions is None:
        said.append("predictions: not there")
        return said
    differ, both = comparison.predictions
    said.append(f"predictions: {differ} of {both} that both made differ")
    if (first := comparison.first) is not None:
        said.append(
            f"  first: after task {first['after_task'] + 1}, image {first['image_id']}, label "
            f"{first['label']}: {first['prediction']} | {first['prediction_other']}"
        )
    return said


def _value(value: Any) -> str:
    text = f"{value:.6f}" if isinstance(value, float) else str(value)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 80 else f"{text[:60]}...{text[-17:]}"
