"""Batched crop-and-resize against torchvision's, pixel by pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from starprompt.data.resample import axis_weights, resample, resample_by_matrices


def _images(seed: int, count: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _torchvision(images: torch.Tensor, boxes: list[list[int]], out: tuple[int, int]):
    bicubic = InterpolationMode.BICUBIC
    each = [
        reference.resized_crop(image, *box, size=list(out), interpolation=bicubic, antialias=True)
        for image, box in zip(images, boxes, strict=True)
    ]
    return torch.stack(each)


@st.composite
def _case(draw):
    height, width = draw(st.integers(4, 60)), draw(st.integers(4, 60))
    boxes = []
    for _ in range(draw(st.integers(1, 4))):
        h, w = draw(st.integers(1, height)), draw(st.integers(1, width))
        boxes.append([draw(st.integers(0, height - h)), draw(st.integers(0, width - w)), h, w])
    # torch fails an assertion of its own where the result is a single pixel.
    out = (draw(st.integers(2, 70)), draw(st.integers(2, 70)))
    return _images(draw(st.integers(0, 999)), len(boxes), height, width), boxes, out


@settings(max_examples=60, deadline=None)
@given(_case())
def test_equals_torchvision_at_equal_boxes(case):
    images, boxes, out = case
    ours = resample(images, torch.tensor(boxes), out)
    assert torch.equal(ours, _torchvision(images, boxes, out))


@settings(max_examples=60, deadline=None)
@given(_case())
def test_the_matrix_form_equals_torchvision_too(case):
    images, boxes, out = case
    where = torch.tensor(boxes, dtype=torch.float64)
    ours = resample_by_matrices(images, where, out, where)
    assert torch.equal(ours, _torchvision(images, boxes, out))


@pytest.mark.parametrize("out", [(224, 224), (256, 341), (600, 700), (32, 100)])
def test_equals_pil_on_photographs(out):
    """PIL keeps more bits of the weights: seldom a grey level apart, hardly ever two."""
    photo = load_sample_image("flower.jpg")
    height, width = photo.shape[:2]
    images = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None]
    resized = Image.fromarray(photo).resize((out[1], out[0]), Image.Resampling.BICUBIC)
    ours = resample(images, torch.tensor([[0, 0, height, width]]), out)
    difference = np.abs(ours[0].permute(1, 2, 0).numpy() - np.asarray(resized).astype(float))
    assert difference.max() <= 2
    assert (difference > 1).mean() < 1e-4
    assert (difference > 0).mean() < 0.05


def test_wider_bounds_give_a_window_of_the_resized_image():
    images = _images(2, 2, 90, 120)
    whole = resample(images, torch.tensor([[0, 0, 90, 120]] * 2), (60, 80))
    assert not torch.equal(whole[:, :, :50], whole[:, :, 10:])
    window = torch.tensor([[10 * 1.5, 20 * 1.5, 30 * 1.5, 40 * 1.5]] * 2)
    bounds = torch.tensor([[0, 0, 90, 120]] * 2)
    ours = resample(images, window, (30, 40), bounds=bounds)
    assert torch.equal(ours, whole[:, :, 10:40, 20:60])


@settings(max_examples=50, deadline=None)
@given(
    size=st.integers(4, 80),
    out=st.integers(1, 80),
    part=st.tuples(st.floats(0, 0.7), st.floats(0.05, 0.3)),
)
def test_weights_sum_to_one_and_stay_in_the_box(size, out, part):
    start = torch.tensor([part[0] * size], dtype=torch.float64)
    length = torch.tensor([part[1] * size], dtype=torch.float64)
    weights = axis_weights(start, length, out, size, torch.stack([start, length], 1))
    assert torch.allclose(weights.sum(-1), torch.ones(1, out), atol=1e-2)
    outside = torch.ones(size, dtype=torch.bool)
    outside[int(start.floor()) : int((start + length).ceil())] = False
    assert (weights[..., outside] == 0).all()
