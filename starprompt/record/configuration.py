"""What a run was configured as, said by its record alone and without its seed."""

from typing import Any

from starprompt.files import digest_of
from starprompt.record.record import RunRecord

#: settings under ``extra`` that the outcome depends on, with what a record without them means
SETTINGS: dict[str, Any] = {
    "precision": "float32",
    "compile": False,
    "numerics": "native",
    "deterministic": False,
    "validation": None,
    "perturbation": None,
}


def configuration(record: RunRecord) -> dict[str, Any]:
    """Method, hyperparameters, frozen parts, data and settings of a run.

    Not in it: the seed and what follows from it, titles, the experiment's name, the device,
    versions. Runs of one cell of a table have equal configurations.
    """
    stream = record.stream
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
        "settings": {name: record.extra.get(name, value) for name, value in SETTINGS.items()},
    }


def configuration_digest(record: RunRecord) -> str:
    """Hex SHA-256 of :func:`configuration`."""
    return digest_of(configuration(record))


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
