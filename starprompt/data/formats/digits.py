"""scikit-learn's handwritten digits, enlarged and split."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from starprompt.data.formats import ArrayImages, Listing, RawSplit
from starprompt.data.sources import SklearnDigits

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def read(form: SklearnDigits, files: Path, work: Path) -> Listing:
    """All 1,797 scans: 8x8 grey levels 0..16 become 0..255, bicubic to ``form.size``.

    The split is stratified and depends on ``form.split_seed`` alone; rows keep their order.
    """
    import sklearn
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    labels = np.asarray(bunch.target, dtype=np.int64)
    grey = np.round(np.asarray(bunch.images) * (255 / 16)).astype(np.uint8)
    pixels = np.stack([_enlarge(image, form.size) for image in grey])
    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=form.test_share,
        random_state=form.split_seed,
        stratify=labels,
    )

    def split(rows: NDArray[np.int64], name: str) -> RawSplit:
        rows = np.sort(rows)
        return RawSplit(ArrayImages(pixels[rows], f"digits {name}"), labels[rows])

    return Listing(
        train=split(train, "train"),
        test=split(test, "test"),
        class_names=NAMES,
        provenance={"package": f"scikit-learn {sklearn.__version__}"},
    )


def _enlarge(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
