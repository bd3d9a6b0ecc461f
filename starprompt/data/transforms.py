"""A data set's transforms, carried out on the device for a whole batch at once.

Distribution and pixels are torchvision's (see :mod:`starprompt.data.resample`); every image has its
own random parameters. They are drawn on the CPU from one generator, so that a GPU and a CPU run
see the same crops.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from starprompt.data.decode import crop_offset, resized_shape
from starprompt.data.resample import resample
from starprompt.data.steps import (
    CenterCrop,
    HorizontalFlip,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    Step,
)
from starprompt.errors import UserError

_ATTEMPTS = 10  # torchvision's: tries at a box that fits, before the central one


def generator_for(*key: int | str) -> torch.Generator:
    """A CPU generator that depends on ``key`` alone, for instance (seed, task, epoch, batch)."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def crop_boxes(
    sizes: Tensor,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """Boxes as torchvision's RandomResizedCrop draws them, for images of ``sizes`` (B,2) (h,w).

    Returns (B,4) int64 (top, left, height, width).
    """
    height, width = sizes[:, :1].double(), sizes[:, 1:].double()
    count = len(sizes)
    draws = torch.rand((4, count, _ATTEMPTS), generator=generator, dtype=torch.float64)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[0])
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(log_low + (log_high - log_low) * draws[1])
    box_width, box_height = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (box_width > 0) & (box_width <= width) & (box_height > 0) & (box_height <= height)
    top = (draws[2] * (height - box_height + 1)).floor()
    left = (draws[3] * (width - box_width + 1)).floor()
    first = fits.int().argmax(dim=1, keepdim=True)
    drawn = torch.stack([top, left, box_height, box_width], dim=-1)
    drawn = drawn.gather(1, first[:, :, None].expand(-1, -1, 4))[:, 0]
    return torch.where(fits.any(1, keepdim=True), drawn, _central_boxes(sizes, ratio)).long()


def _central_boxes(sizes: Tensor, ratio: tuple[float, float]) -> Tensor:
    """torchvision's fallback: the largest central box whose aspect is within ``ratio``."""
    height, width = sizes[:, 0].double(), sizes[:, 1].double()
    box_height = torch.where(width / height < ratio[0], (width / ratio[0]).round(), height)
    box_width = torch.where(width / height > ratio[1], (height * ratio[1]).round(), width)
    top = ((height - box_height) / 2).floor()
    left = ((width - box_width) / 2).floor()
    return torch.stack([top, left, box_height, box_width], dim=-1)


@dataclass
class _Canvas:
    """A batch on its way through the steps.

    ``sizes`` (B,2) float64 is what the images are taken to measure, ``images`` what there is, and
    a crop reads one in the coordinates of the other. So images that were stored squashed are
    cropped in their original geometry, and a resize to differing widths, which waits for its crop,
    needs no ragged batch.
    """

    images: Tensor
    sizes: Tensor
    resized: bool = False

    @property
    def stored(self) -> tuple[int, int]:
        return self.images.shape[2], self.images.shape[3]

    @property
    def is_even(self) -> bool:
        """Whether all images are taken to measure the same."""
        return len(self.sizes.unique(dim=0)) == 1

    def take(self, boxes: Tensor, out: tuple[int, int], within_box: bool) -> None:
        """Make the boxes (B,4), in units of ``sizes``, the images; (out) pixels each."""
        factor = torch.tensor(self.stored, dtype=torch.float64) / self.sizes
        factor = factor.repeat(1, 2)
        bounds = None
        if not within_box:
            bounds = torch.tensor([0, 0, *self.stored], dtype=torch.float64).expand(len(boxes), 4)
        self.images = _cut(self.images, boxes.double() * factor, out, bounds)
        self.sizes = torch.tensor(out, dtype=torch.float64).expand(len(boxes), 2)

    def settle(self) -> Tensor:
        """Carry out a resize that still waits; the pixels."""
        if self.resized:
            if not self.is_even:
                raise UserError(
                    "A transform ends in images of differing sizes: a resize to a shorter side "
                    "must be followed by a crop; correct the steps in the data set's YAML."
                )
            height, width = (int(side) for side in self.sizes[0])
            whole = torch.zeros(len(self.images), 4, dtype=torch.float64)
            whole[:, 2:] = self.sizes
            self.take(whole, (height, width), within_box=False)
            self.resized = False
        return self.images


