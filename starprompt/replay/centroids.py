"""Several centroids a class, with the variance around each: what HiDe-Prompt keeps of a class.

thu-ml/HiDe-Prompt@0ed4333, ``engines`` (``_compute_mean``, ``multi-centroid``).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from starprompt.replay.statistics import by_class

#: added to every variance before it is drawn from, as released
VARIANCE_FLOOR = 1e-4


@dataclass(frozen=True)
class Centroids:
    """Of all classes so far, R in all.

    means      (R, D)
    variances  (R, D) biased, of the features of each cluster
    labels     (R,) int64 class of each
    drawn      (R,) bool whether features are drawn around it: not around a single image, unless
               its class has nothing else
    """

    means: Tensor
    variances: Tensor
    labels: Tensor
    drawn: Tensor

    @classmethod
    def none(cls, dim: int, device: torch.device) -> "Centroids":
        """Of no class yet."""
        nothing = torch.zeros(0, dim, device=device)
        empty = torch.zeros(0, device=device)
        return cls(nothing, nothing, empty.long(), empty.bool())

    def fit(self, features: Tensor, labels: Tensor, classes: range, count: int) -> "Centroids":
        """These and, after them, ``count`` centroids of each class of ``classes``, or as many as
        it has images. features (N, D), labels (N,) int64."""
        found = [self]
        for label, own in zip(classes, by_class(features, labels, classes), strict=True):
            cluster = _clusters(own, min(count, len(own)))
            parts = [own[cluster == k] for k in range(int(cluster.max()) + 1)]
            variances = torch.stack([part.var(dim=0, correction=0) for part in parts])
            spread = variances.mean(dim=-1) > 0
            found.append(
                Centroids(
                    torch.stack([part.mean(dim=0) for part in parts]),
                    variances,
                    torch.full((len(parts),), label, device=own.device),
                    spread if spread.any() else torch.ones_like(spread),
                )
            )
        joined = [torch.cat([getattr(one, name) for one in found]) for name in FIELDS]
        return Centroids(*joined)

    def batches(self, size: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """``count`` batches of ``size``: features (size, D) and labels (size,).

        They are part of ``size`` normal draws around every centroid, in random order.
        """
        rows = self.drawn.nonzero().squeeze(1)
        order = torch.randperm(len(rows) * size, device=rows.device)[: count * size]
        for chosen in rows[order // size].split(size):
            deviation = (self.variances[chosen] + VARIANCE_FLOOR).sqrt()
            noise = torch.randn_like(deviation)
            yield self.means[chosen] + noise * deviation, self.labels[chosen]

    def state(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under ``prefix``, for a checkpoint."""
        return {f"{prefix}{name}": getattr(self, name) for name in FIELDS}

    @classmethod
    def from_state(cls, state: dict[str, Tensor], prefix: str) -> "Centroids":
        """The inverse of :meth:`state`."""
        return cls(*(state[f"{prefix}{name}"] for name in FIELDS))


FIELDS = ("means", "variances", "labels", "drawn")


def _clusters(features: Tensor, count: int) -> Tensor:
    """(N,) cluster of each row by k-means, the best of ten starts."""
    from sklearn.cluster import KMeans

    seed = int(torch.randint(2**31 - 1, ()))
    found = KMeans(count, n_init=10, random_state=seed).fit(features.cpu().numpy())
    _, cluster = torch.unique(torch.from_numpy(found.labels_), return_inverse=True)
    return cluster.to(features.device)
