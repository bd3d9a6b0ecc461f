"""Numbers of a run for somebody who watches it: losses of each epoch, accuracy after each task.

A tracker looks on. It draws no random number that the run would draw, and is no part of what a run
depends on; results are the same with and without it.
"""

from collections.abc import Mapping
from typing import Protocol


class Tracker(Protocol):
    """Takes numbers while a run learns, as TensorBoard or Weights & Biases do."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Finite numbers by name, at a step counted over all tasks of the run."""

    def close(self) -> None:
        """Write what is not written yet; no numbers come after this."""


class Silent:
    """Takes nothing."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step; drop them."""

    def close(self) -> None:
        """Nothing is open."""
