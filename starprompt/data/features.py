"""Cached CLIP features of a prepared data set, as the embedding step wrote them.

A safetensors file with ``train.clip``, ``train.query``, ``test.clip``, ``test.query`` (N,d) float32
and metadata that names the data and the view they were computed from and the tensors' digest.
"""

import json
import logging
from dataclasses import dataclass
from io import SEEK_END
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from starprompt.errors import UserError, reason
from starprompt.files import arrays_digest

logger = logging.getLogger(__name__)

FEATURE_KINDS = ("clip", "query")
#: longest header that is read; ours have some 700 bytes
MOST_HEADER = 1_000_000
#: widest feature that is read; CLIP's have 512 to 1,024 numbers
MOST_DIMENSIONS = 65_536


@dataclass(frozen=True)
class Features:
    """The features of one split, by kind, (N,d) float32 on the CPU."""

    tensors: dict[str, Tensor]

    def rows(self, kind: str, ids: NDArray) -> Tensor:
        """(len(ids), d) features of these rows of the split."""
        return self.tensors[kind][torch.from_numpy(ids)]

    @classmethod
    def open(
        cls, path: Path, data_digest: str, counts: dict[str, int], view_digest: str | None = None
    ) -> "dict[str, Features]":
        """Read the features of both splits, of which ``counts`` says the numbers of images.

        view_digest  that of the test view that ``query`` features must be of; None: any

        Raises :class:`UserError` when the file is missing, damaged, or of other data or another
        view. A file without a digest of its own, as earlier versions wrote it, is accepted when
        its features are plausible, and a line of the log says so.
        """
        metadata = cls.describe(path)
        if metadata.get("data_digest") != data_digest:
            raise UserError(
                f"The features in {path} were computed from other images than the prepared ones; "
                "run `starprompt embed` again."
            )
        if view_digest is not None and metadata.get("view_digest", view_digest) != view_digest:
            raise UserError(
                f"The features in {path} were computed with another test view than the data "
                "set's YAML describes now; run `starprompt embed` again."
            )
        _check_header(path, _header(path), counts)
        try:
            # Read, not mapped: a map of a file that is cut short ends the process.
            tensors = load(Path(path).read_bytes())
        except (SafetensorError, OSError, ValueError) as error:
            raise _damaged(path, reason(error)) from error
        if (known := metadata.get("sha256")) is not None:
            if arrays_digest({name: t.numpy() for name, t in tensors.items()}) != known:
                raise _damaged(path, "its checksum is not that of its features")
        else:
            _refuse_implausible(path, tensors)
            logger.info("%s has no checksum; run `starprompt embed` to write one.", path)
        return {
            split: cls({kind: tensors[f"{split}.{kind}"] for kind in FEATURE_KINDS})
            for split in counts
        }

    @staticmethod
    def describe(path: Path) -> dict[str, str]:
        """The file's metadata. Raises :class:`UserError` when it is missing or damaged."""
        if not Path(path).is_file():
            raise UserError(f"There are no cached features at {path}; run `starprompt embed`.")
        metadata = _header(path).get("__metadata__", {})
        if not isinstance(metadata, dict):
            raise _damaged(path, "its header has no metadata")
        return {str(key): str(value) for key, value in metadata.items()}


def _header(path: Path) -> dict[str, Any]:
    """A safetensors file's header: its tensors' types, shapes and places, and metadata."""
    try:
        with Path(path).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= MOST_HEADER:
                raise ValueError(f"its header has {length} bytes")
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, reason(error)) from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is none")
    return header


def _check_header(path: Path, header: dict[str, Any], counts: dict[str, int]) -> None:
    """That the file holds (N,d) float32 features of so many images, and no byte more."""
    described = {name: part for name, part in header.items() if name != "__metadata__"}
    if set(described) != {f"{split}.{kind}" for split in counts for kind in FEATURE_KINDS}:
        raise _damaged(path, "it holds other tensors than the features")
    size = 0
    for name, part in described.items():
        shape = part.get("shape") if isinstance(part, dict) else None
        if not (isinstance(shape, list) and len(shape) == 2 and part.get("dtype") == "F32"):
            raise _damaged(path, f"{name} is no table of features")
        if shape[0] != counts[name.partition(".")[0]] or not 1 <= shape[1] <= MOST_DIMENSIONS:
            raise _damaged(path, f"{name} has the shape {shape}")
        size += 4 * shape[0] * shape[1]
    with Path(path).open("rb") as file:
        size += 8 + int.from_bytes(file.read(8), "little")
        if file.seek(0, SEEK_END) != size:
            raise _damaged(path, "it has another size than its features")


def _refuse_implausible(path: Path, tensors: dict[str, Tensor]) -> None:
    """Without a digest: no feature of an image is zero throughout or no number."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise _damaged(path, f"{name} has values that are no numbers")
        if (tensor == 0).all(dim=1).any():
            raise _damaged(path, f"{name} has features that are zero throughout")


def _damaged(path: Path, why: str) -> UserError:
    what = " ".join(why.split())[:200]
    return UserError(f"The features in {path} are damaged ({what}); run `starprompt embed` again.")
