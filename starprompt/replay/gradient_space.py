"""The space that the inputs of old tasks span, which a new task's updates stay out of (DualGPM).

Liang and Li, "Adaptive Plasticity Improvement for Continual Learning", CVPR 2023, and "InfLoRA",
CVPR 2024 (arXiv 2404.00228), Sec. 3.3: the gradient of a linear layer's weights lies in the span
of its inputs. Kept is a basis of that space, or of what is outside, whichever is smaller.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GradientSpace:
    """What the inputs of old tasks span in one layer: the gradients of its weights lie therein.

    basis       (D, k) orthonormal columns
    complement  whether they span what is outside instead, which is kept where it is smaller
    """

    basis: Tensor
    complement: bool = False

    def outside(self, moment: Tensor) -> Tensor:
        """The part of ``moment`` (D, D) that lies outside the space."""
        along = self.basis @ (self.basis.T @ moment)
        return along if self.complement else moment - along

    def directions_outside(self, moment: Tensor) -> Tensor:
        """(D, D) left singular vectors of :meth:`outside`, the largest first.

        Those beyond its rank are zero: what the decomposition returns for them is arbitrary and
        may lie inside the space.
        """
        directions, sizes, _ = torch.linalg.svd(self.outside(moment))
        smallest = len(moment) * torch.finfo(sizes.dtype).eps * torch.linalg.matrix_norm(moment)
        return directions * (sizes > smallest)

    def grown(self, moment: Tensor, threshold: float) -> "GradientSpace":
        """With the directions of ``moment`` (D, D) that explain a share ``threshold`` of it.

        As released (`update_DualGPM`): shares are of squared singular values, and at the first
        task the direction that would reach the threshold is left out.
        """
        directions, sizes, _ = torch.linalg.svd(self.outside(moment))
        shares = sizes.square() / moment.square().sum()
        explained = 1 - shares.sum() + shares.cumsum(0) - shares  # before each direction is added
        count = int((explained < threshold).sum())
        if not self.complement and self.basis.shape[1] == 0:
            count = max(1, count - 1)
        new = directions[:, :count]
        if self.complement:
            rest = self.basis - new @ (new.T @ self.basis)
            kept = max(0, self.basis.shape[1] - count)
            return GradientSpace(torch.linalg.svd(rest).U[:, :kept], complement=True)
        basis = torch.cat([self.basis, new], dim=1)[:, : len(moment)]
        dim, width = basis.shape
        if width > dim / 2:
            return GradientSpace(torch.linalg.svd(basis).U[:, width:], complement=True)
        return GradientSpace(basis)
