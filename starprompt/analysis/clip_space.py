"""Is CLIP's space as good on this domain as on photographs? How far classes lie apart in it.

Image features are brought to unit length, as CLIP compares them. Test images, frozen CLIP: nothing
here depends on a method except the keys.
"""

import numpy as np
import pandas as pd


def class_geometry(features: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Spread and separation of each class.

    features (N, d), labels (N,), at least two classes. One row a label:

    within   root mean squared distance of the class's images to their mean
    between  distance of the class's mean to the nearest other class's
    ratio    between / within
    """
    unit = unit_rows(features)
    names = np.unique(labels)
    if len(names) < 2:
        raise ValueError("separation needs at least two classes")
    means = np.stack([unit[labels == label].mean(axis=0) for label in names])
    within = np.array(
        [
            np.sqrt(((unit[labels == label] - mean) ** 2).sum(axis=1).mean())
            for label, mean in zip(names, means, strict=True)
        ]
    )
    distance = np.linalg.norm(means[:, None] - means[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    between = distance.min(axis=1)
    return pd.DataFrame(
        {
            "label": names,
            "within": within,
            "between": between,
            "ratio": between / np.maximum(within, 1e-12),
        }
    )


def margins(features: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """(N,) cosine to the nearest key minus cosine to the second nearest.

    features (N, d), keys (C, d), C at least 2. Sure choices have large margins, right or wrong.
    """
    cosines = unit_rows(features) @ unit_rows(keys).T
    second, best = np.partition(cosines, -2, axis=1)[:, -2:].T
    return best - second


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows at unit length, float64."""
    vectors = vectors.astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