def _cut(images: Tensor, boxes: Tensor, out: tuple[int, int], bounds: Tensor | None) -> Tensor:
    """Resample, or gather where the boxes are whole and keep their size."""
    same_size = torch.tensor(out, dtype=torch.float64)
    if torch.equal(boxes[:, 2:], same_size.expand(len(boxes), 2)) and torch.equal(
        boxes, boxes.round()
    ):
        corners = boxes[:, :2].long()
        if (corners == corners[:1]).all():
            top, left = corners[0].tolist()
            return images[:, :, top : top + out[0], left : left + out[1]]
        corners = corners.to(images.device, non_blocking=True)
        rows = corners[:, :1] + torch.arange(out[0], device=images.device)
        columns = corners[:, 1:] + torch.arange(out[1], device=images.device)
        batch = torch.arange(len(images), device=images.device)[:, None, None]
        picked = images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
        return picked.permute(0, 3, 1, 2)
    return resample(images, boxes, out, bounds=bounds)


def apply_steps(
    images: Tensor,
    steps: Sequence[Step],
    *,
    sizes: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Carry out ``steps`` on a batch (B,3,H,W) uint8; (B,3,h,w) float32 in [0, 1].

    sizes      (B,2) what the images measured before they were stored; by default H, W
    generator  where random steps draw from; needed if there are any

    Raises :class:`UserError` where a crop is larger than the image or the steps end in images of
    differing sizes.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8, not {images.dtype}")
    stored = torch.tensor(images.shape[2:], dtype=torch.float64).expand(len(images), 2)
    canvas = _Canvas(images, stored if sizes is None else sizes.cpu().to(torch.float64))
    for step in steps:
        if isinstance(step, HorizontalFlip):
            drawn = torch.rand(len(images), generator=_need(generator, step)) < step.probability
            chosen = drawn.to(canvas.images.device, non_blocking=True)[:, None, None, None]
            canvas.images = torch.where(chosen, canvas.images.flip(-1), canvas.images)
        else:
            _geometric(canvas, step, generator)
    return canvas.settle().float().div_(255)  # twice as fast as uint8 / int, and the same


def _geometric(canvas: _Canvas, step: Step, generator: torch.Generator | None) -> None:
    if isinstance(step, (Resize, RandomResizedCrop)) or canvas.is_even:
        canvas.settle()
    sizes = canvas.sizes
    if isinstance(step, Resize):
        shapes = [resized_shape(int(h), int(w), step.size) for h, w in sizes.tolist()]
        canvas.sizes = torch.tensor(shapes, dtype=torch.float64).view(-1, 2)
        canvas.resized = True
        return
    if isinstance(step, RandomResizedCrop):
        boxes = crop_boxes(sizes, step.scale, step.ratio, _need(generator, step))
        canvas.take(boxes, (step.size, step.size), within_box=True)
    elif isinstance(step, (CenterCrop, RandomCrop)):
        if len(sizes) and float(sizes.min()) < step.size:
            raise UserError(
                f"A crop of {step.size} pixels does not fit an image of "
                f"{int(sizes.min())}; resize before it, in the data set's YAML."
            )
        if isinstance(step, CenterCrop):
            corners = [[crop_offset(int(side), step.size) for side in hw] for hw in sizes.tolist()]
            corner = torch.tensor(corners, dtype=torch.float64).view(-1, 2)
        else:
            slack = sizes - step.size + 1
            draws = torch.rand(sizes.shape, generator=_need(generator, step), dtype=torch.float64)
            corner = (draws * slack).floor()
        boxes = torch.cat([corner, torch.full_like(corner, step.size)], dim=1)
        canvas.take(boxes, (step.size, step.size), within_box=False)
    canvas.resized = False


def _need(generator: torch.Generator | None, step: Step) -> torch.Generator:
    if generator is None:
        raise ValueError(f"the step {step.step} is random and needs a generator")
    return generator


@dataclass(frozen=True)
class TrainView:
    """The augmented view: a function of a batch and the generator that it draws from."""

    steps: tuple[Step, ...]

    def __call__(
        self, images: Tensor, generator: torch.Generator, sizes: Tensor | None = None
    ) -> Tensor:
        """(B,3,H,W) uint8 to (B,3,h,w) float32 in [0, 1]."""
        return apply_steps(images, self.steps, sizes=sizes, generator=generator)


@dataclass(frozen=True)
class TestView:
    """The clean view: nothing in it is random."""

    __test__ = False  # not a test, whatever pytest makes of its name

    steps: tuple[Step, ...]

    def __call__(self, images: Tensor, sizes: Tensor | None = None) -> Tensor:
        """(B,3,H,W) uint8 to (B,3,h,w) float32 in [0, 1]."""
        return apply_steps(images, self.steps, sizes=sizes)
