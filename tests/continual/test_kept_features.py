"""Of every class the first few features are kept."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from starprompt.continual import kept_features as kept_module


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 4))
def test_of_every_class_the_first_few_features_are_kept(labels: list[int], few: int) -> None:
    of = torch.tensor(labels)
    features = torch.arange(len(labels), dtype=torch.float32)[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_module, "KEPT_PER_CLASS", few)
        kept = kept_module.kept_features("train", features, of)
    expected = [i for i, y in enumerate(labels) if labels[:i].count(y) < few]
    assert kept["train.features"][:, 0].tolist() == expected
    assert kept["train.labels"].tolist() == [labels[i] for i in expected]
