"""What classes leave behind without an image: means and covariances of their features."""

from dataclasses import dataclass

import torch
from torch import Tensor

#: added to every covariance's diagonal before it is sampled from, in the features' own units
COVARIANCE_FLOOR = 1e-4


def by_class(features: Tensor, labels: Tensor, classes: range) -> list[Tensor]:
    """Features (N, D) of each class of ``classes``, in their order: one sort and one wait for the
    device, however many classes there are. labels (N,) int64, all of ``classes``."""
    counts = torch.bincount(labels - classes.start, minlength=len(classes))
    return list(features[labels.argsort(stable=True)].split(counts.tolist()))


def class_means(features: Tensor, labels: Tensor, classes: range) -> Tensor:
    """(len(classes), D) mean of features (N, D) of each class; every class has a sample."""
    return torch.stack([own.mean(dim=0) for own in by_class(features, labels, classes)])


@dataclass
class ClassGaussians:
    """One Gaussian a class: means (K, D), covariances (K, D, D); class k is label k."""

    means: Tensor
    covariances: Tensor

    @classmethod
    def none(cls, dim: int, device: torch.device) -> "ClassGaussians":
        """Of no class yet."""
        return cls(torch.zeros(0, dim, device=device), torch.zeros(0, dim, dim, device=device))

    def __len__(self) -> int:
        return len(self.means)

    def fit(self, features: Tensor, labels: Tensor, classes: range) -> "ClassGaussians":
        """These classes and, after them, ``classes`` with their features (N, D)."""
        means = class_means(features, labels, classes)
        covariances = torch.stack([_covariance(own) for own in by_class(features, labels, classes)])
        return ClassGaussians(
            torch.cat([self.means, means]), torch.cat([self.covariances, covariances])
        )

    def sample(self, n: int) -> Tensor:
        """(K, n, D) draws, n from each class; the diagonal is lifted by COVARIANCE_FLOOR."""
        dim = self.means.shape[1]
        floor = COVARIANCE_FLOOR * torch.eye(dim, device=self.means.device)
        factors = torch.linalg.cholesky(self.covariances + floor)
        noise = torch.randn(len(self), n, dim, device=self.means.device)
        return self.means[:, None] + noise @ factors.transpose(1, 2)

    def state(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under ``prefix``, for a checkpoint."""
        return {f"{prefix}means": self.means, f"{prefix}covariances": self.covariances}

    @classmethod
    def from_state(cls, state: dict[str, Tensor], prefix: str) -> "ClassGaussians":
        """The inverse of :meth:`state`."""
        return cls(state[f"{prefix}means"], state[f"{prefix}covariances"])


def _covariance(samples: Tensor) -> Tensor:
    """(D, D) unbiased covariance; zeros for a single sample."""
    if len(samples) < 2:
        return samples.new_zeros(samples.shape[1], samples.shape[1])
    return torch.cov(samples.T)
