"""Training images per second from the memory map, compared with torchvision image by image.

Both draw their own crops of every image: 32 to 224 pixels (CIFAR), 64 to 64 (the digits) and 256
to 224 (the folders of photographs). On the CPU it measures the CPU time of one thread. With a GPU
ours runs there, with pinned memory and copies as in a run. The last line is JSON; its ratio is the
geometric mean over the three of the naive way's time over ours.
"""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _timing import best, report
from torchvision.transforms import v2

from starprompt.data.registry import DatasetSpec
from starprompt.data.store import PreparedDataset, Split
from starprompt.data.stream import TaskStream
from starprompt.machine.devices import synchronize

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CASES = ((32, 224), (64, 64), (256, 224))
BATCH, BATCHES, REPEATS = 128, 2, 3


def prepared(folder: Path, size: int) -> PreparedDataset:
    """Images of noise in a real memory map, two classes."""
    path, count = folder / f"{size}.npy", BATCH * BATCHES
    random = np.random.default_rng(0)
    np.save(path, random.integers(0, 256, (count, 3, size, size), dtype=np.uint8))
    labels = np.arange(count, dtype=np.int64) % 2
    sizes = np.full((count, 2), size, dtype=np.int32)
    split = Split(np.load(path, mmap_mode="r"), labels, sizes)
    return PreparedDataset("noise", folder, ("a", "b"), {"digest": "0"}, split, split)


def ours(data: PreparedDataset, out: int) -> Callable[[], None]:
    """One epoch of a stream's augmented batches."""
    spec = DatasetSpec.model_validate(
        {
            "name": "noise",
            "title": "Noise",
            "tasks": 1,
            "sources": [{"format": {"kind": "cifar100"}}],
            "train_transform": [
                {"step": "random_resized_crop", "size": out},
                {"step": "horizontal_flip"},
            ],
        }
    )
    task = TaskStream(data, spec, 0, DEVICE)[0]

    def epoch() -> None:
        for batch in task.train.batches(BATCH, augment=True, shuffle=True):
            assert batch.images is not None and batch.images.shape[2] == out
        synchronize(DEVICE)

    return epoch


def naive(data: PreparedDataset, out: int) -> Callable[[], None]:
    """One epoch of torchvision on one image after the other, as a Dataset's __getitem__ does."""
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(out, interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )

    def epoch() -> None:
        for rows in torch.randperm(len(data.train)).split(BATCH):
            images = [transform(torch.tensor(data.train.images[i])) for i in rows.tolist()]
            assert torch.stack(images).shape[2] == out

    return epoch


def main() -> None:
    """Print one line a case and the summary as JSON."""
    torch.set_num_threads(1)
    ratios, rates = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for size, out in CASES:
            data = prepared(Path(folder), size)
            fast, slow = (
                best(ours(data, out), REPEATS, DEVICE),
                best(naive(data, out), REPEATS, DEVICE),
            )
            ratios.append(slow / fast)
            rates[f"{size} to {out}"] = round(BATCH * BATCHES / fast)
            print(f"{size} to {out}: {rates[f'{size} to {out}']} images/s, {ratios[-1]:.2f} times")
    ratio = math.prod(ratios) ** (1 / len(ratios))
    report(
        "input_path",
        round(ratio, 3),
        images_per_second=rates["64 to 64"],
        images_per_second_by_case=rates,
        device=DEVICE.type,
    )


if __name__ == "__main__":
    main()
