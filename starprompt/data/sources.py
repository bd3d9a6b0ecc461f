"""Where a data set's files come from, as its YAML says; each kind has a reader in ``formats``."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SklearnDigits(_Source):
    """scikit-learn's bundled handwritten digits: no download.

    test_share  share of each class that becomes the test split
    split_seed  seed of that split, apart from any run's seed
    size        side in pixels that the 8x8 scans are enlarged to (bicubic)
    """

    kind: Literal["sklearn-digits"]
    test_share: float = Field(gt=0.0, lt=1.0)
    split_seed: int
    size: int = Field(gt=0)


Source = SklearnDigits
