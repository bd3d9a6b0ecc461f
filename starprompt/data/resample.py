"""Crop-and-resize of a whole batch, each image with its own box: bicubic with antialiasing.

The arithmetic is torchvision's on uint8 tensors, bit for bit: the filter widens with the reduction,
never reaches outside the crop, has 16-bit weights, runs along rows first, and each pass ends in
whole grey levels. So a GPU, a CPU and torchvision give the same pixels. PIL differs by a grey level
here and there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from starprompt.precision import exactly

#: The cubic convolution kernel's parameter (Keys 1981) that PIL uses.
_KEYS_A = -0.5
_SUPPORT = 2.0


def resample(
    images: Tensor,
    boxes: Tensor,
    out_size: tuple[int, int],
    *,
    bounds: Tensor | None = None,
) -> Tensor:
    """Resize the box of each image to ``out_size`` = (height, width).

    images  (B,3,H,W) uint8
    boxes   (B,4) float64 (top, left, height, width), in pixels; fractions are allowed
    bounds  (B,4) as boxes: what the filter may read; the box itself by default (crop, then
            resize). Wider bounds give a window of the resized image (resize, then crop).

    Returns (B,3,h,w) uint8 on the images' device. At whole boxes it is torchvision's
    ``resized_crop(..., BICUBIC, antialias=True)``.
    """
    boxes = boxes.to(torch.float64)
    bounds = boxes if bounds is None else bounds.to(torch.float64)
    whole = bool(torch.equal(boxes, bounds) and torch.equal(boxes, boxes.round()))
    if whole and images.device.type == "cpu":
        return resample_each(images, boxes, out_size)
    return resample_by_matrices(images, boxes, out_size, bounds)


@exactly()
def resample_by_matrices(
    images: Tensor, boxes: Tensor, out_size: tuple[int, int], bounds: Tensor
) -> Tensor:
    """:func:`resample` as two batched matrix products: what a GPU does.

    Boxes and bounds stand on the CPU, where they were drawn; only they cross to the device, and
    nothing waits for it. TF32 would round the weights, which need 15 bits.
    """
    height, width = images.shape[2:]
    device = images.device
    rows = axis_weights(boxes[:, 0], boxes[:, 2], out_size[0], height, bounds[:, 0::2], device)
    columns = axis_weights(boxes[:, 1], boxes[:, 3], out_size[1], width, bounds[:, 1::2], device)
    pixels = images.to(torch.float32).flatten(1, 2)
    narrow = _grey_levels(torch.bmm(pixels, columns.transpose(1, 2)))
    narrow = narrow.unflatten(1, (images.shape[1], height))
    return _grey_levels(torch.matmul(rows[:, None], narrow)).to(torch.uint8)


def _grey_levels(values: Tensor) -> Tensor:
    """To whole grey levels, halves upwards as the integer kernel rounds; in place."""
    return values.add_(0.5).floor_().clamp_(0, 255)


def resample_each(images: Tensor, boxes: Tensor, out_size: tuple[int, int]) -> Tensor:
    """:func:`resample` of whole boxes, image by image with torch's own kernel: faster on a CPU,
    where matrices spend their time on zeros."""
    out = torch.empty((len(images), *out_size, images.shape[1]), dtype=torch.uint8)
    out = out.permute(0, 3, 1, 2)
    images = images.contiguous(memory_format=torch.channels_last)  # thrice as fast in the kernel
    for i, (top, left, height, width) in enumerate(boxes.long().tolist()):
        crop = images[i : i + 1, :, top : top + height, left : left + width]
        if (height, width) != out_size:
            crop = F.interpolate(crop, size=out_size, mode="bicubic", antialias=True)
        out[i] = crop[0]
    return out.contiguous()


def axis_weights(
    start: Tensor,
    length: Tensor,
    out: int,
    size: int,
    bounds: Tensor,
    device: torch.device | None = None,
) -> Tensor:
    """Bicubic antialiased weights along one axis; (B, out, size) float32 on ``device``, rows sum
    to 1. A batch of 128 at 256 to 224 pixels has 29 MB of them, so they are made where they are
    used.

    They are multiples of a power of two, as those of torch's integer kernel, so that sums of
    products with grey levels are exact in float32 for every common reduction.

    start, length  (B,) float64 on the CPU: the part of the axis that becomes ``out`` pixels
    bounds         (B,2) float64 (start, length): pixels outside it get no weight
    """
    # How many pixels a weight can reach is asked of the CPU: a device's answer would be waited for.
    taps = int((2 * _SUPPORT * (length / out).clamp(min=1.0)).ceil().max()) + 2
    device = device or start.device
    start, length, bounds = (
        t.to(device, non_blocking=True) for t in (start, length, bounds.contiguous())
    )
    places = torch.arange(max(out, taps), dtype=torch.float64, device=device)
    scale = length / out
    widening = scale.clamp(min=1.0)
    reach = _SUPPORT * widening
    centre = start[:, None] + (places[:out] + 0.5) * scale[:, None]
    low = bounds[:, 0].floor().clamp(min=0)[:, None, None]
    high = (bounds[:, 0] + bounds[:, 1]).sub(1e-9).ceil().clamp(max=size)[:, None, None]
    first = (centre - reach[:, None]).floor()
    pixel = first[:, :, None] + places[:taps]
    distance = (pixel + 0.5 - centre[:, :, None]) / widening[:, None, None]
    weight = _cubic(distance) * ((pixel >= low) & (pixel < high))
    weight = _sixteen_bit(weight / weight.sum(-1, keepdim=True))
    dense = torch.zeros(len(start), out, size, dtype=torch.float64, device=device)
    dense.scatter_add_(2, pixel.clamp(0, size - 1).long(), weight)
    return dense.to(torch.float32)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' kernel: (a+2)|x|^3 - (a+3)x^2 + 1 up to 1, a(|x|^3 - 5x^2 + 8|x| - 4) up to 2."""
    x = distance.abs()
    near = ((_KEYS_A + 2) * x - (_KEYS_A + 3)) * x * x + 1
    far = _KEYS_A * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _sixteen_bit(weight: Tensor) -> Tensor:
    """Round each image's weights to 16-bit integers over the power of two that torch chooses.

    That is the smallest p for which the largest weight times 2**(p+1) leaves 15 bits; at most 22.
    """
    largest = weight.amax(dim=(1, 2))
    powers = torch.arange(22, dtype=torch.float64, device=weight.device)
    leaves = (0.5 + largest[:, None] * 2 ** (powers + 1)).floor() >= 2**15
    power = torch.where(leaves.any(1), leaves.int().argmax(1), 22)
    unit = (2.0 ** power.double())[:, None, None]
    return torch.trunc(weight * unit + 0.5 * weight.sign()) / unit
