"""Buffers of past samples, in the form that the memory map has: uint8 images and their labels.

A buffer says which of its places an arriving sample takes (:meth:`SampleBuffer.places`), so that
only images which are kept are ever read; :meth:`SampleBuffer.put` then fills the places. All
randomness is torch's global generator on the CPU, which the runner seeds anew with every task.
"""

from abc import ABC, abstractmethod
from collections import Counter

import torch
from torch import Tensor


class SampleBuffer(ABC):
    """At most ``capacity`` samples: named tensors, one row a sample, on the CPU."""

    def __init__(self, capacity: int) -> None:
        if capacity < 0:
            raise ValueError(f"a buffer cannot hold {capacity} samples")
        self.capacity = capacity
        self.fields: dict[str, Tensor] = {}
        self.filled = 0

    def __len__(self) -> int:
        return self.filled

    @abstractmethod
    def places(self, labels: Tensor) -> Tensor:
        """(B,) int64: the place that each arriving sample takes, -1 for one not kept.

        A later sample of the batch may take the place of an earlier one.
        """

    def put(self, places: Tensor, **fields: Tensor) -> None:
        """Write samples, one row each of every field, to their places; rows at -1 are ignored."""
        # Index assignment leaves open which of two rows wins a place; the later one must.
        row_of_place = {place: row for row, place in enumerate(places.tolist()) if place >= 0}
        if not row_of_place:
            return
        to, rows = torch.tensor(list(row_of_place)), torch.tensor(list(row_of_place.values()))
        for name, values in fields.items():
            values = values.detach().cpu()
            if name not in self.fields:
                self.fields[name] = values.new_zeros((self.capacity, *values.shape[1:]))
            self.fields[name][to] = values[rows]
        self.filled = max(self.filled, int(to.max()) + 1)

    def draw(self, n: int) -> dict[str, Tensor]:
        """``n`` samples without replacement, or all if there are fewer, in random order."""
        rows = torch.randperm(self.filled)[:n]
        return {name: values[rows] for name, values in self.fields.items()}

    def state(self, prefix: str) -> dict[str, Tensor]:
        """The kept samples under ``prefix``, for a checkpoint."""
        kept = {f"{prefix}{name}": values[: self.filled] for name, values in self.fields.items()}
        return kept | {f"{prefix}{name}": value for name, value in self._counters().items()}

    def load_state(self, state: dict[str, Tensor], prefix: str) -> None:
        """The inverse of :meth:`state`."""
        own = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
        self._load_counters({name: own.pop(name) for name in self._counters()})
        self.filled = max((len(values) for values in own.values()), default=0)
        for name, values in own.items():
            self.fields[name] = values.new_zeros((self.capacity, *values.shape[1:]), device="cpu")
            self.fields[name][: self.filled] = values.cpu()

    @abstractmethod
    def _counters(self) -> dict[str, Tensor]:
        """What else decides over the places to come."""

    @abstractmethod
    def _load_counters(self, counters: dict[str, Tensor]) -> None: ...


class ReservoirBuffer(SampleBuffer):
    """Every sample that ever arrived is in it with the same probability (Vitter 1985, R)."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.offered = 0

    def places(self, labels: Tensor) -> Tensor:
        count = torch.arange(self.offered, self.offered + len(labels))
        self.offered += len(labels)
        drawn = (torch.rand(len(labels), dtype=torch.float64) * (count + 1)).long()
        taken = torch.where(count < self.capacity, count, drawn)
        return torch.where(taken < self.capacity, taken, -1)

    def _counters(self) -> dict[str, Tensor]:
        return {"offered": torch.tensor(self.offered)}

    def _load_counters(self, counters: dict[str, Tensor]) -> None:
        self.offered = int(counters["offered"])


class BalancedBuffer(SampleBuffer):
    """Greedy and class-balanced (Prabhu et al. 2020, Algorithm 1).

    A sample is taken while its class has less than its share, capacity / classes seen; if the
    buffer is full it takes the place of a random sample of the largest class.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.occupants: list[int] = []
        self.classes: set[int] = set()

    def places(self, labels: Tensor) -> Tensor:
        return torch.tensor([self._place(label) for label in labels.tolist()], dtype=torch.int64)

    def _place(self, label: int) -> int:
        self.classes.add(label)
        counts = Counter(self.occupants)
        if counts[label] >= max(1, self.capacity / len(self.classes)) or not self.capacity:
            return -1
        if len(self.occupants) < self.capacity:
            self.occupants.append(label)
            return len(self.occupants) - 1
        largest = max(counts.values())
        if counts[label] == largest:
            return -1
        full = min(c for c, count in counts.items() if count == largest)
        candidates = [place for place, occupant in enumerate(self.occupants) if occupant == full]
        place = candidates[int(torch.randint(len(candidates), ()))]
        self.occupants[place] = label
        return place

    def _counters(self) -> dict[str, Tensor]:
        return {
            "occupants": torch.tensor(self.occupants, dtype=torch.int64),
            "classes": torch.tensor(sorted(self.classes), dtype=torch.int64),
        }

    def _load_counters(self, counters: dict[str, Tensor]) -> None:
        self.occupants = counters["occupants"].tolist()
        self.classes = set(counters["classes"].tolist())
