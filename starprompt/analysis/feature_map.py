"""Real features beside those that replay generates, in a plane (t-SNE with a fixed seed).

van der Maaten and Hinton, JMLR 2008: neighbours stay neighbours, distances between groups mean
nothing. Real and generated features are laid out together, so that a generated one stands among the
real ones that it resembles.
"""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from starprompt.analysis.mixtures import Mixtures

#: most classes, and most real features of a class; as many are generated
CLASSES, SAMPLES = 10, 20
#: dimensions that principal components keep before (as van der Maaten and Hinton do), neighbours
DIMENSIONS, PERPLEXITY = 50, 30
#: fewer points than this have no neighbourhood to show
FEWEST = 8


def feature_map(
    features: np.ndarray, labels: np.ndarray, mixtures: Mixtures, seed: int = 0
) -> pd.DataFrame:
    """One row a point: label, generated (0 or 1), x, y; empty for too few features.

    features (N, d) real ones, labels (N,); mixture c is class c's. Of many classes some are shown,
    evenly spread over the stream; of many features of a class some, evenly spread over its rows.
    Equal inputs give equal bytes on one machine.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    present = np.unique(labels[labels < len(mixtures)])
    shown = present[_spread(len(present), CLASSES)]
    points, rows = [], []
    for label in shown.tolist():
        own = features[labels == label]
        real = own[_spread(len(own), SAMPLES)]
        drawn = mixtures.draw(label, len(real), np.random.default_rng([seed, label]))
        for generated, samples in enumerate((real, drawn)):
            points.append(samples)
            rows += [(label, generated)] * len(samples)
    frame = pd.DataFrame(rows, columns=["label", "generated"])
    if len(frame) < FEWEST:
        return frame.iloc[:0].assign(x=[], y=[])
    every = np.concatenate(points).astype(np.float64)
    with threadpool_limits(1):  # sums of several threads round otherwise
        kept = min(DIMENSIONS, *every.shape)
        every = PCA(kept, svd_solver="full").fit_transform(every)
        plane = TSNE(
            perplexity=min(PERPLEXITY, (len(every) - 1) / 3), init="pca", random_state=seed
        ).fit_transform(every)
    return frame.assign(x=plane[:, 0], y=plane[:, 1])


def _spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` places among ``count``, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)
