"""Cached CLIP features of a prepared data set, as the embedding step wrote them.

A safetensors file with ``train.clip``, ``train.query``, ``test.clip``, ``test.query`` (N,d) float32
and metadata that names the data they were computed from.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from starprompt.errors import UserError

FEATURE_KINDS = ("clip", "query")


@dataclass(frozen=True)
class Features:
    """The features of one split, by kind, (N,d) float32 on the CPU."""

    tensors: dict[str, Tensor]

    def rows(self, kind: str, ids: NDArray) -> Tensor:
        """(len(ids), d) features of these rows of the split."""
        return self.tensors[kind][torch.from_numpy(ids)]

    @classmethod
    def open(cls, path: Path, split: str, data_digest: str, count: int) -> "Features":
        """Read one split's features.

        Raises :class:`UserError` when the file is missing, damaged, or of other data than
        ``data_digest``.
        """
        metadata = cls.describe(path)
        if metadata.get("data_digest") != data_digest:
            raise UserError(
                f"The features in {path} were computed from other images than the prepared ones; "
                "run `starprompt embed` again."
            )
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {kind: file.get_tensor(f"{split}.{kind}") for kind in FEATURE_KINDS}
        except (SafetensorError, OSError) as error:
            raise _damaged(path, str(error)) from error
        if any(len(tensor) != count for tensor in tensors.values()):
            raise _damaged(path, f"it has not {count} rows for the {split} split")
        return cls(tensors)

    @staticmethod
    def describe(path: Path) -> dict[str, str]:
        """The file's metadata. Raises :class:`UserError` when it is missing or damaged."""
        if not Path(path).is_file():
            raise UserError(f"There are no cached features at {path}; run `starprompt embed`.")
        try:
            with safe_open(path, framework="pt") as file:
                return dict(file.metadata() or {})
        except (SafetensorError, OSError) as error:
            raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"The features in {path} are damaged ({why}); run `starprompt embed` again.")
