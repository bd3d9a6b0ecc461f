"""The steps of an image transform as a data set's YAML writes them; torch-free descriptions.

Names, defaults and meaning are torchvision's; interpolation is bicubic with antialiasing
throughout. :mod:`starprompt.data.transforms` carries them out.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

#: largest side of a view or stored image in pixels
MOST_SIDE = 4096
Side = Annotated[int, Field(gt=0, le=MOST_SIDE)]


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] <= pair[1]:
        raise ValueError("a range's lower end must not exceed its upper end")
    return pair


AreaShare = Annotated[float, Field(gt=0.0, le=1.0)]
Aspect = Annotated[float, Field(ge=0.01, le=100.0)]


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Resize(_Step):
    """To ``[height, width]``, or to a shorter side of ``size`` with the aspect kept."""

    step: Literal["resize"]
    size: Side | tuple[Side, Side]


class CenterCrop(_Step):
    """The central square of side ``size``."""

    step: Literal["center_crop"]
    size: Side


class RandomCrop(_Step):
    """A square of side ``size`` anywhere in the image, all places equally likely."""

    step: Literal["random_crop"]
    size: Side


class RandomResizedCrop(_Step):
    """A part of random area and aspect, resized to a square of side ``size``.

    scale  range of the part's share of the area
    ratio  range of its width / height, uniform in the logarithm
    """

    step: Literal["random_resized_crop"]
    size: Side
    scale: Annotated[tuple[AreaShare, AreaShare], AfterValidator(_ascending)] = (0.08, 1.0)
    ratio: Annotated[tuple[Aspect, Aspect], AfterValidator(_ascending)] = (3 / 4, 4 / 3)


class HorizontalFlip(_Step):
    """Mirrored left to right with this probability."""

    step: Literal["horizontal_flip"]
    probability: float = Field(default=0.5, ge=0.0, le=1.0)


Step = Annotated[
    Resize | CenterCrop | RandomCrop | RandomResizedCrop | HorizontalFlip,
    Field(discriminator="step"),
]


class StoredShape(BaseModel):
    """How preparation brings every image of a split to the one size it is stored at.

    Each is null (all images have one size already and keep it) or a list of resize and
    center_crop steps that ends in one size. The original height and width are stored beside.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    train: list[Annotated[Resize | CenterCrop, Field(discriminator="step")]] = []
    test: list[Annotated[Resize | CenterCrop, Field(discriminator="step")]] = []
