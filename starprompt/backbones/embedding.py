"""CLIP's features of every clean image of a data set, computed once and kept in one file.

A safetensors file with four float32 tensors and, as text in its header, what they were made from:

    train.clip, test.clip     (N, d)  CLIP's own preprocessing of the stored image
    train.query, test.query   (N, d)  the data set's test view, re-normalised to CLIP's statistics
    clip, clip_digest, precision, data_digest, dim
    sha256                    of the four tensors, see :func:`starprompt.files.arrays_digest`
    view_digest               of the data set's test view, where it was given
    numerics                  where it is not native
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from starprompt.backbones.clip import FrozenClip
from starprompt.errors import UserError
from starprompt.files import arrays_digest, atomic_path

#: (N,3,H,W) uint8, by slices: an array, or a file that is read by rows
Images = Any
Sizes = NDArray[np.int32]
#: (B,3,H,W) uint8 images, and (B,2) original heights and widths where images were stored squashed,
#: to their un-normalised (B,3,h,w) float32 view in [0, 1]
View = Callable[..., Tensor]

KINDS = ("clip", "query")


@dataclass(frozen=True)
class Embedding:
    """Features by split and kind, in the order of the prepared images, and where they are from."""

    train: dict[str, Tensor]
    test: dict[str, Tensor]
    metadata: dict[str, str]


def write_embedding(
    out: Path,
    clip: FrozenClip,
    train_images: Images,
    test_images: Images,
    test_view: View,
    data_digest: str,
    batch_size: int = 128,
    progress: bool = True,
    *,
    clip_view: View | None = None,
    train_sizes: Sizes | None = None,
    test_sizes: Sizes | None = None,
    view_digest: str | None = None,
    numerics: str = "native",
) -> Path:
    """Encode both splits and write them to ``out``, atomically; returns ``out``.

    ``*_images`` are (N,3,H,W) uint8, memory maps welcome: only a batch is ever in memory.
    Views get uint8 batches on CLIP's device and, where ``*_sizes`` (N,2) are given, the images'
    original heights and widths. ``clip_view`` is CLIP's own preprocessing short of its statistics;
    by default it is done from the stored pixels as they are, which differs where they were stored
    squashed. ``progress`` shows a bar on a terminal.

    Raises:
        UserError: a split without images, a non-finite feature, or a place that cannot be
            written.
    """
    tensors: dict[str, Tensor] = {}
    splits = (("train", train_images, train_sizes), ("test", test_images, test_sizes))
    for split, images, sizes in splits:
        if len(images) == 0:
            raise UserError(
                f"The {split} split has no images to embed; prepare the data set again."
            )
        bar = tqdm(total=len(images), desc=f"embed {split}", disable=None if progress else True)
        with bar:
            features = embed(
                clip, images, test_view, batch_size, clip_view, sizes, advance=bar.update
            )
        tensors |= {f"{split}.{kind}": features[kind] for kind in KINDS}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UserError(
                f"CLIP {clip.name} gave non-finite features ({name}) for {out}; its weights are "
                "damaged or its precision is too low: try precision float32."
            )
    metadata = {
        "clip": clip.name,
        "clip_digest": clip.digest,
        "precision": clip.precision,
        "data_digest": data_digest,
        "dim": str(clip.dim),
        "sha256": arrays_digest({name: tensor.numpy() for name, tensor in tensors.items()}),
    }
    if view_digest is not None:
        metadata["view_digest"] = view_digest
    if numerics != "native":  # so that native files stay, byte for byte, what they were
        metadata["numerics"] = numerics
    with atomic_path(out) as part:
        part.write_bytes(save(tensors, metadata=metadata))
    return out


def embed(
    clip: FrozenClip,
    images: Images,
    test_view: View,
    batch_size: int = 128,
    clip_view: View | None = None,
    sizes: Sizes | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> dict[str, Tensor]:
    """{"clip": (N, d), "query": (N, d)} float32 on the CPU, of (N,3,H,W) uint8 images.

    A batch whose two views are equal is encoded once. ``advance`` gets every batch's size.
    """
    features = {kind: torch.empty(len(images), clip.dim) for kind in KINDS}
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        batch = torch.from_numpy(np.array(images[rows])).to(clip.device)
        given = (batch,) if sizes is None else (batch, torch.from_numpy(np.array(sizes[rows])))
        own = clip.normalise(batch.float() / 255 if clip_view is None else clip_view(*given))
        query = clip.normalise(test_view(*given))
        encoded = clip.encode_normalised(own)
        features["clip"][rows] = encoded.cpu()
        if not torch.equal(own, query):
            encoded = clip.encode_normalised(query)
        features["query"][rows] = encoded.cpu()
        advance(len(batch))
    return features


def read_embedding(path: Path) -> Embedding:
    """What :func:`write_embedding` wrote.

    Raises:
        UserError: the file is not there, damaged, or not an embedding.
    """
    if not Path(path).is_file():
        raise UserError(f"The embedding {path} is not there; make it with `starprompt embed`.")
    try:
        with safe_open(path, framework="pt") as file:
            splits = {
                split: {kind: file.get_tensor(f"{split}.{kind}") for kind in KINDS}
                for split in ("train", "test")
            }
            metadata = dict(file.metadata() or {})
    except SafetensorError as error:
        raise UserError(
            f"{path} is incomplete or damaged ({error}); delete it and run `starprompt embed`."
        ) from error
    found = {f"{split}.{kind}": splits[split][kind].numpy() for split in splits for kind in KINDS}
    if metadata.get("sha256", digest := arrays_digest(found)) != digest:
        raise UserError(f"{path} is damaged; delete it and run `starprompt embed`.")
    return Embedding(splits["train"], splits["test"], metadata)
