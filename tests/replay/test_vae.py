"""A generator draws features where its class lies."""

import torch

from starprompt.replay.vae import FeatureVAE


def test_a_generator_learns_where_its_class_lies_and_along_what() -> None:
    torch.manual_seed(0)
    centre = torch.tensor([5.0, -3.0, 0.5, 20.0])
    along = torch.tensor([0.1, 1.0, -0.5, 2.0])
    features = centre + along * torch.randn(200, 1) + 0.1 * along * torch.randn(200, 4)
    generator = FeatureVAE(4, 32, 2)
    losses = generator.fit(features, epochs=100, lr=1e-2)
    assert losses[-20:].mean() < 0.9 * losses[0]
    drawn = generator.sample(2000)
    spread = features.std(dim=0)
    assert bool(((drawn.mean(dim=0) - centre).abs() < spread).all())
    correlation = torch.corrcoef(drawn.T)
    assert float(correlation[1, 3]) > 0.7
    assert float(correlation[1, 2]) < -0.7
