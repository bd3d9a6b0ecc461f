"""How a run saw its images, as its record keeps it: from an image file to what a learner gets."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from starprompt.data.registry import ChannelStatistics, DatasetSpec
from starprompt.data.steps import CenterCrop, Resize, Step
from starprompt.data.transforms import TestView


class ViewFacts(BaseModel):
    """What is done to a test image, and what a learner knows of it beforehand.

    upright         images are turned as their EXIF orientation says
    stored          how the preparation brings them to one size
    test_transform  the clean view of what is stored
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(gt=0)
    upright: bool
    stored: list[Resize | CenterCrop]
    test_transform: list[Step]
    normalisation: ChannelStatistics
    templates: list[str]

    @classmethod
    def of(cls, spec: DatasetSpec) -> "ViewFacts":
        """Those of a data set's description."""
        return cls(
            image_size=spec.image_size,
            upright=any(getattr(source.format, "exif", False) for source in spec.sources),
            stored=list(spec.stored.test),
            test_transform=list(spec.test_transform),
            normalisation=spec.normalisation,
            templates=list(spec.templates),
        )

    def kept(self) -> dict[str, Any]:
        """As a record has it (JSON)."""
        return self.model_dump(mode="json")

    @property
    def view(self) -> TestView:
        """The test view that these steps make."""
        return TestView(tuple(self.test_transform))
