"""What the report shows of a data set: a few images of some classes, task by task."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Strip:
    """Some images of one class side by side, as a JPEG."""

    name: str
    jpeg: bytes


@dataclass(frozen=True)
class DataSheet:
    """A data set's images, or why there are none.

    said   what is shown, or why nothing is, in sentences
    tasks  by number from 1, some of the task's classes; empty where nothing is shown
    """

    title: str
    said: str
    tasks: Sequence[tuple[int, Sequence[Strip]]] = ()
