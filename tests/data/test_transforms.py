"""The transforms against torchvision's: same pixels where nothing is random, same distribution."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from sklearn.datasets import load_sample_image
from torchvision.transforms import v2

from starprompt.data.steps import (
    CenterCrop,
    HorizontalFlip,
    RandomCrop,
    RandomResizedCrop,
    Resize,
)
from starprompt.data.transforms import TestView, TrainView, apply_steps, crop_boxes, generator_for
from starprompt.errors import UserError

BICUBIC = v2.InterpolationMode.BICUBIC


def _pictures(count: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    shape = (count, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _photographs(height: int, width: int) -> torch.Tensor:
    """Two pieces of photographs, reduced to half so that they have detail."""
    pieces = []
    for name in ("china.jpg", "flower.jpg"):
        photo = Image.fromarray(load_sample_image(name)).reduce(2)
        piece = np.asarray(photo.resize((320, 320)))[:height, :width]
        pieces.append(torch.from_numpy(piece.copy()).permute(2, 0, 1))
    return torch.stack(pieces)


def _through_pil(images: torch.Tensor, transform: v2.Transform) -> torch.Tensor:
    out = []
    for image in images:
        picture = transform(Image.fromarray(image.permute(1, 2, 0).numpy()))
        out.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    return torch.stack(out).float() / 255


CLEAN = [
    ([Resize(step="resize", size=224)], v2.Resize(224, BICUBIC)),
    (
        [Resize(step="resize", size=(256, 256)), CenterCrop(step="center_crop", size=224)],
        v2.Compose([v2.Resize((256, 256), BICUBIC), v2.CenterCrop(224)]),
    ),
    (
        [Resize(step="resize", size=250), CenterCrop(step="center_crop", size=223)],
        v2.Compose([v2.Resize(250, BICUBIC), v2.CenterCrop(223)]),
    ),
    ([CenterCrop(step="center_crop", size=25)], v2.CenterCrop(25)),
    ([], v2.Identity()),
]


@pytest.mark.parametrize(("steps", "transform"), CLEAN)
@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (61, 87), (301, 260)])
def test_clean_views_equal_torchvision_on_tensors(steps, transform, shape):
    images = _photographs(*shape)
    ours = TestView(tuple(steps))(images)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, transform(images).float() / 255)


@pytest.mark.parametrize(("steps", "transform"), CLEAN)
@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (224, 224), (256, 256)])
def test_clean_views_of_square_images_equal_torchvision_on_pil(steps, transform, shape):
    """What is resized after preparation is square; PIL may run rows or columns first otherwise."""
    images = _photographs(*shape)
    difference = (TestView(tuple(steps))(images) - _through_pil(images, transform)).abs() * 255
    assert difference.max() < 2.01
    assert (difference > 1.01).float().mean() < 1e-4


@pytest.mark.parametrize("size", [(300, 300), (200, 350), (90, 900)])
def test_crop_boxes_are_distributed_as_torchvisions(size):
    """Fixed seeds: equal laws give p-values that are not small, whatever the aspect."""
    count, scale, ratio = 3000, (0.08, 1.0), (3 / 4, 4 / 3)
    ours = crop_boxes(
        torch.tensor([size] * count), scale, ratio, generator_for("boxes", 1)
    ).double()
    ours = ours.double()
    picture = torch.zeros(3, *size, dtype=torch.uint8)
    transform = v2.RandomResizedCrop(224, scale, ratio)
    torch.manual_seed(3)
    drawn = [transform.make_params([picture]) for _ in range(count)]
    theirs = np.array([[p["top"], p["left"], p["height"], p["width"]] for p in drawn])
    for column in range(4):
        assert ks_2samp(ours[:, column].numpy(), theirs[:, column]).pvalue > 0.01
    areas = (ours[:, 2] * ours[:, 3]).numpy(), theirs[:, 2] * theirs[:, 3]
    aspects = (ours[:, 3] / ours[:, 2]).numpy(), theirs[:, 3] / theirs[:, 2]
    assert ks_2samp(*areas).pvalue > 0.01
    assert ks_2samp(*aspects).pvalue > 0.01


def test_boxes_that_never_fit_fall_back_to_the_centre_as_torchvisions():
    boxes = crop_boxes(torch.tensor([[10, 1000]]), (0.9, 1.0), (0.9, 1.1), generator_for(0))
    transform = v2.RandomResizedCrop(8, (0.9, 1.0), (0.9, 1.1))
    params = transform.make_params([torch.zeros(3, 10, 1000)])
    assert boxes[0].tolist() == [params[k] for k in ("top", "left", "height", "width")]


def test_every_image_has_its_own_parameters_and_the_generator_decides():
    images = _pictures(1, 50, 50).expand(16, -1, -1, -1).contiguous()
    view = TrainView(
        (
            RandomResizedCrop(step="random_resized_crop", size=20),
            HorizontalFlip(step="horizontal_flip"),
        )
    )
    first = view(images, generator_for(1993, 0, 0, 0))
    assert len(first.flatten(1).unique(dim=0)) == 16
    assert torch.equal(first, view(images, generator_for(1993, 0, 0, 0)))
    assert not torch.equal(first, view(images, generator_for(1993, 0, 0, 1)))


def test_random_crop_takes_pixels_as_they_are_from_everywhere():
    images = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6).expand(400, 3, 6, 6)
    view = apply_steps(
        images, [RandomCrop(step="random_crop", size=4)], generator=generator_for("crop")
    )
    corners = (view[:, 0, 0, 0] * 255).round().int()
    assert set(corners.tolist()) == {6 * top + left for top in range(3) for left in range(3)}
    assert torch.equal(
        (view[:, 0] * 255).round().int() - corners[:, None, None],
        (images[:1, 0, :4, :4].int().expand(400, 4, 4)),
    )


def test_half_of_the_images_are_mirrored_and_nothing_else_changes():
    images = _pictures(400, 3, 5)
    view = apply_steps(
        images, [HorizontalFlip(step="horizontal_flip")], generator=generator_for("flip")
    )
    same = ((view - images / 255).abs().flatten(1).amax(1)) < 1e-6
    mirrored = ((view - images.flip(-1) / 255).abs().flatten(1).amax(1)) < 1e-6
    assert (same | mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_images_stored_squashed_are_cropped_in_their_original_geometry():
    """Of a 40x80 image stored at 40x40, the central square is the middle half of the columns."""
    stored = torch.zeros(2, 3, 40, 40, dtype=torch.uint8)
    stored[..., 10:30] = 255
    steps = (Resize(step="resize", size=40), CenterCrop(step="center_crop", size=40))
    view = TestView(steps)(stored, torch.tensor([[40, 80]] * 2))
    assert view[..., 3:-3].min() > 0.99
    whole = TestView(steps)(stored)
    assert float(whole.mean()) == pytest.approx(0.5)


def test_a_resize_keeps_the_callers_images_unchanged():
    images = _pictures(2, 8, 8)
    before = images.clone()
    TestView(())(images)
    assert torch.equal(images, before)


def test_steps_that_end_in_differing_sizes_are_refused():
    images = _pictures(2, 20, 20)
    with pytest.raises(UserError, match="followed by a crop"):
        apply_steps(
            images, [Resize(step="resize", size=10)], sizes=torch.tensor([[20, 30], [20, 20]])
        )


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(UserError, match="does not fit"):
        apply_steps(_pictures(1, 20, 20), [CenterCrop(step="center_crop", size=21)])
