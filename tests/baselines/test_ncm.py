"""NCM is the cosine to class means."""

import numpy as np
import pytest

from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor, numpy_features
from tests.helpers.small_stream import images_of, learn


def test_ncm_is_the_cosine_to_class_means(stream: TaskStream) -> None:
    learner = build_competitor("ncm", stream)
    means = []
    for task in stream.tasks[:2]:
        learn(learner, task)
        features, labels = numpy_features(learner, stream, task.index)
        means += [features[labels == label].mean(axis=0) for label in task.current]
    batch = images_of(learner, stream, 0, 1)
    query = learner.features(batch).double().numpy()
    unit = [mean / np.linalg.norm(mean) for mean in means]
    expected = query @ np.stack(unit).T / np.linalg.norm(query, axis=1, keepdims=True)
    assert learner.predict(batch).numpy() == pytest.approx(expected, abs=1e-5)
