"""Whether a prepared data set is whole, and has the numbers of images that it should have."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from starprompt.data.first_counts import first_counts
from starprompt.data.registry import DatasetSpec
from starprompt.data.store import SPLITS, open_prepared, prepared_folder
from starprompt.files import sha256_file


@dataclass(frozen=True)
class Verdict:
    """One data set's check: counts, what was expected and from where, and what is wrong."""

    name: str
    classes: int
    train: int
    test: int
    expected: str
    faults: tuple[str, ...]


def verify(spec: DatasetSpec, root: Path) -> Verdict:
    """Compare counts with the published or first recorded ones, and every file with its checksum.

    Raises :class:`starprompt.errors.UserError` when the data set is not prepared or cannot be
    opened, or the counts of its first preparation are damaged.
    """
    folder = prepared_folder(root, spec.name)
    prepared = open_prepared(folder)
    counts = {split: len(getattr(prepared, split)) for split in SPLITS}
    published = {k: v for k, v in spec.expected.model_dump().items() if v is not None}
    faults = []
    found = dict(counts)
    listed = prepared.manifest["source"]["provenance"].get("listed")
    found["total"] = sum(counts.values()) if listed is None else listed
    expected, origin = published, "published"
    if not published:
        expected, origin = first_counts(root, spec.name), "at first preparation"
    for part, number in expected.items():
        if found[part] != number:
            faults.append(f"{found[part]} images ({part}), {number} {origin}")
    for split in SPLITS:
        labels = getattr(prepared, split).labels
        per_class = np.bincount(labels, minlength=prepared.n_classes).tolist()
        if per_class != prepared.manifest["counts_per_class"][split]:
            faults.append(f"the {split} labels are not those of the manifest")
        if left_out := prepared.manifest["skipped"][split]:
            faults.append(f"{len(left_out)} {split} images were left out as undecodable")
    for name, checksum in prepared.manifest["sha256"].items():
        if sha256_file(folder / name) != checksum:
            faults.append(f"{name} has not the checksum of the manifest")
    numbers = ", ".join(f"{part} {number}" for part, number in expected.items())
    return Verdict(
        spec.name,
        prepared.n_classes,
        counts["train"],
        counts["test"],
        f"{numbers} ({origin})" if numbers else "nothing",
        tuple(faults),
    )


def table(verdicts: list[Verdict]) -> str:
    """The verdicts as a table of plain text."""
    from tabulate import tabulate

    rows = [
        (v.name, v.classes, v.train, v.test, v.expected, "; ".join(v.faults) or "good")
        for v in verdicts
    ]
    return tabulate(rows, headers=["data set", "classes", "train", "test", "expected", "verdict"])
