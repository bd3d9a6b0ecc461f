"""What a run was configured as, said by its record alone and without its seed."""

from collections.abc import Iterable
from typing import Any

from starprompt.files import digest_of
from starprompt.record.record import RunRecord

#: what is said of a run that is not what an experiment asks for, before how it differs
OTHER = "of another configuration"
#: settings under ``extra`` that the outcome depends on, with what a record without them means
SETTINGS: dict[str, Any] = {
    "precision": "float32",
    "compile": False,
    "numerics": "native",
    "deterministic": False,
    "validation": None,
    "perturbation": None,
}


def class_order_seed(record: RunRecord) -> int:
    """The seed that gave the class order: the run's own, unless the experiment fixed another."""
    return int(record.extra.get("order_seed", record.stream.seed))


def fixed_order(records: Iterable[RunRecord]) -> int | None:
    """The seed of the class order that all runs share; None where each has its own seed's.

    A run under the seed that gives the order does not say which of the two is meant; the others do.
    Raises :class:`ValueError`, with a run of each kind, where they contradict each other.
    """
    runs = list(records)
    fixed = [record for record in runs if "order_seed" in record.extra]
    if not fixed:
        return None
    first = class_order_seed(fixed[0])
    for record in runs:
        if (other := class_order_seed(record)) != first:
            raise ValueError(
                f"the class order under seed {fixed[0].stream.seed} is that of seed {first}, and "
                f"under seed {record.stream.seed} that of seed {other}"
            )
    return first


def configuration(record: RunRecord, order: int | None = None) -> dict[str, Any]:
    """Method, hyperparameters, frozen parts, data and settings of a run.

    order  :func:`fixed_order` of the runs that it is compared with; by default the run's own word

    Not in it: the seed and what follows from it, titles, the experiment's name, the device,
    versions. Runs of one cell of a table have equal configurations.
    """
    stream = record.stream
    order = record.extra.get("order_seed") if order is None else order
    return {
        "method": record.method.name,
        "learner": record.method.learner,
        "hyperparameters": record.method.hyperparameters,
        "backbones": record.backbones,
        "keys": record.keys["method"] if record.keys else None,
        "data": {
            "dataset": stream.dataset,
            "digest": stream.data_digest,
            "classes": len(stream.class_names),
            "tasks": len(stream.test_counts),
        },
        "settings": {
            **{name: record.extra.get(name, value) for name, value in SETTINGS.items()},
            # as in fingerprints only where there is one: digests of before stay what they were
            **({} if order is None else {"order_seed": order}),
        },
    }


def configuration_digest(record: RunRecord, order: int | None = None) -> str:
    """Hex SHA-256 of :func:`configuration`."""
    return digest_of(configuration(record, order))


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one of dotted names; lists and other values stay whole."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, part in value.items():
        found |= flattened(part, f"{prefix}.{key}" if prefix else str(key))
    return found


def differences(one: Any, other: Any) -> dict[str, tuple[Any, Any]]:
    """By dotted name, the two values of what differs; None where one lacks it."""
    first, second = flattened(one), flattened(other)
    names = list(dict.fromkeys([*first, *second]))
    return {n: (first.get(n), second.get(n)) for n in names if first.get(n) != second.get(n)}
