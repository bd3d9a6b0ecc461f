"""What a data set's cost depends on: counts, tasks, sizes and the lengths of its classes' texts."""

import re
from dataclasses import dataclass
from functools import cache
from math import comb
from pathlib import Path
from typing import Any

from starprompt.data.registry import DatasetSpec, data_root, load_dataset_spec
from starprompt.data.store import prepared_folder, read_manifest
from starprompt.errors import UserError
from starprompt.files import read_json


@dataclass(frozen=True)
class DatasetFacts:
    """A data set as far as costs go. bytes_an_image is of one stored image; views is 1 where
    CLIP's own preprocessing and the test view are the same."""

    name: str
    classes: int
    task_ends: tuple[int, ...]
    train: int
    test: int
    view_side: int
    bytes_an_image: int
    views: int
    templates: int
    names: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    def text_length(self, clip: str, drawn: int, text: str = "X {}.") -> float:
        """Expected tokens of the longest of ``drawn`` classes' texts."""
        lengths = sorted(_tokens(text.format(name), clip) for name in self.names)
        if not lengths:
            return _tokens(text.format("seven"), clip) + 2
        drawn = max(1, min(drawn, len(lengths)))
        ways = comb(len(lengths), drawn)
        return sum(
            length * (comb(rank + 1, drawn) - comb(rank, drawn)) / ways
            for rank, length in enumerate(lengths)
        )


@cache
def described(name: str, root: Path) -> DatasetFacts:
    """Counts from the prepared data where there are any, else from the data set's YAML."""
    spec, assumed = load_dataset_spec(name), []
    manifest = read_manifest(prepared_folder(root, name)) or {}
    counts = dict(manifest.get("counts", {}))
    for split in ("train", "test"):
        published = getattr(spec.expected, split)
        about = getattr(spec.about, split)
        if split not in counts and published is None and about is not None:
            assumed.append(f"about {about:,} {split} images of {name}")
        counts.setdefault(split, published or about)
        if counts[split] is None:
            raise UserError(
                f"The number of {split} images of {name} is unknown; prepare the data set "
                f"(`starprompt data prepare {name}`) or state the number under `about` in its "
                "YAML."
            )
    names = _class_names(spec, root)
    classes = spec.classes or len(names)
    if not classes:
        raise UserError(
            f"The number of classes of {name} is unknown; prepare the data set "
            f"(`starprompt data prepare {name}`) or state the number under `classes` in its YAML."
        )
    if not names:
        assumed.append(f"short class names of {name}")
    side = _stored_side(spec)
    return DatasetFacts(
        name=name,
        classes=classes,
        task_ends=spec.task_ends(classes),
        train=counts["train"],
        test=counts["test"],
        view_side=spec.image_size,
        bytes_an_image=3 * side**2,
        views=1 if _same_view(spec, side) else 2,
        templates=len(spec.templates),
        names=tuple(names),
        assumed=tuple(assumed),
    )


def prepared_bytes(dataset: str) -> float:
    """Bytes of a data set's memory maps."""
    data = described(dataset, data_root())
    return (data.train + data.test) * data.bytes_an_image


def _tokens(text: str, clip: str) -> int:
    """Tokens of a text with start and end: characters for the tiny CLIP; for others an estimate
    of its byte pairs (a word of up to 8 letters is one, of up to 11 two, a longer one three)."""
    if clip == "tiny":
        return 2 + len(text)
    words = re.findall(r"[^\W\d_]+|\d|[^\w\s]+", text)
    return 2 + sum(1 if len(word) <= 8 else 2 if len(word) <= 11 else 3 for word in words)


def _class_names(spec: DatasetSpec, root: Path) -> list[str]:
    if spec.class_names:
        return list(spec.class_names)
    try:
        names = read_json(prepared_folder(root, spec.name) / "class_names.json")
    except ValueError:
        return []
    are_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if are_names else []


def _stored_side(spec: DatasetSpec) -> int:
    """Side of the stored training images, by the last step that stores them or by the YAML."""
    for step in reversed(spec.stored.train):
        size = step.size
        return size if isinstance(size, int) else max(size)
    return spec.about.side or spec.image_size


def _same_view(spec: DatasetSpec, side: int) -> bool:
    """Whether the test view only resizes a square image to CLIP's own size."""
    steps = [step.step for step in spec.test_transform]
    return steps in ([], ["resize"], ["resize", "center_crop"]) and (
        not spec.test_transform or _size(spec.test_transform[0]) == spec.image_size
    )


def _size(step: Any) -> int:
    return step.size if isinstance(step.size, int) else max(step.size)
