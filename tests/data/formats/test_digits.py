"""The embedded digits are scikit-learn's scans."""

import numpy as np
from PIL import Image

from starprompt.data.stored_images import StoredImages


def test_the_prepared_digits_are_the_scans(digits):
    from sklearn.datasets import load_digits

    assert digits.train.images.shape == (1437, 3, 64, 64)
    assert digits.test.images.shape == (360, 3, 64, 64)
    assert digits.manifest["counts"] == {"train": 1437, "test": 360}
    assert isinstance(digits.train.images, StoredImages)
    assert digits.class_names[0] == "the digit zero"
    images = np.concatenate([digits.train.images, digits.test.images])
    assert (images[:, 0] == images[:, 1]).all()
    assert (images[:, 0] == images[:, 2]).all()
    labels = np.concatenate([digits.train.labels, digits.test.labels])
    bunch = load_digits()
    assert np.bincount(labels).tolist() == np.bincount(bunch.target).tolist()
    scans = {}
    for scan, digit in zip(bunch.images, bunch.target, strict=True):
        small = Image.fromarray(np.round(scan * 255 / 16).astype(np.uint8))
        scans[small.resize((64, 64), Image.Resampling.BICUBIC).tobytes()] = digit
    assert [scans[image.tobytes()] for image in images[:, 0]] == labels.tolist()
