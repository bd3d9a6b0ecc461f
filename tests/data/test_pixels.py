"""What a model sees of each data set equals what torchvision's transforms give from the file."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torchvision.transforms import v2

from starprompt.data.decode import to_stored
from starprompt.data.registry import load_dataset_spec
from starprompt.data.steps import CenterCrop, Resize
from starprompt.data.transforms import TestView, TrainView, generator_for
from tests.helpers.paths import DATASETS

FOLDER = DATASETS
PHOTO = load_sample_image("china.jpg")
BICUBIC = v2.InterpolationMode.BICUBIC
#: Shapes that the sources have; None: any.
SHAPES = {
    "imagenet-r": None,
    "cub200": None,
    "chestx": None,
    "isic": None,
    "resisc45": (256, 256),
    "cropdisease": (256, 256),
    "cars196": (224, 224),
    "eurosat": (64, 64),
    "cifar100": (32, 32),
}


def _torchvision(steps) -> v2.Compose:
    made = []
    for step in steps:
        if isinstance(step, Resize):
            made.append(v2.Resize(step.size, BICUBIC))
        elif isinstance(step, CenterCrop):
            made.append(v2.CenterCrop(step.size))
        else:
            raise TypeError(step)
    return v2.Compose(made or [v2.Identity()])


def _through_the_store(photo: np.ndarray, spec, split: str):
    pixels, shown = to_stored(photo, getattr(spec.stored, split))
    return torch.from_numpy(np.array(pixels))[None], torch.tensor([shown])


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("shape", [(427, 640), (333, 281), (150, 600)])
def test_the_clean_view_equals_torchvisions_from_the_file(name, shape):
    height, width = SHAPES[name] or shape
    photo = PHOTO[:height, :width].copy()
    spec = load_dataset_spec(name, FOLDER)
    images, sizes = _through_the_store(photo, spec, "test")
    ours = TestView(tuple(spec.test_transform))(images, sizes)
    original = torch.from_numpy(photo).permute(2, 0, 1)[None]
    theirs = _torchvision(spec.test_transform)(original)
    assert ours.shape == (1, 3, 224, 224)
    assert torch.equal(ours, theirs / 255)


@pytest.mark.parametrize(("shape", "seed"), [((427, 640), 0), ((333, 281), 1), ((150, 500), 2)])
def test_a_cub_training_view_is_a_window_of_the_resized_original(shape, seed):
    photo = PHOTO[: shape[0], : shape[1]].copy()
    spec = load_dataset_spec("cub200", FOLDER)
    images, sizes = _through_the_store(photo, spec, "train")
    view = TrainView(tuple(spec.train_transform))(images, generator_for(seed), sizes)[0]
    original = torch.from_numpy(photo).permute(2, 0, 1)
    whole = _torchvision([Resize(step="resize", size=(300, 300))])(original) / 255
    corners = whole[:, :77, :77]
    found = False
    for side in (view, view.flip(-1)):
        for top, left in (corners == side[:, :1, :1]).all(0).nonzero().tolist():
            found |= torch.equal(side, whole[:, top : top + 224, left : left + 224])
    assert found


def test_imagenet_r_crops_have_their_law_in_the_original_geometry():
    """Of a 150x600 original, no crop of aspect 4/3 or less shows more than a third of the width."""
    spec = load_dataset_spec("imagenet-r", FOLDER)
    slope = np.broadcast_to(np.linspace(0, 255, 600).astype(np.uint8)[None, :, None], (150, 600, 3))
    images, sizes = _through_the_store(np.ascontiguousarray(slope), spec, "train")
    views = TrainView(tuple(spec.train_transform))(
        images.expand(64, -1, -1, -1), generator_for("law"), sizes.expand(64, -1)
    )
    shown = (views[:, 0].amax((1, 2)) - views[:, 0].amin((1, 2))).numpy()
    assert shown.max() < 1 / 3 + 0.02
    assert shown.min() < 0.25
