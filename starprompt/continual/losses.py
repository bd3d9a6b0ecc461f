"""Losses of one epoch: kept on the device, read now and then, refused when not finite."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from starprompt.errors import DivergedError, UserError

#: steps between two readings; reading waits for the device, so not at every step
READ_EVERY = 50


class LossWatch:
    """Collects what ``train_step`` returns and names the exact step that first went wrong."""

    def __init__(
        self,
        where: str,
        read_every: int = READ_EVERY,
        values: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """``where`` says method, data set, task and epoch in the sentence of a refusal.

        ``values`` are those of the epoch's earlier steps, where it was stopped and goes on.
        """
        self._where = where
        self._read_every = read_every
        self._pending: list[tuple[int, dict[str, Tensor]]] = []
        self._values: dict[str, list[float]] = defaultdict(list)
        if values is not None:
            self._values.update({name: list(of_steps) for name, of_steps in values.items()})

    def add(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Take one step's scalar losses. Raises :class:`UserError` for a loss not finite."""
        if "loss" not in losses:
            raise UserError(
                f"train_step of {self._where}, step {step + 1}, returned {sorted(losses)}; "
                'it must return scalar losses by name, "loss" among them.'
            )
        kept = {name: torch.as_tensor(value).detach() for name, value in losses.items()}
        for name, value in kept.items():
            if value.numel() != 1:
                raise UserError(
                    f"train_step of {self._where}, step {step + 1}, returned {name!r} of shape "
                    f"{tuple(value.shape)}; it must be a scalar."
                )
        self._pending.append((step, kept))
        if len(self._pending) >= self._read_every:
            self._read()

    def means(self) -> dict[str, float]:
        """Mean of each loss over the steps that gave it. Raises as :meth:`add` does."""
        return {name: math.fsum(of) / len(of) for name, of in self.values().items()}

    def values(self) -> dict[str, list[float]]:
        """Each loss at every step that gave it. Raises as :meth:`add` does."""
        self._read()
        return dict(self._values)

    def _read(self) -> None:
        bad: list[tuple[int, str, float]] = []
        for name in {name: None for _, losses in self._pending for name in losses}:
            steps = [step for step, losses in self._pending if name in losses]
            tensors = [losses[name] for _, losses in self._pending if name in losses]
            # one transfer for all steps, where .item() at every step would make the device wait
            values = torch.stack([tensor.reshape(()) for tensor in tensors]).double().tolist()
            pairs = zip(steps, values, strict=True)
            bad += [(step, name, value) for step, value in pairs if not math.isfinite(value)][:1]
            self._values[name] += values
        self._pending.clear()
        if bad:
            step, name, value = min(bad, key=lambda entry: entry[0])
            raise DivergedError(
                f"{name!r} became {value} in {self._where}, step {step + 1}; lower the learning "
                "rate, or look for a division by zero or a log of zero in the method."
            )
