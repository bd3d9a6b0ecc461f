"""Images that stand in a data set more than once: in training and test, or in two classes."""

from collections import defaultdict
from typing import Any, NamedTuple

#: groups of equal images that the manifest names
MOST_NAMED = 50


class Image(NamedTuple):
    """One stored image: its split, class, name, and a digest of its pixels."""

    split: str
    label: int
    name: str
    pixels: bytes


def equal_images(images: list[Image]) -> dict[str, Any]:
    """Counts and names of images whose stored pixels are equal, for the manifest.

    train_and_test  test images that are also training images
    across_classes  images that another class has too

    Each has ``count``, the images concerned, and ``names``, some groups of equal ones.
    """
    groups: dict[bytes, list[Image]] = defaultdict(list)
    for image in images:
        groups[image.pixels].append(image)
    shared = [group for group in groups.values() if len(group) > 1]
    in_both = [g for g in shared if len({image.split for image in g}) > 1]
    in_classes = [g for g in shared if len({image.label for image in g}) > 1]
    return {
        "train_and_test": {
            "count": sum(image.split == "test" for group in in_both for image in group),
            "names": [[image.name for image in group] for group in in_both[:MOST_NAMED]],
        },
        "across_classes": {
            "count": sum(len(group) for group in in_classes),
            "names": [[image.name for image in group] for group in in_classes[:MOST_NAMED]],
        },
    }
