"""Backpropagate a batch in micro-batches where the memory for a whole one is short."""

from collections.abc import Callable

from torch import Tensor

from starprompt.data.batch import Batch


def backward(
    loss: Callable[[Batch], dict[str, Tensor]], batch: Batch, size: int | None = None
) -> dict[str, Tensor]:
    """Add the gradients of ``loss(batch)["loss"]``; return the losses, detached.

    loss  scalars by name, each a mean over the batch's images plus terms that do not depend on the
          images. Such a loss of the whole batch is the mean of its micro-batches' losses weighted
          by their sizes, and so is its gradient.
    size  images of a micro-batch; None: the whole batch at once
    """
    sums: dict[str, Tensor] = {}
    for part in batch.split(size or len(batch)):
        share = len(part) / len(batch)
        losses = {name: share * value for name, value in loss(part).items()}
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        for name, value in losses.items():
            sums[name] = sums[name] + value.detach() if name in sums else value.detach()
    return sums
